"""v1"""

from typing import Any

from protocol.methods import ClientNotification, ClientRequest, Empty
from protocol.wire import AbsolutePath, Wire


class ClientInfo(Wire):
    name: str
    version: str
    title: str | None = None


class InitializeCapabilities(Wire):
    experimental_api: bool = False
    explicit_gateway_oauth: bool = False
    extensions: dict[str, Any] | None = None
    mcp_server_openai_form_elicitation: bool = False
    opt_out_notification_methods: list[str] | None = None
    request_attestation: bool = False
    required_human_approval: bool = False


class InitializeParams(Wire):
    client_info: ClientInfo
    capabilities: InitializeCapabilities | None = None


class InitializeResponse(Wire):
    codex_home: AbsolutePath
    platform_family: str
    platform_os: str
    user_agent: str


INITIALIZE = ClientRequest("initialize", InitializeParams, InitializeResponse)

INITIALIZED = ClientNotification("initialized", Empty)
