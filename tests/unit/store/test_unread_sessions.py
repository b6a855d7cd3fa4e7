"""Searches through sessions of the reference that nobody has read yet."""

import ctypes.util
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread
import orjson
import pytest

from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.errors import BadCursor
from app_server.store.rollouts import scanning, table
from app_server.store.rollouts import sessions as module
from app_server.store.rollouts.needle import Needle
from app_server.store.rollouts.scanning import Pace, Scan, Stopped
from app_server.store.rollouts.sessions import Sessions
from app_server.store.rows import ItemRow, ThreadQuery
from app_server.store.search import Snippet
from app_server.store.search_index import SearchIndex
from app_server.store.threads import ThreadStore
from tests.support.session_files import (
    AT_MS,
    THREAD,
    Record,
    append,
    compress,
    context,
    event,
    item,
    old_turn,
    said,
    shown,
    spoken_turn,
    turn,
    write_session,
)
from tests.unit.store import homes

OTHER = "01a20000-0000-7000-8000-000000000002"


def numbered(number: int) -> str:
    return f"01a20000-0000-7000-8000-0000000010{number:02}"


@dataclass(frozen=True)
class Library:
    home: Path
    store: ThreadStore
    database: Database
    sessions: Sessions
    daemon: Daemon

    def session(self, number: int, *records: Record, minute: int | None = None, **members: object) -> Path:
        """The file of a session that begins at this minute."""
        at = f"2026-05-04T03:{number if minute is None else minute:02}:00.000Z"
        return write_session(self.home, records, thread_id=numbered(number), timestamp=at, **members)  # pyright: ignore[reportArgumentType]

    async def thread(self, text: str, minute: int) -> str:
        """A thread of ours in which this was said."""
        row = homes.thread(created_at_ms=AT_MS - AT_MS % 3_600_000 + minute * 60_000)
        await self.store.create(row)
        payload = orjson.dumps({"type": "agentMessage", "id": "i", "text": text})
        await self.store.append(row.id, turn=homes.turn("t"), items=[homes.item("t", "i", payload=payload)])
        return row.id

    async def found(self, term: str, **query: object) -> dict[str, str]:
        """The threads of all pages and what is shown of them."""
        await SearchIndex(self.database).catch_up()
        found: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            wanted = ThreadQuery(cursor=cursor, **query)  # pyright: ignore[reportArgumentType] each has its own type
            page = await self.store.search(wanted, term)
            found += [(row.id, snippet.text) for row, snippet in page.rows]
            if (cursor := page.next_cursor) is None:
                assert len(found) == len(dict(found))
                return dict(found)

    async def unread(self) -> int:
        return len(await self.database.read(partial(table.unread, daemon=self.daemon)))


@asynccontextmanager
async def opened(home: Path) -> AsyncGenerator[Library]:
    folder = home / "turnloom"
    async with Daemon(folder / "daemons", "stdio://") as daemon, Database(folder / "threads.sqlite3") as database:
        sessions = Sessions(home, database, daemon, lambda found: orjson.dumps({"cwd": found.cwd}).decode(), "default")
        yield Library(home, ThreadStore(database, daemon, sessions), database, sessions, daemon)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search and each read looks at the files."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)


@pytest.fixture
async def library(tmp_path: Path) -> AsyncGenerator[Library]:
    async with opened(tmp_path) as library:
        yield library


async def test_what_was_said_in_a_session_is_found_before_anybody_reads_it(library: Library) -> None:
    command: dict[str, Any] = {
        "command": ["bash", "-lc", "make lemonade"],
        "aggregated_output": "two litres\n",
        "exit_code": 0,
    }
    ran = item("t1", type="CommandExecution", id="c", status="completed", cwd="/project", parsed_cmd=[], **command)
    library.session(1, *turn("t1", *said("t1", 'A "quick"\nquestion'), ran))
    library.session(2, *old_turn("t1", "an older one", "Größe\tzählt"), paginated=False)

    assert await library.found('"QUICK" question') == {numbered(1): 'A "quick" question'}
    assert await library.found("lemonade' two") == {numbered(1): "bash -lc 'make lemonade' two litres"}
    assert await library.found("GRÖSSE ZÄHLT") == {numbered(2): "Größe zählt"}
    assert await library.found("one") == {numbered(2): "an older one"}
    assert await library.found("nobody said it") == {}
    assert await library.unread() == 2


async def test_it_is_found_in_the_same_words_once_it_was_read(library: Library) -> None:
    long = " ".join(f"word{number}" for number in range(500))
    library.session(1, *spoken_turn("t1", "short", long))
    before = await library.found("WORD250")
    await library.store.turns(numbered(1))

    assert await library.unread() == 0
    assert await library.found("word250") == before
    assert before[numbered(1)].startswith("... ")


