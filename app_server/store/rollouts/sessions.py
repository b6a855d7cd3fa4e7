"""The sessions that the reference has kept in this home, shown among the threads. Their files are read, never written.

A session is listed as soon as its file was found; its content is taken into the store when somebody asks for it, and
anew when the file has changed since. Once the thread has gone on here the file counts no more.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Literal

import anyio
import anyio.to_thread
from msgspec.structs import replace

from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.rollouts import table
from app_server.store.rollouts.chain import chain_of
from app_server.store.rollouts.compressed import SUFFIX, NoLibrary
from app_server.store.rollouts.files import SessionFile, files_in, files_of, folders, newest
from app_server.store.rollouts.names import Names
from app_server.store.rollouts.settings import SessionSettings
from app_server.store.rollouts.summary import NoSession, summarise
from app_server.store.rollouts.unread import UnreadSessions
from app_server.store.rows import Page, ThreadQuery
from app_server.store.search import Hit

if TYPE_CHECKING:
    from app_server.store.rollouts.replay import Session

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How old what lists show of the newest sessions may be."""
LOOK_COUNT: Final = 101
"""How many of the newest sessions are looked at before a list is answered: a page, and one that tells of the next."""
SCAN_SECONDS: Final = 60.0
"""How long after a look at all sessions a list causes the next."""
IDLE_SECONDS: Final = 2.0
"""When after the start all sessions are looked at."""
FRESH_SECONDS: Final = 0.25
"""How long a session that was just compared with its file is taken for the same: one request asks several times."""
CACHED: Final = 10_000
BATCH_FILES: Final = 50
BREATH_SECONDS: Final = 0.0005
"""How long a thread that looks at many files lets others have the interpreter now and then."""
BREATH_FILES: Final = 4
FURTHER_SECONDS: Final = 2.0
"""How long the end of a list waits until all sessions of a new home are found."""
ALL_SECONDS: Final = 30.0
"""How long a search waits for the same."""
PIECE_BYTES: Final = 4 << 20
PIECE_ROWS: Final = 2000
"""How much of a session is written in one transaction."""
SMALL_PIECES: Final = 4
"""A session of so many pieces, its end included, is written in one transaction."""


