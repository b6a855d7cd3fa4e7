"""NetworkProxy: HTTP, CONNECT and SOCKS5 for commands, on one port; asks a gate before it dials."""

import asyncio
import errno
import logging
import os
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from hmac import compare_digest
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import anyio.lowlevel
from anyio import to_thread
from anyio.abc import TaskGroup

from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution, Gate, PolicySource
from app_server.network.environment import USER, proxied
from app_server.network.limits import Limits, usual_limits
from app_server.network.refusals import Crowded, Unproven
from app_server.network.streams import Gone, Link, Peer

if TYPE_CHECKING:
    from app_server.network.dialing import Resolve
    from app_server.network.interception import Interceptor
    from app_server.network.passage import Interception, Passage
    from app_server.network.trust import Trust

logger = logging.getLogger(__name__)

PRIVATE = b"x"
"""What comes with a listening socket that only the command can reach; with any other it must show its credential."""

_BACKLOG = 512
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_SECONDS = 0.2
_ENDED = {errno.EINVAL, errno.EBADF}
"""Nobody can connect any more: somebody who has the same listener has shut it down."""
_REMOVE_SECONDS = 2.0
"""How long removing the files that commands read may take."""
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 57\r\n\r\nThis command has too many connections to the proxy open.\n"
)


class NetworkUnavailable(Exception):
    """The proxy cannot run, so neither can the command. The message says why and what helps."""


class NetworkProxy:
    """The proxy of one daemon. Nothing listens before the first command needs it; leaving ends every connection."""

    def __init__(
        self,
        decisions: NetworkDecisions,
        bundles: Path,
        *,
        environ: Mapping[str, str] | None = None,
        resolve: "Resolve | None" = None,
        limits: Limits | None = None,
    ) -> None:
        """`bundles` is a folder for certificates that commands read; `environ` names the upstream proxy."""
        self.limits = limits or usual_limits()
        self._decisions, self._bundles, self._resolve = decisions, bundles, resolve
        self._environ = os.environ if environ is None else environ
        self._interceptor: Interceptor | None = None
        self._group: TaskGroup | None = None
        self._listener: socket.socket | None = None
        self._egresses: set[_Egress] = set()
        self._connections: dict[_Connection, None] = {}
        self._unproven: dict[_Connection, None] = {}

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        await to_thread.run_sync(_sweep, self._bundles)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        for egress in list(self._egresses):
            egress.end()
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)
        if self._interceptor is not None:
            with anyio.move_on_after(_REMOVE_SECONDS, shield=True):
                await self._interceptor.close()

    async def open(self, execution: Execution, policy: PolicySource, gate: Gate) -> Egress:
        """A way out for one command. Raises NetworkUnavailable where none can be made."""
        # The first command pays for what is imported, in a thread.
        await to_thread.run_sync(import_module, "app_server.network.socks")
        from app_server.network.dialing import Resolver
        from app_server.network.passage import Passage
        from app_server.network.upstream import UpstreamProxies

        if self._group is None:
            raise NetworkUnavailable("The network proxy has been shut down.")
        port = self._listen()
        resolve = self._resolve or Resolver()
        egress = _Egress(self, port)
        upstream = UpstreamProxies(self._environ)
        egress.passage = Passage(execution, policy, gate, self._decisions, resolve, upstream, egress.interception)
        self._egresses.add(egress)
        return egress

    def interceptor(self) -> "Interceptor":
        """What looks into TLS. Costs nothing before it is used."""
        if self._interceptor is None:
            from app_server.network.interception import Interceptor

            self._interceptor = Interceptor(self._bundles, self._environ)
        return self._interceptor

    def _listen(self) -> int:
        if self._listener is None:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                listener.bind(("127.0.0.1", 0))
                listener.listen(_BACKLOG)
                listener.setblocking(False)
            except OSError as error:
                listener.close()
                raise NetworkUnavailable(
                    f"The network proxy cannot listen on 127.0.0.1: {error.strerror}. Without it no command may reach "
                    "the network."
                ) from error
            self._listener = listener
            self.start(self._serve_shared, listener)
        return self._listener.getsockname()[1]

    async def _serve_shared(self, listener: socket.socket) -> None:
        with listener:
            await self.accept(listener, None, proven=False)

    # What egresses use

    def start(self, work: Callable[[socket.socket], Coroutine[None, None, None]], sock: socket.socket) -> None:
        """Run something that owns a socket until it ends or the proxy does."""
        assert self._group is not None
        self._group.start_soon(work, sock)

    def forget(self, egress: "_Egress") -> None:
        """Its credential is worth nothing from now on."""
        self._egresses.discard(egress)

    async def accept(self, listener: socket.socket, egress: "_Egress | None", *, proven: bool) -> None:
        """Serve the connections to a listener: those of one command, or of whoever shows a credential.

        `proven` says that nobody else can come to it, so that none need be shown.
        """
        loop = asyncio.get_running_loop()
        while True:
            # Where many wait, the event loop is not asked.
            await anyio.lowlevel.checkpoint()
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _ENDED:
                    return
                if error.errno in _EXHAUSTED:
                    logger.warning("the network proxy cannot take a connection: %s", error.strerror)
                    await anyio.sleep(_EXHAUSTED_SECONDS)
                continue
            if len(self._connections) >= self.limits.in_all or (egress is not None and egress.is_full):
                _turn_away(sock)
                continue
            connection = _Connection(self, egress, proven)
            connection.begin()
            self.start(connection.serve, sock)

    def enter(self, connection: "_Connection", *, proven: bool) -> None:
        """Count a connection; beyond what is taken of unproven ones, the oldest of them gives way."""
        self._connections[connection] = None
        if not proven:
            self._unproven[connection] = None
            if len(self._unproven) > self.limits.unproven:
                oldest = next(iter(self._unproven))
                self.prove(oldest)
                oldest.scope.cancel()

    def prove(self, connection: "_Connection") -> None:
        """Do not count it as unproven any more."""
        self._unproven.pop(connection, None)

    def leave(self, connection: "_Connection") -> None:
        """The connection is closed."""
        self._connections.pop(connection, None)
        self._unproven.pop(connection, None)

    def find(self, credential: tuple[str, str]) -> "_Egress | None":
        """Whose credential it is. How long this takes tells nothing about how much of it is right."""
        found = None
        for egress in self._egresses:
            if egress.takes(credential):
                found = egress
        return found


