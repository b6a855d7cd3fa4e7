"""The statements about session files. All of them run in the store's own threads."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import astuple, replace

from app_server.store import writing
from app_server.store.daemons import Daemon
from app_server.store.rollouts import history
from app_server.store.rollouts.files import SessionFile, file_named
from app_server.store.rollouts.summary import Summary
from app_server.store.rows import ItemRow, ThreadColumns, TurnRow

if TYPE_CHECKING:
    from app_server.store.rollouts.replay import Session

State = Literal["listed", "reading", "read", "ours"]
"""How a session stands here: known by its file alone, being read, read as it was, or gone on with in turnloom."""

_COLUMNS: Final = (
    "session_files.thread_id, session_files.thread, path, mtime_ns, size, session_files.archived, session_files.name,"
    " state, read_mtime_ns, read_size, turns, items, history"
)
_ENTRY: Final = f"SELECT {_COLUMNS} FROM session_files"


class Found(Struct, frozen=True):
    """A session file that is new or has changed, with its size and time as they were before it was read."""

    file: SessionFile
    mtime_ns: int
    size: int
    summary: Summary


class Entry(Struct, frozen=True):
    """What is kept of a session file. `thread` is the number of its thread, None once that was deleted here.

    `archived` and `name` are as the reference has them; the thread's own may differ. The `read_` members tell of the
    file as it was when its content was taken in, and the counts of what it held.
    """

    thread_id: str
    thread: int | None
    path: str
    mtime_ns: int
    size: int
    archived: bool
    name: str | None
    state: State
    read_mtime_ns: int | None
    read_size: int | None
    turns: int | None
    items: int | None
    history: int | None


def known(connection: sqlite3.Connection, paths: Collection[str] | None = None) -> dict[str, tuple[int, int]]:
    """Time and size of each file as last seen, by path: of these, or of all."""
    if paths is None:
        rows = connection.execute("SELECT path, mtime_ns, size FROM session_files")
    else:
        marks = ", ".join("?" * len(paths))
        ids = [file.thread_id for path in paths if (file := file_named(path)) is not None]
        query = f"SELECT path, mtime_ns, size FROM session_files WHERE thread_id IN ({marks})"
        rows = connection.execute(query, ids + [""] * (len(paths) - len(ids)))
    return {path: (mtime_ns, size) for path, mtime_ns, size in rows}


def entry(connection: sqlite3.Connection, thread_id: str) -> Entry | None:
    """What is kept of the session of a thread."""
    row = connection.execute(f"{_ENTRY} WHERE session_files.thread_id = ?", (thread_id,)).fetchone()
    return None if row is None else Entry(*row)


def owned(connection: sqlite3.Connection, thread_id: str) -> tuple[Entry, str | None] | None:
    """What is kept of the session of a thread that is not deleted here, and who has the thread open."""
    row = connection.execute(
        f"SELECT {_COLUMNS}, threads.owner FROM session_files JOIN threads ON threads.number = session_files.thread"
        " WHERE session_files.thread_id = ?",
        (thread_id,),
    ).fetchone()
    return None if row is None else (Entry(*row[:-1]), row[-1])


def unread(connection: sqlite3.Connection, daemon: Daemon) -> dict[int, str]:
    """The files of sessions whose content would be taken in if it were asked for, by the numbers of their threads."""
    rows = connection.execute(
        f"{_ENTRY} WHERE thread IS NOT NULL AND state != 'ours'"
        " AND (state != 'read' OR mtime_ns != read_mtime_ns OR size != read_size)"
    )
    files: dict[int, str] = {}
    for row in rows:
        one = Entry(*row)
        if one.thread is not None and not (one.state == "read" and _counts_no_more(connection, one, daemon)):
            files[one.thread] = one.path
    return files


def _counts_no_more(connection: sqlite3.Connection, found: Entry, daemon: Daemon) -> bool:
    """Whether the thread of a session that was read went on here, or is open."""
    (owner,) = connection.execute("SELECT owner FROM threads WHERE number = ?", (found.thread,)).fetchone()
    return touched(connection, found) or (owner is not None and daemon.is_alive(owner))


def is_begun(connection: sqlite3.Connection) -> bool:
    """Whether any session file was ever found."""
    return connection.execute("SELECT 1 FROM session_files LIMIT 1").fetchone() is not None


def count(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many sessions are shown as threads, and how many are not because they were deleted here."""
    row = connection.execute("SELECT count(thread), count(*) - count(thread) FROM session_files").fetchone()
    return int(row[0]), int(row[1])


