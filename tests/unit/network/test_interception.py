"""Limited mode looks into TLS: what is asked for there is judged like anything else, and only then asked for."""

import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

from app_server.network.encryption import Encrypted
from app_server.network.policy import ALLOWED
from tests.unit.network.proxy_bench import LOCAL, Origin, bench, exactly, read_all, read_head, serving
from tests.unit.network.tls_bench import (
    HOST,
    TestAuthority,
    connected,
    limited,
    read_answer,
    request,
    run,
    serving_tls,
    trusting,
    tunnelled,
)

MEGABYTE = 1024 * 1024


@pytest.fixture(name="authority")
def make_authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


async def test_each_request_of_a_connection_is_judged(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        async with tunnelled(proxy, HOST, port) as stream:
            for method in ("GET", "OPTIONS"):
                await stream.send(request(method, f"{HOST}:{port}"))
                assert await read_answer(stream) == (200, {"content-length": "2"}, b"ok")
            await stream.send(request("POST", f"{HOST}:{port}", "Content-Length: 0"))
            status, fields, body = await read_answer(stream)
        assert (status, fields["x-proxy-error"]) == (403, "blocked-by-method-policy")
        assert orjson.loads(body) == {
            "status": "blocked",
            "host": HOST,
            "reason": "method_not_allowed",
            "decision": "deny",
            "source": "mode_guard",
            "protocol": "https_connect",
            "port": port,
            "message": f'Network access to "{HOST}" was blocked: '
            "request method is blocked by the current network mode.",
        }
        assert [one.partition(b" ")[0] for one in origin.requests] == [b"GET", b"OPTIONS"]
        assert origin.connections == 1
        decided = [(one.attempt.method, one.judgement.decision) for one in reversed(proxy.decisions.newest())]
        assert decided == [(None, "allow"), ("GET", "allow"), ("OPTIONS", "allow"), ("POST", "deny")]
        assert [attempt.method for attempt, _ in proxy.keeper.refused] == ["POST"]


async def test_a_host_that_is_denied_meanwhile_is_denied_within_an_open_connection(
    tmp_path: Path, authority: TestAuthority
) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        async with tunnelled(proxy, HOST, port) as stream:
            await stream.send(request("GET", f"{HOST}:{port}"))
            assert (await read_answer(stream))[0] == 200
            proxy.rule({HOST: "deny"})
            await stream.send(request("GET", f"{HOST}:{port}"))
            status, fields, _ = await read_answer(stream)
        assert (status, fields["x-proxy-error"]) == (403, "blocked-by-denylist")
        assert len(origin.requests) == 1


async def test_one_answer_lets_a_whole_connection_through(tmp_path: Path, authority: TestAuthority) -> None:
    async with (
        serving_tls(Origin(), authority.context(HOST)) as port,
        limited(tmp_path, authority, "other.test", names={HOST: [LOCAL]}) as proxy,
    ):
        proxy.keeper.answer = ALLOWED
        async with tunnelled(proxy, HOST, port) as stream:
            for _ in range(2):
                await stream.send(request("GET", f"{HOST}:{port}"))
                assert (await read_answer(stream))[0] == 200
        assert len(proxy.keeper.asked) == 1


@pytest.mark.parametrize(
    ("named", "target"),
    [
        ("other.test", "/"),
        ("files.test:1", "/"),
        ("files.test", "https://other.test/"),
        ("files.test", "http://files.test/"),
        ("files.test@other.test", "/"),
    ],
)
async def test_a_request_for_another_host_than_that_of_the_tunnel_is_refused(
    tmp_path: Path, authority: TestAuthority, named: str, target: str
) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        host = f"{HOST}:{port}" if named == HOST else named
        async with tunnelled(proxy, HOST, port) as stream:
            await stream.send(request("GET", host, target=target))
            status, _, _ = await read_answer(stream)
        assert status in {400, 421}
        assert origin.connections == 0


async def test_the_host_of_the_tunnel_may_be_written_in_any_way(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        async with tunnelled(proxy, HOST, port) as stream:
            await stream.send(request("GET", f"FILES.Test.:{port}", target=f"https://files.test:{port}/a?b"))
            assert (await read_answer(stream))[0] == 200
        assert origin.requests == [f"GET /a?b HTTP/1.1\r\nHost: files.test:{port}\r\n\r\n".encode()]


@pytest.mark.parametrize(
    ("hosts", "days", "signer", "reason"),
    [
        ((HOST,), -1, "trusted", "certificate has expired"),
        (("other.test",), 30, "trusted", "Hostname mismatch"),
        ((HOST,), 30, "unknown", "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_in_order_is_told_and_nothing_is_sent_there(
    tmp_path: Path, authority: TestAuthority, hosts: tuple[str, ...], days: int, signer: str, reason: str
) -> None:
    origin = Origin()
    signed_by = authority if signer == "trusted" else TestAuthority(tmp_path, "unknown")
    async with (
        serving_tls(origin, signed_by.context(*hosts, days=days)) as port,
        limited(tmp_path, authority) as proxy,
    ):
        done = await run(proxy, "curl", "-sS", "-w", "%{http_code}", f"https://{HOST}:{port}/")
    assert done.returncode == 0
    text, status = done.stdout[:-3].decode(), done.stdout[-3:]
    assert status == b"502"
    assert text.startswith(f"upstream failure: the certificate of {HOST} was not accepted: {reason}")
    assert "SSL_CERT_FILE" in text
    assert origin.requests == []


async def test_a_host_that_speaks_no_tls_is_told_of(tmp_path: Path, authority: TestAuthority) -> None:
    async def hang_up(stream: ByteStream) -> None:
        await stream.receive()

    async def speak_plainly(stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.receive()

    for handle, reason in ((hang_up, "the connection was closed"), (speak_plainly, "wrong version number")):
        async with (
            serving(handle) as port,
            limited(tmp_path, authority) as proxy,
            tunnelled(proxy, HOST, port) as stream,
        ):
            await stream.send(request("GET", f"{HOST}:{port}"))
            status, _, body = await read_answer(stream)
        assert (status, body) == (502, f"upstream failure: TLS with {HOST} failed: {reason}.\n".encode())


async def test_a_host_that_only_knows_old_tls_is_not_met_halfway(tmp_path: Path, authority: TestAuthority) -> None:
    context = authority.context(HOST)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    origin = Origin()
    async with (
        serving_tls(origin, context) as port,
        limited(tmp_path, authority) as proxy,
        tunnelled(proxy, HOST, port) as stream,
    ):
        await stream.send(request("GET", f"{HOST}:{port}"))
        assert (await read_answer(stream))[0] == 502
    assert origin.requests == []


async def test_a_program_that_does_not_trust_the_proxy_fails_by_itself_only(
    tmp_path: Path, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app_server.network.interception")
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        url = f"https://{HOST}:{port}/"
        failed = await run(proxy, "curl", "-sS", "--cacert", str(authority.file), url)
        done = await run(proxy, "curl", "-sS", url)
    assert failed.returncode == 60
    assert done.stdout == b"ok"
    assert len(origin.requests) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"a program did not begin TLS with the network proxy in the place of {HOST}: tlsv1 alert unknown ca"
    ]


async def test_what_is_no_tls_is_refused_within_a_tunnel(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with serving(origin) as port, limited(tmp_path, authority) as proxy:
        async with await connected(proxy, HOST, port) as stream:
            await stream.send(f"GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
            assert await read_all(stream) == b""
        assert proxy.decided[-1] == ("https_connect", "deny", "mitm_required")
        assert [judgement.source for _, judgement in proxy.keeper.refused] == ["mode_guard"]
    assert origin.connections == 0


async def test_a_tunnel_that_stays_silent_is_nobodys_fault(tmp_path: Path, authority: TestAuthority) -> None:
    async with limited(tmp_path, authority) as proxy:
        async with await connected(proxy, HOST, 443) as stream:
            await stream.send_eof()
            assert await read_all(stream) == b""
        assert proxy.keeper.refused == []


async def test_only_http_1_is_spoken(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        async with tunnelled(proxy, HOST, port, trusting(proxy, "h2", "http/1.1")) as stream:
            assert stream.extra(TLSAttribute.alpn_protocol) == "http/1.1"
        async with tunnelled(proxy, HOST, port, trusting(proxy, "h2")) as stream:
            assert stream.extra(TLSAttribute.alpn_protocol) is None
            await stream.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (await read_answer(stream))[0] in {400, 505}
    assert origin.connections == 0


async def test_a_connection_cannot_be_switched_to_websockets(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    async with serving_tls(origin, authority.context(HOST)) as port, limited(tmp_path, authority) as proxy:
        async with tunnelled(proxy, HOST, port) as stream:
            fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
            await stream.send(request("GET", f"{HOST}:{port}", *fields))
            status, answer, _ = await read_answer(stream)
        assert (status, answer["x-proxy-error"]) == (403, "blocked-by-method-policy")
    assert origin.requests == []


async def test_smuggled_requests_are_refused(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with (
        serving_tls(origin, authority.context(HOST)) as port,
        limited(tmp_path, authority) as proxy,
        tunnelled(proxy, HOST, port) as stream,
    ):
        inner = request("DELETE", f"{HOST}:{port}")
        fields = (f"Content-Length: {len(inner) + 5}", "Transfer-Encoding: chunked")
        await stream.send(request("GET", f"{HOST}:{port}", *fields, body=b"0\r\n\r\n" + inner))
        status, _, _ = await read_answer(stream)
        assert status == 400
        assert await read_all(stream) == b""
    assert origin.requests == []


async def test_an_address_has_a_certificate_too(tmp_path: Path, authority: TestAuthority) -> None:
    origin = Origin()
    async with serving_tls(origin, authority.context(LOCAL)) as port, limited(tmp_path, authority, LOCAL) as proxy:
        done = await run(proxy, "curl", "-sS", f"https://{LOCAL}:{port}/")
    assert (done.stdout, done.stderr) == (b"ok", b"")


async def test_a_body_goes_both_ways_at_once(tmp_path: Path, authority: TestAuthority) -> None:
    async def echo(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
        for _ in range(128):
            await stream.send(await exactly(stream, 65536))

    async with (
        serving_tls(echo, authority.context(HOST)) as port,
        limited(tmp_path, authority) as proxy,
        tunnelled(proxy, HOST, port) as stream,
        anyio.create_task_group() as group,
    ):
        sent = bytes(range(256)) * 32768

        async def send() -> None:
            await stream.send(request("OPTIONS", f"{HOST}:{port}", f"Content-Length: {len(sent)}"))
            for start in range(0, len(sent), 100_000):
                await stream.send(sent[start : start + 100_000])

        group.start_soon(send)
        status, _, body = await read_answer(stream)
        assert (status, body == sent) == (200, True)


async def test_a_download_waits_for_the_program(tmp_path: Path, authority: TestAuthority) -> None:
    sent = 0

    async def send(stream: ByteStream) -> None:
        nonlocal sent
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (128 * MEGABYTE))
        for _ in range(128):
            await stream.send(bytes(MEGABYTE))
            sent += 1

    async with (
        serving_tls(send, authority.context(HOST)) as port,
        limited(tmp_path, authority) as proxy,
        tunnelled(proxy, HOST, port) as stream,
    ):
        await stream.send(request("GET", f"{HOST}:{port}"))
        await read_head(stream)
        before = -1
        while before != sent:
            before = sent
            for _ in range(100):
                await anyio.wait_all_tasks_blocked()
        assert sent <= 32
        left = 128 * MEGABYTE
        while left:
            left -= len(await stream.receive(MEGABYTE))
    assert sent == 128


async def test_a_good_bye_is_answered(tmp_path: Path, authority: TestAuthority) -> None:
    async with (
        serving_tls(Origin(), authority.context(HOST)) as port,
        limited(tmp_path, authority) as proxy,
        tunnelled(proxy, HOST, port) as stream,
    ):
        await stream.send(request("GET", f"{HOST}:{port}"))
        assert (await read_answer(stream))[2] == b"ok"
        _, rest = await stream.unwrap()
        assert rest == b""


async def test_a_program_that_says_good_bye_after_its_request_is_answered(
    tmp_path: Path, authority: TestAuthority
) -> None:
    asked, answer = anyio.Event(), anyio.Event()

    async def answer_late(stream: ByteStream) -> None:
        await read_head(stream)
        asked.set()
        await answer.wait()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with (
        serving_tls(answer_late, authority.context(HOST)) as port,
        limited(tmp_path, authority) as proxy,
        await connected(proxy, HOST, port) as below,
    ):
        client = Encrypted(below, trusting(proxy), hostname=HOST)
        await client.shake_hands()
        await client.send(request("GET", f"{HOST}:{port}"))
        await asked.wait()
        await client.send_eof()
        await anyio.wait_all_tasks_blocked()
        answer.set()
        assert (await read_answer(client))[2] == b"ok"


async def read_to(stream: ByteStream, end: type[Exception]) -> bytes:
    """What comes until the stream ends this way."""
    data = b""
    try:
        while True:
            data += await stream.receive()
    except end:
        return data


async def test_what_is_cut_off_is_cut_off_for_the_program_too(tmp_path: Path, authority: TestAuthority) -> None:
    """Without TLS's good-bye nobody knows whether a body that ends with its connection is whole."""

    async def cut(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
        assert isinstance(stream, TLSStream)
        await stream.transport_stream.aclose()

    async def end(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        assert isinstance(stream, TLSStream)
        await stream.unwrap()

    for handle, expected in ((cut, anyio.BrokenResourceError), (end, anyio.EndOfStream)):
        async with (
            serving_tls(handle, authority.context(HOST)) as port,
            limited(tmp_path, authority) as proxy,
            tunnelled(proxy, HOST, port) as stream,
        ):
            await stream.send(request("GET", f"{HOST}:{port}"))
            await read_head(stream)
            assert (await read_to(stream, expected)).endswith(b" of it")


@asynccontextmanager
async def upstream(port: int) -> AsyncGenerator[dict[str, str]]:
    """The proxy of a company, whose tunnels all lead to one port; the value is the environment that names it."""

    async def serve(stream: ByteStream) -> None:
        assert (await read_head(stream)).startswith(f"CONNECT {HOST}:443 ".encode())
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        async with await anyio.connect_tcp(LOCAL, port) as server, anyio.create_task_group() as group:

            async def pass_on(source: ByteStream, sink: ByteStream) -> None:
                async for data in source:
                    await sink.send(data)
                group.cancel_scope.cancel()

            group.start_soon(pass_on, stream, server)
            group.start_soon(pass_on, server, stream)

    async with serving(serve) as own:
        yield {"HTTPS_PROXY": f"http://{LOCAL}:{own}"}


async def test_tls_is_judged_also_behind_socks_and_before_the_companys_proxy(
    tmp_path: Path, authority: TestAuthority
) -> None:
    origin = Origin()
    async with (
        serving_tls(origin, authority.context(HOST)) as port,
        upstream(port) as environ,
        limited(tmp_path, authority, environ=environ) as proxy,
    ):
        assert proxy.environment["ALL_PROXY"] == proxy.environment["HTTPS_PROXY"]  # which leads to any port
        socks = proxy.environment["HTTPS_PROXY"].replace("http://", "socks5h://")
        done = await run(proxy, "curl", "-sS", "--proxy", socks, f"https://{HOST}/")
        refused = await run(proxy, "curl", "-sS", "-i", "--proxy", socks, "-d", "x", f"https://{HOST}/")
        assert (done.stdout, done.stderr) == (b"ok", b"")
        assert b"x-proxy-error: blocked-by-method-policy" in refused.stdout
        assert proxy.decided[-1] == ("socks5_tcp", "deny", "method_not_allowed")
    assert len(origin.requests) == 1


async def test_authorities_of_the_commands_own_environment_count(tmp_path: Path, authority: TestAuthority) -> None:
    company = TestAuthority(tmp_path, "of the company")
    async with (
        serving_tls(Origin(), company.context(HOST)) as port,
        limited(tmp_path, authority, base={"REQUESTS_CA_BUNDLE": str(company.file)}) as proxy,
    ):
        done = await run(proxy, "curl", "-sS", f"https://{HOST}:{port}/")
        bundle = await anyio.Path(proxy.environment["REQUESTS_CA_BUNDLE"]).read_text()
    assert (done.stdout, done.stderr, company.pem in bundle) == (b"ok", b"", True)


async def test_full_mode_leaves_tls_alone(tmp_path: Path, authority: TestAuthority) -> None:
    async with serving_tls(Origin(), authority.context(HOST)) as port, bench(tmp_path, HOST) as proxy:
        assert [name for name in proxy.environment if "CERT" in name or "_CA" in name] == []
        url = f"https://{HOST}:{port}/"
        done = await run(proxy, "curl", "-sS", "--cacert", str(authority.file), "-d", "x", url)
        assert (done.stdout, done.stderr) == (b"ok", b"")
        assert not (tmp_path / "bundles").exists()
