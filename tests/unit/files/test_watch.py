import os
import shutil
import threading
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from app_server.files import watch as module
from protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, RpcError
from tests.unit.files.watching import News, watching


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


async def test_a_folder_tells_of_its_entries_by_name_and_not_of_what_is_below_them(folder: Path) -> None:
    (folder / "below").mkdir()
    async with watching() as (watcher, news):
        assert await watcher.add(1, "w", str(folder)) == str(folder)
        (folder / "below" / "deep").write_text("unseen")
        (folder / "new").write_text("seen")
        await news.until(lambda: bool(news.batches[1, "w"]))
        assert news.paths(1, "w") == {f"{folder}/new"}
        await news.of(1, "w")
        (folder / "new").rename(folder / "old")
        await news.of(1, "w", f"{folder}/new", f"{folder}/old")
        (folder / "old").unlink()
        await news.of(1, "w", f"{folder}/old")


async def test_many_changes_at_once_come_together_and_in_order(folder: Path) -> None:
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(folder))
        files = [folder / str(number) for number in range(200)]
        names = set(map(str, files))
        for file in files:
            file.touch()
        await news.until(lambda: news.paths(1, "w") == names)
        assert len(news.batches[1, "w"]) < 20
        assert all(batch == sorted(set(batch)) for batch in news.batches[1, "w"])


async def test_a_file_stays_watched_after_it_is_replaced_deleted_and_made_again(folder: Path) -> None:
    file = folder / "HEAD"
    file.write_text("1")
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(file))
        for text in ("2", "3"):
            (folder / "HEAD.lock").write_text(text)
            (folder / "HEAD.lock").replace(file)
            await news.of(1, "w", str(file))
        file.write_text("4")
        await news.of(1, "w", str(file))
        file.unlink()
        await news.of(1, "w", str(file))
        file.write_text("5")
        await news.until(lambda: bool(news.batches[1, "w"]))
        assert news.paths(1, "w") == {str(file)}


async def test_a_watched_file_says_nothing_of_its_neighbours(folder: Path) -> None:
    (folder / "mine").write_text("1")
    async with watching() as (watcher, news):
        await watcher.add(1, "mine", str(folder / "mine"))
        await watcher.add(1, "all", str(folder))
        (folder / "other").write_text("1")
        await news.of(1, "all", f"{folder}/other")
        assert not news.batches[1, "mine"]


async def test_what_happens_right_after_a_watch_was_added_is_always_told(folder: Path) -> None:
    async with watching() as (watcher, news):
        for number in range(25):
            new = folder / f"folder-{number}"
            new.mkdir()
            await watcher.add(1, new.name, str(new))
            (new / "file").touch()
        for number in range(25):
            name = f"folder-{number}"
            await news.of(1, name, str(folder / name / "file"))


async def test_no_news_is_lost_while_other_watches_come_and_go(folder: Path) -> None:
    steady = folder / "steady"
    steady.mkdir()
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not stop.wait(0.001):
            path = steady / str(len(written))
            path.touch()
            written.append(str(path))

    async with watching() as (watcher, news), anyio.create_task_group() as tasks:
        await watcher.add(1, "steady", str(steady))
        tasks.start_soon(to_thread.run_sync, write)
        try:
            for number in range(30):
                other = folder / f"other-{number}"
                other.mkdir()
                await watcher.add(2, "other", str(other))
                watcher.remove(2, "other")
        finally:
            stop.set()
        last = steady / "last"
        last.touch()
        await news.until(lambda: news.paths(1, "steady") >= {*written, str(last)})
        assert len(written) > 30


async def test_a_folder_that_goes_and_comes_back_is_watched_again(folder: Path) -> None:
    watched = folder / "build"
    watched.mkdir()
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(watched))
        for _ in range(3):
            shutil.rmtree(watched)
            await news.of(1, "w", str(watched))
            watched.mkdir()
            await news.of(1, "w", str(watched))
            await _hears_of_entries(watched, news)
            news.batches.clear()


