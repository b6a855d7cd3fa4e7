"""Searching all threads: those in the store by the index, and sessions that nobody has read yet in their files."""

import operator
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from app_server.store import listing
from app_server.store import search as texts
from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.item_text import fold
from app_server.store.rollouts import table
from app_server.store.rollouts.scanning import Pace, Place, Scan, Seen
from app_server.store.rows import Page, ThreadQuery

AT_ONCE: Final = 2
"""How many searches look through files at a time; others wait for them."""
TEXTS: Final = 16
FILES: Final = 50_000
"""Of how many texts and, for all of these together, of how many files it is known what was found."""


class UnreadSessions:
    """The text of sessions in `home` that are listed and not in the store.

    They are found in the order of the list, and looked through as far as a page needs. Nothing of them is stored; for
    the newest texts it is kept in which files they are.
    """

    def __init__(self, home: Path, database: Database, daemon: Daemon) -> None:
        self._home, self._database, self._daemon = home, database, daemon
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._seen: dict[str, dict[str, Seen]] = {}

    async def search(self, query: ThreadQuery, term: str) -> Page[texts.Hit]:
        """A page of all threads in which the text stands, read or not. Raises BadCursor."""

        def work(connection: sqlite3.Connection) -> tuple[list[texts.Found], list[tuple[Place, str]]]:
            unread = table.unread(connection, self._daemon)
            found = texts.find(connection, query, term, without=unread)
            if not unread:
                return found, []
            places = listing.places(connection, query, "search", among=unread)
            return found, [((at, number), unread[number]) for at, number in places]

        found, sessions = await self._database.read(work)
        if sessions:
            precedes = operator.gt if query.descending else operator.lt
            known, count = [place for place, _ in found], query.limit + 1
            scan = self._scan(fold(term))
            try:
                found += await anyio.to_thread.run_sync(
                    partial(scan.find, sessions, known, count, precedes), abandon_on_cancel=True, limiter=self._limiter
                )
            finally:
                scan.pace.stopped = True
                self._forget()
            found = sorted(found, key=lambda one: one[0], reverse=query.descending)[:count]
        return await self._database.read(lambda connection: texts.page(connection, query, found))

    def _scan(self, folded: str) -> Scan:
        # What has a text has all parts of it.
        barren = [seen for text, seen in self._seen.items() if text != folded and text in folded]
        seen = self._seen[folded] = self._seen.pop(folded, {})
        return Scan(self._home, folded, seen, barren, Pace())

    def _forget(self) -> None:
        """Drop what was found of the texts that were not looked for for longest."""
        while len(self._seen) > TEXTS or (len(self._seen) > 1 and sum(map(len, self._seen.values())) > FILES):
            del self._seen[next(iter(self._seen))]
