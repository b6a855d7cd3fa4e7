"""What leaves on one connection: frames that are encoded once, and a queue that no slow client can overrun."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import time_ns
from typing import Any, Literal, cast

import orjson

from protocol.methods import Encoded, ServerNotification

Framing = Literal["line", "websocket"]

LAGGING_BYTES = 256 * 1024
"""Queued bytes past which further deltas of an item are merged into its last queued delta."""
OVERRUN_BYTES = 64 * 1024 * 1024
"""Queued bytes that cannot be merged past which a network client is told to reconnect and resume."""
WRITE_BYTES = 256 * 1024
"""How much one write takes from the queue, so that what stays behind can still be merged."""
LOW_WATER_BYTES = 1024 * 1024
"""Where producers that wait for a client (its own command's pipe, or any producer on stdio) go on."""


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time_ns() // 1_000_000


def line(body: bytes) -> bytes:
    """One message of a JSONL stream."""
    return body + b"\n"


def websocket_text(body: bytes) -> bytes:
    """One unmasked, unfragmented text frame, as a server sends it (RFC 6455, section 5.2)."""
    size = len(body)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + body
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


class Frame:
    """One message, encoded once for every connection that gets it."""

    __slots__ = ("_framed", "_stable", "_strip", "body", "method")

    def __init__(self, method: str | None, body: bytes, strip: Callable[[bytes], bytes] | None = None) -> None:
        """`strip` removes experimental members for clients without the capability; it runs at most once."""
        self.method, self.body, self._strip = method, body, strip
        self._stable: Frame | None = None
        self._framed: dict[str, bytes] = {}

    def framed(self, framing: Framing) -> bytes:
        """The message as it goes to the socket or pipe."""
        data = self._framed.get(framing)
        if data is None:
            data = self._framed[framing] = websocket_text(self.body) if framing == "websocket" else line(self.body)
        return data

    def stable(self) -> "Frame":
        """The same message without experimental members."""
        if self._strip is None:
            return self
        if self._stable is None:
            self._stable = Frame(self.method, self._strip(self.body))
        return self._stable


class DeltaFrame(Frame):
    """A piece of an item's text. Pieces with the same `key` can be joined without being decoded."""

    __slots__ = ("head", "key", "tail", "text")

    def __init__(self, method: str, key: object, head: bytes, text: bytes, tail: bytes) -> None:
        """`text` is the inside of a JSON string; `head` and `tail` are what stands before and after it."""
        super().__init__(method, head + text + tail)
        self.key, self.head, self.text, self.tail = key, head, text, tail


class _MergingDelta:
    __slots__ = ("frame", "size", "texts")

    def __init__(self, frame: DeltaFrame) -> None:
        self.frame, self.texts, self.size = frame, [frame.text], len(frame.body)

    def add(self, frame: DeltaFrame) -> None:
        self.texts.append(frame.text)
        self.size += len(frame.text)

    def body(self) -> bytes:
        return self.frame.head + b"".join(self.texts) + self.frame.tail


class Outbound:
    """The queue of one connection: responses, notifications and requests leave in the order they were pushed.

    A client is never cut for being slow: past `LAGGING_BYTES` the deltas of an item are merged, so the client still
    ends with the exact text. Only past `OVERRUN_BYTES` of what cannot be merged is `on_overrun` called (once).
    """

    def __init__(self, framing: Framing, on_overrun: Callable[[], None] | None = None) -> None:
        """`on_overrun` is None where producers wait for the client instead (stdio)."""
        self.framing: Framing = framing
        self.opted_out: frozenset[str] = frozenset()
        self.experimental = False
        self.write_now: Callable[[bytes], int] | None = None
        """Set by a transport that can write without waiting: it takes what fits and tells how much; 0 if it is busy."""
        self._on_overrun = on_overrun
        self._queue: deque[bytes | _MergingDelta] = deque()
        self._merging: dict[object, _MergingDelta] = {}
        self._merged = 0
        self._queued = 0
        self._unmergeable = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._low = asyncio.Event()
        self._low.set()

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        return self._queued

    @property
    def waits_for_client(self) -> bool:
        """Whether producers pause while this client is behind, because it is never cut (stdio)."""
        return self._on_overrun is None

    def push(self, frame: Frame) -> None:
        """Queue `frame`; dropped if the client opted out of its method or has gone."""
        if self._closed or (frame.method is not None and frame.method in self.opted_out):
            return
        if not self.experimental:
            frame = frame.stable()
        if self._queued > LAGGING_BYTES and isinstance(frame, DeltaFrame):
            self._push_delta(frame)
        else:
            data = frame.framed(self.framing)
            self._queue.append(data)
            if self._merging:
                if frame.method is None:
                    # An answer may tell an item's text so far (thread/resume): what comes later has to stay behind it.
                    self._merging.clear()
                elif isinstance(frame, DeltaFrame):
                    # Later text of the item must not be merged into what stands before this piece.
                    self._merging.pop(frame.key, None)
            self._queued += len(data)
            self._unmergeable += len(data)
        if self._queued > LOW_WATER_BYTES:
            self._low.clear()
            if self._on_overrun is not None and self._unmergeable > OVERRUN_BYTES:
                self.close()
                self._on_overrun()
        if not self._wake.is_set():
            self._wake.set()

    def push_bytes(self, method: str | None, body: bytes) -> None:
        """Queue a message that was encoded by hand."""
        self.push(Frame(method, body))

    def flush(self) -> None:
        """Write what is queued at once, if the transport can; otherwise the writer does it on its next turn."""
        if self.write_now is None or not self._queue or self._merged or self._queued > WRITE_BYTES:
            return
        data = self._take_all()
        written = self.write_now(data)
        if written < len(data):
            rest = data[written:]
            self._queue.append(rest)
            self._queued = self._unmergeable = len(rest)
            self._wake.set()

    def _push_delta(self, frame: DeltaFrame) -> None:
        merging = self._merging.get(frame.key)
        if merging is None:
            merging = self._merging[frame.key] = _MergingDelta(frame)
            self._merged += 1
            self._queue.append(merging)
            self._queued += merging.size
        else:
            merging.add(frame)
            self._queued += len(frame.text)

    async def drained(self) -> None:
        """Wait until the client has caught up to the low-water mark, or has gone."""
        await self._low.wait()

    async def take(self) -> bytes | None:
        """The next bytes to write, several messages joined; None once closed and empty."""
        while not self._queue:
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        queue = self._queue
        if self._queued <= WRITE_BYTES and not self._merged:
            return self._take_all()
        taken: list[bytes] = []
        size = 0
        while queue and size < WRITE_BYTES:
            entry = queue.popleft()
            if isinstance(entry, bytes):
                data = entry
                self._queued -= len(data)
                self._unmergeable -= len(data)
            else:
                self._merged -= 1
                if self._merging.get(entry.frame.key) is entry:
                    del self._merging[entry.frame.key]
                self._queued -= entry.size
                data = websocket_text(entry.body()) if self.framing == "websocket" else line(entry.body())
            taken.append(data)
            size += len(data)
        if self._queued <= LOW_WATER_BYTES:
            self._low.set()
        return b"".join(taken)

    def _take_all(self) -> bytes:
        data = b"".join(cast("deque[bytes]", self._queue))
        self._queue.clear()
        self._queued = self._unmergeable = 0
        self._low.set()
        return data

    def close(self) -> None:
        """Take nothing more. What is queued can still be taken."""
        self._closed = True
        self._wake.set()
        self._low.set()


def encode(value: Any) -> bytes:
    """The JSON of a wire model, or the text that an `Encoded` holds."""
    if isinstance(value, Encoded):
        return cast("Encoded[Any]", value).json
    return value.__pydantic_serializer__.to_json(value, by_alias=True)


def notification(
    descriptor: ServerNotification[Any], params: Any, strip: Callable[[bytes], bytes] | None = None
) -> Frame:
    """The frame of a notification; `params` is an instance of the descriptor's model."""
    return notification_json(descriptor.method, encode(params), strip)


def notification_json(method: str, params: bytes, strip: Callable[[bytes], bytes] | None = None) -> Frame:
    """The frame of a notification whose params are encoded already."""
    return Frame(method, b'{"method":"%b","params":%b,"emittedAtMs":%d}' % (method.encode(), params, now_ms()), strip)


class DeltaStream:
    """Makes the delta frames of one text of one item: everything but the text is encoded once."""

    __slots__ = ("_head", "_key", "_method", "_params_tail")

    def __init__(self, method: str, before: dict[str, Any], after: dict[str, Any] | None = None) -> None:
        """`before` and `after` are the wire members around `delta`; together they name the text."""
        opening = orjson.dumps(before)[1:-1]
        closing = orjson.dumps(after)[1:-1] if after else b""
        self._method = method
        self._key = (method, opening, closing)
        self._head = b'{"method":"%b","params":{%b,"delta":"' % (method.encode(), opening)
        self._params_tail = b'"%b},"emittedAtMs":' % (b"," + closing if closing else b"")

    def frame(self, text: str) -> DeltaFrame:
        """The frame that carries `text`."""
        return DeltaFrame(self._method, self._key, self._head, json_text(text), self._params_tail + b"%d}" % now_ms())


def json_text(text: str) -> bytes:
    """The inside of the JSON string for `text`; lone surrogates become U+FFFD."""
    try:
        return orjson.dumps(text)[1:-1]
    except TypeError:
        return orjson.dumps(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))[1:-1]
