"""From a message to a handler and back: the one place where exceptions become wire errors."""

import logging
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import anyio
import orjson
from msgspec import Struct

from app_server.rpc.connection import MAX_MESSAGE_BYTES, Client, Connection, Oversized
from app_server.rpc.handshake import METHOD as INITIALIZE
from app_server.rpc.handshake import Hello, Welcome, read_hello
from app_server.rpc.ordering import RequestOrder, Turnstile
from app_server.rpc.outbound import Frame, encode
from app_server.rpc.scopes import FULL, Scope, out_of_scope
from app_server.rpc.server_requests import ServerRequests
from protocol.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    OVERLOADED,
    PARSE_ERROR,
    RequestId,
    RpcError,
    invalid_request,
)
from protocol.methods import ClientRequest

if TYPE_CHECKING:
    from protocol.wire import Wire

MAX_IN_FLIGHT = 128
"""Requests of one connection that may be unanswered at a time."""

logger = logging.getLogger(__name__)


class Context(Protocol):
    """What a handler is given for one request."""

    def answered(self) -> None:
        """Called right after the answer was queued; not for an error."""
        ...


C = TypeVar("C", bound=Context)
Handler = Callable[[C, Any], Awaitable[Any]] | Callable[[C, Any], Any]
"""A coroutine function, or a plain function for what is answered at once and touches nothing that takes time."""


class Endpoint(Struct, Generic[C], frozen=True, dict=True):
    """A described request and what answers it."""

    descriptor: ClientRequest[Any, Any]
    handler: Handler[C]

    @cached_property
    def at_once(self) -> bool:
        """Whether the handler is a plain function, which needs no task."""
        return not iscoroutinefunction(self.handler)


class Surface(Struct, Generic[C], frozen=True):
    """What can be called. It is loaded after `initialize` was answered, because most of the program hangs on it."""

    find: Callable[[str], Endpoint[C] | None]
    """What answers a method; None where there is no such method."""
    context: Callable[[Connection, RequestId], C]
    refuse: Callable[[str], RpcError | None]
    """Asked with the method before each request; for example while the daemon is shutting down."""


