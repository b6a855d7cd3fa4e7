"""A server of models that says what a test tells it to, over real HTTP and server-sent events.

    async with ScriptedModel() as model:
        model.script(reasoning("hm"), tool_call("exec_command", {"cmd": "ls"}))    # the first answer
        model.script(say("done", deltas=3))                                        # the second
        ...
        await model.wait_for_requests(2)
        assert model.requests[1]["input"][-1]["type"] == "function_call_output"

One call of `script` is one answer: its parts in order, between `response.created` and `response.completed`.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import anyio
import orjson
from aiohttp import web

Body = dict[str, Any]


@dataclass(frozen=True)
class Send:
    """Bytes for the stream, or an event to be encoded."""

    data: bytes


@dataclass(frozen=True)
class Gate:
    """What follows is held back until the event is set."""

    event: anyio.Event


@dataclass(frozen=True)
class Drop:
    """The connection is cut; nothing follows."""


@dataclass(frozen=True)
class End:
    """The stream ends in good order, without `response.completed`."""


@dataclass(frozen=True)
class Status:
    """An HTTP answer that is no stream."""

    code: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Step = Send | Gate | Drop | End | Status
Part = Sequence[Step]
Script = Sequence[Part] | Callable[[Body], Sequence[Part]]

_numbers = itertools.count(1)


def event(kind: str, **members: Any) -> Part:
    """One event of any kind."""
    payload = orjson.dumps({"type": kind, **members})
    return [Send(b"event: " + kind.encode() + b"\ndata: " + payload + b"\n\n")]


def raw(data: bytes) -> Part:
    """Bytes as they are, valid or not."""
    return [Send(data)]


def partial(text: str, *, deltas: int = 1, item_id: str | None = None) -> Part:
    """A message that begins and gets text in `deltas` pieces, but does not end."""
    item_id = item_id or f"msg_{next(_numbers)}"
    item: Body = {"type": "message", "role": "assistant", "id": item_id, "content": []}
    steps = list(event("response.output_item.added", output_index=0, item=item))
    size = max(1, -(-len(text) // deltas))
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        steps += event("response.output_text.delta", item_id=item_id, output_index=0, content_index=0, delta=piece)
    return steps


def say(text: str, *, deltas: int = 0, item_id: str | None = None) -> Part:
    """A message; with `deltas`, its text also comes in that many pieces first."""
    item_id = item_id or f"msg_{next(_numbers)}"
    steps = list(partial(text, deltas=deltas, item_id=item_id)) if deltas else []
    content = [{"type": "output_text", "text": text}]
    item = {"type": "message", "role": "assistant", "id": item_id, "content": content}
    return [*steps, *event("response.output_item.done", output_index=0, item=item)]


def reasoning(summary: str, *, content: str | None = None, item_id: str | None = None) -> Part:
    """A reasoning item with a summary and, if given, raw content; each comes in one delta first."""
    item_id = item_id or f"rs_{next(_numbers)}"
    item: Body = {"type": "reasoning", "id": item_id, "summary": []}
    steps = list(event("response.output_item.added", item=item))
    steps += event("response.reasoning_summary_part.added", item_id=item_id, summary_index=0)
    steps += event("response.reasoning_summary_text.delta", item_id=item_id, summary_index=0, delta=summary)
    done = item | {"summary": [{"type": "summary_text", "text": summary}], "encrypted_content": "sealed"}
    if content is not None:
        steps += event("response.reasoning_text.delta", item_id=item_id, content_index=0, delta=content)
        done["content"] = [{"type": "reasoning_text", "text": content}]
    return [*steps, *event("response.output_item.done", item=done)]


def tool_call(name: str, arguments: Mapping[str, Any] | str, call_id: str | None = None) -> Part:
    """A call of a function; a string goes out as it is, so that it can be invalid JSON."""
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    call_id = call_id or f"call_{next(_numbers)}"
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": text}
    return event("response.output_item.done", output_index=0, item=item)


def failed(code: str, message: str) -> Part:
    """`response.failed`; nothing follows."""
    error = {"code": code, "message": message}
    return [*event("response.failed", response={"id": "resp_failed", "error": error}), End()]


def drop() -> Part:
    """Cut the connection here; as the first part, before anything is answered."""
    return [Drop()]


def end() -> Part:
    """End the stream here, without `response.completed`."""
    return [End()]


def gate(opens: anyio.Event) -> Part:
    """Hold back what follows until the event is set."""
    return [Gate(opens)]


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Part:
    """Answer with this HTTP status instead of a stream. A body that is no bytes is sent as JSON."""
    encoded = (
        body if isinstance(body, bytes) else orjson.dumps({"error": {"message": "scripted"}} if body is None else body)
    )
    return [Status(code, encoded, headers or {})]


def usage(*, input: int = 10, cached: int = 0, output: int = 5, reasoning: int = 0) -> Body:
    """The token counts of an answer."""
    return {
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input + output,
    }


def _done(_request: Body) -> Sequence[Part]:
    return [say("done")]


class ScriptedModel:
    """The server. `requests` and `headers` hold what was asked, oldest first; `hangups` counts abandoned answers."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.hangups = 0
        self.connections: set[Any] = set()
        self.default: Script = _done
        self.usage = usage()
        self.response_headers: dict[str, str] = {}
        self.models: Any = None
        """What is said about models, as JSON; with None nobody knows the place."""
        self.models_asked = 0
        self._scripts: list[Script] = []
        self._changed = anyio.Event()

    @property
    def url(self) -> str:
        """What `base_url` is to be."""
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        """Forget what was asked and what was to be answered, for the next test."""
        self.requests.clear()
        self.headers.clear()
        self._scripts.clear()
        self.response_headers = {}
        self.models = None
        self.models_asked = 0
        self.hangups = 0
        self.default = _done
        self.usage = usage()

    def script(self, *parts: Part | Callable[[Body], Sequence[Part]]) -> None:
        """Queue one answer. A single callable is given the request and returns the parts."""
        if len(parts) == 1 and callable(parts[0]):
            self._scripts.append(parts[0])
        else:
            self._scripts.append([part for part in parts if not callable(part)])

    async def wait_for_requests(self, count: int) -> None:
        """Until so many requests have come in all."""
        while len(self.requests) < count:
            await self._changed.wait()

    async def wait_for_hangups(self, count: int) -> None:
        """Until so many answers were abandoned by the client in all."""
        while self.hangups < count:
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/responses", self._answer)
        application.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _models(self, request: web.Request) -> web.Response:
        self.models_asked += 1
        if self.models is None:
            raise web.HTTPNotFound
        return web.json_response(self.models)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        self._notify()
        script = self._scripts.pop(0) if self._scripts else self.default
        parts = script(body) if callable(script) else script
        steps = [step for part in parts for step in part]
        if steps and isinstance(steps[0], Status):
            refusal = steps[0]
            headers = {"content-type": "application/json", **refusal.headers}
            return web.Response(status=refusal.code, body=refusal.body, headers=headers)
        if steps and isinstance(steps[0], Drop) and request.transport is not None:
            request.transport.abort()
            return web.Response()
        try:
            return await self._stream(request, steps)
        except ConnectionError:
            self._note_hangup()
            return web.Response()
        except anyio.get_cancelled_exc_class():
            self._note_hangup()
            raise

    def _note_hangup(self) -> None:
        self.hangups += 1
        self._notify()

    async def _stream(self, request: web.Request, steps: Sequence[Step]) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream", **self.response_headers})
        await stream.prepare(request)
        answer_id = f"resp_{next(_numbers)}"
        opening = event("response.created", response={"id": answer_id})
        closing = event("response.completed", response={"id": answer_id, "usage": self.usage})
        pending: list[bytes] = []
        for step in (*opening, *steps, *closing, End()):
            if isinstance(step, Send):
                pending.append(step.data)
                continue
            if pending:
                await stream.write(b"".join(pending))
                pending.clear()
            if isinstance(step, Gate):
                await step.event.wait()
            elif isinstance(step, Drop):
                if request.transport is not None:
                    request.transport.abort()
                return stream
            else:
                break
        await stream.write_eof()
        return stream
