"""Which tool answers which call of the model, and what the model is told about each."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from app_server.approvals.approvals import Declined, TurnCancelled
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext

logger = logging.getLogger(__name__)


class Tool(Protocol):
    """One ability of the model."""

    @property
    def name(self) -> str:
        """As the model calls it."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether it may run beside other calls of the same answer."""
        ...

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """The definition that is sent to the model, as the Responses API takes it; None where it is not offered."""
        ...

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Do it. Raises ToolError or Declined with a sentence for the model, TurnCancelled to end the turn."""
        ...


class ToolRegistry:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def with_tools(self, tools: Iterable[Tool]) -> "ToolRegistry":
        """These tools and more; a name that is taken already stays with the tool that has it."""
        more = ToolRegistry(tools)
        more._tools |= self._tools
        return more

    def specs(self, turn: TurnContext) -> list[Mapping[str, Any]]:
        """What every request of the turn to the model lists."""
        specs = (tool.spec(turn) for tool in self._tools.values())
        return [spec for spec in specs if spec is not None]

    def _find(self, call: ToolCall) -> Tool | None:
        return self._tools.get(call.name if call.namespace is None else f"{call.namespace}.{call.name}")

    def runs_beside_others(self, call: ToolCall) -> bool:
        """Whether the call may run at the same time as others of the same answer."""
        tool = self._find(call)
        return tool is None or tool.parallel

    async def dispatch(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run the call. What goes wrong becomes text for the model; a turn never fails because of a tool.

        Raises TurnCancelled, which is the user's wish.
        """
        tool = self._find(call)
        if tool is None:
            return ToolOutput(f"unsupported call: {call.name}", success=False)
        try:
            return await tool.run(call, turn)
        except (ToolError, Declined) as error:
            return ToolOutput(f"{call.name} failed: {error}", success=False)
        except TurnCancelled:
            raise
        except Exception:
            logger.exception("unforeseen error in tool %s", call.name)
            return ToolOutput(f"{call.name} failed: internal error", success=False)
