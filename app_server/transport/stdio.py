"""One client on standard input and output: a JSON message a line, and nothing else ever on stdout."""

import asyncio
import fcntl
import os
import selectors
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from anyio import to_thread

from app_server.rpc.connection import MAX_MESSAGE_BYTES, Connection, Oversized
from app_server.rpc.outbound import Outbound

READ_BYTES = 256 * 1024
"""How much one read takes."""
BACKLOG_BYTES = 1024 * 1024
"""Lines that wait to be handled past which nothing more is read."""
PIPE_BYTES = 1024 * 1024
"""What a pipe may hold that nobody reads, so that a long answer is not written and read piece by piece in turns."""
FLUSH_SECONDS = 5.0
"""How long a client may take to read the last answers."""

Connect = Callable[[Outbound, bool], Connection]
"""Makes the connection of a client that has its queue; the flag tells whether it is a stranger to this user."""


class LineSplitter:
    """Cuts chunks into lines. Of a line longer than `limit` only the length is kept."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def held_bytes(self) -> int:
        """What is kept of the line that is not complete yet."""
        return sum(map(len, self._parts))

    def feed(self, chunk: bytes) -> list[bytes | Oversized]:
        """The lines that `chunk` completes, without their newline."""
        first, *rest = chunk.split(b"\n")
        if not rest:
            self._keep(first)
            return []
        self._keep(first)
        last = rest.pop()
        lines = [self._line(), *(self._checked(line) for line in rest)]
        self._keep(last)
        return lines

    def end(self) -> list[bytes | Oversized]:
        """What stands after the last newline."""
        return [self._line()] if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _line(self) -> bytes | Oversized:
        size, parts = self._size, self._parts
        self._size, self._parts = 0, []
        if size > self._limit:
            return Oversized(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _checked(self, line: bytes) -> bytes | Oversized:
        return line if len(line) <= self._limit else Oversized(len(line))


class Lines:
    """The lines of a descriptor, as an asynchronous iterator. It reads no further while nobody takes them."""

    def __init__(self, fd: int, take: Callable[[bytes | Oversized], bool] | None = None) -> None:
        """`take` is offered a line that comes alone; one that it refuses is given in its turn like the others."""
        self._fd, self._take_now = fd, take
        self._splitter = LineSplitter()
        self._lines: deque[bytes | Oversized] = deque()
        self._backlog = 0
        self._polled = _can_be_polled(fd)
        self._watched = False
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __aiter__(self) -> "Lines":
        return self

    async def __anext__(self) -> bytes | Oversized:
        while not self._lines:
            if self._ended.is_set():
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        line = self._lines.popleft()
        if isinstance(line, bytes):
            self._backlog -= len(line)
        if not self._room.is_set() and self._backlog <= BACKLOG_BYTES:
            self._room.set()
            self._watch()
        return line

    @property
    def paused(self) -> bool:
        """Whether reading waits for lines to be taken."""
        return not self._room.is_set()

    async def read(self) -> None:
        """Read until the end of input or `stop`."""
        try:
            if self._polled:
                self._watch()
                await self._ended.wait()
            else:
                await self._read_file()
        finally:
            self.stop()

    def stop(self) -> None:
        """Read nothing more. Lines that were read are still given; half a line is dropped."""
        self._unwatch()
        self._ended.set()
        self._room.set()
        self._wake.set()

    def _watch(self) -> None:
        if self._polled and not self._watched and not self._ended.is_set():
            asyncio.get_running_loop().add_reader(self._fd, self._readable)
            self._watched = True

    def _unwatch(self) -> None:
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._watched = False

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a terminal that hung up, a socket that was reset
            chunk = b""
        self._take(chunk)

    async def _read_file(self) -> None:
        while not self._ended.is_set():
            await self._room.wait()
            self._take(await to_thread.run_sync(os.read, self._fd, READ_BYTES))

    def _take(self, chunk: bytes) -> None:
        lines = self._splitter.feed(chunk) if chunk else self._splitter.end()
        if chunk and len(lines) == 1 and not self._lines and self._take_now is not None and self._take_now(lines[0]):
            return
        if lines:
            self._lines.extend(lines)
            self._backlog += sum(len(line) for line in lines if isinstance(line, bytes))
            self._wake.set()
        if not chunk:
            self.stop()
        elif self._backlog > BACKLOG_BYTES:
            self._room.clear()
            self._unwatch()


class Output:
    """Writes to a descriptor without blocking the loop. What it cannot write yet, it holds and waits."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._polled = _can_be_polled(fd)
        self._rest = memoryview(b"")
        _widen(fd)

    async def write_all(self, outbound: Outbound) -> None:
        """Write what `outbound` gives until it is closed and empty. Raises OSError once nobody reads.

        It may be cancelled and called again; then it goes on where it was.
        """
        await self._flush()
        while (data := await outbound.take()) is not None:
            self._rest = memoryview(data)
            await self._flush()

    def write_now(self, data: bytes) -> int:
        """Write what fits at once, unless something waits to be written."""
        if self._rest or not self._polled:
            return 0
        try:
            return os.write(self._fd, data)
        except OSError:  # full, or nobody reads: the writer finds out
            return 0

    async def _flush(self) -> None:
        while self._rest:
            if not self._polled:
                await self._write_file()
                continue
            try:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
            except BlockingIOError:
                await self._writable()

    async def _write_file(self) -> None:
        # Cancelled in between, it would not know what was written. A regular file takes it at once.
        with anyio.CancelScope(shield=True):
            self._rest = self._rest[await to_thread.run_sync(os.write, self._fd, self._rest) :]

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._fd)


