"""Whatever bytes come, and however they are split: the proxy lives on, and dials only what was judged."""

import logging
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import ByteStream, SocketStream
from hypothesis import given, settings
from hypothesis import strategies as st

from app_server.network.messages import copy_chunked, parse_request
from app_server.network.refusals import Malformed
from app_server.network.streams import Gone, Peer
from tests.unit.network.proxy_bench import Bench, bench, read_all, serving

HOST = "allowed.test"

PIECES = [
    b"GET ",
    b"POST ",
    b"CONNECT ",
    b"http://allowed.test:PORT/",
    b"http://other.test/",
    b"http://allowed.test@other.test/",
    b"allowed.test:PORT",
    b"other.test:443",
    b"/path",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b" ",
    b"\t",
    b"\x00",
    b"Host: allowed.test",
    b"Host: other.test",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length : 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Expect: 100-continue",
    b"AUTH",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"\x05\x01\x00",
    b"\x05\x01\x02",
    b"\x05\x01\x00\x03\x0callowed.test",
    b"\x05\x01\x00\x03\x0aother.test\x01\xbb",
    b"\x05\x01\x00\x01\x7f\x00\x00\x01",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"\x16\x03\x01",
    b"GET http://allowed.test:PORT/ HTTP/1.1\r\nHost: x\r\nAUTH\r\n\r\n",
    b"POST http://allowed.test:PORT/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nAUTH\r\n\r\nhello",
    b"POST http://allowed.test:PORT/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAUTH\r\n\r\n",
    b"CONNECT allowed.test:PORT HTTP/1.1\r\nHost: x\r\nAUTH\r\n\r\n",
]

noise = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=12).map(b"".join)
cuts = st.lists(st.integers(1, 40), max_size=30)


