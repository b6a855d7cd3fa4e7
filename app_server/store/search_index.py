"""Keeping the index of all text up to date, in the background."""

import logging
import sqlite3
from time import monotonic
from typing import Final

import anyio
import anyio.lowlevel

from app_server.store.database import Database
from app_server.store.errors import StoreError
from app_server.store.item_text import text_of

BATCH_ITEMS: Final = 200
BATCH_CHARACTERS: Final = 100_000
"""What is indexed in one transaction: little enough that others hardly wait for it, and as much as makes it cheap."""

REST_SECONDS: Final = 0.5
"""How long items may wait for each other; a search does not wait for that."""
BACKLOG_SECONDS: Final = 0.5
"""For how long the backlog is worked at, before a rest as long."""
MOST_BATCHES: Final = 20
"""What a search indexes before it looks; there is more only while very much is being written."""

logger = logging.getLogger(__name__)

_ADD: Final = "INSERT INTO search (rowid, text) VALUES (?, ?)"
_REMOVE: Final = "INSERT INTO search (search, rowid, text) VALUES ('delete', ?, ?)"
# Two blanks at the end let every character begin a group of three.
_PADDING: Final = "  "


class SearchIndex:
    """Brings what is in the queue and the backlog into the index, and takes out what was removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Index what is written from now on, and what was there before; runs as long as the daemon does."""
        failing = False
        while True:
            written = self._database.written
            try:
                done = await self.catch_up() or await self.work_off()
                failing = False
            except StoreError as error:
                if not failing:
                    logger.error("the index for searching cannot be kept up to date: %s", error)
                done, failing = False, True
            if not done:
                await written.wait()
            await anyio.sleep(REST_SECONDS)

    async def catch_up(self) -> bool:
        """Index what has been written; whether there was anything. What was there before the index stays for `run`."""
        for batch in range(MOST_BATCHES):
            if not await self._database.read(_is_behind) or not await self._database.write(_index_queue):
                return batch > 0
        return True

    async def work_off(self) -> bool:
        """Index some of what was there before the index; whether there was anything."""
        if not await self._database.read(has_backlog):
            return False
        ends = monotonic() + BACKLOG_SECONDS
        while monotonic() < ends and await self._database.write(_index_backlog):
            # A moment for those who write, though each batch is short.
            await anyio.lowlevel.checkpoint()
        return True


def has_backlog(connection: sqlite3.Connection) -> bool:
    """Whether there are items from before the index that are not in it yet."""
    return connection.execute("SELECT 1 FROM search_backlog WHERE after < through").fetchone() is not None


def is_queued(connection: sqlite3.Connection, first: int, last: int) -> bool:
    """Whether items of these rowids were written and are not in the index yet."""
    query = "SELECT 1 FROM search_queue WHERE item BETWEEN ? AND ? LIMIT 1"
    return connection.execute(query, (first, last)).fetchone() is not None


def _is_behind(connection: sqlite3.Connection) -> bool:
    (behind,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM search_queue) OR EXISTS (SELECT 1 FROM search_removed)"
    ).fetchone()
    return bool(behind)


def _index_queue(connection: sqlite3.Connection) -> bool:
    """A batch of what was removed or, when that is done, of what was written; whether there was any."""
    # Rowids are used again: what was removed goes first, or it would take the words of a newer item along.
    removed = connection.execute(
        "SELECT number, item, type, payload FROM search_removed ORDER BY number LIMIT ?", (BATCH_ITEMS,)
    )
    gone = 0
    for number, item, kind, payload in removed:
        gone = number
        connection.execute(_REMOVE, (item, _indexed(kind, payload)))
    if gone:
        connection.execute("DELETE FROM search_removed WHERE number <= ?", (gone,))
        return True
    rows = connection.execute(
        "SELECT item, thread, type, payload FROM search_queue JOIN items ON items.rowid = item ORDER BY item LIMIT ?",
        (BATCH_ITEMS,),
    )
    last = _add(connection, rows)
    if last is not None:
        connection.execute("DELETE FROM search_queue WHERE item <= ?", (last,))
    return last is not None


def _index_backlog(connection: sqlite3.Connection) -> bool:
    """A batch of what was there before the index; whether there was any."""
    rows = connection.execute(
        "SELECT items.rowid, thread, type, payload FROM items, search_backlog"
        " WHERE items.rowid > after AND items.rowid <= through AND completed_at_ms IS NOT NULL"
        " ORDER BY items.rowid LIMIT ?",
        (BATCH_ITEMS,),
    )
    last = _add(connection, rows)
    connection.execute("UPDATE search_backlog SET after = coalesce(?, through)", (last,))
    return last is not None


def _add(connection: sqlite3.Connection, rows: sqlite3.Cursor) -> int | None:
    """Index items until it is enough for a batch; the rowid of the last one."""
    last = None
    characters = 0
    for item, thread, kind, payload in rows:
        last = item
        added = connection.execute("INSERT OR IGNORE INTO search_docs VALUES (?, ?)", (item, thread))
        text = _indexed(kind, payload) if added.rowcount else ""
        if text:
            connection.execute(_ADD, (item, text))
        elif added.rowcount:
            connection.execute("DELETE FROM search_docs WHERE item = ?", (item,))
        characters += len(text)
        if characters > BATCH_CHARACTERS:
            break
    rows.close()
    return last


def _indexed(kind: str, payload: bytes) -> str:
    text = text_of(kind, payload)
    return text.casefold() + _PADDING if text else ""
