"""Plain HTTP through the proxy: what is forwarded, what is refused, and what the answers say."""

from contextlib import suppress
from pathlib import Path

import anyio
import orjson
import pytest
from anyio.abc import ByteStream
from msgspec.structs import replace

from app_server.network.policy import Judgement
from tests.unit.network.proxy_bench import Bench, Origin, bench, exactly, read_all, read_head, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(proxy: Bench, first: str, *fields: str, body: bytes = b"") -> bytes:
    """A request with the credential, to a proxy that is named in it."""
    lines = [first + " HTTP/1.1", "Host: x", *fields]
    return "\r\n".join(lines).encode() + b"\r\n" + proxy.authorization + b"\r\n" + body


async def test_a_request_for_an_allowed_host_is_forwarded_in_origin_form(tmp_path: Path) -> None:
    origin = Origin()
    async with serving(origin) as port, bench(tmp_path, "here.test") as proxy:
        answer = await proxy.ask(
            f"GET http://HERE.test.:{port}/a?b=c HTTP/1.1\r\nHost: other.test\r\nX-Kept: yes\r\n"
            f"Connection: close, X-Hop, Host\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\n".encode()
            + proxy.authorization
            + b"\r\n"
        )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    assert origin.requests == [f"GET /a?b=c HTTP/1.1\r\nHost: here.test:{port}\r\nX-Kept: yes\r\n\r\n".encode()]
    assert proxy.decided == [("http", "allow", None)]


async def test_a_denied_host_is_answered_with_the_reason_and_nothing_is_dialled(tmp_path: Path) -> None:
    async with bench(tmp_path, rules={"bad.test": "deny"}) as proxy:
        answer = await proxy.ask(request(proxy, "GET http://bad.test/secret", "Connection: close"))
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
        wrong = proxy.authorization.replace(b"Basic ", b"Basic AAAA")
        again = await proxy.ask(b"GET http://here.test/ HTTP/1.1\r\nHost: here.test\r\n" + wrong + b"\r\n")
    refusal = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="turnloom"\r\n'
    assert answer.startswith(refusal)
    assert again.startswith((refusal, b"HTTP/1.1 400 "))
    assert proxy.names.looked_up == []
    assert proxy.decided == []


async def test_a_tunnel_carries_bytes_both_ways_and_ends_each_way_by_itself(tmp_path: Path) -> None:
    async def answer_at_the_end(stream: ByteStream) -> None:
        data = await read_all(stream)
        await stream.send(data[::-1])

    async with (
        serving(answer_at_the_end) as port,
        bench(tmp_path, "here.test") as proxy,
        await proxy.connect() as stream,
    ):
        await stream.send(request(proxy, f"CONNECT here.test:{port}", body=b"early"))
        assert await read_head(stream) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        await stream.send(b" bird")
        await stream.send_eof()
        assert await exactly(stream, 10) == b"drib ylrae"
        assert await read_all(stream) == b""
    assert proxy.decided == [("https_connect", "allow", None)]


