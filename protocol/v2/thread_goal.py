"""thread_goal"""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Wire

ThreadGoalMutationOrigin = Literal["user", "automatic"]


ThreadGoalStatus = Literal["active", "paused", "blocked", "usageLimited", "budgetLimited", "complete"]


class ThreadGoalSetParams(Wire):
    thread_id: str
    objective: str | None = None
    origin: ThreadGoalMutationOrigin | None = None
    status: ThreadGoalStatus | None = None
    token_budget: int | None = None


class ThreadGoal(Wire):
    created_at: int
    objective: str
    status: ThreadGoalStatus
    thread_id: str
    time_used_seconds: int
    tokens_used: int
    updated_at: int
    token_budget: int | None = None


class ThreadGoalSetResponse(Wire):
    goal: ThreadGoal


THREAD_GOAL_SET = ClientRequest(
    "thread/goal/set", ThreadGoalSetParams, ThreadGoalSetResponse, access="act", availability="later"
)


class ThreadGoalGetParams(Wire):
    thread_id: str


class ThreadGoalGetResponse(Wire):
    goal: ThreadGoal | None = None


THREAD_GOAL_GET = ClientRequest(
    "thread/goal/get", ThreadGoalGetParams, ThreadGoalGetResponse, access="read", availability="later"
)


class ThreadGoalClearParams(Wire):
    thread_id: str
    origin: ThreadGoalMutationOrigin | None = None


class ThreadGoalClearResponse(Wire):
    cleared: bool


THREAD_GOAL_CLEAR = ClientRequest(
    "thread/goal/clear", ThreadGoalClearParams, ThreadGoalClearResponse, access="act", availability="later"
)


class ThreadGoalUpdatedNotification(Wire):
    goal: ThreadGoal
    thread_id: str
    turn_id: str | None = None


THREAD_GOAL_UPDATED = ServerNotification("thread/goal/updated", ThreadGoalUpdatedNotification)


class ThreadGoalClearedNotification(Wire):
    thread_id: str


THREAD_GOAL_CLEARED = ServerNotification("thread/goal/cleared", ThreadGoalClearedNotification)
