"""A server with a few made-up methods over the real rpc and transports, for tests of what lies below the real app.

`python -m tests.support.fake_app [ws://127.0.0.1:0 | unix:///PATH]` serves it as a program, by default on stdio.
"""

import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

import anyio
import orjson

from app_server.rpc.connection import Connection, Connections, Oversized
from app_server.rpc.dispatch import Dispatcher, Endpoint, Surface
from app_server.rpc.handshake import Hello, Welcome
from app_server.rpc.outbound import DeltaStream, Outbound, notification_json
from app_server.rpc.server_requests import ServerRequests
from protocol.jsonrpc import RequestId, RpcError
from protocol.methods import Access, ClientRequest, Order, OrderKey, unordered
from protocol.wire import Empty, Experimental, Wire

REFUSED = -32042


class EchoParams(Wire):
    """Any value, and an optional whole number."""

    value: Any = None
    number: int | None = None


class StreamParams(Wire):
    """`count` deltas of `text` for one item, then a marker that cannot be merged."""

    item: str
    count: int
    text: str
    marker: int = 0


class BlobParams(Wire):
    """How long an answer to give."""

    size: int


@dataclass(frozen=True, slots=True)
class _Description:
    """Stands for a ClientRequest without joining the list of real methods."""

    method: str
    params: type[Wire]
    response: type[Wire]
    order: OrderKey = unordered
    experimental: str | None = None
    access: Access = "shell"

    def access_of(self, params: Wire) -> Access:
        """What the method does, whatever the params."""
        return self.access


class ExperimentalParams(Wire):
    """Params with a member that needs the capability."""

    plain: str | None = None
    trial: Annotated[str | None, Experimental("test/trial.trial")] = None


class FakeContext:
    """What the handlers below see of a request."""

    def __init__(self, app: "FakeApp", connection: Connection, request_id: RequestId) -> None:
        self._app, self.connection, self.request_id = app, connection, request_id

    def answered(self) -> None:
        """Count the answers that were queued."""
        self._app.answered += 1


class FakeApp:
    """One server. `gate` holds back `test/gate` and `test/ordered`."""

    def __init__(self, *, loaded: bool = True) -> None:
        self.server_requests = ServerRequests()
        self.connections = Connections()
        self.gate = anyio.Event()
        self.refuses: RpcError | None = None
        self.answered = 0
        self.ran: list[str] = []
        self.waiting = 0
        self.cancelled = 0
        self.initialized: list[int] = []
        self.served: list[Connection] = []
        self.dispatcher: Dispatcher[FakeContext] = Dispatcher(
            self._initialize, lambda connection: self.initialized.append(connection.id), self.server_requests
        )
        if loaded:
            self.load()

    def load(self) -> None:
        """Make the test methods callable."""
        methods = (
            self._endpoint("test/echo", EchoParams, self._echo, access="read"),
            self._endpoint("test/trial", ExperimentalParams, self._trial),
            self._endpoint("test/experimental", Empty, self._experimental, experimental="test/experimental"),
            self._endpoint("test/gate", EchoParams, self._wait, access="act"),
            self._endpoint("test/ordered", EchoParams, self._ordered, order=lambda params: Order("one queue")),
            self._endpoint("test/shared", EchoParams, self._ordered, order=lambda params: Order("one queue", True)),
            self._endpoint("test/fail", Empty, self._fail),
            self._endpoint("test/failGroup", Empty, self._fail_group),
            self._endpoint("test/refuse", EchoParams, self._refuse),
            self._endpoint("test/stream", StreamParams, self._stream),
            self._endpoint("test/blob", BlobParams, self._blob),
            self._endpoint("test/print", Empty, self._print),
        )
        endpoints = {endpoint.descriptor.method: endpoint for endpoint in methods}
        self.dispatcher.load(Surface(endpoints.get, partial(FakeContext, self), self.refusal))

    def refusal(self, method: str) -> RpcError | None:
        """Why no request is taken at present."""
        return self.refuses

    def connect(self, outbound: Outbound, remote: bool) -> Connection:
        """Make a connection, as the real app does."""
        connection = Connection(self.dispatcher, outbound, remote=remote)
        self.connections.add(connection)
        self.served.append(connection)
        return connection

    async def settled(self) -> None:
        """Wait until every request of every client is answered."""
        for connection in self.served:
            await connection.settled()

    @staticmethod
    def _endpoint(
        method: str,
        params: type[Wire],
        handler: Callable[[FakeContext, Any], Awaitable[Wire]],
        *,
        order: OrderKey = unordered,
        experimental: str | None = None,
        access: Access = "shell",
    ) -> Endpoint[FakeContext]:
        description = _Description(method, params, Empty, order, experimental, access)
        return Endpoint(cast("ClientRequest[Any, Any]", description), handler)

    def _initialize(self, connection: Connection, hello: Hello) -> Welcome:
        return Welcome(f"{hello.name}/0.169.0", "/nowhere", platform_family="unix", platform_os="linux")

    async def _echo(self, context: FakeContext, params: EchoParams) -> EchoParams:
        return params

    async def _trial(self, context: FakeContext, params: ExperimentalParams) -> ExperimentalParams:
        return params

    async def _experimental(self, context: FakeContext, params: Empty) -> Empty:
        return params

    async def _wait(self, context: FakeContext, params: EchoParams) -> EchoParams:
        self.waiting += 1
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return params

    async def _ordered(self, context: FakeContext, params: EchoParams) -> EchoParams:
        self.ran.append(str(params.value))
        return await self._wait(context, params)

    async def _fail(self, context: FakeContext, params: Empty) -> Empty:
        raise ZeroDivisionError("a secret of the inside")

    async def _fail_group(self, context: FakeContext, params: Empty) -> Empty:
        raise ExceptionGroup("several", [ValueError("a secret"), RpcError(REFUSED, "known within")])

    async def _refuse(self, context: FakeContext, params: EchoParams) -> Empty:
        raise RpcError(REFUSED, "not today", {"reason": params.value})

    async def _stream(self, context: FakeContext, params: StreamParams) -> Empty:
        deltas = DeltaStream("test/delta", {"itemId": params.item})
        for number in range(params.count):
            context.connection.push(deltas.frame(params.text))
            if params.marker and number % params.marker == 0:
                context.connection.push(notification_json("test/marker", orjson.dumps({"number": number})))
            if number % 100 == 99:
                await anyio.lowlevel.checkpoint()
        return Empty()

    async def _blob(self, context: FakeContext, params: BlobParams) -> EchoParams:
        return EchoParams(value="x" * params.size)

    async def _print(self, context: FakeContext, params: Empty) -> Empty:
        print("a stray print", flush=True)  # the transport must keep it off the wire
        await anyio.run_process(["sh", "-c", "echo a child speaks; cat"], stdout=None, stdin=None)
        return params


