"""The life of threads: start, resume, fork, settings, archive, delete, and their notifications."""

from typing import Annotated, Any, Literal

from protocol.methods import Access, ClientRequest, ServerNotification, by_thread
from protocol.v2.dynamic_tool import DynamicToolSpec
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
    SortDirection,
    Thread,
    ThreadEnvironment,
    ThreadHistoryMode,
    ThreadReadState,
    ThreadSource,
    ThreadStatus,
    ThreadTokenUsage,
    TurnItemsView,
    TurnsPage,
)
from protocol.v2.turn import TurnEnvironmentParams
from protocol.wire import AbsolutePath, Experimental, UInt, UInt32, Wire

ThreadStartSource = Literal["startup", "clear"]
"""Why a client starts a thread."""


class EnvironmentCapabilityRootLocation(Wire):
    """A folder in an environment."""

    type: Literal["environment"] = "environment"
    environment_id: str
    path: str


CapabilityRootLocation = EnvironmentCapabilityRootLocation
"""Where a capability root is."""


class SelectedCapabilityRoot(Wire):
    """A folder of skills and the like that the thread may use."""

    id: str
    location: CapabilityRootLocation


class ThreadStartParams(Wire):
    """Start a thread. None leaves a setting to the configuration; `config` overrides keys of config.toml."""

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
    """The new thread and the settings in force."""

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


THREAD_START = ClientRequest("thread/start", ThreadStartParams, ThreadStartResponse, access="act")


class ThreadResumeInitialTurnsPageParams(Wire):
    """Asks for a page of turns along with the answer."""

    items_view: TurnItemsView | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None


class ThreadResumeParams(Wire):
    """Load a thread if need be, and subscribe to it. `history` or `path` take the place of the stored one."""

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
    """The thread as it is at the moment of subscribing, and the settings in force."""

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


_SUBSCRIBING = frozenset({"thread_id", "exclude_turns", "initial_turns_page"})


def _resume_access(params: ThreadResumeParams) -> Access:
    """Who only follows a thread names no settings."""
    given = params.model_fields_set - _SUBSCRIBING
    return "read" if all(getattr(params, name) is None for name in given) else "act"


THREAD_RESUME = ClientRequest(
    "thread/resume", ThreadResumeParams, ThreadResumeResponse, order=by_thread, access=_resume_access
)


class ThreadForkParams(Wire):
    """Make a new thread from an old one, up to and including `last_turn_id` or up to before `before_turn_id`."""

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
    """The new thread and the settings in force."""

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


THREAD_FORK = ClientRequest("thread/fork", ThreadForkParams, ThreadForkResponse, order=by_thread, access="act")


class ThreadSetNameParams(Wire):
    """Name a thread."""

    thread_id: str
    name: str


class ThreadSetNameResponse(Wire):
    """The thread is named."""


THREAD_NAME_SET = ClientRequest(
    "thread/name/set", ThreadSetNameParams, ThreadSetNameResponse, order=by_thread, access="act"
)


class ThreadArchiveParams(Wire):
    """Take a thread out of the lists; nothing is lost."""

    thread_id: str


class ThreadArchiveResponse(Wire):
    """The thread is archived."""


THREAD_ARCHIVE = ClientRequest(
    "thread/archive", ThreadArchiveParams, ThreadArchiveResponse, order=by_thread, access="act"
)


class ThreadUnarchiveParams(Wire):
    """Bring a thread back."""

    thread_id: str


class ThreadUnarchiveResponse(Wire):
    """The thread, not loaded."""

    thread: Thread


THREAD_UNARCHIVE = ClientRequest(
    "thread/unarchive", ThreadUnarchiveParams, ThreadUnarchiveResponse, order=by_thread, access="act"
)


class ThreadDeleteParams(Wire):
    """Delete a thread for good."""

    thread_id: str


class ThreadDeleteResponse(Wire):
    """The thread is gone."""


THREAD_DELETE = ClientRequest("thread/delete", ThreadDeleteParams, ThreadDeleteResponse, order=by_thread, access="act")


class ThreadUnsubscribeParams(Wire):
    """Stop hearing of a thread."""

    thread_id: str


ThreadUnsubscribeStatus = Literal["notLoaded", "notSubscribed", "unsubscribed"]
"""What the request found."""


class ThreadUnsubscribeResponse(Wire):
    """Whether there was something to end."""

    status: ThreadUnsubscribeStatus


THREAD_UNSUBSCRIBE = ClientRequest(
    "thread/unsubscribe", ThreadUnsubscribeParams, ThreadUnsubscribeResponse, order=by_thread, access="read"
)


class ThreadSettings(Wire):
    """The settings that a thread's next turn will use."""

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
    """Change settings of a thread; None leaves one as it is."""

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
    """The settings hold from the next turn on."""


THREAD_SETTINGS_UPDATE = ClientRequest(
    "thread/settings/update",
    ThreadSettingsUpdateParams,
    ThreadSettingsUpdateResponse,
    order=by_thread,
    experimental="thread/settings/update",
    access="act",
)


class ThreadCompactStartParams(Wire):
    """Sum up a thread's history to save room."""

    thread_id: str


