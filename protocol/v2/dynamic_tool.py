"""v2.dynamic_tool"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ServerRequest
from protocol.wire import Wire


class FunctionDynamicToolNamespaceTool(Wire):
    type: Literal["function"] = "function"
    description: str
    input_schema: Any
    name: str
    defer_loading: bool = False


DynamicToolNamespaceTool = FunctionDynamicToolNamespaceTool


class FunctionDynamicToolSpec(Wire):
    type: Literal["function"] = "function"
    description: str
    input_schema: Any
    name: str
    defer_loading: bool = False


class NamespaceDynamicToolSpec(Wire):
    type: Literal["namespace"] = "namespace"
    description: str
    name: str
    tools: list[DynamicToolNamespaceTool]


DynamicToolSpec = Annotated[FunctionDynamicToolSpec | NamespaceDynamicToolSpec, Field(discriminator="type")]


class InputTextDynamicToolCallOutputContentItem(Wire):
    type: Literal["inputText"] = "inputText"
    text: str


class InputImageDynamicToolCallOutputContentItem(Wire):
    type: Literal["inputImage"] = "inputImage"
    image_url: str


class InputAudioDynamicToolCallOutputContentItem(Wire):
    type: Literal["inputAudio"] = "inputAudio"
    audio_url: str


DynamicToolCallOutputContentItem = Annotated[
    InputTextDynamicToolCallOutputContentItem
    | InputImageDynamicToolCallOutputContentItem
    | InputAudioDynamicToolCallOutputContentItem,
    Field(discriminator="type"),
]

DynamicToolCallStatus = Literal["inProgress", "completed", "failed"]


class DynamicToolCallParams(Wire):
    arguments: Any
    call_id: str
    thread_id: str
    tool: str
    turn_id: str
    namespace: str | None = None


class DynamicToolCallResponse(Wire):
    content_items: list[DynamicToolCallOutputContentItem]
    success: bool


ITEM_TOOL_CALL = ServerRequest("item/tool/call", DynamicToolCallParams, DynamicToolCallResponse)
