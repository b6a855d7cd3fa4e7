"""Many clients on a websocket, over TCP or a Unix socket: one JSON message per frame."""

import asyncio
import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address

import anyio
import anyio.lowlevel
from aiohttp import WSCloseCode, WSMsgType, web

from app_server.rpc.connection import MAX_MESSAGE_BYTES, Oversized
from app_server.rpc.outbound import Outbound
from app_server.rpc.scopes import FULL, Scope
from app_server.transport.auth import Authenticator
from app_server.transport.listen import UnixSocket, WebSocket
from app_server.transport.sockets import listening_on
from app_server.transport.stdio import FLUSH_SECONDS, Connect

CEILING_BYTES = 4 * MAX_MESSAGE_BYTES
"""A message longer than this is not even read to its end: the socket is closed with code 1009."""
HIGH_WATER_BYTES = 256 * 1024
"""What the socket's buffer holds before the next write waits."""
IDLE_SECONDS = 30.0
"""How long a connection may stay open without asking for anything; once it is a websocket there is no limit."""
_OVERRUN_REASON = b"too far behind: reconnect and resume the thread"

logger = logging.getLogger(__name__)


class _Messages:
    """The messages of one websocket, as an asynchronous iterator."""

    def __init__(self, websocket: "web.WebSocketResponse[bool]") -> None:
        self._websocket = websocket

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> bytes | Oversized:
        message = await self._websocket.receive()
        # A binary frame is read like a text frame: whether it holds JSON in UTF-8 is checked where all of it is.
        if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
            raise StopAsyncIteration
        return message.data if len(message.data) <= MAX_MESSAGE_BYTES else Oversized(len(message.data))


class _Listener:
    """What every request of one listener is checked against, and how a client that passes is served."""

    def __init__(
        self,
        connect: Connect,
        auth: Authenticator | None,
        ready: Callable[[], bool],
        address: WebSocket | None,
        stop: anyio.Event,
    ) -> None:
        """`address` is None for a Unix socket, whose clients share this user."""
        self._connect, self._auth, self._ready, self._address, self._stop = connect, auth, ready, address, stop

    def admit(self, request: web.BaseRequest) -> Scope | web.Response:
        """What the client of a websocket may do, or the answer to a request that does not become one."""
        # A browser names the page's origin in every cross-site request; no client of this protocol sends one. A page
        # that pointed its own name at this machine (DNS rebinding) is known by the Host.
        if "Origin" in request.headers:
            return web.Response(status=403, text="requests from web pages are refused\n")
        if not self._is_ours(request.headers.get("Host")):
            return web.Response(status=403, text="the Host header does not name this listener\n")
        if request.path in ("/healthz", "/readyz"):
            if request.method not in ("GET", "HEAD"):
                return web.Response(status=405, headers={"Allow": "GET, HEAD"})
            alive = request.path == "/healthz" or self._ready()
            return web.Response(status=200 if alive else 503)
        if request.method != "GET" or request.headers.get("Upgrade", "").strip().lower() != "websocket":
            return web.Response(status=426, headers={"Upgrade": "websocket"}, text="connect with a websocket\n")
        scope = FULL if self._auth is None else self._auth(request.headers.get("Authorization"))
        if scope is None:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        # Who can open the Unix socket is this user, and has a shell anyway.
        return FULL if self._address is None else scope

    def _is_ours(self, host: str | None) -> bool:
        if host is None:
            return True
        name = _host_name(host)
        if name == "localhost":
            return True
        try:
            given = ip_address(name)
        except ValueError:
            # Who listens on every address has names that are not known here; authentication guards that listener.
            return self._address is not None and ip_address(self._address.host).is_unspecified
        if self._address is None or given.is_loopback:
            return given.is_loopback
        own = ip_address(self._address.host)
        return own.is_unspecified or given == own

    async def serve(self, websocket: "web.WebSocketResponse[bool]", request: web.BaseRequest, scope: Scope) -> None:
        """Serve one client until it leaves, falls too far behind, or the listener stops."""
        transport = request.transport
        if transport is None:
            return
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        code, reason, overran = WSCloseCode.OK, b"", False
        written = anyio.Event()

        async def write() -> None:
            # Never cancelled: a drain that was cancelled breaks the next one of that connection. It ends when the
            # queue is closed and empty, and at the latest by the abort below.
            with anyio.CancelScope(shield=True):
                try:
                    while (data := await outbound.take()) is not None and not overran and not transport.is_closing():
                        transport.write(data)
                        await request.writer.drain()
                except ConnectionError:
                    outbound.close()
                finally:
                    written.set()

        def overrun() -> None:
            nonlocal code, reason, overran
            code, reason, overran = WSCloseCode.TRY_AGAIN_LATER, _OVERRUN_REASON, True
            logger.warning("closing connection %d: %d bytes behind", connection.id, outbound.queued_bytes)
            serving.cancel_scope.cancel()

        async def leave_at_stop() -> None:
            nonlocal code
            await self._stop.wait()
            code = WSCloseCode.GOING_AWAY
            serving.cancel_scope.cancel()

        outbound = Outbound("websocket", on_overrun=overrun)
        connection = self._connect(outbound, self._address is not None)
        connection.scope = scope
        async with anyio.create_task_group() as writing:
            writing.start_soon(write)
            try:
                async with anyio.create_task_group() as serving:
                    serving.start_soon(leave_at_stop)
                    await connection.serve(_Messages(websocket))
                    serving.cancel_scope.cancel()
            finally:
                outbound.close()
                try:
                    with anyio.move_on_after(FLUSH_SECONDS, shield=True):
                        if not overran:
                            await written.wait()
                        await websocket.close(code=code, message=reason, drain=False)
                finally:
                    transport.abort()


