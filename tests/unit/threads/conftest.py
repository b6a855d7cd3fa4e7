"""The services of a daemon without sockets, with a scripted model behind them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.rpc.connection import Client, Connection, Connections
from app_server.rpc.outbound import Outbound
from app_server.rpc.server_requests import ServerRequests
from app_server.services import Daemon
from app_server.threads.manager import ThreadManager
from app_server.threads.messages import TurnOptions
from app_server.threads.thread import Thread
from app_server.threads.turn import Turn
from app_server.transport.listen import ServerOptions
from protocol.v2.thread import ThreadStartParams
from protocol.v2.user_input import TextUserInput
from tests.support.home import make_home
from tests.support.nobody import Nobody
from tests.support.scripted_model import ScriptedModel


class Room:
    """A thread manager, and clients whose outbound queues can be looked at."""

    def __init__(self, daemon: Daemon, connections: Connections, model: ScriptedModel, cwd: Path) -> None:
        self.daemon, self.model, self.cwd, self._connections = daemon, model, cwd, connections

    @property
    def threads(self) -> ThreadManager:
        """The manager."""
        return self.daemon.threads

    def connect(self) -> Connection:
        """A client that has said hello."""
        connection = Connection(Nobody(), Outbound("line"))
        connection.client = Client("tester", "1")
        connection.outbound.experimental = True
        self._connections.add(connection)
        return connection

    async def start(self, connection: Connection, **params: Any) -> Thread:
        """A new thread that `connection` follows."""
        thread = await self.threads.opening.start(ThreadStartParams(cwd=str(self.cwd), **params), connection)
        thread.follow(connection)
        return thread

    async def begin(self, thread: Thread, words: str = "hello") -> Turn:
        """A running turn."""
        return await thread.start_turn([TextUserInput(text=words)], TurnOptions())


async def told(connection: Connection) -> list[dict[str, Any]]:
    """What waits to be written to a client, which is taken away."""
    if not connection.outbound.queued_bytes:
        return []
    data = await connection.outbound.take()
    assert data is not None
    return [orjson.loads(line) for line in data.splitlines()]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        cwd = tmp_path / "project"
        cwd.mkdir()
        connections = Connections()
        daemon = Daemon(home, ServerOptions(), connections, ServerRequests())
        async with daemon.running():
            yield Room(daemon, connections, model, cwd)
