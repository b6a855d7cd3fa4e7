"""The handshake: `initialize` and `initialized`. Loaded before all else at start-up."""

from typing import Any

from protocol.methods import ClientNotification, ClientRequest
from protocol.wire import AbsolutePath, Empty, Wire


class ClientInfo(Wire):
    """The program at the other end. `name` also becomes the first word of the user agent."""

    name: str
    version: str
    title: str | None = None


class InitializeCapabilities(Wire):
    """What the client can do or wants. `opt_out_notification_methods` are never sent to it (exact names)."""

    experimental_api: bool = False
    explicit_gateway_oauth: bool = False
    extensions: dict[str, Any] | None = None
    mcp_server_openai_form_elicitation: bool = False
    opt_out_notification_methods: list[str] | None = None
    request_attestation: bool = False
    required_human_approval: bool = False


class InitializeParams(Wire):
    """The first request of every connection."""

    client_info: ClientInfo
    capabilities: InitializeCapabilities | None = None


class InitializeResponse(Wire):
    """Where the server runs. `codex_home` is the folder of its configuration and state."""

    codex_home: AbsolutePath
    platform_family: str
    platform_os: str
    user_agent: str


INITIALIZE = ClientRequest("initialize", InitializeParams, InitializeResponse)

INITIALIZED = ClientNotification("initialized", Empty)
