import sqlite3
from pathlib import Path

import orjson
import pytest

from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.ids import uuid7
from app_server.store.rows import Page
from app_server.store.timeline import Entry, items_named, timeline
from tests.unit.store.homes import Opened, add_thread, item, opened, turn


async def pages(home: Opened, thread_id: str, limit: int) -> list[Entry]:
    """The whole timeline, oldest first, read page by page."""
    entries: list[Entry] = []
    cursor: str | None = None
    while True:

        def work(connection: sqlite3.Connection, cursor: str | None = cursor) -> Page[Entry]:
            return timeline(connection, thread_id, cursor, limit)

        page = await home.database.read(work)
        assert 0 < len(page.rows) <= limit
        entries = [*page.rows, *entries]
        if (cursor := page.next_cursor) is None:
            return entries


def short(entry: Entry) -> str:
    if entry.item is not None:
        return orjson.loads(entry.item)["id"]
    return f"{entry.turn.id} {'ended' if entry.ended else 'began'}"


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_turns_and_items_come_in_the_order_in_which_they_happened(tmp_path: Path, limit: int) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=0)
        for turn_id, count in (("t0", 2), ("t1", 0), ("t2", 0), ("t3", 1)):
            ended = turn(turn_id, completed_at_ms=5)
            await home.store.append(row.id, turn=ended, items=[item(turn_id, f"{turn_id}.{n}") for n in range(count)])
        await home.store.append(row.id, turn=turn("t4", status="inProgress"), items=[item("t4", "t4.0")])
        entries = await pages(home, row.id, limit)
        assert [short(entry) for entry in entries] == [
            *("t0 began", "t0.0", "t0.1", "t0 ended"),
            *("t1 began", "t1 ended"),
            *("t2 began", "t2 ended"),
            *("t3 began", "t3.0", "t3 ended"),
            *("t4 began", "t4.0"),
        ]
        assert [entry.position for entry in entries] == list(range(len(entries)))


async def test_positions_stay_while_the_thread_grows(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=2)
        before = {short(entry): entry.position for entry in await pages(home, row.id, 100)}
        await home.store.append(row.id, turn=turn("later", completed_at_ms=9), items=[item("later", "i")])
        after = {short(entry): entry.position for entry in await pages(home, row.id, 100)}
        assert before.items() < after.items()


async def test_a_thread_without_turns_has_an_empty_timeline(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=0)
        page = await home.database.read(lambda connection: timeline(connection, row.id, None, 5))
        assert (page.rows, page.next_cursor) == ((), None)
        with pytest.raises(BadCursor):
            await home.database.read(lambda connection: timeline(connection, row.id, "junk", 5))
        with pytest.raises(ThreadMissing):
            await home.database.read(lambda connection: timeline(connection, uuid7(), None, 5))


async def test_items_are_read_by_their_ids_in_the_order_of_their_turn(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=2, items=3)
        wanted = ["t1.i2", "t1.i0", "t0.i0", "nope", "t1.i0"]
        found = await home.database.read(lambda connection: items_named(connection, row.id, "t1", wanted))
        assert [one.id for one in found] == ["t1.i0", "t1.i2"]
        assert await home.database.read(lambda connection: items_named(connection, row.id, "nope", wanted)) == []
