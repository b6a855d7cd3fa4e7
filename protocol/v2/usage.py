"""What an account has used and may still use, as OpenAI counts it."""

from typing import Any, Literal

from protocol.methods import ClientRequest
from protocol.v2.account import RateLimitSnapshot
from protocol.wire import Empty, Wire


class GetAccountRateLimitsParams(Wire):
    """Ask for the limits; what the client cannot show may be left out."""

    exclude_reset_credit_details: bool = False
    supports_luna_reserve: bool = False


RateLimitResetType = Literal["codexRateLimits", "unknown"]
"""Which limits are started over."""


RateLimitResetCreditStatus = Literal["available", "redeeming", "redeemed", "unknown"]
"""Whether the right can still be used."""


class RateLimitResetCredit(Wire):
    """A right to start a limit over. Times are in Unix seconds; None as `expires_at` says that it keeps."""

    granted_at: int
    id: str
    reset_type: RateLimitResetType
    status: RateLimitResetCreditStatus
    description: str | None = None
    expires_at: int | None = None
    title: str | None = None


class RateLimitResetCreditsSummary(Wire):
    """How many such rights there are; None as `credits` leaves their details out."""

    available_count: int
    credits: list[RateLimitResetCredit] | None = None


class GetAccountRateLimitsResponse(Wire):
    """The limits as OpenAI tells them now; `rate_limits` are those that count first."""

    rate_limits: RateLimitSnapshot
    account_id: str | None = None
    ordinary_usage_allowed: bool | None = None
    rate_limit_reset_credits: RateLimitResetCreditsSummary | None = None
    rate_limit_upsell: Any = None
    rate_limits_by_limit_id: dict[str, RateLimitSnapshot] | None = None


ACCOUNT_RATE_LIMITS_READ = ClientRequest(
    "account/rateLimits/read",
    GetAccountRateLimitsParams,
    GetAccountRateLimitsResponse,
    access="read",
    availability="account",
)


class ConsumeAccountRateLimitResetCreditParams(Wire):
    """Start a limit over. A request that is repeated with the same `idempotency_key` spends one right only;
    None as `credit_id` leaves the choice to OpenAI."""

    idempotency_key: str
    credit_id: str | None = None


ConsumeAccountRateLimitResetCreditOutcome = Literal["reset", "nothingToReset", "noCredit", "alreadyRedeemed"]
"""`nothingToReset` spends no right; `alreadyRedeemed` is the answer to a repeated request."""


class ConsumeAccountRateLimitResetCreditResponse(Wire):
    """What came of it."""

    outcome: ConsumeAccountRateLimitResetCreditOutcome


ACCOUNT_RATE_LIMIT_RESET_CREDIT_CONSUME = ClientRequest(
    "account/rateLimitResetCredit/consume",
    ConsumeAccountRateLimitResetCreditParams,
    ConsumeAccountRateLimitResetCreditResponse,
    availability="account",
)


class GetAccountTokenUsageParams(Wire):
    """Ask for what was used, in all or also by one thread."""

    thread_id: str | None = None


class AccountTokenUsageDailyBucket(Wire):
    """The tokens of one day, `start_date` as YYYY-MM-DD."""

    start_date: str
    tokens: int


class AccountTokenUsageSummary(Wire):
    """Figures of the account's whole time; None is for what is not counted."""

    current_streak_days: int | None = None
    lifetime_tokens: int | None = None
    longest_running_turn_sec: int | None = None
    longest_streak_days: int | None = None
    peak_daily_tokens: int | None = None


class ThreadUsageBreakdownGroup(Wire):
    """What a thread used of one model in one way of working. Credits and money are in millionths."""

    estimated_usage_credits_micros: int
    cached_input_tokens: int | None = None
    input_tokens: int | None = None
    model: str | None = None
    net_new_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_effort: str | None = None
    speed: str | None = None
    total_tokens: int | None = None


class ThreadUsage(Wire):
    """What a thread used; credits and US dollars are in millionths."""

    estimated_usage_credits_micros: int
    groups: list[ThreadUsageBreakdownGroup]
    thread_id: str
    estimated_usage_usd_micros: int | None = None
    native_usage_usd_micros: int | None = None


class GetAccountTokenUsageResponse(Wire):
    """What was used; None is for what was not asked for or is not counted."""

    summary: AccountTokenUsageSummary
    daily_usage_buckets: list[AccountTokenUsageDailyBucket] | None = None
    thread_usage: ThreadUsage | None = None


ACCOUNT_USAGE_READ = ClientRequest(
    "account/usage/read",
    GetAccountTokenUsageParams,
    GetAccountTokenUsageResponse,
    access="read",
    availability="account",
)


WorkspaceMessageType = Literal["headline", "announcement", "unknown"]
"""How prominent a message is."""


class WorkspaceMessage(Wire):
    """What a workspace tells its members. Times are in Unix seconds."""

    message_body: str
    message_id: str
    message_type: WorkspaceMessageType
    archived_at: int | None = None
    created_at: int | None = None


class GetWorkspaceMessagesResponse(Wire):
    """The messages; none where the workspace does not use them."""

    feature_enabled: bool
    messages: list[WorkspaceMessage]


ACCOUNT_WORKSPACE_MESSAGES_READ = ClientRequest(
    "account/workspaceMessages/read", Empty, GetWorkspaceMessagesResponse, access="read", availability="account"
)
"""Ask for what the workspace tells its members."""


AddCreditsNudgeCreditType = Literal["credits", "usage_limit"]
"""What the mail asks for."""


class SendAddCreditsNudgeEmailParams(Wire):
    """Ask the owner of the workspace by mail for more credits or a higher limit."""

    credit_type: AddCreditsNudgeCreditType


AddCreditsNudgeEmailStatus = Literal["sent", "cooldown_active"]
"""`cooldown_active` says that a mail went out a short time ago."""


class SendAddCreditsNudgeEmailResponse(Wire):
    """Whether the mail went out."""

    status: AddCreditsNudgeEmailStatus


ACCOUNT_SEND_ADD_CREDITS_NUDGE_EMAIL = ClientRequest(
    "account/sendAddCreditsNudgeEmail",
    SendAddCreditsNudgeEmailParams,
    SendAddCreditsNudgeEmailResponse,
    availability="account",
)
