"""What users have read of a thread, as clients are told of it."""

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from app_server.store.read_states import ReadState, add_turn, state_of
from app_server.store.rows import ThreadRow, TurnRow
from protocol.v2.thread_data import ThreadReadState, ThreadStartThreadUnreadPosition, TurnThreadUnreadPosition

if TYPE_CHECKING:
    from app_server.threads.events import ThreadEvents
    from app_server.threads.thread import Thread


def wire_state(state: ReadState) -> ThreadReadState:
    """The state as the wire has it."""
    position = None
    if state.first_unread is not None:
        turn_id = state.first_unread
        position = TurnThreadUnreadPosition(turn_id=turn_id) if turn_id else ThreadStartThreadUnreadPosition()
    return ThreadReadState(revision=state.revision, first_unread=position)


def wire_state_of(row: ThreadRow) -> ThreadReadState:
    """The state of a stored thread."""
    return wire_state(state_of(row.id, row.read_revision, row.first_unread))


def tell_read_state(events: "ThreadEvents", thread_id: str, state: ReadState) -> None:
    """Tell the followers of a thread what counts as read."""
    from protocol.v2.thread import THREAD_READ_STATE_CHANGED, ThreadReadStateChangedNotification

    params = ThreadReadStateChangedNotification(thread_id=thread_id, read_state=wire_state(state))
    events.publish(THREAD_READ_STATE_CHANGED, params)


async def store_end(thread: "Thread", turn: TurnRow, history: Sequence[bytes], *, news: bool) -> None:
    """Store the end of a turn. If there is `news` in it for the user, it counts as unread and the followers know."""
    states: list[ReadState] = []

    def unread(connection: sqlite3.Connection, number: int) -> None:
        # Replaced rather than added to: what is done in a transaction may be done a second time.
        states[:] = [add_turn(connection, number, turn.id)]

    await thread.store(turn=turn, history=history, also=unread if news else None)
    for state in states:
        thread.row = replace(thread.row, read_revision=state.revision, first_unread=state.first_unread)
        tell_read_state(thread.events, thread.id, state)
