"""Items: what happens within a turn, and the notifications that tell it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from protocol.methods import ServerNotification
from protocol.v2.dynamic_tool import DynamicToolCallOutputContentItem, DynamicToolCallStatus
from protocol.v2.function_output import FunctionCallOutputBody
from protocol.v2.mcp import McpAppUi, McpToolCallAppContext, McpToolCallError, McpToolCallResult, McpToolCallStatus
from protocol.v2.model import ReasoningEffort
from protocol.v2.permissions import LegacyAppPathString
from protocol.v2.user_input import UserInput
from protocol.wire import ABSENT_WHEN_NONE, AbsolutePath, SnakeWire, UInt, UInt32, Wire

MessagePhase = Literal["commentary", "partial_answer", "final_answer"]
"""What a message is within its turn."""


class HookPromptFragment(Wire):
    """Text that a hook added to the conversation."""

    hook_run_id: str
    text: str


AgentMessageDelivery = Literal["async"]
"""Set on messages that arrive outside the turn's own flow."""


class AgentMessageDisplay(Wire):
    """What to show in place of a moderated message."""

    action: str
    block_type: str | None = None
    check_trusted_contacts: bool | None = None
    cyber_trusted_access: bool | None = None


class AgentMessageModeration(Wire):
    """The provider's verdict on a message."""

    moderated: bool
    display: AgentMessageDisplay | None = None


class MemoryCitationEntry(Wire):
    """Lines of a memory file, both ends included, counted from 1."""

    line_end: UInt32
    line_start: UInt32
    note: str
    path: str


class MemoryCitation(Wire):
    """The memories that a message draws on."""

    entries: list[MemoryCitationEntry]
    thread_ids: list[str]


class AsyncUserInputQuestion(Wire, extra="forbid"):
    """A question to the user that does not hold up the turn."""

    title: str
    options: list[str] | None = None


class ReadCommandAction(Wire):
    """A file is read."""

    type: Literal["read"] = "read"
    command: str
    name: str
    path: LegacyAppPathString


class ListFilesCommandAction(Wire):
    """A folder is listed."""

    type: Literal["listFiles"] = "listFiles"
    command: str
    path: str | None = None


class SearchCommandAction(Wire):
    """Files are searched."""

    type: Literal["search"] = "search"
    command: str
    path: str | None = None
    query: str | None = None


class UnknownCommandAction(Wire):
    """Anything else."""

    type: Literal["unknown"] = "unknown"
    command: str


CommandAction = Annotated[
    ReadCommandAction | ListFilesCommandAction | SearchCommandAction | UnknownCommandAction, Field(discriminator="type")
]
"""What a command seems to do, for display."""

CommandExecutionSource = Literal["agent", "userShell", "unifiedExecStartup", "unifiedExecInteraction"]
"""Who started a command."""

CommandExecutionStatus = Literal["inProgress", "completed", "failed", "declined"]
"""How far a command has come; `declined` was never run."""


class AddPatchChangeKind(Wire):
    """A new file."""

    type: Literal["add"] = "add"


class DeletePatchChangeKind(Wire):
    """A removed file."""

    type: Literal["delete"] = "delete"


class UpdatePatchChangeKind(SnakeWire):
    """A changed file; `move_path` is its new name if it got one."""

    type: Literal["update"] = "update"
    move_path: str | None = None


PatchChangeKind = Annotated[
    AddPatchChangeKind | DeletePatchChangeKind | UpdatePatchChangeKind, Field(discriminator="type")
]
"""What happened to a file."""


class FileUpdateChange(Wire):
    """One file of a change. `diff` is a unified diff, or the whole text of an added or deleted file."""

    diff: str
    kind: PatchChangeKind
    path: str


PatchApplyStatus = Literal["inProgress", "completed", "failed", "declined"]
"""How far a change of files has come."""

CollabAgentStatus = Literal["pendingInit", "running", "interrupted", "completed", "errored", "shutdown", "notFound"]
"""What another agent is doing."""


class CollabAgentState(Wire):
    """Another agent as last seen."""

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
"""A tool for working with other agents."""

CollabAgentToolCallStatus = Literal["inProgress", "completed", "failed", "interrupted"]
"""How far such a call has come."""

SubAgentActivityKind = Literal["started", "interacted", "interrupted", "completed"]
"""What a sub-agent did."""


class SearchWebSearchAction(Wire):
    """A search."""

    type: Literal["search"] = "search"
    queries: list[str] | None = None
    query: str | None = None


