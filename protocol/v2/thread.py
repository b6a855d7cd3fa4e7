"""v2.thread"""

from typing import Annotated, Any, Literal

from protocol.methods import ClientRequest, ServerNotification, by_thread, reads_thread
from protocol.v2.dynamic_tool import DynamicToolSpec
from protocol.v2.item import ThreadItem
from protocol.v2.model import CollaborationMode, MultiAgentMode, Personality, ReasoningEffort, ReasoningSummary
from protocol.v2.permissions import (
    ActivePermissionProfile,
    ApprovalsReviewer,
    AskForApproval,
    LegacyAppPathString,
    SandboxMode,
    SandboxPolicy,
)
from protocol.v2.response_item import ResponseItem
from protocol.v2.thread_data import (
    Thread,
    ThreadEnvironment,
    ThreadHistoryMode,
    ThreadReadState,
    ThreadSource,
    ThreadStatus,
    ThreadTokenUsage,
    Turn,
    TurnItemsView,
    TurnsPage,
)
from protocol.v2.turn import TurnEnvironmentParams
from protocol.wire import AbsolutePath, Experimental, UInt, UInt32, Wire

SortDirection = Literal["asc", "desc"]

ThreadStartSource = Literal["startup", "clear"]


class EnvironmentCapabilityRootLocation(Wire):
    type: Literal["environment"] = "environment"
    environment_id: str
    path: str


CapabilityRootLocation = EnvironmentCapabilityRootLocation


class SelectedCapabilityRoot(Wire):
    id: str
    location: CapabilityRootLocation


class ThreadStartParams(Wire):
    allow_provider_model_fallback: Annotated[bool, Experimental("thread/start.allowProviderModelFallback")] = False
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    base_instructions: str | None = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    daybreak_enabled: Annotated[bool | None, Experimental("thread/start.daybreakEnabled")] = None
    developer_instructions: str | None = None
    dynamic_tools: Annotated[list[DynamicToolSpec] | None, Experimental("thread/start.dynamicTools")] = None
    environments: Annotated[list[TurnEnvironmentParams] | None, Experimental("thread/start.environments")] = None
    ephemeral: bool | None = None
    experimental_raw_events: Annotated[bool, Experimental("thread/start.experimentalRawEvents")] = False
    history_mode: Annotated[ThreadHistoryMode | None, Experimental("thread/start.historyMode")] = None
    mock_experimental_field: Annotated[str | None, Experimental("thread/start.mockExperimentalField")] = None
    model: str | None = None
    model_provider: str | None = None
    multi_agent_mode: Annotated[MultiAgentMode | None, Experimental("thread/start.multiAgentMode")] = None
    permissions: Annotated[str | None, Experimental("thread/start.permissions")] = None
    personality: Personality | None = None
    project_id: Annotated[str | None, Experimental("thread/start.projectId")] = None
    runtime_workspace_roots: Annotated[
        list[AbsolutePath] | None, Experimental("thread/start.runtimeWorkspaceRoots")
    ] = None
    sandbox: SandboxMode | None = None
    selected_capability_roots: Annotated[
        list[SelectedCapabilityRoot] | None, Experimental("thread/start.selectedCapabilityRoots")
    ] = None
    service_name: str | None = None
    service_tier: str | None = None
    session_start_source: ThreadStartSource | None = None
    thread_source: ThreadSource | None = None


class ThreadStartResponse(Wire):
    approval_policy: AskForApproval
    approvals_reviewer: ApprovalsReviewer
    cwd: AbsolutePath
    model: str
    model_provider: str
    sandbox: SandboxPolicy
    thread: Thread
    active_permission_profile: Annotated[
        ActivePermissionProfile | None, Experimental("thread/start.activePermissionProfile")
    ] = None
    disabled_plugin_ids: list[str] = []
    instruction_sources: list[LegacyAppPathString] = []
    multi_agent_mode: Annotated[MultiAgentMode, Experimental("thread/start.multiAgentMode")] = "explicitRequestOnly"
    reasoning_effort: ReasoningEffort | None = None
    runtime_workspace_roots: Annotated[list[AbsolutePath], Experimental("thread/start.runtimeWorkspaceRoots")] = []
    service_tier: str | None = None