class Dispatcher(Generic[C]):
    """Reads each message, answers what is malformed, and runs handlers in order in their connection's task group."""

    def __init__(
        self,
        initialize: Callable[[Connection, Hello], Welcome],
        initialized: Callable[[Connection], None],
        server_requests: ServerRequests,
    ) -> None:
        """`initialize` makes the answer to that request; `initialized` is told after it was queued."""
        self._initialize, self._initialized = initialize, initialized
        self._server_requests = server_requests
        self._order = RequestOrder()
        self._surface: Surface[C] | None = None
        self._call: Callable[[Connection, dict[str, Any]], Any] | None = None
        self._loaded = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many requests wait for others of the same queue."""
        return self._order.waiting

    def load(self, surface: Surface[C]) -> None:
        """Open the door for everything but `initialize`; requests that came earlier go on now."""
        self._surface = surface
        from app_server.rpc.door import open_door
        from app_server.rpc.experimental import stripper

        self._stripper: Callable[[type[Wire]], Callable[[bytes], bytes] | None] = stripper
        self._call = open_door(surface)
        self._loaded.set()

    def ready(self, connection: Connection) -> bool:
        """Whether the connection's next message can be handled now; else await `until_ready` first."""
        return not connection.initialized or (self._surface is not None and connection.in_flight < MAX_IN_FLIGHT)

    async def until_ready(self, connection: Connection) -> None:
        """Wait until everything is loaded, and let requests of a connection that has many unanswered go on."""
        await self._loaded.wait()
        if connection.in_flight >= MAX_IN_FLIGHT:
            await anyio.lowlevel.checkpoint()

    def receive(self, connection: Connection, message: bytes | Oversized) -> None:
        """Handle one message of `connection`. Whatever it holds, only that client hears of it."""
        try:
            self._receive(connection, message)
        except Exception:
            logger.exception("unforeseen error with a message of connection %d", connection.id)
            connection.push(_error(None, INTERNAL_ERROR, "Internal error"))

    def _receive(self, connection: Connection, message: bytes | Oversized) -> None:
        if isinstance(message, Oversized):
            limit = MAX_MESSAGE_BYTES // (1024 * 1024)
            connection.push(_error(None, INVALID_REQUEST, f"Invalid request: message longer than {limit} MiB"))
            return
        try:
            decoded: Any = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            if message.strip():
                connection.push(_error(None, PARSE_ERROR, f"Parse error: {error.msg} at character {error.pos}"))
            return
        if not isinstance(decoded, dict):
            kind = "a batch" if isinstance(decoded, list) else "no object"
            connection.push(_error(None, INVALID_REQUEST, f"Invalid request: expected one object, got {kind}"))
            return
        envelope = cast("dict[str, Any]", decoded)
        method = envelope.get("method")
        if method is None and ("result" in envelope or "error" in envelope):
            if connection.may_answer:
                self._server_requests.resolve(connection.id, envelope)
            return
        if "id" not in envelope:
            if not isinstance(method, str):
                connection.push(_error(None, INVALID_REQUEST, "Invalid request: missing field `method`"))
            return
        request_id = envelope["id"]
        if not _is_id(request_id):
            text = "Invalid request: `id` must be a string or an integer"
            connection.push(_error(None, INVALID_REQUEST, text))
            return
        if not isinstance(method, str):
            text = "missing field `method`" if method is None else "`method` must be a string"
            connection.push(_error(request_id, INVALID_REQUEST, f"Invalid request: {text}"))
            return
        self._request(connection, request_id, method, envelope)

    def _request(self, connection: Connection, request_id: RequestId, method: str, envelope: dict[str, Any]) -> None:
        if method == INITIALIZE:
            try:
                connection.push(_result(request_id, self._answer_initialize(connection, envelope)))
            except RpcError as error:
                connection.push(_error(request_id, error.code, error.message, error.data))
                return
            self._initialized(connection)
            return
        if not connection.initialized:
            connection.push(_error(request_id, INVALID_REQUEST, "Not initialized"))
            return
        if connection.in_flight >= MAX_IN_FLIGHT:
            connection.push(_error(request_id, OVERLOADED, "Server overloaded; retry later."))
            return
        assert self._surface is not None
        assert self._call is not None
        if (error := self._surface.refuse(method)) is not None:
            connection.push(_error(request_id, error.code, error.message, error.data))
            return
        limited = connection.scope is not FULL
        if limited and not self._may_call(connection.scope, method):
            connection.push(_out_of_scope(connection.scope, request_id, method))
            return
        call = self._call(connection, envelope)
        if isinstance(call, RpcError):
            connection.push(_error(request_id, call.code, call.message, call.data))
            return
        endpoint, params = cast("tuple[Endpoint[C], Any]", call)
        if limited and endpoint.descriptor.access_of(params) not in connection.scope.access:
            connection.push(_out_of_scope(connection.scope, request_id, method))
            return
        order = endpoint.descriptor.order(params)
        if order is None and endpoint.at_once:
            self._answer_at_once(connection, request_id, endpoint, params)
            return
        place = None if order is None else self._order.enqueue(order)
        connection.start(partial(self._run, connection, request_id, endpoint, params, place))

    def _may_call(self, scope: Scope, method: str) -> bool:
        """Whether the scope allows the method at least with some params, which are not looked at before."""
        assert self._surface is not None
        endpoint = self._surface.find(method)
        return endpoint is None or callable(endpoint.descriptor.access) or endpoint.descriptor.access in scope.access

    def _answer_initialize(self, connection: Connection, envelope: dict[str, Any]) -> bytes:
        if connection.initialized:
            raise invalid_request("Already initialized")
        hello = read_hello(envelope.get("params"))
        answer = self._initialize(connection, hello)
        connection.client = Client(hello.name, hello.version, hello.title)
        connection.outbound.experimental = hello.experimental
        connection.outbound.opted_out = hello.opted_out
        return answer.json()

    async def _run(
        self,
        connection: Connection,
        request_id: RequestId,
        endpoint: Endpoint[C],
        params: Any,
        place: Turnstile | None,
    ) -> None:
        try:
            if place is None:
                await self._answer(connection, request_id, endpoint, params)
            else:
                async with place:
                    await self._answer(connection, request_id, endpoint, params)
        except Exception:
            # Whatever a request meets, it takes no other request and no other client with it.
            logger.exception("unforeseen error after %s", endpoint.descriptor.method)
        finally:
            if place is not None:
                place.leave()

    async def _answer(self, connection: Connection, request_id: RequestId, endpoint: Endpoint[C], params: Any) -> None:
        assert self._surface is not None
        context = self._surface.context(connection, request_id)
        try:
            # From the handler's last await to the push nothing else runs, so no event can slip in between.
            encoded = encode(await endpoint.handler(context, params))
        except Exception as error:
            connection.push(_refusal(request_id, endpoint, error))
        else:
            self._push_answer(connection, request_id, endpoint, context, encoded)

    def _answer_at_once(
        self, connection: Connection, request_id: RequestId, endpoint: Endpoint[C], params: Any
    ) -> None:
        assert self._surface is not None
        context = self._surface.context(connection, request_id)
        try:
            encoded = encode(endpoint.handler(context, params))
            self._push_answer(connection, request_id, endpoint, context, encoded)
        except Exception as error:
            connection.push(_refusal(request_id, endpoint, error))
        connection.outbound.flush()

    def _push_answer(
        self, connection: Connection, request_id: RequestId, endpoint: Endpoint[C], context: C, encoded: bytes
    ) -> None:
        if not connection.experimental and (strip := self._stripper(endpoint.descriptor.response)) is not None:
            encoded = strip(encoded)
        connection.push(_result(request_id, encoded))
        context.answered()


def _out_of_scope(scope: Scope, request_id: RequestId, method: str) -> Frame:
    return _error(request_id, INVALID_REQUEST, out_of_scope(scope, f"`{method}`"))


def _refusal(request_id: RequestId, endpoint: Endpoint[Any], error: Exception) -> Frame:
    known = _rpc_error_within(error)
    if known is None:
        logger.error("unforeseen error in %s", endpoint.descriptor.method, exc_info=error)
        known = RpcError(INTERNAL_ERROR, "Internal error")
    return _error(request_id, known.code, known.message, known.data)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _rpc_error_within(error: BaseException) -> RpcError | None:
    if isinstance(error, RpcError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            if (found := _rpc_error_within(inner)) is not None:
                return found
    return None


def _result(request_id: RequestId, encoded: bytes) -> Frame:
    return Frame(None, b'{"id":%b,"result":%b}' % (orjson.dumps(request_id), encoded))


def _error(request_id: RequestId | None, code: int, message: str, data: Any = None) -> Frame:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Frame(None, orjson.dumps({"error": error, "id": request_id}))
