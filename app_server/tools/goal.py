"""get_goal, create_goal and update_goal: the model reads the goal of its thread, sets one, and says when it is over."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, cast

import orjson

from app_server.tools.arguments import PREFIX, Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from protocol.jsonrpc import RpcError
from protocol.v2.thread_goal import ThreadGoal

GOAL_TOOLS: Final = frozenset({"get_goal", "create_goal", "update_goal"})

_END = {
    "complete": "The goal is complete. Tell the user what was reached and what it took, from the numbers of this goal.",
    "blocked": "The goal is blocked. Tell the user what stands in the way and what you need to go on.",
    "paused": "The goal is paused. Do nothing more for it until the user lets it go on.",
}


_OBJECTIVE: Final[Mapping[str, Any]] = {
    "objective": {"type": "string", "description": "What is to be reached, concrete enough to be checked."},
    "token_budget": {"type": "integer", "description": "How many tokens it may use. Only if the user named a budget."},
}
_STATUS: Final[Mapping[str, Any]] = {"status": {"type": "string", "enum": list(_END), "description": "How it stands."}}
_NONE: Final[Mapping[str, Any]] = {}


class PursuedGoal(Protocol):
    """The goal of the thread in which the tools run."""

    def shown(self) -> ThreadGoal | None:
        """As clients see it; None if there is none."""
        ...

    async def set(
        self,
        *,
        objective: str | None = None,
        status: Literal["active", "paused", "blocked", "complete"] | None = None,
        token_budget: int | None = None,
    ) -> ThreadGoal:
        """Begin or change it. Raises RpcError with a sentence for whoever asked."""
        ...

    async def settle(self, turn_id: str) -> str | None:
        """Put what the turn has used so far on its bill."""
        ...

    def tell(self, turn_id: str | None = None) -> None:
        """Tell every client how it stands."""
        ...


class _GoalTool:
    """What the three have in common."""

    name = ""
    parallel = False
    description = ""
    properties: Mapping[str, Any] = _NONE
    required: tuple[str, ...] = ()

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered where goals are pursued: in threads that are kept, outside plan mode."""
        if turn.goal is None or turn.mode == "plan":
            return None
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": self.properties,
                "required": list(self.required),
                "additionalProperties": False,
            },
        }

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run one call."""
        if turn.goal is None:
            raise ToolError("this thread is not kept, so it can have no goal")
        if turn.mode == "plan":
            raise ToolError("goals rest in plan mode; propose a plan instead")
        try:
            return await self._run(Arguments.parse(call.arguments or "{}"), turn.goal, turn)
        except RpcError as error:
            raise ToolError(error.message) from error

    async def _run(self, arguments: Arguments, goal: PursuedGoal, turn: TurnContext) -> ToolOutput:
        raise NotImplementedError


class GetGoalTool(_GoalTool):
    """Reads the goal."""

    name = "get_goal"
    description = "Reads the goal of this thread: objective, status, token budget, and what it has used so far."

    async def _run(self, arguments: Arguments, goal: PursuedGoal, turn: TurnContext) -> ToolOutput:
        return _shown(goal.shown())


class CreateGoalTool(_GoalTool):
    """Begins a goal."""

    name = "create_goal"
    description = (
        "Sets a goal that this thread goes on working towards, turn after turn, without being asked again. Only when "
        "the user asks for a goal in so many words; an ordinary task is none. Fails while there is an unfinished goal."
    )
    properties = _OBJECTIVE
    required = ("objective",)

    async def _run(self, arguments: Arguments, goal: PursuedGoal, turn: TurnContext) -> ToolOutput:
        present = goal.shown()
        if present is not None and present.status != "complete":
            raise ToolError(
                f"there is an unfinished goal ({present.status}); the user has to clear or change it, or it has to be "
                "completed with update_goal first"
            )
        await goal.set(objective=arguments.text("objective"), token_budget=arguments.count("token_budget"))
        goal.tell(turn.turn_id)
        return _shown(goal.shown())


class UpdateGoalTool(_GoalTool):
    """Says how the goal ends."""

    name = "update_goal"
    description = (
        'Ends the work on the goal. "complete": all that the objective asks for is there and checked, whatever is left '
        'of the budget. "blocked": the same obstacle has stopped you in at least three turns running and nothing is '
        'left to do without the user. "paused": only because the user asked you to pause it. Not for work that is '
        "hard, slow or unfinished. You cannot set a goal active again: the user does."
    )
    properties = _STATUS
    required = ("status",)

    async def _run(self, arguments: Arguments, goal: PursuedGoal, turn: TurnContext) -> ToolOutput:
        if arguments.optional_text("status") is None:
            raise ToolError(f"{PREFIX}missing field `status`")
        status = cast("Literal['paused', 'blocked', 'complete']", arguments.choice("status", list(_END)))
        await goal.settle(turn.turn_id)
        shown = await goal.set(status=status)
        goal.tell(turn.turn_id)
        return _shown(shown, _END.get(shown.status))


def _shown(goal: ThreadGoal | None, note: str | None = None) -> ToolOutput:
    left = None
    if goal is not None and goal.token_budget is not None:
        left = max(0, goal.token_budget - goal.tokens_used)
    shown = None if goal is None else goal.model_dump(by_alias=True)
    return ToolOutput(orjson.dumps({"goal": shown, "remainingTokens": left, "note": note}).decode())


TOOLS = (GetGoalTool(), CreateGoalTool(), UpdateGoalTool())
