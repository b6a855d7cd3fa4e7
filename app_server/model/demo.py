"""The offline demo: a script in the place of a model, so that the whole loop can be seen without an account.

It streams a reasoning summary and an answer word by word. A line `run: COMMAND` in the user's text makes it call
`exec_command` and report the output. It never touches the network.
"""

import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import orjson

from app_server.config.settings import ModelProviderSettings
from app_server.model.events import (
    Completed,
    Created,
    ItemAdded,
    ItemDone,
    ReasoningPartAdded,
    ReasoningSummaryDelta,
    ResponseEvent,
    TextDelta,
    Usage,
)
from app_server.model.provider import ModelRequest

GREETING = (
    "I am Turnloom's offline demo, not a language model: no account is configured, and nothing leaves this machine. "
    "I can still show how a turn works. Send a line such as `run: ls -la` and I run that command in the sandbox and "
    "tell what it printed. To talk to a real model, set OPENAI_API_KEY or choose a provider in config.toml."
)
MAX_REPORTED_OUTPUT = 4000
WORD_PAUSE_S = 0.01
"""A breath between words, so that a reader sees the answer arrive."""

_RUN = re.compile(r"^[ \t]*run:[ \t]*(\S.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CONTEXT_TAGS = (
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<additional_context",
    "<skill>",
    "# AGENTS.md instructions",
)


class DemoModel:
    """The provider `demo`."""

    def __init__(self, name: str, settings: ModelProviderSettings, word_pause_s: float = WORD_PAUSE_S) -> None:
        self.name, self.settings, self._pause = name, settings, word_pause_s

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[ResponseEvent]]:
        """Answer. See `ModelProvider.stream`."""
        async with aclosing(self._events(request)) as events:
            yield events

    async def models(self) -> bytes | None:
        """None: there is no server."""
        return None

    async def _events(self, request: ModelRequest) -> AsyncGenerator[ResponseEvent]:
        number = secrets.token_hex(8)
        items = [_decoded(item) for item in request.input]
        written = 0
        yield Created(f"demo_{number}")
        for event in self._answer(request, items, number):
            if isinstance(event, TextDelta | ReasoningSummaryDelta):
                written += 1
                await anyio.sleep(self._pause)
            yield event
        read = sum(len(item) if isinstance(item, bytes) else 200 for item in request.input) // 4
        yield Completed(f"demo_{number}", Usage(input=read, output=written, total=read + written))

    def _answer(
        self, request: ModelRequest, items: Sequence[Mapping[str, Any]], number: str
    ) -> Iterator[ResponseEvent]:
        if request.output_schema is not None:
            yield from _message(f"msg_{number}", _smallest(request.output_schema, request.output_schema))
            return
        output = _latest_output(items)
        text = "" if output is not None else _latest_user_text(items)
        commands = _RUN.findall(text)
        can_run = any(tool.get("name") == "exec_command" for tool in request.tools)
        if output is not None:
            yield from _reasoning(f"rs_{number}", "The command has ended; I report what it printed.")
            yield from _message(f"msg_{number}", _report(output))
        elif commands and can_run:
            yield from _reasoning(f"rs_{number}", "The user asks for a command; I run it.")
            for index, command in enumerate(commands):
                yield from _call(f"fc_{number}_{index}", f"call_{number}_{index}", command)
        elif commands:
            yield from _message(f"msg_{number}", "I would run that command, but this thread offers no `exec_command`.")
        else:
            yield from _reasoning(f"rs_{number}", "There is no `run:` line, so I explain what I am.")
            yield from _message(f"msg_{number}", GREETING)


