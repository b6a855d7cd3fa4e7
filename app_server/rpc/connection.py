"""One client: what it said about itself, its requests in flight, and what ends with it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from msgspec import Struct

from app_server.rpc.outbound import Frame, Outbound
from app_server.rpc.scopes import FULL, Scope

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The longest line or frame that is read; a longer one is refused and the connection lives."""

CLOSE_SECONDS = 5.0
"""How long what a connection owns may take to end."""

FAIR_SHARE = 64
"""How many messages of one connection are handled before others get their turn."""

_ids = count(1)


class Oversized(Struct, frozen=True):
    """Stands for a message longer than `MAX_MESSAGE_BYTES`, whose bytes were thrown away."""

    size: int


Inbound = AsyncIterator[bytes | Oversized]


class Client(Struct, frozen=True):
    """What `initialize` told: name, version and title of the program at the other end."""

    name: str
    version: str
    title: str | None = None


class Receiver(Protocol):
    """Takes each message of a connection; it starts what it has to in the connection's task group."""

    def receive(self, connection: "Connection", message: bytes | Oversized) -> None: ...

    def ready(self, connection: "Connection") -> bool:
        """Whether `receive` can be called now."""
        ...

    async def until_ready(self, connection: "Connection") -> None:
        """Wait for it."""
        ...


class Connection:
    """One client. Created by a transport, which then awaits `serve` and writes what `outbound` holds."""

    def __init__(self, receiver: Receiver, outbound: Outbound, *, remote: bool = False, scope: Scope = FULL) -> None:
        """`remote` is False for a client that shares this machine's user (stdio, unix socket).

        `scope` is what the client's token allows.
        """
        self.id = next(_ids)
        self.outbound = outbound
        self.remote = remote
        self.scope = scope
        self.client: Client | None = None
        self.in_flight = 0
        self._receiver = receiver
        self._owned = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._idle = anyio.Event()
        self._received = 0
        self._waits = False

    @property
    def initialized(self) -> bool:
        """Whether `initialize` was answered."""
        return self.client is not None

    @property
    def experimental(self) -> bool:
        """Whether the client asked for the experimental API."""
        return self.outbound.experimental

    @property
    def may_answer(self) -> bool:
        """Whether the client is asked for approvals, and its answers count."""
        return self.scope.may_answer

    @property
    def may_amend(self) -> bool:
        """Whether an approval of this client may also widen the rules for later commands."""
        return self.scope.may_amend

    def push(self, frame: Frame) -> None:
        """Queue one message for this client."""
        self.outbound.push(frame)

    def on_close(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Await `callback` once the connection has ended; the last one registered runs first."""
        self._owned.push_async_callback(callback)

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run one request in the connection's task group; it is cancelled when the connection ends."""
        assert self._tasks is not None, "the connection is not being served"
        self.in_flight += 1
        self._tasks.start_soon(self._count, function)

    def look_after(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what a request leaves behind; it counts as no request, and is cancelled when the connection ends."""
        assert self._tasks is not None, "the connection is not being served"
        self._tasks.start_soon(function)

    async def _count(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def settled(self) -> None:
        """Wait until no request is in flight."""
        while self.in_flight:
            self._idle = anyio.Event()
            await self._idle.wait()

    def take(self, message: bytes | Oversized) -> bool:
        """Handle a message at once, for a transport that holds no earlier one; False if it has to queue instead."""
        if self._tasks is None or self._waits or not self._receiver.ready(self):
            return False
        self._receiver.receive(self, message)
        return True

    async def _turn(self) -> None:
        """Wait until the next message may be handled; meanwhile no later one overtakes it by `take`."""
        self._received += 1
        ready = self._receiver.ready(self)
        if ready and self._received % FAIR_SHARE:
            return
        self._waits = True
        if ready:
            await anyio.lowlevel.checkpoint()
        else:
            await self._receiver.until_ready(self)
        self._waits = False

    async def serve(self, messages: Inbound, *, at_end: Callable[[], Awaitable[None]] | None = None) -> None:
        """Handle `messages` until they end, run `at_end`, cancel what is left and close what the connection owns."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                async for message in messages:
                    await self._turn()
                    self._receiver.receive(self, message)
                self._waits = True
                if at_end is not None:
                    await at_end()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._owned.aclose()
            self.outbound.close()


class Connections:
    """All clients of this daemon."""

    def __init__(self) -> None:
        self._all: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all.values())

    def initialized(self) -> Iterable[Connection]:
        """The clients that have said who they are."""
        return [connection for connection in self._all.values() if connection.initialized]

    def add(self, connection: Connection) -> None:
        """Count `connection` until it closes."""
        self._all[connection.id] = connection

        async def remove() -> None:
            del self._all[connection.id]

        connection.on_close(remove)

    def push_to(self, connection_id: int, frame: Frame) -> None:
        """Send `frame` to one client, if it is still there."""
        if (connection := self._all.get(connection_id)) is not None:
            connection.push(frame)

    def broadcast(self, frame: Frame) -> None:
        """Send `frame` to every initialised client."""
        for connection in self._all.values():
            if connection.initialized:
                connection.push(frame)