async def test_a_path_whose_folders_do_not_exist_yet_is_told_of_when_it_appears(folder: Path) -> None:
    path = folder / "a" / "b" / "c"
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(path))
        path.parent.mkdir(parents=True)
        path.write_text("here")
        await news.of(1, "w", str(path))
        shutil.rmtree(folder / "a")
        await news.of(1, "w", str(path))
        path.parent.mkdir(parents=True)
        path.write_text("again")
        await news.of(1, "w", str(path))


async def test_a_link_is_watched_where_it_leads_and_told_by_its_own_name(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "file").write_text("1")
    (folder / "file").symlink_to(folder / "there" / "file")
    (folder / "folder").symlink_to("there")
    async with watching() as (watcher, news):
        await watcher.add(1, "file", str(folder / "file"))
        await watcher.add(1, "folder", str(folder / "folder"))
        (folder / "there" / "file").write_text("2")
        await news.of(1, "file", f"{folder}/file")
        await news.of(1, "folder", f"{folder}/folder/file")
        (folder / "elsewhere").write_text("3")
        (folder / "new-link").symlink_to(folder / "elsewhere")
        (folder / "new-link").replace(folder / "file")
        await news.of(1, "file", f"{folder}/file")
        (folder / "elsewhere").write_text("4")
        await news.of(1, "file", f"{folder}/file")


async def test_a_link_to_itself_is_watched_as_a_path_without_anything(folder: Path) -> None:
    (folder / "loop").symlink_to(folder / "loop")
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(folder / "loop"))
        (folder / "loop").unlink()
        await news.of(1, "w", f"{folder}/loop")


async def test_an_id_belongs_to_its_connection(folder: Path) -> None:
    async with watching() as (watcher, news):
        await watcher.add(1, "w", str(folder))
        await watcher.add(2, "w", str(folder))
        with pytest.raises(RpcError, match="watchId already exists: w") as refused:
            await watcher.add(1, "w", str(folder))
        assert refused.value.code == INVALID_REQUEST
        watcher.remove(3, "w")
        watcher.remove(2, "unknown")
        watcher.remove(2, "w")
        (folder / "file").touch()
        await news.of(1, "w", f"{folder}/file")
        assert not news.batches[2, "w"]


async def test_the_watches_of_a_closed_connection_end_and_no_thread_is_held(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    async with watching() as (watcher, news):
        await watcher.add(1, "a", str(folder / "a"))
        await watcher.add(2, "b", str(folder / "b"))
        await watcher.close_connection(1)
        (folder / "a" / "file").touch()
        (folder / "b" / "file").touch()
        await news.of(2, "b", f"{folder}/b/file")
        assert not news.batches[1, "a"]
        await watcher.close_connection(2)
        await watcher.idle()
        await watcher.add(2, "b", str(folder / "b"))
        (folder / "b" / "again").touch()
        await news.of(2, "b", f"{folder}/b/again")


async def test_a_thousand_watches_hear_each_of_their_own(folder: Path) -> None:
    folders = [folder / str(number) for number in range(500)]
    files = [folder / f"file-{number}" for number in range(500)]
    for path in folders:
        path.mkdir()
    async with watching() as (watcher, news):
        async with anyio.create_task_group() as tasks:
            for path in (*folders, *files):
                tasks.start_soon(watcher.add, 1, path.name, str(path))
        for path in folders:
            (path / "x").touch()
        for path in files:
            path.touch()
        await news.until(lambda: len(news.batches) == 1000)
        assert all(news.paths(1, path.name) == {f"{path}/x"} for path in folders)
        assert all(news.paths(1, path.name) == {str(path)} for path in files)


async def test_a_watch_that_the_system_refuses_is_an_error_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "old").mkdir()
    (folder / "new").mkdir()
    async with watching() as (watcher, news):
        await watcher.add(1, "old", str(folder / "old"))

        def refuse(folders: list[str]) -> None:
            raise OSError("OS file watch limit reached")

        with monkeypatch.context() as patch:
            patch.setattr(module, "_open", refuse)
            with pytest.raises(RpcError, match=f"cannot watch {folder}/new: OS file watch limit reached") as refused:
                await watcher.add(1, "new", str(folder / "new"))
        assert refused.value.code == INTERNAL_ERROR
        (folder / "old" / "file").touch()
        await news.of(1, "old", f"{folder}/old/file")
        await watcher.add(1, "new", str(folder / "new"))
        (folder / "new" / "file").touch()
        await news.of(1, "new", f"{folder}/new/file")


