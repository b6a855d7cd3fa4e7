"""Sessions of the reference among the threads of the store."""

import ctypes.util
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.errors import ThreadInUse, ThreadMissing
from app_server.store.rollouts import sessions as module
from app_server.store.rollouts.sessions import Sessions
from app_server.store.rows import ItemRow, SortKey, ThreadQuery, TurnRow
from app_server.store.threads import ThreadStore
from tests.support.session_files import (
    AT_MS,
    THREAD,
    append,
    compress,
    context,
    event,
    name_thread,
    old_turn,
    said,
    spoken_turn,
    write_session,
)
from tests.unit.store.homes import START_MS, thread, turn

OTHER = "01a20000-0000-7000-8000-000000000002"
THIRD = "01a20000-0000-7000-8000-000000000003"


@dataclass(frozen=True)
class Library:
    home: Path
    store: ThreadStore
    sessions: Sessions

    async def listed(
        self, *, archived: bool = False, search: str | None = None, sort: SortKey = "created_at"
    ) -> list[str]:
        page = await self.store.list(ThreadQuery(archived=archived, search=search, sort_key=sort, limit=100))
        return [row.id for row in page.rows]

    async def turn_ids(self, thread_id: str = THREAD) -> list[str]:
        return [row.id for row in (await self.store.turns(thread_id)).rows]

    async def go_on(self, thread_id: str = THREAD) -> None:
        """A turn here."""
        await self.store.claim(thread_id)
        await self.store.append(
            thread_id,
            turn=turn("ours"),
            items=[ItemRow("ours", "i", "agentMessage", b'{"id":"i"}', START_MS, START_MS)],
            history=[b"{}"],
        )
        await self.store.release(thread_id)


@asynccontextmanager
async def opened(home: Path) -> AsyncGenerator[Library]:
    """The store of `home` with its sessions, as one daemon has it."""
    folder = home / "turnloom"
    async with Daemon(folder / "daemons", "stdio://") as daemon, Database(folder / "threads.sqlite3") as database:
        sessions = Sessions(home, database, daemon, lambda found: orjson.dumps({"cwd": found.cwd}).decode(), "default")
        yield Library(home, ThreadStore(database, daemon, sessions), sessions)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each list and each read looks at the files."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)


@pytest.fixture
async def library(tmp_path: Path) -> AsyncGenerator[Library]:
    async with opened(tmp_path) as library:
        yield library


def aged(path: Path, at_ms: int) -> Path:
    """The file as if it had been written to at that time."""
    os.utime(path, ns=(at_ms * 1_000_000, at_ms * 1_000_000))
    return path


async def test_sessions_are_listed_among_our_threads_as_their_files_tell(library: Library) -> None:
    git = {"commit_hash": "c0ffee", "branch": "main", "repository_url": "git@host:it"}
    records = [context(), *spoken_turn("t1", "# Files\n## My request for Codex:\nMend it ", "1")]
    path = write_session(library.home, records, git=git, source={"subagent": "review"})
    aged(path, AT_MS + 60_000)
    name_thread(library.home, THREAD, "Mending")
    ours = thread(created_at_ms=AT_MS - 1, updated_at_ms=AT_MS + 90_000)
    await library.store.create(ours)
    await library.store.append(ours.id, turn=turn("x"))

    assert await library.listed() == [THREAD, ours.id]
    assert await library.listed(sort="updated_at") == [ours.id, THREAD]
    assert await library.listed(search="MENDING") == [THREAD]
    row = await library.store.get(THREAD)
    assert (row.preview, row.name, row.model) == ("Mend it", "Mending", "session-model")
    assert (row.created_at_ms, row.updated_at_ms) == (AT_MS, AT_MS + 60_000)
    assert (row.cwd, row.originator, row.source) == ("/project", "codex-tui", '{"subAgent":"review"}')
    assert orjson.loads(row.git_info or "") == {"sha": "c0ffee", "branch": "main", "originUrl": "git@host:it"}


