"""The model's own history format, for `thread/resume` with a history.

Members are spelled as the Responses API spells them.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from protocol.v2.function_output import FunctionCallOutputBody
from protocol.v2.item import MessagePhase
from protocol.v2.model import ReasoningEffort
from protocol.v2.user_input import ImageDetail
from protocol.wire import ABSENT_WHEN_NONE, SnakeWire, UInt, Wire


class InputTextContentItem(Wire):
    """Text that the model reads."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputImageContentItem(Wire):
    """An image that the model sees: a URL or the id of an uploaded file."""

    type: Literal["input_image"] = "input_image"
    detail: ImageDetail | None = None
    image_url: Annotated[str | None, Field(alias="image_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.image_url is None and self.file_id is None:
            raise ValueError("either image_url or file_id is needed")
        return self


class InputAudioContentItem(Wire):
    """A recording that the model hears: a URL or the id of an uploaded file."""

    type: Literal["input_audio"] = "input_audio"
    audio_url: Annotated[str | None, Field(alias="audio_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.audio_url is None and self.file_id is None:
            raise ValueError("either audio_url or file_id is needed")
        return self


class OutputTextContentItem(Wire):
    """Text that the model wrote."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


ContentItem = Annotated[
    InputTextContentItem | InputImageContentItem | InputAudioContentItem | OutputTextContentItem,
    Field(discriminator="type"),
]
"""A part of a message."""


class InputTextAgentMessageInputContent(Wire):
    """Plain text."""

    type: Literal["input_text"] = "input_text"
    text: str


class EncryptedContentAgentMessageInputContent(SnakeWire):
    """Text that only the provider can read."""

    type: Literal["encrypted_content"] = "encrypted_content"
    encrypted_content: str


AgentMessageInputContent = Annotated[
    InputTextAgentMessageInputContent | EncryptedContentAgentMessageInputContent, Field(discriminator="type")
]
"""A part of a message between agents."""


class InternalChatMessageMetadataPassthrough(SnakeWire):
    """Bookkeeping that goes along with an item unchanged."""

    turn_id: str | None = None


class ReasoningTextReasoningItemContent(Wire):
    """Raw reasoning."""

    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class TextReasoningItemContent(Wire):
    """Raw reasoning, as some providers label it."""

    type: Literal["text"] = "text"
    text: str


ReasoningItemContent = Annotated[
    ReasoningTextReasoningItemContent | TextReasoningItemContent, Field(discriminator="type")
]
"""A part of the model's raw reasoning."""


class SummaryTextReasoningItemReasoningSummary(Wire):
    """One paragraph of a summary."""

    type: Literal["summary_text"] = "summary_text"
    text: str


ReasoningItemReasoningSummary = SummaryTextReasoningItemReasoningSummary
"""A part of a reasoning summary."""

LocalShellStatus = Literal["completed", "in_progress", "incomplete"]
"""How far a shell call has come."""


class ExecLocalShellAction(SnakeWire):
    """Run a program; `timeout_ms` is in milliseconds."""

    type: Literal["exec"] = "exec"
    command: list[str]
    env: dict[str, str] | None = None
    timeout_ms: UInt | None = None
    user: str | None = None
    working_directory: str | None = None


LocalShellAction = ExecLocalShellAction
"""What a shell call does."""


class SearchResponsesApiWebSearchAction(Wire):
    """A search."""

    type: Literal["search"] = "search"
    queries: list[str] | None = None
    query: str | None = None


class OpenPageResponsesApiWebSearchAction(Wire):
    """A page was opened."""

    type: Literal["open_page"] = "open_page"
    url: str | None = None


class FindInPageResponsesApiWebSearchAction(Wire):
    """A page was searched for a pattern."""

    type: Literal["find_in_page"] = "find_in_page"
    pattern: str | None = None
    url: str | None = None


class OtherResponsesApiWebSearchAction(Wire):
    """Something that this version does not know."""

    type: Literal["other"] = "other"


ResponsesApiWebSearchAction = Annotated[
    SearchResponsesApiWebSearchAction
    | OpenPageResponsesApiWebSearchAction
    | FindInPageResponsesApiWebSearchAction
    | OtherResponsesApiWebSearchAction,
    Field(discriminator="type"),
]
"""What a web search did."""


class ConfigurationReasoning(Wire):
    """The reasoning settings from here on."""

    effort: ReasoningEffort


class AdditionalToolsResponseItem(Wire):
    """Tools made available in mid-conversation."""

    type: Literal["additional_tools"] = "additional_tools"
    role: str
    tools: list[Any]
    id: str | None = None


class MessageResponseItem(SnakeWire):
    """A message of the user, the developer or the model."""

    type: Literal["message"] = "message"
    content: list[ContentItem]
    role: str
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    phase: MessagePhase | None = None
    status: str | None = None


class AgentMessageResponseItem(SnakeWire):
    """A message from one agent to another."""

    type: Literal["agent_message"] = "agent_message"
    author: str
    content: list[AgentMessageInputContent]
    recipient: str
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class ReasoningResponseItem(SnakeWire):
    """The model's reasoning: its summary and, where given, the raw text."""

    type: Literal["reasoning"] = "reasoning"
    summary: list[ReasoningItemReasoningSummary]
    content: list[ReasoningItemContent] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class LocalShellCallResponseItem(SnakeWire):
    """A call of the provider's own shell tool."""

    type: Literal["local_shell_call"] = "local_shell_call"
    action: LocalShellAction
    status: LocalShellStatus
    call_id: str | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class FunctionCallResponseItem(SnakeWire):
    """A call of a function tool; `arguments` is JSON text."""

    type: Literal["function_call"] = "function_call"
    arguments: str
    call_id: str
    name: str
    encrypted_content: str | None = None
    encrypted_function_args: list[str] | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    namespace: str | None = None
    status: str | None = None


class ToolSearchCallResponseItem(SnakeWire):
    """A search among tools that are not loaded yet."""

    type: Literal["tool_search_call"] = "tool_search_call"
    arguments: Any
    execution: str
    call_id: str | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    status: str | None = None


class FunctionCallOutputResponseItem(SnakeWire):
    """What a function tool returned."""

    type: Literal["function_call_output"] = "function_call_output"
    output: FunctionCallOutputBody
    call_id: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    name: str | None = None
    namespace: str | None = None


class CustomToolCallResponseItem(SnakeWire):
    """A call of a tool that takes free text."""

    type: Literal["custom_tool_call"] = "custom_tool_call"
    call_id: str
    input: str
    name: str
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    namespace: str | None = None
    status: str | None = None


class CustomToolCallOutputResponseItem(SnakeWire):
    """What such a tool returned."""

    type: Literal["custom_tool_call_output"] = "custom_tool_call_output"
    call_id: str
    output: FunctionCallOutputBody
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    name: str | None = None


class ToolSearchOutputResponseItem(SnakeWire):
    """The tools that a search found."""

    type: Literal["tool_search_output"] = "tool_search_output"
    execution: str
    status: str
    tools: list[Any]
    call_id: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class WebSearchCallResponseItem(SnakeWire):
    """A web search by the provider."""

    type: Literal["web_search_call"] = "web_search_call"
    action: ResponsesApiWebSearchAction | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    status: str | None = None


class ImageGenerationCallResponseItem(SnakeWire):
    """An image made by the provider; `result` is base64."""

    type: Literal["image_generation_call"] = "image_generation_call"
    result: str
    status: str
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    revised_prompt: str | None = None


class CompactionResponseItem(SnakeWire):
    """What stands for the history before it."""

    type: Literal["compaction"] = "compaction"
    encrypted_content: str
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class ConfigurationUpdateResponseItem(Wire):
    """A change of settings at this point of the history."""

    type: Literal["configuration_update"] = "configuration_update"
    reasoning: ConfigurationReasoning


class CompactionTriggerResponseItem(Wire):
    """Asks the provider to compact."""

    type: Literal["compaction_trigger"] = "compaction_trigger"


class ContextCompactionResponseItem(SnakeWire):
    """Marks where the context was compacted."""

    type: Literal["context_compaction"] = "context_compaction"
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class OtherResponseItem(Wire):
    """An item that this version does not know."""

    type: Literal["other"] = "other"


ResponseItem = Annotated[
    AdditionalToolsResponseItem
    | MessageResponseItem
    | AgentMessageResponseItem
    | ReasoningResponseItem
    | LocalShellCallResponseItem
    | FunctionCallResponseItem
    | ToolSearchCallResponseItem
    | FunctionCallOutputResponseItem
    | CustomToolCallResponseItem
    | CustomToolCallOutputResponseItem
    | ToolSearchOutputResponseItem
    | WebSearchCallResponseItem
    | ImageGenerationCallResponseItem
    | CompactionResponseItem
    | ConfigurationUpdateResponseItem
    | CompactionTriggerResponseItem
    | ContextCompactionResponseItem
    | OtherResponseItem,
    Field(discriminator="type"),
]
"""One item of the model's history."""