ACCEPTING_STEPS = 3
"""Turns of the event loop from accepting a connection to the moment when it is known to its server."""


async def serve_websocket(
    address: WebSocket | UnixSocket,
    connect: Connect,
    *,
    auth: Authenticator | None = None,
    stop: anyio.Event,
    ready: Callable[[], bool],
    on_listening: Callable[[str], None],
) -> None:
    """Accept clients on `address` until `stop` is set; then write what is queued for each and close it (code 1001).

    `on_listening` is given `listening on URL`, with the real port, once clients can connect. GET /readyz answers
    200 or 503 as `ready` says, /healthz always 200. Raises StartError if the address cannot be listened on.
    """
    async with listening_on(address) as (listening, real):
        listener = _Listener(connect, auth, ready, real if isinstance(real, WebSocket) else None, stop)
        accepting = True

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            admitted = listener.admit(request)
            if isinstance(admitted, web.Response):
                return admitted
            websocket: web.WebSocketResponse[bool] = web.WebSocketResponse(
                timeout=FLUSH_SECONDS, compress=False, max_msg_size=CEILING_BYTES, decode_text=False
            )
            try:
                await websocket.prepare(request)
            except ConnectionError:
                return websocket
            if accepting:
                done = anyio.Event()
                clients.start_soon(serve_apart, websocket, request, admitted, done)
                await done.wait()
            return websocket

        async def serve_apart(
            websocket: "web.WebSocketResponse[bool]", request: web.BaseRequest, scope: Scope, done: anyio.Event
        ) -> None:
            try:
                await listener.serve(websocket, request, scope)
            except Exception:  # the boundary of one client: what goes wrong here ends this one alone
                logger.exception("a connection ended unexpectedly")
            finally:
                done.set()

        runner = web.ServerRunner(
            web.Server(handle, access_log=None, keepalive_timeout=IDLE_SECONDS), shutdown_timeout=1
        )
        await runner.setup()
        try:
            async with anyio.create_task_group() as clients:
                site = web.SockSite(runner, listening)
                await site.start()
                on_listening(f"listening on {real.url}")
                await stop.wait()
                await _settle_accepted(listening)
                await site.stop()
                accepting = False
        finally:
            accepting = False
            with anyio.move_on_after(FLUSH_SECONDS, shield=True):
                await runner.cleanup()


async def _settle_accepted(listening: socket.socket) -> None:
    """Accept nobody more, and let those who were accepted become connections that can be closed as others are.

    asyncio would drop them with their sockets open where their server is closed between these two steps.
    """
    asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(ACCEPTING_STEPS):
        await anyio.lowlevel.checkpoint()


def _host_name(host: str) -> str:
    """A Host header without its port: `[::1]:80` gives `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
