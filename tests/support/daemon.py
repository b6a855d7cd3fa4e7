"""The real program as a child process of a test."""

import re
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from tests.support.home import environment
from tests.support.rpc_client import RpcClient, StdioClient, WebSocketClient

PROGRAM = (sys.executable, "-m", "app_server")
"""The program from this checkout."""

AGAIN_SECONDS = 0.3
"""What a daemon gets to end by itself before it is told again."""


class Daemon:
    """A listening server. `url` is the address it told, `stderr` what it wrote there so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""
        self.stderr = ""
        self._listening = anyio.Event()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def http(self) -> str:
        """Where the probes are: `http://127.0.0.1:PORT`."""
        return self.url.replace("ws://", "http://", 1)

    def client(self, **headers: str) -> AbstractAsyncContextManager[WebSocketClient]:
        """A new connection."""
        return RpcClient.ws(self.url, headers=headers)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    async def stop(self) -> int:
        """Ask it to end at once and give its exit status."""
        # The first signal waits for running turns. Two at once may arrive as one, so they are sent apart.
        while self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            with anyio.move_on_after(AGAIN_SECONDS):
                await self.process.wait()
        return self.process.returncode

    async def watch_stderr(self) -> None:
        """Keep what it says and learn its address from it."""
        assert self.process.stderr is not None
        async for text in TextReceiveStream(self.process.stderr, errors="replace"):
            self.stderr += text
            if (found := re.search(r'listening on ([a-z]+://[^\s"]+)[\s"]', self.stderr)) is not None:
                self.url = found[1]
                self._listening.set()
        self._listening.set()

    async def ready(self) -> bool:
        """Wait until clients can connect, or until the program has ended instead."""
        await self._listening.wait()
        return bool(self.url)


@asynccontextmanager
async def running_daemon(
    home: Path,
    listen: str = "ws://127.0.0.1:0",
    *,
    options: Sequence[str] = (),
    program: Sequence[str] = PROGRAM,
    **variables: str,
) -> AsyncGenerator[Daemon]:
    """Run `turnloom app-server --listen LISTEN OPTIONS` with its state in `home`; it is ready when this is entered.

    Raises RuntimeError with what the program said if it ends instead.
    """
    argv = [*program, "app-server", "--listen", listen, *options]
    async with await anyio.open_process(
        argv, env=environment(home, **variables), cwd=home, stdin=None, stdout=None
    ) as process:
        daemon = Daemon(process)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(daemon.watch_stderr)
                if await daemon.ready():
                    yield daemon
                    await daemon.stop()
            if not daemon.url:
                raise RuntimeError(f"the daemon ended with {await process.wait()}: {daemon.stderr}")
        finally:
            if process.returncode is None:
                process.kill()


def stdio_daemon(
    home: Path, *, options: Sequence[str] = (), **variables: str
) -> AbstractAsyncContextManager[StdioClient]:
    """Run `turnloom app-server OPTIONS` with one client on its pipes."""
    argv = [*PROGRAM, "app-server", *options]
    return RpcClient.stdio(argv, env=environment(home, **variables), cwd=home)
