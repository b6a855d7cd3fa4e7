import sqlite3
from collections.abc import Sequence
from pathlib import Path

import anyio
import orjson
import pytest

from app_server.store import search as texts
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.ids import uuid7
from app_server.store.reverting import remove_turns_from
from app_server.store.rows import ItemRow, ThreadQuery, ThreadRow
from app_server.store.search import Occurrence
from app_server.store.search_index import SearchIndex
from tests.unit.store.homes import START_MS, Opened, item, opened, thread, turn


def message(turn_id: str, text: str, **columns: object) -> ItemRow:
    item_id = uuid7()
    return item(
        turn_id, item_id, payload=orjson.dumps({"type": "agentMessage", "id": item_id, "text": text}), **columns
    )


async def say(home: Opened, *said: str, **columns: object) -> ThreadRow:
    """A thread in which this was said, in one turn each."""
    row = thread(**columns)
    await home.store.create(row)
    for number, text in enumerate(said):
        await home.store.append(row.id, turn=turn(f"t{number}"), items=[message(f"t{number}", text)])
    return row


async def find(home: Opened, term: str, **query: object) -> list[str]:
    """The ids of the threads on the first page."""
    await SearchIndex(home.database).catch_up()
    wanted = ThreadQuery(**query)  # pyright: ignore[reportArgumentType] each field has its own type
    page = await home.database.read(lambda connection: texts.search(connection, wanted, term))
    return [row.id for row, _ in page.rows]


async def places(home: Opened, thread_id: str, term: str, limit: int = 100) -> Sequence[Occurrence]:
    """Every occurrence in a thread, page by page."""
    await SearchIndex(home.database).catch_up()
    found: list[Occurrence] = []
    cursor: str | None = None
    while True:

        def work(connection: sqlite3.Connection, cursor: str | None = cursor) -> texts.Page[Occurrence]:
            return texts.occurrences_in(connection, thread_id, term, cursor, limit)

        page = await home.database.read(work)
        found += page.rows
        if (cursor := page.next_cursor) is None:
            return found


def tables(connection: sqlite3.Connection) -> list[int]:
    """How many rows there are of what the index consists of, but for the index itself."""
    names = ("search_docs", "search_queue", "search_removed")
    return [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names]


@pytest.mark.parametrize(
    "term",
    [
        "zebra",
        "ZEBRA",
        "ebr",
        "eb",
        "z",
        "zebra crossing",
        "  zebra \n crossing ",
        "crossing: 100%",
        '"quoted" (x)* AND',
    ],
)
async def test_a_thread_is_found_by_any_part_of_what_was_said(tmp_path: Path, term: str) -> None:
    async with opened(tmp_path) as home:
        row = await say(home, "nothing here", 'A Zebra\ncrossing: 100% "quoted" (x)* AND so on')
        await say(home, "something else of it all")
        assert await find(home, term) == [row.id]


@pytest.mark.parametrize("term", ["日本", "本", "日本語テキスト", "ü", "größe", "STRASSE", "😀", "語テ"])
async def test_a_thread_is_found_in_any_script(tmp_path: Path, term: str) -> None:
    async with opened(tmp_path) as home:
        row = await say(home, "Über Straße größe 日本語テキスト 😀")
        await say(home, "plain words")
        assert await find(home, term) == [row.id]


@pytest.mark.parametrize("term", ["zebra lion", "zebr a", "zebras", "lion zebra", "\0", "a\0b", "qqq"])
async def test_what_was_not_said_is_not_found(tmp_path: Path, term: str) -> None:
    async with opened(tmp_path) as home:
        await say(home, "zebra", "lion")
        assert await find(home, term) == []


async def test_what_is_being_said_is_found_once_it_was_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await say(home)
        running = message("t", "so far", completed_at_ms=None)
        await home.store.append(row.id, turn=turn("t", status="inProgress"), items=[running])
        assert await find(home, "so far") == []
        done = item("t", running.id, payload=orjson.dumps({"text": "so far and further"}))
        await home.store.append(row.id, items=[done])
        assert await find(home, "further") == [row.id]


async def test_filters_order_and_pages_are_those_of_lists(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        rows = [await say(home, f"word {number}", created_at_ms=START_MS + number) for number in range(7)]
        ids = [row.id for row in rows]
        await home.store.archive(ids[3])
        assert await find(home, "word") == [ids[6], ids[5], ids[4], ids[2], ids[1], ids[0]]
        assert await find(home, "word", archived=True) == [ids[3]]
        assert await find(home, "word", source_kinds=["cli"]) == []
        seen: list[str] = []
        cursor: str | None = None
        while True:
            query = ThreadQuery(descending=False, limit=2, cursor=cursor)

            def work(connection: sqlite3.Connection, query: ThreadQuery = query) -> texts.Page[texts.Hit]:
                return texts.search(connection, query, "word")

            page = await home.database.read(work)
            seen += [row.id for row, _ in page.rows]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == [ids[0], ids[1], ids[2], ids[4], ids[5], ids[6]]
        with pytest.raises(BadCursor):
            await find(home, "word", cursor="threads:created_at|1|1|after")


@pytest.mark.parametrize(
    ("few", "looked_through", "ordered"), [(0, 0, 0), (0, 2, 0), (0, 0, 99), (0, 99, 0), (99, 0, 0)]
)
async def test_common_and_rare_words_are_found_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, looked_through: int, ordered: int
) -> None:
    """Each way of looking, by itself."""
    monkeypatch.setattr(texts, "_FEW", few)
    monkeypatch.setattr(texts, "_LOOKED_THROUGH", looked_through)
    monkeypatch.setattr(texts, "_SORTED", ordered)
    monkeypatch.setattr(texts, "_SMALL", looked_through)
    async with opened(tmp_path) as home:
        rows = [
            await say(home, "before", "common word" if number % 3 else "other", created_at_ms=START_MS + number)
            for number in range(12)
        ]
        expected = [row.id for number, row in enumerate(rows) if number % 3][::-1]
        assert await find(home, "common word") == expected
        assert await find(home, "common word", limit=3) == expected[:3]