def put(connection: sqlite3.Connection, found: Iterable[Found], names: dict[str, str]) -> list[str]:
    """Take note of new and changed files; returns the paths of those that do not count.

    A thread that was changed here since the file was last seen keeps its name, and whether it is archived, where
    these differ from what the file had then; one that went on here keeps all that it has.
    """
    useless: list[str] = []
    for one in found:
        thread_id = one.summary.row.id
        before = entry(connection, thread_id)
        if before is None:
            _add(connection, one, names.get(thread_id))
        elif before.path != one.file.path and _rank(before.path) > one.file.rank and Path(before.path).exists():
            useless.append(one.file.path)
        else:
            _update(connection, one, before, names.get(thread_id, before.name))
    return useless


def _add(connection: sqlite3.Connection, found: Found, name: str | None) -> None:
    row = replace(found.summary.row, name=name)
    # A thread of this id that has no file is one whose file was lost sight of: what it has is more than the file's.
    number = connection.execute("SELECT number FROM threads WHERE id = ?", (row.id,)).fetchone()
    state: State = "listed" if number is None else "ours"
    if number is None:
        number = (writing.insert_thread(connection, row),)
        if found.summary.has_message:
            connection.execute("UPDATE threads SET has_turns = 1 WHERE number = ?", number)
    _write(connection, _entry_of(found, number[0], name, state))


def _entry_of(found: Found, number: int, name: str | None, state: State) -> Entry:
    file = found.file
    return Entry(
        found.summary.row.id,
        number,
        file.path,
        found.mtime_ns,
        found.size,
        file.archived,
        name,
        state,
        read_mtime_ns=None,
        read_size=None,
        turns=None,
        items=None,
        history=None,
    )


def _write(connection: sqlite3.Connection, value: Entry) -> None:
    connection.execute(f"INSERT OR REPLACE INTO session_files VALUES ({', '.join('?' * 13)})", astuple(value))


def _update(connection: sqlite3.Connection, found: Found, before: Entry, name: str | None) -> None:
    row = found.summary.row
    after = replace(
        before,
        path=found.file.path,
        mtime_ns=found.mtime_ns,
        size=found.size,
        archived=found.file.archived,
        name=name,
    )
    if before.thread is not None:
        if not touched(connection, before):
            has = {
                "updated_at_ms": row.updated_at_ms,
                "recency_at_ms": row.recency_at_ms,
                "model": row.model,
                "reasoning_effort": row.reasoning_effort,
                "preview": row.preview,
            }
            writing.set_columns(connection, before.thread, has)
            if found.summary.has_message:
                connection.execute("UPDATE threads SET has_turns = 1 WHERE number = ?", (before.thread,))
        elif before.state != "ours":
            after = replace(after, state="ours")
        _follow(connection, before, after)
    _write(connection, after)


def _follow(connection: sqlite3.Connection, before: Entry, after: Entry) -> None:
    """What the reference changed of the thread holds here too, unless it was changed here."""
    for column, old, new in (("archived", before.archived, after.archived), ("name", before.name, after.name)):
        if old != new:
            connection.execute(
                f"UPDATE threads SET {column} = ? WHERE number = ? AND {column} IS ?", (new, before.thread, old)
            )


def rename(connection: sqlite3.Connection, names: dict[str, str]) -> None:
    """Take note of the names that the reference has for its threads."""
    kept = dict(connection.execute("SELECT thread_id, name FROM session_files").fetchall())
    for thread_id, name in names.items():
        if thread_id in kept and kept[thread_id] != name and (before := entry(connection, thread_id)) is not None:
            after = replace(before, name=name)
            _follow(connection, before, after)
            _write(connection, after)


