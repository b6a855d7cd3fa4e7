"""A receiver for connections that tests look at from below."""

from app_server.rpc.connection import Connection, Oversized


class Nobody:
    """Takes no messages: these tests call the room below the connection."""

    def ready(self, connection: Connection) -> bool:
        return True

    async def until_ready(self, connection: Connection) -> None:
        raise AssertionError("it is always ready")

    def receive(self, connection: Connection, message: bytes | Oversized) -> None:
        raise AssertionError("no client talks")