async def test_the_snippet_is_of_the_first_place_with_some_words_around(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        await say(home, "no", "x" * 100 + " 😀 Needle " + "y" * 200, "needle again")
        await SearchIndex(home.database).catch_up()
        page = await home.database.read(lambda connection: texts.search(connection, ThreadQuery(), "needle"))
        ((_, snippet),) = page.rows
        assert snippet.text.startswith("... xxx")
        assert snippet.text.endswith("yyy ...")
        units = snippet.text.encode("utf-16-le")
        assert units[2 * snippet.start : 2 * snippet.end].decode("utf-16-le") == "Needle"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_every_occurrence_in_a_thread_is_listed_once_oldest_first(tmp_path: Path, limit: int) -> None:
    async with opened(tmp_path) as home:
        row = await say(home, "one Two two", "none", "two")
        await say(home, "two")
        found = await places(home, row.id, "two", limit)
        assert [(one.turn_id, one.snippet.start) for one in found] == [("t0", 4), ("t0", 8), ("t2", 0)]
        turns = await home.store.turns(row.id, cursor=found[2].turn_cursor, limit=1)
        assert [one.id for one in turns.rows] == ["t2"]
        with pytest.raises(ThreadMissing):
            await places(home, uuid7(), "two")


async def test_what_was_removed_is_not_found_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        gone, reverted = await say(home, "secret word"), await say(home, "kept", "secret word")
        assert await find(home, "secret") == [reverted.id, gone.id]
        await home.store.delete(gone.id)
        await remove_turns_from(home.store, reverted.id, "t1")
        # Its rowid is used again at once, before the index has forgotten the one that had it.
        newer = await say(home, "other words")
        assert await find(home, "secret") == []
        assert await find(home, "other words") == [newer.id]
        assert await home.database.read(tables) == [2, 0, 0]
        terms = await home.database.read(
            lambda connection: connection.execute("SELECT term FROM search_terms").fetchall()
        )
        assert ("sec",) not in terms


async def test_what_was_removed_before_it_was_indexed_is_never_indexed(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await say(home, "secret word")
        await home.store.delete(row.id)
        assert await home.database.read(tables) == [0, 0, 0]
        assert await find(home, "secret") == []


async def test_a_fork_is_found_like_its_source(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row, fork = await say(home, "common past"), thread(created_at_ms=START_MS + 1)
        await home.store.fork(row.id, fork)
        assert await find(home, "common past") == [fork.id, row.id]
        await home.store.delete(row.id)
        assert await find(home, "common past") == [fork.id]


async def test_what_was_there_before_the_index_is_brought_in_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_server.store.search_index.BATCH_ITEMS", 2)
    async with opened(tmp_path) as home:
        rows = [await say(home, f"old word {number}", created_at_ms=START_MS + number) for number in range(5)]

        def as_before(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM search_queue")
            connection.execute("UPDATE search_backlog SET after = 0, through = (SELECT max(rowid) FROM items)")

        await home.database.write(as_before)
        index = SearchIndex(home.database)
        assert await find(home, "old word") == []
        # Within one thread nothing is missed meanwhile.
        assert [one.snippet.text for one in await places(home, rows[4].id, "word")] == ["old word 4"]
        newer = await say(home, "new word", created_at_ms=START_MS + 9)
        await home.store.delete(rows[1].id)
        while await index.work_off():
            pass
        kept = [row.id for row in (*rows[:1], *rows[2:])]
        assert await find(home, "word") == [newer.id, *kept[::-1]]
        assert await home.database.read(tables) == [5, 0, 0]


async def test_what_was_said_before_a_crash_is_found_after_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = await say(home, "last words")
    async with opened(tmp_path) as again:
        assert await find(again, "last words") == [row.id]


async def test_the_index_is_kept_up_to_date_without_anybody_searching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_server.store.search_index.REST_SECONDS", 0)
    async with opened(tmp_path) as home, anyio.create_task_group() as tasks:

        async def until(expected: list[int]) -> None:
            while True:
                written = home.database.written
                if await home.database.read(tables) == expected:
                    return
                await written.wait()

        tasks.start_soon(SearchIndex(home.database).run)
        row = await say(home, "one", "two")
        await until([2, 0, 0])
        await say(home, "three")
        await until([3, 0, 0])
        await home.store.delete(row.id)
        await until([1, 0, 0])
        tasks.cancel_scope.cancel()
