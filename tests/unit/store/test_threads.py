from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from app_server.store.errors import StoreError, ThreadMissing, TurnMissing
from app_server.store.rows import ThreadRow
from tests.unit.store.homes import START_MS, add_thread, item, opened, thread, turn

EVERY_COLUMN = thread(
    created_at_ms=1,
    updated_at_ms=2,
    recency_at_ms=3,
    cwd="/päth",
    model_provider="p",
    cli_version="v",
    source='{"custom":"x"}',
    settings='{"approvalPolicy":"never"}',
    preview="prev\u0000iew",
    model="m",
    reasoning_effort="high",
    name="näme",
    originator="lab",
    thread_source="user",
    forked_from_id="f",
    parent_thread_id="p",
    git_info='{"branch":"main"}',
    token_usage='{"total":1}',
    project_id="project",
    memory_mode="disabled",
    read_revision="r",
    first_unread="",
    daybreak_enabled=True,
    archived=True,
)


async def test_a_thread_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        await home.store.create(EVERY_COLUMN)
        assert await home.store.get(EVERY_COLUMN.id) == replace(EVERY_COLUMN, owner=home.daemon.id)
    async with opened(tmp_path) as again:
        assert await again.store.get(EVERY_COLUMN.id) == replace(EVERY_COLUMN, owner=home.daemon.id)


async def test_every_column_but_identity_and_ownership_can_be_updated(tmp_path: Path) -> None:
    others = {"id", "owner", "has_turns", "section", "section_entered_at_ms"}
    settable = [name for name in ThreadRow.__struct_fields__ if name not in others]
    async with opened(tmp_path) as home:
        row = thread()
        await home.store.create(row)
        await home.store.update(row.id, {name: getattr(EVERY_COLUMN, name) for name in settable})
        assert await home.store.get(row.id) == replace(EVERY_COLUMN, id=row.id, owner=home.daemon.id)
        for name in ("id", "owner", "has_turns", "number = 0 --"):
            with pytest.raises(TypeError, match="not columns of a thread that can be set"):
                await home.store.update(row.id, {name: "x"})


async def test_a_preview_is_cut_between_characters_at_4_kib(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = thread(preview="a" + "é" * 3000)
        await home.store.create(row)
        assert (await home.store.get(row.id)).preview == "a" + "é" * 2047
        await home.store.update(row.id, {"preview": "€" * 3000})
        assert (await home.store.get(row.id)).preview == "€" * 1365


async def test_an_id_is_stored_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = thread()
        await home.store.create(row)
        with pytest.raises(StoreError, match="UNIQUE constraint failed"):
            await home.store.create(row)


async def test_an_unknown_thread_is_named_in_the_error(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        store = home.store
        for attempt in (
            store.get("no"),
            store.update("no", {"name": "x"}),
            store.archive("no"),
            store.delete("no"),
            store.append("no", turn=turn("t")),
            store.turns("no"),
            store.items("no"),
            store.history("no"),
            store.fork("no", thread()),
            store.claim("no"),
        ):
            with pytest.raises(ThreadMissing, match="thread not found: no"):
                await attempt
        await store.release("no")
        assert await store.count() == 0


async def test_turns_items_and_history_come_back_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=2)
        turns = await home.store.turns(row.id)
        items = await home.store.items(row.id)
        assert turns.rows == (turn("t0", ordinal=0), turn("t1", ordinal=1))
        assert items.rows == tuple(
            item(f"t{number // 2}", f"t{number // 2}.i{number % 2}", ordinal=number) for number in range(4)
        )
        assert [orjson.loads(entry) for entry in await home.store.history(row.id)] == [
            {"turn": f"t{number // 2}", "place": number % 2} for number in range(4)
        ]


async def test_one_append_is_all_or_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=0)
        with pytest.raises(TurnMissing, match="turn not found: elsewhere"):
            await home.store.append(
                row.id,
                turn=turn("t"),
                items=[item("t", "a"), item("elsewhere", "b")],
                history=[b"{}"],
                thread={"name": "n"},
            )
        assert await home.store.get(row.id) == row
        assert (await home.store.turns(row.id)).rows == ()
        assert (await home.store.items(row.id)).rows == ()
        assert await home.store.history(row.id) == []


async def test_a_finished_turn_replaces_the_one_in_progress(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=1)
        await home.store.append(row.id, turn=turn("t1", status="inProgress"))
        done = turn("t1", status="failed", error='{"message":"m"}', completed_at_ms=START_MS + 5, duration_ms=5)
        await home.store.append(row.id, turn=done, thread={"updated_at_ms": 9, "token_usage": "{}"})
        assert (await home.store.turns(row.id)).rows == (turn("t0", ordinal=0), replace(done, ordinal=1))
        assert await home.store.get(row.id) == replace(row, updated_at_ms=9, token_usage="{}")


async def test_a_finished_item_takes_the_place_of_the_one_in_progress(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=1, items=0)
        started = item("t0", "call", type="commandExecution", payload=b'{"status":"inProgress"}', completed_at_ms=None)
        await home.store.append(row.id, items=[started, item("t0", "after")])
        assert (await home.store.items(row.id)).rows[0] == replace(started, ordinal=0)
        finished = replace(started, payload=b'{"status":"completed"}', completed_at_ms=START_MS + 1)
        await home.store.append(row.id, items=[finished])
        expected = (replace(finished, ordinal=0), item("t0", "after", ordinal=1))
        assert (await home.store.items(row.id)).rows == expected


