"""usage"""

from typing import Any, Literal

from protocol.methods import ClientRequest
from protocol.v2.account import RateLimitSnapshot
from protocol.wire import Empty, Wire


class GetAccountRateLimitsParams(Wire):
    exclude_reset_credit_details: bool = False
    supports_luna_reserve: bool = False


RateLimitResetType = Literal["codexRateLimits", "unknown"]


RateLimitResetCreditStatus = Literal["available", "redeeming", "redeemed", "unknown"]


class RateLimitResetCredit(Wire):
    granted_at: int
    id: str
    reset_type: RateLimitResetType
    status: RateLimitResetCreditStatus
    description: str | None = None
    expires_at: int | None = None
    title: str | None = None


class RateLimitResetCreditsSummary(Wire):
    available_count: int
    credits: list[RateLimitResetCredit] | None = None


class GetAccountRateLimitsResponse(Wire):
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
    availability="later",
)


class ConsumeAccountRateLimitResetCreditParams(Wire):
    idempotency_key: str
    credit_id: str | None = None


ConsumeAccountRateLimitResetCreditOutcome = Literal["reset", "nothingToReset", "noCredit", "alreadyRedeemed"]


class ConsumeAccountRateLimitResetCreditResponse(Wire):
    outcome: ConsumeAccountRateLimitResetCreditOutcome


ACCOUNT_RATE_LIMIT_RESET_CREDIT_CONSUME = ClientRequest(
    "account/rateLimitResetCredit/consume",
    ConsumeAccountRateLimitResetCreditParams,
    ConsumeAccountRateLimitResetCreditResponse,
    availability="later",
)


class GetAccountTokenUsageParams(Wire):
    thread_id: str | None = None


class AccountTokenUsageDailyBucket(Wire):
    start_date: str
    tokens: int


class AccountTokenUsageSummary(Wire):
    current_streak_days: int | None = None
    lifetime_tokens: int | None = None
    longest_running_turn_sec: int | None = None
    longest_streak_days: int | None = None
    peak_daily_tokens: int | None = None


class ThreadUsageBreakdownGroup(Wire):
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
    estimated_usage_credits_micros: int
    groups: list[ThreadUsageBreakdownGroup]
    thread_id: str
    estimated_usage_usd_micros: int | None = None
    native_usage_usd_micros: int | None = None


class GetAccountTokenUsageResponse(Wire):
    summary: AccountTokenUsageSummary
    daily_usage_buckets: list[AccountTokenUsageDailyBucket] | None = None
    thread_usage: ThreadUsage | None = None


ACCOUNT_USAGE_READ = ClientRequest(
    "account/usage/read", GetAccountTokenUsageParams, GetAccountTokenUsageResponse, access="read", availability="later"
)


WorkspaceMessageType = Literal["headline", "announcement", "unknown"]


class WorkspaceMessage(Wire):
    message_body: str
    message_id: str
    message_type: WorkspaceMessageType
    archived_at: int | None = None
    created_at: int | None = None


class GetWorkspaceMessagesResponse(Wire):
    feature_enabled: bool
    messages: list[WorkspaceMessage]


ACCOUNT_WORKSPACE_MESSAGES_READ = ClientRequest(
    "account/workspaceMessages/read", Empty, GetWorkspaceMessagesResponse, access="read", availability="later"
)


AddCreditsNudgeCreditType = Literal["credits", "usage_limit"]


class SendAddCreditsNudgeEmailParams(Wire):
    credit_type: AddCreditsNudgeCreditType


AddCreditsNudgeEmailStatus = Literal["sent", "cooldown_active"]


class SendAddCreditsNudgeEmailResponse(Wire):
    status: AddCreditsNudgeEmailStatus


ACCOUNT_SEND_ADD_CREDITS_NUDGE_EMAIL = ClientRequest(
    "account/sendAddCreditsNudgeEmail",
    SendAddCreditsNudgeEmailParams,
    SendAddCreditsNudgeEmailResponse,
    availability="later",
)
