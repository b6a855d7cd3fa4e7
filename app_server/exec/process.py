"""Process: one running command, by pipes or in a terminal, with its output, its input and its whole tree."""

import asyncio
import errno
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Literal, Self

import anyio
import anyio.to_thread

from app_server.config.settings import CommandLimits
from app_server.exec import proctree, pty
from app_server.exec.limits import Watched
from app_server.exec.pty import Size
from app_server.exec.reaper import MARKER, Execution, Reaper
from app_server.exec.spawn import SpawnError, check_program, spawn
from app_server.sandbox.sandbox import SandboxedCommand, has_begun

Stream = Literal["stdout", "stderr"]

CHUNK_BYTES = 64 * 1024
PENDING_CHUNKS = 4
"""Chunks read ahead of the consumer; then the pipe fills and the command waits."""

STDIN_HIGH_WATER = 64 * 1024
"""Input that a command has not taken yet, past which a writer waits."""

DRAIN_S = 2.0
"""How long output is awaited after the exit while a descendant holds the pipe open."""

BEGIN_S = 1.0
"""How long `begins` waits for a sandbox; what takes longer is left to the expiration of the command."""

CONTAINER_LEVELS = 2
"""bubblewrap's own processes above the command: its monitor and the first process of the namespace."""


class _Outlet:
    """Our end of one stream of output."""

    __slots__ = ("armed", "fd", "name")

    def __init__(self, fd: int, name: Stream) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.name: Stream = name
        self.armed = False


