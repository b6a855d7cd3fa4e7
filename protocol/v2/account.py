"""The account that pays for the model, and its limits."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Experimental, Wire

PlanType = Literal[
    "free",
    "go",
    "plus",
    "pro",
    "prolite",
    "promax",
    "team",
    "self_serve_business_prolite",
    "self_serve_business_usage_based",
    "business",
    "ent26",
    "enterprise_cbp_automation",
    "enterprise_cbp_usage_based",
    "enterprise",
    "edu",
    "edu_plus",
    "edu_pro",
    "sci",
    "sci_plus",
    "unknown",
]
"""The plan that an account is on."""


class ApiKeyAccount(Wire):
    """An API key."""

    type: Literal["apiKey"] = "apiKey"


class ChatgptAccount(Wire):
    """A ChatGPT sign-in."""

    type: Literal["chatgpt"] = "chatgpt"
    email: str | None
    plan_type: PlanType
    workspace_name: str | None = None


class AmazonBedrockAccount(Wire):
    """Models through Amazon Bedrock."""

    type: Literal["amazonBedrock"] = "amazonBedrock"
    uses_codex_managed_credentials: bool = False


class GcpAccount(Wire):
    """Models through Google Cloud."""

    type: Literal["gcp"] = "gcp"


Account = Annotated[ApiKeyAccount | ChatgptAccount | AmazonBedrockAccount | GcpAccount, Field(discriminator="type")]
"""How the server is signed in."""

AccountRoutingOverride = Literal["NO_CONSTRAINT", "us", "us_cr"]
"""Where an account's requests must be handled."""


class WorkspaceRouting(Wire):
    """Where a workspace's requests go."""

    account_routing_override: AccountRoutingOverride
    backend_origin: str
    chatgpt_account_id: str


class GetAccountParams(Wire):
    """Ask for the account; `refresh_token` renews its token first."""

    refresh_token: bool = False


class GetAccountResponse(Wire):
    """The account, None if there is none. `requires_openai_auth` says whether the model provider needs one."""

    requires_openai_auth: bool
    account: Account | None = None
    user_id: str | None = None
    workspace_routing: Annotated[WorkspaceRouting | None, Experimental("account/read.workspaceRouting")] = None


ACCOUNT_READ = ClientRequest("account/read", GetAccountParams, GetAccountResponse, access="read")


class CreditsSnapshot(Wire):
    """Credits left; `balance` is a decimal number as text."""

    has_credits: bool
    unlimited: bool
    balance: str | None = None


class SpendControlLimitSnapshot(Wire):
    """A spending limit; amounts are decimal numbers as text, `resets_at` is in Unix seconds."""

    limit: str
    remaining_percent: int
    resets_at: int
    used: str


class RateLimitWindow(Wire):
    """How much of a window is used; `resets_at` is in Unix seconds."""

    used_percent: int
    resets_at: int | None = None
    window_duration_mins: int | None = None


RateLimitReachedType = Literal[
    "rate_limit_reached",
    "workspace_owner_credits_depleted",
    "workspace_member_credits_depleted",
    "workspace_owner_usage_limit_reached",
    "workspace_member_usage_limit_reached",
]
"""Which limit stopped the account."""


class RateLimitSnapshot(Wire):
    """The limits as the provider last told them."""

    credits: CreditsSnapshot | None = None
    individual_limit: SpendControlLimitSnapshot | None = None
    limit_id: str | None = None
    limit_name: str | None = None
    normal_model_slug: str | None = None
    plan_type: PlanType | None = None
    primary: RateLimitWindow | None = None
    rate_limit_reached_type: RateLimitReachedType | None = None
    secondary: RateLimitWindow | None = None
    spend_control_reached: bool | None = None


class AccountRateLimitsUpdatedNotification(Wire):
    """The limits changed."""

    rate_limits: RateLimitSnapshot


ACCOUNT_RATE_LIMITS_UPDATED = ServerNotification("account/rateLimits/updated", AccountRateLimitsUpdatedNotification)