THREAD_START = ClientRequest("thread/start", ThreadStartParams, ThreadStartResponse)


class ThreadResumeInitialTurnsPageParams(Wire):
    items_view: TurnItemsView | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None


class ThreadResumeParams(Wire):
    thread_id: str
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    base_instructions: str | None = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    developer_instructions: str | None = None
    exclude_turns: bool = False
    history: Annotated[list[ResponseItem] | None, Experimental("thread/resume.history")] = None
    initial_turns_page: Annotated[
        ThreadResumeInitialTurnsPageParams | None, Experimental("thread/resume.initialTurnsPage")
    ] = None
    model: str | None = None
    model_provider: str | None = None
    path: Annotated[str | None, Experimental("thread/resume.path")] = None
    permissions: Annotated[str | None, Experimental("thread/resume.permissions")] = None
    personality: Personality | None = None
    runtime_workspace_roots: Annotated[
        list[AbsolutePath] | None, Experimental("thread/resume.runtimeWorkspaceRoots")
    ] = None
    sandbox: SandboxMode | None = None
    service_tier: str | None = None


class ThreadResumeResponse(Wire):
    approval_policy: AskForApproval
    approvals_reviewer: ApprovalsReviewer
    cwd: AbsolutePath
    model: str
    model_provider: str
    sandbox: SandboxPolicy
    thread: Thread
    active_permission_profile: Annotated[
        ActivePermissionProfile | None, Experimental("thread/resume.activePermissionProfile")
    ] = None
    collaboration_mode: CollaborationMode | None = None
    disabled_plugin_ids: list[str] = []
    initial_turns_page: Annotated[TurnsPage | None, Experimental("thread/resume.initialTurnsPage")] = None
    instruction_sources: list[LegacyAppPathString] = []
    items_backwards_cursor: str | None = None
    multi_agent_mode: Annotated[MultiAgentMode, Experimental("thread/resume.multiAgentMode")] = "explicitRequestOnly"
    reasoning_effort: ReasoningEffort | None = None
    runtime_workspace_roots: Annotated[list[AbsolutePath], Experimental("thread/resume.runtimeWorkspaceRoots")] = []
    service_tier: str | None = None
    turns_backwards_cursor: str | None = None


THREAD_RESUME = ClientRequest("thread/resume", ThreadResumeParams, ThreadResumeResponse, order=by_thread)


class ThreadForkParams(Wire):
    thread_id: str
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    attach_to_source: Annotated[bool, Experimental("thread/fork.attachToSource")] = False
    base_instructions: str | None = None
    before_turn_id: Annotated[str | None, Experimental("thread/fork.beforeTurnId")] = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    defer_goal_continuation: Annotated[bool, Experimental("thread/fork.deferGoalContinuation")] = False
    developer_instructions: str | None = None
    ephemeral: bool = False
    exclude_turns: bool = False
    experimental_disable_prediction_mcp: Annotated[
        bool, Experimental("thread/fork.experimentalDisablePredictionMcp")
    ] = False
    experimental_prediction_mode: Annotated[bool, Experimental("thread/fork.experimentalPredictionMode")] = False
    last_turn_id: str | None = None
    model: str | None = None
    model_provider: str | None = None
    path: Annotated[str | None, Experimental("thread/fork.path")] = None
    permissions: Annotated[str | None, Experimental("thread/fork.permissions")] = None
    runtime_workspace_roots: Annotated[list[AbsolutePath] | None, Experimental("thread/fork.runtimeWorkspaceRoots")] = (
        None
    )
    sandbox: SandboxMode | None = None
    service_tier: str | None = None
    thread_source: ThreadSource | None = None


