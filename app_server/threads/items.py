"""The items of one turn: opened, streamed, completed; stored before any client is told that they are done."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import anyio
import orjson

from app_server.rpc.outbound import DeltaStream, encode, now_ms
from app_server.threads.events import ThreadEvents, encoded_item_event
from app_server.threads.history import text_message
from app_server.threads.proposed_plan import PlanSplitter, split
from protocol.v2 import item as wire
from protocol.v2.plan import ITEM_PLAN_DELTA

logger = logging.getLogger(__name__)

PERSIST_SECONDS = 5.0
"""How long storing one item may hold up a cancellation."""

Persist = Callable[[bytes, Any, Sequence[bytes]], Awaitable[None]]
"""Stores one completed item (its JSON and its model) and, with it, what the model is shown of it."""


class _Open:
    """An item whose text is still coming."""

    def __init__(self, item_id: str, started_at_ms: int) -> None:
        self.id, self.started_at_ms = item_id, started_at_ms

    def build(self, completed_at_ms: int | None) -> Any:
        raise NotImplementedError


class _OpenMessage(_Open):
    def __init__(self, item_id: str, started_at_ms: int, text: str, phase: str | None, deltas: DeltaStream) -> None:
        super().__init__(item_id, started_at_ms)
        self.splitter: PlanSplitter | None = None
        self.texts = [text] if text else []
        self.phase, self.deltas = phase, deltas

    def build(self, completed_at_ms: int | None) -> wire.AgentMessageThreadItem:
        return wire.AgentMessageThreadItem(
            id=self.id,
            text="".join(self.texts),
            phase=cast("Any", self.phase),
            started_at_ms=self.started_at_ms,
            completed_at_ms=completed_at_ms,
        )


class _OpenPlan(_Open):
    def __init__(self, item_id: str, started_at_ms: int, deltas: DeltaStream) -> None:
        super().__init__(item_id, started_at_ms)
        self.texts: list[str] = []
        self.deltas = deltas

    def build(self, completed_at_ms: int | None) -> wire.PlanThreadItem:
        return wire.PlanThreadItem(
            id=self.id,
            text="".join(self.texts),
            started_at_ms=self.started_at_ms,
            completed_at_ms=completed_at_ms,
        )


class _OpenReasoning(_Open):
    def __init__(self, item_id: str, started_at_ms: int) -> None:
        super().__init__(item_id, started_at_ms)
        self.summary: dict[int, list[str]] = {}
        self.content: dict[int, list[str]] = {}
        self.streams: dict[tuple[str, int], DeltaStream] = {}

    def build(self, completed_at_ms: int | None) -> wire.ReasoningThreadItem:
        return wire.ReasoningThreadItem(
            id=self.id,
            summary=["".join(self.summary[index]) for index in sorted(self.summary)],
            content=["".join(self.content[index]) for index in sorted(self.content)],
            started_at_ms=self.started_at_ms,
            completed_at_ms=completed_at_ms,
        )


class TurnItems:
    """Opens, streams and completes the items of a turn; it is what tools see as their `ItemSink`."""

    def __init__(
        self, events: ThreadEvents, thread_id: str, turn_id: str, persist: Persist, *, plans: bool = False
    ) -> None:
        """`plans` says that a plan within a message is an item of its own."""
        self._events, self._thread_id, self._turn_id, self._persist = events, thread_id, turn_id, persist
        self._open: dict[str, _Open] = {}
        self._running: dict[str, Any] = {}
        self._detached: dict[str, Any] = {}
        self._plans = plans
        self._output: dict[str, DeltaStream] = {}
        self.done: list[bytes] = []
        """Completed items in the order in which they were completed, as stored."""
        self.last_message: bytes | None = None
        """The newest completed agent message."""

    def snapshot(self) -> list[bytes]:
        """Every item of the turn as it stands now, with the text so far of those in progress."""
        partial = [encode(item.build(None)) for item in self._open.values()]
        tools = (*self._detached.values(), *self._running.values())
        return [*self.done, *map(encode, tools), *partial]

    async def congestion(self) -> None:
        """Wait for a follower that is never cut and has fallen behind."""
        await self._events.congestion()

    async def started(self, item: Any) -> None:
        """Tell that a tool's item has begun."""
        self._running[item.id] = item
        self._push_started(item)

    def output_delta(self, item_id: str, text: str) -> None:
        """Tell what a command has printed."""
        stream = self._output.get(item_id)
        if stream is None:
            stream = self._events.deltas(wire.ITEM_COMMAND_EXECUTION_OUTPUT_DELTA, self._turn_id, item_id)
            self._output[item_id] = stream
        self._events.push(stream.frame(text))

    def changed(self, item: Any) -> None:
        """Take note of what a tool's item has become meanwhile; its followers are told at its end."""
        self._running[item.id] = item

    async def completed(self, item: Any, history: Sequence[bytes] = ()) -> None:
        """Store a finished item, then tell that it is done; a cancellation does not come between the two."""
        encoded = encode(item)
        with anyio.move_on_after(PERSIST_SECONDS, shield=True) as storing:
            await self._persist(encoded, item, history)
            self._tell_completed(encoded, item)
        self._running.pop(item.id, None)
        self._detached.pop(item.id, None)
        self._output.pop(item.id, None)
        if storing.cancelled_caught:
            logger.error("item %s was not stored within %s s, so its end is not told", item.id, PERSIST_SECONDS)

    async def detach(self, item_id: str) -> None:
        """Let a tool's item outlive the turn. It is stored as it stands; `completed` stores its end at any time."""
        item = self._detached[item_id] = self._running.pop(item_id)
        await self._persist(encode(item), item, ())

    def tell(self, item: Any, encoded: bytes) -> None:
        """Tell of an item that was stored as a whole, such as the user's message."""
        self._push_started(item.model_copy(update={"completed_at_ms": None}))
        self._tell_completed(encoded, item)

    def _push_started(self, item: Any) -> None:
        params = encoded_item_event(encode(item), self._thread_id, self._turn_id, started_at_ms=item.started_at_ms)
        self._events.publish_json(wire.ITEM_STARTED, params)

    def _tell_completed(self, encoded: bytes, item: Any) -> None:
        self.done.append(encoded)
        if item.type == "agentMessage":
            self.last_message = encoded
        params = encoded_item_event(encoded, self._thread_id, self._turn_id, completed_at_ms=item.completed_at_ms)
        self._events.publish_json(wire.ITEM_COMPLETED, params)

    # What the model streams

    def open_message(self, item: Mapping[str, Any], item_id: str) -> None:
        """The model began a message."""
        deltas = self._events.deltas(wire.ITEM_AGENT_MESSAGE_DELTA, self._turn_id, item_id)
        opened = _OpenMessage(item_id, now_ms(), text_of(item), item.get("phase"), deltas)
        if self._plans:
            opened.splitter = PlanSplitter()
        self._open[item_id] = opened
        self._push_started(opened.build(None))

    def message_delta(self, item_id: str, text: str) -> None:
        """The model went on with a message."""
        opened = self._open.get(item_id)
        if not isinstance(opened, _OpenMessage):
            self.open_message({}, item_id)
            opened = cast("_OpenMessage", self._open[item_id])
        if opened.splitter is None:
            opened.texts.append(text)
            self._events.push(opened.deltas.frame(text))
        else:
            self._sort(opened, opened.splitter.feed(text))

    def _sort(self, opened: _OpenMessage, pieces: Iterable[tuple[str, str]]) -> None:
        """Tell the pieces of a message that may hold a plan."""
        for part, piece in pieces:
            stream: _OpenMessage | _OpenPlan = opened if part == "message" else self._plan()
            stream.texts.append(piece)
            self._events.push(stream.deltas.frame(piece))

    def _plan(self) -> _OpenPlan:
        """The plan of the turn, which is opened by its first piece."""
        plan_id = f"{self._turn_id}-plan"
        opened = self._open.get(plan_id)
        if not isinstance(opened, _OpenPlan):
            opened = _OpenPlan(plan_id, now_ms(), self._events.deltas(ITEM_PLAN_DELTA, self._turn_id, plan_id))
            self._open[plan_id] = opened
            self._push_started(opened.build(None))
        return opened

    async def close_message(self, item: Mapping[str, Any], item_id: str, history: Sequence[bytes]) -> None:
        """The model finished a message; its final text counts, whatever was streamed."""
        opened = self._open.get(item_id)
        if not isinstance(opened, _OpenMessage):
            self.open_message(item, item_id)
            opened = cast("_OpenMessage", self._open[item_id])
        text = text_of(item)
        opened.phase = item.get("phase", opened.phase)
        if opened.splitter is not None:
            text, plan = split(text)
            if plan is not None:
                proposed = self._plan()
                proposed.texts = [plan]
                await self._close(proposed)
        opened.texts = [text]
        await self._close(opened, history)

    def open_reasoning(self, item_id: str) -> None:
        """The model began to think."""
        opened = _OpenReasoning(item_id, now_ms())
        self._open[item_id] = opened
        self._push_started(opened.build(None))

    def _reasoning(self, item_id: str) -> _OpenReasoning:
        opened = self._open.get(item_id)
        if not isinstance(opened, _OpenReasoning):
            self.open_reasoning(item_id)
            opened = cast("_OpenReasoning", self._open[item_id])
        return opened

    def summary_part(self, item_id: str, index: int) -> None:
        """A further part of a reasoning summary begins."""
        self._reasoning(item_id).summary.setdefault(index, [])
        params = {"threadId": self._thread_id, "turnId": self._turn_id, "itemId": item_id, "summaryIndex": index}
        self._events.publish_json(wire.ITEM_REASONING_SUMMARY_PART_ADDED, orjson.dumps(params))

    def summary_delta(self, item_id: str, text: str, index: int) -> None:
        """A piece of a reasoning summary."""
        opened = self._reasoning(item_id)
        opened.summary.setdefault(index, []).append(text)
        stream = opened.streams.get(("summary", index))
        if stream is None:
            descriptor = wire.ITEM_REASONING_SUMMARY_TEXT_DELTA
            stream = self._events.deltas(descriptor, self._turn_id, item_id, summaryIndex=index)
            opened.streams["summary", index] = stream
        self._events.push(stream.frame(text))

    def reasoning_delta(self, item_id: str, text: str, index: int) -> None:
        """A piece of raw reasoning."""
        opened = self._reasoning(item_id)
        opened.content.setdefault(index, []).append(text)
        stream = opened.streams.get(("content", index))
        if stream is None:
            stream = self._events.deltas(wire.ITEM_REASONING_TEXT_DELTA, self._turn_id, item_id, contentIndex=index)
            opened.streams["content", index] = stream
        self._events.push(stream.frame(text))

    async def close_reasoning(self, item: Mapping[str, Any], item_id: str) -> None:
        """The model finished thinking."""
        opened = self._reasoning(item_id)
        summary = [part.get("text", "") for part in cast("Sequence[Mapping[str, Any]]", item.get("summary") or ())]
        content = [part.get("text", "") for part in cast("Sequence[Mapping[str, Any]]", item.get("content") or ())]
        if summary:
            opened.summary = {index: [text] for index, text in enumerate(summary)}
        if content:
            opened.content = {index: [text] for index, text in enumerate(content)}
        await self._close(opened)

    async def web_search(self, item: Mapping[str, Any], item_id: str, *, done: bool) -> None:
        """The provider searches the web for the model, or has done so."""
        running = self._running.get(item_id)
        at = now_ms()
        action = cast("Mapping[str, Any]", item.get("action") or {})
        query = action.get("query") or action.get("url") or ""
        if running is None:
            running = wire.WebSearchThreadItem(id=item_id, query=query, action=_action(action), started_at_ms=at)
            await self.started(running)
        if done:
            ended = {"query": query, "action": _action(action), "completed_at_ms": at}
            await self.completed(running.model_copy(update=ended))

    async def _close(self, opened: _Open, history: Sequence[bytes] = ()) -> None:
        await self.completed(opened.build(now_ms()), history)
        self._open.pop(opened.id, None)

    async def close_open(self) -> None:
        """Complete what the model left unfinished, with the text so far; a message stays in its history as it is."""
        for opened in list(self._open.values()):
            text = "".join(opened.texts) if isinstance(opened, _OpenMessage) else ""
            await self._close(opened, [text_message("assistant", text)] if text else ())

    async def close_running(self) -> None:
        """Complete as failed what a tool left without an end."""
        for item in list(self._running.values()):
            await self.completed(item.model_copy(update={"status": "failed", "completed_at_ms": now_ms()}))


def text_of(item: Mapping[str, Any]) -> str:
    """The text of a message item of the model."""
    parts = cast("Sequence[Mapping[str, Any]]", item.get("content") or ())
    return "".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _action(action: Mapping[str, Any]) -> wire.WebSearchAction | None:
    """What a search does, as clients are told."""
    match action.get("type"):
        case "search":
            return wire.SearchWebSearchAction(query=action.get("query"), queries=action.get("queries"))
        case "open_page":
            return wire.OpenPageWebSearchAction(url=action.get("url"))
        case "find_in_page":
            return wire.FindInPageWebSearchAction(url=action.get("url"), pattern=action.get("pattern"))
        case None:
            return None
        case _:
            return wire.OtherWebSearchAction()
