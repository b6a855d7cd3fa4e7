"""Tools that a client brings along and runs itself."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ServerRequest
from protocol.wire import Wire


class FunctionDynamicToolNamespaceTool(Wire):
    """A tool within a namespace. `input_schema` is a JSON Schema."""

    type: Literal["function"] = "function"
    description: str
    input_schema: Any
    name: str
    defer_loading: bool = False


DynamicToolNamespaceTool = FunctionDynamicToolNamespaceTool
"""What a namespace can hold."""


class FunctionDynamicToolSpec(Wire):
    """A tool. `input_schema` is a JSON Schema; a deferred one is loaded only when the model looks for it."""

    type: Literal["function"] = "function"
    description: str
    input_schema: Any
    name: str
    defer_loading: bool = False


class NamespaceDynamicToolSpec(Wire):
    """Tools that belong together."""

    type: Literal["namespace"] = "namespace"
    description: str
    name: str
    tools: list[DynamicToolNamespaceTool]


DynamicToolSpec = Annotated[FunctionDynamicToolSpec | NamespaceDynamicToolSpec, Field(discriminator="type")]
"""What a client declares at `thread/start`."""


class InputTextDynamicToolCallOutputContentItem(Wire):
    """Text for the model."""

    type: Literal["inputText"] = "inputText"
    text: str


class InputImageDynamicToolCallOutputContentItem(Wire):
    """An image for the model, by URL or data URL."""

    type: Literal["inputImage"] = "inputImage"
    image_url: str


class InputAudioDynamicToolCallOutputContentItem(Wire):
    """A recording for the model, by URL or data URL."""

    type: Literal["inputAudio"] = "inputAudio"
    audio_url: str


DynamicToolCallOutputContentItem = Annotated[
    InputTextDynamicToolCallOutputContentItem
    | InputImageDynamicToolCallOutputContentItem
    | InputAudioDynamicToolCallOutputContentItem,
    Field(discriminator="type"),
]
"""A part of what a client's tool returned."""

DynamicToolCallStatus = Literal["inProgress", "completed", "failed"]
"""How far a call has come."""


class DynamicToolCallParams(Wire):
    """Asks the client to run one of its tools."""

    thread_id: str
    turn_id: str
    arguments: Any
    call_id: str
    tool: str
    namespace: str | None = None


class DynamicToolCallResponse(Wire):
    """What the client's tool returned; `success` false marks a failure."""

    content_items: list[DynamicToolCallOutputContentItem]
    success: bool


ITEM_TOOL_CALL = ServerRequest("item/tool/call", DynamicToolCallParams, DynamicToolCallResponse)
