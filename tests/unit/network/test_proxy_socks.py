"""SOCKS5 on the proxy's port: names and addresses are judged, everything but CONNECT is refused."""

import socket
import struct
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream

from app_server.network.policy import Judgement
from tests.unit.network.proxy_bench import Bench, bench, exactly, read_all, serving

CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3


async def echo(stream: ByteStream) -> None:
    await stream.send((await read_all(stream))[::-1])


def by_name(host: str, port: int, command: int = CONNECT) -> bytes:
    return bytes([5, command, 0, 3, len(host)]) + host.encode() + struct.pack("!H", port)


def by_address(text: str, port: int, command: int = CONNECT) -> bytes:
    family, kind = (socket.AF_INET6, 4) if ":" in text else (socket.AF_INET, 1)
    return bytes([5, command, 0, kind]) + socket.inet_pton(family, text) + struct.pack("!H", port)


async def greet(proxy: Bench, stream: SocketStream) -> None:
    """Show the credential."""
    await stream.send(b"\x05\x02\x00\x02")
    assert await exactly(stream, 2) == b"\x05\x02"
    password = proxy.credential.encode()
    await stream.send(b"\x01\x08turnloom" + bytes([len(password)]) + password)
    assert await exactly(stream, 2) == b"\x01\x00"


async def reply_to(proxy: Bench, request: bytes) -> int:
    """The reply's code."""
    async with await proxy.connect() as stream:
        await greet(proxy, stream)
        await stream.send(request)
        return (await exactly(stream, 10))[1]


@pytest.mark.parametrize("host", ["here.test", "HERE.test.", "127.0.0.1"])
async def test_an_allowed_host_is_reached(tmp_path: Path, host: str) -> None:
    names = {"here.test": ["127.0.0.1"]}
    async with (
        serving(echo) as port,
        bench(tmp_path, "here.test", "127.0.0.1", names=names) as proxy,
        await proxy.connect() as stream,
    ):
        await greet(proxy, stream)
        await stream.send(by_address(host, port) if host[0].isdigit() else by_name(host, port))
        assert await exactly(stream, 10) == b"\x05\x00\x00\x01" + bytes(6)
        await stream.send(b"abc")
        await stream.send_eof()
        assert await read_all(stream) == b"cba"
    assert proxy.decided == [("socks5_tcp", "allow", None)]


async def test_ipv6_is_reached_and_wrapped_ipv4_is_judged_as_what_it_is(tmp_path: Path) -> None:
    async with bench(tmp_path, rules={"127.0.0.1": "deny"}, names={}) as proxy:
        assert await reply_to(proxy, by_address("::ffff:127.0.0.1", 80)) == 2
    assert proxy.decided == [("socks5_tcp", "deny", "denied")]
    listener = await anyio.create_tcp_listener(local_host="::1")
    async with listener, bench(tmp_path, "::1", names={}) as proxy:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        assert await reply_to(proxy, by_address("::1", port)) == 0


async def test_the_replies_say_whether_the_rules_or_the_host_said_no(tmp_path: Path) -> None:
    async with serving(echo) as port:
        pass
    names = {"here.test": ["127.0.0.1"]}
    async with bench(tmp_path, "here.test", "nowhere.test", rules={"bad.test": "deny"}, names=names) as proxy:
        assert await reply_to(proxy, by_name("bad.test", 80)) == 2
        assert await reply_to(proxy, by_name("unknown.test", 80)) == 2
        assert await reply_to(proxy, by_name("nowhere.test", 80)) == 4
        assert await reply_to(proxy, by_name("here.test", port)) == 5
        assert await reply_to(proxy, by_name("here.test:80", 80)) == 2
        assert await reply_to(proxy, by_name("here.test", 0)) == 2
        assert await reply_to(proxy, b"\x05\x01\x00\x09") == 8
    assert [one.host for one, _ in proxy.keeper.refused] == ["bad.test"]
    assert [one.host for one in proxy.keeper.asked] == ["unknown.test"]


async def test_listening_and_datagrams_are_refused_and_datagrams_are_seen(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test") as proxy:
        assert await reply_to(proxy, by_name("here.test", 80, BIND)) == 7
        assert await reply_to(proxy, by_name("here.test", 53, UDP_ASSOCIATE)) == 7
        assert await reply_to(proxy, by_address("0.0.0.0", 0, UDP_ASSOCIATE)) == 7
    assert proxy.decided == [("socks5_udp", "deny", "policy_denied")] * 2
    assert proxy.keeper.refused == []


async def test_without_the_credential_nothing_is_reached(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test") as proxy:
        assert await proxy.ask(b"\x05\x01\x00" + by_name("here.test", 80)) == b"\x05\xff"
        wrong = b"\x05\x01\x02\x01\x08turnloom\x05wrong" + by_name("here.test", 80)
        assert await proxy.ask(wrong) == b"\x05\x02\x01\x01"
        assert proxy.names.looked_up == []


async def test_socks4_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path, "127.0.0.1") as proxy:
        request = b"\x04\x01" + struct.pack("!H", 80) + bytes([127, 0, 0, 1]) + b"user\x00"
        assert (await proxy.ask(request))[:2] == b"\x00\x5b"
        assert proxy.decided == []


async def test_socks_can_be_switched_off(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test", socks=False) as proxy:
        assert await reply_to(proxy, by_name("here.test", 80)) == 2
    assert [judgement.reason for _, judgement in proxy.keeper.refused] == ["proxy_disabled"]


async def test_limited_mode_refuses_what_cannot_be_looked_into(tmp_path: Path) -> None:
    async with bench(tmp_path, "here.test", mode="limited") as proxy:
        assert await reply_to(proxy, by_name("here.test", 22)) == 2
    assert proxy.decided == [("socks5_tcp", "deny", "method_not_allowed")]


async def test_a_client_that_hangs_up_withdraws_its_question(tmp_path: Path) -> None:
    async with bench(tmp_path) as proxy:
        proxy.keeper.answer, proxy.keeper.waits = Judgement("allow", "decider"), anyio.Event()
        stream = await proxy.connect()
        await greet(proxy, stream)
        await stream.send(by_name("new.test", 22))
        await proxy.keeper.is_asked.wait()
        await stream.aclose()
        await proxy.keeper.heard.wait()
    assert [(one.protocol, one.host, one.port) for one in proxy.keeper.left] == [("socks5_tcp", "new.test", 22)]


async def test_a_request_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with serving(echo) as port, bench(tmp_path, "here.test") as proxy, await proxy.connect() as stream:
        password = proxy.credential.encode()
        whole = (
            b"\x05\x01\x02\x01\x08turnloom" + bytes([len(password)]) + password + by_name("here.test", port) + b"hey"
        )
        for byte in whole:
            await stream.send(bytes([byte]))
        await stream.send_eof()
        assert await read_all(stream) == b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6) + b"yeh"
