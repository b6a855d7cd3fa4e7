"""v2.item"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from protocol.methods import ServerNotification
from protocol.v2.dynamic_tool import DynamicToolCallOutputContentItem, DynamicToolCallStatus
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import LegacyAppPathString
from protocol.v2.response_item import FunctionCallOutputBody, MessagePhase
from protocol.v2.user_input import UserInput
from protocol.wire import ABSENT_WHEN_NONE, AbsolutePath, SnakeWire, UInt, UInt32, Wire


class HookPromptFragment(Wire):
    hook_run_id: str
    text: str


AgentMessageDelivery = Literal["async"]


class AgentMessageDisplay(Wire):
    action: str
    block_type: str | None = None
    check_trusted_contacts: bool | None = None
    cyber_trusted_access: bool | None = None


class AgentMessageModeration(Wire):
    moderated: bool
    display: AgentMessageDisplay | None = None


class MemoryCitationEntry(Wire):
    line_end: UInt32
    line_start: UInt32
    note: str
    path: str


class MemoryCitation(Wire):
    entries: list[MemoryCitationEntry]
    thread_ids: list[str]


class AsyncUserInputQuestion(Wire, extra="forbid"):
    title: str
    options: list[str] | None = None


class ReadCommandAction(Wire):
    type: Literal["read"] = "read"
    command: str
    name: str
    path: LegacyAppPathString


class ListFilesCommandAction(Wire):
    type: Literal["listFiles"] = "listFiles"
    command: str
    path: str | None = None


class SearchCommandAction(Wire):
    type: Literal["search"] = "search"
    command: str
    path: str | None = None
    query: str | None = None


class UnknownCommandAction(Wire):
    type: Literal["unknown"] = "unknown"
    command: str


CommandAction = Annotated[
    ReadCommandAction | ListFilesCommandAction | SearchCommandAction | UnknownCommandAction, Field(discriminator="type")
]

CommandExecutionSource = Literal["agent", "userShell", "unifiedExecStartup", "unifiedExecInteraction"]

CommandExecutionStatus = Literal["inProgress", "completed", "failed", "declined"]


class AddPatchChangeKind(Wire):
    type: Literal["add"] = "add"


class DeletePatchChangeKind(Wire):
    type: Literal["delete"] = "delete"


class UpdatePatchChangeKind(SnakeWire):
    type: Literal["update"] = "update"
    move_path: str | None = None


PatchChangeKind = Annotated[
    AddPatchChangeKind | DeletePatchChangeKind | UpdatePatchChangeKind, Field(discriminator="type")
]


class FileUpdateChange(Wire):
    diff: str
    kind: PatchChangeKind
    path: str


PatchApplyStatus = Literal["inProgress", "completed", "failed", "declined"]

McpAppDisplayMode = Literal["inline", "fullscreen"]


class McpAppUi(Wire):
    preferred_model_display_mode: McpAppDisplayMode
    resource_uri: str


class McpToolCallAppContext(Wire):
    connector_id: str
    action_name: str | None = None
    app_name: str | None = None
    link_id: str | None = None
    resource_uri: str | None = None


class McpToolCallError(Wire):
    message: str


class McpToolCallResult(Wire):
    content: list[Any]
    meta: Annotated[Any, Field(alias="_meta")] = None
    structured_content: Any = None


McpToolCallStatus = Literal["inProgress", "completed", "failed"]

CollabAgentStatus = Literal["pendingInit", "running", "interrupted", "completed", "errored", "shutdown", "notFound"]


class CollabAgentState(Wire):
    status: CollabAgentStatus
    message: str | None = None


CollabAgentTool = Literal[
    "spawnAgent",
    "sendInput",
    "resumeAgent",
    "wait",
    "closeAgent",
    "sendMessage",
    "followupTask",
    "interruptAgent",
    "listAgents",
]

CollabAgentToolCallStatus = Literal["inProgress", "completed", "failed", "interrupted"]

SubAgentActivityKind = Literal["started", "interacted", "interrupted", "completed"]


class SearchWebSearchAction(Wire):
    type: Literal["search"] = "search"
    queries: list[str] | None = None
    query: str | None = None


class OpenPageWebSearchAction(Wire):
    type: Literal["openPage"] = "openPage"
    url: str | None = None


class FindInPageWebSearchAction(Wire):
    type: Literal["findInPage"] = "findInPage"
    pattern: str | None = None
    url: str | None = None


class OtherWebSearchAction(Wire):
    type: Literal["other"] = "other"


WebSearchAction = Annotated[
    SearchWebSearchAction | OpenPageWebSearchAction | FindInPageWebSearchAction | OtherWebSearchAction,
    Field(discriminator="type"),
]


class UsageLimitExceededImageGenerationFailure(Wire):
    type: Literal["usageLimitExceeded"] = "usageLimitExceeded"
    limit_id: str
    resets_at: int | None = None


ImageGenerationFailure = UsageLimitExceededImageGenerationFailure


class ImageGenerationInputImage(Wire):
    path: AbsolutePath
    sha256: str


class ThreadItemTimes(Wire):
    completed_at_ms: int | None = None
    started_at_ms: int | None = None


class UserMessageThreadItem(ThreadItemTimes):
    type: Literal["userMessage"] = "userMessage"
    content: list[UserInput]
    id: str
    client_id: str | None = None


class HookPromptThreadItem(ThreadItemTimes):
    type: Literal["hookPrompt"] = "hookPrompt"
    fragments: list[HookPromptFragment]
    id: str


class AgentMessageThreadItem(ThreadItemTimes):
    type: Literal["agentMessage"] = "agentMessage"
    id: str
    text: str
    delivery: AgentMessageDelivery | None = None
    memory_citation: MemoryCitation | None = None
    moderation: AgentMessageModeration | None = None
    phase: MessagePhase | None = None
    questions: list[AsyncUserInputQuestion] | None = None


class FunctionCallOutputThreadItem(ThreadItemTimes):
    type: Literal["functionCallOutput"] = "functionCallOutput"
    id: str
    name: str
    output: FunctionCallOutputBody
    namespace: str | None = None


class PlanThreadItem(ThreadItemTimes):
    type: Literal["plan"] = "plan"
    id: str
    text: str


class ReasoningThreadItem(ThreadItemTimes):
    type: Literal["reasoning"] = "reasoning"
    id: str
    content: list[str] = []
    summary: list[str] = []


class CommandExecutionThreadItem(ThreadItemTimes):
    type: Literal["commandExecution"] = "commandExecution"
    command: str
    command_actions: list[CommandAction]
    cwd: LegacyAppPathString
    id: str
    status: CommandExecutionStatus
    aggregated_output: str | None = None
    duration_ms: int | None = None
    exit_code: int | None = None
    plugin_id: str | None = None
    process_id: str | None = None
    script_path: str | None = None
    source: CommandExecutionSource = "agent"


class FileChangeThreadItem(ThreadItemTimes):
    type: Literal["fileChange"] = "fileChange"
    changes: list[FileUpdateChange]
    id: str
    status: PatchApplyStatus


class McpToolCallThreadItem(ThreadItemTimes):
    type: Literal["mcpToolCall"] = "mcpToolCall"
    arguments: Any
    id: str
    server: str
    status: McpToolCallStatus
    tool: str
    app_context: McpToolCallAppContext | None = None
    duration_ms: int | None = None
    error: McpToolCallError | None = None
    mcp_app_resource_uri: str | None = None
    mcp_app_ui: McpAppUi | None = None
    plugin_id: str | None = None
    read_only_hint: bool | None = None
    result: McpToolCallResult | None = None


class DynamicToolCallThreadItem(ThreadItemTimes):
    type: Literal["dynamicToolCall"] = "dynamicToolCall"
    arguments: Any
    id: str
    status: DynamicToolCallStatus
    tool: str
    content_items: list[DynamicToolCallOutputContentItem] | None = None
    duration_ms: int | None = None
    namespace: str | None = None
    success: bool | None = None


class CollabAgentToolCallThreadItem(ThreadItemTimes):
    type: Literal["collabAgentToolCall"] = "collabAgentToolCall"
    agents_states: dict[str, CollabAgentState]
    id: str
    receiver_thread_ids: list[str]
    sender_thread_id: str
    status: CollabAgentToolCallStatus
    tool: CollabAgentTool
    model: str | None = None
    prompt: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class SubAgentActivityThreadItem(ThreadItemTimes):
    type: Literal["subAgentActivity"] = "subAgentActivity"
    agent_path: str
    agent_thread_id: str
    id: str
    kind: SubAgentActivityKind
    model: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class WebSearchThreadItem(ThreadItemTimes):
    type: Literal["webSearch"] = "webSearch"
    id: str
    query: str
    action: WebSearchAction | None = None
    results: list[Any] | None = None


class ImageViewThreadItem(ThreadItemTimes):
    type: Literal["imageView"] = "imageView"
    id: str
    path: LegacyAppPathString


class SleepThreadItem(ThreadItemTimes):
    type: Literal["sleep"] = "sleep"
    duration_ms: UInt
    id: str


class ImageGenerationThreadItem(ThreadItemTimes):
    type: Literal["imageGeneration"] = "imageGeneration"
    id: str
    status: str
    failure: ImageGenerationFailure | None = None
    generation_id: str | None = None
    input_images: list[ImageGenerationInputImage] = []
    revised_prompt: str | None = None
    saved_path: AbsolutePath | None = None
    transparent_background: bool | None = None
    file_id: Annotated[str | None, ABSENT_WHEN_NONE] = None
    result: Annotated[str | None, ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.file_id is None and self.result is None:
            raise ValueError("either fileId or result is needed")
        return self


class EnteredReviewModeThreadItem(ThreadItemTimes):
    type: Literal["enteredReviewMode"] = "enteredReviewMode"
    id: str
    review: str


class ExitedReviewModeThreadItem(ThreadItemTimes):
    type: Literal["exitedReviewMode"] = "exitedReviewMode"
    id: str
    review: str


class ContextCompactionThreadItem(ThreadItemTimes):
    type: Literal["contextCompaction"] = "contextCompaction"
    id: str


ThreadItem = Annotated[
    UserMessageThreadItem
    | HookPromptThreadItem
    | AgentMessageThreadItem
    | FunctionCallOutputThreadItem
    | PlanThreadItem
    | ReasoningThreadItem
    | CommandExecutionThreadItem
    | FileChangeThreadItem
    | McpToolCallThreadItem
    | DynamicToolCallThreadItem
    | CollabAgentToolCallThreadItem
    | SubAgentActivityThreadItem
    | WebSearchThreadItem
    | ImageViewThreadItem
    | SleepThreadItem
    | ImageGenerationThreadItem
    | EnteredReviewModeThreadItem
    | ExitedReviewModeThreadItem
    | ContextCompactionThreadItem,
    Field(discriminator="type"),
]


class ItemStartedNotification(Wire):
    item: ThreadItem
    started_at_ms: int
    thread_id: str
    turn_id: str


ITEM_STARTED = ServerNotification("item/started", ItemStartedNotification)


class ItemCompletedNotification(Wire):
    completed_at_ms: int
    item: ThreadItem
    thread_id: str
    turn_id: str
    content_token_count: UInt | None = None


ITEM_COMPLETED = ServerNotification("item/completed", ItemCompletedNotification)


class AgentMessageDeltaNotification(Wire):
    delta: str
    item_id: str
    thread_id: str
    turn_id: str


ITEM_AGENT_MESSAGE_DELTA = ServerNotification(
    "item/agentMessage/delta", AgentMessageDeltaNotification, delta_of="delta"
)


class ReasoningSummaryTextDeltaNotification(Wire):
    delta: str
    item_id: str
    summary_index: int
    thread_id: str
    turn_id: str


ITEM_REASONING_SUMMARY_TEXT_DELTA = ServerNotification(
    "item/reasoning/summaryTextDelta", ReasoningSummaryTextDeltaNotification, delta_of="delta"
)


class ReasoningSummaryPartAddedNotification(Wire):
    item_id: str
    summary_index: int
    thread_id: str
    turn_id: str


ITEM_REASONING_SUMMARY_PART_ADDED = ServerNotification(
    "item/reasoning/summaryPartAdded", ReasoningSummaryPartAddedNotification
)


class ReasoningTextDeltaNotification(Wire):
    content_index: int
    delta: str
    item_id: str
    thread_id: str
    turn_id: str


ITEM_REASONING_TEXT_DELTA = ServerNotification(
    "item/reasoning/textDelta", ReasoningTextDeltaNotification, delta_of="delta"
)


class CommandExecutionOutputDeltaNotification(Wire):
    delta: str
    item_id: str
    thread_id: str
    turn_id: str


ITEM_COMMAND_EXECUTION_OUTPUT_DELTA = ServerNotification(
    "item/commandExecution/outputDelta", CommandExecutionOutputDeltaNotification, delta_of="delta"
)