class Process:
    """A running command. Use it as an async context manager: leaving it ends whatever is left of its tree.

    Output is taken with `read` (or by iterating); a consumer that does not read makes the command wait. The tree is
    also ended when the command exits by itself, once its output has been read.
    """

    def __init__(
        self, reaper: Reaper, execution: Execution, pidfd: int, cleanup: Callable[[], None] | None, begun: int | None
    ) -> None:
        """Use `spawn`."""
        self._reaper, self._execution, self._pidfd, self._cleanup = reaper, execution, pidfd, cleanup
        self._begun = begun
        self._beginning: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._outlets: list[_Outlet] = []
        self._chunks: deque[tuple[Stream, bytes]] = deque()
        self._reading: asyncio.Future[None] | None = None
        self._stdin: int | None = None
        self._stdin_buffer = bytearray()
        self._stdin_ending = False
        self._stdin_drained = asyncio.Event()
        self._stdin_drained.set()
        self._at_line_start = True
        self._terminal: int | None = None
        self._exited = asyncio.Event()
        self._exit_code: int | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._drain_over = False
        self._drain_timed_out = False
        self._buried = False
        self._watched: Watched | None = None
        self._limit_hit: str | None = None
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def spawn(
        cls,
        command: SandboxedCommand,
        *,
        cwd: str,
        reaper: Reaper,
        stdin: bool = False,
        tty: Size | None = None,
        limits: CommandLimits | None = None,
    ) -> Self:
        """Start `command` in the directory `cwd`. Raises SpawnError.

        Blocks for about 1 ms, and not in a worker thread: a sandbox dies with the very thread that started it.

        Without `stdin` the command reads from /dev/null; with `tty` it has a terminal of that size for everything,
        and its output is all "stdout". The command's descriptors and cleanup are taken over, also on failure; its
        bridge stays the caller's if it starts, and is closed if not. A command that exceeds its `limits` is killed, and
        `limit_hit` says so.
        """
        ours: list[int] = []
        theirs: list[int] = []
        begun: int | None = None
        try:
            if command.begun is not None:
                begun = os.dup(command.begun)
            if command.program is not None:
                check_program(command.program, command.env, cwd)
            mark = reaper.new_mark()
            since = proctree.now()
            env = command.env if command.contained else {**command.env, MARKER: mark}
            redirects: list[tuple[int, int | tuple[str, int]]]
            if tty is not None:
                master, slave, path = pty.open_terminal(tty)
                ours.append(master)
                theirs.append(slave)
                # Opened by the leader of a new session, a terminal becomes its controlling one; a copy does not.
                redirects = [(0, slave if command.takes_terminal else (path, os.O_RDWR)), (1, 0), (2, 0)]
            else:
                redirects = [(0, ("/dev/null", os.O_RDONLY))]
                if stdin:
                    reading, writing = os.pipe()
                    theirs.append(reading)
                    ours.append(writing)
                    redirects = [(0, reading)]
                for number in (1, 2):
                    reading, writing = os.pipe()
                    ours.append(reading)
                    theirs.append(writing)
                    redirects.append((number, writing))
            pid = spawn(
                command.argv,
                env=env,
                cwd=cwd,
                redirects=redirects,
                pass_fds=command.pass_fds,
                brand=None if command.contained else reaper.brand,
            )
            pidfd = _open_pidfd(pid)
        except (SpawnError, OSError) as error:
            for fd in ours if begun is None else (*ours, begun):
                os.close(fd)
            if command.cleanup is not None:
                command.cleanup()
            if command.bridge is not None:
                command.bridge.close()
            raise SpawnError.of(error) if isinstance(error, OSError) else error from None
        finally:
            for fd in (*theirs, *command.pass_fds):
                os.close(fd)
        execution = reaper.register(pid, mark, contained=command.contained, began=since)
        self = cls(reaper, execution, pidfd, command.cleanup, begun)
        if tty is not None:
            self._terminal = self._stdin = ours[0]
            self._open_outlet(ours[0], "stdout")
        else:
            if stdin:
                self._stdin = ours.pop(0)
                os.set_blocking(self._stdin, False)
            self._open_outlet(ours[0], "stdout")
            self._open_outlet(ours[1], "stderr")
        if limits is not None:
            self._watched = reaper.limits.add(execution, limits, self._on_limit)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    @property
    def pid(self) -> int:
        """The process that was started: the command itself, or what wraps it."""
        return self._execution.pid

    @property
    def exit_code(self) -> int | None:
        """None while running; 128 + n after death by signal n."""
        return self._exit_code

    async def begins(self) -> bool:
        """Wait until the command itself begins, at most `BEGIN_S`; False if its sandbox has failed before that.

        True where nothing tells. To be asked once, and before anything is read.
        """
        if self._begun is None:
            return True
        if not self._exited.is_set():
            self._beginning = self._loop.create_future()
            self._loop.add_reader(self._begun, self._on_begun)
            try:
                with anyio.move_on_after(BEGIN_S):
                    await self._beginning
            finally:
                self._loop.remove_reader(self._begun)
        if not self._exited.is_set():
            return True
        return has_begun(self._begun)

    def _on_begun(self) -> None:
        if self._beginning is not None and not self._beginning.done():
            self._beginning.set_result(None)

    @property
    def limit_hit(self) -> str | None:
        """The limit that ended the command, as a sentence that names its setting; None if none did."""
        return self._limit_hit

    @property
    def drain_timed_out(self) -> bool:
        """Whether something held the output open for `DRAIN_S` after the exit."""
        return self._drain_timed_out

    # Output

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Stream, bytes]:
        chunk = await self.read()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def read(self) -> tuple[Stream, bytes] | None:
        """The next 1 to `CHUNK_BYTES` bytes of output, or None at its end.

        The end is when every stream was closed, or `DRAIN_S` after the exit: whoever holds a pipe that long is not
        waited for. Cancelling a read loses nothing.
        """
        while not self._chunks:
            if not self._outlets:
                return None
            if self._drain_over:
                # Whatever still holds the streams goes now; what it wrote is kept.
                await self._bury()
                self._read_rest()
                continue
            for outlet in self._outlets:
                self._arm(outlet)
            self._reading = self._loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        return self._chunks.popleft()

    def _open_outlet(self, fd: int, name: Stream) -> None:
        self._outlets.append(_Outlet(fd, name))

    def _arm(self, outlet: _Outlet) -> None:
        if not outlet.armed:
            outlet.armed = True
            self._loop.add_reader(outlet.fd, self._on_readable, outlet)

    def _disarm(self, outlet: _Outlet) -> None:
        if outlet.armed:
            outlet.armed = False
            self._loop.remove_reader(outlet.fd)

    def _on_readable(self, outlet: _Outlet) -> None:
        try:
            data = os.read(outlet.fd, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            # A terminal whose last user is gone gives EIO.
            if error.errno != errno.EIO:
                raise
            data = b""
        if data:
            self._chunks.append((outlet.name, data))
            if len(self._chunks) >= PENDING_CHUNKS:
                for each in self._outlets:
                    self._disarm(each)
        else:
            self._close_outlet(outlet)
        self._wake()

    def _read_rest(self) -> None:
        for outlet in list(self._outlets):
            self._disarm(outlet)
            try:
                data = os.read(outlet.fd, CHUNK_BYTES)
            except OSError:
                data = b""
            if data:
                self._chunks.append((outlet.name, data))
            else:
                self._close_outlet(outlet)

    def _close_outlet(self, outlet: _Outlet) -> None:
        self._disarm(outlet)
        self._outlets.remove(outlet)
        if outlet.fd != self._terminal:
            os.close(outlet.fd)

    def _end_drain(self, *, timed_out: bool = False) -> None:
        self._drain_over = True
        self._drain_timed_out = timed_out and bool(self._outlets)
        self._wake()

    def _wake(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    # Input

    async def write_stdin(self, data: bytes) -> None:
        """Hand `data` to the command; waits while much of it is not taken yet. Lost if the command does not listen.

        Data of several writers is taken in the order of the calls. Raises BrokenPipeError after `close_stdin`.
        """
        self.feed_stdin(data)
        await self._stdin_drained.wait()

    def feed_stdin(self, data: bytes) -> None:
        """`write_stdin` without the wait: what the command does not take at once is kept in memory."""
        if self._stdin_ending:
            raise BrokenPipeError(errno.EPIPE, "stdin is already closed")
        if data and self._stdin is not None:
            self._at_line_start = data.endswith(b"\n")
            self._stdin_buffer += data
            self._flush_stdin()

    def close_stdin(self) -> None:
        """The command reads the end of its input after what was written before. A second call does nothing."""
        if self._stdin_ending:
            return
        self._stdin_ending = True
        if self._stdin is None:
            return
        if self._terminal is not None:
            self._stdin_buffer += pty.end_of_input(self._terminal, at_line_start=self._at_line_start)
        self._flush_stdin()

    def _flush_stdin(self) -> None:
        fd = self._stdin
        if fd is None:
            return
        buffer = self._stdin_buffer
        try:
            while buffer:
                del buffer[: os.write(fd, buffer[:STDIN_HIGH_WATER])]
        except BlockingIOError:
            self._loop.add_writer(fd, self._flush_stdin)
            if len(buffer) > STDIN_HIGH_WATER:
                self._stdin_drained.clear()
            else:
                self._stdin_drained.set()
            return
        except OSError:
            # Nobody reads any more, which is the command's right and no error of the writer.
            self._release_stdin()
            return
        self._loop.remove_writer(fd)
        self._stdin_drained.set()
        if self._stdin_ending:
            self._release_stdin()

    def _release_stdin(self) -> None:
        fd, self._stdin = self._stdin, None
        self._stdin_buffer.clear()
        self._stdin_drained.set()
        if fd is not None:
            self._loop.remove_writer(fd)
            if fd != self._terminal:
                os.close(fd)

    def resize(self, size: Size) -> None:
        """Change the size of the terminal. Raises OSError without one, or when the command has hung up."""
        if self._terminal is None:
            raise OSError(errno.ENOTTY, "process is not attached to a PTY")
        pty.resize(self._terminal, size)

    # End

    async def wait(self) -> int:
        """The exit code, once the command itself has exited; its output may not have been read by then."""
        await self._exited.wait()
        assert self._exit_code is not None
        return self._exit_code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command and all that it started, without ending the sandbox around them."""
        if self._exited.is_set():
            return
        if not self._execution.contained:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
            return
        # The wrapper's own processes are spared: with them the whole namespace would be killed at once.
        level = [self.pid]
        for _ in range(CONTAINER_LEVELS):
            level = [child for pid in level for child in proctree.children(pid)]
        for pid in [below for top in level for below in (top, *proctree.descendants(top))]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    async def terminate(self, grace: float = 0) -> None:
        """End the command and its whole tree, at most 1 s after `grace`; then its last output can be read.

        With `grace` (seconds) the command is first asked by SIGTERM. Does not raise if it has ended already.
        """
        if grace > 0 and not self._exited.is_set():
            self.send_signal(signal.SIGTERM)
            with anyio.move_on_after(grace):
                await self._exited.wait()
        await self._bury()

    async def aclose(self) -> None:
        """End the tree, if it lives, and give back everything that was held. Bounded, and safe to repeat."""
        try:
            with anyio.move_on_after(2, shield=True):
                await self._bury()
        finally:
            self._give_back()
        if self._pidfd < 0 and self._cleanup is not None:
            cleanup, self._cleanup = self._cleanup, None
            with anyio.move_on_after(5, shield=True):
                await anyio.to_thread.run_sync(cleanup)

    async def _bury(self) -> None:
        if not self._buried:
            self._buried = await self._reaper.bury(self._execution, self._exited.is_set)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        # The child stays a zombie until the rest of its tree is gone, so that its number cannot pass to another.
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert status is not None
        self._exit_code = status.si_status if status.si_code == os.CLD_EXITED else 128 + status.si_status
        self._exited.set()
        self._on_begun()
        if self._outlets:
            self._drain_timer = self._loop.call_later(DRAIN_S, partial(self._end_drain, timed_out=True))

    def _on_limit(self, sentence: str) -> None:
        # In the watching thread, and before the kill: whoever sees the end sees the reason.
        self._limit_hit = sentence
        with suppress(RuntimeError):  # the loop is closed, and nobody reads any more
            self._loop.call_soon_threadsafe(self._end_drain)

    def _give_back(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        for outlet in list(self._outlets):
            self._close_outlet(outlet)
        self._wake()
        self._release_stdin()
        if self._begun is not None:
            os.close(self._begun)
            self._begun = None
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        if self._pidfd < 0:
            return
        if self._exited.is_set():
            self._reap()
        else:
            # It hangs in the kernel. Whenever it comes out, it is dead; the loop then takes note of it.
            self._loop.remove_reader(self._pidfd)
            self._loop.add_reader(self._pidfd, self._reap_late)

    def _reap_late(self) -> None:
        self._reap()
        if self._cleanup is not None:
            self._cleanup()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if self._watched is not None:
            self._reaper.limits.remove(self._watched)
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        os.close(self._pidfd)
        self._pidfd = -1
        self._reaper.forget(self._execution)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        # Too many descriptors are open: a command whose end cannot be seen must not run.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
