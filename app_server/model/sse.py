"""Server-sent events: bytes in pieces of any size in, the data of whole events out."""

_BOM = b"\xef\xbb\xbf"

MAX_EVENT_BYTES = 64 * 1024 * 1024


class EventTooLarge(Exception):
    """One event is longer than `MAX_EVENT_BYTES`."""


class SseParser:
    """Feed it what arrives; it keeps what is not complete yet. Event names, ids and retry times are left out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._head: bytes | None = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that `chunk` completes, in order."""
        if self._head is not None:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            # The LF of a CR LF that was cut in two; the CR has ended the line already.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._parts:
            ends_here = b"\n\n" in chunk or (chunk.startswith(b"\n") and self._parts[-1].endswith(b"\n"))
            if not ends_here:
                self._keep(chunk)
                return []
            chunk = b"".join((*self._parts, chunk))
            self._parts.clear()
        blocks = chunk.split(b"\n\n")
        self._size = 0
        self._keep(blocks.pop())
        return [data for block in blocks if (data := _data(block))]

    def finish(self) -> list[bytes]:
        """The data of an event that the end of the stream cut off before its closing empty line, if there is any."""
        rest = b"".join(((self._head or b""), *self._parts))
        self._parts.clear()
        self._head = None
        data = _data(rest)
        return [data] if data else []

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge
        self._parts.append(part)

    def _without_bom(self, chunk: bytes) -> bytes:
        seen = (self._head or b"") + chunk
        if len(seen) < len(_BOM) and _BOM.startswith(seen):
            self._head = seen
            return b""
        self._head = None
        return seen.removeprefix(_BOM)


def _data(block: bytes) -> bytes:
    # Nearly every event is one data line, alone or behind its name.
    start = 0
    if block.startswith(b"event:"):
        start = block.find(b"\n") + 1
    if block.startswith(b"data:", start) and block.find(b"\n", start) < 0:
        return block[start + 6 :] if block.startswith(b" ", start + 5) else block[start + 5 :]
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
