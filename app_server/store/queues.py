"""Messages that wait for their turn, thread by thread, in the order in which they will be sent."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from app_server.store import writing
from app_server.store.database import Database
from app_server.store.threads import ThreadStore


class QueuedMissing(LookupError):
    """The queue has no message with this id."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"queued submission not found: {message_id}")


class BadOrder(ValueError):
    """The ids are not exactly those of the queue."""


class QueuedMessage(Struct, frozen=True):
    """A message; `input` is its wire JSON, `metadata` is JSON or None."""

    id: str
    client_id: str
    input: bytes
    metadata: str | None = None


_COLUMNS: Final = "id, client_id, input, metadata"


class QueueStore:
    """The queues of all threads; a change raises what `ThreadStore` raises, and is on disk when it returns."""

    def __init__(self, database: Database, threads: ThreadStore) -> None:
        self._database, self._threads = database, threads

    async def add(self, thread_id: str, message: QueuedMessage) -> None:
        """Put a message at the end."""

        def work(connection: sqlite3.Connection, number: int) -> None:
            connection.execute(
                f"INSERT INTO queued_messages (thread, position, {_COLUMNS}) VALUES (?1,"
                " (SELECT coalesce(max(position) + 1, 0) FROM queued_messages WHERE thread = ?1), ?2, ?3, ?4, ?5)",
                (number, message.id, message.client_id, message.input, message.metadata),
            )

        await self._threads.change(thread_id, work)

    async def page(self, thread_id: str, start: int, limit: int) -> Sequence[QueuedMessage]:
        """Up to `limit` messages from the one with index `start` on."""

        def work(connection: sqlite3.Connection) -> Sequence[QueuedMessage]:
            number = writing.number_of(connection, thread_id)[0]
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM queued_messages WHERE thread = ? ORDER BY position LIMIT ? OFFSET ?",
                (number, limit, start),
            )
            return [QueuedMessage(*row) for row in rows]

        return await self._database.read(work)

    async def get(self, thread_id: str, message_id: str) -> QueuedMessage:
        """One message; raises QueuedMissing."""

        def work(connection: sqlite3.Connection) -> QueuedMessage:
            number = writing.number_of(connection, thread_id)[0]
            return _get(connection, number, message_id)

        return await self._database.read(work)

    async def update(self, thread_id: str, message_id: str, content: bytes, metadata: str | None) -> QueuedMessage:
        """Replace what a message says, and its metadata if there are new ones. Raises QueuedMissing."""

        def work(connection: sqlite3.Connection, number: int) -> QueuedMessage:
            connection.execute(
                "UPDATE queued_messages SET input = ?, metadata = coalesce(?, metadata) WHERE thread = ? AND id = ?",
                (content, metadata, number, message_id),
            )
            return _get(connection, number, message_id)

        return await self._threads.change(thread_id, work)

    async def remove(self, thread_id: str, message_id: str) -> bool:
        """Take a message out; False if it is not there (any more)."""
        return await self._threads.change(thread_id, lambda connection, number: take(connection, number, message_id))

    async def reorder(self, thread_id: str, message_ids: Sequence[str]) -> None:
        """Put the messages into this order, which names each of them once. Raises BadOrder."""

        def work(connection: sqlite3.Connection, number: int) -> None:
            rows = connection.execute("SELECT id FROM queued_messages WHERE thread = ?", (number,))
            if sorted(message_ids) != sorted(row[0] for row in rows):
                raise BadOrder
            connection.executemany(
                "UPDATE queued_messages SET position = ? WHERE thread = ? AND id = ?",
                [(position, number, message_id) for position, message_id in enumerate(message_ids)],
            )

        await self._threads.change(thread_id, work)


def take(connection: sqlite3.Connection, number: int, message_id: str) -> bool:
    """Take a message out of the queue of the thread with this number, in a transaction; False if it is not there."""
    taken = connection.execute("DELETE FROM queued_messages WHERE thread = ? AND id = ?", (number, message_id))
    return taken.rowcount > 0


def _get(connection: sqlite3.Connection, number: int, message_id: str) -> QueuedMessage:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM queued_messages WHERE thread = ? AND id = ?", (number, message_id)
    ).fetchone()
    if row is None:
        raise QueuedMissing(message_id)
    return QueuedMessage(*row)
