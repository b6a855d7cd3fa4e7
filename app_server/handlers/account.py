"""account/*: who pays for the model."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2.account import ACCOUNT_READ, ApiKeyAccount, GetAccountParams, GetAccountResponse


@handles(ACCOUNT_READ)
async def read(ctx: RequestContext, params: GetAccountParams) -> GetAccountResponse:
    """Whether the provider in force wants an OpenAI account, and whether a key for it is there."""
    provider = ctx.settings.provider
    has_key = provider.requires_openai_auth and provider.api_key() is not None
    return GetAccountResponse(
        requires_openai_auth=provider.requires_openai_auth, account=ApiKeyAccount() if has_key else None
    )