async def test_a_session_in_which_nobody_spoke_is_not_listed_and_can_be_read(library: Library) -> None:
    write_session(library.home, [event("task_started", turn_id="t1")])

    assert await library.listed() == []
    assert await library.turn_ids() == ["t1"]


async def test_what_is_no_session_is_passed_over(library: Library) -> None:
    good = write_session(library.home, spoken_turn("t1", "one", "1"))
    for number, content in enumerate((b"", b"torn", b'{"timestamp":"x","type":"event_msg","payload":{}}\n')):
        good.with_name(f"rollout-2026-05-04T03-02-01-01a20000-0000-7000-8000-00000000010{number}.jsonl").write_bytes(
            content
        )
    good.with_name("rollout-notes.jsonl").write_text("{}")
    good.with_name("rollout-2026-05-04T03-02-01-01a20000-0000-7000-8000-000000000200.jsonl").mkdir()

    assert await library.listed() == [THREAD]


async def test_the_content_of_a_session_is_taken_in_when_it_is_asked_for(library: Library) -> None:
    path = write_session(library.home, [*spoken_turn("t1", "one", "1"), *spoken_turn("t2", "two", "2")])
    before = path.read_bytes(), path.stat().st_mtime_ns

    assert await library.turn_ids() == ["t1", "t2"]
    items = (await library.store.items(THREAD, descending=True)).rows
    assert [row.id for row in items] == ["a-t2", "u-t2", "a-t1", "u-t1"]
    assert len(await library.store.history(THREAD)) == 4
    assert (await library.store.get(THREAD)).settings == '{"cwd":"/project"}'
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


async def test_many_who_ask_at_once_find_the_same(library: Library) -> None:
    write_session(library.home, [*spoken_turn("t1", "one", "1"), *spoken_turn("t2", "two", "2")])
    found: list[list[str]] = []

    async def ask() -> None:
        found.append(await library.turn_ids())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert found == [["t1", "t2"]] * 20


async def test_a_long_session_is_written_in_pieces(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 7)
    records = [record for number in range(50) for record in spoken_turn(f"t{number}", f"q{number}", f"a{number}")]
    write_session(library.home, records)

    assert len(await library.turn_ids()) == 50
    items = (await library.store.items(THREAD)).rows
    assert [row.turn_id for row in items[::2]] == [f"t{number}" for number in range(50)]
    assert len(await library.store.history(THREAD)) == 100


async def test_a_read_that_was_given_up_is_done_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 1)
    write_session(library.home, [*spoken_turn("t1", "one", "1"), *spoken_turn("t2", "two", "2")])
    await library.listed()
    write = Database.write
    scope = anyio.CancelScope()

    async def write_and_leave(database: Database, work: Callable[[sqlite3.Connection], Any]) -> Any:
        result = await write(database, work)
        scope.cancel()
        return result

    with scope, monkeypatch.context() as patch:
        patch.setattr(Database, "write", write_and_leave)
        await library.turn_ids()
    assert scope.cancelled_caught

    assert await library.turn_ids() == ["t1", "t2"]
    assert len((await library.store.items(THREAD)).rows) == 4


