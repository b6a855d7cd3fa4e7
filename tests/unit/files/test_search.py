import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import orjson
import pytest

from app_server.files import search as module
from app_server.files.listing import Listing
from app_server.files.search import MAX_SESSIONS, FileSearch
from protocol.jsonrpc import INVALID_REQUEST, RpcError

UPDATED, COMPLETED = "fuzzyFileSearch/sessionUpdated", "fuzzyFileSearch/sessionCompleted"


class News:
    """What was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, dict[str, Any]]] = []
        self._more = anyio.Event()

    def tell(self, connection_id: int, method: str, params: bytes) -> None:
        self.told.append((connection_id, method, orjson.loads(params)))
        self._more.set()
        self._more = anyio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached`, asked after each notification."""
        while not reached():
            await self._more.wait()

    async def completed(self, connection_id: int, session_id: str, query: str) -> list[str]:
        """Wait until all that `query` finds was told; gives the paths, and forgets what was told before."""
        while True:
            for number, (owner, method, params) in enumerate(self.told):
                last = self.told[number - 1][2] if number else {}
                if (owner, method) == (connection_id, COMPLETED) and params == {"sessionId": session_id}:
                    assert self.told[number - 1][:2] == (connection_id, UPDATED)
                    if (last["sessionId"], last["query"]) == (session_id, query):
                        del self.told[: number + 1]
                        return [file["path"] for file in last["files"]]
            await self._more.wait()


