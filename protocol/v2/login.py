"""Signing in and out, and the sessions of a ChatGPT account."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, ServerRequest
from protocol.v2.account import PlanType
from protocol.wire import Empty, OneOf, Wire

LoginAppBrand = Literal["codex", "chatgpt"]
"""The program that pages in the browser name."""


class LoginAccountParams(OneOf):
    """How to sign in."""


class ApiKeyLoginAccountParams(LoginAccountParams):
    """With an API key, which is kept from now on."""

    type: Literal["apiKey"] = "apiKey"
    api_key: str


class ChatgptLoginAccountParams(LoginAccountParams):
    """With a ChatGPT account, by a browser on the server's machine. The other members change how its pages look."""

    type: Literal["chatgpt"] = "chatgpt"
    app_brand: LoginAppBrand | None = None
    codex_streamlined_login: bool = False
    use_hosted_login_success_page: bool = False


class ChatgptDeviceCodeLoginAccountParams(LoginAccountParams):
    """With a ChatGPT account, by a code that is typed in a browser anywhere."""

    type: Literal["chatgptDeviceCode"] = "chatgptDeviceCode"


class ChatgptAuthTokensLoginAccountParams(LoginAccountParams):
    """With tokens of a ChatGPT account that the client looks after: they are kept in memory only, and the client is
    asked for new ones by `account/chatgptAuthTokens/refresh`. `access_token` is a JSON web token."""

    type: Literal["chatgptAuthTokens"] = "chatgptAuthTokens"
    access_token: str
    chatgpt_account_id: str
    chatgpt_plan_type: str | None = None


class AmazonBedrockLoginAccountParams(LoginAccountParams):
    """With a key of Amazon Bedrock."""

    type: Literal["amazonBedrock"] = "amazonBedrock"
    api_key: str
    region: str


class AmazonBedrockAccessKeysLoginAccountParams(LoginAccountParams):
    """With the keys of an AWS user; `session_token` goes with keys that last for a while."""

    type: Literal["amazonBedrockAccessKeys"] = "amazonBedrockAccessKeys"
    access_key_id: str
    region: str
    secret_access_key: str
    session_token: str | None = None


class LoginAccountResponse(OneOf):
    """What follows: nothing where it is done already, else where the user has to go."""


class ApiKeyLoginAccountResponse(LoginAccountResponse):
    """The key is in use."""

    type: Literal["apiKey"] = "apiKey"


class ChatgptLoginAccountResponse(LoginAccountResponse):
    """Open `auth_url` in a browser; `account/login/completed` tells of the end of `login_id`."""

    type: Literal["chatgpt"] = "chatgpt"
    auth_url: str
    login_id: str


class ChatgptDeviceCodeLoginAccountResponse(LoginAccountResponse):
    """Open `verification_url` anywhere and type `user_code`; `account/login/completed` tells how `login_id` ended."""

    type: Literal["chatgptDeviceCode"] = "chatgptDeviceCode"
    login_id: str
    user_code: str
    verification_url: str


class ChatgptAuthTokensLoginAccountResponse(LoginAccountResponse):
    """The tokens are in use."""

    type: Literal["chatgptAuthTokens"] = "chatgptAuthTokens"


class AmazonBedrockLoginAccountResponse(LoginAccountResponse):
    """The keys are in use."""

    type: Literal["amazonBedrock"] = "amazonBedrock"


ACCOUNT_LOGIN_START = ClientRequest("account/login/start", LoginAccountParams, LoginAccountResponse)
"""Sign in, at once or in steps that the user ends elsewhere."""


class CancelLoginAccountParams(Wire):
    """End a login that waits for the user; `login_id` is a UUID."""

    login_id: str


CancelLoginAccountStatus = Literal["canceled", "notFound"]
"""`notFound` is for a login that has ended or never was."""


class CancelLoginAccountResponse(Wire):
    """Whether there was such a login. Its `account/login/completed` follows."""

    status: CancelLoginAccountStatus


ACCOUNT_LOGIN_CANCEL = ClientRequest("account/login/cancel", CancelLoginAccountParams, CancelLoginAccountResponse)


class AccountSessionsListParams(Wire):
    """Ask for the sessions; with `refresh_workspace_metadata` names and pictures are asked for anew."""

    refresh_workspace_metadata: bool = False


AccountSessionWorkspaceKind = Literal["personal", "workspace"]
"""Somebody's own, or that of an organisation."""