async def test_a_session_that_went_on_in_the_reference_is_read_again(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    assert await library.turn_ids() == ["t1"]
    append(path, spoken_turn("t2", "two", "2"))

    assert await library.turn_ids() == ["t1", "t2"]
    assert len(await library.store.history(THREAD)) == 4
    assert await library.store.notice(THREAD) is None


async def test_a_session_that_went_on_here_is_ours_and_says_so_when_it_goes_on_there_too(library: Library) -> None:
    path = aged(write_session(library.home, spoken_turn("t1", "one", "1")), AT_MS)
    await library.go_on()
    assert await library.store.notice(THREAD) is None
    append(path, spoken_turn("t2", "two", "2"))

    assert await library.turn_ids() == ["t1", "ours"]
    assert str(path) in (await library.store.notice(THREAD) or "")
    await library.sessions.scan()
    assert await library.turn_ids() == ["t1", "ours"]
    assert (await library.store.get(THREAD)).updated_at_ms != path.stat().st_mtime_ns // 1_000_000


async def test_a_thread_that_is_open_is_not_read_again_under_its_user(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    await library.store.claim(THREAD)
    append(path, spoken_turn("t2", "two", "2"))
    assert await library.turn_ids() == ["t1"]

    await library.store.release(THREAD)
    assert await library.turn_ids() == ["t1", "t2"]


async def test_two_daemons_have_the_same_sessions(library: Library) -> None:
    write_session(library.home, spoken_turn("t1", "one", "1"))
    async with opened(library.home) as other:
        assert await library.listed() == await other.listed() == [THREAD]
        assert await library.turn_ids() == await other.turn_ids() == ["t1"]
        await library.store.claim(THREAD)
        assert await other.turn_ids() == ["t1"]
        with pytest.raises(ThreadInUse):
            await other.store.claim(THREAD)


async def test_names_and_archives_of_the_reference_hold_until_they_are_changed_here(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    await library.listed()
    name_thread(library.home, THREAD, "Theirs")
    await library.sessions.scan()
    await library.listed()
    assert (await library.store.get(THREAD)).name == "Theirs"

    await library.store.update(THREAD, {"name": "Ours"})
    name_thread(library.home, THREAD, "Theirs again")
    archive = library.home / "archived_sessions"
    archive.mkdir()
    path.rename(archive / path.name)
    await library.sessions.scan()
    assert await library.listed() == []
    assert await library.listed(archived=True) == [THREAD]
    assert (await library.store.get(THREAD)).name == "Ours"

    await library.store.unarchive(THREAD)
    await library.sessions.scan()
    assert await library.listed() == [THREAD]
    assert await library.turn_ids() == ["t1"]


async def test_a_session_that_was_archived_here_stays_so_though_its_file_does_not_move(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    await library.listed()
    await library.store.archive(THREAD)
    append(path, spoken_turn("t2", "two", "2"))
    await library.sessions.scan()

    assert await library.listed() == []
    assert await library.listed(archived=True) == [THREAD]


async def test_a_session_that_was_deleted_here_is_not_shown_again_and_its_file_stays(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    await library.turn_ids()
    await library.store.delete(THREAD)
    append(path, spoken_turn("t2", "two", "2"))
    await library.sessions.scan()

    assert await library.listed() == []
    with pytest.raises(ThreadMissing):
        await library.store.get(THREAD)
    with pytest.raises(ThreadMissing):
        await library.store.claim(THREAD)
    assert path.exists()
    assert await library.sessions.count() == (0, 1)


async def test_a_session_whose_file_is_gone_is_forgotten_unless_it_went_on_here(library: Library) -> None:
    for thread_id in (THREAD, OTHER):
        write_session(library.home, spoken_turn("t1", "one", "1"), thread_id=thread_id)
    await library.turn_ids(THREAD)
    await library.go_on(OTHER)
    shutil.rmtree(library.home / "sessions")
    await library.sessions.scan()

    assert await library.listed() == [OTHER]
    assert await library.turn_ids(OTHER) == ["t1", "ours"]


async def test_a_session_that_cannot_be_read_is_not_gone_on_with(library: Library) -> None:
    path = write_session(library.home, spoken_turn("t1", "one", "1"))
    await library.listed()
    path.unlink()

    with pytest.raises(ThreadMissing):
        await library.store.claim(THREAD)
    with pytest.raises(ThreadMissing):
        await library.store.fork(THREAD, thread())


async def test_a_session_that_nobody_listed_is_found_by_its_id(library: Library) -> None:
    write_session(library.home, spoken_turn("t1", "one", "1"), day="2026/11/22")

    assert (await library.store.get(THREAD)).preview == "one"
    assert await library.turn_ids() == ["t1"]


async def test_a_thread_that_was_reverted_is_its_newest_file(library: Library) -> None:
    first = write_session(library.home, spoken_turn("t1", "one", "1"))
    base = {"thread_id": THREAD, "end_ordinal_exclusive": 5, "end_byte_offset": first.stat().st_size}
    size = first.read_bytes().count(b"\n")
    base["end_ordinal_exclusive"] = size
    append(first, spoken_turn("t2", "two", "2"), start=size)
    write_session(library.home, spoken_turn("t3", "three", "3"), segment=OTHER, start=size, history_base=base)
    await library.sessions.scan()

    assert await library.listed() == [THREAD]
    assert (await library.store.get(THREAD)).preview == "one"
    assert await library.turn_ids() == ["t1", "t3"]
    await library.sessions.scan()
    assert await library.turn_ids() == ["t1", "t3"]


async def test_a_fork_of_a_session_has_its_turns_up_to_the_one_that_was_named(library: Library) -> None:
    write_session(library.home, [*old_turn("t1", "one", "1"), *old_turn("t2", "two", "2")], paginated=False)
    copy = thread(id=THIRD)
    await library.store.fork(THREAD, copy, through_turn_id="t1")

    assert await library.turn_ids(THIRD) == ["t1"]
    assert len(await library.store.history(THIRD)) == 2


async def test_a_new_home_lists_all_sessions_though_only_the_newest_were_looked_at(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_COUNT", 5)
    ids = [f"01a20000-0000-7000-8000-0000000010{number:02}" for number in range(60)]
    for number, thread_id in enumerate(ids):
        write_session(
            library.home,
            spoken_turn("t1", "one", "1"),
            thread_id=thread_id,
            day=f"2026/{1 + number // 28:02}/{1 + number % 28:02}",
        )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(library.sessions.keep)
        assert set(await library.listed()) == set(ids)
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(ctypes.util.find_library("zstd") is None, reason="NO LIBZSTD HERE, COMPRESSED SESSIONS NOT TESTED")
async def test_a_session_that_was_compressed_is_read_as_before(library: Library) -> None:
    long = "x" * 300_000
    path = write_session(library.home, [context(), *spoken_turn("t1", "one", long)])
    assert await library.turn_ids() == ["t1"]
    before = [row.payload for row in (await library.store.items(THREAD)).rows]
    base = {"thread_id": THREAD, "end_ordinal_exclusive": path.read_bytes().count(b"\n")}
    base["end_byte_offset"] = path.stat().st_size
    compressed = compress(path)
    write_session(library.home, spoken_turn("t2", "two", "2"), thread_id=OTHER, history_base=base)
    await library.sessions.scan()

    assert set(await library.listed()) == {THREAD, OTHER}
    assert [row.payload for row in (await library.store.items(THREAD)).rows] == before
    assert (await library.store.get(OTHER)).preview == "one"
    assert await library.turn_ids(OTHER) == ["t1", "t2"]
    compressed.write_bytes(compressed.read_bytes()[:200_000] + b"damage")
    assert await library.turn_ids() == ["t1"]


async def test_a_turn_that_the_reference_is_at_is_seen_to_its_end(library: Library) -> None:
    path = write_session(library.home, [event("task_started", turn_id="t1"), *said("t1", "one")])
    assert [row.status for row in (await library.store.turns(THREAD)).rows] == ["interrupted"]
    append(path, [event("task_complete", turn_id="t1")])

    assert [row.status for row in (await library.store.turns(THREAD)).rows] == ["completed"]


async def test_a_home_without_sessions_needs_no_folder_for_them(library: Library) -> None:
    await library.sessions.scan()

    assert await library.listed() == []
    assert sorted(path.name for path in library.home.iterdir()) == ["turnloom"]
    row = TurnRow("t", "completed", 1)
    ours = thread()
    await library.store.create(ours)
    await library.store.append(ours.id, turn=row)
    assert await library.turn_ids(ours.id) == ["t"]
