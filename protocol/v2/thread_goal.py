"""Goals: what a thread works towards by itself, turn after turn, until it is done, blocked or out of budget."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification, by_thread, reads_thread
from protocol.wire import Wire

ThreadGoalMutationOrigin = Literal["user", "automatic"]
"""Who wants the change: a user, or the client by itself."""

ThreadGoalStatus = Literal["active", "paused", "blocked", "usageLimited", "budgetLimited", "complete"]
"""`active` goes on by itself; `blocked` waits for the user, `usageLimited` for the account, and `budgetLimited` for a
larger token budget."""


class ThreadGoalSetParams(Wire):
    """Begin a goal, or change the one there is: None leaves a part as it is. A goal that begins is active unless
    `status` says otherwise. `token_budget` counts input that came from no cache, and output."""

    thread_id: str
    objective: str | None = None
    origin: ThreadGoalMutationOrigin | None = None
    status: ThreadGoalStatus | None = None
    token_budget: int | None = None


class ThreadGoal(Wire):
    """A goal and what it has used: tokens as `token_budget` counts them, and seconds in which turns ran.

    Its times are in Unix seconds. Without a `token_budget` there is no limit.
    """

    created_at: int
    objective: str
    status: ThreadGoalStatus
    thread_id: str
    time_used_seconds: int
    tokens_used: int
    updated_at: int
    token_budget: int | None = None


class ThreadGoalSetResponse(Wire):
    """The goal as it stands now. If it is active and the thread idle, a turn follows."""

    goal: ThreadGoal


THREAD_GOAL_SET = ClientRequest(
    "thread/goal/set", ThreadGoalSetParams, ThreadGoalSetResponse, order=by_thread, access="act"
)


class ThreadGoalGetParams(Wire):
    """Ask for a thread's goal."""

    thread_id: str


class ThreadGoalGetResponse(Wire):
    """The goal; None if there is none."""

    goal: ThreadGoal | None = None


THREAD_GOAL_GET = ClientRequest(
    "thread/goal/get", ThreadGoalGetParams, ThreadGoalGetResponse, order=reads_thread, access="read"
)


class ThreadGoalClearParams(Wire):
    """Forget a thread's goal. A turn that runs for it goes on to its end."""

    thread_id: str
    origin: ThreadGoalMutationOrigin | None = None


class ThreadGoalClearResponse(Wire):
    """Whether there was one."""

    cleared: bool


THREAD_GOAL_CLEAR = ClientRequest(
    "thread/goal/clear", ThreadGoalClearParams, ThreadGoalClearResponse, order=by_thread, access="act"
)


class ThreadGoalUpdatedNotification(Wire):
    """A goal is another one, or has used more. `turn_id` is the turn that caused it; None if a client did."""

    goal: ThreadGoal
    thread_id: str
    turn_id: str | None = None


THREAD_GOAL_UPDATED = ServerNotification("thread/goal/updated", ThreadGoalUpdatedNotification)


class ThreadGoalClearedNotification(Wire):
    """A thread has no goal any more."""

    thread_id: str


THREAD_GOAL_CLEARED = ServerNotification("thread/goal/cleared", ThreadGoalClearedNotification)