async def test_a_blocked_tunnel_says_why_in_text(tmp_path: Path) -> None:
    async with bench(tmp_path) as proxy:
        answer = await proxy.ask(request(proxy, "CONNECT unknown.test:443"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\nx-proxy-error: blocked-by-allowlist\r\n")
    assert b"text/plain" in head
    assert body == (
        b'Network access to "unknown.test" was blocked: domain is not on the allowlist for the current sandbox mode.\n'
    )
    assert [attempt.host for attempt in proxy.keeper.asked] == ["unknown.test"]
    assert proxy.keeper.refused == []
    assert proxy.decided == [("https_connect", "deny", "not_allowed")]


async def test_every_request_of_a_kept_connection_is_judged_anew(tmp_path: Path) -> None:
    origin = Origin(OK)
    async with (
        serving(origin) as port,
        bench(tmp_path, "one.test", "two.test") as proxy,
        await proxy.connect() as stream,
    ):
        for host in ("one.test", "one.test", "two.test"):
            await stream.send(request(proxy, f"GET http://{host}:{port}/"))
            assert await exactly(stream, len(OK)) == OK
        proxy.rule({"two.test": "allow"})
        await stream.send(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
        assert (await read_all(stream)).startswith(b"HTTP/1.1 403 ")
    assert [one.split(b"\r\n")[1] for one in origin.requests] == [
        f"Host: {host}:{port}".encode() for host in ("one.test", "one.test", "two.test")
    ]
    assert origin.connections == 2, "the second request of a host goes over the first one's connection"
    assert proxy.decided == [("http", "allow", None)] * 3 + [("http", "deny", "not_allowed")]


async def test_an_open_connection_to_a_host_is_not_used_once_its_address_is_denied(tmp_path: Path) -> None:
    origin = Origin(OK)
    async with (
        serving(origin) as port,
        bench(tmp_path, "one.test") as proxy,
        await proxy.connect() as stream,
    ):
        await stream.send(request(proxy, f"GET http://one.test:{port}/"))
        assert await exactly(stream, len(OK)) == OK
        proxy.rule({"one.test": "allow", "127.0.0.1": "deny"})
        await stream.send(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
        assert (await read_all(stream)).startswith(b"HTTP/1.1 403 ")
    assert len(origin.requests) == 1


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def count(stream: ByteStream) -> None:
        for number in range(3):
            await read_head(stream)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with serving(count) as port, bench(tmp_path, "one.test") as proxy:
        get = f"GET http://one.test:{port}/"
        answer = await proxy.ask(
            request(proxy, get)
            + request(proxy, "GET http://denied.test/")
            + request(proxy, get)
            + request(proxy, get, "Connection: close")
        )
    assert [part[:4] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200 ", b"403 ", b"200 ", b"200 "]
    assert answer.endswith(b"2")


async def test_a_chunked_upload_is_cut_into_chunks_anew_and_keeps_its_trailers(tmp_path: Path) -> None:
    taken: list[bytes] = []

    async def take(stream: ByteStream) -> None:
        taken.append(await read_head(stream))
        body = b""
        while not body.endswith(b"0\r\nX-Sum: 7\r\n\r\n"):
            body += await stream.receive()
        taken.append(body)
        await stream.send(OK)

    async with serving(take) as port, bench(tmp_path, "one.test") as proxy:
        body = b"5;ext=1\r\nhello\r\n06\r\n world\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n"
        answer = await proxy.ask(
            request(
                proxy, f"POST http://one.test:{port}/", "Transfer-Encoding: Chunked", "Connection: close", body=body
            )
        )
    assert answer.endswith(b"\r\n\r\nok")
    assert b"Transfer-Encoding: chunked\r\n" in taken[0]
    assert taken[1] == b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n"


async def test_a_chunked_answer_keeps_its_trailers_and_is_bare_for_an_old_client(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    async with serving(Origin(answer)) as port, bench(tmp_path, "one.test") as proxy:
        async with await proxy.connect() as stream:
            await stream.send(request(proxy, f"GET http://one.test:{port}/"))
            assert await exactly(stream, len(answer)) == answer
        old = f"GET http://one.test:{port}/ HTTP/1.0\r\n".encode() + proxy.authorization + b"\r\n"
        assert await proxy.ask(old) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


async def test_an_answer_that_ends_with_its_connection_is_passed_on_to_its_end(tmp_path: Path) -> None:
    async def until_the_end(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.0 200 OK\nX-Old: yes\n\n" + b"x" * 300_000)

    async with serving(until_the_end) as port, bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(request(proxy, f"GET http://one.test:{port}/"))
    assert answer == b"HTTP/1.1 200 OK\r\nX-Old: yes\r\nConnection: close\r\n\r\n" + b"x" * 300_000


async def test_a_client_that_waits_to_be_told_to_go_on_is_told(tmp_path: Path) -> None:
    async def hesitate(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await exactly(stream, 4) == b"body"
        await stream.send(OK)

    async with (
        serving(hesitate) as port,
        bench(tmp_path, "one.test") as proxy,
        await proxy.connect() as stream,
    ):
        await stream.send(request(proxy, f"PUT http://one.test:{port}/", "Expect: 100-continue", "Content-Length: 4"))
        assert await read_head(stream) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send(b"body")
        assert await exactly(stream, len(OK)) == OK


async def test_the_answer_to_head_has_no_body_whatever_its_length_says(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with (
        serving(Origin(head)) as port,
        bench(tmp_path, "one.test") as proxy,
        await proxy.connect() as stream,
    ):
        for _ in range(2):
            await stream.send(request(proxy, f"HEAD http://one.test:{port}/"))
            assert await read_head(stream) == head


async def test_an_upload_that_is_refused_half_way_still_gets_its_answer(tmp_path: Path) -> None:
    async def refuse(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse) as port, bench(tmp_path, "one.test") as proxy, await proxy.connect() as stream:
        await stream.send(request(proxy, f"PUT http://one.test:{port}/", "Content-Length: 100000000"))
        await stream.send(b"x" * 100_000)
        answer = await read_all(stream)
    assert answer == b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_a_websocket_upgrade_becomes_a_tunnel(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def switch(stream: ByteStream) -> None:
        heads.append(await read_head(stream))
        await stream.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        await stream.send(await exactly(stream, 4))

    async with (
        serving(switch) as port,
        bench(tmp_path, "one.test") as proxy,
        await proxy.connect() as stream,
    ):
        fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: abc")
        await stream.send(request(proxy, f"GET http://one.test:{port}/", *fields))
        assert b"Upgrade: websocket\r\n" in await read_head(stream)
        await stream.send(b"ping")
        assert await exactly(stream, 6) == b"hiping"
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" in heads[0]
    assert b"Sec-WebSocket-Key: abc\r\n" in heads[0]


async def test_no_other_protocol_can_be_switched_to(tmp_path: Path) -> None:
    origin = Origin(OK)
    async with serving(origin) as port, bench(tmp_path, "one.test") as proxy:
        fields = ("Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        await proxy.ask(request(proxy, f"GET http://one.test:{port}/", *fields))
    assert origin.requests == [f"GET / HTTP/1.1\r\nHost: one.test:{port}\r\n\r\n".encode()]


async def test_a_connection_that_the_host_closed_meanwhile_is_replaced(tmp_path: Path) -> None:
    closed = anyio.Event()

    async def once(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(OK)
        await stream.aclose()
        closed.set()

    async with (
        serving(once) as port,
        bench(tmp_path, "one.test") as proxy,
        await proxy.connect() as stream,
    ):
        for _ in range(3):
            await stream.send(request(proxy, f"GET http://one.test:{port}/"))
            assert await exactly(stream, len(OK)) == OK
            await closed.wait()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/path", "names an absolute URL"),
        ("*", "names an absolute URL"),
        ("https://one.test/", "only through CONNECT"),
        ("ftp://one.test/", "does not forward ftp:// requests"),
        ("http://one.test@evil.test/", "user name"),
        ("http://one.test:80@evil.test/", "user name"),
        ("http://one.test:0/", "from 1 to 65535"),
        ("http://one.test:65536/", "from 1 to 65535"),
        ("http://one.test:80:80/", "must be a host"),
        ("http:///path", "must be a host"),
        ("http://one.test#evil.test/", "must not hold"),
        ("http://one.test\\evil.test/", "must not hold"),
        ("http://[::1/", "must be a host"),
    ],
)
async def test_a_request_that_names_no_proper_url_is_told_what_is_wrong(tmp_path: Path, target: str, says: str) -> None:
    async with bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(request(proxy, f"GET {target}"))
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert says in answer.decode()
        assert proxy.names.looked_up == []


@pytest.mark.parametrize("target", ["one.test", "one.test:", "one.test:0", "one.test:99999", "a@one.test:443", ":443"])
async def test_a_tunnel_needs_a_host_and_a_port(tmp_path: Path, target: str) -> None:
    async with bench(tmp_path, "one.test") as proxy:
        assert (await proxy.ask(request(proxy, f"CONNECT {target}"))).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert proxy.names.looked_up == []


async def test_what_cannot_be_reached_is_a_failure_upstream_and_no_denial(tmp_path: Path) -> None:
    async with bench(tmp_path, "one.test", "nowhere.test", names={"one.test": ["127.0.0.1"]}) as proxy:
        async with serving(Origin()) as port:
            pass
        refused = await proxy.ask(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
        unknown = await proxy.ask(request(proxy, "CONNECT nowhere.test:443"))
    assert refused.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"upstream failure: one.test port" in refused
    assert unknown.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"nowhere.test could not be looked up: Name or service not known." in unknown
    assert [decision for _, decision, _ in proxy.decided] == ["allow", "allow"]


async def test_a_host_that_gives_no_proper_answer_is_a_failure_upstream(tmp_path: Path) -> None:
    async def babble(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"SSH-2.0-OpenSSH\r\n\r\n")

    async with serving(babble) as port, bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"one.test gave no proper answer" in answer


async def test_a_client_that_says_it_is_done_still_gets_all_answers(tmp_path: Path) -> None:
    async def slow(stream: ByteStream) -> None:
        for _ in range(2):
            await read_head(stream)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            for byte in b"12345":
                await stream.send(bytes([byte]))
                await anyio.lowlevel.checkpoint()

    async with serving(slow) as port, bench(tmp_path, "one.test") as proxy, await proxy.connect() as stream:
        await stream.send(request(proxy, f"GET http://one.test:{port}/") * 2)
        await stream.send_eof()
        assert (await read_all(stream)).count(b"\r\n\r\n12345") == 2


async def test_where_unix_sockets_are_reached_the_rules_name_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    path = str(tmp_path / "docker.sock")
    origin, answers = Origin(), list[bytes]()

    async def serve(stream: ByteStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                await origin(stream)

    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as group, bench(tmp_path, "one.test") as proxy:
        group.start_soon(listener.serve, serve)
        proxy.settings = replace(proxy.settings, unix_sockets={path: "allow", "/denied": "deny"})
        for one in (path, "/denied", "/other", "relative"):
            fields = (f"x-unix-socket: {one}", "Connection: close")
            answers.append(await proxy.ask(request(proxy, "GET http://docker/info", *fields)))
        group.cancel_scope.cancel()
    assert answers[0].endswith(b"ok")
    assert origin.requests == [b"GET /info HTTP/1.1\r\nHost: docker\r\n\r\n"]
    assert [answer[:13] for answer in answers[1:]] == [b"HTTP/1.1 403 "] * 3
    assert [judgement.reason for _, judgement in proxy.keeper.refused] == ["denied", "not_allowed", "not_allowed"]


async def test_unix_sockets_are_not_reached_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    async with bench(tmp_path, "one.test") as proxy:
        answer = await proxy.ask(
            request(proxy, "GET http://one.test/", "x-unix-socket: /run/docker.sock", "Connection: close")
        )
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert proxy.decided == [("http", "deny", "unix_socket_unsupported")]


# Addresses


async def test_a_name_is_looked_up_once_and_only_its_allowed_addresses_are_dialled(tmp_path: Path) -> None:
    origin = Origin()
    async with serving(origin) as port, bench(tmp_path, "one.test", "127.0.0.1", local=False) as proxy:
        proxy.names.names["one.test"] = ["10.0.0.7", "127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"]
        answer = await proxy.ask(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
    assert answer.endswith(b"ok")
    assert proxy.names.looked_up == ["one.test"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "169.254.169.254", "fd00::1"])
async def test_a_name_that_leads_only_to_local_addresses_is_refused(tmp_path: Path, address: str) -> None:
    async with bench(tmp_path, "one.test", names={"one.test": [address]}, local=False) as proxy:
        answer = await proxy.ask(request(proxy, "GET http://one.test/", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\nx-proxy-error: blocked-by-allowlist\r\n")
    assert proxy.decided == [("http", "deny", "not_allowed_local")]
    assert [judgement.reason for _, judgement in proxy.keeper.refused] == ["not_allowed_local"]


# Questions


async def test_what_the_rules_are_silent_about_is_asked_and_done(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, names={"new.test": ["127.0.0.1"]}) as proxy:
        proxy.keeper.answer = Judgement("allow", "decider")
        answer = await proxy.ask(request(proxy, f"GET http://new.test:{port}/", "Connection: close"))
    assert answer.endswith(b"ok")
    assert [(one.host, one.port, one.method) for one in proxy.keeper.asked] == [("new.test", port, "GET")]
    assert proxy.decided == [("http", "allow", None)]


@pytest.mark.parametrize("first", ["GET http://new.test/", "CONNECT new.test:443"])
async def test_a_client_that_hangs_up_withdraws_its_question(tmp_path: Path, first: str) -> None:
    async with bench(tmp_path) as proxy:
        proxy.keeper.waits = anyio.Event()
        stream = await proxy.connect()
        await stream.send(request(proxy, first))
        await proxy.keeper.is_asked.wait()
        await stream.aclose()
        await proxy.keeper.heard.wait()
    assert [one.host for one in proxy.keeper.left] == ["new.test"]
    assert proxy.keeper.cancelled == 1
    assert proxy.keeper.refused == []


async def test_a_client_that_hangs_up_behind_a_long_upload_is_noticed_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as proxy:
        proxy.keeper.waits = anyio.Event()
        stream = await proxy.connect()
        await stream.send(request(proxy, "PUT http://new.test/", "Content-Length: 1000000") + b"x" * 200_000)
        await proxy.keeper.is_asked.wait()
        await stream.aclose()
        await proxy.keeper.heard.wait()
    assert [one.method for one in proxy.keeper.left] == ["PUT"]


async def test_what_a_client_sends_while_it_is_asked_about_is_not_lost(tmp_path: Path) -> None:
    origin = Origin()
    async with (
        serving(origin) as port,
        bench(tmp_path, names={"new.test": ["127.0.0.1"]}) as proxy,
        await proxy.connect() as stream,
    ):
        proxy.keeper.answer, proxy.keeper.waits = Judgement("allow", "decider"), anyio.Event()
        await stream.send(request(proxy, f"GET http://new.test:{port}/1"))
        await proxy.keeper.is_asked.wait()
        await stream.send(request(proxy, f"GET http://new.test:{port}/2", "Connection: close"))
        proxy.keeper.waits.set()
        assert (await read_all(stream)).count(b"200 OK") == 2
    assert [one[:6] for one in origin.requests] == [b"GET /1", b"GET /2"]


async def test_learning_lets_misses_through_and_tells_the_rules_they_would_need(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, rules={"bad.test": "deny"}, learn=True) as proxy:
        proxy.names.names["new.test"] = ["127.0.0.1"]
        for first in (f"GET http://new.test:{port}/", f"GET http://new.test:{port}/2", "GET http://bad.test/"):
            await proxy.ask(request(proxy, first, "Connection: close"))
        async with await proxy.connect() as stream:
            await stream.send(request(proxy, f"CONNECT new.test:{port}"))
            await read_head(stream)
    assert proxy.keeper.asked == []
    assert proxy.decisions.suggested_rules("e1") == [
        'network_rule(host="new.test", protocol="http", decision="allow", justification="Allow http access to '
        'new.test")',
        'network_rule(host="new.test", protocol="https", decision="allow", justification="Allow https_connect access '
        'to new.test")',
    ]
    assert proxy.decisions.suggested_rules("e2") == []


# Limited mode


async def test_limited_mode_lets_only_reading_methods_through(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "one.test", mode="limited") as proxy:
        got = await proxy.ask(request(proxy, f"GET http://one.test:{port}/", "Connection: close"))
        posted = await proxy.ask(
            request(proxy, f"POST http://one.test:{port}/", "Connection: close", "Content-Length: 4", body=b"body")
        )
        upgraded = await proxy.ask(
            request(proxy, f"GET http://one.test:{port}/", "Connection: Upgrade, close", "Upgrade: websocket")
        )
    assert got.endswith(b"ok")
    for refused in (posted, upgraded):
        assert refused.startswith(b"HTTP/1.1 403 Forbidden\r\nx-proxy-error: blocked-by-method-policy\r\n")
    assert [judgement.source for _, judgement in proxy.keeper.refused] == ["mode_guard", "mode_guard"]
