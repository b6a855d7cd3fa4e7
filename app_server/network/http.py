"""HTTP/1.1 of the proxy: requests are judged one by one and forwarded, CONNECT opens tunnels."""

import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import anyio
import orjson
from msgspec import Struct
from msgspec.structs import replace

from app_server.config.hosts import normalised_host
from app_server.network.limits import Limits
from app_server.network.messages import (
    HEAD_LIMIT,
    Fields,
    RequestHead,
    ResponseHead,
    connection_words,
    copy_chunked,
    end_to_end,
    parse_authority,
    parse_request,
    parse_response,
    parse_url,
    write_head,
)
from app_server.network.passage import Interception, Passage, Way
from app_server.network.policy import Attempt, Judgement, NetworkProtocol, blocked
from app_server.network.refusals import Crowded, HungUp, Malformed, Refused, Unproven, Unreachable, proxy_error
from app_server.network.streams import Activity, Gone, Peer, Resumed, Unsent, tunnel

Admit = Callable[[tuple[str, str] | None], Passage]
"""Takes user and password, if some came, and gives the passage of the command. Raises Unproven, and Crowded."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_UPGRADES = frozenset({b"websocket"})
"""Protocols that a connection may be switched to; HTTP/2 would carry requests that nobody judges."""


class Origin(Struct, frozen=True):
    """Where an intercepted connection leads: each of its requests goes there, within TLS.

    `cleared` is what was decided about the connection itself.
    """

    protocol: NetworkProtocol
    host: str
    port: int
    interception: Interception
    cleared: Judgement


class _Order(Struct, frozen=True):
    """A request, as it is to be forwarded. `authority` is for its Host field, `target` for its first line."""

    request: RequestHead
    attempt: Attempt
    authority: str
    target: str


class HttpSession:
    """The requests of one connection, one after the other. The connection itself is closed by its owner."""

    def __init__(self, client: Peer, admit: Admit, limits: Limits, origin: Origin | None = None) -> None:
        self._client, self._admit, self._limits, self._origin = client, admit, limits, origin
        self._way: Way | None = None
        self._first = True

    async def run(self) -> None:
        """Serve until either side has enough."""
        try:
            while await self._serve_one():
                self._first = False
        except Malformed as error:
            await self._answer(error.status, str(error))
        except (Gone, HungUp):
            pass
        finally:
            self._drop_way()

    async def _serve_one(self) -> bool:
        """Serve one request; whether another one may come."""
        head = await self._read_head()
        if head is None:
            return False
        request = parse_request(head)
        try:
            passage = self._admit(request.credential)
        except Unproven as error:
            self._note_unproven(request, error.passage)
            fields = [(b"Proxy-Authenticate", b'Basic realm="turnloom"')]
            await self._answer(407, "The proxy wants the credential that is in the proxy variables.", fields=fields)
            return False
        except Crowded:
            await self._answer(503, "This command has too many connections to the proxy open.")
            return False
        try:
            if request.method == "CONNECT" and self._origin is None:
                await self._connect(request, passage)
                return False
            return await self._forward(request, passage)
        except Refused as error:
            await passage.before_refusal()
            return await self._answer_refused(request, error.attempt, error.judgement)
        except Unreachable as error:
            return await self._answer(502, f"upstream failure: {error}", request=request)

    def _note_unproven(self, request: RequestHead, passage: Passage | None) -> None:
        """A command that shows another one's credential is in no trouble, but it should be seen."""
        if passage is None:
            return
        with suppress(Malformed):
            if request.method == "CONNECT":
                text, port = parse_authority(request.target, "The target of CONNECT")
                attempt = Attempt("https_connect", _normalised(text), port or 443)
            else:
                attempt = self._read_order(request).attempt
            passage.note(attempt, Judgement("deny", "proxy_state", "policy_denied"))

    async def _read_head(self) -> bytes | None:
        if self._client.has_head:
            return await self._take_head()
        limits = self._limits
        with anyio.move_on_after(limits.head_seconds if self._first else limits.keep_alive_seconds):
            if await self._client.first_byte() is None:
                return None
            if self._client.has_head:
                return await self._take_head()
            with anyio.move_on_after(limits.head_seconds):
                return await self._take_head()
        return None

    async def _take_head(self) -> bytes | None:
        # An empty line in front is harmless.
        if await self._client.first_byte() == 0x0D and await self._client.exactly(2) != b"\r\n":
            raise Malformed("Lines must end with CR LF.")
        return await self._client.head(HEAD_LIMIT)

    # Tunnels

    async def _connect(self, request: RequestHead, passage: Passage) -> None:
        text, port = parse_authority(request.target, "The target of CONNECT")
        if port is None:
            raise Malformed("The target of CONNECT must be host:port.")
        if request.framing == "chunked" or request.length:
            raise Malformed("CONNECT has no body.")
        attempt = Attempt("https_connect", _normalised(text), port)
        cleared = await passage.clear(attempt, self._client.hung_up)
        established = b"HTTP/1.1 200 Connection established\r\n\r\n"
        if (interception := await passage.interception(attempt)) is not None:
            passage.note(attempt, cleared)
            await self._client.send(established)
            await serve_intercepted(self._client, passage, interception, attempt, cleared, self._limits)
            return
        way = await passage.open(attempt, cleared)
        try:
            await self._client.send(established)
            await tunnel(self._client, way.peer, self._limits.idle_seconds)
        finally:
            way.link.close()

    # Requests

    async def _forward(self, request: RequestHead, passage: Passage) -> bool:
        order = self._read_order(request)
        if request.upgrade is not None and passage.policy().settings.mode == "limited":
            raise passage.refuse(order.attempt, Judgement("deny", "mode_guard", "method_not_allowed"))
        paths = request.values(b"x-unix-socket")
        if paths and self._origin is None:
            return await self._forward_unix(order, passage, paths)
        granted = None if self._origin is None else self._origin.cleared
        cleared = await passage.clear(order.attempt, self._client.hung_up, granted)
        if self._way is not None and passage.may_reuse(self._way, order.attempt, cleared):
            try:
                return await _Exchange(self._client, self._way, order, self._limits, again=True).run(self)
            except _Stale:
                pass
        self._drop_way()
        self._way = await self._open(order.attempt, cleared, passage)
        return await _Exchange(self._client, self._way, order, self._limits).run(self)

    async def _open(self, attempt: Attempt, cleared: Judgement, passage: Passage) -> Way:
        origin = self._origin
        way = await passage.open(attempt, cleared, forwarded=origin is None)
        if origin is None:
            return way
        try:
            secured = await origin.interception.secure(Resumed(way.peer), origin.host)
        except BaseException:
            way.link.close()
            raise
        return replace(way, peer=Peer(secured))

    async def _forward_unix(self, order: _Order, passage: Passage, paths: list[bytes]) -> bool:
        if sys.platform != "darwin":
            passage.note(order.attempt, Judgement("deny", "proxy_state", "unix_socket_unsupported"))
            message = "unix sockets are unsupported: the proxy reaches them only on macOS"
            return await self._answer(501, message, request=order.request)
        path = paths[0].decode(errors="replace")
        passage.clear_unix(order.attempt, path if len(paths) == 1 else "")
        self._drop_way()
        self._way = await passage.open_unix(path)
        try:
            return await _Exchange(self._client, self._way, order, self._limits).run(self)
        finally:
            self._drop_way()

    def _read_order(self, request: RequestHead) -> _Order:
        if self._origin is not None:
            return _read_intercepted(request, self._origin)
        url = parse_url(request.target)
        if url.scheme == "https":
            raise Malformed("The proxy forwards https:// only through CONNECT; set HTTPS_PROXY to its http:// URL.")
        if url.scheme != "http":
            raise Malformed(f"The proxy does not forward {url.scheme}:// requests.")
        host, port = _normalised(url.host), url.port or 80
        attempt = Attempt("http", host, port, request.method)
        target = url.target or ("*" if request.method == "OPTIONS" else "/")
        return _Order(request, attempt, _authority(host, port, 80), target)

    # Answers

    async def _answer_refused(self, request: RequestHead, attempt: Attempt, judgement: Judgement) -> bool:
        message = blocked(attempt.host, judgement.reason)
        fields = [(b"x-proxy-error", proxy_error(judgement.reason).encode())]
        if request.method == "CONNECT":
            return await self._answer(403, message, request=request, fields=fields)
        body = {
            "status": "blocked",
            "host": attempt.host,
            "reason": judgement.reason,
            "decision": judgement.decision,
            "source": judgement.source,
            "protocol": attempt.protocol,
            "port": attempt.port,
            "message": message,
        }
        fields.append((b"Content-Type", b"application/json"))
        return await self._answer(403, orjson.dumps(body), request=request, fields=fields)

    async def _answer(
        self, status: int, body: str | bytes, *, request: RequestHead | None = None, fields: Fields = ()
    ) -> bool:
        """Answer in the proxy's own name; whether another request may come."""
        keep = request is not None and request.method != "CONNECT" and request.framing == "none" and request.keeps_alive
        if isinstance(body, str):
            fields = [*fields, (b"Content-Type", b"text/plain; charset=utf-8")]
            body = f"{body}\n".encode()
        fields = [*fields, (b"Content-Length", str(len(body)).encode())]
        if not keep or (request is not None and request.version == "1.0"):
            fields.append((b"Connection", b"keep-alive" if keep else b"close"))
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        shown = b"" if request is not None and request.method == "HEAD" else body
        try:
            await self._client.send(write_head(first, fields) + shown)
            if not keep:
                await self.linger()
        except Gone:
            return False
        return keep

    async def linger(self) -> None:
        """Read what still comes for a moment, since closing before would take back what was sent."""
        await self._client.end()
        with anyio.move_on_after(self._limits.linger_seconds):
            await self._client.drain(self._limits.linger_bytes)

    def _drop_way(self) -> None:
        if self._way is not None:
            self._way.link.close()
            self._way = None

    def forget_way(self) -> None:
        """Close the connection to the host once the exchange is over: it cannot be used again."""
        self._drop_way()

    async def answer_failure(self, request: RequestHead, message: str) -> bool:
        """Say that the host did not do its part."""
        return await self._answer(502, f"upstream failure: {message}", request=request)