async def test_what_nobody_said_is_not_found(library: Library) -> None:
    told = [context(cwd="/project", user_instructions="hidden"), shown("developer", "hidden")]
    library.session(1, *told, *spoken_turn("t1", "question", "answer"), base_instructions={"text": "hidden"})
    library.session(2, *told, *old_turn("t1", "question", "answer"), paginated=False)

    for term in ("hidden", "/project", "payload", "event_msg", "session-model", "2026"):
        assert await library.found(term) == {}
    assert len(await library.found("answer")) == 2


async def test_pages_are_in_the_order_of_the_list_whoever_reads_sessions_between_them(library: Library) -> None:
    for number in range(0, 40, 2):
        library.session(number, *spoken_turn("t1", "the same", "x"))
    ours = [await library.thread("the same", minute) for minute in range(1, 40, 2)]
    expected = [one for pair in zip(map(numbered, range(0, 40, 2)), ours, strict=True) for one in pair]
    for limit in (1, 3, 7, 100):
        assert list(await library.found("same", limit=limit)) == expected[::-1]
        assert list(await library.found("same", limit=limit, descending=False)) == expected
    assert await library.unread() == 20

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await library.store.search(ThreadQuery(limit=3, cursor=cursor), "same")
        seen += [row.id for row, _ in page.rows]
        for number in (2, 12, 14, 36, 38):
            await library.store.turns(numbered(number))
        await SearchIndex(library.database).catch_up()
        if (cursor := page.next_cursor) is None:
            break
    assert seen == expected[::-1]
    assert await library.unread() == 15