class AccountSessionWorkspace(Wire):
    """A workspace of an account; what is None is not known."""

    account_id: str
    image_url: str | None = None
    kind: AccountSessionWorkspaceKind | None = None
    name: str | None = None


class AccountSession(Wire):
    """One sign-in to ChatGPT with its workspaces. `last_used_at` is in Unix seconds."""

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
    """All sessions; None as `active_session_id` says that nobody is signed in to ChatGPT."""

    sessions: list[AccountSession]
    active_session_id: str | None = None


ACCOUNT_SESSION_LIST = ClientRequest(
    "accountSession/list",
    AccountSessionsListParams,
    AccountSessionsResponse,
    experimental="accountSession/list",
    access="read",
)


class AccountSessionsSwitchParams(Wire):
    """Work as another session or workspace from now on; `allow_browser_login` lets it end in a browser."""

    account_id: str
    session_id: str
    allow_browser_login: bool = False


class AccountSessionsSwitchResponse(OneOf):
    """The sessions, or where the user has to go first."""


class SessionsAccountSessionsSwitchResponse(AccountSessionsSwitchResponse):
    """The sessions after the switch."""

    sessions: list[AccountSession]
    active_session_id: str | None = None


class BrowserAccountSessionsSwitchResponse(AccountSessionsSwitchResponse):
    """Open `auth_url` in a browser to go on; `login_id` is that of the login."""

    auth_url: Annotated[str, Field(alias="auth_url")]
    login_id: Annotated[str, Field(alias="login_id")]


ACCOUNT_SESSION_SWITCH = ClientRequest(
    "accountSession/switch",
    AccountSessionsSwitchParams,
    AccountSessionsSwitchResponse,
    experimental="accountSession/switch",
    availability="account",
)


class LogoutAccountResponse(Wire):
    """Nobody is signed in any more."""


ACCOUNT_LOGOUT = ClientRequest("account/logout", Empty, LogoutAccountResponse)
"""Forget who was signed in."""


class AccountSecuritySetupAction(Wire):
    """A link that the notice offers."""

    label: str
    url: str


class AccountSecuritySetupNotice(Wire):
    """What the owner of an account should do to keep it safe."""

    account_id: str
    action: AccountSecuritySetupAction
    description: str
    title: str
    user_id: str


class GetAccountSecuritySetupResponse(Wire):
    """The notice, if there is one."""

    notice: AccountSecuritySetupNotice | None = None


ACCOUNT_SECURITY_SETUP_READ = ClientRequest(
    "account/securitySetup/read", Empty, GetAccountSecuritySetupResponse, access="read", availability="account"
)
"""Ask for a notice about the account's security."""


ChatgptAuthTokensRefreshReason = Literal["unauthorized"]
"""Why: a server refused the tokens."""


class ChatgptAuthTokensRefreshParams(Wire):
    """Ask the client that looks after the tokens for new ones; `previous_account_id` is the account they are for."""

    reason: ChatgptAuthTokensRefreshReason
    previous_account_id: str | None = None


class ChatgptAuthTokensRefreshResponse(Wire):
    """The new tokens, as in `account/login/start`."""

    access_token: str
    chatgpt_account_id: str
    chatgpt_plan_type: str | None = None


ACCOUNT_CHATGPT_AUTH_TOKENS_REFRESH = ServerRequest(
    "account/chatgptAuthTokens/refresh", ChatgptAuthTokensRefreshParams, ChatgptAuthTokensRefreshResponse
)


class AttestationGenerateParams(Wire):
    """Ask the client to prove that it is genuine."""


class AttestationGenerateResponse(Wire):
    """The proof, which goes along with requests to OpenAI."""

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
"""How the server is signed in."""


class AccountUpdatedNotification(Wire):
    """Somebody signed in or out; None as `auth_mode` says that nobody is signed in."""

    auth_mode: AuthMode | None = None
    plan_type: PlanType | None = None


ACCOUNT_UPDATED = ServerNotification("account/updated", AccountUpdatedNotification)


DesktopOnboardingEntrypoint = Literal["life_sciences"]
"""Where a desktop application goes on after the login."""


class AccountLoginCompletedNotification(Wire):
    """A login has ended: well, or with an `error` for the user. `login_id` is None where signing in took one step."""

    success: bool
    error: str | None = None
    login_id: str | None = None
    onboarding_entrypoint: DesktopOnboardingEntrypoint | None = None


ACCOUNT_LOGIN_COMPLETED = ServerNotification("account/login/completed", AccountLoginCompletedNotification)
