"""Plain HTTP through the proxy: what is forwarded, what is refused, and what the answers say."""

from pathlib import Path

import orjson
from anyio.abc import ByteStream

from tests.unit.network.proxy_bench import Origin, bench, exactly, read_all, read_head, serving


async def test_a_request_for_an_allowed_host_is_forwarded_in_origin_form(tmp_path: Path) -> None:
    origin = Origin()
    async with serving(origin) as port, bench(tmp_path, "here.test") as proxy:
        answer = await proxy.ask(
            f"GET http://HERE.test.:{port}/a?b=c HTTP/1.1\r\nHost: other.test\r\nX-Kept: yes\r\n"
            f"Connection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\n".encode()
            + proxy.authorization
            + b"\r\n"
        )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    assert origin.requests == [f"GET /a?b=c HTTP/1.1\r\nHost: here.test:{port}\r\nX-Kept: yes\r\n\r\n".encode()]
    assert proxy.decided == [("http", "allow", None)]


async def test_a_denied_host_is_answered_with_the_reason_and_nothing_is_dialled(tmp_path: Path) -> None:
    async with bench(tmp_path, rules={"bad.test": "deny"}) as proxy:
        answer = await proxy.ask(
            b"GET http://bad.test/secret HTTP/1.1\r\nHost: bad.test\r\nConnection: close\r\n"
            + proxy.authorization
            + b"\r\n"
        )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\nx-proxy-error: blocked-by-denylist\r\n")
    assert orjson.loads(body) == {
        "status": "blocked",
        "host": "bad.test",
        "reason": "denied",
        "decision": "deny",
        "source": "baseline_policy",
        "protocol": "http",
        "port": 80,
        "message": 'Network access to "bad.test" was blocked: domain is explicitly denied by policy and cannot be '
        "approved from this prompt.",
    }
    assert proxy.names.looked_up == []
    assert [attempt.host for attempt, _ in proxy.keeper.refused] == ["bad.test"]


async def test_without_the_credential_the_shared_port_does_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test") as proxy:
        answer = await proxy.ask(b"GET http://here.test/ HTTP/1.1\r\nHost: here.test\r\n\r\n")
    assert answer.startswith(
        b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="turnloom"\r\n'
    )
    assert proxy.names.looked_up == []
    assert proxy.decided == []


async def test_a_tunnel_carries_bytes_both_ways_and_ends_each_way_by_itself(tmp_path: Path) -> None:
    async def answer_at_the_end(stream: ByteStream) -> None:
        data = await read_all(stream)
        await stream.send(data[::-1])

    async with serving(answer_at_the_end) as port, bench(tmp_path, "here.test") as proxy:
        async with await proxy.connect() as stream:
            head = f"CONNECT here.test:{port} HTTP/1.1\r\nHost: here.test:{port}\r\n".encode()
            await stream.send(head + proxy.authorization + b"\r\nearly")
            assert await read_head(stream) == b"HTTP/1.1 200 Connection established\r\n\r\n"
            await stream.send(b" bird")
            await stream.send_eof()
            assert await exactly(stream, 10) == b"drib ylrae"
            assert await read_all(stream) == b""
    assert proxy.decided == [("https_connect", "allow", None)]