def _decoded(item: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    return orjson.loads(item) if isinstance(item, bytes) else item


def _latest_output(items: Sequence[Mapping[str, Any]]) -> str | None:
    """What the commands printed that the user has not been told about yet; None if the user spoke last."""
    outputs: list[str] = []
    for item in reversed(items):
        if item.get("type") == "function_call_output":
            output = item.get("output")
            outputs.append(output if isinstance(output, str) else orjson.dumps(output).decode())
        elif item.get("role") == "assistant" or _user_text(item) is not None:
            break
    return "\n\n".join(reversed(outputs)) if outputs else None


def _latest_user_text(items: Sequence[Mapping[str, Any]]) -> str:
    return next((text for item in reversed(items) if (text := _user_text(item)) is not None), "")


def _user_text(item: Mapping[str, Any]) -> str | None:
    """What the user wrote; None for any other item, context in the user's name included."""
    if item.get("type") != "message" or item.get("role") != "user":
        return None
    content = cast("Sequence[Mapping[str, Any]]", item.get("content") or ())
    text = "\n".join(str(part.get("text") or "") for part in content)
    return None if text.lstrip().startswith(_CONTEXT_TAGS) else text


def _report(output: str) -> str:
    shown = output if len(output) <= MAX_REPORTED_OUTPUT else output[:MAX_REPORTED_OUTPUT] + "\n[cut]"
    fence = "`" * max(3, max((len(run) + 1 for run in re.findall(r"`+", shown)), default=3))
    return f"The demo ran it. This came back:\n\n{fence}\n{shown}\n{fence}"


def _reasoning(item_id: str, text: str) -> Iterator[ResponseEvent]:
    yield ItemAdded({"type": "reasoning", "id": item_id, "summary": []})
    yield ReasoningPartAdded(item_id, 0)
    for word in _words(text):
        yield ReasoningSummaryDelta(item_id, word, 0)
    yield ItemDone({"type": "reasoning", "id": item_id, "summary": [{"type": "summary_text", "text": text}]})


def _message(item_id: str, text: str) -> Iterator[ResponseEvent]:
    message = {"type": "message", "role": "assistant", "id": item_id}
    yield ItemAdded(message | {"content": []})
    for word in _words(text):
        yield TextDelta(item_id, word)
    yield ItemDone(message | {"content": [{"type": "output_text", "text": text}]})


def _call(item_id: str, call_id: str, command: str) -> Iterator[ResponseEvent]:
    arguments = orjson.dumps({"cmd": command}).decode()
    call = {"type": "function_call", "id": item_id, "call_id": call_id, "name": "exec_command"}
    yield ItemAdded(call | {"arguments": ""})
    yield ItemDone(call | {"arguments": arguments})


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _smallest(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    return orjson.dumps(_sample(schema, root, 0)).decode()


def _sample(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    """A small value that the schema allows; the demo knows the keywords that structured output uses."""
    if not isinstance(schema, dict) or depth > 20:
        return None
    rules = cast("dict[str, Any]", schema)
    if isinstance(reference := rules.get("$ref"), str) and reference.startswith("#"):
        target: Any = root
        for part in reference[1:].split("/")[1:]:
            target = cast("dict[str, Any]", target).get(part.replace("~1", "/").replace("~0", "~"), {})
        return _sample(target, root, depth + 1)
    for keyword in ("const", "default"):
        if keyword in rules:
            return rules[keyword]
    if rules.get("enum"):
        return rules["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if rules.get(keyword):
            return _sample(rules[keyword][0], root, depth + 1)
    kind: Any = rules.get("type") or ("object" if "properties" in rules else None)
    if isinstance(kind, list):
        kinds = cast("list[str]", kind)
        kind = "null" if "null" in kinds else kinds[0]
    if kind == "object":
        properties = cast("dict[str, Any]", rules.get("properties") or {})
        names = cast("list[str]", rules.get("required") or list(properties))
        return {name: _sample(properties.get(name, {}), root, depth + 1) for name in names}
    if kind == "array":
        return [_sample(rules.get("items", {}), root, depth + 1)] * int(rules.get("minItems") or 0)
    if kind == "string":
        return "Demo".ljust(int(rules.get("minLength") or 0), ".")[: int(rules.get("maxLength") or 10_000)]
    if kind in ("integer", "number"):
        return rules.get("minimum", 0)
    return False if kind == "boolean" else None
