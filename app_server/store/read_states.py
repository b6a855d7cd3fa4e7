"""What users have read of their threads."""

import sqlite3
from uuid import uuid4

from msgspec import Struct

from app_server.store.threads import ThreadStore


class ReadState(Struct, frozen=True):
    """`first_unread` is the id of a turn, "" for the thread's start, or None when all was read."""

    revision: str
    first_unread: str | None


class ReadStateChanged(Exception):
    """The state is another one than the one that was to be changed."""

    def __init__(self, state: ReadState) -> None:
        super().__init__("read state changed")
        self.state = state


class NothingToRead(Exception):
    """The thread has no turns yet."""


def state_of(thread_id: str, revision: str | None, first_unread: str | None) -> ReadState:
    """The state that a thread's columns say."""
    return ReadState(revision or f"initial:{thread_id}", first_unread)


def add_turn(connection: sqlite3.Connection, number: int, turn_id: str) -> ReadState:
    """Count an ended turn as unread, inside the transaction that stores its end."""
    changed = connection.execute(
        "UPDATE threads SET read_revision = ?, first_unread = coalesce(first_unread, ?) WHERE number = ?"
        " RETURNING read_revision, first_unread",
        (str(uuid4()), turn_id, number),
    )
    return ReadState(*changed.fetchall()[0])


async def change(store: ThreadStore, thread_id: str, expected_revision: str, *, unread: bool) -> ReadState:
    """Let all of a thread count as read or as unread; returns the state as it is then.

    Raises ReadStateChanged, NothingToRead, and what a change to the thread raises.
    """

    def work(connection: sqlite3.Connection, number: int) -> ReadState:
        row = connection.execute(
            "SELECT read_revision, first_unread, has_turns FROM threads WHERE number = ?", (number,)
        ).fetchone()
        if row[0] is None and not row[2]:
            raise NothingToRead
        state = state_of(thread_id, row[0], row[1])
        if state.revision != expected_revision:
            raise ReadStateChanged(state)
        state = ReadState(str(uuid4()), "" if unread else None)
        connection.execute(
            "UPDATE threads SET read_revision = ?, first_unread = ? WHERE number = ?",
            (state.revision, state.first_unread, number),
        )
        return state

    return await store.change(thread_id, work)
