"""gateway_oauth"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, Wire


class GatewayOAuthReadParams(Wire):
    model_provider: str | None = None


GatewayOAuthStatus = Literal["notReady", "started", "succeeded", "failed"]


class GatewayOAuthReadResponse(Wire):
    provider_id: str
    provider_name: str
    required: bool
    error: str | None = None
    status: GatewayOAuthStatus | None = None
    supports_device_auth: bool = False


ACCOUNT_GATEWAY_OAUTH_READ = ClientRequest(
    "account/gatewayOAuth/read", GatewayOAuthReadParams, GatewayOAuthReadResponse, access="read", availability="later"
)


class GatewayOAuthLoginParams(Wire):
    device_auth: bool = False
    model_provider: str | None = None


class GatewayOAuthPrompt(Wire):
    login_id: str
    user_code: str
    verification_url: str


class GatewayOAuthLoginResponse(Wire):
    prompt: GatewayOAuthPrompt | None = None


ACCOUNT_GATEWAY_OAUTH_LOGIN = ClientRequest(
    "account/gatewayOAuth/login", GatewayOAuthLoginParams, GatewayOAuthLoginResponse, availability="later"
)


class GatewayOAuthCancelResponse(Wire): ...


ACCOUNT_GATEWAY_OAUTH_CANCEL = ClientRequest(
    "account/gatewayOAuth/cancel", Empty, GatewayOAuthCancelResponse, availability="later"
)


class GatewayOAuthChangedNotification(Wire):
    provider_id: str
    status: GatewayOAuthStatus
    auth_url: str | None = None
    error: str | None = None
    login_id: str | None = None


ACCOUNT_GATEWAY_OAUTH_CHANGED = ServerNotification("account/gatewayOAuth/changed", GatewayOAuthChangedNotification)
