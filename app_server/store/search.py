"""Finding text in stored threads: candidates by the index, then the items themselves."""

import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from app_server.store import listing, writing
from app_server.store.cursors import Cursor, decode
from app_server.store.item_text import fold, occurrences, text_of
from app_server.store.rows import Page, ThreadQuery, ThreadRow
from app_server.store.search_index import has_backlog, is_queued

BEFORE: Final = 49
AFTER: Final = 96
"""How many characters of a text are shown around what was found in it."""

_FEW: Final = 4_000
"""As many items as this are taken from the index and sorted by their threads. Of a text that more items have, the
threads that come first in the list are looked through one by one: it will be in many of them."""
_LOOKED_THROUGH: Final = 100
"""How many threads are looked through that way before the index is asked for all that may have the text."""
_SMALL: Final = 100
"""A thread of up to so many items is looked through without asking the index about it."""
_SORTED: Final = 10_000
"""As many threads as this are sorted by themselves, rather than looked for in the list of all."""
_GRAMS: Final = 32
"""How many groups of three characters of a long text are looked up."""
_MOST_TERMS: Final = 400
"""How many groups of three may begin with a shorter text before the index is of no use for it."""

_MATCHING: Final = (
    "SELECT search_docs.thread, search_docs.item FROM search CROSS JOIN search_docs ON search_docs.item = search.rowid"
    " WHERE search MATCH ?"
)


class Snippet(Struct, frozen=True):
    """Words around what was found; the place of it within them is counted in UTF-16 units."""

    text: str
    start: int
    end: int


class Occurrence(Struct, frozen=True):
    """One place of a text in a thread. `turn_cursor` begins a page of the thread's turns with its turn."""

    turn_id: str
    item_id: str
    turn_cursor: str
    snippet: Snippet


Hit = tuple[ThreadRow, Snippet]
"""A thread and the first place of the text in it."""

Found = tuple[tuple[int, int], Snippet]
"""The place of a thread in the list, and the first place of the text in it."""


def search(connection: sqlite3.Connection, query: ThreadQuery, term: str) -> Page[Hit]:
    """A page of the threads in which the text stands. Raises BadCursor."""
    return page(connection, query, find(connection, query, term))


def find(
    connection: sqlite3.Connection, query: ThreadQuery, term: str, without: Container[int] = frozenset()
) -> list[Found]:
    """What a page and one more are made of, but for threads of the numbers `without`. Raises BadCursor."""
    found = (hit for hit in _hits(connection, query, fold(term)) if hit[0][1] not in without)
    return list(islice(found, query.limit + 1))


def page(connection: sqlite3.Connection, query: ThreadQuery, found: Sequence[Found]) -> Page[Hit]:
    """A page of what was found, but for threads that are gone since; one more than it holds says that more follow."""
    cut = listing.page([(place, (place[1], snippet)) for place, snippet in found], query, "search")
    hits: list[Hit] = []
    for number, snippet in cut.rows:
        row = connection.execute(f"SELECT {listing.COLUMNS} FROM threads WHERE number = ?", (number,)).fetchone()
        if row is not None:
            hits.append((listing.thread_row(row), snippet))
    return Page(tuple(hits), cut.next_cursor, cut.backwards_cursor)


def occurrences_in(
    connection: sqlite3.Connection, thread_id: str, term: str, cursor: str | None, limit: int
) -> Page[Occurrence]:
    """A page of the places in a thread where the text stands, oldest first. Raises BadCursor and ThreadMissing."""
    number, folded, scope = writing.number_of(connection, thread_id)[0], fold(term), f"occurrences:{thread_id}"
    # The place of an occurrence: its item, and how many of the item's come before it.
    first = (-1, 0) if cursor is None else decode(cursor, scope, 2).place
    found: list[tuple[tuple[int, int], Occurrence]] = []
    for turn_id, turn, item_id, ordinal, kind, payload in _items_with(connection, number, folded, first[0]):
        text = text_of(kind, payload)
        for place, (start, end) in enumerate(occurrences(text, folded)):
            if (ordinal, place) < first:
                continue
            turn_cursor = Cursor(f"turns:{thread_id}", (turn,), inclusive=True).encode()
            found.append(((ordinal, place), Occurrence(turn_id, item_id, turn_cursor, _snippet(text, start, end))))
            if len(found) > limit:
                following = Cursor(scope, found[limit][0], inclusive=True).encode()
                return Page(tuple(one for _, one in found[:limit]), following, None)
    return Page(tuple(one for _, one in found), None, None)


# Threads


def _hits(connection: sqlite3.Connection, query: ThreadQuery, folded: str) -> Iterator[Found]:
    """The place in the list and the first occurrence of each thread that has one, in the order of the list."""
    expression = _expression(connection, folded)
    if expression is None:
        for place in listing.places(connection, query, "search"):
            if (snippet := _first(connection, place[1], folded, _items_of(connection, place[1]))) is not None:
                yield place, snippet
        return
    few = connection.execute(f"{_MATCHING} ORDER BY search.rowid LIMIT ?", (expression, _FEW + 1)).fetchall()
    if len(few) <= _FEW:
        named: dict[int, list[int]] = {}
        for thread, item in few:
            named.setdefault(thread, []).append(item)
        for place in listing.places(connection, query, "search", among=named):
            if (snippet := _first(connection, place[1], folded, named[place[1]])) is not None:
                yield place, snippet
        return
    for tried, place in enumerate(listing.places(connection, query, "search")):
        if (snippet := _in_thread(connection, place[1], folded, expression)) is not None:
            yield place, snippet
        if tried == _LOOKED_THROUGH:
            yield from _further_hits(connection, query, folded, expression, place)
            return


