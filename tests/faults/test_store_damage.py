"""A damaged store is set aside with its path named, never silently replaced, and never pulled from under a daemon."""

import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from app_server.store.database import Database
from app_server.store.errors import StoreError
from tests.unit.store.homes import add_thread, opened


async def _fill(home: Path) -> int:
    """A store of some 2 MB; returns its size."""
    async with opened(home) as filled:
        for _ in range(5):
            await add_thread(filled.store, turns=20, items=20, preview="p" * 4000)
    return _size(home / "threads.sqlite3")


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _size(path: Path) -> int:
    return path.stat().st_size


def _content(path: str) -> bytes:
    return Path(path).read_bytes()


def _set_aside(folder: Path) -> list[str]:
    return [str(path) for path in folder.glob("*.damaged-*")]


def _scramble(path: Path, size: int) -> None:
    for page in range(2, size // 4096, 7):
        _overwrite(path, page * 4096, random.Random(page).randbytes(4096))


DAMAGES: dict[str, Callable[[Path, int], None]] = {
    "cut in half": lambda path, size: os.truncate(path, size // 2),
    "cut inside a page": lambda path, size: os.truncate(path, size - 1000),
    "cut to less than a page": lambda path, _: os.truncate(path, 50),
    "another file's content": lambda path, _: _overwrite(path, 0, b"dear diary\n" * 1000),
    "zeroed header": lambda path, _: _overwrite(path, 0, bytes(100)),
    "scrambled pages": _scramble,
    "another program's database": lambda path, _: _other_program(path),
}


def _other_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_database_is_set_aside_and_an_empty_one_started(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "threads.sqlite3"
    size = await _fill(tmp_path)
    DAMAGES[damage](path, size)
    damaged = path.read_bytes()
    async with opened(tmp_path) as home:
        (warning,) = home.database.warnings
        found = re.fullmatch(
            rf"{path} is damaged \(.+\)\. It was set aside as ({path}\.damaged-\w+) and an empty database was started"
            r" in its place",
            warning,
            re.DOTALL,
        )
        assert found, warning
        assert _content(found[1]) == damaged
        assert await home.store.count() == 0
        row = await add_thread(home.store)
    async with opened(tmp_path) as again:
        assert again.database.warnings == []
        assert (await again.store.get(row.id)).id == row.id


async def test_two_damaged_databases_within_a_second_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    for content in ("first", "second"):
        path.write_text(content * 1000)
        async with Database(path) as database:
            assert len(database.warnings) == 1
    assert sorted(_content(aside)[:5] for aside in _set_aside(tmp_path)) == [b"first", b"secon"]


async def test_an_emptied_database_whose_log_is_left_keeps_the_log(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    async with opened(tmp_path) as home:
        await add_thread(home.store)
        shutil.copy(f"{path}-wal", tmp_path / "saved")
    log = (tmp_path / "saved").read_bytes()
    os.truncate(path, 0)
    shutil.move(tmp_path / "saved", f"{path}-wal")
    async with Database(path) as database:
        (warning,) = database.warnings
        assert "the file is empty although a -wal file with its content exists" in warning
    assert [_content(aside) for aside in _set_aside(tmp_path) if aside.endswith("-wal")] == [log]


async def test_a_torn_log_loses_nothing_that_was_committed_before_the_tear(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    async with opened(tmp_path) as home:
        first = await add_thread(home.store)
        whole = _size(Path(f"{path}-wal"))
        await add_thread(home.store)
        # As a crash of the machine leaves it: the database, and a log whose tail is not all there.
        (tmp_path / "crashed").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / "crashed" / f"threads.sqlite3{suffix}")
    os.truncate(tmp_path / "crashed" / "threads.sqlite3-wal", whole + 3000)
    async with opened(tmp_path / "crashed") as home:
        assert home.database.warnings == []
        assert (await home.store.get(first.id)).preview == first.preview
        assert len((await home.store.items(first.id)).rows) == 2


async def test_a_damaged_database_that_another_daemon_uses_is_refused_and_left_in_place(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    size = await _fill(tmp_path)
    async with opened(tmp_path):
        _scramble(path, size)
        with pytest.raises(StoreError) as raised:
            async with Database(path):
                pass
        assert re.fullmatch(
            rf"{path} is damaged \(.+\) and another turnloom daemon is using it; stop that daemon and start again",
            str(raised.value),
        )
        assert _set_aside(tmp_path) == []


async def test_damage_found_while_running_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    size = await _fill(tmp_path)
    async with opened(tmp_path) as home:
        _scramble(path, size)
        with pytest.raises(StoreError) as raised:
            await home.database.read(
                lambda connection: connection.execute("SELECT sum(length(payload)) FROM items").fetchall()
            )
        assert str(raised.value).startswith(
            f"{path}: database disk image is malformed: it is damaged; restart turnloom"
        )


async def test_a_path_that_cannot_be_a_database_is_an_error_and_nothing_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    path.mkdir()
    with pytest.raises(StoreError, match=r"threads\.sqlite3: unable to open database file: it cannot be opened; check"):
        async with Database(path):
            pass
    assert (path.is_dir(), _set_aside(tmp_path)) == (True, [])
