"""The statements that find threads. All of them run in the reader's thread and see one moment."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, TypeVar

from app_server.store.cursors import Cursor, decode
from app_server.store.errors import ThreadMissing
from app_server.store.rows import Page, ThreadQuery, ThreadRow

T = TypeVar("T")

_SECTION: Final = (
    "(SELECT json_object('id', sections.id, 'name', sections.name, 'appearance', json(sections.appearance))"
    " FROM sections WHERE sections.id = threads.section_id)"
)
COLUMNS: Final = ", ".join(_SECTION if name == "section" else f"threads.{name}" for name in ThreadRow.__struct_fields__)
"""What `thread_row` takes, of the table `threads`."""
SORT_COLUMNS: Final = {
    "created_at": "created_at_ms",
    "updated_at": "updated_at_ms",
    "recency_at": "recency_at_ms",
    "section_position": "section_position",
}
_SUB_AGENT_KINDS: Final = ("subAgentReview", "subAgentCompact", "subAgentThreadSpawn", "subAgentOther")


def thread(connection: sqlite3.Connection, thread_id: str) -> ThreadRow:
    row = connection.execute(f"SELECT {COLUMNS} FROM threads WHERE id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ThreadMissing(thread_id)
    return thread_row(row)


def threads(connection: sqlite3.Connection, query: ThreadQuery) -> Page[ThreadRow]:
    found = places(connection, query, "threads", more=f", {COLUMNS}", limit=query.limit + 1)
    return page([(row[:2], thread_row(row[2:])) for row in found], query, "threads")


def places(
    connection: sqlite3.Connection,
    query: ThreadQuery,
    scope: str,
    *,
    more: str = "",
    limit: int = -1,
    among: Collection[int] | None = None,
) -> Iterator[tuple[Any, ...]]:  # Any: a column has its own type each
    """The sort key and the number of each thread that matches, and `more` columns, in order from the query's cursor on.

    With `among`, of these numbers only. `scope` is that of cursors. Raises BadCursor.
    """
    column = SORT_COLUMNS[query.sort_key]
    order, comparison = ("DESC", "<") if query.descending else ("ASC", ">")
    where, values = _conditions(query)
    if query.cursor is not None:
        place = decode(query.cursor, f"{scope}:{query.sort_key}", 2)
        where.append(f"({column}, number) {comparison}{'=' if place.inclusive else ''} (?, ?)")
        values += place.place
    source = "threads"
    if among is not None:
        source = "json_each(?) AS among CROSS JOIN threads ON threads.number = among.value"
        values = [json.dumps(list(among)), *values]
    rows = connection.execute(
        f"SELECT {column}, number{more} FROM {source} WHERE {' AND '.join(where)}"
        f" ORDER BY {column} {order}, number {order} LIMIT ?",
        (*values, limit),
    )
    yield from rows


def page(found: Sequence[tuple[tuple[int, ...], T]], query: ThreadQuery, scope: str) -> Page[T]:
    """A page of what was found, each with its thread's place; one more than a page holds says that more follow."""
    shown = found[: query.limit]

    def cursor(place: tuple[int, ...], inclusive: bool) -> str:
        return Cursor(f"{scope}:{query.sort_key}", place, inclusive).encode()

    return Page(
        tuple(row for _, row in shown),
        cursor(shown[-1][0], inclusive=False) if len(found) > len(shown) else None,
        cursor(shown[0][0], inclusive=True) if shown else None,
    )


def count(connection: sqlite3.Connection, archived: bool | None) -> int:
    where, values = ("", ()) if archived is None else (" WHERE archived = ?", (archived,))
    return int(connection.execute(f"SELECT count(*) FROM threads{where}", values).fetchone()[0])


def is_in(column: str, values: Collection[str]) -> tuple[str, list[str]]:
    """A condition that the column is one of the values."""
    return f"{column} IN ({', '.join('?' * len(values))})", list(values)


def _conditions(query: ThreadQuery) -> tuple[list[str], list[str | int]]:
    conditions, values = ["archived = ?"], list[str | int]([query.archived])
    # Spelt for the indexes, which have the column between `archived` and the sort key.
    conditions.append("has_turns IN (0, 1)" if query.with_empty else "has_turns = 1")
    kinds = query.source_kinds
    if kinds is not None and "subAgent" in kinds:
        kinds = {*kinds, *_SUB_AGENT_KINDS}
    for column, wanted in (
        ("cwd", query.cwds),
        ("model_provider", query.model_providers),
        ("source_kind", kinds),
        ("originator", query.originators),
    ):
        if wanted is not None:
            condition, names = is_in(column, wanted)
            conditions.append(condition)
            values += names
    if query.excluded_ids:
        condition, names = is_in("threads.id", query.excluded_ids)
        conditions.append(f"NOT {condition}")
        values += names
    if query.parent_id is not None:
        conditions.append("parent_thread_id = ?")
        values.append(query.parent_id)
    if query.ancestor_id is not None:
        conditions.append(
            "threads.id IN (WITH RECURSIVE below (id) AS (SELECT id FROM threads WHERE parent_thread_id = ? UNION"
            " SELECT threads.id FROM threads JOIN below ON threads.parent_thread_id = below.id) SELECT id FROM below)"
        )
        values.append(query.ancestor_id)
    for column, wanted_id in (("section_id", query.section_id), ("project_id", query.project_id)):
        if wanted_id:
            conditions.append(f"{column} = ?")
            values.append(wanted_id)
        elif wanted_id is not None:
            conditions.append(f"{column} IS NULL")
    if query.search:
        conditions.append("(contains_fold(name, ?) OR contains_fold(preview, ?))")
        values += [query.search.casefold()] * 2
    return conditions, values


def thread_row(row: Sequence[Any]) -> ThreadRow:  # Any: a column has its own type each
    *others, daybreak, archived, has_turns = row
    return ThreadRow(
        *others,
        daybreak_enabled=None if daybreak is None else bool(daybreak),
        archived=bool(archived),
        has_turns=bool(has_turns),
    )