class ThreadForkResponse(Wire):
    approval_policy: AskForApproval
    approvals_reviewer: ApprovalsReviewer
    cwd: AbsolutePath
    model: str
    model_provider: str
    sandbox: SandboxPolicy
    thread: Thread
    active_permission_profile: Annotated[
        ActivePermissionProfile | None, Experimental("thread/fork.activePermissionProfile")
    ] = None
    disabled_plugin_ids: list[str] = []
    instruction_sources: list[LegacyAppPathString] = []
    multi_agent_mode: Annotated[MultiAgentMode, Experimental("thread/fork.multiAgentMode")] = "explicitRequestOnly"
    reasoning_effort: ReasoningEffort | None = None
    runtime_workspace_roots: Annotated[list[AbsolutePath], Experimental("thread/fork.runtimeWorkspaceRoots")] = []
    service_tier: str | None = None


THREAD_FORK = ClientRequest("thread/fork", ThreadForkParams, ThreadForkResponse, order=by_thread)


class ThreadReadParams(Wire):
    thread_id: str
    include_turns: bool = False


class ThreadReadResponse(Wire):
    thread: Thread
    read_state: Annotated[ThreadReadState | None, Experimental("thread/read.readState")] = None


THREAD_READ = ClientRequest("thread/read", ThreadReadParams, ThreadReadResponse, order=reads_thread)

ThreadSortKey = Literal["created_at", "updated_at", "recency_at", "section_position"]

ThreadSourceKind = Literal[
    "cli",
    "vscode",
    "exec",
    "appServer",
    "subAgent",
    "subAgentReview",
    "subAgentCompact",
    "subAgentThreadSpawn",
    "subAgentOther",
    "unknown",
]

ThreadListCwdFilter = str | list[str]


class ThreadListParams(Wire):
    ancestor_thread_id: Annotated[str | None, Experimental("thread/list.ancestorThreadId")] = None
    archived: bool | None = None
    attached_to_thread_id: Annotated[str | None, Experimental("thread/list.attachedToThreadId")] = None
    current_account_only: bool = False
    cursor: str | None = None
    cwd: ThreadListCwdFilter | None = None
    excluded_thread_ids: list[str] | None = None
    include_attached_threads: Annotated[bool, Experimental("thread/list.includeAttachedThreads")] = False
    limit: UInt32 | None = None
    model_providers: list[str] | None = None
    originators: list[str] | None = None
    parent_thread_id: Annotated[str | None, Experimental("thread/list.parentThreadId")] = None
    project_id: Annotated[str | None, Experimental("thread/list.projectId")] = None
    search_term: str | None = None
    section_id: str | None = None
    sort_direction: SortDirection | None = None
    sort_key: ThreadSortKey | None = None
    source_kinds: list[ThreadSourceKind] | None = None
    use_state_db_only: bool = False


class ThreadListResponse(Wire):
    data: list[Thread]
    backwards_cursor: str | None = None
    next_cursor: str | None = None
    read_states: Annotated[dict[str, ThreadReadState] | None, Experimental("thread/list.readStates")] = None


THREAD_LIST = ClientRequest("thread/list", ThreadListParams, ThreadListResponse)


class ThreadLoadedListParams(Wire):
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadLoadedListResponse(Wire):
    data: list[str]
    next_cursor: str | None = None


THREAD_LOADED_LIST = ClientRequest("thread/loaded/list", ThreadLoadedListParams, ThreadLoadedListResponse)


class ThreadTurnsListParams(Wire):
    thread_id: str
    cursor: str | None = None
    items_view: TurnItemsView | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None


class ThreadTurnsListResponse(Wire):
    data: list[Turn]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_TURNS_LIST = ClientRequest(
    "thread/turns/list", ThreadTurnsListParams, ThreadTurnsListResponse, order=reads_thread
)


