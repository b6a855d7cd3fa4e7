"""A full disk costs the write that did not fit and nothing else; a small conversation costs little disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app_server.store.errors import StoreError
from app_server.store.threads import ThreadStore
from tests.unit.store.homes import START_MS, add_thread, item, opened, turn


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, or a skip where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a tmpfs: the full disk is not tested")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_fails_the_write_with_path_and_remedy_and_later_writes_go_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    _write(ballast, 2_000_000)  # somebody else's file
    async with opened(small_disk / "home") as home:
        row = await add_thread(home.store)
        before = (await home.store.items(row.id)).rows
        with pytest.raises(StoreError) as raised:
            await home.store.append(row.id, items=[item("t0", "big", payload=b"x" * 8_000_000)], history=[b"{}"])
        assert str(raised.value) == (
            f"{home.database.path}: database or disk is full: the disk or quota is full; free some space"
        )
        assert (await home.store.items(row.id)).rows == before
        stored = await _append_until_full(home.store, row.id)
        assert stored == [one.id for one in (await home.store.items(row.id)).rows[2:]]
        os.unlink(ballast)
        await home.store.append(row.id, items=[item("t0", "after")])
    async with opened(small_disk / "home") as again:
        assert again.database.warnings == []
        assert [one.id for one in (await again.store.items(row.id)).rows] == ["t0.i0", "t0.i1", *stored, "after"]


async def _append_until_full(store: ThreadStore, thread_id: str) -> list[str]:
    """The ids of what was acknowledged."""
    stored: list[str] = []
    for number in range(2000):
        try:
            await store.append(thread_id, items=[item("t0", f"n{number}", payload=b"x" * 4000)])
        except StoreError:
            return stored
        stored.append(f"n{number}")
    raise AssertionError("the disk never filled")


async def test_a_disk_that_is_full_at_the_start_is_reported_and_leaves_no_half_made_store(small_disk: Path) -> None:
    _write(small_disk / "ballast", 8_000_000)
    with pytest.raises(StoreError, match=rf"{small_disk}.*free"):
        async with opened(small_disk / "home"):
            pass
    os.unlink(small_disk / "ballast")
    async with opened(small_disk / "home") as home:
        assert home.database.warnings == []
        await add_thread(home.store)


def _write(path: Path, size: int) -> None:
    """A file of this size, or of what fits."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.tell() < size and file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            return


_LIMITED = """
import resource, sys, anyio
from pathlib import Path
from app_server.store.errors import StoreError
from tests.unit.store.homes import add_thread, item, opened

async def main():
    async with opened(Path(sys.argv[1])) as home:
        row = await add_thread(home.store)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        try:
            await home.store.append(row.id, items=[item("t0", "big", payload=b"x" * 4_000_000)])
        except StoreError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await home.store.append(row.id, items=[item("t0", "after")])
        print([one.id for one in (await home.store.items(row.id)).rows])

anyio.run(main)
"""


def test_a_file_size_limit_is_told_like_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    error, items = done.stdout.splitlines()
    assert error.startswith(f"{tmp_path / 'threads.sqlite3'}: ")
    assert "disk" in error
    assert items == "['t0.i0', 't0.i1', 'after']"


async def test_500_small_turns_take_less_than_twice_what_is_stored(tmp_path: Path) -> None:
    given = 0
    async with opened(tmp_path) as home:
        row = await add_thread(home.store, turns=0)
        for number in range(500):
            turn_id = f"01a203c1-e114-75b0-8384-{number:012}"
            question, answer = (f"{what} {number} ".encode() * 40 for what in ("question", "answer"))
            await home.store.append(
                row.id,
                turn=turn(turn_id, status="inProgress"),
                items=[item(turn_id, f"u{number}", payload=b'"' + question + b'"')],
                history=[b'"' + question + b'"'],
            )
            await home.store.append(
                row.id,
                items=[item(turn_id, f"a{number}", payload=b'"' + answer + b'"')],
                history=[b'"' + answer + b'"'],
                thread={"updated_at_ms": START_MS + number},
            )
            await home.store.append(row.id, turn=turn(turn_id, completed_at_ms=START_MS + 5, duration_ms=5))
            given += 2 * (len(question) + len(answer) + 4)
        log = _size(home.database.path.with_name("threads.sqlite3-wal"))
    assert given > 500_000
    assert _size(tmp_path / "threads.sqlite3") < 2 * given
    assert log < 3_000_000


def _size(path: Path) -> int:
    return path.stat().st_size