class _PrivateStdio:
    """Copies of descriptors 0 and 1. Meanwhile 1 leads to stderr and 0 to nothing, so that no stray print and no
    child can touch the wire."""

    def __enter__(self) -> "_PrivateStdio":
        self.input, self.output = os.dup(0), os.dup(1)
        self._were_blocking = [(fd, os.get_blocking(fd)) for fd in (self.input, self.output)]
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        for fd in (self.input, self.output):
            os.set_blocking(fd, False)
        return self

    def __exit__(self, *_: object) -> None:
        # The flag belongs to the pipe or terminal, which the program that started this one goes on using.
        for fd, blocking in self._were_blocking:
            os.set_blocking(fd, blocking)
            os.close(fd)


async def serve_stdio(
    connect: Connect, *, stop: anyio.Event, at_end: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve the one client until its input ends, it stops reading, or `stop` is set.

    Lines that were read by then are handled, then `at_end` is awaited, then everything queued is written
    (for at most `FLUSH_SECONDS`).
    """
    with _PrivateStdio() as wire:
        outbound = Outbound("line")
        connection = connect(outbound, False)
        lines, output = Lines(wire.input, connection.take), Output(wire.output)
        outbound.write_now = output.write_now

        async def write() -> None:
            try:
                await output.write_all(outbound)
            except OSError:  # nobody reads any more
                outbound.close()
                lines.stop()

        async def stop_reading() -> None:
            await stop.wait()
            lines.stop()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lines.read)
                tasks.start_soon(write)
                tasks.start_soon(stop_reading)
                await connection.serve(lines, at_end=at_end)
                tasks.cancel_scope.cancel()
        finally:
            outbound.close()
            with anyio.move_on_after(FLUSH_SECONDS, shield=True):
                await write()


def _widen(fd: int) -> None:
    # Linux, for a pipe, and within what its user may have.
    with suppress(AttributeError, OSError):
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _can_be_polled(fd: int) -> bool:
    """Whether the loop can wait for `fd`; regular files and /dev/null refuse it."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(fd, selectors.EVENT_READ)
        except (OSError, ValueError):
            return False
    return True