class _Egress:
    """The way out of one command, and what lives of it."""

    passage: "Passage"

    def __init__(self, proxy: NetworkProxy, port: int) -> None:
        self._proxy, self._port = proxy, port
        self._trust: Trust | None = None
        self._credential = secrets.token_urlsafe(24)
        self._members: set[anyio.CancelScope] = set()
        self._connections = 0
        self._closed = False
        self._empty = anyio.Event()

    @property
    def port(self) -> int:
        return self._port

    @property
    def is_full(self) -> bool:
        """Whether the command has all connections that it may have."""
        return self._connections >= self._proxy.limits.per_command

    async def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        settings = self.passage.policy().settings
        if settings.mode == "limited":
            interceptor = self._proxy.interceptor()
            try:
                self._trust = await interceptor.trust(base)
            except OSError as error:
                raise NetworkUnavailable(
                    f"The certificate of the network proxy cannot be made known to commands: {error}. Without it "
                    "nothing can be reached under limited mode."
                ) from error
            base = interceptor.environment(base, self._trust)
        return proxied(
            base,
            self._port,
            self._credential,
            # Under limited mode SOCKS leads to port 443 only; programs that prefer it would not get elsewhere.
            socks=settings.enable_socks5 and settings.mode == "full",
            local_binding=settings.allow_local_binding,
        )

    async def interception(self) -> "Interception":
        """How to look into the command's TLS."""
        interceptor = self._proxy.interceptor()
        if self._trust is None:  # it was never told of the certificate, and will not accept it
            self._trust = await interceptor.trust({})
        return await interceptor.interception(self._trust)

    def takes(self, credential: tuple[str, str]) -> bool:
        """Whether it is this command's credential."""
        user, password = credential
        right = compare_digest(password.encode(), self._credential.encode())
        return compare_digest(user.encode(), USER.encode()) and right and not self._closed

    def serve(self, bridge: socket.socket) -> None:
        if self._closed:
            bridge.close()
            return
        scope = anyio.CancelScope()
        self.join(scope)
        self._proxy.start(partial(self._serve, scope), bridge)

    async def _serve(self, scope: anyio.CancelScope, bridge: socket.socket) -> None:
        try:
            with scope:
                with bridge:
                    listener, private = await _receive_listener(bridge)
                if listener is not None:
                    with listener:
                        await self._proxy.accept(listener, self, proven=private)
        finally:
            self.part(scope)

    def join(self, scope: anyio.CancelScope, connections: int = 0) -> None:
        """Closing cancels this scope, and waits for its end."""
        self._members.add(scope)
        self._connections += connections
        if self._closed:
            scope.cancel()

    def part(self, scope: anyio.CancelScope, connections: int = 0) -> None:
        """The scope has ended."""
        self._members.discard(scope)
        self._connections -= connections
        if self._closed and not self._members:
            self._empty.set()

    async def close(self) -> None:
        self.end()
        await self._empty.wait()

    def end(self) -> None:
        """Close, without waiting for the connections to end."""
        self._closed = True
        self._proxy.forget(self)
        for scope in self._members:
            scope.cancel()
        if not self._members:
            self._empty.set()


