"""Which tool answers which call of the model, and what the model is told about each."""

import logging
from collections.abc import Iterable
from typing import Any, Protocol

from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext

logger = logging.getLogger(__name__)


class Tool(Protocol):
    """One ability of the model."""

    @property
    def spec(self) -> dict[str, Any]:
        """The definition that is sent to the model, as the Responses API takes it."""
        ...

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Do it. Raises ToolError with a sentence for the model."""
        ...


class ToolRegistry:
    """The tools of a daemon by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.spec["name"]: tool for tool in tools}

    def specs(self) -> list[dict[str, Any]]:
        """What every request to the model lists."""
        return [tool.spec for tool in self._tools.values()]

    async def dispatch(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run the call. Whatever goes wrong becomes text for the model; a turn never fails because of a tool."""
        tool = self._tools.get(call.name)
        if tool is None:
            return ToolOutput(f"unsupported call: {call.name}")
        try:
            return await tool.run(call, turn)
        except ToolError as error:
            return ToolOutput(f"{call.name} failed: {error}")
        except Exception:
            logger.exception("unforeseen error in tool %s", call.name)
            return ToolOutput(f"{call.name} failed: internal error")
