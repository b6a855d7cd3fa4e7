"""login"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, ServerRequest
from protocol.v2.account import PlanType
from protocol.wire import Empty, OneOf, Wire

LoginAppBrand = Literal["codex", "chatgpt"]


class LoginAccountParams(OneOf): ...


class ApiKeyLoginAccountParams(LoginAccountParams):
    type: Literal["apiKey"] = "apiKey"
    api_key: str


class ChatgptLoginAccountParams(LoginAccountParams):
    type: Literal["chatgpt"] = "chatgpt"
    app_brand: LoginAppBrand | None = None
    codex_streamlined_login: bool = False
    use_hosted_login_success_page: bool = False


class ChatgptDeviceCodeLoginAccountParams(LoginAccountParams):
    type: Literal["chatgptDeviceCode"] = "chatgptDeviceCode"


class ChatgptAuthTokensLoginAccountParams(LoginAccountParams):
    type: Literal["chatgptAuthTokens"] = "chatgptAuthTokens"
    access_token: str
    chatgpt_account_id: str
    chatgpt_plan_type: str | None = None


class AmazonBedrockLoginAccountParams(LoginAccountParams):
    type: Literal["amazonBedrock"] = "amazonBedrock"
    api_key: str
    region: str


class AmazonBedrockAccessKeysLoginAccountParams(LoginAccountParams):
    type: Literal["amazonBedrockAccessKeys"] = "amazonBedrockAccessKeys"
    access_key_id: str
    region: str
    secret_access_key: str
    session_token: str | None = None


class LoginAccountResponse(OneOf): ...


class ApiKeyLoginAccountResponse(LoginAccountResponse):
    type: Literal["apiKey"] = "apiKey"


class ChatgptLoginAccountResponse(LoginAccountResponse):
    type: Literal["chatgpt"] = "chatgpt"
    auth_url: str
    login_id: str


class ChatgptDeviceCodeLoginAccountResponse(LoginAccountResponse):
    type: Literal["chatgptDeviceCode"] = "chatgptDeviceCode"
    login_id: str
    user_code: str
    verification_url: str


class ChatgptAuthTokensLoginAccountResponse(LoginAccountResponse):
    type: Literal["chatgptAuthTokens"] = "chatgptAuthTokens"


class AmazonBedrockLoginAccountResponse(LoginAccountResponse):
    type: Literal["amazonBedrock"] = "amazonBedrock"


ACCOUNT_LOGIN_START = ClientRequest(
    "account/login/start", LoginAccountParams, LoginAccountResponse, availability="later"
)


class CancelLoginAccountParams(Wire):
    login_id: str


CancelLoginAccountStatus = Literal["canceled", "notFound"]


class CancelLoginAccountResponse(Wire):
    status: CancelLoginAccountStatus


ACCOUNT_LOGIN_CANCEL = ClientRequest(
    "account/login/cancel", CancelLoginAccountParams, CancelLoginAccountResponse, availability="later"
)


class AccountSessionsListParams(Wire):
    refresh_workspace_metadata: bool = False


AccountSessionWorkspaceKind = Literal["personal", "workspace"]


class AccountSessionWorkspace(Wire):
    account_id: str
    image_url: str | None = None
    kind: AccountSessionWorkspaceKind | None = None
    name: str | None = None


class AccountSession(Wire):
    is_active: bool
    last_used_at: int
    session_id: str
    workspaces: list[AccountSessionWorkspace]
    display_name: str | None = None
    email: str | None = None
    image_url: str | None = None
    selected_workspace_account_id: str | None = None
    user_id: str | None = None


class AccountSessionsResponse(Wire):
    sessions: list[AccountSession]
    active_session_id: str | None = None


ACCOUNT_SESSION_LIST = ClientRequest(
    "accountSession/list",
    AccountSessionsListParams,
    AccountSessionsResponse,
    experimental="accountSession/list",
    access="read",
    availability="later",
)


class AccountSessionsSwitchParams(Wire):
    account_id: str
    session_id: str
    allow_browser_login: bool = False


class AccountSessionsSwitchResponse(OneOf): ...


class SessionsAccountSessionsSwitchResponse(AccountSessionsSwitchResponse):
    sessions: list[AccountSession]
    active_session_id: str | None = None


class AccountSessionsSwitchResponse1(AccountSessionsSwitchResponse):
    auth_url: Annotated[str, Field(alias="auth_url")]
    login_id: Annotated[str, Field(alias="login_id")]


ACCOUNT_SESSION_SWITCH = ClientRequest(
    "accountSession/switch",
    AccountSessionsSwitchParams,
    AccountSessionsSwitchResponse,
    experimental="accountSession/switch",
    availability="later",
)


class LogoutAccountResponse(Wire): ...


ACCOUNT_LOGOUT = ClientRequest("account/logout", Empty, LogoutAccountResponse, availability="later")


class AccountSecuritySetupAction(Wire):
    label: str
    url: str


class AccountSecuritySetupNotice(Wire):
    account_id: str
    action: AccountSecuritySetupAction
    description: str
    title: str
    user_id: str


class GetAccountSecuritySetupResponse(Wire):
    notice: AccountSecuritySetupNotice | None = None


ACCOUNT_SECURITY_SETUP_READ = ClientRequest(
    "account/securitySetup/read", Empty, GetAccountSecuritySetupResponse, access="read", availability="later"
)


ChatgptAuthTokensRefreshReason = Literal["unauthorized"]


class ChatgptAuthTokensRefreshParams(Wire):
    reason: ChatgptAuthTokensRefreshReason
    previous_account_id: str | None = None


class ChatgptAuthTokensRefreshResponse(Wire):
    access_token: str
    chatgpt_account_id: str
    chatgpt_plan_type: str | None = None


ACCOUNT_CHATGPT_AUTH_TOKENS_REFRESH = ServerRequest(
    "account/chatgptAuthTokens/refresh", ChatgptAuthTokensRefreshParams, ChatgptAuthTokensRefreshResponse
)


class AttestationGenerateParams(Wire): ...


class AttestationGenerateResponse(Wire):
    token: str


ATTESTATION_GENERATE = ServerRequest("attestation/generate", AttestationGenerateParams, AttestationGenerateResponse)


AuthMode = Literal[
    "apikey",
    "chatgpt",
    "chatgptAuthTokens",
    "headers",
    "agentIdentity",
    "personalAccessToken",
    "bedrockApiKey",
    "bedrockAccessKeys",
]


class AccountUpdatedNotification(Wire):
    auth_mode: AuthMode | None = None
    plan_type: PlanType | None = None


ACCOUNT_UPDATED = ServerNotification("account/updated", AccountUpdatedNotification)


DesktopOnboardingEntrypoint = Literal["life_sciences"]


class AccountLoginCompletedNotification(Wire):
    success: bool
    error: str | None = None
    login_id: str | None = None
    onboarding_entrypoint: DesktopOnboardingEntrypoint | None = None


ACCOUNT_LOGIN_COMPLETED = ServerNotification("account/login/completed", AccountLoginCompletedNotification)