class Sessions:
    """The reference's sessions in `home`.

    `settings_text` turns what a file says of settings into what the store keeps of a thread's; `default_provider` is
    for the files that name none.
    """

    def __init__(
        self,
        home: Path,
        database: Database,
        daemon: Daemon,
        settings_text: Callable[[SessionSettings], str],
        default_provider: str,
    ) -> None:
        self._home, self._database, self._daemon = home, database, daemon
        self._settings_text, self._default_provider = settings_text, default_provider
        self._names = Names(home)
        self._unread = UnreadSessions(home, database, daemon)
        self._looking = anyio.Lock()
        self._looked: dict[bool, float] = {}
        self._scanned: float | None = None
        self._wanted = anyio.Event()
        self._complete = anyio.Event()
        self._awaited = False
        self._seen: set[bool] = set()
        self._reading: dict[str, anyio.Lock] = {}
        self._useless: dict[str, tuple[int, int]] = {}
        self._others: dict[str, float] = {}
        self._fresh: dict[str, float] = {}

    # Finding

    async def keep(self) -> None:
        """Look at all sessions soon after the start, and again when lists are asked for; the owner runs this."""
        with anyio.move_on_after(IDLE_SECONDS):
            await self._wanted.wait()
        while True:
            self._wanted = anyio.Event()
            await self.scan()
            await self._wanted.wait()

    async def look(self, *, archived: bool) -> None:
        """Take note of the newest sessions before they are listed; what is older is seen to in the background."""
        async with self._looking:
            if not self._looked and await self._database.read(table.is_begun):
                self._complete.set()  # all but what was changed since was found by an earlier daemon
            last = self._looked.get(archived)
            if last is None or monotonic() - last >= LOOK_SECONDS:
                files = await anyio.to_thread.run_sync(partial(newest, self._home, LOOK_COUNT, archived=archived))
                await self._take(files)
                self._looked[archived] = monotonic()
                if len(files) < LOOK_COUNT:
                    self._seen.add(archived)
        if self._scanned is None or monotonic() - self._scanned >= SCAN_SECONDS:
            self._wanted.set()

    async def more(self, *, archived: bool) -> bool:
        """Whether a list that seems to be at its end may go on after all: in a new home all sessions are found by now.

        It waits for that, but not for long.
        """
        if archived in self._seen or self._complete.is_set():
            return False
        self._awaited = True
        with anyio.move_on_after(FURTHER_SECONDS):
            await self._complete.wait()
        return True

    async def search(self, query: ThreadQuery, term: str) -> Page[Hit]:
        """A page of all threads in which a text stands, these sessions among them. Raises BadCursor."""
        await self.look(archived=query.archived)
        if query.archived not in self._seen and not self._complete.is_set():
            self._awaited = True
            with anyio.move_on_after(ALL_SECONDS):
                await self._complete.wait()
        return await self._unread.search(query, term)

    async def scan(self) -> None:
        """Take note of all sessions and of those that are gone, a few at a time."""
        self._scanned = monotonic()
        known = await self._database.read(table.known)
        changed, lost = await anyio.to_thread.run_sync(_survey, self._home, known, self._useless)
        for start in range(0, len(changed), BATCH_FILES):
            began = monotonic()
            await self._take(changed[start : start + BATCH_FILES])
            if not self._awaited:
                # The interpreter is shared with those who wait for answers.
                await anyio.sleep(monotonic() - began)
        if lost:
            await self._forget(lost)
        self._complete.set()

    async def find(self, thread_id: str) -> bool:
        """Whether a session of this id is there after all; it is listed then."""
        files = await anyio.to_thread.run_sync(files_of, self._home, thread_id)
        if not files and not self._complete.is_set():
            files = await anyio.to_thread.run_sync(partial(files_of, self._home, thread_id, everywhere=True))
        await self._take(files[:1])
        return await self._database.read(lambda connection: table.owned(connection, thread_id)) is not None

    async def _take(self, files: Sequence[SessionFile]) -> None:
        """Take note of these files as far as they are not known as they are."""
        if not files:
            return
        paths = [file.path for file in files]
        known = await self._database.read(lambda connection: table.known(connection, paths))
        known |= {path: self._useless[path] for path in paths if path in self._useless}
        found, useless = await anyio.to_thread.run_sync(self._changed, files, known)
        self._useless |= useless
        names, changed = await anyio.to_thread.run_sync(self._names.read)
        if not found and not changed:
            return

        def write(connection: sqlite3.Connection) -> list[str]:
            passed_over = table.put(connection, found, names)
            if changed:
                table.rename(connection, names)
            return passed_over

        passed = set(await self._database.write(write))
        self._useless |= {one.file.path: (one.mtime_ns, one.size) for one in found if one.file.path in passed}

    def _changed(
        self, files: Iterable[SessionFile], known: dict[str, tuple[int, int]]
    ) -> tuple[list[table.Found], dict[str, tuple[int, int]]]:
        """The files that are new or changed, and those that are no sessions. Reads files."""
        found: list[table.Found] = []
        useless: dict[str, tuple[int, int]] = {}
        for place, file in enumerate(files):
            try:
                status = os.stat(file.path)
                state = status.st_mtime_ns, status.st_size
                if known.get(file.path) == state:
                    continue
                if place % BREATH_FILES == 0 and not self._awaited:
                    sleep(BREATH_SECONDS)
                try:
                    summary = summarise(file.path, file.archived, self._default_provider, self._beginning)
                except (NoSession, NoLibrary) as error:
                    logger.info("%s is passed over: %s", file.path, error)
                    useless[file.path] = state
                else:
                    # By its name a file is found again, whatever it says of itself.
                    row = replace(summary.row, id=file.thread_id)
                    found.append(table.Found(file, *state, replace(summary, row=row)))
            except OSError as error:
                logger.info("%s cannot be read: %s", file.path, error.strerror or error)
        return found, useless

    def _beginning(self, path: str) -> str:
        """The file in which the session of this file began. Reads files."""
        return chain_of(self._home, path).parts[0].path

    async def _forget(self, paths: Iterable[str]) -> None:
        gone = await anyio.to_thread.run_sync(lambda: [path for path in paths if not os.path.lexists(path)])
        if gone:
            await self._database.write(lambda connection: table.gone(connection, gone))

    async def count(self) -> tuple[int, int]:
        """How many sessions are shown as threads, and how many were deleted here and are not shown."""
        return await self._database.read(table.count)

    # Reading

    async def refresh(self, thread_id: str) -> bool:
        """Have what the session of this thread holds in the store; False when its file cannot be read.

        Nothing happens for a thread that no session file is about, that is open somewhere, or that went on here. A
        session that is not known yet is looked for.
        """
        if thread_id in self._others or monotonic() - self._fresh.get(thread_id, -FRESH_SECONDS) < FRESH_SECONDS:
            return True
        async with self._reading.setdefault(thread_id, anyio.Lock()):
            try:
                return await self._refresh(thread_id)
            finally:
                if self._reading[thread_id].statistics().tasks_waiting == 0:
                    del self._reading[thread_id]

    async def _refresh(self, thread_id: str) -> bool:
        found = await self._database.read(partial(self._standing, thread_id))
        if found == "unknown":
            if not await self.find(thread_id):
                return True
            found = await self._database.read(partial(self._standing, thread_id))
        if found == "another":
            _keep(self._others, thread_id, 0.0)
            return True
        if not isinstance(found, table.Entry) or not await anyio.to_thread.run_sync(_has_changed, found):
            _keep(self._fresh, thread_id, monotonic())
            return True
        return await self._read(found)

    def _standing(
        self, thread_id: str, connection: sqlite3.Connection
    ) -> table.Entry | Literal["unknown", "another", "settled"]:
        """The session of a thread, if its file counts; else whether there is another thread of this id, or none."""
        known = table.owned(connection, thread_id)
        if known is None:
            one = connection.execute("SELECT 1 FROM threads WHERE id = ?", (thread_id,)).fetchone()
            return "unknown" if one is None else "another"
        found, owner = known
        # What this daemon was reading when the client left that had asked for it is read again.
        left = found.state == "reading" and owner == self._daemon.id
        if owner is not None and not left and self._daemon.is_alive(owner):
            return "settled"
        return "settled" if table.touched(connection, found) else found

    async def warning(self, thread_id: str) -> str | None:
        """What a client should know of a thread that went on both here and in the reference."""

        def work(connection: sqlite3.Connection) -> tuple[table.Entry, bool] | None:
            found = table.entry(connection, thread_id)
            return None if found is None else (found, table.touched(connection, found))

        known = await self._database.read(work)
        if known is None or not known[1] or known[0].read_size is None:
            return None
        found = known[0]
        if found.path.endswith(SUFFIX):
            return None  # what is written to is not compressed
        try:
            status = await anyio.to_thread.run_sync(os.stat, found.path)
        except OSError:
            return None
        if (status.st_mtime_ns, status.st_size) == (found.read_mtime_ns, found.read_size):
            return None
        return (
            f"This session went on in Codex after it was continued here. What was said there since is in {found.path} "
            "and not shown here"
        )

    async def _read(self, found: table.Entry) -> bool:
        """Take the content of a session file into the store. False when there is none to be had."""
        try:
            (mtime_ns, size), session = await anyio.to_thread.run_sync(self._load, found.path)
        except FileNotFoundError:
            files = await anyio.to_thread.run_sync(files_of, self._home, found.thread_id)
            await self._take(files[:1])
            moved = await self._database.read(lambda connection: table.entry(connection, found.thread_id))
            if moved is not None and moved.path != found.path:
                return await self._read(moved)
            return found.state == "read"
        except (OSError, NoLibrary) as error:
            logger.warning("the session file %s cannot be read: %s", found.path, error)
            return found.state == "read"
        settings = session.settings
        columns: dict[str, str | None] = {
            "settings": self._settings_text(settings),
            "token_usage": session.token_usage,
            "reasoning_effort": settings.effort,
            "cwd": settings.cwd,
        }
        for column, value in (("model", settings.model), ("model_provider", settings.model_provider)):
            if value is not None:
                columns[column] = value
        await self._store(replace(found, mtime_ns=mtime_ns, size=size), session, columns)
        return True

    def _load(self, path: str) -> tuple[tuple[int, int], "Session"]:
        from app_server.store.rollouts.replay import replay

        status = os.stat(path)
        chain = chain_of(self._home, path)
        if chain.incomplete is not None:
            logger.warning("%s: %s", path, chain.incomplete)
        return (status.st_mtime_ns, status.st_size), replay(chain.records(), chain.paginated)

    async def _store(self, found: table.Entry, session: "Session", columns: dict[str, str | None]) -> None:
        """Write a session, a large one in pieces, so that others who write do not wait for all of it."""
        number, daemon = found.thread, self._daemon
        assert number is not None
        turns = {turn.id: ordinal for ordinal, turn in enumerate(session.turns)}
        pieces: list[Callable[[sqlite3.Connection], None]] = [
            lambda connection: table.add_turns(connection, number, session.turns)
        ]
        for start, end in _pieces(len(item.payload) for item in session.items):
            pieces.append(partial(table.add_items, number, start, session.items[start:end], turns))
        for start, end in _pieces(len(payload) for _, payload in session.history):
            pieces.append(partial(table.add_history, number, start, session.history[start:end], turns))
        pieces.append(lambda connection: table.end(connection, found, session, columns, daemon.id))
        small = len(pieces) <= SMALL_PIECES
        together, others = (pieces, []) if small else (pieces[:1], pieces[1:])

        def begin(connection: sqlite3.Connection) -> bool:
            if not table.begin(connection, found, daemon):
                return False
            for piece in together:
                piece(connection)
            return True

        if await self._database.write(begin):
            for piece in others:
                await self._database.write(piece)