class ThreadCompactStartResponse(Wire):
    """Compaction has begun as a turn."""


THREAD_COMPACT_START = ClientRequest(
    "thread/compact/start",
    ThreadCompactStartParams,
    ThreadCompactStartResponse,
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadShellCommandParams(Wire):
    """Run a line that the user typed, outside the sandbox; `timeout_ms` is in milliseconds."""

    thread_id: str
    command: str
    timeout_ms: int | None = None


class ThreadShellCommandResponse(Wire):
    """The command has been started."""


THREAD_SHELL_COMMAND = ClientRequest(
    "thread/shellCommand", ThreadShellCommandParams, ThreadShellCommandResponse, order=by_thread
)


class ThreadBackgroundTerminalsListParams(Wire):
    """A page of a thread's running terminals."""

    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadBackgroundTerminal(Wire):
    """A command that outlived its turn; `rss_kb` is in KiB, `cpu_percent` of one core."""

    item_id: str
    command: str
    cwd: LegacyAppPathString
    process_id: str
    cpu_percent: float | None = None
    os_pid: UInt32 | None = None
    rss_kb: UInt | None = None


class ThreadBackgroundTerminalsListResponse(Wire):
    """One page of terminals."""

    data: list[ThreadBackgroundTerminal]
    next_cursor: str | None = None


THREAD_BACKGROUND_TERMINALS_LIST = ClientRequest(
    "thread/backgroundTerminals/list",
    ThreadBackgroundTerminalsListParams,
    ThreadBackgroundTerminalsListResponse,
    experimental="thread/backgroundTerminals/list",
    access="read",
)


class ThreadBackgroundTerminalsTerminateParams(Wire):
    """End one command in the background."""

    thread_id: str
    process_id: str


class ThreadBackgroundTerminalsTerminateResponse(Wire):
    """Whether there was one to end."""

    terminated: bool


THREAD_BACKGROUND_TERMINALS_TERMINATE = ClientRequest(
    "thread/backgroundTerminals/terminate",
    ThreadBackgroundTerminalsTerminateParams,
    ThreadBackgroundTerminalsTerminateResponse,
    experimental="thread/backgroundTerminals/terminate",
    access="act",
)


class ThreadBackgroundTerminalsCleanParams(Wire):
    """End all commands of a thread that run in the background."""

    thread_id: str


class ThreadBackgroundTerminalsCleanResponse(Wire):
    """They have ended."""


THREAD_BACKGROUND_TERMINALS_CLEAN = ClientRequest(
    "thread/backgroundTerminals/clean",
    ThreadBackgroundTerminalsCleanParams,
    ThreadBackgroundTerminalsCleanResponse,
    experimental="thread/backgroundTerminals/clean",
    access="act",
)


class ThreadStartedNotification(Wire):
    """A thread exists now."""

    thread: Thread


THREAD_STARTED = ServerNotification("thread/started", ThreadStartedNotification)


class ThreadStatusChangedNotification(Wire):
    """A thread does something else now."""

    thread_id: str
    status: ThreadStatus


THREAD_STATUS_CHANGED = ServerNotification("thread/status/changed", ThreadStatusChangedNotification)


class ThreadArchivedNotification(Wire):
    """A thread was archived."""

    thread_id: str


THREAD_ARCHIVED = ServerNotification("thread/archived", ThreadArchivedNotification)


class ThreadUnarchivedNotification(Wire):
    """A thread was brought back."""

    thread_id: str


THREAD_UNARCHIVED = ServerNotification("thread/unarchived", ThreadUnarchivedNotification)


class ThreadDeletedNotification(Wire):
    """A thread was deleted."""

    thread_id: str


THREAD_DELETED = ServerNotification("thread/deleted", ThreadDeletedNotification)


class ThreadClosedNotification(Wire):
    """A thread was unloaded."""

    thread_id: str


THREAD_CLOSED = ServerNotification("thread/closed", ThreadClosedNotification)


class ThreadNameUpdatedNotification(Wire):
    """A thread has another name; None if it has none."""

    thread_id: str
    thread_name: str | None = None


THREAD_NAME_UPDATED = ServerNotification("thread/name/updated", ThreadNameUpdatedNotification)


class ThreadSettingsUpdatedNotification(Wire):
    """A thread's settings changed."""

    thread_id: str
    thread_settings: ThreadSettings


THREAD_SETTINGS_UPDATED = ServerNotification("thread/settings/updated", ThreadSettingsUpdatedNotification)


class ThreadTokenUsageUpdatedNotification(Wire):
    """Tokens were used."""

    thread_id: str
    turn_id: str
    token_usage: ThreadTokenUsage


THREAD_TOKEN_USAGE_UPDATED = ServerNotification("thread/tokenUsage/updated", ThreadTokenUsageUpdatedNotification)


class ThreadReadStateChangedNotification(Wire):
    """What counts as read changed."""

    thread_id: str
    read_state: ThreadReadState


THREAD_READ_STATE_CHANGED = ServerNotification("thread/readState/changed", ThreadReadStateChangedNotification)
