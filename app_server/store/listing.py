"""The statements that find threads. All of them run in the reader's thread and see one moment."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from app_server.store.cursors import Cursor, decode
from app_server.store.errors import ThreadMissing
from app_server.store.rows import THREAD_COLUMNS, Page, ThreadQuery, ThreadRow

_COLUMNS: Final = ", ".join(THREAD_COLUMNS)
_SORT_COLUMNS: Final = {
    "created_at": "created_at_ms",
    "updated_at": "updated_at_ms",
    "recency_at": "recency_at_ms",
    # Sections are not stored yet: all threads are in none, ordered by creation.
    "section_position": "created_at_ms",
}
_SUB_AGENT_KINDS: Final = ("subAgentReview", "subAgentCompact", "subAgentThreadSpawn", "subAgentOther")


def thread(connection: sqlite3.Connection, thread_id: str) -> ThreadRow:
    row = connection.execute(f"SELECT {_COLUMNS} FROM threads WHERE id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ThreadMissing(thread_id)
    return _thread_row(row)


def threads(connection: sqlite3.Connection, query: ThreadQuery) -> Page[ThreadRow]:
    column = _SORT_COLUMNS[query.sort_key]
    order, comparison = ("DESC", "<") if query.descending else ("ASC", ">")
    conditions, values = _conditions(query)
    if query.cursor is not None:
        place = decode(query.cursor, f"threads:{query.sort_key}", 2)
        conditions.append(f"({column}, number) {comparison}{'=' if place.inclusive else ''} (?, ?)")
        values += place.place
    rows = connection.execute(
        f"SELECT {_COLUMNS}, {column}, number FROM threads WHERE {' AND '.join(conditions)}"
        f" ORDER BY {column} {order}, number {order} LIMIT ?",
        (*values, query.limit + 1),
    ).fetchall()
    shown = rows[: query.limit]

    def cursor(row: tuple[int, ...], inclusive: bool) -> str:
        return Cursor(f"threads:{query.sort_key}", row[-2:], inclusive).encode()

    return Page(
        tuple(_thread_row(row[:-2]) for row in shown),
        cursor(shown[-1], inclusive=False) if len(rows) > len(shown) else None,
        cursor(shown[0], inclusive=True) if shown else None,
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
        condition, names = is_in("id", query.excluded_ids)
        conditions.append(f"NOT {condition}")
        values += names
    if query.parent_id is not None:
        conditions.append("parent_thread_id = ?")
        values.append(query.parent_id)
    if query.ancestor_id is not None:
        conditions.append(
            "id IN (WITH RECURSIVE below (id) AS (SELECT id FROM threads WHERE parent_thread_id = ? UNION"
            " SELECT threads.id FROM threads JOIN below ON threads.parent_thread_id = below.id) SELECT id FROM below)"
        )
        values.append(query.ancestor_id)
    if query.search:
        conditions.append("(contains_fold(name, ?) OR contains_fold(preview, ?))")
        values += [query.search.casefold()] * 2
    return conditions, values


def _thread_row(row: Sequence[Any]) -> ThreadRow:  # Any: a column has its own type each
    *others, archived, has_turns = row
    return ThreadRow(*others, archived=bool(archived), has_turns=bool(has_turns))