async def test_a_repeated_item_id_of_a_finished_item_is_a_new_item(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=2, items=0)
        await home.store.append(row.id, items=[item("t0", "call-1")])
        await home.store.append(row.id, items=[item("t1", "call-1")])
        assert [(one.turn_id, one.ordinal) for one in (await home.store.items(row.id)).rows] == [("t0", 0), ("t1", 1)]


async def test_items_of_chosen_turns_and_types(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=3)
        await home.store.append(row.id, items=[item("t0", "late", type="commandExecution")])
        of_two = await home.store.items_of_turns(row.id, ["t2", "t0"])
        assert [one.id for one in of_two] == ["t0.i0", "t0.i1", "late", "t2.i0", "t2.i1"]
        of_type = await home.store.items_of_turns(row.id, ["t2", "t0"], types=["commandExecution"])
        assert [one.id for one in of_type] == ["late"]
        assert list(await home.store.items_of_turns(row.id, [])) == []
        assert [one.id for one in (await home.store.items(row.id, "t1")).rows] == ["t1.i0", "t1.i1"]
        assert (await home.store.items(row.id, "no such turn")).rows == ()


async def test_a_fork_has_copies_of_its_own_under_the_same_ids(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        source = await add_thread(home.store, turns=3)
        copy = thread(forked_from_id=source.id)
        await home.store.fork(source.id, copy)
        for read in (home.store.turns, home.store.items):
            assert (await read(copy.id)).rows == (await read(source.id)).rows
        assert await home.store.history(copy.id) == await home.store.history(source.id)
        assert await home.store.get(copy.id) == replace(copy, owner=home.daemon.id, has_turns=True)
        await home.store.delete(source.id)
        assert len((await home.store.items(copy.id)).rows) == 6


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ({"through_turn_id": "t1"}, 2),
        ({"before_turn_id": "t1"}, 1),
        ({"before_turn_id": "t0"}, 0),
        ({"through_turn_id": "t2"}, 3),
    ],
)
async def test_a_fork_ends_where_it_is_told(tmp_path: Path, end: dict[str, str], kept: int) -> None:
    async with opened(tmp_path) as home:
        source = await add_thread(home.store, turns=0)
        await home.store.append(source.id, history=[b'"before all turns"'])
        for number in range(3):
            turn_id = f"t{number}"
            items = [item(turn_id, turn_id)]
            await home.store.append(source.id, turn=turn(turn_id), items=items, history=[orjson.dumps(turn_id)])
        copy = thread()
        await home.store.fork(source.id, copy, **end)
        ids = [f"t{number}" for number in range(kept)]
        assert [one.id for one in (await home.store.turns(copy.id)).rows] == ids
        assert [one.id for one in (await home.store.items(copy.id)).rows] == ids
        assert [orjson.loads(one) for one in await home.store.history(copy.id)] == ["before all turns", *ids]
        assert (await home.store.get(copy.id)).has_turns == (kept > 0)


async def test_a_fork_at_an_unknown_turn_stores_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        source = await add_thread(home.store)
        with pytest.raises(TurnMissing, match="turn not found: zz"):
            await home.store.fork(source.id, thread(), through_turn_id="zz")
        assert await home.store.count() == 1


async def test_a_fork_of_a_running_turn_shows_it_interrupted_and_can_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        source = await add_thread(home.store, turns=0)
        call = b'{"type":"function_call","call_id":"c"}'
        await home.store.append(source.id, turn=turn("t0", status="inProgress"), history=[call])
        copy = thread()
        await home.store.fork(source.id, copy)
        assert [one.status for one in (await home.store.turns(copy.id)).rows] == ["interrupted"]
        assert (await home.store.history(copy.id))[1:] == [
            b'{"type":"function_call_output","call_id":"c","output":"aborted"}'
        ]
        assert [one.status for one in (await home.store.turns(source.id)).rows] == ["inProgress"]
        assert len(await home.store.history(source.id)) == 1


async def test_archived_threads_can_be_brought_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store)
        await home.store.archive(row.id)
        archived = await home.store.get(row.id)
        assert archived == replace(row, archived=True, updated_at_ms=archived.updated_at_ms)
        assert archived.updated_at_ms > row.updated_at_ms
        assert [await home.store.count(archived=side) for side in (True, False, None)] == [1, 0, 1]
        await home.store.unarchive(row.id)
        assert not (await home.store.get(row.id)).archived


async def test_a_deleted_thread_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    secret = b"the-secret-in-question"
    async with opened(tmp_path) as home:
        kept = await add_thread(home.store)
        row = await add_thread(home.store, preview=secret.decode())
        payload = b'"' + secret * 1000 + b'"'
        await home.store.append(row.id, items=[item("t0", "i", payload=payload)], history=[payload])
        await home.store.delete(row.id)
        with pytest.raises(ThreadMissing):
            await home.store.get(row.id)
        assert await home.store.count() == 1
        assert len((await home.store.items(kept.id)).rows) == 2
    assert all(secret not in data for data in _contents(tmp_path))


def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