class Server:
    """Answers whatever it reads; keeps all of it."""

    def __init__(self) -> None:
        self.read = b""

    async def __call__(self, stream: ByteStream) -> None:
        while True:
            self.read += await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def pieces(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    for length in lengths:
        yield data[:length]
        data = data[length:]
    yield data


async def talk(stream: SocketStream, data: bytes, lengths: list[int]) -> bytes:
    """Send in pieces, say that this was all, and read what comes back."""
    try:
        for piece in pieces(data, lengths):
            await stream.send(piece)
            await anyio.lowlevel.checkpoint()
        await stream.send_eof()
    except (anyio.BrokenResourceError, OSError):
        pass
    return await read_all(stream)


async def converse(proxy: Bench, port: int, data: bytes, lengths: list[int]) -> bytes:
    """One connection of the command."""
    filled = data.replace(b"PORT", str(port).encode()).replace(b"AUTH", proxy.authorization[:-2])
    async with await proxy.connect() as stream:
        return await talk(stream, filled, lengths)


class Errors(logging.Handler):
    """What a boundary had to catch is a mistake of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@settings(max_examples=150)
@given(st.lists(st.tuples(noise, cuts), min_size=1, max_size=3))
def test_noise_is_survived_and_reaches_nobody_who_was_not_judged(talks: list[tuple[bytes, list[int]]]) -> None:
    async def scenario() -> None:
        server = Server()
        with tempfile.TemporaryDirectory() as folder:
            async with serving(server) as port, bench(Path(folder), HOST) as proxy:
                for data, lengths in talks:
                    await converse(proxy, port, data, lengths)
                get = f"GET http://{HOST}:{port}/after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
                assert (await proxy.ask(get + proxy.authorization + b"\r\n")).endswith(b"ok")
                assert b"GET /after HTTP/1.1\r\n" in server.read
        assert set(proxy.names.looked_up) <= {HOST}
        if {protocol for protocol, _, _ in proxy.decided} == {"http"}:  # nobody knows what is in a tunnel
            assert proxy.authorization.split()[2] not in server.read

    errors = Errors()
    logging.getLogger("app_server").addHandler(errors)
    try:
        anyio.run(scenario)
    finally:
        logging.getLogger("app_server").removeHandler(errors)
    assert [record.getMessage() for record in errors.records] == []


WHOLE = (
    b"POST http://allowed.test:PORT/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAUTH\r\n\r\n"
    b"5;x=1\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    b"GET http://denied.test/ HTTP/1.1\r\nHost: x\r\nAUTH\r\n\r\n"
    b"PUT http://allowed.test:PORT/b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\nAUTH\r\n\r\nabc"
)


async def test_a_conversation_is_the_same_wherever_it_is_split(tmp_path: Path) -> None:
    expected: list[tuple[bytes, bytes, list[tuple[str, str, str | None]]]] = []
    for length in range(len(WHOLE) + 3 * 120):
        read: list[bytes] = []

        async def answer(stream: ByteStream, read: list[bytes] = read) -> None:
            for end in (b"0\r\nX-Sum: 1\r\n\r\n", b"abc"):
                data = b""
                while not data.endswith(end):
                    data += await stream.receive()
                read.append(data)
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with serving(answer) as port, bench(tmp_path, HOST, rules={"denied.test": "deny"}) as proxy:
            got = await converse(proxy, port, WHOLE, [length] if length else [])
        # Where chunks end depends on what has come so far, and means nothing.
        masked = re.sub(rb"\r\n[0-5]\r\n", b"|", b"".join(read).replace(str(port).encode(), b"PORT"))
        masked = re.sub(rb"(?<=[hel])\|(?=[elo])", b"", masked)
        expected.append((got, masked, proxy.decided))
    assert [one for one in expected if one != expected[0]] == []
    assert expected[0][0].count(b"HTTP/1.1 ") == 3
    assert expected[0][2] == [("http", "allow", None), ("http", "deny", "denied"), ("http", "allow", None)]


class Pieces(ByteStream):
    """A stream of bytes that come as they were cut; what is sent is kept."""

    def __init__(self, data: bytes, lengths: list[int]) -> None:
        self._pieces = [piece for piece in pieces(data, lengths) if piece]
        self.sent = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)

    async def send(self, item: bytes) -> None:
        self.sent += item

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def read_plain_chunks(data: bytes) -> bytes:
    """The body of chunks that have a size and nothing beside it, and no trailers."""
    body, at = b"", 0
    while (size := re.compile(rb"([0-9a-fA-F]+)\r\n").match(data, at)) is not None:
        at = size.end() + int(size[1], 16)
        body += data[size.end() : at]
        assert data[at : at + 2] == b"\r\n"
        at += 2
    assert at == len(data)
    return body


sizes_as_written = st.sampled_from([b"%x", b"%X", b"0%x", b"%x;name=value", b"%x ;n"])


@given(
    st.binary(max_size=200), st.lists(st.integers(1, 60), max_size=10), st.lists(sizes_as_written, max_size=10), cuts
)
def test_a_chunked_body_keeps_its_bytes_however_it_is_cut(
    body: bytes, sizes: list[int], written: list[bytes], lengths: list[int]
) -> None:
    chunks = [piece for piece in pieces(body, sizes) if piece]
    heads = [*written, *[b"%x"] * len(chunks)][: len(chunks)]
    framed = b"".join(b"%b\r\n%b\r\n" % (head % len(chunk), chunk) for head, chunk in zip(heads, chunks, strict=True))

    async def copied(*, framed_anew: bool) -> bytes:
        source, sink = Peer(Pieces(framed + b"0\r\n\r\nnext", lengths)), Pieces(b"", [])
        await copy_chunked(source, Peer(sink), lambda: None, framed=framed_anew)
        assert await source.exactly(4) == b"next"
        return sink.sent

    assert anyio.run(partial(copied, framed_anew=False)) == body
    assert read_plain_chunks(anyio.run(partial(copied, framed_anew=True))) == body


@given(noise, cuts)
def test_a_body_of_noise_is_malformed_or_incomplete_or_read(data: bytes, lengths: list[int]) -> None:
    async def scenario() -> None:
        try:
            await copy_chunked(Peer(Pieces(data, lengths)), Peer(Pieces(b"", [])), lambda: None)
        except (Malformed, Gone):
            pass

    anyio.run(scenario)


@given(noise)
def test_a_head_is_malformed_or_has_one_meaning(data: bytes) -> None:
    head = data.replace(b"AUTH", b"Proxy-Authorization: Basic eDp5") + b"\r\n\r\n"
    try:
        request = parse_request(head)
    except Malformed:
        return
    assert request.framing in {"none", "length", "chunked"}
    assert not any(byte in value for _, value in request.fields for byte in (b"\r", b"\n", b"\x00"))
    assert len(request.values(b"content-length")) + len(request.values(b"transfer-encoding")) <= 1
