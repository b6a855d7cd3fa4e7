"""App: builds every service, runs them in one task group, drains and shuts down. The only composition root."""

import gc
import importlib
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from app_server.rpc.connection import Connection, Connections
from app_server.rpc.dispatch import Dispatcher
from app_server.rpc.handshake import Hello, Welcome
from app_server.rpc.outbound import Outbound
from app_server.rpc.server_requests import ServerRequests
from app_server.telemetry import log
from app_server.transport.listen import ServerOptions, StartError, Stdio, UnixSocket, WebSocket, default_socket
from app_server.version import PROTOCOL_VERSION, TURNLOOM_VERSION
from protocol.jsonrpc import INVALID_REQUEST, RpcError

if TYPE_CHECKING:
    from app_server.handlers.context import RequestContext
    from app_server.services import Daemon

logger = logging.getLogger(__name__)

QUICK_SECONDS = 2.0
"""What requests that were read get to end by themselves once the input has ended."""

INTERRUPT_SECONDS = 5.0
"""How long interrupted turns may take to say so to clients that are still connected."""

NEW_WORK = frozenset(
    {
        "thread/start",
        "thread/fork",
        "thread/compact/start",
        "thread/shellCommand",
        "thread/queue/start",
        "thread/sample",
        "turn/start",
        "review/start",
        "command/exec",
        "process/spawn",
    }
)
"""What is refused while the daemon waits for its last turns."""


