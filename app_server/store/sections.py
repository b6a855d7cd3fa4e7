"""Sections: the groups that users sort their threads into, and the order of threads within each."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from app_server.store.cursors import Cursor, decode
from app_server.store.database import Database
from app_server.store.ids import uuid7
from app_server.store.rows import Page
from app_server.store.threads import ThreadStore

PINNED: Final = "01984de2-8f74-7c91-a3b2-5c5e937cf318"
"""The section that every home has from the start; it can be neither renamed nor deleted."""

_GAP: Final = 1 << 20
"""Between the positions of neighbours, so that a thread can mostly be put between them without moving others."""


class SectionMissing(LookupError):
    """No section has this id."""

    def __init__(self, section_id: str) -> None:
        super().__init__(f"thread section not found: {section_id}")
        self.section_id = section_id


class NotInSection(LookupError):
    """The thread before which another one was to be put is not in the section."""


class SectionRow(Struct, frozen=True):
    """A section; `appearance` is the wire's ThreadSectionAppearance as JSON."""

    id: str
    name: str
    appearance: str | None = None


class SectionStore:
    """The sections of a home; a change of a thread raises what `ThreadStore` raises."""

    def __init__(self, database: Database, threads: ThreadStore) -> None:
        self._database, self._threads = database, threads

    async def page(self, cursor: str | None, limit: int) -> Page[SectionRow]:
        """A page of sections, oldest first. Raises BadCursor."""

        def work(connection: sqlite3.Connection) -> Page[SectionRow]:
            after = -1 if cursor is None else decode(cursor, "sections", 1).place[0]
            rows = connection.execute(
                "SELECT number, id, name, appearance FROM sections WHERE number > ? ORDER BY number LIMIT ?",
                (after, limit + 1),
            ).fetchall()
            more = len(rows) > limit
            following = Cursor("sections", (rows[limit - 1][0],), inclusive=False).encode() if more else None
            return Page(tuple(SectionRow(*row[1:]) for row in rows[:limit]), following, None)

        return await self._database.read(work)

    async def create(self, name: str, appearance: str | None) -> SectionRow:
        """Add a section at the end."""
        row = SectionRow(uuid7(), name, appearance)
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT INTO sections (id, name, appearance) VALUES (?, ?, ?)", (row.id, name, appearance)
            )
        )
        return row

    async def update(self, section_id: str, name: str, appearance: str | None, *, repaint: bool) -> SectionRow:
        """Rename a section and, if `repaint`, change its looks. Raises SectionMissing."""

        def work(connection: sqlite3.Connection) -> SectionRow:
            connection.execute("UPDATE sections SET name = ? WHERE id = ?", (name, section_id))
            if repaint:
                connection.execute("UPDATE sections SET appearance = ? WHERE id = ?", (appearance, section_id))
            return _get(connection, section_id)

        return await self._database.write(work)

    async def delete(self, section_id: str) -> None:
        """Remove a section; its threads are in none then. Raises SectionMissing."""

        def work(connection: sqlite3.Connection) -> None:
            if not connection.execute("DELETE FROM sections WHERE id = ?", (section_id,)).rowcount:
                raise SectionMissing(section_id)
            connection.execute(
                "UPDATE threads SET section_id = NULL, section_position = NULL, section_entered_at_ms = NULL"
                " WHERE section_id = ?",
                (section_id,),
            )

        await self._database.write(work)

    async def move(self, thread_id: str, section_id: str | None, before_id: str | None, at_ms: int) -> None:
        """Put a thread into a section, before another one of it or at its end, or out of any section.

        Raises SectionMissing and NotInSection.
        """

        def work(connection: sqlite3.Connection, number: int) -> None:
            position = None
            if section_id is not None:
                _get(connection, section_id)
                position = _position(connection, section_id, number, before_id)
            connection.execute(
                "UPDATE threads SET section_position = ?1, section_id = ?2,"
                " section_entered_at_ms = iif(section_id IS ?2, section_entered_at_ms, iif(?2 IS NULL, NULL, ?3))"
                " WHERE number = ?4",
                (position, section_id, at_ms, number),
            )

        await self._threads.change(thread_id, work)


def _get(connection: sqlite3.Connection, section_id: str) -> SectionRow:
    row = connection.execute("SELECT id, name, appearance FROM sections WHERE id = ?", (section_id,)).fetchone()
    if row is None:
        raise SectionMissing(section_id)
    return SectionRow(*row)


def _position(connection: sqlite3.Connection, section_id: str, number: int, before_id: str | None) -> int:
    """A free position in the section, for the thread with this number."""
    if before_id is None:
        (last,) = connection.execute(
            "SELECT max(section_position) FROM threads WHERE section_id = ? AND number != ?", (section_id, number)
        ).fetchone()
        return 0 if last is None else last + _GAP
    before, after = _around(connection, section_id, number, before_id)
    if after - before < 2:
        _spread(connection, section_id)
        before, after = _around(connection, section_id, number, before_id)
    return (before + after) // 2


def _around(connection: sqlite3.Connection, section_id: str, number: int, before_id: str) -> tuple[int, int]:
    """The positions between which a thread goes that is put before another one."""
    found = connection.execute(
        "SELECT section_position FROM threads WHERE section_id = ? AND id = ?", (section_id, before_id)
    ).fetchone()
    if found is None:
        raise NotInSection(f"before thread {before_id} is not in section {section_id}")
    (before,) = connection.execute(
        "SELECT max(section_position) FROM threads WHERE section_id = ? AND section_position < ? AND number != ?",
        (section_id, found[0], number),
    ).fetchone()
    return found[0] - 2 * _GAP if before is None else before, found[0]


def _spread(connection: sqlite3.Connection, section_id: str) -> None:
    rows: Sequence[tuple[int]] = connection.execute(
        "SELECT number FROM threads WHERE section_id = ? ORDER BY section_position, number", (section_id,)
    ).fetchall()
    connection.executemany(
        "UPDATE threads SET section_position = ? WHERE number = ?",
        [(place * _GAP, number) for place, (number,) in enumerate(rows)],
    )