class _Stale(Exception):
    """A connection that was kept was closed by the host before it took the request."""


class _Exchange:
    """One request and its response, with their bodies."""

    def __init__(self, client: Peer, way: Way, order: _Order, limits: Limits, *, again: bool = False) -> None:
        self._client, self._way, self._order, self._limits = client, way, order, limits
        self._request = order.request
        self._again = again and order.request.framing == "none" and order.request.method in _SAFE_METHODS
        self._sent = order.request.framing == "none"
        self._answered = False
        self._left = False
        self._malformed: Malformed | None = None
        self._switched = False

    async def run(self, session: HttpSession) -> bool:
        """Whether the client's connection can carry another request. Raises Malformed, Gone, and _Stale."""
        keep: bool | None = None
        failure: Malformed | Gone | Unreachable | None = None
        async with anyio.create_task_group() as group:
            activity = Activity(group.cancel_scope, self._limits.idle_seconds)
            with suppress(Gone):  # its response may be there all the same
                await self._way.peer.send(self._head())
            group.start_soon(self._send_body, activity, group.cancel_scope)
            try:
                keep = await self._relay(activity.touch)
            except (Malformed, Gone, Unreachable) as error:
                failure = error
            group.cancel_scope.cancel()
        if self._switched:
            await tunnel(self._client, self._way.peer, self._limits.idle_seconds)
            return False
        if self._malformed is not None and not self._answered:
            raise self._malformed
        if keep is None:
            is_heard = not self._left and self._malformed is None
            return is_heard and await self._fail(session, failure)
        if not keep:
            await session.linger()
        return keep

    async def _fail(self, session: HttpSession, failure: Malformed | Gone | Unreachable | None) -> bool:
        """Say what the host did; without a failure, nothing has moved for too long."""
        if self._answered:
            return False
        if self._again and isinstance(failure, Gone):
            raise _Stale
        session.forget_way()
        host = self._order.attempt.host
        if failure is None:
            message = f"{host} did not answer in time."
        elif isinstance(failure, Unreachable):
            message = str(failure)
        elif isinstance(failure, Malformed):
            message = f"{host} gave no proper answer."
        else:
            message = f"{host} closed the connection without an answer."
        return await session.answer_failure(self._request, message) and self._sent

    def _head(self) -> bytes:
        request, order, via = self._request, self._order, self._way.via
        fields = [(b"Host", order.authority.encode())]
        fields += [(name, value) for name, value in end_to_end(request.fields) if name.lower() not in _OURS]
        if request.framing == "chunked":
            fields.append((b"Transfer-Encoding", b"chunked"))
        if request.upgrade is not None and request.upgrade.lower() in _UPGRADES:
            fields += [(b"Connection", b"Upgrade"), (b"Upgrade", request.upgrade)]
        target = order.target
        if via is not None:
            target = f"http://{order.authority}{'' if target == '*' else target}"
            if via.authorization is not None:
                fields.append((b"Proxy-Authorization", via.authorization))
        return write_head(f"{request.method} {target} HTTP/1.1", fields)

    async def _send_body(self, activity: Activity, exchange: anyio.CancelScope) -> None:
        """Send the request's body, and then see whether the client stays for the response.

        One that has ended its side may still read, so what it is sent goes on, but nothing is waited for any more.
        """
        touch = activity.touch
        try:
            if self._request.framing == "length":
                await self._client.pump(self._way.peer, touch, self._request.length)
            elif self._request.framing == "chunked":
                await copy_chunked(self._client, self._way.peer, touch)
            self._sent = True
        except Unsent:
            return  # the response will say why it is not taken
        except Gone:
            self._left = True
        except Malformed as error:
            self._malformed = error
        else:
            await self._client.hung_up()
            self._left = True
            activity.limit(self._limits.half_closed_seconds)
            return
        exchange.cancel()

    async def _relay(self, touch: Callable[[], None]) -> bool:
        response = await self._read_response(touch)
        if response.status == 101:
            self._switched = True
            return False
        old = self._request.version == "1.0"
        fields = end_to_end(response.fields)
        framed = response.framing == "chunked" and not old
        if framed:
            fields.append((b"Transfer-Encoding", b"chunked"))
        keep = (
            self._sent
            and self._request.keeps_alive
            and response.framing != "close"
            and not (old and response.framing == "chunked")
        )
        if not keep:
            fields.append((b"Connection", b"close"))
        elif old:
            fields.append((b"Connection", b"keep-alive"))
        head = write_head(b"HTTP/1.1 %d %b" % (response.status, response.reason), fields)
        self._answered = True
        server = self._way.peer
        match response.framing:
            case "chunked":
                await copy_chunked(server, self._client, touch, framed=framed, prefix=head)
            case "length":
                first = server.at_most(response.length)
                await self._client.send(head + first)
                await server.pump(self._client, touch, response.length - len(first))
            case "close":
                await self._client.send(head)
                await server.pump(self._client, touch)
            case "none":
                await self._client.send(head)
        if not self._reusable(response):
            self._way.link.close()
        return keep

    def _reusable(self, response: ResponseHead) -> bool:
        return (
            self._sent
            and response.version == "1.1"
            and response.framing != "close"
            and b"close" not in connection_words(response.fields)
            and not self._way.peer.unread
        )

    async def _read_response(self, touch: Callable[[], None]) -> ResponseHead:
        """The final response, or the one that switches protocols; those before it are passed on."""
        while True:
            head = await self._way.peer.head(HEAD_LIMIT, strict=False)
            if head is None:
                raise Gone
            touch()
            response = parse_response(head, self._request.method)
            if (via := self._way.via) is not None and response.status == 407:
                # Our own client would look for another credential for us.
                raise Unreachable(f"The upstream proxy {via.host} does not take the credential in its variable.")
            if response.status >= 200:
                return response
            fields = end_to_end(response.fields)
            if response.status == 101:
                if self._request.upgrade is None or self._request.upgrade.lower() not in _UPGRADES:
                    raise Malformed("The host switched to a protocol that it was not asked for.")
                fields += [(b"Connection", b"Upgrade"), (b"Upgrade", self._request.upgrade)]
            if self._request.version == "1.1":
                self._answered = self._answered or response.status == 101
                await self._client.send(write_head(b"HTTP/1.1 %d %b" % (response.status, response.reason), fields))
            if response.status == 101:
                return response


