"""Looking names up without waiting for those that nobody wants any more, and connecting to the first that answers."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from ipaddress import ip_address

import anyio
import pytest

from app_server.network import dialing
from app_server.network.dialing import Resolver, dial, find_addresses
from app_server.network.refusals import Unreachable
from tests.unit.network.proxy_bench import Origin, exactly, serving


async def test_the_system_is_asked_for_names() -> None:
    assert "127.0.0.1" in await Resolver()("localhost", 80)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "x" * 70 + ".invalid", "a..invalid"])
async def test_a_name_that_is_none_is_unreachable(host: str) -> None:
    with pytest.raises(Unreachable, match="could not be looked up"):
        await find_addresses(host, 80, Resolver())


@contextmanager
def stuck_lookups(monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[], int]]:
    """Look-ups that take until the end of the test; the value counts them."""
    released, begun = threading.Event(), list[str]()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        begun.append(host)
        released.wait()
        return []

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        try:
            yield lambda: len(begun)
        finally:
            released.set()


async def test_look_ups_that_are_stuck_are_left_behind_but_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with stuck_lookups(monkeypatch) as count:
        resolver = Resolver()
        monkeypatch.setattr(dialing, "RESOLVE_SECONDS", 0.01)
        for _ in range(dialing.MAX_LOOKUPS + 3):
            with pytest.raises(Unreachable, match=r"could not be looked up within 0\.01 s"):
                await find_addresses("slow.test", 80, resolver)
        assert count() == dialing.MAX_LOOKUPS
        with pytest.raises(Unreachable, match="within"):
            await find_addresses("slow.test", 80, Resolver())
        assert count() == dialing.MAX_LOOKUPS + 1, "another command has its own"


async def test_addresses_are_each_taken_once_and_what_is_none_is_left_out() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["::ffff:10.0.0.1", "10.0.0.1", "nonsense", "fe80::1%eth0", "10.0.0.1"]

    assert [str(one) for one in await find_addresses("one.test", 80, resolve)] == ["10.0.0.1", "fe80::1%eth0"]
    assert [str(one) for one in await find_addresses("1.2.3.4", 80, resolve)] == ["1.2.3.4"]


async def test_an_address_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "STAGGER_SECONDS", 0.01)
    monkeypatch.setattr(dialing, "CONNECT_SECONDS", 0.05)
    async with serving(Origin()) as port:
        with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
            silent.bind(("127.0.0.2", port))
            silent.listen(0)
            for one in (first, second):  # the queue is full, and what comes is dropped
                one.setblocking(False)
                one.connect_ex(("127.0.0.2", port))
            with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
                await dial([ip_address("127.0.0.2")], port, "one.test")
            link, address = await dial([ip_address("127.0.0.2"), ip_address("127.0.0.1")], port, "one.test")
    assert str(address) == "127.0.0.1"
    link.close()


async def test_the_first_address_that_answers_is_kept_and_refusals_are_told() -> None:
    async with serving(Origin()) as port:
        link, address = await dial([ip_address("127.0.0.3"), ip_address("127.0.0.1")], port, "one.test")
        assert str(address) == "127.0.0.1"
        await link.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await exactly(link, 8) == b"HTTP/1.1"
        link.close()
    with pytest.raises(Unreachable, match=r"one\.test port") as failure:
        await dial([ip_address("127.0.0.1"), ip_address("127.0.0.2")], port, "one.test")
    assert failure.value.refused


async def test_nothing_is_left_of_a_connection_that_is_given_up() -> None:
    async with serving(Origin()) as port:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await dial([ip_address("127.0.0.1"), ip_address("127.0.0.1")], port, "one.test")
        assert scope.cancelled_caught
