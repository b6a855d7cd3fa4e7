"""What MCP tool calls leave in a thread."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.wire import Wire

McpAppDisplayMode = Literal["inline", "fullscreen"]
"""Where an app likes to be shown."""


class McpAppUi(Wire):
    """The user interface that comes with a tool call."""

    preferred_model_display_mode: McpAppDisplayMode
    resource_uri: str


class McpToolCallAppContext(Wire):
    """The app behind a tool call."""

    connector_id: str
    action_name: str | None = None
    app_name: str | None = None
    link_id: str | None = None
    resource_uri: str | None = None


class McpToolCallError(Wire):
    """Why a tool call failed."""

    message: str


class McpToolCallResult(Wire):
    """What an MCP tool returned, in MCP's own shapes."""

    content: list[Any]
    meta: Annotated[Any, Field(alias="_meta")] = None
    structured_content: Any = None


McpToolCallStatus = Literal["inProgress", "completed", "failed"]
"""How far a call has come."""
