"""Attachments: what clients hang on threads, such as pull requests. A thread has one of each type and key."""

import sqlite3
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

from app_server.store import writing
from app_server.store.cursors import Cursor, decode
from app_server.store.database import Database
from app_server.store.rows import Page
from app_server.store.threads import ThreadStore

_COLUMNS: Final = "id, type, identity_key, payload, created_at_ms"


class AttachmentRow(Struct, frozen=True):
    """An attachment; `payload` is JSON."""

    id: str
    type: str
    identity_key: str
    payload: str
    created_at_ms: int


class AttachmentStore:
    """The attachments of all threads; a change raises what `ThreadStore` raises."""

    def __init__(self, database: Database, threads: ThreadStore) -> None:
        self._database, self._threads = database, threads

    async def add(self, thread_id: str, row: AttachmentRow) -> tuple[AttachmentRow, bool]:
        """Add an attachment, unless the thread has one of this type and key; the one it has then, whether it is new."""

        def work(connection: sqlite3.Connection, number: int) -> tuple[AttachmentRow, bool]:
            known = _find(connection, number, row.type, row.identity_key)
            if known is not None:
                return known, False
            connection.execute(
                f"INSERT INTO attachments (thread, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", (number, *astuple(row))
            )
            return row, True

        return await self._threads.change(thread_id, work)

    async def remove(self, thread_id: str, kind: str, identity_key: str) -> AttachmentRow | None:
        """Take an attachment away; None if there was none."""

        def work(connection: sqlite3.Connection, number: int) -> AttachmentRow | None:
            known = _find(connection, number, kind, identity_key)
            if known is not None:
                connection.execute("DELETE FROM attachments WHERE thread = ? AND id = ?", (number, known.id))
            return known

        return await self._threads.change(thread_id, work)

    async def page(self, thread_id: str, cursor: str | None, limit: int) -> Page[AttachmentRow]:
        """A page of a thread's attachments, oldest first. Raises BadCursor."""
        scope = f"attachments:{thread_id}"

        def work(connection: sqlite3.Connection) -> Page[AttachmentRow]:
            after = -1 if cursor is None else decode(cursor, scope, 1).place[0]
            number = writing.number_of(connection, thread_id)[0]
            rows = connection.execute(
                f"SELECT number, {_COLUMNS} FROM attachments WHERE thread = ? AND number > ? ORDER BY number LIMIT ?",
                (number, after, limit + 1),
            ).fetchall()
            more = len(rows) > limit
            following = Cursor(scope, (rows[limit - 1][0],), inclusive=False).encode() if more else None
            return Page(tuple(AttachmentRow(*row[1:]) for row in rows[:limit]), following, None)

        return await self._database.read(work)

    async def owners(
        self, kind: str, identity_key: str, archived: bool | None, cursor: str | None, limit: int
    ) -> Page[tuple[str, bool]]:
        """A page of the threads that have an attachment, oldest first, each with whether it is archived.

        Raises BadCursor.
        """
        only = "" if archived is None else " AND threads.archived = ?"

        def work(connection: sqlite3.Connection) -> Page[tuple[str, bool]]:
            after = -1 if cursor is None else decode(cursor, "owners", 1).place[0]
            rows = connection.execute(
                "SELECT threads.number, threads.id, threads.archived FROM attachments"
                " JOIN threads ON threads.number = attachments.thread"
                f" WHERE type = ? AND identity_key = ? AND attachments.thread > ?{only}"
                " ORDER BY attachments.thread LIMIT ?",
                (kind, identity_key, after, *(() if archived is None else (archived,)), limit + 1),
            ).fetchall()
            more = len(rows) > limit
            following = Cursor("owners", (rows[limit - 1][0],), inclusive=False).encode() if more else None
            return Page(tuple((row[1], bool(row[2])) for row in rows[:limit]), following, None)

        return await self._database.read(work)


def _find(connection: sqlite3.Connection, number: int, kind: str, identity_key: str) -> AttachmentRow | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM attachments WHERE type = ? AND identity_key = ? AND thread = ?",
        (kind, identity_key, number),
    ).fetchone()
    return None if row is None else AttachmentRow(*row)
