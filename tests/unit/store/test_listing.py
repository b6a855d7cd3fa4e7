from pathlib import Path

import pytest
from msgspec.structs import replace

from app_server.store.errors import BadCursor
from app_server.store.rows import ItemRow, Page, SortKey, ThreadQuery, ThreadRow, TurnRow
from app_server.store.threads import ThreadStore
from tests.unit.store.homes import START_MS, add_thread, opened, thread


async def _ids(store: ThreadStore, query: ThreadQuery) -> list[str]:
    return [row.id for row in (await store.list(query)).rows]


@pytest.mark.parametrize("sort_key", ["created_at", "updated_at", "recency_at"])
@pytest.mark.parametrize("descending", [True, False])
async def test_threads_are_sorted_by_the_key_and_pages_join_without_gap_or_repeat(
    tmp_path: Path, sort_key: SortKey, descending: bool
) -> None:
    async with opened(tmp_path) as home:
        # Three threads to each time, so that every second page ends among equals.
        rows = [
            await add_thread(home.store, items=0, **{f"{sort_key}_ms": START_MS + number // 3}) for number in range(12)
        ]
        expected = [row.id for row in rows]
        if descending:
            expected.reverse()
        for limit in (1, 2, 5, 12, 13):
            query = ThreadQuery(sort_key=sort_key, descending=descending, limit=limit)
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page = await home.store.list(replace(query, cursor=cursor))
                seen += [row.id for row in page.rows]
                if (cursor := page.next_cursor) is None:
                    break
            assert seen == expected


async def test_a_backwards_cursor_starts_at_the_page_s_first_thread_in_either_direction(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        ids = [(await add_thread(home.store, created_at_ms=START_MS + number)).id for number in range(5)]
        first = await home.store.list(ThreadQuery(limit=2))
        second = await home.store.list(ThreadQuery(limit=2, cursor=first.next_cursor))
        assert [row.id for row in second.rows] == [ids[2], ids[1]]
        back = ThreadQuery(cursor=second.backwards_cursor, descending=False)
        assert await _ids(home.store, back) == ids[2:]
        again = ThreadQuery(cursor=second.backwards_cursor, descending=True)
        assert await _ids(home.store, again) == ids[2::-1]
        # The cursor of the newest page finds what came later.
        newer = (await add_thread(home.store, created_at_ms=START_MS + 9)).id
        later = ThreadQuery(cursor=first.backwards_cursor, descending=False)
        assert await _ids(home.store, later) == [ids[4], newer]


async def test_a_page_stays_where_it_is_when_threads_come_and_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        ids = [(await add_thread(home.store, created_at_ms=START_MS + number)).id for number in range(6)]
        first = await home.store.list(ThreadQuery(limit=2))
        await home.store.delete(ids[4])  # the page's last
        await home.store.delete(ids[3])
        await add_thread(home.store, created_at_ms=START_MS + 100)
        assert await _ids(home.store, ThreadQuery(cursor=first.next_cursor)) == [ids[2], ids[1], ids[0]]


async def test_a_list_without_rows_has_no_cursors(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        assert await home.store.list(ThreadQuery()) == Page[ThreadRow]((), None, None)
        row = await add_thread(home.store, turns=0)
        assert await home.store.turns(row.id) == Page[TurnRow]((), None, None)
        assert await home.store.items(row.id) == Page[ItemRow]((), None, None)


async def test_filters(tmp_path: Path) -> None:
    spawned = '{"subAgent":{"thread_spawn":{"depth":1,"parent_thread_id":"p"}}}'
    async with opened(tmp_path) as home:
        store = home.store
        a = (await add_thread(store, cwd="/a", model_provider="openai", originator="tui", preview="Grüße, Welt")).id
        b = (await add_thread(store, cwd="/b", source='"cli"', name="STRASSE 100%", parent_thread_id=a)).id
        c = (await add_thread(store, source=spawned, parent_thread_id=b)).id
        d = (await add_thread(store, source='{"subAgent":"review"}', archived=True)).id
        e = (await add_thread(store, source='{"custom":"mine"}')).id
        empty = thread()
        await store.create(empty)
        for query, expected in [
            (ThreadQuery(), [e, c, b, a]),
            (ThreadQuery(archived=True), [d]),
            (ThreadQuery(with_empty=True), [empty.id, e, c, b, a]),
            (ThreadQuery(cwds=["/b", "/a"]), [b, a]),
            (ThreadQuery(cwds=[]), []),
            (ThreadQuery(model_providers=["openai"]), [a]),
            (ThreadQuery(source_kinds=["cli", "vscode"]), [b, a]),
            (ThreadQuery(source_kinds=["subAgent"]), [c]),
            (ThreadQuery(source_kinds=["subAgentThreadSpawn"]), [c]),
            (ThreadQuery(source_kinds=["subAgentReview"], archived=True), [d]),
            (ThreadQuery(source_kinds=["unknown"]), [e]),
            (ThreadQuery(originators=["tui"]), [a]),
            (ThreadQuery(excluded_ids=[a, c]), [e, b]),
            (ThreadQuery(parent_id=a), [b]),
            (ThreadQuery(ancestor_id=a), [c, b]),
            (ThreadQuery(search="GRÜSSE"), [a]),
            (ThreadQuery(search="straße"), [b]),
            (ThreadQuery(search="0%"), [b]),
            (ThreadQuery(search="_"), []),
            (ThreadQuery(search=""), [e, c, b, a]),
            (ThreadQuery(cwds=["/a", "/b"], source_kinds=["vscode"], search="welt", limit=1), [a]),
        ]:
            assert await _ids(store, query) == expected, query


@pytest.mark.parametrize("what", ["turns", "items"])
async def test_turns_and_items_are_paged_both_ways(tmp_path: Path, what: str) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=5, items=1)

        async def page(cursor: str | None, descending: bool) -> tuple[list[int], str | None, str | None]:
            read = home.store.turns if what == "turns" else home.store.items
            found = await read(row.id, cursor=cursor, limit=2, descending=descending)
            return [one.ordinal for one in found.rows], found.next_cursor, found.backwards_cursor

        newest, older, _ = await page(None, True)
        middle, oldest, back = await page(older, True)
        assert (newest, middle, (await page(oldest, True))[:2]) == ([4, 3], [2, 1], ([0], None))
        assert (await page(back, False))[0] == [2, 3]
        assert (await page(back, True))[0] == [2, 1]
        first, later, _ = await page(None, False)
        assert (first, (await page(later, False))[0]) == ([0, 1], [2, 3])


async def test_an_item_s_cursor_starts_with_the_item(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=3, items=1)
        cursor = await home.store.item_cursor(row.id, "t1.i0")
        assert [one.id for one in (await home.store.items(row.id, cursor=cursor)).rows] == ["t1.i0", "t2.i0"]
        assert await home.store.item_cursor(row.id, "no such item") is None


async def test_a_cursor_of_another_list_or_of_nobody_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row, other = [await add_thread(home.store, turns=3) for _ in range(2)]
        turns = (await home.store.turns(row.id, limit=1)).next_cursor
        threads = (await home.store.list(ThreadQuery(limit=1))).next_cursor
        assert turns is not None
        assert threads is not None
        bad = ["", "zz", "|", "||", "|||", turns + "x", turns.replace("1", "9" * 30), "turns:" + row.id + "|x|after"]
        for cursor in [*bad, threads]:
            with pytest.raises(BadCursor) as raised:
                await home.store.turns(row.id, cursor=cursor)
            assert str(raised.value) == f"invalid cursor: {cursor}"
        for cursor in [*bad, turns]:
            with pytest.raises(BadCursor):
                await home.store.list(ThreadQuery(cursor=cursor))
        with pytest.raises(BadCursor):
            await home.store.turns(other.id, cursor=turns)
        with pytest.raises(BadCursor):
            await home.store.items(row.id, cursor=turns)
        with pytest.raises(BadCursor):
            await home.store.list(ThreadQuery(cursor=threads, sort_key="updated_at"))


async def test_lists_are_read_from_an_index_and_not_sorted(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        for column in ("created_at_ms", "updated_at_ms", "recency_at_ms"):
            sql = (
                "EXPLAIN QUERY PLAN SELECT * FROM threads WHERE archived = 0 AND has_turns = 1 AND"
                f" ({column}, number) < (1, 1) ORDER BY {column} DESC, number DESC LIMIT 100"
            )
            plan = await home.database.read(lambda connection, sql=sql: connection.execute(sql).fetchall())
            assert [str(step[3]).startswith("SEARCH threads USING INDEX") for step in plan] == [True], plan