class OpenPageWebSearchAction(Wire):
    """A page was opened."""

    type: Literal["openPage"] = "openPage"
    url: str | None = None


class FindInPageWebSearchAction(Wire):
    """A page was searched for a pattern."""

    type: Literal["findInPage"] = "findInPage"
    pattern: str | None = None
    url: str | None = None


class OtherWebSearchAction(Wire):
    """Something that this version does not know."""

    type: Literal["other"] = "other"


WebSearchAction = Annotated[
    SearchWebSearchAction | OpenPageWebSearchAction | FindInPageWebSearchAction | OtherWebSearchAction,
    Field(discriminator="type"),
]
"""What a web search did."""


class UsageLimitExceededImageGenerationFailure(Wire):
    """A limit was reached; `resets_at` is in Unix seconds."""

    type: Literal["usageLimitExceeded"] = "usageLimitExceeded"
    limit_id: str
    resets_at: int | None = None


ImageGenerationFailure = UsageLimitExceededImageGenerationFailure
"""Why no image was made."""


class ImageGenerationInputImage(Wire):
    """An image that was given as a model for the new one."""

    path: AbsolutePath
    sha256: str


class ThreadItemTimes(Wire):
    """When an item began and ended, in Unix milliseconds; None where it was not recorded."""

    completed_at_ms: int | None = None
    started_at_ms: int | None = None


class UserMessageThreadItem(ThreadItemTimes):
    """What the user said. `client_id` is the id that the client gave it."""

    type: Literal["userMessage"] = "userMessage"
    id: str
    content: list[UserInput]
    client_id: str | None = None


class HookPromptThreadItem(ThreadItemTimes):
    """What hooks told the model."""

    type: Literal["hookPrompt"] = "hookPrompt"
    id: str
    fragments: list[HookPromptFragment]


class AgentMessageThreadItem(ThreadItemTimes):
    """What the model said."""

    type: Literal["agentMessage"] = "agentMessage"
    id: str
    text: str
    delivery: AgentMessageDelivery | None = None
    memory_citation: MemoryCitation | None = None
    moderation: AgentMessageModeration | None = None
    phase: MessagePhase | None = None
    questions: list[AsyncUserInputQuestion] | None = None


class FunctionCallOutputThreadItem(ThreadItemTimes):
    """A tool output that the client put into the turn."""

    type: Literal["functionCallOutput"] = "functionCallOutput"
    id: str
    name: str
    output: FunctionCallOutputBody
    namespace: str | None = None


class PlanThreadItem(ThreadItemTimes):
    """A plan that the model proposes."""

    type: Literal["plan"] = "plan"
    id: str
    text: str


class ReasoningThreadItem(ThreadItemTimes):
    """The model's reasoning: paragraphs of its summary, and the raw text where the provider gives it."""

    type: Literal["reasoning"] = "reasoning"
    id: str
    content: list[str] = []
    summary: list[str] = []


class CommandExecutionThreadItem(ThreadItemTimes):
    """A command: `aggregated_output` joins both streams, `duration_ms` is in milliseconds.

    `exit_code` is None while it runs and when it never ran. `process_id` names a terminal that takes input.
    """

    type: Literal["commandExecution"] = "commandExecution"
    id: str
    command: str
    command_actions: list[CommandAction]
    cwd: LegacyAppPathString
    status: CommandExecutionStatus
    aggregated_output: str | None = None
    duration_ms: int | None = None
    exit_code: int | None = None
    plugin_id: str | None = None
    process_id: str | None = None
    script_path: str | None = None
    source: CommandExecutionSource = "agent"


class FileChangeThreadItem(ThreadItemTimes):
    """Files that the agent changes."""

    type: Literal["fileChange"] = "fileChange"
    id: str
    changes: list[FileUpdateChange]
    status: PatchApplyStatus


class McpToolCallThreadItem(ThreadItemTimes):
    """A call of an MCP tool; `duration_ms` is in milliseconds."""

    type: Literal["mcpToolCall"] = "mcpToolCall"
    id: str
    arguments: Any
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
    """A call of a client's tool; `duration_ms` is in milliseconds."""

    type: Literal["dynamicToolCall"] = "dynamicToolCall"
    id: str
    arguments: Any
    status: DynamicToolCallStatus
    tool: str
    content_items: list[DynamicToolCallOutputContentItem] | None = None
    duration_ms: int | None = None
    namespace: str | None = None
    success: bool | None = None


