"""One command's way out: whose connections are whose, how many there may be, and that closing leaves nothing."""

import os
import socket
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from app_server.config.network_proxy import NetworkProxySettings
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution
from app_server.network.limits import Limits, usual_limits
from app_server.network.policy import NetworkPolicy
from app_server.network.proxy import NetworkProxy, NetworkUnavailable
from tests.unit.network.proxy_bench import Bench, Doorkeeper, Origin, bench, exactly, read_all, read_head, serving


def descriptors() -> set[str]:
    """What this process holds open, by name."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            pass  # that of the listing itself
    return found


linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted in /proc")


def listener() -> socket.socket:
    """What a sandbox makes: a listening socket, here in the same network as everything."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def get(proxy: Bench, port: int, *, credential: bytes = b"") -> bytes:
    return f"GET http://here.test:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + credential + b"\r\n"


async def bridged(proxy: Bench, message: bytes = b"x") -> int:
    """Let the command's own listener be served; the value is its port."""
    ours, theirs = socket.socketpair()
    with theirs, listener() as sock:
        socket.send_fds(theirs, [message], [sock.fileno()])
        proxy.egress.serve(ours)
        return sock.getsockname()[1]


async def ask(port: int, raw: bytes) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(raw)
        return await read_all(stream)


async def second(proxy: Bench) -> Egress:
    """The way out of another command."""
    return await proxy.proxy.open(Execution("e2"), lambda: NetworkPolicy(proxy.settings), Doorkeeper())


@linux
async def test_nothing_listens_before_the_first_command_and_nothing_is_left_after(tmp_path: Path) -> None:
    before = descriptors()
    async with NetworkProxy(NetworkDecisions(), tmp_path, environ={}) as proxy:
        assert descriptors() == before
        egress = await proxy.open(Execution("e"), lambda: NetworkPolicy(NetworkProxySettings()), Doorkeeper())
        stream = await anyio.connect_tcp("127.0.0.1", egress.port)
        assert len(descriptors() - before) >= 2
    assert await read_all(stream) == b""
    await stream.aclose()
    assert descriptors() == before
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.1", egress.port)
    with pytest.raises(NetworkUnavailable, match="shut down"):
        await proxy.open(Execution("e"), lambda: NetworkPolicy(NetworkProxySettings()), Doorkeeper())


