"""The goal of each thread that has one."""

import sqlite3
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import astuple

from app_server.store import writing
from app_server.store.database import Database
from app_server.store.threads import ThreadStore

GoalStatus = Literal["active", "paused", "blocked", "usageLimited", "budgetLimited", "complete"]


class GoalRow(Struct, frozen=True):
    """What a thread works towards. Times are milliseconds; those that end in `at_ms` since 1970."""

    objective: str
    status: GoalStatus
    token_budget: int | None
    tokens_used: int
    time_used_ms: int
    created_at_ms: int
    updated_at_ms: int


_COLUMNS: Final = ", ".join(GoalRow.__struct_fields__)
_PUT: Final = (
    f"INSERT OR REPLACE INTO goals (thread, {_COLUMNS})"
    f" VALUES ({', '.join('?' * (len(GoalRow.__struct_fields__) + 1))})"
)


class GoalStore:
    """Goals beside the threads that they belong to; a change raises what `ThreadStore` raises."""

    def __init__(self, database: Database, threads: ThreadStore) -> None:
        self._database, self._threads = database, threads

    async def get(self, thread_id: str) -> GoalRow | None:
        """The thread's goal. `ThreadMissing` for an unknown thread."""

        def work(connection: sqlite3.Connection) -> GoalRow | None:
            number = writing.number_of(connection, thread_id)[0]
            row = connection.execute(f"SELECT {_COLUMNS} FROM goals WHERE thread = ?", (number,)).fetchone()
            return None if row is None else GoalRow(*row)

        return await self._database.read(work)

    async def put(self, thread_id: str, goal: GoalRow) -> None:
        """Give the thread this goal in place of the one that it has."""
        await self._threads.change(
            thread_id, lambda connection, number: connection.execute(_PUT, (number, *astuple(goal)))
        )

    async def remove(self, thread_id: str) -> bool:
        """Take the goal away; False if there was none."""
        return await self._threads.change(
            thread_id,
            lambda connection, number: connection.execute("DELETE FROM goals WHERE thread = ?", (number,)).rowcount > 0,
        )