def _survey(
    home: Path, known: dict[str, tuple[int, int]], useless: dict[str, tuple[int, int]]
) -> tuple[list[SessionFile], list[str]]:
    """The session files that are not known as they are, and the paths of those that are known and are no more.

    Of the files of one thread only the newest counts.
    """
    counting: dict[str, SessionFile] = {}
    for folder, archived in folders(home):
        for file in files_in(folder, archived):
            if file.thread_id not in counting or file.rank > counting[file.thread_id].rank:
                counting[file.thread_id] = file
        sleep(BREATH_SECONDS)
    changed: list[SessionFile] = []
    for place, file in enumerate(counting.values()):
        if place % BATCH_FILES == 0:
            sleep(BREATH_SECONDS)
        try:
            status = os.stat(file.path)
        except OSError:
            continue
        state = status.st_mtime_ns, status.st_size
        if known.get(file.path) != state and useless.get(file.path) != state:
            changed.append(file)
    present = {file.path for file in counting.values()}
    return changed, [path for path in known if path not in present]


def _has_changed(found: table.Entry) -> bool:
    """Whether the file is another than the one that was read."""
    if found.state != "read":
        return True
    try:
        status = os.stat(found.path)
    except OSError:
        return True
    return (status.st_mtime_ns, status.st_size) != (found.read_mtime_ns, found.read_size)


def _keep(cache: dict[str, float], key: str, value: float) -> None:
    if len(cache) >= CACHED:
        cache.clear()
    cache[key] = value


def _pieces(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where to cut rows of these sizes so that a piece is no larger than one transaction should be."""
    start = total = place = 0
    for place, size in enumerate(sizes, start=1):
        total += size
        if total >= PIECE_BYTES or place - start >= PIECE_ROWS:
            yield start, place
            start, total = place, 0
    if place > start:
        yield start, place