def _further_hits(
    connection: sqlite3.Connection, query: ThreadQuery, folded: str, expression: str, after: tuple[int, int]
) -> Iterator[Found]:
    """As `_hits`, from the place `after` on, of all threads that the index names."""
    having = {row[0] for row in connection.execute(f"SELECT DISTINCT thread FROM ({_MATCHING})", (expression,))}
    rest = replace(query, cursor=Cursor(f"search:{query.sort_key}", after, inclusive=False).encode())
    among = having if len(having) <= _SORTED else None
    for place in listing.places(connection, rest, "search", among=among):
        if place[1] in having and (snippet := _in_thread(connection, place[1], folded, expression)) is not None:
            yield place, snippet


def _in_thread(connection: sqlite3.Connection, thread: int, folded: str, expression: str) -> Snippet | None:
    first, last = _span(connection, thread)
    small = last - first < _SMALL
    items = _items_of(connection, thread) if small else _items_matching(connection, thread, expression)
    return _first(connection, thread, folded, items)


def _first(connection: sqlite3.Connection, thread: int, folded: str, items: Iterable[int]) -> Snippet | None:
    for item in items:
        row = connection.execute("SELECT thread, type, payload FROM items WHERE rowid = ?", (item,)).fetchone()
        if row is not None and row[0] == thread:
            snippet = first_place(text_of(row[1], row[2]), folded)
            if snippet is not None:
                return snippet
    return None


def first_place(text: str, folded: str) -> Snippet | None:
    """The first place of `folded` in the text, with words around."""
    place = next(occurrences(text, folded), None)
    return None if place is None else _snippet(text, *place)


def _items_matching(connection: sqlite3.Connection, thread: int, expression: str) -> Iterator[int]:
    """The rowids of the thread's items that the index names, oldest first."""
    first, last = _span(connection, thread)
    rows = connection.execute(
        f"{_MATCHING} AND search.rowid BETWEEN ? AND ? ORDER BY search.rowid", (expression, first, last)
    )
    return (item for owner, item in rows if owner == thread)


def _items_of(connection: sqlite3.Connection, thread: int) -> Iterator[int]:
    rows = connection.execute("SELECT rowid FROM items WHERE thread = ? ORDER BY ordinal", (thread,))
    return (row[0] for row in rows)


def _span(connection: sqlite3.Connection, thread: int) -> tuple[int, int]:
    """The lowest and the highest rowid of the thread's items."""
    return connection.execute(
        "SELECT coalesce(min(rowid), 0), coalesce(max(rowid), -1) FROM items WHERE thread = ?", (thread,)
    ).fetchone()


# Items


def _items_with(
    connection: sqlite3.Connection, thread: int, folded: str, from_ordinal: int
) -> Iterator[tuple[str, int, str, int, str, bytes]]:
    """Items of the thread that may have the text, oldest first: turn, its ordinal, item, its ordinal, type, payload."""
    # A session of the reference may have come into the store just now.
    indexed = not has_backlog(connection) and not is_queued(connection, *_span(connection, thread))
    expression = _expression(connection, folded) if indexed else None
    where, values = "", list[int]()
    if expression is not None:
        items = list(_items_matching(connection, thread, expression))
        where, values = f" AND items.rowid IN ({','.join('?' * len(items))})", items
    # Bounded by what SQLite takes as variables; a text that so many items have is as well looked for in all of them.
    if len(values) > 30_000:
        where, values = "", []
    yield from connection.execute(
        "SELECT turns.id, turns.ordinal, items.id, items.ordinal, items.type, items.payload"
        " FROM items JOIN turns ON turns.thread = items.thread AND turns.ordinal = items.turn"
        f" WHERE items.thread = ? AND items.ordinal >= ?{where} ORDER BY items.ordinal",
        (thread, from_ordinal, *values),
    )


# The index


def _expression(connection: sqlite3.Connection, folded: str) -> str | None:
    """What to ask the index for; None where it is of no use."""
    if "\0" in folded or (len(folded) == 1 and folded.isascii()):
        return None
    if len(folded) >= 3:
        return " AND ".join(map(_quoted, _grams(folded)))
    rows = connection.execute(
        "SELECT term FROM search_terms WHERE term >= ? AND term < ? LIMIT ?",
        (folded, folded + chr(0x10FFFF), _MOST_TERMS + 1),
    )
    terms: Sequence[str] = [row[0] for row in rows]
    # A text that no group of three begins with is nowhere: any other one will do to say so.
    return None if len(terms) > _MOST_TERMS else " OR ".join(map(_quoted, terms or [folded.ljust(3, chr(1))]))


def _grams(folded: str) -> Sequence[str]:
    """Groups of three characters, enough of them to find the text."""
    grams = list(dict.fromkeys(folded[place : place + 3] for place in range(len(folded) - 2)))
    step = -(-len(grams) // _GRAMS)
    return grams[::step]


def _quoted(gram: str) -> str:
    return '"' + gram.replace('"', '""') + '"'


def _snippet(text: str, start: int, end: int) -> Snippet:
    head = text[max(0, start - BEFORE) : start]
    tail = text[end : end + AFTER]
    if start > BEFORE:
        head = "... " + head
    if end + AFTER < len(text):
        tail += " ..."
    begin = _utf16(head)
    return Snippet(head + text[start:end] + tail, begin, begin + _utf16(text[start:end]))


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