def run(options: ServerOptions) -> int:
    """Serve until told to stop; the result is the exit status. Raises StartError."""
    # Imports make many objects and no garbage; collecting would only delay the first answer.
    gc.disable()
    try:
        return anyio.run(App(options, own_process=True).serve)
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What made the root task group fail: why the daemon cannot start, if that is among it."""
    for error in group.exceptions:
        inner = _first(cast("BaseExceptionGroup[BaseException]", error)) if _is_group(error) else error
        if isinstance(inner, StartError):
            return inner
    return group


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


class App:
    """One daemon."""

    def __init__(self, options: ServerOptions, *, own_process: bool = False) -> None:
        """`own_process`: the process ends with the daemon, and no signal that comes later changes how it ends."""
        self._options, self._own_process = options, own_process
        self._home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
        self._connections = Connections()
        self._server_requests = ServerRequests()
        self._dispatcher: Dispatcher[RequestContext] = Dispatcher(
            self._initialize, self._initialized, self._server_requests
        )
        self._daemon: Daemon | None = None
        self._draining = False
        self._greeted = anyio.Event()
        self._stop = anyio.Event()
        self._closing = anyio.Event()
        self._stdio: Connection | None = None

    async def serve(self) -> int:
        """From start to exit."""
        listen = self._options.listen
        async with anyio.create_task_group() as root:
            root.start_soon(self._obey_signals)
            if isinstance(listen, Stdio):
                # The client's `initialize` is answered by what is imported already; the rest loads meanwhile.
                root.start_soon(self._run_services)
                from app_server.transport.stdio import serve_stdio

                await serve_stdio(self._connect, stop=self._stop, at_end=self._end_of_input)
                if self._daemon is None and self._options != ServerOptions():
                    await anyio.to_thread.run_sync(self._check_configuration)
            else:
                await root.start(self._run_services)
                if isinstance(listen, WebSocket | UnixSocket):
                    await self._serve_network(listen)
                else:
                    await self._stop.wait()
            self._closing.set()
            if self._daemon is not None:
                await self._daemon.closed.wait()
            root.cancel_scope.cancel()
        return 0

    async def _serve_network(self, listen: WebSocket | UnixSocket) -> None:
        from app_server.transport.auth import build_authenticator
        from app_server.transport.websocket import serve_websocket

        if isinstance(listen, UnixSocket) and listen.path is None:
            listen = UnixSocket(default_socket(self._home))
        await serve_websocket(
            listen,
            self._connect,
            auth=build_authenticator(self._options.auth),
            stop=self._stop,
            ready=lambda: not self._draining,
            on_listening=log.notice,
        )

    # Services

    async def _run_services(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Open everything behind the dispatcher, keep it until `_closing`, and close it in reverse."""
        if isinstance(self._options.listen, Stdio):
            # Importing beside the first answer would slow it down: both need the interpreter.
            await self._greeted.wait()
            while self._stdio is not None and self._stdio.outbound.queued_bytes:
                await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(_import_services)
        from app_server.services import Daemon

        daemon = Daemon(self._home, self._options, self._connections, self._server_requests)
        async with daemon.running():
            self._daemon = daemon
            daemon.platform.gauges.add("app.requests.queued", lambda: self._dispatcher.waiting)
            self._dispatcher.load(daemon.surface(self._refuse))
            for connection in self._connections.initialized():
                daemon.welcome(connection)
            task_status.started()
            gc.freeze()
            gc.enable()
            await self._closing.wait()

    def _check_configuration(self) -> None:
        """Where the input ended before anything was read: raise StartError for what the daemon would not start on."""
        from app_server.config.layer import ConfigError
        from app_server.config.layers import load_settings

        given = self._options
        try:
            load_settings(
                self._home,
                given.overrides,
                given.enable,
                given.disable,
                profile=given.profile,
                strict=given.strict_config,
            )
        except ConfigError as error:
            raise StartError(str(error)) from error

    def _refuse(self, method: str) -> RpcError | None:
        if self._draining and method in NEW_WORK:
            reason = {"reason": "serverShuttingDown"}
            return RpcError(INVALID_REQUEST, "Server is draining; retry after reconnecting", reason)
        return None

    # Connections

    def _connect(self, outbound: Outbound, remote: bool) -> Connection:  # the transports' signature
        connection = Connection(self._dispatcher, outbound, remote=remote)
        self._connections.add(connection)
        connection.on_close(partial(self._disconnected, connection))
        if isinstance(self._options.listen, Stdio):
            self._stdio = connection
        return connection

    async def _disconnected(self, connection: Connection) -> None:
        if self._daemon is not None:
            await self._daemon.forget(connection)

    def _initialize(self, connection: Connection, hello: Hello) -> Welcome:
        system = os.uname()
        agent = (
            f"{hello.name}/{PROTOCOL_VERSION} ({_system_name()}; {system.machine}) "
            f"{os.environ.get('TERM', 'unknown')} ({hello.name}; {hello.version}) turnloom/{TURNLOOM_VERSION}"
        )
        platform_os = "macos" if sys.platform == "darwin" else "linux"
        return Welcome(agent, str(self._home), platform_family="unix", platform_os=platform_os)

    def _initialized(self, connection: Connection) -> None:
        self._greeted.set()
        if self._daemon is not None:
            self._daemon.welcome(connection)

    # The end

    async def _obey_signals(self) -> None:
        try:
            await self._obey_until_the_end()
        finally:
            if self._own_process:
                # What is left is the end of the interpreter, which takes long where the machine is busy.
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)

    async def _obey_until_the_end(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if isinstance(self._options.listen, Stdio):
                    self._stop.set()
                elif not self._draining:
                    await self._drain_soon(number)
                elif number != signal.SIGHUP:
                    logger.warning("second %s: interrupting what runs", number.name)
                    if self._daemon is not None:
                        with anyio.move_on_after(INTERRUPT_SECONDS):
                            await self._daemon.threads.stop()
                    self._stop.set()

    async def _drain_soon(self, number: signal.Signals) -> None:
        self._draining = True
        if self._daemon is None:
            self._stop.set()
            return
        logger.warning("%s: new work is refused; the server ends when its running turns have ended", number.name)
        self._daemon.spawn(self._drain, self._daemon)

    async def _drain(self, daemon: "Daemon") -> None:
        await daemon.threads.settle()
        self._stop.set()

    async def _end_of_input(self) -> None:
        """The client on stdio is gone or the daemon was told to stop: answer what was read, and interrupt the rest."""
        self._draining = True
        if self._stdio is None or self._daemon is None:
            return
        with anyio.move_on_after(QUICK_SECONDS):
            await self._stdio.settled()
        with anyio.move_on_after(INTERRUPT_SECONDS):
            await self._daemon.end_work(self._stdio)
        with anyio.move_on_after(QUICK_SECONDS):
            await self._stdio.settled()


def _import_services() -> None:
    importlib.import_module("app_server.services")


def _system_name() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            fields = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except OSError:
        return os.uname().sysname
    return f"{fields.get('NAME', 'Linux').strip(chr(34))} {fields.get('VERSION_ID', '').strip(chr(34))}".strip()
