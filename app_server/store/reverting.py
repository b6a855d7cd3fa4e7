"""Taking back the newest turns of a thread."""

import sqlite3

from app_server.store import writing
from app_server.store.threads import ThreadStore


async def remove_turns_from(store: ThreadStore, thread_id: str, turn_id: str) -> None:
    """Remove the turn and all later ones, with their items and what the model was shown since it began.

    The thread stays in the lists. Raises `TurnMissing`, and what a change to the thread raises.
    """

    def work(connection: sqlite3.Connection, number: int) -> None:
        first = writing.turn_ordinal(connection, number, turn_id)
        connection.execute(
            "DELETE FROM history WHERE thread = ?1 AND ordinal >="
            " (SELECT coalesce(min(ordinal), 1 << 62) FROM history WHERE thread = ?1 AND turn >= ?2)",
            (number, first),
        )
        connection.execute("DELETE FROM items WHERE thread = ? AND turn >= ?", (number, first))
        connection.execute("DELETE FROM turns WHERE thread = ? AND ordinal >= ?", (number, first))

    await store.change(thread_id, work)
