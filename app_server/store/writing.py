"""The statements that change threads. All of them run inside the writer's transaction, in its thread."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import orjson

from app_server.store.errors import ThreadMissing, TurnMissing
from app_server.store.ids import uuid7
from app_server.store.rows import THREAD_COLUMNS, ItemRow, ThreadColumns, ThreadRow, TurnRow, cut_preview

_SETTABLE: Final = frozenset(THREAD_COLUMNS) - {"id", "owner", "has_turns", "section_entered_at_ms"}
_INSERT_THREAD: Final = (
    f"INSERT INTO threads ({', '.join(THREAD_COLUMNS)}, source_kind)"
    f" VALUES ({', '.join('?' * (len(THREAD_COLUMNS) + 1))})"
)
_SUB_AGENT_KINDS: Final = {
    "review": "subAgentReview",
    "compact": "subAgentCompact",
    "thread_spawn": "subAgentThreadSpawn",
}


def number_of(connection: sqlite3.Connection, thread_id: str) -> tuple[int, str | None]:
    """The thread's number and its owner."""
    row = connection.execute("SELECT number, owner FROM threads WHERE id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ThreadMissing(thread_id)
    return row


def insert_thread(connection: sqlite3.Connection, row: ThreadRow) -> int:
    """Add the thread, for now without turns; returns its number."""
    values = {name: getattr(row, name) for name in THREAD_COLUMNS}
    values |= {"preview": cut_preview(row.preview), "has_turns": False}
    added = connection.execute(_INSERT_THREAD, (*values.values(), _source_kind(row.source)))
    assert added.lastrowid is not None
    return added.lastrowid


def set_columns(connection: sqlite3.Connection, number: int, columns: ThreadColumns) -> None:
    if unknown := columns.keys() - _SETTABLE:
        raise TypeError(f"not columns of a thread that can be set: {', '.join(sorted(unknown))}")
    values = dict(columns)
    if isinstance(preview := values.get("preview"), str):
        values["preview"] = cut_preview(preview)
    if isinstance(source := values.get("source"), str):
        values["source_kind"] = _source_kind(source)
    if values:
        settings = ", ".join(f"{name} = ?" for name in values)
        connection.execute(f"UPDATE threads SET {settings} WHERE number = ?", (*values.values(), number))


def join_project(connection: sqlite3.Connection, thread_id: str, project_id: str | None) -> bool:
    """Let a thread belong to a project or to none; False if there is no such thread."""
    joined = connection.execute("UPDATE threads SET project_id = ? WHERE id = ?", (project_id, thread_id))
    return joined.rowcount > 0


def put_turn(connection: sqlite3.Connection, number: int, turn: TurnRow) -> None:
    """Add the turn after the others or, when the thread has one of its id, replace that one."""
    state = (turn.status, turn.started_at_ms, turn.completed_at_ms, turn.duration_ms, turn.error)
    replaced = connection.execute(
        "UPDATE turns SET status = ?, started_at_ms = ?, completed_at_ms = ?, duration_ms = ?, error = ?"
        " WHERE thread = ? AND id = ?",
        (*state, number, turn.id),
    )
    if replaced.rowcount:
        return
    connection.execute(
        "INSERT INTO turns (thread, ordinal, id, status, started_at_ms, completed_at_ms, duration_ms, error)"
        " VALUES (?1, (SELECT coalesce(max(ordinal) + 1, 0) FROM turns WHERE thread = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
        (number, turn.id, *state),
    )
    connection.execute("UPDATE threads SET has_turns = 1 WHERE number = ? AND NOT has_turns", (number,))


def put_items(connection: sqlite3.Connection, number: int, items: Sequence[ItemRow]) -> None:
    """Add each item after the others or, when one in progress has its id, replace that one where it is."""
    turns: dict[str, int] = {}
    for item in items:
        if (turn := turns.get(item.turn_id)) is None:
            turn = turns[item.turn_id] = turn_ordinal(connection, number, item.turn_id)
        state = (turn, item.type, item.started_at_ms, item.completed_at_ms, item.payload)
        replaced = connection.execute(
            "UPDATE items SET turn = ?, type = ?, started_at_ms = ?, completed_at_ms = ?, payload = ?"
            " WHERE thread = ? AND id = ? AND completed_at_ms IS NULL",
            (*state, number, item.id),
        )
        if not replaced.rowcount:
            connection.execute(
                "INSERT INTO items (thread, ordinal, id, turn, type, started_at_ms, completed_at_ms, payload) VALUES"
                " (?1, (SELECT coalesce(max(ordinal) + 1, 0) FROM items WHERE thread = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
                (number, item.id, *state),
            )


def add_history(connection: sqlite3.Connection, number: int, turn_id: str | None, payloads: Sequence[bytes]) -> None:
    if not payloads:
        return
    turn = None if turn_id is None else turn_ordinal(connection, number, turn_id)
    (start,) = connection.execute(
        "SELECT coalesce(max(ordinal) + 1, 0) FROM history WHERE thread = ?", (number,)
    ).fetchone()
    connection.executemany(
        "INSERT INTO history (thread, ordinal, turn, payload) VALUES (?, ?, ?, ?)",
        [(number, ordinal, turn, payload) for ordinal, payload in enumerate(payloads, start)],
    )


def turn_ordinal(connection: sqlite3.Connection, number: int, turn_id: str) -> int:
    found = connection.execute("SELECT ordinal FROM turns WHERE thread = ? AND id = ?", (number, turn_id)).fetchone()
    if found is None:
        raise TurnMissing(turn_id)
    return int(found[0])


def copy_turns(connection: sqlite3.Connection, source: int, target: int, end: int) -> None:
    """Copy the turns before ordinal `end` with their items, and the history up to the first entry of a later turn."""
    copied = connection.execute(
        "INSERT INTO turns (thread, ordinal, id, status, started_at_ms, completed_at_ms, duration_ms, error)"
        " SELECT ?, ordinal, id, status, started_at_ms, completed_at_ms, duration_ms, error"
        " FROM turns WHERE thread = ? AND ordinal < ? ORDER BY ordinal",
        (target, source, end),
    )
    connection.execute(
        "INSERT INTO items (thread, ordinal, turn, id, type, started_at_ms, completed_at_ms, payload)"
        " SELECT ?, ordinal, turn, id, type, started_at_ms, completed_at_ms, payload"
        " FROM items WHERE thread = ? AND turn < ? ORDER BY ordinal",
        (target, source, end),
    )
    connection.execute(
        "INSERT INTO history (thread, ordinal, turn, payload)"
        " SELECT ?1, ordinal, turn, payload FROM history WHERE thread = ?2 AND ordinal <"
        " (SELECT coalesce(min(ordinal), 1 << 62) FROM history WHERE thread = ?2 AND turn >= ?3) ORDER BY ordinal",
        (target, source, end),
    )
    connection.execute("UPDATE threads SET has_turns = ? WHERE number = ?", (copied.rowcount > 0, target))


def copy_attachments(connection: sqlite3.Connection, source: int, target: int) -> None:
    """Hang the attachments of one thread on another one too, under ids of their own."""
    rows = connection.execute(
        "SELECT type, identity_key, payload, created_at_ms FROM attachments WHERE thread = ? ORDER BY number", (source,)
    ).fetchall()
    connection.executemany(
        "INSERT INTO attachments (thread, id, type, identity_key, payload, created_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
        [(target, uuid7(), *row) for row in rows],
    )


def _source_kind(source: str) -> str:
    """The wire's ThreadSourceKind of a SessionSource; "unknown" for what has none."""
    value: Any = orjson.loads(source)  # Any: a string or one of two objects
    if isinstance(value, str):
        return value
    sub_agent: Any = value.get("subAgent")
    if sub_agent is None:
        return "unknown"
    kind = sub_agent if isinstance(sub_agent, str) else next(iter(sub_agent))
    return _SUB_AGENT_KINDS.get(kind, "subAgentOther")
