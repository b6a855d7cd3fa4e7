"""HTTP/1.1 messages as they cross the proxy: heads are parsed strictly and written anew, and so are chunked bodies."""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Callable, Sequence
from typing import Literal

import h11
from msgspec import Struct

from app_server.network.refusals import Malformed
from app_server.network.streams import CHUNK, Gone, Peer

HEAD_LIMIT = 64 * 1024
"""Bytes of a head, or of all trailers."""
_CHUNK_LINE_LIMIT = 4096

Fields = Sequence[tuple[bytes, bytes]]
"""Names as they were written, and values."""

Framing = Literal["none", "length", "chunked", "close"]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
_NEVER_NAMED = frozenset({b"host", b"content-length", b"content-type", b"authorization", b"cookie", b"set-cookie"})
"""Fields that a `Connection` field cannot take away: others would read the message differently."""
_NOT_IN_TRAILERS = _HOP_BY_HOP | _NEVER_NAMED | {b"trailer", b"expect", b"range", b"cache-control"}

_REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FOLD = re.compile(rb"\n[ \t]+")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]/@\\]+\]|[^:/?#@\[\]\\\s]+)(?::(?P<port>[0-9]{1,5}))?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*((?:[^\x00-\x20\x7f]+(?:[ \t]+[^\x00-\x20\x7f]+)*)?)[ \t]*")


class RequestHead(Struct, frozen=True):
    """A request as its client wrote it. `length` is that of the body where the framing says so."""

    method: str
    target: str
    version: str
    fields: Fields
    framing: Framing
    length: int = 0

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field; `name` is lower case."""
        return [value for field, value in self.fields if field.lower() == name]

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to send another request on this connection."""
        words = connection_words(self.fields)
        return b"close" not in words and (self.version == "1.1" or b"keep-alive" in words)

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client wants to speak from here on."""
        values = self.values(b"upgrade")
        return values[0] if values and b"upgrade" in connection_words(self.fields) else None

    @property
    def credential(self) -> tuple[str, str] | None:
        """User and password for the proxy. Raises Malformed."""
        values = self.values(b"proxy-authorization")
        if not values:
            return None
        scheme, _, rest = values[0].partition(b" ")
        if len(values) > 1 or scheme.lower() != b"basic":
            raise Malformed("The proxy takes one Proxy-Authorization, of the scheme Basic.")
        try:
            user, _, password = b64decode(rest.strip(), validate=True).decode().partition(":")
        except (BadBase64, UnicodeDecodeError) as error:
            raise Malformed("Proxy-Authorization is not the base64 of user:password.") from error
        return user, password


class ResponseHead(Struct, frozen=True):
    """A response as its server wrote it."""

    status: int
    reason: bytes
    version: str
    fields: Fields
    framing: Framing
    length: int = 0


class Url(Struct, frozen=True):
    """An absolute URL, taken apart. `target` is path and query, empty where there is neither."""

    scheme: str
    host: str
    port: int | None
    target: str


def connection_words(fields: Fields) -> set[bytes]:
    """What `Connection` says, and its twin of old for proxies, in lower case."""
    return {
        word.strip().lower()
        for name, value in fields
        if name.lower() in {b"connection", b"proxy-connection"}
        for word in value.split(b",")
    }


def end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The fields that are not only for the next hop."""
    named = connection_words(fields) - _NEVER_NAMED
    return [(name, value) for name, value in fields if name.lower() not in _HOP_BY_HOP and name.lower() not in named]


def parse_request(head: bytes) -> RequestHead:
    """A request's head with its empty line. Raises Malformed for whatever two readers could take differently."""
    first, *lines = head[:-4].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise Malformed("The first line of the request must be METHOD URL HTTP/1.1.")
    method, target, version = match.groups()
    if version not in {b"1.0", b"1.1"}:
        raise Malformed("The proxy speaks HTTP/1.1.", 505)
    try:
        event = h11.Request(method=method, target=target, headers=_split(lines), http_version=version)
    except h11.LocalProtocolError as error:
        raise Malformed("The request is no proper HTTP/1.1.", error.error_status_hint) from error
    lengths, codings = _values(event.headers, b"content-length"), _values(event.headers, b"transfer-encoding")
    if codings and (lengths or version == b"1.0"):
        raise Malformed("A request has either Content-Length or, in HTTP/1.1, Transfer-Encoding.")
    framing: Framing = "chunked" if codings else "length" if lengths else "none"
    fields = event.headers.raw_items()
    length = int(lengths[0]) if lengths else 0
    return RequestHead(method.decode(), target.decode(), version.decode(), fields, framing, length)


def parse_response(head: bytes, asked: str) -> ResponseHead:
    """A response's head, for a request with the method `asked`. Raises Malformed.

    What servers do that is wrong and has one meaning is taken: lines that end with LF, and lines that go on.
    """
    first, *lines = _FOLD.sub(b" ", head.replace(b"\r\n", b"\n")).rstrip(b"\n").split(b"\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise Malformed("The response is no proper HTTP/1.1.")
    version, status, reason = match[1].decode(), int(match[2]), match[3] or b""
    kind = h11.Response if status >= 200 else h11.InformationalResponse
    try:
        event = kind(status_code=status, headers=_split(lines), reason=reason, http_version=version)
    except h11.LocalProtocolError as error:
        raise Malformed("The response is no proper HTTP/1.1.") from error
    lengths, codings = _values(event.headers, b"content-length"), _values(event.headers, b"transfer-encoding")
    if status < 200 or status in {204, 304} or asked == "HEAD":
        framing: Framing = "none"
    else:
        framing = "chunked" if codings else "length" if lengths else "close"
    length = int(lengths[0]) if framing == "length" else 0
    return ResponseHead(status, reason, version, event.headers.raw_items(), framing, length)


def _split(lines: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Names and values, as they are: it is h11 that looks whether they may be so."""
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Malformed("A header field must be NAME: VALUE.")
        fields.append((name, value.strip(b" \t")))
    return fields


def _values(headers: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in headers if field == name]


def write_head(first_line: str | bytes, fields: Fields) -> bytes:
    """The bytes of a head."""
    first = first_line.encode() if isinstance(first_line, str) else first_line
    return b"\r\n".join([first, *(name + b": " + value for name, value in fields), b"", b""])


def parse_authority(text: str, what: str) -> tuple[str, int | None]:
    """Host and port. Raises Malformed, also for a user's name in it: it only ever serves to mislead readers."""
    if "@" in text:
        raise Malformed(f"{what} must not hold a user name.")
    match = _AUTHORITY.fullmatch(text)
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or port == 0 or (port is not None and port > 65535):
        raise Malformed(f"{what} must be a host, and a port from 1 to 65535 after a colon.")
    return match["host"], port


def parse_url(target: str) -> Url:
    """The absolute URL of a request to a proxy. Raises Malformed."""
    scheme, separator, rest = target.partition("://")
    if not separator or not scheme.isalnum():
        raise Malformed(
            "This is a proxy: a request to it names an absolute URL, as in GET http://host/path, or CONNECT."
        )
    if "#" in rest or "\\" in rest:
        raise Malformed("The URL holds a character that it must not hold.")
    end = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
    host, port = parse_authority(rest[:end], "The authority of the URL")
    path = rest[end:]
    return Url(scheme.lower(), host, port, f"/{path}" if path.startswith("?") else path)


async def copy_chunked(
    source: Peer, sink: Peer, touch: Callable[[], None], *, framed: bool = True, prefix: bytes = b""
) -> None:
    """Read a chunked body to its end and write it, in chunks again or bare. Raises Malformed, and Gone.

    `prefix` goes out with the first bytes.
    """
    out = bytearray(prefix)

    async def flush() -> None:
        if out:
            await sink.send(out)
            out.clear()
            touch()

    while True:
        if framed and (whole := source.whole_chunks()):
            if out:
                out += whole
            else:
                await sink.send(whole)
                touch()
        if not source.has_line:
            await flush()
        match = _CHUNK_SIZE.fullmatch(await source.line(_CHUNK_LINE_LIMIT))
        if match is None:
            raise Malformed("A chunk has no proper size.")
        left = int(match[1], 16)
        if left == 0:
            break
        while left:
            if not source.unread:
                await flush()
                if not await source.fill():
                    raise Gone
            data = source.at_most(min(left, CHUNK))
            left -= len(data)
            out += b"%x\r\n%b\r\n" % (len(data), data) if framed else data
            if len(out) >= CHUNK:
                await flush()
        if source.unread < 2:
            await flush()
        if await source.exactly(2) != b"\r\n":
            raise Malformed("A chunk does not end where its size says.")
    trailers = await _read_trailers(source)
    if framed:
        out += b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"
    await flush()


async def _read_trailers(source: Peer) -> Fields:
    trailers: list[tuple[bytes, bytes]] = []
    left = HEAD_LIMIT
    while line := await source.line(left):
        left -= len(line) + 2
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Malformed("A trailer cannot be read.")
        if match[1].lower() not in _NOT_IN_TRAILERS:
            trailers.append((match[1], match[2]))
    return trailers
