"""One SQLite file: a writing connection with group commit, a reading connection, and a careful way of opening."""

import fcntl
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import anyio

from app_server.store import migrations
from app_server.store.errors import StoreError

if TYPE_CHECKING:
    import aiosqlite

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_BUSY_SECONDS = 10.0
# The -wal file is folded into the database at about 2 MB and cut back to 1 MB when it is started over.
_WAL_PAGES = 512
_WAL_BYTES = 1 << 20
_VACUUM_PAGES = 2500
# A database up to this size is checked page by page when it is opened; of a larger one SQLite itself checks the header
# and the length.
_FULL_CHECK_BYTES = 32 << 20

_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk or quota is full; free some space",
    sqlite3.SQLITE_IOERR: "the disk refused the access; check that it is not full and that it is healthy",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the owner and permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the owner and permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened; check the owner and permissions of the file and its folder",
    sqlite3.SQLITE_BUSY: "another process holds it locked; stop that process",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restart turnloom, which sets it aside, then restore a copy if there is one",
    sqlite3.SQLITE_NOTADB: "it is damaged; restart turnloom, which sets it aside, then restore a copy if there is one",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class _WorkConnection(sqlite3.Connection):
    """A connection whose `commit` does the work handed to it.

    aiosqlite calls `commit` in the connection's thread. So a whole group of statements costs one hop between
    threads through aiosqlite's public interface, where one hop for each statement costs three times as much.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: sqlite3.connect passes its own arguments on
        super().__init__(*args, **kwargs)
        self.work: deque[Callable[[], None]] = deque()

    def commit(self) -> None:
        while self.work:
            self.work.popleft()()


class _Unit(Generic[T]):
    """One submitted piece of work and, afterwards, what came of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = anyio.Event()
        self.value: T | None = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the work; an error is raised, for the caller must roll back."""
        self.value, self.error = None, None
        self.value = self.work(connection)

    def result(self, path: Path) -> T:
        """The work's value, or its error: SQLite's as a `StoreError`, any other as it was raised."""
        if isinstance(self.error, sqlite3.Error):
            raise store_error(self.error, path) from self.error
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


class Database:
    """An open database file; use it as an async context manager.

    Entering opens the file, checks it and brings its schema up to date. A damaged file is set aside with a line in
    `warnings`. A file of a newer schema raises `StoreError` and is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._lock: int | None = None
        self._writing: _Side | None = None
        self._reading: _Side | None = None
        self.written = anyio.Event()
        """Set, and replaced by another one, when something was written."""
        self._queued: list[_Unit[Any]] = []  # Any: units of every result type share the queue
        self._wake = anyio.Event()
        self._closed = False
        self._drained = anyio.Event()
        # Shielded, for those who are being cancelled write their last words; `__aexit__` bounds it.
        self._scope = anyio.CancelScope(shield=True)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._unlock)
            self._writing = await stack.enter_async_context(_Side(self._open_for_writing))
            self._reading = await stack.enter_async_context(_Side(self._open_for_reading))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._write_groups, self._writing)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._wake.set()
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._drained.wait()
        self._scope.cancel()
        if self._writing is not None and self._drained.is_set():
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._writing.run(_give_back_space)
        # Not `__aexit__` with the error: the task group would wrap it in a group of errors.
        await self._stack.aclose()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the writer's thread as part of a group, and return its value once the group is committed.

        `work` gets the writing connection inside a transaction and does nothing else than use it: it may run a second
        time, alone, when its group fails. What it raises undoes its own changes only and is raised here; SQLite's
        errors become `StoreError`. Cancelling the caller does not take the work back.
        """
        if self._closed:
            raise StoreError(f"{self.path} is closed")
        unit = _Unit(work)
        self._queued.append(unit)
        self._wake.set()
        await unit.done.wait()
        return unit.result(self.path)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the reader's thread and return its value. All that it reads is of one moment.

        SQLite's errors become `StoreError`.
        """
        if self._closed or self._reading is None:
            raise StoreError(f"{self.path} is closed")
        unit = _Unit(work)
        await self._reading.run(partial(_read_one, unit))
        return unit.result(self.path)

    async def _write_groups(self, side: "_Side") -> None:
        with self._scope:
            while not (self._closed and not self._queued):
                await self._wake.wait()
                self._wake = anyio.Event()
                group, self._queued = self._queued, []
                if group:
                    await self._write_group(side, group)
                if self._queued:
                    self._wake.set()
        self._drained.set()
        for unit in self._queued:
            unit.error = StoreError(f"{self.path} was closed before this could be written")
            unit.done.set()

    async def _write_group(self, side: "_Side", group: list[_Unit[Any]]) -> None:
        try:
            await side.run(partial(_commit_group, group))
        except sqlite3.Error as error:
            for unit in group:
                unit.error = unit.error or error
        except BaseException:
            for unit in group:
                unit.error = StoreError(f"{self.path} was closed before the write was confirmed")
            raise
        finally:
            for unit in group:
                unit.done.set()
            self.written.set()
            self.written = anyio.Event()

    # Opening. All of this runs in a connection's own thread.

    def _open_for_writing(self) -> _WorkConnection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            if not self.path.exists():
                # SQLite gives its -wal and -shm files the mode of the database.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            elif self.path.stat().st_size == 0:
                self._open_empty()
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be opened: {error.strerror or error}: check the owner, the permissions and the "
                "free space of its folder"
            ) from error
        try:
            connection = self._open_checked()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise store_error(error, self.path) from error
            self._set_aside(" ".join(str(error).split()))
            connection = self._open_checked()
        fcntl.flock(self._held_lock(), fcntl.LOCK_SH)
        return connection

    def _open_checked(self) -> _WorkConnection:
        connection = self._connect()
        try:
            version = migrations.version_of(connection)
            if version > migrations.VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer turnloom (schema {version}, this one knows "
                    f"{migrations.VERSION}); update turnloom, or move the file away to start anew"
                )
            _check(connection, version)
            if version == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            migrations.migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_for_reading(self) -> _WorkConnection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        connection.create_function("contains_fold", 2, _contains_fold, deterministic=True)
        return connection

    def _connect(self) -> _WorkConnection:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            factory=_WorkConnection,
        )
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        return connection

    def _take_lock(self) -> None:
        """Lock out other openers; where other processes are using the file, join them.

        While it is used the file's lock is shared. Held alone, it says that nobody minds the file being renamed.
        """
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._lock = lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Waits for another opener only: users share.
            fcntl.flock(lock, fcntl.LOCK_SH)

    def _held_lock(self) -> int:
        assert self._lock is not None
        return self._lock

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_empty(self) -> None:
        if Path(f"{self.path}-wal").exists():
            # SQLite would take the file for new and throw its -wal away.
            self._set_aside("the file is empty although a -wal file with its content exists")
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _set_aside(self, why: str) -> None:
        try:
            fcntl.flock(self._held_lock(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{self.path} is damaged ({why}) and another turnloom daemon is using it; stop that daemon and start "
                "again"
            ) from None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = Path(f"{self.path}.damaged-{stamp}")
        while aside.exists():
            aside = Path(f"{aside}x")
        for suffix in ("-wal", "-shm", ""):
            if (source := Path(f"{self.path}{suffix}")).exists():
                source.rename(f"{aside}{suffix}")
        self.warnings.append(
            f"{self.path} is damaged ({why}). It was set aside as {aside} and an empty database was started "
            "in its place"
        )


class _Side:
    """One aiosqlite connection and the way to run work in its thread."""

    def __init__(self, opener: Callable[[], _WorkConnection]) -> None:
        self._opener = opener
        self._raw: _WorkConnection | None = None
        self._connection: aiosqlite.Connection | None = None

    async def __aenter__(self) -> Self:
        import aiosqlite

        failure: BaseException | None = None

        def connect() -> sqlite3.Connection:
            nonlocal failure
            try:
                self._raw = self._opener()
            except BaseException as error:  # of any kind: it travels to who opens the database
                # aiosqlite would leave its thread to end some time; a connection that it can close ends it now.
                failure = error
                return sqlite3.connect(":memory:")
            return self._raw

        with anyio.CancelScope(shield=True):  # bounded by SQLite's busy timeout; cancelled, it would leave the thread
            self._connection = await aiosqlite.Connection(connect, iter_chunk_size=64)
        if failure is not None:
            await self.__aexit__(None, None, None)
            raise failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._connection.close()

    async def run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run `work` in the thread, in the order of the calls. A cancelled caller leaves it running."""
        assert self._raw is not None
        assert self._connection is not None
        self._raw.work.append(partial(work, self._raw))
        await self._connection.commit()


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error with the file's path and what to do about it."""
    remedy = _REMEDIES.get(_code(error))
    return StoreError(f"{path}: {error}" + (f": {remedy}" if remedy else ""))


def _commit_group(group: Sequence[_Unit[Any]], connection: sqlite3.Connection) -> None:
    error = _commit_together(group, connection)
    if error is None:
        return
    if len(group) == 1:
        group[0].error = error
        return
    # Somebody's work failed: alone, each succeeds or fails for itself.
    for unit in group:
        unit.error = _commit_together([unit], connection)


def _commit_together(group: Sequence[_Unit[Any]], connection: sqlite3.Connection) -> BaseException | None:
    """What undid the transaction, if anything did. Raises when no transaction could be begun."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for unit in group:
            unit.run(connection)
        connection.execute("COMMIT")
    except BaseException as error:  # of any kind: it travels to who submitted the work
        # Some errors, such as a full disk, have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return error
    return None


def _read_one(unit: _Unit[Any], connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN")
        try:
            unit.run(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except BaseException as error:  # of any kind: it travels to who submitted the work
        unit.error = error


def _code(error: sqlite3.Error) -> int:
    # The low byte is the kind of error, the rest a finer distinction.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGE or isinstance(error, _Damaged)


class _Damaged(sqlite3.DatabaseError):
    """The check at opening found what SQLite itself had not yet stumbled over."""


def _check(connection: sqlite3.Connection, version: int) -> None:
    tables = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if version == 0:
        if tables:
            raise _Damaged("it holds tables that are not turnloom's")
        return
    pages, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    if pages * size <= _FULL_CHECK_BYTES:
        findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
        if findings != ["ok"]:
            raise _Damaged(findings[0])


def _give_back_space(connection: sqlite3.Connection) -> None:
    """Shrink the file by pages that deletions have freed: a bounded number of them, for the daemon is closing."""
    with suppress(sqlite3.Error):  # it is no more than tidying
        # Not `execute`, which takes one step of the statement and so frees one page.
        connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")


def _contains_fold(text: str | None, folded: str) -> bool:
    return text is not None and folded in text.casefold()
