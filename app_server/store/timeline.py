"""What happened in a thread, turn by turn and item by item, and single items of it."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from app_server.store import listing, writing
from app_server.store.cursors import Cursor, decode
from app_server.store.rows import ItemRow, Page, TurnRow

_TURNS = "SELECT id, status, started_at_ms, completed_at_ms, duration_ms, error, ordinal FROM turns"


class Entry(Struct, frozen=True):
    """One thing that happened: `item` is wire JSON, and None where the turn began (`ended` false) or ended.

    Positions grow by one or more from each entry to the next, and stay as they are while the thread grows.
    """

    position: int
    turn: TurnRow
    item: bytes | None = None
    ended: bool = False


def timeline(connection: sqlite3.Connection, thread_id: str, cursor: str | None, limit: int) -> Page[Entry]:
    """The newest entries before the cursor, oldest first; the next page is of older ones. Raises BadCursor."""
    scope = f"timeline:{thread_id}"
    place = (1 << 61, 1 << 61) if cursor is None else decode(cursor, scope, 2).place
    number = writing.number_of(connection, thread_id)[0]
    newest = list(islice(_before(connection, number, place), limit + 1))
    following = None
    if len(newest) > limit:
        oldest = newest[limit - 1]
        following = Cursor(scope, (oldest.turn.ordinal, oldest.position), inclusive=False).encode()
    return Page(tuple(reversed(newest[:limit])), following, None)


def _before(connection: sqlite3.Connection, number: int, place: tuple[int, ...]) -> Iterator[Entry]:
    """Entries from the newest one before the place back."""
    turn_ordinal, position = place
    turns = connection.execute(
        f"{_TURNS} WHERE thread = ? AND ordinal <= ? ORDER BY ordinal DESC", (number, turn_ordinal)
    )
    for row in turns:
        for entry in _of_turn(connection, number, TurnRow(*row)):
            if entry.position < position:
                yield entry


def _of_turn(connection: sqlite3.Connection, number: int, turn: TurnRow) -> Iterator[Entry]:
    # The items of all turns are counted through, and each turn before an entry adds the two of its own.
    first, following = (_first_item(connection, number, ordinal) for ordinal in (turn.ordinal, turn.ordinal + 1))
    shift = 2 * turn.ordinal
    if turn.completed_at_ms is not None:
        yield Entry(following + shift + 1, turn, ended=True)
    items = connection.execute(
        "SELECT ordinal, payload FROM items WHERE thread = ? AND turn = ? ORDER BY ordinal DESC", (number, turn.ordinal)
    )
    for ordinal, payload in items:
        yield Entry(ordinal + shift + 1, turn, payload)
    yield Entry(first + shift, turn)


def _first_item(connection: sqlite3.Connection, number: int, turn_ordinal: int) -> int:
    """The ordinal of the first item of this turn or, without one, of the next that there is or will be."""
    found = connection.execute(
        "SELECT ordinal FROM items WHERE thread = ? AND turn >= ? ORDER BY turn, ordinal LIMIT 1",
        (number, turn_ordinal),
    ).fetchone()
    if found is None:
        found = connection.execute(
            "SELECT coalesce(max(ordinal) + 1, 0) FROM items WHERE thread = ?", (number,)
        ).fetchone()
    return int(found[0])


def items_named(
    connection: sqlite3.Connection, thread_id: str, turn_id: str, item_ids: Collection[str]
) -> Sequence[ItemRow]:
    """Those of the items that the turn has, oldest first."""
    number = writing.number_of(connection, thread_id)[0]
    where, ids = listing.is_in("items.id", item_ids)
    rows = connection.execute(
        "SELECT turns.id, items.id, items.type, items.payload, items.started_at_ms, items.completed_at_ms,"
        " items.ordinal FROM turns JOIN items ON items.thread = turns.thread AND items.turn = turns.ordinal"
        f" WHERE turns.thread = ? AND turns.id = ? AND {where} ORDER BY items.ordinal",
        (number, turn_id, *ids),
    )
    return [ItemRow(*row) for row in rows]
