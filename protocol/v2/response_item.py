"""v2.response_item"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from protocol.v2.model import ReasoningEffort
from protocol.v2.user_input import ImageDetail
from protocol.wire import ABSENT_WHEN_NONE, SnakeWire, UInt, Wire


class InputTextContentItem(Wire):
    type: Literal["input_text"] = "input_text"
    text: str


class InputImageContentItem(Wire):
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
    type: Literal["input_audio"] = "input_audio"
    audio_url: Annotated[str | None, Field(alias="audio_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.audio_url is None and self.file_id is None:
            raise ValueError("either audio_url or file_id is needed")
        return self


class OutputTextContentItem(Wire):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


ContentItem = Annotated[
    InputTextContentItem | InputImageContentItem | InputAudioContentItem | OutputTextContentItem,
    Field(discriminator="type"),
]


class InputTextAgentMessageInputContent(Wire):
    type: Literal["input_text"] = "input_text"
    text: str


class EncryptedContentAgentMessageInputContent(SnakeWire):
    type: Literal["encrypted_content"] = "encrypted_content"
    encrypted_content: str


AgentMessageInputContent = Annotated[
    InputTextAgentMessageInputContent | EncryptedContentAgentMessageInputContent, Field(discriminator="type")
]


class InternalChatMessageMetadataPassthrough(SnakeWire):
    turn_id: str | None = None


MessagePhase = Literal["commentary", "partial_answer", "final_answer"]


class InputTextFunctionCallOutputContentItem(Wire):
    type: Literal["input_text"] = "input_text"
    text: str


class InputImageFunctionCallOutputContentItem(Wire):
    type: Literal["input_image"] = "input_image"
    detail: ImageDetail | None = None
    image_url: Annotated[str | None, Field(alias="image_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.image_url is None and self.file_id is None:
            raise ValueError("either image_url or file_id is needed")
        return self


class InputAudioFunctionCallOutputContentItem(Wire):
    type: Literal["input_audio"] = "input_audio"
    audio_url: Annotated[str | None, Field(alias="audio_url"), ABSENT_WHEN_NONE] = None
    file_id: Annotated[str | None, Field(alias="file_id"), ABSENT_WHEN_NONE] = None

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.audio_url is None and self.file_id is None:
            raise ValueError("either audio_url or file_id is needed")
        return self


class EncryptedContentFunctionCallOutputContentItem(SnakeWire):
    type: Literal["encrypted_content"] = "encrypted_content"
    encrypted_content: str


FunctionCallOutputContentItem = Annotated[
    InputTextFunctionCallOutputContentItem
    | InputImageFunctionCallOutputContentItem
    | InputAudioFunctionCallOutputContentItem
    | EncryptedContentFunctionCallOutputContentItem,
    Field(discriminator="type"),
]

FunctionCallOutputBody = str | list[FunctionCallOutputContentItem]


class ReasoningTextReasoningItemContent(Wire):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class TextReasoningItemContent(Wire):
    type: Literal["text"] = "text"
    text: str


ReasoningItemContent = Annotated[
    ReasoningTextReasoningItemContent | TextReasoningItemContent, Field(discriminator="type")
]


class SummaryTextReasoningItemReasoningSummary(Wire):
    type: Literal["summary_text"] = "summary_text"
    text: str


ReasoningItemReasoningSummary = SummaryTextReasoningItemReasoningSummary

LocalShellStatus = Literal["completed", "in_progress", "incomplete"]


class ExecLocalShellAction(SnakeWire):
    type: Literal["exec"] = "exec"
    command: list[str]
    env: dict[str, str] | None = None
    timeout_ms: UInt | None = None
    user: str | None = None
    working_directory: str | None = None


LocalShellAction = ExecLocalShellAction


class SearchResponsesApiWebSearchAction(Wire):
    type: Literal["search"] = "search"
    queries: list[str] | None = None
    query: str | None = None


class OpenPageResponsesApiWebSearchAction(Wire):
    type: Literal["open_page"] = "open_page"
    url: str | None = None


class FindInPageResponsesApiWebSearchAction(Wire):
    type: Literal["find_in_page"] = "find_in_page"
    pattern: str | None = None
    url: str | None = None


class OtherResponsesApiWebSearchAction(Wire):
    type: Literal["other"] = "other"


ResponsesApiWebSearchAction = Annotated[
    SearchResponsesApiWebSearchAction
    | OpenPageResponsesApiWebSearchAction
    | FindInPageResponsesApiWebSearchAction
    | OtherResponsesApiWebSearchAction,
    Field(discriminator="type"),
]


class ConfigurationReasoning(Wire):
    effort: ReasoningEffort


class AdditionalToolsResponseItem(Wire):
    type: Literal["additional_tools"] = "additional_tools"
    role: str
    tools: list[Any]
    id: str | None = None


class MessageResponseItem(SnakeWire):
    type: Literal["message"] = "message"
    content: list[ContentItem]
    role: str
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    phase: MessagePhase | None = None
    status: str | None = None


class AgentMessageResponseItem(SnakeWire):
    type: Literal["agent_message"] = "agent_message"
    author: str
    content: list[AgentMessageInputContent]
    recipient: str
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class ReasoningResponseItem(SnakeWire):
    type: Literal["reasoning"] = "reasoning"
    summary: list[ReasoningItemReasoningSummary]
    content: list[ReasoningItemContent] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class LocalShellCallResponseItem(SnakeWire):
    type: Literal["local_shell_call"] = "local_shell_call"
    action: LocalShellAction
    status: LocalShellStatus
    call_id: str | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class FunctionCallResponseItem(SnakeWire):
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
    type: Literal["tool_search_call"] = "tool_search_call"
    arguments: Any
    execution: str
    call_id: str | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    status: str | None = None


class FunctionCallOutputResponseItem(SnakeWire):
    type: Literal["function_call_output"] = "function_call_output"
    output: FunctionCallOutputBody
    call_id: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    name: str | None = None
    namespace: str | None = None


class CustomToolCallResponseItem(SnakeWire):
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
    type: Literal["custom_tool_call_output"] = "custom_tool_call_output"
    call_id: str
    output: FunctionCallOutputBody
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    name: str | None = None


class ToolSearchOutputResponseItem(SnakeWire):
    type: Literal["tool_search_output"] = "tool_search_output"
    execution: str
    status: str
    tools: list[Any]
    call_id: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class WebSearchCallResponseItem(SnakeWire):
    type: Literal["web_search_call"] = "web_search_call"
    action: ResponsesApiWebSearchAction | None = None
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    status: str | None = None


class ImageGenerationCallResponseItem(SnakeWire):
    type: Literal["image_generation_call"] = "image_generation_call"
    result: str
    status: str
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None
    revised_prompt: str | None = None


class CompactionResponseItem(SnakeWire):
    type: Literal["compaction"] = "compaction"
    encrypted_content: str
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class ConfigurationUpdateResponseItem(Wire):
    type: Literal["configuration_update"] = "configuration_update"
    reasoning: ConfigurationReasoning


class CompactionTriggerResponseItem(Wire):
    type: Literal["compaction_trigger"] = "compaction_trigger"


class ContextCompactionResponseItem(SnakeWire):
    type: Literal["context_compaction"] = "context_compaction"
    encrypted_content: str | None = None
    id: str | None = None
    internal_chat_message_metadata_passthrough: InternalChatMessageMetadataPassthrough | None = None


class OtherResponseItem(Wire):
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
