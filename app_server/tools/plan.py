"""update_plan: the model tells the user what it is about to do, step by step."""

from collections.abc import Mapping
from typing import Any, cast

from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from protocol.v2 import plan as wire

STATUSES = {"pending": "pending", "in_progress": "inProgress", "completed": "completed"}
"""How the model names the state of a step, and how the wire does."""

SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": "update_plan",
    "description": (
        "Shows the user the steps of your work and how far each has come. Call it again whenever that changes, with "
        "all steps. At most one step is in_progress at a time. Not for work of a single step."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "explanation": {"type": "string", "description": "Why the plan changed, in one sentence."},
            "plan": {
                "type": "array",
                "description": "All steps in order.",
                "items": {
                    "type": "object",
                    "properties": {
                        "step": {"type": "string", "description": "What is done, in a few words."},
                        "status": {"type": "string", "enum": list(STATUSES)},
                    },
                    "required": ["step", "status"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["plan"],
        "additionalProperties": False,
    },
}


class PlanTool:
    """The plan is for the user's eyes; nothing is done with it."""

    name = "update_plan"
    parallel = False

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered wherever work is done, which is not in plan mode."""
        return None if turn.mode == "plan" else SPEC

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Tell the followers the new plan."""
        if turn.mode == "plan":
            raise ToolError(
                "update_plan is for steps of work and is not available in plan mode; propose a plan instead"
            )
        arguments = Arguments.parse(call.arguments)
        if "plan" not in arguments.values:
            raise ToolError("failed to parse function arguments: missing field `plan`")
        steps = [
            wire.TurnPlanStep(
                step=step.text("step"),
                status=cast("wire.TurnPlanStepStatus", STATUSES[step.choice("status", list(STATUSES))]),
            )
            for step in arguments.tables("plan")
        ]
        params = wire.TurnPlanUpdatedNotification(
            thread_id=turn.thread_id,
            turn_id=turn.turn_id,
            plan=steps,
            explanation=arguments.optional_text("explanation"),
        )
        turn.publish(wire.TURN_PLAN_UPDATED, params)
        return ToolOutput("Plan updated")
