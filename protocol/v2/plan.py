"""How the agent tells its plan: the steps of the turn, and the plan that it proposes in plan mode."""

from typing import Literal

from protocol.methods import ServerNotification
from protocol.wire import Wire

TurnPlanStepStatus = Literal["pending", "inProgress", "completed"]
"""How far a step has come."""


class TurnPlanStep(Wire):
    """One step."""

    status: TurnPlanStepStatus
    step: str


class TurnPlanUpdatedNotification(Wire):
    """The plan of a turn as it is now, in order; `explanation` says why it changed."""

    thread_id: str
    turn_id: str
    plan: list[TurnPlanStep]
    explanation: str | None = None


TURN_PLAN_UPDATED = ServerNotification("turn/plan/updated", TurnPlanUpdatedNotification)


class PlanDeltaNotification(Wire):
    """A piece of the text of a proposed plan."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str


ITEM_PLAN_DELTA = ServerNotification("item/plan/delta", PlanDeltaNotification)
