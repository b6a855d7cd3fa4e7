"""A message that comes alone is handled at once, and overtakes none that came before it."""

from collections.abc import AsyncIterator

import anyio

from app_server.rpc.connection import Connection, Oversized
from app_server.rpc.outbound import Outbound


class Gate:
    """A receiver that can be told to make messages wait."""

    def __init__(self) -> None:
        self.open = anyio.Event()
        self.got: list[bytes | Oversized] = []

    def ready(self, connection: Connection) -> bool:
        return self.open.is_set()

    async def until_ready(self, connection: Connection) -> None:
        await self.open.wait()

    def receive(self, connection: Connection, message: bytes | Oversized) -> None:
        self.got.append(message)


async def test_nothing_is_taken_before_the_connection_is_served() -> None:
    gate = Gate()
    gate.open.set()
    assert not Connection(gate, Outbound("line")).take(b"early")
    assert gate.got == []


async def test_a_message_overtakes_none_that_still_waits() -> None:
    gate = Gate()
    connection = Connection(gate, Outbound("line"))
    send, receive = anyio.create_memory_object_stream[bytes](10)

    async def messages() -> AsyncIterator[bytes | Oversized]:
        async for message in receive:
            yield message

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.serve, messages())
        await send.send(b"first")
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
        # The gate is open, but the first message has not gone through it yet.
        assert not connection.take(b"second")
        await anyio.wait_all_tasks_blocked()
        assert gate.got == [b"first"]
        assert connection.take(b"third")
        assert gate.got == [b"first", b"third"]
        send.close()
    assert not connection.take(b"late")
    receive.close()
