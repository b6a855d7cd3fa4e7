"""Turns that were cut by the death of their daemon are closed, so that their thread reads well and resumes."""

import sqlite3
from typing import Any, cast

import orjson

_OUTPUT_TYPES = {
    "function_call": "function_call_output",
    "local_shell_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}


def close_cut_turns(connection: sqlite3.Connection, number: int) -> int:
    """Close every turn and item in progress of the thread with this number; returns how many turns there were.

    The turn becomes interrupted at its last sign of life. Its items in progress become failed. A call in its history
    that has no output gets the output "aborted", which the model needs to go on.
    """
    turns = connection.execute(
        "SELECT ordinal, started_at_ms FROM turns WHERE thread = ? AND status = 'inProgress'", (number,)
    ).fetchall()
    for ordinal, started_at_ms in turns:
        (last_seen_ms,) = connection.execute(
            "SELECT max(?, coalesce(max(max(started_at_ms, coalesce(completed_at_ms, 0))), 0))"
            " FROM items WHERE thread = ? AND turn = ?",
            (started_at_ms, number, ordinal),
        ).fetchone()
        connection.execute(
            "UPDATE turns SET status = 'interrupted', completed_at_ms = ?, duration_ms = ?"
            " WHERE thread = ? AND ordinal = ?",
            (last_seen_ms, last_seen_ms - started_at_ms, number, ordinal),
        )
        _answer_calls(connection, number, ordinal)
    _close_items(connection, number)
    return len(turns)


def _close_items(connection: sqlite3.Connection, number: int) -> None:
    # Of every turn: a command in the background outlives the turn that started it.
    rows = connection.execute(
        "SELECT items.rowid, payload, max(items.started_at_ms, coalesce(turns.completed_at_ms, 0))"
        " FROM items INDEXED BY items_in_progress"
        " JOIN turns ON turns.thread = items.thread AND turns.ordinal = items.turn"
        " WHERE items.thread = ? AND items.completed_at_ms IS NULL",
        (number,),
    ).fetchall()
    for rowid, payload, at_ms in rows:
        connection.execute(
            "UPDATE items SET payload = ?, completed_at_ms = ? WHERE rowid = ?", (_failed(payload, at_ms), at_ms, rowid)
        )


def _failed(payload: bytes, at_ms: int) -> bytes:
    item = _json_object(payload)
    if item is None:
        return payload
    if item.get("status") == "inProgress":
        item["status"] = "failed"
    item["completedAtMs"] = at_ms
    return orjson.dumps(item)


def _answer_calls(connection: sqlite3.Connection, number: int, turn: int) -> None:
    rows = connection.execute(
        "SELECT payload FROM history WHERE thread = ? AND turn = ? ORDER BY ordinal", (number, turn)
    )
    open_calls: dict[str, str] = {}
    for (payload,) in rows.fetchall():
        entry = _json_object(payload) or {}
        kind, call_id = entry.get("type"), entry.get("call_id")
        if not isinstance(call_id, str):
            continue
        if kind in _OUTPUT_TYPES:
            open_calls[call_id] = _OUTPUT_TYPES[kind]
        elif kind in _OUTPUT_TYPES.values():
            open_calls.pop(call_id, None)
    for call_id, output_type in open_calls.items():
        entry = {"type": output_type, "call_id": call_id, "output": "aborted"}
        connection.execute(
            "INSERT INTO history (thread, ordinal, turn, payload)"
            " VALUES (?1, (SELECT coalesce(max(ordinal) + 1, 0) FROM history WHERE thread = ?1), ?2, ?3)",
            (number, turn, orjson.dumps(entry)),
        )


def _json_object(payload: bytes) -> dict[str, Any] | None:  # Any: JSON of every shape
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
