import random
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.ids import uuid7
from app_server.store.rows import ThreadQuery
from app_server.store.sections import PINNED, NotInSection, SectionMissing, SectionStore
from tests.unit.store.homes import Opened, add_thread, opened


def sections_of(home: Opened) -> SectionStore:
    return SectionStore(home.database, home.store)


async def in_order(home: Opened, section: str, *, descending: bool = False) -> Sequence[str]:
    query = ThreadQuery(section_id=section, sort_key="section_position", descending=descending)
    return [row.id for row in (await home.store.list(query)).rows]


async def test_a_home_has_a_section_for_pinned_threads_before_all_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        made = await sections.create("Work", '{"color":"red"}')
        rows = (await sections.page(None, 10)).rows
        assert [(row.id, row.name) for row in rows] == [(PINNED, "Pinned"), (made.id, "Work")]


async def test_pages_of_sections_join_without_gap_or_repeat(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        made = [PINNED, *[(await sections.create(f"s{number}", None)).id for number in range(4)]]
        seen: list[str] = []
        cursor = None
        while True:
            page = await sections.page(cursor, 2)
            seen += [row.id for row in page.rows]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == made
        with pytest.raises(BadCursor):
            await sections.page("junk", 2)


async def test_an_update_keeps_the_looks_unless_they_are_to_change(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        made = await sections.create("Work", '{"color":"red"}')
        assert (await sections.update(made.id, "Play", None, repaint=False)).appearance == '{"color":"red"}'
        changed = await sections.update(made.id, "Play", None, repaint=True)
        assert (changed.name, changed.appearance) == ("Play", None)
        with pytest.raises(SectionMissing):
            await sections.update("nope", "x", None, repaint=True)


async def test_threads_of_a_section_stay_in_the_order_that_they_are_put_into(tmp_path: Path) -> None:
    """More moves to one place than there is room between two neighbours."""
    chance = random.Random(7)
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        ids = [(await add_thread(home.store, items=0)).id for _ in range(8)]
        expected: list[str] = []
        for _ in range(120):
            thread = chance.choice(ids)
            others = [one for one in expected if one != thread]
            before = chance.choice([*others[:2], None])
            await sections.move(thread, PINNED, before, 1)
            others.insert(len(others) if before is None else others.index(before), thread)
            expected = others
        assert await in_order(home, PINNED) == expected
        assert await in_order(home, PINNED, descending=True) == expected[::-1]


async def test_a_thread_is_put_between_two_others_again_and_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        first, left, right = [(await add_thread(home.store, items=0)).id for _ in range(3)]
        await sections.move(first, PINNED, None, 1)
        expected = [first]
        for number in range(60):
            thread = (left, right)[number % 2]
            await sections.move(thread, PINNED, expected[-1], 1)
            expected = [*[one for one in expected[:-1] if one != thread], thread, expected[-1]]
            assert await in_order(home, PINNED) == expected


async def test_a_thread_says_its_section_and_since_when_it_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        row = await add_thread(home.store)
        made = await sections.create("Work", '{"color":"red","icon":null}')
        await sections.move(row.id, made.id, None, 5)
        await sections.move(row.id, made.id, None, 9)
        moved = await home.store.get(row.id)
        assert moved.section is not None
        appearance = {"color": "red", "icon": None}
        assert orjson.loads(moved.section) == {"id": made.id, "name": "Work", "appearance": appearance}
        assert moved.section_entered_at_ms == 5
        await sections.move(row.id, PINNED, None, 7)
        assert (await home.store.get(row.id)).section_entered_at_ms == 7
        await sections.move(row.id, None, None, 8)
        left = await home.store.get(row.id)
        assert (left.section, left.section_entered_at_ms) == (None, None)


async def test_threads_of_a_section_that_is_removed_are_in_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        row = await add_thread(home.store)
        made = await sections.create("Work", None)
        await sections.move(row.id, made.id, None, 5)
        await sections.delete(made.id)
        assert (await home.store.get(row.id)).section is None
        assert [found.id for found in (await home.store.list(ThreadQuery(section_id=""))).rows] == [row.id]
        with pytest.raises(SectionMissing):
            await sections.delete(made.id)


async def test_a_move_to_where_nothing_is_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        sections = sections_of(home)
        row, other = await add_thread(home.store), await add_thread(home.store)
        await sections.move(row.id, PINNED, None, 5)
        with pytest.raises(SectionMissing):
            await sections.move(row.id, "nope", None, 6)
        with pytest.raises(NotInSection):
            await sections.move(row.id, PINNED, other.id, 6)
        with pytest.raises(ThreadMissing):
            await sections.move(uuid7(), PINNED, None, 6)
        assert await in_order(home, PINNED) == [row.id]