class ThreadItemOutputDeferral(Wire):
    command_execution: Annotated[bool, Experimental("thread/items/list.deferOutput.commandExecution")] = False
    mcp_tool_call: Annotated[bool, Experimental("thread/items/list.deferOutput.mcpToolCall")] = False


class ItemThreadItemsListAnchor(Wire):
    type: Literal["item"] = "item"
    item_id: str


ThreadItemsListAnchor = ItemThreadItemsListAnchor

ThreadItemsListCursor = str | ThreadItemsListAnchor


class ThreadItemsListParams(Wire):
    thread_id: str
    cursor: ThreadItemsListCursor | None = None
    defer_output: ThreadItemOutputDeferral | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None
    turn_id: str | None = None


class ThreadItemEntry(Wire):
    item: ThreadItem
    turn_id: str
    completed_at_ms: int | None = None
    output_deferred: Annotated[bool, Experimental("thread/items/list.outputDeferred")] = False
    started_at_ms: int | None = None


class ThreadItemsListResponse(Wire):
    data: list[ThreadItemEntry]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_ITEMS_LIST = ClientRequest(
    "thread/items/list", ThreadItemsListParams, ThreadItemsListResponse, order=reads_thread
)


class ThreadSetNameParams(Wire):
    name: str
    thread_id: str


class ThreadSetNameResponse(Wire):
    pass


THREAD_NAME_SET = ClientRequest("thread/name/set", ThreadSetNameParams, ThreadSetNameResponse, order=by_thread)


class ThreadArchiveParams(Wire):
    thread_id: str


class ThreadArchiveResponse(Wire):
    pass


THREAD_ARCHIVE = ClientRequest("thread/archive", ThreadArchiveParams, ThreadArchiveResponse, order=by_thread)


class ThreadUnarchiveParams(Wire):
    thread_id: str


class ThreadUnarchiveResponse(Wire):
    thread: Thread


THREAD_UNARCHIVE = ClientRequest("thread/unarchive", ThreadUnarchiveParams, ThreadUnarchiveResponse, order=by_thread)


class ThreadDeleteParams(Wire):
    thread_id: str


class ThreadDeleteResponse(Wire):
    pass


THREAD_DELETE = ClientRequest("thread/delete", ThreadDeleteParams, ThreadDeleteResponse, order=by_thread)


class ThreadUnsubscribeParams(Wire):
    thread_id: str


ThreadUnsubscribeStatus = Literal["notLoaded", "notSubscribed", "unsubscribed"]


class ThreadUnsubscribeResponse(Wire):
    status: ThreadUnsubscribeStatus


THREAD_UNSUBSCRIBE = ClientRequest(
    "thread/unsubscribe", ThreadUnsubscribeParams, ThreadUnsubscribeResponse, order=by_thread
)


class ThreadSettings(Wire):
    approval_policy: AskForApproval
    approvals_reviewer: ApprovalsReviewer
    collaboration_mode: CollaborationMode
    cwd: AbsolutePath
    model: str
    model_provider: str
    sandbox_policy: SandboxPolicy
    active_permission_profile: ActivePermissionProfile | None = None
    disabled_plugin_ids: list[str] = []
    effort: ReasoningEffort | None = None
    environments: Annotated[list[ThreadEnvironment] | None, Experimental("ThreadSettings.environments")] = None
    multi_agent_mode: Annotated[MultiAgentMode, Experimental("ThreadSettings.multiAgentMode")] = "explicitRequestOnly"
    personality: Personality | None = None
    service_tier: str | None = None
    summary: ReasoningSummary | None = None


class ThreadSettingsUpdateParams(Wire):
    thread_id: str
    approval_policy: AskForApproval | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    collaboration_mode: CollaborationMode | None = None
    cwd: str | None = None
    disabled_plugin_ids: list[str] | None = None
    effort: ReasoningEffort | None = None
    environments: list[TurnEnvironmentParams] | None = None
    model: str | None = None
    multi_agent_mode: MultiAgentMode | None = None
    permissions: str | None = None
    personality: Personality | None = None
    sandbox_policy: SandboxPolicy | None = None
    service_tier: str | None = None
    summary: ReasoningSummary | None = None