async def test_a_page_is_looked_for_only_as_far_as_it_goes(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        library.session(number, *spoken_turn("t1", "the same", "x"))
    newest = [await library.thread("the same", minute) for minute in (57, 58, 59)]
    await SearchIndex(library.database).catch_up()
    opened: list[str] = []
    open_session = scanning.open_session

    def note(path: str) -> IO[bytes]:
        opened.append(path)
        return open_session(path)

    monkeypatch.setattr(scanning, "open_session", note)
    page = await library.store.search(ThreadQuery(limit=2), "same")
    assert [row.id for row, _ in page.rows] == newest[:0:-1]
    assert opened == []
    page = await library.store.search(ThreadQuery(limit=4), "same")
    assert [row.id for row, _ in page.rows] == [*newest[::-1], numbered(19)]
    assert len(opened) == 2


async def test_the_filters_of_a_search_hold_for_sessions_too(library: Library) -> None:
    library.session(1, *spoken_turn("t1", "the same", "x"))
    library.session(2, *spoken_turn("t1", "the same", "x"), source="exec", cwd="/elsewhere", model_provider="another")
    library.session(3, *spoken_turn("t1", "the same", "x"), archived=True)

    assert list(await library.found("same", source_kinds=["cli"])) == [numbered(1)]
    assert list(await library.found("same", source_kinds=["exec"])) == [numbered(2)]
    assert list(await library.found("same", archived=True)) == [numbered(3)]
    assert list(await library.found("same", cwds=["/elsewhere"])) == [numbered(2)]
    assert list(await library.found("same", model_providers=["scripted"])) == [numbered(1)]
    with pytest.raises(BadCursor):
        await library.store.search(ThreadQuery(cursor="junk"), "same")


async def test_a_session_that_changed_since_it_was_read_is_found_by_what_it_has_now(library: Library) -> None:
    path = library.session(1, *spoken_turn("t1", "the beginning", "x"))
    await library.store.turns(numbered(1))
    append(path, spoken_turn("t2", "the end of it", "y"))

    assert await library.found("end of") == {numbered(1): "the end of it"}
    assert await library.found("the") == {numbered(1): "the beginning"}
    await library.store.turns(numbered(1))
    assert await library.found("end of") == {numbered(1): "the end of it"}
    assert await library.unread() == 0


async def test_a_session_that_went_on_here_is_found_by_what_is_shown_of_it(library: Library) -> None:
    path = library.session(1, *spoken_turn("t1", "the beginning", "x"))
    await library.store.claim(numbered(1))
    ours = ItemRow("t9", "i", "agentMessage", b'{"id":"i","text":"went on here"}', AT_MS, AT_MS)
    await library.store.append(numbered(1), turn=homes.turn("t9"), items=[ours])
    await library.store.release(numbered(1))
    append(path, spoken_turn("t2", "went on there", "y"))

    assert await library.found("went on") == {numbered(1): "went on here"}


async def test_a_session_that_is_open_here_is_found_by_what_is_shown_of_it(library: Library) -> None:
    path = library.session(1, *spoken_turn("t1", "the beginning", "x"))
    await library.store.claim(numbered(1))
    append(path, spoken_turn("t2", "went on there", "y"))
    assert list(await library.found("beginning")) == [numbered(1)]
    assert await library.found("went on") == {}

    await library.store.release(numbered(1))
    assert list(await library.found("went on")) == [numbered(1)]


async def test_a_session_that_was_deleted_here_is_not_found(library: Library) -> None:
    library.session(1, *spoken_turn("t1", "the same", "x"))
    assert list(await library.found("same")) == [numbered(1)]
    await library.store.delete(numbered(1))
    assert await library.found("same") == {}


async def test_what_a_session_has_from_another_file_is_found_in_it(library: Library) -> None:
    first = write_session(library.home, spoken_turn("t1", "before the fork", "1"))
    base = {"thread_id": THREAD, "end_byte_offset": first.stat().st_size}
    base["end_ordinal_exclusive"] = first.read_bytes().count(b"\n")
    append(first, spoken_turn("t2", "after the fork", "2"), start=base["end_ordinal_exclusive"])
    write_session(library.home, spoken_turn("t3", "elsewhere", "3"), thread_id=OTHER, history_base=base)

    assert set(await library.found("before the fork")) == {THREAD, OTHER}
    assert set(await library.found("after the fork")) == {THREAD}
    assert set(await library.found("elsewhere")) == {OTHER}


async def test_the_oldest_sessions_are_found_by_their_messages(library: Library) -> None:
    first = orjson.dumps({"id": numbered(1), "timestamp": "2025-05-04T03:02:01.500Z", "instructions": None})
    told = [orjson.dumps(payload) for _, payload in (shown("user", "in old times"), shown("assistant", "it was plain"))]
    library.session(1).write_bytes(b"\n".join([first, *told, b""]))
    library.session(2, *old_turn("t1", "taken back", "1"), event("thread_rolled_back", num_turns=1), paginated=False)

    assert await library.found("was plain") == {numbered(1): "it was plain"}
    assert await library.found("taken back") == {}


@pytest.mark.skipif(ctypes.util.find_library("zstd") is None, reason="NO LIBZSTD HERE, COMPRESSED SESSIONS NOT TESTED")
async def test_compressed_sessions_are_searched_and_damaged_ones_passed_over(library: Library) -> None:
    for number in (1, 2):
        path = compress(library.session(number, *spoken_turn("t1", "squeezed", "x" * 300_000)))
    path.write_bytes(path.read_bytes()[:150_000] + b"damage")

    assert await library.found("squeezed") == {numbered(number): "squeezed" for number in (2, 1)}
    assert set(await library.found("X" * 31)) == {numbered(1)}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """For what text a file was looked through, each time."""
    looked: list[str] = []
    look = Scan._look  # pyright: ignore[reportPrivateUsage] what costs

    def note(scan: Scan, path: str, needle: Needle) -> Snippet | None:
        looked.append(scan.folded)
        return look(scan, path, needle)

    monkeypatch.setattr(Scan, "_look", note)
    return looked


async def test_a_file_is_looked_through_for_a_text_again_only_when_it_changes(
    library: Library, looked: list[str]
) -> None:
    path = library.session(1, *spoken_turn("t1", "one thing", "x"))
    for term in ("another", "another", "AND ANOTHER thing", "anoth", "one thing", "one thing"):
        await library.found(term)
    assert looked == ["another", "anoth", "one thing"]
    append(path, spoken_turn("t2", "and another thing", "y"))
    assert await library.found("another") == {numbered(1): "and another thing"}


async def test_what_is_remembered_of_searches_is_bounded(
    library: Library, looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_server.store.rollouts.unread.FILES", 10)
    for number in range(5):
        library.session(number, *spoken_turn("t1", "one thing", "x"))
    for term in ("first", "second", "third", "second"):
        await library.found(term)
    assert len(looked) == 15
    await library.found("first")
    assert len(looked) == 20


async def test_a_search_that_nobody_waits_for_stops(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.session(1, *spoken_turn("t1", "one thing", "x"))
    begun, stopped = anyio.Event(), threading.Event()

    def never_ends(scan: Scan, path: str, needle: Needle) -> None:
        anyio.from_thread.run_sync(begun.set)
        try:
            while True:
                scan.pace.rest()
        except Stopped:
            stopped.set()
            raise

    with monkeypatch.context() as patch:
        patch.setattr(scanning.Scan, "_look", never_ends)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(library.found, "thing"))
            await begun.wait()
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(stopped.wait)
    assert list(await library.found("thing")) == [numbered(1)]


async def test_those_who_search_give_way_to_others_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(scanning, "sleep", slept.append)
    monkeypatch.setattr(scanning, "WORK_SECONDS", 0.0)
    assert list(Pace().through(range(5))) == [0, 1, 2, 3, 4]
    assert slept == [scanning.REST_SECONDS] * 5


async def test_a_new_home_is_searched_whole(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_COUNT", 5)
    for number in range(30):
        library.session(number, *spoken_turn("t1", "the same", "x"), day=f"2026/05/{1 + number % 28:02}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(library.sessions.keep)
        assert len(await library.found("same", limit=100)) == 30
        tasks.cancel_scope.cancel()
