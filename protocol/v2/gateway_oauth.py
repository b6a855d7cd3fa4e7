"""Signing in to a model provider of an organisation that has a sign-in of its own."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Empty, Wire


class GatewayOAuthReadParams(Wire):
    """Ask how it stands; None is for the provider in force."""

    model_provider: str | None = None


GatewayOAuthStatus = Literal["notReady", "started", "succeeded", "failed"]
"""How far a sign-in is."""


class GatewayOAuthReadResponse(Wire):
    """Whether the provider has a sign-in of its own, and how far it is."""

    provider_id: str
    provider_name: str
    required: bool
    error: str | None = None
    status: GatewayOAuthStatus | None = None
    supports_device_auth: bool = False


ACCOUNT_GATEWAY_OAUTH_READ = ClientRequest(
    "account/gatewayOAuth/read", GatewayOAuthReadParams, GatewayOAuthReadResponse, access="read"
)


class GatewayOAuthLoginParams(Wire):
    """Begin the sign-in, by a browser on the server's machine or with a code that is typed anywhere."""

    device_auth: bool = False
    model_provider: str | None = None


class GatewayOAuthPrompt(Wire):
    """Where to go and what to type."""

    login_id: str
    user_code: str
    verification_url: str


class GatewayOAuthLoginResponse(Wire):
    """What the user has to do; None where a browser has been opened."""

    prompt: GatewayOAuthPrompt | None = None


ACCOUNT_GATEWAY_OAUTH_LOGIN = ClientRequest(
    "account/gatewayOAuth/login", GatewayOAuthLoginParams, GatewayOAuthLoginResponse, availability="account"
)


class GatewayOAuthCancelResponse(Wire):
    """No sign-in runs any more."""


ACCOUNT_GATEWAY_OAUTH_CANCEL = ClientRequest(
    "account/gatewayOAuth/cancel", Empty, GatewayOAuthCancelResponse, availability="account"
)
"""End a sign-in that waits for the user."""


class GatewayOAuthChangedNotification(Wire):
    """A sign-in went on or ended; `auth_url` is where the user has to go."""

    provider_id: str
    status: GatewayOAuthStatus
    auth_url: str | None = None
    error: str | None = None
    login_id: str | None = None


ACCOUNT_GATEWAY_OAUTH_CHANGED = ServerNotification("account/gatewayOAuth/changed", GatewayOAuthChangedNotification)