_TLS_HANDSHAKE = 0x16
"""The first byte of TLS."""

_OURS = frozenset({b"host", b"x-unix-socket"})


async def serve_intercepted(
    client: Peer,
    passage: Passage,
    interception: Interception,
    attempt: Attempt,
    cleared: Judgement,
    limits: Limits,
) -> None:
    """Speak TLS with a program in the name of the host it wants to reach, and judge what it asks for there.

    What is no TLS cannot be judged, and is refused.
    """
    try:
        with anyio.fail_after(limits.head_seconds):
            if (first := await client.first_byte()) != _TLS_HANDSHAKE:
                if first is not None:
                    passage.refuse(attempt, Judgement("deny", "mode_guard", "mitm_required"))
                return
            stream = await interception.accept(Resumed(client), attempt.host)
    except (TimeoutError, Unreachable):
        return
    origin = Origin(attempt.protocol, attempt.host, attempt.port, interception, cleared)
    await HttpSession(Peer(stream), lambda _: passage, limits, origin).run()
    with anyio.move_on_after(limits.linger_seconds):
        await stream.aclose()


def _read_intercepted(request: RequestHead, origin: Origin) -> _Order:
    authority = _authority(origin.host, origin.port, 443)
    target = request.target
    named = request.values(b"host")
    if "://" in target:
        url = parse_url(target)
        named.append(_authority(url.host, url.port or 443, 443).encode())
        target = url.target or "/"
    elif not target.startswith("/") and not (target == "*" and request.method == "OPTIONS"):
        raise Malformed("The target of the request must be a path.")
    for name in named:
        host, port = parse_authority(name.decode("latin-1"), "The Host field")
        if (_normalised(host), port or 443) != (origin.host, origin.port):
            raise Malformed(f"The connection was made to {authority}, and the request is for another host.", 421)
    return _Order(request, Attempt(origin.protocol, origin.host, origin.port, request.method), authority, target)


def _normalised(host: str) -> str:
    try:
        return normalised_host(host)
    except ValueError as error:
        raise Malformed(f"The host cannot be used: {error}.") from error


def _authority(host: str, port: int, usual: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"