@asynccontextmanager
async def searching() -> AsyncGenerator[tuple[FileSearch, News]]:
    news = News()
    async with anyio.create_task_group() as tasks:

        def spawn(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
            tasks.start_soon(run)

        search = FileSearch(news.tell, spawn)
        tasks.start_soon(search.run)
        await anyio.wait_all_tasks_blocked()
        yield search, news
        tasks.cancel_scope.cancel()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("src/main.rs", "src/lib.rs", "docs/main.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


async def _find(search: FileSearch, query: str, *roots: Path | str) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = orjson.loads(await search.find(1, [str(root) for root in roots], query, None))
    return [(file["root"], file["path"]) for file in found]


async def test_a_search_answers_with_all_that_is_known_of_each_path(tree: Path) -> None:
    async with searching() as (search, _):
        assert orjson.loads(await search.find(1, [str(tree)], "main.rs", None)) == [
            {
                "root": str(tree),
                "path": "src/main.rs",
                "match_type": "file",
                "file_name": "main.rs",
                "score": 196_608 + 184,
                "indices": [4, 5, 6, 7, 8, 9, 10],
            }
        ]
        [found] = orjson.loads(await search.find(1, [str(tree)], "^src$", None))
        assert (found["path"], found["match_type"]) == ("src", "directory")


async def test_what_is_below_two_roots_is_found_once_below_the_nearer(tree: Path, monkeypatch: Any) -> None:
    async with searching() as (search, _):
        nested = [(f"{tree}", "docs/main.md"), (f"{tree}/src", "main.rs")]
        assert await _find(search, "main", tree, tree / "src", tree) == nested
        assert await _find(search, "main", tree / "src", tree) == nested
        same = f"{tree}/src/../src/"
        assert await _find(search, "main", same, tree / "src") == [(same, "main.rs")]
        monkeypatch.chdir(tree)
        assert await _find(search, "main", "src") == [("src", "main.rs")]


@pytest.mark.parametrize("root", ["", "/missing", "relative/missing", "a\0b", "/etc/passwd"])
async def test_a_root_that_is_no_folder_has_nothing(root: str) -> None:
    async with searching() as (search, _):
        assert await _find(search, "a", root) == []
        assert await _find(search, "a") == []


@pytest.mark.parametrize("query", ["", "x" * 5000, "a " * 3000])
async def test_nothing_is_found_for_nothing_or_for_more_than_a_path_can_be(tree: Path, query: str) -> None:
    async with searching() as (search, _):
        assert await _find(search, query, tree) == []


async def test_a_search_with_the_same_token_ends_the_one_before_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, answers = anyio.Event(), Event(), dict[str, list[Any]]()
    real = Listing.refresh

    def hang(self: Listing, abandoned: Event, progress: Any = None) -> Any:
        if not begun.is_set():
            anyio.from_thread.run_sync(begun.set)
            go_on.wait()
        return real(self, abandoned, progress)

    monkeypatch.setattr(Listing, "refresh", hang)

    async def ask(search: FileSearch, name: str, connection_id: int, token: str | None) -> None:
        answers[name] = orjson.loads(await search.find(connection_id, [str(tree)], "main", token))

    try:
        async with searching() as (search, _), anyio.create_task_group() as tasks:
            tasks.start_soon(ask, search, "old", 1, "token")
            await begun.wait()
            for name, connection_id, token in (("other client", 2, "token"), ("other", 1, "x"), ("none", 1, None)):
                await ask(search, name, connection_id, token)
            assert "old" not in answers
            await ask(search, "new", 1, "token")
    finally:
        go_on.set()
    assert answers.pop("old") == []
    assert all(len(files) == 2 for files in answers.values())


async def test_a_session_tells_what_each_query_finds_and_then_that_this_is_all(tree: Path) -> None:
    async with searching() as (search, news):
        search.start(1, "s", [str(tree)])
        assert await news.completed(1, "s", "") == []
        search.update(1, "s", "main")
        assert await news.completed(1, "s", "main") == ["docs/main.md", "src/main.rs"]
        search.update(1, "s", "main")
        assert await news.completed(1, "s", "main") == ["docs/main.md", "src/main.rs"]
        for query in ("l", "li", "lib"):
            search.update(1, "s", query)
        assert await news.completed(1, "s", "lib") == ["src/lib.rs"]
        search.update(1, "s", "")
        assert await news.completed(1, "s", "") == []


async def test_a_session_tells_when_files_come_and_go(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    async with searching() as (search, news):
        search.start(1, "s", [str(tree)])
        search.update(1, "s", "new")
        assert await news.completed(1, "s", "new") == []
        (tree / "src" / "new.rs").touch()
        assert await news.completed(1, "s", "new") == ["src/new.rs"]
        (tree / "newer").mkdir()
        assert await news.completed(1, "s", "new") == ["src/new.rs", "newer"]
        (tree / "src" / "new.rs").unlink()
        assert await news.completed(1, "s", "new") == ["newer"]


async def test_a_session_tells_what_was_found_so_far_while_a_large_tree_is_read(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARTIAL_SECONDS", 0.0)
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "main.c").touch()
    (tree / "main.top").touch()
    async with searching() as (search, news):
        search.start(1, "s", [str(tree)])
        search.update(1, "s", "main")
        assert len(await news.completed(1, "s", "main")) == 4
        search.start(1, "s", [str(tree / "a"), str(tree)])
        search.update(1, "s", "main")
        await news.until(lambda: any(method == COMPLETED for _, method, _ in news.told))
        updates = [len(params["files"]) for _, method, params in news.told if method == UPDATED]
        assert updates == sorted(updates)
        assert updates[0] < updates[-1] == 4


async def test_sessions_belong_to_their_connection_and_end_with_it(tree: Path) -> None:
    async with searching() as (search, news):
        search.start(1, "s", [str(tree / "src")])
        search.start(2, "s", [str(tree / "docs")])
        search.update(1, "s", "main")
        assert await news.completed(1, "s", "main") == ["main.rs"]
        search.update(2, "s", "main")
        assert await news.completed(2, "s", "main") == ["main.md"]
        search.close_connection(1)
        with pytest.raises(RpcError, match="session not found: s") as refused:
            search.update(1, "s", "lib")
        assert refused.value.code == INVALID_REQUEST
        search.update(2, "s", "md")
        assert await news.completed(2, "s", "md") == ["main.md"]
        search.stop(2, "s")
        search.stop(2, "s")
        with pytest.raises(RpcError, match="session not found: s"):
            search.update(2, "s", "lib")
        assert {owner for owner, _, _ in news.told} <= {1, 2}


async def test_a_session_of_the_same_name_takes_the_place_of_the_old_one(tree: Path) -> None:
    async with searching() as (search, news):
        search.start(1, "s", [str(tree / "src")])
        search.update(1, "s", "main")
        search.start(1, "s", [str(tree / "docs")])
        search.update(1, "s", "main")
        assert await news.completed(1, "s", "main") == ["main.md"]
        for number in range(MAX_SESSIONS - 1):
            search.start(1, f"{number}", [str(tree)])
        search.start(1, "s", [str(tree)])
        with pytest.raises(RpcError, match="fuzzyFileSearch/sessionStop"):
            search.start(1, "one more", [str(tree)])
        search.start(2, "one more", [str(tree)])


async def test_a_search_goes_on_without_a_working_directory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    async with searching() as (search, _):
        assert await _find(search, "main.rs", "relative", tree) == [(str(tree), "src/main.rs")]


@pytest.mark.parametrize(("session_id", "roots", "text"), [("", ["/"], "sessionId"), ("s", [], "`roots`")])
async def test_a_session_without_name_or_roots_is_refused(session_id: str, roots: list[str], text: str) -> None:
    async with searching() as (search, _):
        with pytest.raises(RpcError, match=text) as refused:
            search.start(1, session_id, roots)
        assert refused.value.code == INVALID_REQUEST


async def test_roots_that_nobody_searches_any_more_are_forgotten(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten, waiting = anyio.Event(), anyio.Event()

    class Seen(dict[Any, Any]):
        def pop(self, *key: Any) -> Any:
            forgotten.set()
            return super().pop(*key)

    async with searching() as (search, _):
        listings = search._listings = Seen()  # pyright: ignore[reportPrivateUsage] memory is seen nowhere else
        for number in range(40):
            (tree / f"{number}").mkdir()
            await _find(search, "main", tree / f"{number}")
        assert 0 < len(listings) <= 16
        assert forgotten.is_set()
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.01)
    forgotten = waiting
    async with searching() as (search, _):
        listings = search._listings = Seen()  # pyright: ignore[reportPrivateUsage]
        await _find(search, "main", tree)
        await forgotten.wait()
        assert not listings
