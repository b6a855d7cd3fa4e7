"""What is kept and shown of a command's output: caps, character boundaries, delta limits."""

import codecs

CAPTURE_LIMIT = 1 << 20
"""Bytes of output kept per command or stream where nothing else is asked for."""

DELTA_BYTES = 8192
"""The longest text delta, in UTF-8 bytes."""

DELTAS_PER_CALL = 10_000
"""How many text deltas one call may send; what comes after is kept but not streamed."""


class Capped:
    """The first `limit` bytes of a stream; None keeps everything."""

    __slots__ = ("_chunks", "_left", "cut")

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._chunks: list[bytes] = []
        self.cut = False

    def take(self, data: bytes) -> bytes:
        """The part of `data` that still fits; `cut` tells from then on whether anything did not."""
        if self._left is None:
            return data
        if len(data) > self._left:
            self.cut = True
            data = data[: self._left]
        self._left -= len(data)
        return data

    def append(self, data: bytes) -> None:
        """Keep what fits of `data`."""
        if kept := self.take(data):
            self._chunks.append(kept)

    def text(self) -> str:
        """What was kept, bytes that are no UTF-8 replaced."""
        return b"".join(self._chunks).decode("utf-8", "replace")


class HeadTail:
    """A command's output with the middle left out once it is longer than `limit` bytes.

    The first half of the limit is kept from the start of the output, the other half from its end.
    """

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "total")

    def __init__(self, limit: int = CAPTURE_LIMIT) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0
        """All bytes seen so far, kept or not."""

    def append(self, data: bytes) -> None:
        """Add to the end."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Dropped in large steps: each costs a copy of what stays.
        if len(self._tail) > 2 * self._tail_limit + DELTA_BYTES:
            self._trim()

    @property
    def omitted(self) -> int:
        """Bytes left out of the middle."""
        self._trim()
        return self.total - len(self._head) - len(self._tail)

    def render(self) -> bytes:
        """Head and tail, with a line that counts what is missing between them."""
        if omitted := self.omitted:
            return bytes(self._head) + f"\n... {omitted} bytes omitted ...\n".encode() + bytes(self._tail)
        return bytes(self._head + self._tail)

    def text(self) -> str:
        """`render` as text, bytes that are no UTF-8 replaced."""
        return self.render().decode("utf-8", "replace")

    def _trim(self) -> None:
        if (excess := len(self._tail) - self._tail_limit) > 0:
            del self._tail[:excess]


class Utf8Splitter:
    """Turns chunks of bytes into text deltas that never split a character.

    A delta is at most `DELTA_BYTES` long; after `limit` deltas nothing more is given out.
    """

    __slots__ = ("_decoder", "_left")

    def __init__(self, limit: int = DELTAS_PER_CALL) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = limit

    def feed(self, data: bytes) -> list[str]:
        """The deltas that `data` completes; an unfinished character waits for the next chunk."""
        # Of a command that prints without end, most is only counted.
        return self._split(self._decoder.decode(data)) if self._left > 0 else []

    def finish(self) -> list[str]:
        """What an unfinished character at the end of the output becomes."""
        return self._split(self._decoder.decode(b"", final=True))

    def _split(self, text: str) -> list[str]:
        deltas: list[str] = []
        while text and self._left > 0:
            piece = text[:DELTA_BYTES]
            if len(encoded := piece.encode()) > DELTA_BYTES:
                # Cut inside a character at most; what is left of it is dropped and taken up by the next piece.
                piece = encoded[:DELTA_BYTES].decode("utf-8", "ignore")
            deltas.append(piece)
            text = text[len(piece) :]
            self._left -= 1
        return deltas
