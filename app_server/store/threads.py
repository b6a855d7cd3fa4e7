"""The thread store: threads, their turns and items, and the history that the model is shown."""

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from msgspec.structs import replace

from app_server.store import listing, writing
from app_server.store.cursors import Cursor, decode
from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.errors import ThreadInUse, ThreadMissing, TurnMissing
from app_server.store.recovery import close_cut_turns
from app_server.store.rollouts.sessions import Sessions
from app_server.store.rows import ItemRow, Page, ThreadColumns, ThreadQuery, ThreadRow, TurnRow
from app_server.store.search import Hit, search

T = TypeVar("T")
Row = TypeVar("Row", TurnRow, ItemRow)

_TURNS = "SELECT id, status, started_at_ms, completed_at_ms, duration_ms, error, ordinal FROM turns"
_ITEMS = (
    "SELECT turns.id, items.id, items.type, items.payload, items.started_at_ms, items.completed_at_ms, items.ordinal"
    " FROM items JOIN turns ON turns.thread = items.thread AND turns.ordinal = items.turn"
)


class ThreadStore:
    """Durable threads of one home, written by this daemon and read by all.

    A method that writes returns when the change is committed. A thread that another live daemon owns can be read;
    writing to it raises `ThreadInUse`. An unknown thread id raises `ThreadMissing`, other trouble `StoreError`.
    """

    def __init__(self, database: Database, daemon: Daemon, sessions: Sessions | None = None) -> None:
        """With `sessions` those of the reference are among the threads; what they hold is read when it is asked for."""
        self._database, self._daemon, self._sessions = database, daemon, sessions

    def place(self, thread_id: str) -> str:
        """Where a thread is: the file that all are in, and its id. Clients take threads of one path for the same."""
        return f"{self._database.path}#{thread_id}"

    # Threads

    async def create(self, row: ThreadRow) -> None:
        """Store a new thread, owned by this daemon."""
        row = replace(row, owner=self._daemon.id)
        await self._database.write(lambda connection: writing.insert_thread(connection, row))

    async def get(self, thread_id: str) -> ThreadRow:
        def work(connection: sqlite3.Connection) -> ThreadRow:
            return listing.thread(connection, thread_id)

        try:
            return await self._database.read(work)
        except ThreadMissing:
            if self._sessions is None or not await self._sessions.find(thread_id):
                raise
        return await self._database.read(work)

    async def update(self, thread_id: str, columns: ThreadColumns) -> None:
        """Set some of the thread's columns, by the names of `ThreadRow`; id, owner and has_turns are not settable."""
        await self._write(thread_id, lambda connection, number: writing.set_columns(connection, number, columns))

    async def list(self, query: ThreadQuery) -> Page[ThreadRow]:
        """Threads that match; `BadCursor` when the cursor is not one of this list and sort key."""

        def work(connection: sqlite3.Connection) -> Page[ThreadRow]:
            return listing.threads(connection, query)

        if self._sessions is None:
            return await self._database.read(work)
        await self._sessions.look(archived=query.archived)
        page = await self._database.read(work)
        if page.next_cursor is None and await self._sessions.more(archived=query.archived):
            return await self._database.read(work)
        return page

    async def search(self, query: ThreadQuery, term: str) -> Page[Hit]:
        """Threads in which a text stands; `BadCursor` when the cursor is not one of a search and this sort key.

        What was stored just now is found once it is in the index.
        """
        if self._sessions is None:
            return await self._database.read(lambda connection: search(connection, query, term))
        return await self._sessions.search(query, term)

    async def count(self, archived: bool | None = None) -> int:
        """How many threads are stored, empty ones included; None counts archived and others."""
        return await self._database.read(lambda connection: listing.count(connection, archived))

    async def archive(self, thread_id: str) -> None:
        await self.update(thread_id, {"archived": True, "updated_at_ms": _now_ms()})

    async def unarchive(self, thread_id: str) -> None:
        await self.update(thread_id, {"archived": False, "updated_at_ms": _now_ms()})

    async def delete(self, thread_id: str) -> None:
        """Remove the thread and all that belongs to it; its bytes are overwritten."""
        await self._write(
            thread_id,
            lambda connection, number: connection.execute("DELETE FROM threads WHERE number = ?", (number,)),
        )

    async def fork(
        self,
        source_id: str,
        row: ThreadRow,
        *,
        through_turn_id: str | None = None,
        before_turn_id: str | None = None,
    ) -> None:
        """Store `row` as a new thread, owned by this daemon, with a copy of what the source holds.

        That is its turns, items, history and attachments. Turns and items keep their ids. The last turn copied is
        `through_turn_id`, or the one before `before_turn_id`, or the newest; `TurnMissing` when the source has no such
        turn. A turn in progress is copied as interrupted.
        """
        row = replace(row, owner=self._daemon.id)
        await self.bring(source_id)

        def copy(connection: sqlite3.Connection) -> None:
            source = writing.number_of(connection, source_id)[0]
            end = _end_of_copy(connection, source, through_turn_id, before_turn_id)
            number = writing.insert_thread(connection, row)
            writing.copy_turns(connection, source, number, end)
            writing.copy_attachments(connection, source, number)
            close_cut_turns(connection, number)

        await self._database.write(copy)

    # Turns, items and history

    async def append(
        self,
        thread_id: str,
        *,
        turn: TurnRow | None = None,
        items: Sequence[ItemRow] = (),
        history: Sequence[bytes] = (),
        history_turn_id: str | None = None,
        thread: ThreadColumns | None = None,
        also: Callable[[sqlite3.Connection, int], object] | None = None,
    ) -> None:
        """Store all of this or nothing.

        The thread becomes this daemon's, as by `claim`. `turn` is added or, by its id, replaced. An item is added, or
        replaces the item in progress that has its id. `history` is added at the end; it belongs to `history_turn_id`,
        else to `turn`, else to the turn of the first item, else to none. `thread` sets columns as `update` does.
        `also` is done in the same transaction, with the thread's number. An item of an unknown turn raises
        `TurnMissing`.
        """
        owner = history_turn_id or (turn.id if turn else items[0].turn_id if items else None)

        def work(connection: sqlite3.Connection, number: int) -> None:
            if turn is not None:
                writing.put_turn(connection, number, turn)
            writing.put_items(connection, number, items)
            writing.add_history(connection, number, owner, history)
            if thread:
                writing.set_columns(connection, number, thread)
            if also is not None:
                also(connection, number)

        await self._write(thread_id, work, claiming=True)

    async def change(self, thread_id: str, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Change what other modules of this room keep of a thread: `work` gets its number, in one transaction."""
        return await self._write(thread_id, work)

    async def turns(
        self, thread_id: str, *, cursor: str | None = None, limit: int = 1 << 31, descending: bool = False
    ) -> Page[TurnRow]:
        """A page of the thread's turns, oldest first unless `descending`."""
        scope = f"turns:{thread_id}"

        def work(connection: sqlite3.Connection) -> Page[TurnRow]:
            number = writing.number_of(connection, thread_id)[0]
            where, values = _after(cursor, scope, "ordinal", descending)
            rows = connection.execute(
                f"{_TURNS} WHERE thread = ?{where} ORDER BY ordinal {_order(descending)} LIMIT ?",
                (number, *values, limit + 1),
            )
            return _page([TurnRow(*row) for row in rows], scope, limit)

        return await self.content(thread_id, work)

    async def has_turn(self, thread_id: str, turn_id: str) -> bool:
        """Whether the thread has this turn."""

        def work(connection: sqlite3.Connection) -> bool:
            number = writing.number_of(connection, thread_id)[0]
            try:
                writing.turn_ordinal(connection, number, turn_id)
            except TurnMissing:
                return False
            return True

        return await self.content(thread_id, work)

    async def items(
        self,
        thread_id: str,
        turn_id: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 1 << 31,
        descending: bool = False,
    ) -> Page[ItemRow]:
        """A page of the thread's items, or of one turn's, oldest first unless `descending`; no such turn, no items."""
        scope = f"items:{thread_id}"

        def work(connection: sqlite3.Connection) -> Page[ItemRow]:
            number = writing.number_of(connection, thread_id)[0]
            where, values = _after(cursor, scope, "items.ordinal", descending)
            if turn_id is not None:
                where = " AND items.turn = (SELECT ordinal FROM turns WHERE thread = ? AND id = ?)" + where
                values = (number, turn_id, *values)
            rows = connection.execute(
                f"{_ITEMS} WHERE items.thread = ?{where} ORDER BY items.ordinal {_order(descending)} LIMIT ?",
                (number, *values, limit + 1),
            )
            return _page([ItemRow(*row) for row in rows], scope, limit)

        return await self.content(thread_id, work)

    async def item_cursor(self, thread_id: str, item_id: str) -> str | None:
        """A cursor for `items` that starts with this item, or None when the thread has no such item."""

        def work(connection: sqlite3.Connection) -> str | None:
            number = writing.number_of(connection, thread_id)[0]
            row = connection.execute("SELECT ordinal FROM items WHERE thread = ? AND id = ?", (number, item_id))
            found = row.fetchone()
            return Cursor(f"items:{thread_id}", (found[0],), inclusive=True).encode() if found else None

        return await self.content(thread_id, work)

    async def items_of_turns(
        self, thread_id: str, turn_ids: Collection[str], types: Collection[str] | None = None
    ) -> Sequence[ItemRow]:
        """The items of these turns, turn by turn, oldest first; of these types only, if given."""

        def work(connection: sqlite3.Connection) -> Sequence[ItemRow]:
            number = writing.number_of(connection, thread_id)[0]
            where, values = listing.is_in("turns.id", turn_ids)
            if types is not None:
                of_type, names = listing.is_in("items.type", types)
                where, values = f"{where} AND {of_type}", [*values, *names]
            rows = connection.execute(
                f"{_ITEMS} WHERE turns.thread = ? AND {where} ORDER BY items.turn, items.ordinal", (number, *values)
            )
            return [ItemRow(*row) for row in rows]

        return await self.content(thread_id, work)

    async def history(self, thread_id: str) -> Sequence[bytes]:
        """What the model has been shown, oldest first: one JSON text for each entry."""

        def work(connection: sqlite3.Connection) -> Sequence[bytes]:
            number = writing.number_of(connection, thread_id)[0]
            rows = connection.execute("SELECT payload FROM history WHERE thread = ? ORDER BY ordinal", (number,))
            return [row[0] for row in rows]

        return await self.content(thread_id, work)

    # Ownership

    async def claim(self, thread_id: str) -> None:
        """Make this daemon the thread's owner; `ThreadInUse` when another live daemon is.

        Turns that a dead owner left in progress are closed first.
        """
        await self.bring(thread_id)
        await self._write(thread_id, lambda _connection, _number: None, claiming=True)

    async def notice(self, thread_id: str) -> str | None:
        """What who resumes the thread should know: that it went on in the reference, too."""
        return None if self._sessions is None else await self._sessions.warning(thread_id)

    async def release(self, thread_id: str) -> None:
        """Let other daemons have the thread. Nothing happens when it is gone or not ours."""
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE threads SET owner = NULL WHERE id = ? AND owner = ?", (thread_id, self._daemon.id)
            )
        )

    async def mark_cut_turns(self) -> int:
        """Close all turns in progress whose daemon is dead; returns how many. To be called at start."""

        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                "SELECT number, owner FROM threads WHERE number IN"
                " (SELECT thread FROM turns WHERE status = 'inProgress'"
                " UNION SELECT thread FROM items WHERE completed_at_ms IS NULL)"
            ).fetchall()
            return sum(
                close_cut_turns(connection, number)
                for number, owner in rows
                if owner is None or not self._daemon.is_alive(owner)
            )

        return await self._database.write(work)

    async def content(self, thread_id: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read content of a thread; what a session of the reference holds is brought up to date before."""
        if self._sessions is not None:
            await self._sessions.refresh(thread_id)
        return await self._database.read(work)

    async def bring(self, thread_id: str) -> None:
        """Have all of a thread in the store, for it is to be gone on from; `ThreadMissing` when it cannot be had."""
        if self._sessions is not None and not await self._sessions.refresh(thread_id):
            raise ThreadMissing(thread_id)

    async def _write(
        self, thread_id: str, work: Callable[[sqlite3.Connection, int], T], *, claiming: bool = False
    ) -> T:
        """Run `work` with the thread's number, unless another live daemon owns the thread; `claiming` takes it."""

        def guarded(connection: sqlite3.Connection) -> T:
            number, owner = writing.number_of(connection, thread_id)
            if owner is not None and owner != self._daemon.id and self._daemon.is_alive(owner):
                other = self._daemon.describe(owner)
                raise ThreadInUse(thread_id, other.pid if other else 0, other.listen if other else "unknown")
            if claiming and owner != self._daemon.id:
                close_cut_turns(connection, number)
                connection.execute("UPDATE threads SET owner = ? WHERE number = ?", (self._daemon.id, number))
            return work(connection, number)

        return await self._database.write(guarded)


def _end_of_copy(connection: sqlite3.Connection, source: int, through: str | None, before: str | None) -> int:
    """The first turn ordinal that is not copied."""
    turn_id = through if through is not None else before
    if turn_id is None:
        return 1 << 62
    found = connection.execute("SELECT ordinal FROM turns WHERE thread = ? AND id = ?", (source, turn_id)).fetchone()
    if found is None:
        raise TurnMissing(turn_id)
    return int(found[0]) + (1 if through is not None else 0)


def _after(cursor: str | None, scope: str, column: str, descending: bool) -> tuple[str, tuple[int, ...]]:
    if cursor is None:
        return "", ()
    place = decode(cursor, scope, 1)
    comparison = ("<" if descending else ">") + ("=" if place.inclusive else "")
    return f" AND {column} {comparison} ?", place.place


def _page(rows: Sequence[Row], scope: str, limit: int) -> Page[Row]:
    shown = tuple(rows[:limit])
    return Page(
        shown,
        Cursor(scope, (shown[-1].ordinal,), inclusive=False).encode() if len(rows) > limit else None,
        Cursor(scope, (shown[0].ordinal,), inclusive=True).encode() if shown else None,
    )


def _order(descending: bool) -> str:
    return "DESC" if descending else "ASC"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
