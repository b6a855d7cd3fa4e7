"""Tools that a client brings along and runs itself, and the search for those that are loaded on demand."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from app_server.rpc.outbound import now_ms
from app_server.rpc.server_requests import NoAnswer
from app_server.tools.arguments import Arguments
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from app_server.tools.registry import Tool
from protocol.jsonrpc import invalid_request
from protocol.v2 import dynamic_tool as wire
from protocol.v2.item import DynamicToolCallThreadItem

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""What model providers take as the name of a tool."""

FOUND = 8
"""How many tools a search loads where the model does not say."""

SEARCH_SPEC: Mapping[str, Any] = {
    "type": "function",
    "name": "tool_search",
    "description": (
        "Finds further tools that the application offers, by words of their names and descriptions. The tools that are "
        "found can be called from your next step on."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What the tool should be about."},
            "limit": {"type": "integer", "description": f"How many tools to load at most. Default: {FOUND}."},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
}


class DynamicTool:
    """One tool of the client. A deferred one is offered to the model only once it was found by a search."""

    parallel = True

    def __init__(
        self, tool: wire.FunctionDynamicToolSpec | wire.FunctionDynamicToolNamespaceTool, namespace: str | None
    ) -> None:
        self.name = tool.name if namespace is None else f"{namespace}.{tool.name}"
        self.namespace = namespace
        self.offered = not tool.defer_loading
        self.description = tool.description
        self._tool = tool.name
        self._schema = tool.input_schema

    @property
    def definition(self) -> dict[str, Any]:
        """As the model is told of it, within its namespace if it has one."""
        return {
            "type": "function",
            "name": self._tool,
            "description": self.description,
            "strict": False,
            "parameters": self._schema,
        }

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Those of a namespace are offered by their `Namespace`."""
        return self.definition if self.offered and self.namespace is None else None

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Ask the clients of the thread to run it; the first answer counts. No usable answer is a failure."""
        arguments = Arguments.parse(call.arguments).values
        began = now_ms()
        item = DynamicToolCallThreadItem(
            id=call.call_id,
            namespace=self.namespace,
            tool=self._tool,
            arguments=arguments,
            status="inProgress",
            started_at_ms=began,
        )
        await turn.items.started(item)
        params = wire.DynamicToolCallParams(
            thread_id=turn.thread_id,
            turn_id=turn.turn_id,
            call_id=call.call_id,
            namespace=self.namespace,
            tool=self._tool,
            arguments=arguments,
        )
        try:
            answer = (await turn.approvals.ask(wire.ITEM_TOOL_CALL, params)).response
        except NoAnswer:
            failure = wire.InputTextDynamicToolCallOutputContentItem(text="dynamic tool response was invalid")
            answer = wire.DynamicToolCallResponse(content_items=[failure], success=False)
        at = now_ms()
        ended = {
            "status": "completed" if answer.success else "failed",
            "content_items": answer.content_items,
            "success": answer.success,
            "duration_ms": at - began,
            "completed_at_ms": at,
        }
        await turn.items.completed(item.model_copy(update=ended))
        return _output(answer)


class Namespace:
    """Tells the model of the tools of one namespace together, as the Responses API wants it. It is never called."""

    parallel = True

    def __init__(self, spec: wire.NamespaceDynamicToolSpec, tools: Sequence[DynamicTool]) -> None:
        self.name, self._description, self._tools = spec.name, spec.description, tools

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """With the tools that are loaded; None while there is none."""
        offered = [tool.definition for tool in self._tools if tool.offered]
        if not offered:
            return None
        return {"type": "namespace", "name": self.name, "description": self._description, "tools": offered}

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Raises ToolError that says how to call."""
        raise ToolError(
            f"`{self.name}` is a group of tools; call one of them: {', '.join(t.name for t in self._tools)}"
        )


class ToolSearch:
    """Loads deferred tools by the words of a query."""

    name = "tool_search"
    parallel = False

    def __init__(self, tools: Sequence[DynamicTool]) -> None:
        self._tools = tools

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Offered while a tool is not loaded."""
        return None if all(tool.offered for tool in self._tools) else SEARCH_SPEC

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """The definitions of what was found, best first."""
        arguments = Arguments.parse(call.arguments)
        words = {word for word in re.split(r"\W+|_", arguments.text("query").lower()) if word}
        limit = arguments.count("limit") or FOUND
        ranked = sorted(self._tools, key=lambda tool: -_hits(tool, words))
        found = [tool for tool in ranked if _hits(tool, words)][:limit]
        for tool in found:
            tool.offered = True
        if not found:
            return ToolOutput(f"no tool matches; there are: {', '.join(tool.name for tool in self._tools)}")
        return ToolOutput(orjson.dumps([tool.definition | {"name": tool.name} for tool in found]).decode())


def dynamic_tools(specs: Iterable[wire.DynamicToolSpec]) -> list[Tool]:
    """The tools that a client declares. Raises -32600 where a declaration cannot be used."""
    tools: list[Tool] = []
    deferred: list[DynamicTool] = []
    for spec in specs:
        if isinstance(spec, wire.NamespaceDynamicToolSpec):
            _check_name(spec.name)
            members = [DynamicTool(tool, spec.name) for tool in spec.tools]
            tools += [Namespace(spec, members), *members]
            deferred += [tool for tool in members if not tool.offered]
        elif spec.defer_loading:
            raise invalid_request(f"deferred dynamic tool must include a namespace: {spec.name}")
        else:
            tools.append(DynamicTool(spec, None))
        for name in (
            [tool.name for tool in spec.tools] if isinstance(spec, wire.NamespaceDynamicToolSpec) else [spec.name]
        ):
            _check_name(name)
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise invalid_request(f"`dynamicTools` has the tool `{name}` more than once")
    return [*tools, ToolSearch(deferred)] if deferred else tools


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise invalid_request(
            f"`dynamicTools` has a tool named `{name}`; a name is 1 to 128 letters, digits, dashes or underscores"
        )


def _hits(tool: DynamicTool, words: set[str]) -> int:
    text = f"{tool.name} {tool.description}".lower()
    return sum(word in text for word in words)


def _output(answer: wire.DynamicToolCallResponse) -> ToolOutput:
    texts: list[str] = []
    content: list[Mapping[str, Any]] = []
    for part in answer.content_items:
        match part:
            case wire.InputTextDynamicToolCallOutputContentItem():
                texts.append(part.text)
                content.append({"type": "input_text", "text": part.text})
            case wire.InputImageDynamicToolCallOutputContentItem():
                content.append({"type": "input_image", "image_url": part.image_url})
            case wire.InputAudioDynamicToolCallOutputContentItem():
                texts.append("(a recording, which cannot be played to you)")
                content.append({"type": "input_text", "text": texts[-1]})
    text = "\n".join(texts)
    plain = len(texts) == len(content)
    return ToolOutput(text, content=None if plain else content, success=answer.success)
