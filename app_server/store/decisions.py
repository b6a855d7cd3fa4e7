"""The log of approvals: what was asked, and who answered what and when."""

import sqlite3
from collections.abc import Sequence
from time import time_ns

from msgspec import Struct

from app_server.store.database import Database

SUMMARY_CHARACTERS = 2_000
"""How much of a command is kept in plain text; the digest is of all of it."""

REVIEWER = "auto_review"
"""Who has decided, where it was a model in the user's place."""


class Question(Struct, frozen=True):
    """Something that may only happen if somebody says yes. `digest` is a SHA-256 in hex of what is to be done."""

    thread_id: str
    turn_id: str
    item_id: str
    kind: str
    digest: str
    summary: str


class Decision(Struct, frozen=True):
    """A line of the log. `decision` is None while the question is open; `decided_by` names the client or the cause."""

    question: Question
    asked_at_ms: int
    decided_at_ms: int | None
    decision: str | None
    decided_by: str | None


class DecisionLog:
    """Questions and answers in the store. A question is on disk before anybody sees it, an answer before it counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def asked(self, question: Question) -> int:
        """Note a question; the result names it to `decided`."""
        values = (
            question.thread_id,
            question.turn_id,
            question.item_id,
            question.kind,
            question.digest,
            question.summary[:SUMMARY_CHARACTERS],
            _now_ms(),
        )

        def work(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO decisions (thread_id, turn_id, item_id, kind, digest, summary, asked_at_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            return cursor.lastrowid or 0

        return await self._database.write(work)

    async def decided(self, number: int, decision: str, decided_by: str, review: tuple[str, str] | None = None) -> None:
        """Note the answer to a question. The first one counts. `review` is its id and all that was said, as JSON.

        Another daemon that starts on this home may take a question of a thread that is not stored for lost.
        """
        values = (decision, decided_by, _now_ms(), *(review or (None, None)), number)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE decisions SET decision = ?, decided_by = ?, decided_at_ms = ?, review_id = ?, review = ?"
                " WHERE number = ? AND (decision IS NULL OR decision = 'lost')",
                values,
            )
        )

    async def review(self, thread_id: str, review_id: str) -> str | None:
        """The review of that id, as JSON, if the thread has one."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT review FROM decisions WHERE review_id = ? AND thread_id = ?", (review_id, thread_id)
            ).fetchone()
            return None if row is None else row[0]

        return await self._database.read(work)

    async def close_lost(self) -> None:
        """Note of questions whose turn has ended with its daemon that nobody answered them: that was a no."""
        at = _now_ms()
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE decisions SET decision = 'lost', decided_by = 'the daemon ended', decided_at_ms = ?"
                " WHERE decision IS NULL"
                " AND turn_id NOT IN (SELECT id FROM turns WHERE status = 'inProgress')",
                (at,),
            )
        )

    async def newest(self, limit: int, thread_id: str | None = None) -> Sequence[Decision]:
        """The newest lines, newest first, of one thread or of all."""

        def work(connection: sqlite3.Connection) -> Sequence[Decision]:
            rows = connection.execute(
                "SELECT thread_id, turn_id, item_id, kind, digest, summary,"
                " asked_at_ms, decided_at_ms, decision, decided_by FROM decisions"
                " WHERE ?1 IS NULL OR thread_id = ?1 ORDER BY number DESC LIMIT ?2",
                (thread_id, limit),
            )
            return [Decision(Question(*row[:6]), *row[6:]) for row in rows]

        return await self._database.read(work)


def _now_ms() -> int:
    return time_ns() // 1_000_000