class ThreadSettingsUpdateResponse(Wire):
    pass


THREAD_SETTINGS_UPDATE = ClientRequest(
    "thread/settings/update",
    ThreadSettingsUpdateParams,
    ThreadSettingsUpdateResponse,
    order=by_thread,
    experimental="thread/settings/update",
)


class ThreadCompactStartParams(Wire):
    thread_id: str


class ThreadCompactStartResponse(Wire):
    pass


THREAD_COMPACT_START = ClientRequest(
    "thread/compact/start", ThreadCompactStartParams, ThreadCompactStartResponse, order=by_thread
)


class ThreadShellCommandParams(Wire):
    command: str
    thread_id: str
    timeout_ms: int | None = None


class ThreadShellCommandResponse(Wire):
    pass


THREAD_SHELL_COMMAND = ClientRequest(
    "thread/shellCommand", ThreadShellCommandParams, ThreadShellCommandResponse, order=by_thread
)


class ThreadBackgroundTerminalsListParams(Wire):
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadBackgroundTerminal(Wire):
    command: str
    cwd: LegacyAppPathString
    item_id: str
    process_id: str
    cpu_percent: float | None = None
    os_pid: UInt32 | None = None
    rss_kb: UInt | None = None


class ThreadBackgroundTerminalsListResponse(Wire):
    data: list[ThreadBackgroundTerminal]
    next_cursor: str | None = None


THREAD_BACKGROUND_TERMINALS_LIST = ClientRequest(
    "thread/backgroundTerminals/list",
    ThreadBackgroundTerminalsListParams,
    ThreadBackgroundTerminalsListResponse,
    experimental="thread/backgroundTerminals/list",
)


class ThreadStartedNotification(Wire):
    thread: Thread


THREAD_STARTED = ServerNotification("thread/started", ThreadStartedNotification)


class ThreadStatusChangedNotification(Wire):
    status: ThreadStatus
    thread_id: str


THREAD_STATUS_CHANGED = ServerNotification("thread/status/changed", ThreadStatusChangedNotification)


class ThreadArchivedNotification(Wire):
    thread_id: str


THREAD_ARCHIVED = ServerNotification("thread/archived", ThreadArchivedNotification)


class ThreadUnarchivedNotification(Wire):
    thread_id: str


THREAD_UNARCHIVED = ServerNotification("thread/unarchived", ThreadUnarchivedNotification)


class ThreadDeletedNotification(Wire):
    thread_id: str


THREAD_DELETED = ServerNotification("thread/deleted", ThreadDeletedNotification)


class ThreadClosedNotification(Wire):
    thread_id: str


THREAD_CLOSED = ServerNotification("thread/closed", ThreadClosedNotification)


class ThreadNameUpdatedNotification(Wire):
    thread_id: str
    thread_name: str | None = None


THREAD_NAME_UPDATED = ServerNotification("thread/name/updated", ThreadNameUpdatedNotification)


class ThreadSettingsUpdatedNotification(Wire):
    thread_id: str
    thread_settings: ThreadSettings


THREAD_SETTINGS_UPDATED = ServerNotification("thread/settings/updated", ThreadSettingsUpdatedNotification)


class ThreadTokenUsageUpdatedNotification(Wire):
    thread_id: str
    token_usage: ThreadTokenUsage
    turn_id: str


THREAD_TOKEN_USAGE_UPDATED = ServerNotification("thread/tokenUsage/updated", ThreadTokenUsageUpdatedNotification)


class ThreadReadStateChangedNotification(Wire):
    read_state: ThreadReadState
    thread_id: str


THREAD_READ_STATE_CHANGED = ServerNotification("thread/readState/changed", ThreadReadStateChangedNotification)