class _Connection:
    """One connection to the proxy: of the command whose listener it came to, or of whose credential it shows."""

    def __init__(self, proxy: NetworkProxy, egress: _Egress | None, proven: bool) -> None:
        self._proxy, self._egress, self._bridged = proxy, egress, proven
        self.scope = anyio.CancelScope()

    def begin(self) -> None:
        """Count it. Its end is waited for from now on, so it must be served."""
        self._proxy.enter(self, proven=self._bridged)
        if self._egress is not None:
            self._egress.join(self.scope, connections=1)

    async def serve(self, sock: socket.socket) -> None:
        """Serve it to its end. Whatever goes wrong ends this connection only."""
        try:
            with self.scope, sock:
                await self._speak(Link(sock))
        except Exception:
            logger.exception("a connection to the network proxy failed")
        finally:
            if self._egress is not None:
                self._egress.part(self.scope, connections=1)
            self._proxy.leave(self)

    async def _speak(self, link: Link) -> None:
        from app_server.network.http import HttpSession
        from app_server.network.socks import VERSION, SocksSession, refuse_socks4

        client = Peer(link)
        limits = self._proxy.limits
        first = None
        with anyio.move_on_after(limits.head_seconds):
            try:
                first = await client.first_byte()
            except Gone:
                return
        if first == VERSION:
            await SocksSession(client, self.admit, limits, proven=self._bridged).run()
        elif first == 4:
            await refuse_socks4(client)
        elif first is not None:
            await HttpSession(client, self.admit, limits).run()

    def admit(self, credential: tuple[str, str] | None) -> "Passage":
        """The passage that this connection may use. Raises Unproven, and Crowded."""
        if credential is None and not self._bridged:
            raise Unproven(None)
        if self._egress is None:
            egress = None if credential is None else self._proxy.find(credential)
            if egress is None:
                raise Unproven(None)
            if egress.is_full:
                raise Crowded
            self._egress = egress
            egress.join(self.scope, connections=1)
        elif credential is not None and not self._egress.takes(credential):
            raise Unproven(self._egress.passage if self._bridged else None)
        self._proxy.prove(self)
        return self._egress.passage


def _sweep(bundles: Path) -> None:
    """Remove what was left of runs that were killed."""
    if bundles.is_dir():
        from app_server.network.trust import sweep

        sweep(bundles)


def _turn_away(sock: socket.socket) -> None:
    with sock:
        sock.setblocking(False)
        try:
            sock.send(_BUSY)
        except OSError:
            pass


async def _receive_listener(bridge: socket.socket) -> tuple[socket.socket | None, bool]:
    """The listening socket that comes through, and whether nobody but the command can reach it.

    None if the sandbox ends before it sends one.
    """
    loop = asyncio.get_running_loop()
    bridge.setblocking(False)
    readable = loop.create_future()
    loop.add_reader(bridge, lambda: None if readable.done() else readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(bridge)
    try:
        message, descriptors, _, _ = socket.recv_fds(bridge, 1, 8, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    except OSError:
        return None, False
    listener = None
    for descriptor in descriptors:
        try:
            candidate = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            continue
        if listener is None and _listens(candidate):
            candidate.setblocking(False)
            candidate.set_inheritable(False)
            listener = candidate
        else:
            candidate.close()
    return listener, message == PRIVATE


def _listens(sock: socket.socket) -> bool:
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type != socket.SOCK_STREAM:
        return False
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
