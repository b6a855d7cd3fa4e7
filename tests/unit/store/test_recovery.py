from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from app_server.store.ids import uuid7
from tests.unit.store.homes import START_MS, Opened, add_thread, item, opened, turn

RUNNING = (
    b'{"type":"commandExecution","id":"c1","status":"inProgress","aggregatedOutput":"so far","completedAtMs":null}'
)


async def _start_cut_turn(home: Opened) -> str:
    """A thread whose second turn has a finished message, a running command, two open calls and one answered."""
    row = await add_thread(home.store)
    await home.store.append(
        row.id,
        turn=turn("cut", status="inProgress", started_at_ms=START_MS + 10),
        items=[
            item("cut", "m", started_at_ms=START_MS + 20, completed_at_ms=START_MS + 25),
            item(
                "cut", "c1", type="commandExecution", payload=RUNNING, started_at_ms=START_MS + 30, completed_at_ms=None
            ),
        ],
        history=[
            b'{"type":"function_call","call_id":"answered","name":"x","arguments":"{}"}',
            b'{"type":"function_call_output","call_id":"answered","output":"ok"}',
            b'{"type":"function_call","call_id":"open","name":"x","arguments":"{}"}',
            b'{"type":"custom_tool_call","call_id":"custom","name":"x","input":""}',
        ],
    )
    return row.id


async def test_a_dead_daemon_s_turn_is_closed_so_that_the_thread_resumes(tmp_path: Path) -> None:
    async with opened(tmp_path) as dead:
        thread_id = await _start_cut_turn(dead)
    async with opened(tmp_path) as home:
        assert await home.store.mark_cut_turns() == 1
        cut = (await home.store.turns(thread_id)).rows[1]
        # The last that was heard of it was the start of the command.
        assert cut == turn(
            "cut",
            status="interrupted",
            started_at_ms=START_MS + 10,
            completed_at_ms=START_MS + 30,
            duration_ms=20,
            ordinal=1,
        )
        command = (await home.store.items(thread_id, "cut")).rows[1]
        expected = orjson.loads(RUNNING) | {"status": "failed", "completedAtMs": START_MS + 30}
        assert (orjson.loads(command.payload), command.completed_at_ms) == (expected, START_MS + 30)
        assert [orjson.loads(entry) for entry in (await home.store.history(thread_id))[6:]] == [
            {"type": "function_call_output", "call_id": "open", "output": "aborted"},
            {"type": "custom_tool_call_output", "call_id": "custom", "output": "aborted"},
        ]


async def test_closing_cut_turns_twice_changes_nothing_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as dead:
        thread_id = await _start_cut_turn(dead)
    async with opened(tmp_path) as home:
        await home.store.mark_cut_turns()
        first = [await home.store.turns(thread_id), await home.store.items(thread_id)]
        history = await home.store.history(thread_id)
        assert await home.store.mark_cut_turns() == 0
        assert [await home.store.turns(thread_id), await home.store.items(thread_id)] == first
        assert await home.store.history(thread_id) == history


async def test_turns_of_a_live_daemon_are_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as alive:
        thread_id = await _start_cut_turn(alive)
        async with opened(tmp_path) as second:
            assert await second.store.mark_cut_turns() == 0
        assert await alive.store.mark_cut_turns() == 0
        assert (await alive.store.turns(thread_id)).rows[1].status == "inProgress"


async def test_claiming_a_dead_daemon_s_thread_closes_its_turn(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        async with opened(tmp_path) as dead:
            thread_id = await _start_cut_turn(dead)
        await home.store.claim(thread_id)
        assert (await home.store.get(thread_id)).owner == home.daemon.id
        assert [one.status for one in (await home.store.turns(thread_id)).rows] == ["completed", "interrupted"]
        await home.store.append(thread_id, turn=turn("next", status="inProgress"))
        await home.store.claim(thread_id)
        assert (await home.store.turns(thread_id)).rows[2].status == "inProgress"


async def test_a_command_that_outlived_its_turn_is_closed_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as dead:
        row = await add_thread(dead.store, items=0)
        background = item("t0", "c1", payload=RUNNING, completed_at_ms=None)
        await dead.store.append(row.id, items=[background])
        done = turn("t0", completed_at_ms=START_MS + 99)
        await dead.store.append(row.id, turn=done)
    async with opened(tmp_path) as home:
        assert await home.store.mark_cut_turns() == 0
        assert (await home.store.turns(row.id)).rows == (replace(done, ordinal=0),)
        closed = (await home.store.items(row.id)).rows[0]
        assert (orjson.loads(closed.payload)["status"], closed.completed_at_ms) == ("failed", START_MS + 99)


@pytest.mark.parametrize("payload", [b"[1]", b"not json", b'{"type":"x"}'])
async def test_payloads_of_any_shape_do_not_stop_recovery(tmp_path: Path, payload: bytes) -> None:
    async with opened(tmp_path) as dead:
        row = await add_thread(dead.store, turns=0)
        running = item("t", "i", payload=payload, completed_at_ms=None)
        await dead.store.append(row.id, turn=turn("t", status="inProgress"), items=[running], history=[payload])
    async with opened(tmp_path) as home:
        assert await home.store.mark_cut_turns() == 1
        assert (await home.store.items(row.id)).rows[0].completed_at_ms == START_MS
        assert len(await home.store.history(row.id)) == 1


def test_version_7_ids_sort_by_time() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[14] for one in ids] == ["7"] * 1000
    assert {one[19] for one in ids} == set("89ab")
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)