@linux
async def test_closing_ends_streams_questions_and_listeners_and_leaves_nothing(tmp_path: Path) -> None:
    streaming = anyio.Event()

    async def pour(stream: ByteStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            await stream.send(b"x" * 65536)
            streaming.set()

    async with serving(pour) as port, bench(tmp_path, "here.test") as proxy:
        before = descriptors()
        inside = await bridged(proxy)
        proxy.keeper.waits = anyio.Event()
        clients = [await proxy.connect(), await anyio.connect_tcp("127.0.0.1", inside), await proxy.connect()]
        await clients[0].send(get(proxy, port, credential=proxy.authorization))
        await clients[1].send(f"CONNECT here.test:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await read_head(clients[1])
        await clients[1].send(b"GET / HTTP/1.1\r\n\r\n")
        await clients[2].send(b"CONNECT new.test:443 HTTP/1.1\r\nHost: x\r\n" + proxy.authorization + b"\r\n")
        await streaming.wait()
        await proxy.keeper.is_asked.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(proxy.egress.close)
            group.start_soon(proxy.egress.close)
        await proxy.egress.close()
        assert proxy.keeper.cancelled == 1
        assert proxy.keeper.left == [], "the program did not hang up"
        for client in clients:
            await read_all(client)
            await client.aclose()
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", inside)
        answer = await proxy.ask(get(proxy, port, credential=proxy.authorization))
        assert answer.startswith(b"HTTP/1.1 407 "), "the credential is forgotten"
        late, theirs = socket.socketpair()
        proxy.egress.serve(late)
        assert theirs.recv(1) == b"", "a bridge that comes too late is closed"
        theirs.close()
    # The server's ends of the connections end on their own.
    assert len(descriptors() - before) == 0


@pytest.mark.parametrize("by", ["http", "socks"])
async def test_a_command_that_a_refusal_ends_is_not_told_of_it(tmp_path: Path, by: str) -> None:
    async with bench(tmp_path, rules={"here.test": "deny"}) as proxy, await proxy.connect() as stream:
        proxy.keeper.holds = anyio.Event()
        told = b""
        if by == "http":
            await stream.send(get(proxy, 80, credential=proxy.authorization))
        else:
            told = b"\x05\x02\x01\x00"
            password = proxy.credential.encode()
            login = b"\x05\x01\x02\x01\x08turnloom" + bytes([len(password)]) + password
            await stream.send(login + b"\x05\x01\x00\x03\x09here.test\x00\x50")
        await proxy.keeper.heard.wait()
        await proxy.egress.close()
        assert await read_all(stream) == told


async def test_closing_one_command_leaves_the_others_alone(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        other = await second(proxy)
        await other.close()
        assert (await proxy.ask(get(proxy, port, credential=proxy.authorization))).endswith(b"ok")


async def test_every_request_is_attributed_to_the_command_whose_credential_it_shows(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        other = await second(proxy)
        theirs = (await other.environment({}))["HTTP_PROXY"].split("//")[1].split("@", maxsplit=1)[0]
        field = b"Proxy-Authorization: Basic " + b64encode(theirs.encode()) + b"\r\n"
        for credential in (proxy.authorization, field):
            await proxy.ask(get(proxy, port, credential=credential))
        async with await proxy.connect() as stream:
            head = f"GET http://here.test:{port}/ HTTP/1.1\r\nHost: x\r\n".encode()
            await stream.send(head + field + b"\r\n" + head + proxy.authorization + b"\r\n")
            answer = await read_all(stream)
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"407"], "one connection, one command"
    assert [one.execution.id for one in reversed(proxy.decisions.newest())] == ["e1", "e2", "e2"]


# The listener of a sandbox


async def test_a_sandboxs_own_listener_needs_no_credential(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        inside = await bridged(proxy)
        assert (await ask(inside, get(proxy, port))).endswith(b"ok")
        assert (await ask(inside, get(proxy, port, credential=proxy.authorization))).endswith(b"ok")
        socks = b"\x05\x01\x00\x05\x01\x00\x03\x09here.test" + port.to_bytes(2)
        async with await anyio.connect_tcp("127.0.0.1", inside) as stream:
            await stream.send(socks)
            assert (await exactly(stream, 12)).startswith(b"\x05\x00\x05\x00")


async def test_another_commands_credential_is_refused_there_and_seen(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        inside = await bridged(proxy)
        other = await second(proxy)
        theirs = (await other.environment({}))["HTTP_PROXY"].split("//")[1].split("@", maxsplit=1)[0]
        field = b"Proxy-Authorization: Basic " + b64encode(theirs.encode()) + b"\r\n"
        assert (await ask(inside, get(proxy, port, credential=field))).startswith(b"HTTP/1.1 407 ")
        password = theirs.partition(":")[2].encode()
        socks = b"\x05\x01\x02\x01\x08turnloom" + bytes([len(password)]) + password
        assert await ask(inside, socks) == b"\x05\x02\x01\x01"
    found = [(one.execution.id, one.attempt.host, one.judgement.decision) for one in proxy.decisions.newest()]
    assert found == [("e1", "", "deny"), ("e1", "here.test", "deny")]
    assert proxy.keeper.refused == [], "an inherited variable is no reason to end a command"


async def test_at_a_listener_that_others_can_reach_only_the_commands_own_credential_counts(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        inside = await bridged(proxy, b"m")
        other = await second(proxy)
        theirs = (await other.environment({}))["HTTP_PROXY"].split("//")[1].split("@", maxsplit=1)[0]
        field = b"Proxy-Authorization: Basic " + b64encode(theirs.encode()) + b"\r\n"
        for credential in (b"", field):
            assert (await ask(inside, get(proxy, port, credential=credential))).startswith(b"HTTP/1.1 407 ")
        assert await ask(inside, b"\x05\x01\x00") == b"\x05\xff"
        password = theirs.partition(":")[2].encode()
        socks = b"\x05\x01\x02\x01\x08turnloom" + bytes([len(password)]) + password
        assert await ask(inside, socks) == b"\x05\x02\x01\x01"
        assert (await ask(inside, get(proxy, port, credential=proxy.authorization))).endswith(b"ok")
    assert [one.execution.id for one in proxy.decisions.newest()] == ["e1"]


@linux
@pytest.mark.parametrize("sent", ["nothing", "datagrams", "a socket that does not listen", "several"])
async def test_a_sandbox_that_sends_no_listener_leaves_nothing(
    tmp_path: Path, sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path, "here.test") as proxy:
        before = descriptors()
        ours, theirs = socket.socketpair()
        proxy.egress.serve(ours)
        with theirs, socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as idle:
            wrong: dict[str, Sequence[int]] = {
                "nothing": [],
                "datagrams": [datagrams.fileno()],
                "a socket that does not listen": [idle.fileno()],
                "several": [datagrams.fileno(), idle.fileno(), theirs.fileno()],
            }
            if wrong[sent]:
                socket.send_fds(theirs, [b"x"], wrong[sent])
        await proxy.egress.close()
        assert descriptors() == before
    assert caplog.records == []


async def test_several_commands_are_served_behind_several_bridges(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test") as proxy:
        first, again = await bridged(proxy), await bridged(proxy)
        for inside in (first, again):
            assert (await ask(inside, get(proxy, port))).endswith(b"ok")


async def test_a_listener_that_is_shut_down_from_inside_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test") as proxy:
        ours, theirs = socket.socketpair()
        with theirs, listener() as sock:
            socket.send_fds(theirs, [b"x"], [sock.fileno()])
            proxy.egress.serve(ours)
            assert (await ask(sock.getsockname()[1], b"\x04")) == b"\x00\x5b" + bytes(6)
            sock.shutdown(socket.SHUT_RDWR)
        await proxy.egress.close()


# Limits


@pytest.mark.parametrize(
    ("descriptors", "in_all", "per_command"), [(64, 16, 8), (1024, 256, 128), (20_000, 2048, 256), (-1, 2048, 256)]
)
def test_connections_leave_the_daemon_half_of_its_descriptors(descriptors: int, in_all: int, per_command: int) -> None:
    limits = usual_limits(descriptors)
    assert (limits.in_all, limits.per_command) == (in_all, per_command)


async def test_a_command_with_too_many_connections_is_turned_away_and_others_are_not(tmp_path: Path) -> None:
    async with serving(Origin()) as port, bench(tmp_path, "here.test", limits=Limits(per_command=2)) as proxy:
        other = await second(proxy)
        theirs = (await other.environment({}))["HTTP_PROXY"].split("//")[1].split("@", maxsplit=1)[0]
        field = b"Proxy-Authorization: Basic " + b64encode(theirs.encode()) + b"\r\n"
        open_ones = [await proxy.connect() for _ in range(2)]
        for stream in open_ones:
            await stream.send(get(proxy, port, credential=proxy.authorization).replace(b"Connection: close\r\n", b""))
            await exactly(stream, 40)
        crowded = await proxy.ask(get(proxy, port, credential=proxy.authorization))
        inside = await bridged(proxy)
        turned_away = await ask(inside, b"")
        assert (await proxy.ask(get(proxy, port, credential=field))).endswith(b"ok")
        for stream in open_ones:
            await stream.aclose()
    assert crowded.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert turned_away.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    head, _, body = turned_away.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


async def test_connections_that_show_no_credential_give_way_to_newer_ones(tmp_path: Path) -> None:
    limits = Limits(unproven=4)
    async with serving(Origin()) as port, bench(tmp_path, "here.test", limits=limits) as proxy:
        silent = [await proxy.connect() for _ in range(20)]
        assert (await proxy.ask(get(proxy, port, credential=proxy.authorization))).endswith(b"ok")
        assert await read_all(silent[0]) == b""
        for stream in silent:
            await stream.aclose()


async def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    limits = Limits(head_seconds=0.01, keep_alive_seconds=0.01)
    async with serving(Origin()) as port, bench(tmp_path, "here.test", limits=limits) as proxy:
        inside = await bridged(proxy)
        for begun in (b"", b"GET", b"\x05", b"\x05\x01\x00\x05"):
            await ask(inside, begun)
        kept = get(proxy, port).replace(b"Connection: close\r\n", b"")
        assert (await ask(inside, kept)).endswith(b"ok"), "and neither is another request"


async def test_a_tunnel_in_which_nothing_moves_is_ended(tmp_path: Path) -> None:
    async def wait(stream: ByteStream) -> None:
        await read_all(stream)

    limits = Limits(idle_seconds=0.05)
    async with serving(wait) as port, bench(tmp_path, "here.test", limits=limits) as proxy:
        inside = await bridged(proxy)
        answer = await ask(inside, f"CONNECT here.test:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        silent = await ask(inside, get(proxy, port))
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert silent.startswith(b"HTTP/1.1 502 ")
    assert b"did not answer in time" in silent


async def test_a_client_that_leaves_ends_the_request_that_nobody_waits_for(tmp_path: Path) -> None:
    came, ended = anyio.Event(), anyio.Event()

    async def never(stream: ByteStream) -> None:
        await read_head(stream)
        came.set()
        assert await read_all(stream) == b""
        ended.set()

    limits = Limits(half_closed_seconds=0)
    async with serving(never) as port, bench(tmp_path, "here.test", limits=limits) as proxy:
        stream = await proxy.connect()
        await stream.send(get(proxy, port, credential=proxy.authorization))
        await came.wait()
        await stream.aclose()
        await ended.wait()
