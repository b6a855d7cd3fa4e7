"""account/*, accountSession/*: who pays for the model, and what OpenAI says of the account."""

from app_server.auth.manager import plan_of
from app_server.auth.sessions import check_switch, sessions_of
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.manager import check_id
from protocol.jsonrpc import RpcError, invalid_request
from protocol.v2 import login as wire
from protocol.v2 import usage
from protocol.v2.account import (
    ACCOUNT_READ,
    Account,
    ApiKeyAccount,
    ChatgptAccount,
    GetAccountParams,
    GetAccountResponse,
)
from protocol.wire import Empty


@handles(ACCOUNT_READ)
async def read(ctx: RequestContext, params: GetAccountParams) -> GetAccountResponse:
    """Whether the provider in force wants an OpenAI account, and what there is: a sign-in, or a key of the server."""
    provider = ctx.settings.provider
    if not provider.requires_openai_auth:
        return GetAccountResponse(requires_openai_auth=False)
    credentials = await ctx.account.account(renewed=params.refresh_token)
    account: Account | None = ApiKeyAccount() if provider.api_key() is not None else None
    if credentials is None:
        return GetAccountResponse(requires_openai_auth=True, account=account)
    who = credentials.identity
    account = ApiKeyAccount()
    if credentials.tokens is not None:
        account = ChatgptAccount(email=who.email, plan_type=plan_of(credentials))
    return GetAccountResponse(requires_openai_auth=True, account=account, user_id=who.user_id)


@handles(wire.ACCOUNT_LOGIN_START)
async def login_start(ctx: RequestContext, params: wire.LoginAccountParams) -> wire.LoginAccountResponse:
    """Sign in at once, or begin what the user ends elsewhere."""
    settings, account = ctx.settings.account, ctx.account
    match params:
        case wire.ApiKeyLoginAccountParams():
            await account.sign_in_with_key(params.api_key, settings)
            ctx.afterwards(account.tell_signed_in)
            return wire.ApiKeyLoginAccountResponse()
        case wire.ChatgptAuthTokensLoginAccountParams():
            await account.sign_in_with_tokens(params, settings, ctx.connection)
            ctx.afterwards(account.tell_signed_in)
            return wire.ChatgptAuthTokensLoginAccountResponse()
        case wire.ChatgptLoginAccountParams():
            login = await account.sign_in_by_browser(settings, _originator(ctx))
            return wire.ChatgptLoginAccountResponse(login_id=login.id, auth_url=login.url)
        case wire.ChatgptDeviceCodeLoginAccountParams():
            login = await account.sign_in_by_device(settings)
            return wire.ChatgptDeviceCodeLoginAccountResponse(
                login_id=login.id, user_code=login.user_code, verification_url=login.url
            )
        case _:
            raise refuse_bedrock(params)


def refuse_bedrock(params: wire.LoginAccountParams) -> RpcError:
    """Why nobody can sign in to Amazon Bedrock."""
    from app_server.auth.clouds import UNSUPPORTED, check_bedrock_region

    match params:
        case wire.AmazonBedrockLoginAccountParams() if not params.api_key.strip():
            return invalid_request("Amazon Bedrock API key must not be empty.")
        case wire.AmazonBedrockLoginAccountParams() | wire.AmazonBedrockAccessKeysLoginAccountParams():
            check_bedrock_region(params.region)
        case _:
            pass
    return invalid_request(UNSUPPORTED.format("Amazon Bedrock"))


@handles(wire.ACCOUNT_LOGIN_CANCEL)
async def login_cancel(ctx: RequestContext, params: wire.CancelLoginAccountParams) -> wire.CancelLoginAccountResponse:
    """End a login that waits for the user."""
    ended = await ctx.account.logins.cancel(params.login_id)
    return wire.CancelLoginAccountResponse(status="canceled" if ended else "notFound")


@handles(wire.ACCOUNT_LOGOUT)
async def logout(ctx: RequestContext, params: Empty) -> wire.LogoutAccountResponse:
    """Forget who was signed in."""
    await ctx.account.sign_out()
    ctx.afterwards(ctx.account.tell_signed_out)
    return wire.LogoutAccountResponse()


@handles(wire.ACCOUNT_SESSION_LIST)
async def session_list(ctx: RequestContext, params: wire.AccountSessionsListParams) -> wire.AccountSessionsResponse:
    """The ChatGPT account that is signed in, as the one session there is."""
    return sessions_of(await ctx.account.account())


@handles(wire.ACCOUNT_SESSION_SWITCH)
async def session_switch(
    ctx: RequestContext, params: wire.AccountSessionsSwitchParams
) -> wire.AccountSessionsSwitchResponse:
    """There is one session to be in already."""
    sessions = sessions_of(await ctx.account.account())
    check_switch(sessions, params)
    return wire.SessionsAccountSessionsSwitchResponse(
        sessions=sessions.sessions, active_session_id=sessions.active_session_id
    )


@handles(wire.ACCOUNT_SECURITY_SETUP_READ)
async def security_setup(ctx: RequestContext, params: Empty) -> wire.GetAccountSecuritySetupResponse:
    """No notice: OpenAI is not asked for one."""
    return wire.GetAccountSecuritySetupResponse()


@handles(usage.ACCOUNT_RATE_LIMITS_READ)
async def rate_limits(
    ctx: RequestContext, params: usage.GetAccountRateLimitsParams
) -> usage.GetAccountRateLimitsResponse:
    """Refused: OpenAI counts them, and is not asked."""
    raise await ctx.account.needs_chatgpt("to read rate limits")


@handles(usage.ACCOUNT_USAGE_READ)
async def token_usage(
    ctx: RequestContext, params: usage.GetAccountTokenUsageParams
) -> usage.GetAccountTokenUsageResponse:
    """Refused: OpenAI counts it, and is not asked."""
    if params.thread_id is not None:
        check_id(params.thread_id)
    raise await ctx.account.needs_chatgpt("to read token usage")


@handles(usage.ACCOUNT_WORKSPACE_MESSAGES_READ)
async def workspace_messages(ctx: RequestContext, params: Empty) -> usage.GetWorkspaceMessagesResponse:
    """None, for who is signed in to ChatGPT: OpenAI is not asked for them."""
    if not await ctx.account.has_chatgpt():
        raise await ctx.account.needs_chatgpt("to read workspace messages")
    return usage.GetWorkspaceMessagesResponse(feature_enabled=False, messages=[])


@handles(usage.ACCOUNT_RATE_LIMIT_RESET_CREDIT_CONSUME)
async def consume_reset_credit(
    ctx: RequestContext, params: usage.ConsumeAccountRateLimitResetCreditParams
) -> usage.ConsumeAccountRateLimitResetCreditResponse:
    """Refused: OpenAI has such rights, and is not asked."""
    if not params.idempotency_key:
        raise invalid_request("idempotencyKey must not be empty")
    raise await ctx.account.needs_chatgpt("for rate limit reset credits")


@handles(usage.ACCOUNT_SEND_ADD_CREDITS_NUDGE_EMAIL)
async def nudge_owner(
    ctx: RequestContext, params: usage.SendAddCreditsNudgeEmailParams
) -> usage.SendAddCreditsNudgeEmailResponse:
    """Refused: OpenAI sends such mails, and is not asked."""
    raise await ctx.account.needs_chatgpt("to notify workspace owner")


def _originator(ctx: RequestContext) -> str:
    return "turnloom" if ctx.connection.client is None else ctx.connection.client.name
