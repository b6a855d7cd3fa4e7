from pathlib import Path

import pytest

from app_server.store.read_states import NothingToRead, ReadState, ReadStateChanged, add_turn, change, state_of
from app_server.store.threads import ThreadStore
from tests.unit.store.homes import add_thread, opened, turn


async def read_state(store: ThreadStore, thread_id: str) -> ReadState:
    row = await store.get(thread_id)
    return state_of(row.id, row.read_revision, row.first_unread)


async def test_unread_begins_with_the_first_turn_that_ended_since_all_was_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store)
        state = await read_state(home.store, row.id)
        assert state == ReadState(f"initial:{row.id}", None)
        revisions = {state.revision}
        for turn_id in ("t1", "t2"):
            await home.store.append(
                row.id,
                turn=turn(turn_id),
                also=lambda connection, number, turn_id=turn_id: add_turn(connection, number, turn_id),
            )
            state = await read_state(home.store, row.id)
            assert state.first_unread == "t1"
            assert state.revision not in revisions
            revisions.add(state.revision)
        state = await change(home.store, row.id, state.revision, unread=False)
        assert state == await read_state(home.store, row.id)
        assert state.first_unread is None
        state = await change(home.store, row.id, state.revision, unread=True)
        assert (await read_state(home.store, row.id)).first_unread == ""


async def test_a_state_that_has_changed_meanwhile_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store)
        await change(home.store, row.id, f"initial:{row.id}", unread=True)
        with pytest.raises(ReadStateChanged) as raised:
            await change(home.store, row.id, f"initial:{row.id}", unread=False)
        assert raised.value.state == await read_state(home.store, row.id)
        empty = await add_thread(home.store, turns=0)
        with pytest.raises(NothingToRead):
            await change(home.store, empty.id, f"initial:{empty.id}", unread=False)
