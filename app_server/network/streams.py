"""Bytes between two peers: sockets read into one buffer, what was read too early, and pumps that stop when idle."""

import asyncio
import re
import socket
from collections.abc import Callable

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

from app_server.network.refusals import Malformed

CHUNK = 512 * 1024
"""What is read at once from a peer that sends much."""
_FIRST_CHUNK = 16 * 1024
_FAIR_BYTES = 1024 * 1024
"""A peer that always has more may move this much before others get their turn."""
_WATCHED_BYTES = 1024 * 1024

_STRICT_END = re.compile(rb"\r\n\r\n|(?<!\r)\n|\r(?=[^\n])")
_LENIENT_END = re.compile(rb"\n\r?\n")
_PLAIN_CHUNK = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,7})\r\n")
"""How a chunk begins that is not the last, with nothing beside its size."""


class Gone(Exception):
    """The peer has closed or broken the connection in the middle of something."""


class Unsent(Gone):
    """It is the peer that was to be sent something."""


class Link(ByteStream):
    """A connected stream socket, owned: closing is at once, and never waits for what was not sent."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._moved = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has come. Raises EndOfStream, and OSError where the connection broke."""
        await self._be_fair()
        data = await self._loop.sock_recv(self._sock, max_bytes)
        if not data:
            raise anyio.EndOfStream
        self._moved += len(data)
        return data

    async def receive_into(self, buffer: memoryview) -> int:
        """How many bytes have come; 0 at the end."""
        await self._be_fair()
        count = await self._loop.sock_recv_into(self._sock, buffer)
        self._moved += count
        return count

    async def _be_fair(self) -> None:
        # A socket that is ready is read without going through the event loop. Before reading, nothing can get lost.
        if self._moved >= _FAIR_BYTES:
            self._moved = 0
            await anyio.lowlevel.checkpoint()

    async def send(self, item: bytes | memoryview) -> None:
        """Send all of it."""
        await self._loop.sock_sendall(self._sock, item)

    async def send_eof(self) -> None:
        """Say that nothing more is sent."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once."""
        self.close()

    def close(self) -> None:
        """Close at once. May be called again."""
        self._sock.close()

    def is_stale(self) -> bool:
        """Whether something has come, or the end, while nothing was to come."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True


class Activity:
    """Ends a scope once nothing has moved for some seconds."""

    def __init__(self, scope: anyio.CancelScope, seconds: float) -> None:
        self._scope, self._seconds = scope, seconds
        self._seen = anyio.current_time()
        scope.deadline = self._seen + seconds

    def limit(self, seconds: float) -> None:
        """Be less patient from now on."""
        self._seconds = min(self._seconds, seconds)
        self._scope.deadline = anyio.current_time() + self._seconds

    def touch(self) -> None:
        """Something has moved."""
        now = anyio.current_time()
        if now - self._seen > self._seconds / 100:
            self._seen = now
            self._scope.deadline = now + self._seconds


class Peer:
    """One side of a conversation: its stream, and what was read from it but not yet used."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._unread = bytearray()
        self._ended = False

    async def send(self, data: bytes | bytearray) -> None:
        """Send all of it. Raises Gone."""
        try:
            await self.stream.send(bytes(data))
        except _BREAKS as error:
            raise Unsent from error

    async def end(self) -> None:
        """Say that nothing more is sent, if the peer can still be told."""
        try:
            await self.stream.send_eof()
        except (*_BREAKS, NotImplementedError):
            pass

    async def fill(self) -> bool:
        """Read more; False at the end. Raises Gone."""
        if self._ended:
            return False
        try:
            self._unread += await self.stream.receive(65536)
        except anyio.EndOfStream:
            self._ended = True
            return False
        except _BREAKS as error:
            raise Gone from error
        return True

    @property
    def unread(self) -> int:
        """How many bytes can be taken without reading."""
        return len(self._unread)

    @property
    def has_head(self) -> bool:
        """Whether a head that is as it should be can be taken without reading."""
        return b"\r\n\r\n" in self._unread

    @property
    def has_line(self) -> bool:
        """Whether a line can be taken without reading."""
        return b"\n" in self._unread

    async def first_byte(self) -> int | None:
        """What comes next, left where it is; None at the end."""
        while not self._unread:
            if not await self.fill():
                return None
        return self._unread[0]

    async def exactly(self, count: int) -> bytes:
        """So many bytes. Raises Gone."""
        while len(self._unread) < count:
            if not await self.fill():
                raise Gone
        return self._take(count)

    def whole_chunks(self) -> bytes:
        """The unread chunks of a chunked body that are all here and as we would write them, with what frames them."""
        data, end = self._unread, 0
        while (size := _PLAIN_CHUNK.match(data, end)) is not None:
            after = size.end() + int(size[1], 16) + 2
            if after > len(data) or not data.startswith(b"\r\n", after - 2):
                break
            end = after
        return self._take(end) if end else b""

    def at_most(self, count: int) -> bytes:
        """What is unread already."""
        return self._take(min(count, len(self._unread)))

    def _take(self, count: int) -> bytes:
        data = bytes(memoryview(self._unread)[:count])
        del self._unread[:count]
        return data

    async def line(self, limit: int) -> bytes:
        """A line without its end, which must be CR LF. Raises Malformed, and Gone."""
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > limit:
                raise Malformed("A line is too long.")
            if not await self.fill():
                raise Gone
        line = self._take(end + 1)
        if len(line) > limit or not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed("Lines must end with CR LF and not be longer than allowed.")
        return line[:-2]

    async def head(self, limit: int, *, strict: bool = True) -> bytes | None:
        """A block of lines up to and with the empty one; None where the peer ended before the first byte.

        `strict` refuses any CR or LF that is not part of a CR LF. Raises Malformed, and Gone.
        """
        end = _STRICT_END if strict else _LENIENT_END
        searched = 0
        while (match := end.search(self._unread, searched)) is None:
            searched = max(0, len(self._unread) - 3)
            if len(self._unread) > limit:
                raise Malformed("The head is too long.", status=431)
            if not await self.fill():
                if self._unread:
                    raise Gone
                return None
        if strict and match.end() - match.start() != 4:
            raise Malformed("Lines must end with CR LF.")
        if match.end() > limit:
            raise Malformed("The head is too long.", status=431)
        return self._take(match.end())

    async def hung_up(self) -> None:
        """Return once the peer has closed or broken the connection. What it sends meanwhile is kept.

        The end of a peer that sends very much shows only when that is read.
        """
        try:
            while len(self._unread) < _WATCHED_BYTES:
                if not await self.fill():
                    return
        except Gone:
            return
        await anyio.sleep_forever()

    async def drain(self, limit: int) -> None:
        """Read and forget, up to a limit, until the peer ends or is gone."""
        self._unread.clear()
        left = limit
        try:
            while left > 0 and await self.fill():
                left -= len(self._unread)
                self._unread.clear()
        except Gone:
            pass

    async def pump(self, sink: "Peer", touch: Callable[[], None], count: int | None = None) -> None:
        """Send on to `sink` what comes: so many bytes, or all until the end.

        Raises Unsent if `sink` breaks, and Gone if this peer does or ends too early.
        """
        left = count
        while self._unread and left != 0:
            data = self.at_most(CHUNK if left is None else min(CHUNK, left))
            await sink.send(data)
            touch()
            left = None if left is None else left - len(data)
        if left == 0 or (self._ended and left is None):
            return
        if self._ended:
            raise Gone
        try:
            if isinstance(self.stream, Link) and isinstance(sink.stream, Link):
                left = await _pump_sockets(self.stream, sink.stream, touch, left)
            else:
                left = await _pump_streams(self.stream, sink.stream, touch, left)
        except _BREAKS as error:
            raise Gone from error
        if left is None:
            self._ended = True
        elif left:
            raise Gone