class Peer:
    """The other end of a connection without any transport: `send` bytes, look at what was answered."""

    def __init__(self, app: FakeApp, outbound: Outbound | None = None) -> None:
        self.outbound = Outbound("line") if outbound is None else outbound
        self.connection = app.connect(self.outbound, False)
        self._inbox: deque[bytes | Oversized] = deque()
        self._hung_up = False
        self._news = anyio.Event()
        self._unread: list[dict[str, Any]] = []

    async def serve(self, at_end: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run the server's side until `hang_up`."""
        await self.connection.serve(self._messages(), at_end=at_end)

    async def _messages(self) -> AsyncIterator[bytes | Oversized]:
        while True:
            while self._inbox:
                yield self._inbox.popleft()
            if self._hung_up:
                return
            self._news = anyio.Event()
            await self._news.wait()

    def send(self, message: bytes | Oversized) -> None:
        """Give the server one message."""
        self._inbox.append(message)
        self._news.set()

    def request(self, request_id: int | str, method: str, params: Any = None) -> None:
        """Give the server a request."""
        self.send(orjson.dumps({"id": request_id, "method": method, "params": params}))

    def hang_up(self) -> None:
        """End the client's side."""
        self._hung_up = True
        self._news.set()

    async def receive(self) -> dict[str, Any]:
        """The next message from the server."""
        while not self._unread:
            data = await self.outbound.take()
            if data is None:
                raise EOFError
            self._unread += [orjson.loads(line) for line in data.splitlines()]
        return self._unread.pop(0)

    async def call(self, method: str, params: Any = None) -> dict[str, Any]:
        """Send a request and give the next message, which has to be its answer."""
        self.request(method, method, params)
        answer = await self.receive()
        assert answer["id"] == method, answer
        return answer

    async def initialize(self, *, experimental: bool = False, opt_out: list[str] | None = None) -> None:
        """Say hello."""
        capabilities = {"experimentalApi": experimental, "optOutNotificationMethods": opt_out}
        answer = await self.call(
            "initialize", {"clientInfo": {"name": "peer", "version": "1"}, "capabilities": capabilities}
        )
        assert "result" in answer, answer


async def serve(app: FakeApp, listen: str) -> None:
    """Serve `app` until the process is told to stop."""
    from app_server.telemetry.log import configure, notice
    from app_server.transport.listen import Stdio, UnixSocket, WebSocket, parse_listen

    configure()
    address, stop = parse_listen(listen), anyio.Event()
    if isinstance(address, Stdio):
        from app_server.transport.stdio import serve_stdio

        await serve_stdio(app.connect, stop=stop, at_end=app.settled)
    elif isinstance(address, UnixSocket | WebSocket):
        from app_server.transport.websocket import serve_websocket

        await serve_websocket(address, app.connect, stop=stop, ready=lambda: True, on_listening=notice)


if __name__ == "__main__":
    anyio.run(partial(serve, FakeApp(), sys.argv[1] if len(sys.argv) > 1 else "stdio://"))