class CollabAgentToolCallThreadItem(ThreadItemTimes):
    """A call that starts, tells or watches other agents."""

    type: Literal["collabAgentToolCall"] = "collabAgentToolCall"
    id: str
    agents_states: dict[str, CollabAgentState]
    receiver_thread_ids: list[str]
    sender_thread_id: str
    status: CollabAgentToolCallStatus
    tool: CollabAgentTool
    model: str | None = None
    prompt: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class SubAgentActivityThreadItem(ThreadItemTimes):
    """News of a sub-agent."""

    type: Literal["subAgentActivity"] = "subAgentActivity"
    id: str
    agent_path: str
    agent_thread_id: str
    kind: SubAgentActivityKind
    model: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class WebSearchThreadItem(ThreadItemTimes):
    """A web search."""

    type: Literal["webSearch"] = "webSearch"
    id: str
    query: str
    action: WebSearchAction | None = None
    results: list[Any] | None = None


class ImageViewThreadItem(ThreadItemTimes):
    """The model looked at an image file."""

    type: Literal["imageView"] = "imageView"
    id: str
    path: LegacyAppPathString


class SleepThreadItem(ThreadItemTimes):
    """The agent waited for `duration_ms` milliseconds."""

    type: Literal["sleep"] = "sleep"
    id: str
    duration_ms: UInt


class ImageGenerationThreadItem(ThreadItemTimes):
    """An image that the model made: `result` is base64, or `file_id` names it."""

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
    """A review began; `review` says of what."""

    type: Literal["enteredReviewMode"] = "enteredReviewMode"
    id: str
    review: str


class ExitedReviewModeThreadItem(ThreadItemTimes):
    """A review ended; `review` is its text."""

    type: Literal["exitedReviewMode"] = "exitedReviewMode"
    id: str
    review: str


class ContextCompactionThreadItem(ThreadItemTimes):
    """The history before this was summed up to save room."""

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
"""One thing that happened in a turn."""


class ItemStartedNotification(Wire):
    """An item began; `started_at_ms` is in Unix milliseconds."""

    thread_id: str
    turn_id: str
    item: ThreadItem
    started_at_ms: int


ITEM_STARTED = ServerNotification("item/started", ItemStartedNotification)


class ItemCompletedNotification(Wire):
    """An item is final; `completed_at_ms` is in Unix milliseconds."""

    thread_id: str
    turn_id: str
    completed_at_ms: int
    item: ThreadItem
    content_token_count: UInt | None = None


ITEM_COMPLETED = ServerNotification("item/completed", ItemCompletedNotification)


class AgentMessageDeltaNotification(Wire):
    """More text of a message."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str


ITEM_AGENT_MESSAGE_DELTA = ServerNotification(
    "item/agentMessage/delta", AgentMessageDeltaNotification, delta_of="delta"
)


class ReasoningSummaryTextDeltaNotification(Wire):
    """More text of paragraph `summary_index` of a reasoning summary."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str
    summary_index: int


ITEM_REASONING_SUMMARY_TEXT_DELTA = ServerNotification(
    "item/reasoning/summaryTextDelta", ReasoningSummaryTextDeltaNotification, delta_of="delta"
)


class ReasoningSummaryPartAddedNotification(Wire):
    """A new paragraph of a reasoning summary begins."""

    thread_id: str
    turn_id: str
    item_id: str
    summary_index: int


ITEM_REASONING_SUMMARY_PART_ADDED = ServerNotification(
    "item/reasoning/summaryPartAdded", ReasoningSummaryPartAddedNotification
)


class ReasoningTextDeltaNotification(Wire):
    """More text of part `content_index` of the raw reasoning."""

    thread_id: str
    turn_id: str
    item_id: str
    content_index: int
    delta: str


ITEM_REASONING_TEXT_DELTA = ServerNotification(
    "item/reasoning/textDelta", ReasoningTextDeltaNotification, delta_of="delta"
)


class CommandExecutionOutputDeltaNotification(Wire):
    """More output of a command, both streams as they came."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str


ITEM_COMMAND_EXECUTION_OUTPUT_DELTA = ServerNotification(
    "item/commandExecution/outputDelta", CommandExecutionOutputDeltaNotification, delta_of="delta"
)


class TerminalInteractionNotification(Wire):
    """The model typed `stdin` into a running command; `process_id` as its item shows it."""

    thread_id: str
    turn_id: str
    item_id: str
    process_id: str
    stdin: str


ITEM_COMMAND_EXECUTION_TERMINAL_INTERACTION = ServerNotification(
    "item/commandExecution/terminalInteraction", TerminalInteractionNotification
)