class Resumed(ByteStream):
    """The stream of a peer, with what is unread of it in front."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What is unread, else what comes."""
        return self._peer.at_most(max_bytes) if self._peer.unread else await self._peer.stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send all of it."""
        await self._peer.stream.send(item)

    async def send_eof(self) -> None:
        """Say that nothing more is sent."""
        await self._peer.stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._peer.stream.aclose()


_BREAKS = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""How a connection breaks; an end of input in the middle of TLS is one way."""


async def _pump_sockets(source: Link, sink: Link, touch: Callable[[], None], left: int | None) -> int | None:
    """The fast way: one buffer, which grows for a peer that fills it. Returns how much is missing, if that is known."""
    buffer = bytearray(_FIRST_CHUNK)
    while left is None or left > 0:
        view = memoryview(buffer)
        count = await source.receive_into(view if left is None else view[:left])
        if not count:
            return left
        try:
            await sink.send(view[:count])
        except OSError as error:
            raise Unsent from error
        touch()
        if left is not None:
            left -= count
        if count == len(buffer) < CHUNK:
            buffer = bytearray(CHUNK)
    return left


async def _pump_streams(
    source: ByteStream, sink: ByteStream, touch: Callable[[], None], left: int | None
) -> int | None:
    while left is None or left > 0:
        try:
            data = await source.receive(65536 if left is None else min(65536, left))
        except anyio.EndOfStream:
            return left
        try:
            await sink.send(data)
        except _BREAKS as error:
            raise Unsent from error
        touch()
        if left is not None:
            left -= len(data)
    return left


async def tunnel(one: Peer, other: Peer, idle_seconds: float) -> None:
    """Send bytes both ways until both peers have ended, one has broken the connection, or nothing moves any more."""
    with anyio.CancelScope() as scope:
        activity = Activity(scope, idle_seconds)

        async def send_on(source: Peer, sink: Peer) -> None:
            try:
                await source.pump(sink, activity.touch)
            except Gone:
                scope.cancel()
            else:
                await sink.end()

        async with anyio.create_task_group() as group:
            group.start_soon(send_on, one, other)
            await send_on(other, one)
