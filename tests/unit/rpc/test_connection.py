"""One client's life: what ends with it, and in which order."""

import anyio
import pytest

from app_server.rpc.connection import Connections
from app_server.rpc.outbound import Frame
from tests.support.fake_app import FakeApp, Peer


async def test_requests_in_flight_are_cancelled_when_the_client_leaves() -> None:
    app = FakeApp()
    peer = Peer(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve)
        await peer.initialize()
        peer.request(1, "test/gate")
        await anyio.wait_all_tasks_blocked()
        assert app.waiting == 1
        peer.hang_up()
    assert (app.waiting, app.cancelled) == (0, 1)


async def test_at_the_end_of_input_the_last_requests_can_be_answered_first() -> None:
    app = FakeApp()
    peer = Peer(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve, app.settled)
        await peer.initialize()
        peer.request(1, "test/gate")
        peer.hang_up()
        await anyio.wait_all_tasks_blocked()
        assert app.waiting == 1
        app.gate.set()
        assert (await peer.receive())["id"] == 1
    assert app.cancelled == 0


async def test_what_a_connection_owns_is_closed_last_first_and_its_queue_after_it() -> None:
    app = FakeApp()
    peer = Peer(app)
    ended: list[str] = []

    async def end(name: str) -> None:
        ended.append(name)
        peer.connection.push(Frame("test/ended", b'{"method":"test/ended"}'))

    peer.connection.on_close(lambda: end("first"))
    peer.connection.on_close(lambda: end("second"))
    peer.hang_up()
    await peer.serve()
    assert ended == ["second", "first"]
    assert [(await peer.receive())["method"] for _ in range(2)] == ["test/ended"] * 2
    with pytest.raises(EOFError):
        await peer.receive()


async def test_what_a_connection_owns_is_closed_when_serving_is_cancelled() -> None:
    app = FakeApp()
    peer = Peer(app)
    ended = anyio.Event()

    async def end() -> None:
        await anyio.lowlevel.checkpoint()
        ended.set()

    peer.connection.on_close(end)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert ended.is_set()
    assert len(app.connections) == 0


async def test_settled_waits_for_the_last_answer() -> None:
    app = FakeApp()
    peer = Peer(app)
    settled = anyio.Event()

    async def settle() -> None:
        await peer.connection.settled()
        settled.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve)
        await peer.initialize()
        peer.request(1, "test/gate")
        peer.request(2, "test/gate")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(settle)
        await anyio.wait_all_tasks_blocked()
        assert not settled.is_set()
        app.gate.set()
        await settled.wait()
        assert {(await peer.receive())["id"] for _ in range(2)} == {1, 2}
        await peer.connection.settled()
        peer.hang_up()


async def test_a_broadcast_reaches_initialised_clients_only() -> None:
    app = FakeApp()
    said, silent = Peer(app), Peer(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(said.serve)
        tasks.start_soon(silent.serve)
        await said.initialize()
        assert list(app.connections.initialized()) == [said.connection]
        app.connections.broadcast(Frame("news", b'{"method":"news"}'))
        assert await said.receive() == {"method": "news"}
        assert silent.outbound.queued_bytes == 0
        said.hang_up()
        silent.hang_up()
    assert len(app.connections) == 0


async def test_connections_are_told_apart_and_one_that_left_gets_nothing() -> None:
    app = FakeApp()
    peer, other = Peer(app), Peer(app)
    assert peer.connection.id != other.connection.id
    app.connections.push_to(peer.connection.id, Frame(None, b"1"))
    app.connections.push_to(-1, Frame(None, b"2"))
    assert await peer.outbound.take() == b"1\n"
    assert other.outbound.queued_bytes == 0
    assert len(Connections()) == 0