async def test_a_folder_that_may_not_be_read_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = folder / "secret"
    secret.mkdir()
    may = os.access

    def access(path: str, mode: int) -> bool:
        return path != str(secret) and may(path, mode)

    # The tests run as root, to whom nothing is denied.
    monkeypatch.setattr(os, "access", access)
    async with watching() as (watcher, news):
        for path in (secret, secret / "file"):
            with pytest.raises(RpcError, match=f"Permission denied .*: {secret}$") as refused:
                await watcher.add(1, "w", str(path))
            assert refused.value.code == INTERNAL_ERROR
        await watcher.add(1, "w", str(folder))
        (folder / "file").touch()
        await news.of(1, "w", f"{folder}/file")


async def test_a_request_that_is_cancelled_leaves_no_watch_behind(folder: Path) -> None:
    async with watching() as (watcher, news):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await watcher.add(1, "w", str(folder))
        assert scope.cancelled_caught
        await watcher.add(1, "w", str(folder))
        (folder / "file").touch()
        await news.of(1, "w", f"{folder}/file")


async def _hears_of_entries(folder: Path, news: News) -> None:
    # That the folder is back may be told twice, the first time before a file in it counts: so, one after the other.
    def heard() -> bool:
        return any(os.path.dirname(path) == str(folder) for path in news.paths(1, "w"))

    number = 0
    while not heard():
        (folder / str(number)).touch()
        number += 1
        with anyio.move_on_after(0.2):
            await news.until(heard)


async def test_folders_that_are_added_one_by_one_soon_share_one_watcher_of_the_system(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def count(folders: list[str]) -> object:
        opened.append(len(folders))
        return real(folders)

    real = module._open  # pyright: ignore[reportPrivateUsage] how often the system is asked is seen nowhere else
    monkeypatch.setattr(module, "_open", count)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.2)
    folders = [folder / str(number) for number in range(40)]
    async with watching() as (watcher, news):
        for new in folders:
            new.mkdir()
            await watcher.add(1, new.name, str(new))
        while len(watcher._listeners) > 1:  # pyright: ignore[reportPrivateUsage]
            await watcher._one_ended.wait()  # pyright: ignore[reportPrivateUsage]
        # A watch of a folder is one of the folder above it too.
        assert opened[-1] == len(folders) + 1
        assert sum(opened) < len(folders) * len(folders) / 2
        for new in folders:
            (new / "file").touch()
        for new in folders:
            await news.of(1, new.name, str(new / "file"))


async def test_a_folder_that_was_moved_away_is_not_mistaken_for_the_one_in_its_place(folder: Path) -> None:
    async with watching() as (watcher, news):
        for name in ("one", "two", "three"):
            (folder / name).mkdir()
            await watcher.add(1, name, str(folder / name))
        (folder / "two").rename(folder / "old")
        (folder / "two").mkdir()
        await news.of(1, "two", f"{folder}/two")
        (folder / "two" / "new").touch()
        await news.of(1, "two", f"{folder}/two/new")
        (folder / "old" / "elsewhere").touch()
        (folder / "two" / "last").touch()
        await news.until(lambda: f"{folder}/two/last" in news.paths(1, "two"))
        assert f"{folder}/two/elsewhere" not in news.paths(1, "two")