def gone(connection: sqlite3.Connection, paths: Sequence[str]) -> None:
    """Forget sessions whose files are gone, and their threads unless those went on here or are open."""
    for path in paths:
        row = connection.execute(f"{_ENTRY} WHERE path = ?", (path,)).fetchone()
        if row is None:
            continue
        lost = Entry(*row)
        if lost.thread is not None and not touched(connection, lost):
            connection.execute("DELETE FROM threads WHERE number = ? AND owner IS NULL", (lost.thread,))
        connection.execute("DELETE FROM session_files WHERE thread_id = ?", (lost.thread_id,))


def touched(connection: sqlite3.Connection, found: Entry) -> bool:
    """Whether the thread went on here after its file was read."""
    if found.state in ("listed", "reading"):
        return False
    return found.state == "ours" or _counts(connection, found.thread) != (found.turns, found.items, found.history)


def _counts(connection: sqlite3.Connection, number: int | None) -> tuple[int, ...]:
    # Ordinals have no gaps before the last: a thread is added to and cut off at its end only.
    query = "SELECT coalesce(max(ordinal) + 1, 0) FROM {} WHERE thread = ?"
    tables = ("turns", "items", "history")
    return tuple(int(connection.execute(query.format(table), (number,)).fetchone()[0]) for table in tables)


def begin(connection: sqlite3.Connection, found: Entry, daemon: Daemon) -> bool:
    """Make room for what a file holds, and the thread this daemon's.

    False when it was deleted, opened or gone on with meanwhile.
    """
    known = owned(connection, found.thread_id)
    if known is None or known[0].path != found.path or touched(connection, known[0]):
        return False
    now, owner = known
    if owner is not None and owner != daemon.id and daemon.is_alive(owner):
        return False
    for table in ("items", "history", "turns"):
        connection.execute(f"DELETE FROM {table} WHERE thread = ?", (now.thread,))
    connection.execute("UPDATE threads SET owner = ? WHERE number = ?", (daemon.id, now.thread))
    _write(connection, replace(now, state="reading"))
    return True


def add_turns(connection: sqlite3.Connection, number: int, turns: Sequence[TurnRow]) -> None:
    """Store the turns of a session."""
    connection.executemany(
        "INSERT INTO turns (thread, ordinal, id, status, started_at_ms, completed_at_ms, duration_ms, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (number, ordinal, t.id, t.status, t.started_at_ms, t.completed_at_ms, t.duration_ms, t.error)
            for ordinal, t in enumerate(turns)
        ],
    )


def add_items(
    number: int, start: int, items: Sequence[ItemRow], turns: dict[str, int], connection: sqlite3.Connection
) -> None:
    """Store some of the items of a session; the first is number `start`."""
    connection.executemany(
        "INSERT INTO items (thread, ordinal, turn, id, type, started_at_ms, completed_at_ms, payload)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (number, ordinal, turns[i.turn_id], i.id, i.type, i.started_at_ms, i.completed_at_ms, i.payload)
            for ordinal, i in enumerate(items, start)
        ],
    )


def add_history(
    number: int, start: int, entries: Sequence[history.Entry], turns: dict[str, int], connection: sqlite3.Connection
) -> None:
    """Store some of the history of a session; the first entry is number `start`."""
    connection.executemany(
        "INSERT INTO history (thread, ordinal, turn, payload) VALUES (?, ?, ?, ?)",
        [
            (number, ordinal, None if turn_id is None else turns[turn_id], payload)
            for ordinal, (turn_id, payload) in enumerate(entries, start)
        ],
    )


def end(
    connection: sqlite3.Connection,
    found: Entry,
    session: "Session",
    columns: ThreadColumns,
    owner: str,
) -> None:
    """All of a session is stored: its thread is as the file says, and nobody's again."""
    now = entry(connection, found.thread_id)
    if now is None or now.thread is None or now.state != "reading":
        return
    writing.set_columns(connection, now.thread, columns)
    if session.turns:
        connection.execute("UPDATE threads SET has_turns = 1 WHERE number = ?", (now.thread,))
    connection.execute("UPDATE threads SET owner = NULL WHERE number = ? AND owner = ?", (now.thread, owner))
    after = replace(
        now,
        state="read",
        read_mtime_ns=found.mtime_ns,
        read_size=found.size,
        turns=len(session.turns),
        items=len(session.items),
        history=len(session.history),
    )
    _write(connection, after)


def _rank(path: str) -> tuple[str, bool, bool]:
    file = file_named(path)
    return ("", False, False) if file is None else file.rank
