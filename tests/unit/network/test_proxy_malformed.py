"""Requests that two readers could take differently are refused, and nothing of them goes on."""

from pathlib import Path

import pytest

from tests.unit.network.proxy_bench import Origin, bench, serving

MALFORMED = {
    "both lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
    "a list of lengths": b"Content-Length: 4, 5\r\n\r\nbody!",
    "a signed length": b"Content-Length: +4\r\n\r\nbody",
    "a hexadecimal length": b"Content-Length: 0x4\r\n\r\nbody",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding with a tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a bare LF": b"X: 1\nY: 2\r\n\r\n",
    "a bare LF at the end": b"X: 1\r\n\n",
    "a bare CR": b"X: 1\rY: 2\r\n\r\n",
    "a folded line": b"X: 1\r\n 2\r\n\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no colon": b"Transfer-Encoding\r\n\r\n",
    "an empty name": b": x\r\n\r\n",
    "a NUL": b"X: a\x00b\r\n\r\n",
    "two hosts": b"Host: evil.test\r\n\r\n",
}

BAD_CHUNKS = {
    "no number": b"x\r\n",
    "a sign": b"+4\r\nbody\r\n0\r\n\r\n",
    "a prefix": b"0x4\r\nbody\r\n0\r\n\r\n",
    "a bare LF": b"4\nbody\n0\n\n",
    "an overflow": b"fffffffffffffffff\r\n",
    "a longer chunk": b"4\r\nbodybody\r\n0\r\n\r\n",
    "a space in front": b" 4\r\nbody\r\n0\r\n\r\n",
    "a bad trailer": b"0\r\nX : 1\r\n\r\n",
    "a folded trailer": b"0\r\nX: 1\r\n 2\r\n\r\n",
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_head_is_refused_and_the_connection_closed(tmp_path: Path, fields: bytes) -> None:
    origin = Origin()
    async with serving(origin) as port, bench(tmp_path, "one.test") as proxy:
        first = f"POST http://one.test:{port}/ HTTP/1.1\r\nHost: one.test\r\n".encode()
        answer = await proxy.ask(first + proxy.authorization + fields + first + proxy.authorization + b"\r\n")
    assert answer.startswith((b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 501 Not Implemented\r\n"))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert origin.connections == 0


@pytest.mark.parametrize(
    "line",
    [
        b"GET  http://one.test/ HTTP/1.1",
        b"GET http://one.test/ HTTP/1.1 ",
        b" GET http://one.test/ HTTP/1.1",
        b"GET http://one.test/ a HTTP/1.1",
        b"GET http://one.test/",
        b"GET\thttp://one.test/ HTTP/1.1",
        b"G@T http://one.test/ HTTP/1.1",
        b"GET http://one.test/\xff HTTP/1.1",
        b"GET http://one.test/ HTTP/2.0",
        b"GET http://one.test/ HTTP/1.2",
        b"GET http://one.test/ http/1.1",
        b"PRI * HTTP/2.0",
    ],
)
async def test_a_malformed_first_line_is_refused(tmp_path: Path, line: bytes) -> None:
    async with bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(line + b"\r\nHost: one.test\r\n" + proxy.authorization + b"\r\n")
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
        assert proxy.names.looked_up == []


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_a_body_with_bad_chunks_ends_its_connection(tmp_path: Path, body: bytes) -> None:
    origin = Origin(b"")
    async with serving(origin) as port, bench(tmp_path, "one.test") as proxy:
        head = f"POST http://one.test:{port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode()
        smuggled = f"GET http://one.test:{port}/smuggled HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        answer = await proxy.ask(head + proxy.authorization + b"\r\n" + body + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert not any(b"smuggled" in request for request in origin.requests)


async def test_a_head_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(b"GET http://one.test/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 9, b"\xff\xfe\r\n\r\n", b"hello\r\n\r\n", b""]
)
async def test_noise_costs_one_connection(tmp_path: Path, noise: bytes) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "one.test") as proxy:
        async with await proxy.connect() as stream:
            await stream.send(noise)
        get = f"GET http://one.test:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        assert (await proxy.ask(get + proxy.authorization + b"\r\n")).endswith(b"ok")
