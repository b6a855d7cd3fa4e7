import os
import sqlite3
import threading
from pathlib import Path

import anyio
import pytest

from app_server.store.database import Database
from app_server.store.errors import StoreError


def _insert(name: str):
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO names VALUES (?)", (name,))
        return name

    return work


def _names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM names ORDER BY name")]


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _size(path: str) -> int:
    return os.stat(path).st_size


async def _with_names(database: Database) -> None:
    await database.write(lambda connection: connection.execute("CREATE TABLE names (name TEXT PRIMARY KEY)"))


async def test_a_returned_write_is_seen_by_another_process(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        assert await database.write(_insert("x")) == "x"
        other = sqlite3.connect(database.path)
        assert _names(other) == ["x"]
        other.close()


async def test_writes_submitted_together_share_one_transaction(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        seen: set[int] = set()

        async def submit(name: str) -> None:
            await database.write(_insert(name))
            seen.add(await database.read(lambda connection: len(_names(connection))))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(submit, f"n{number:02}")
        # Whoever woke first already saw the names of all.
        assert seen == {20}


async def test_a_failing_write_fails_only_its_own_submitter(tmp_path: Path) -> None:
    failed: list[str] = []
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        await database.write(_insert("taken"))

        def half_then_fail(connection: sqlite3.Connection) -> None:
            _insert("half")(connection)
            raise RuntimeError("of its own")

        async def submit(name: str) -> None:
            try:
                await database.write(half_then_fail if name == "half" else _insert(name))
            except (StoreError, RuntimeError) as error:
                failed.append(f"{name}: {error}")

        async with anyio.create_task_group() as tasks:
            for name in ("a", "taken", "b", "half", "c"):
                tasks.start_soon(submit, name)
        assert await database.read(_names) == ["a", "b", "c", "taken"]
        assert sorted(failed) == [
            "half: of its own",
            f"taken: {database.path}: UNIQUE constraint failed: names.name",
        ]


async def test_a_cancelled_waiter_s_write_is_still_done_whole(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)

        def two(connection: sqlite3.Connection) -> None:
            _insert("first")(connection)
            _insert("second")(connection)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(database.write, two)
            await anyio.lowlevel.checkpoint()  # the write is queued now, its waiter waits
            tasks.cancel_scope.cancel()
        await database.write(_insert("third"))
        assert await database.read(_names) == ["first", "second", "third"]


async def test_writes_queued_before_closing_are_done_and_later_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    async with Database(path) as database:
        await _with_names(database)
        async with anyio.create_task_group() as tasks:
            # Cancelled at once: only the queue knows of it when the database closes.
            tasks.start_soon(database.write, _insert("last"))
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    with pytest.raises(StoreError, match=r"a\.sqlite3 is closed"):
        await database.write(_insert("late"))
    with pytest.raises(StoreError, match=r"a\.sqlite3 is closed"):
        await database.read(_names)
    connection = sqlite3.connect(path)
    assert _names(connection) == ["last"]
    connection.close()


async def test_who_is_being_cancelled_can_still_write_in_a_shielded_scope(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"

    async def user() -> None:
        async with Database(path) as database:
            await _with_names(database)
            ready.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.move_on_after(30, shield=True):
                    await database.write(_insert("last words"))

    ready = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(user)
        await ready.wait()
        tasks.cancel_scope.cancel()
    connection = sqlite3.connect(path)
    assert _names(connection) == ["last words"]
    connection.close()


async def test_an_error_in_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with Database(tmp_path / "a.sqlite3"):
            raise LookupError("mine")


async def test_a_read_sees_one_moment_and_cannot_write(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        outside = sqlite3.connect(database.path)

        def twice(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
            before = _names(connection)
            with sqlite3.connect(database.path) as writer:
                writer.execute("INSERT INTO names VALUES ('between')")
            writer.close()
            return before, _names(connection)

        assert await database.read(twice) == ([], [])
        assert await database.read(_names) == ["between"]
        with pytest.raises(StoreError, match="readonly database"):
            await database.read(_insert("no"))
        outside.close()


async def test_a_lock_held_by_another_process_fails_the_write_and_not_the_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_server.store.database._BUSY_SECONDS", 0.01)
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        other = sqlite3.connect(database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as raised:
            await database.write(_insert("x"))
        assert str(raised.value) == (
            f"{database.path}: database is locked: another process holds it locked; stop that process"
        )
        assert await database.read(_names) == []
        other.execute("ROLLBACK")
        other.close()
        await database.write(_insert("x"))
        assert await database.read(_names) == ["x"]


async def test_the_folder_and_the_files_are_the_user_s_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with Database(tmp_path / "home" / "a.sqlite3") as database:
            await _with_names(database)
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "home").iterdir()}
            assert oct((tmp_path / "home").stat().st_mode & 0o777) == "0o700"
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(["a.sqlite3", "a.sqlite3-shm", "a.sqlite3-wal", "a.sqlite3.lock"], "0o600")


async def test_closing_folds_the_log_into_the_database(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
    assert _files(tmp_path) == ["a.sqlite3", "a.sqlite3.lock"]


async def test_the_log_stays_small_while_much_is_written(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        for number in range(600):
            await database.write(_insert(f"{number:04}" + "x" * 20_000))
        assert _size(str(database.path)) > 10_000_000
        assert _size(f"{database.path}-wal") < 4_000_000


async def test_space_that_deletions_freed_is_given_back_at_closing(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:
        await _with_names(database)
        for number in range(100):
            await database.write(_insert(f"{number:04}" + "x" * 20_000))
        await database.write(lambda connection: connection.execute("DELETE FROM names"))
    assert _size(str(database.path)) < 400_000


async def test_connection_settings(tmp_path: Path) -> None:
    async with Database(tmp_path / "a.sqlite3") as database:

        def settings(connection: sqlite3.Connection) -> dict[str, object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        # Changing `synchronous` is not possible inside a transaction: what is read is what holds.
        expected = {
            "journal_mode": "wal",
            "synchronous": 1,
            "foreign_keys": 1,
            "busy_timeout": 10_000,
            "secure_delete": 1,
        }
        assert await database.write(settings) == expected
        assert await database.read(settings) == expected


async def test_no_thread_or_descriptor_is_left_after_closing(tmp_path: Path) -> None:
    def open_files() -> list[str]:
        links = (os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _exists(name))
        return [link for link in links if link.startswith(str(tmp_path))]

    def _exists(name: str) -> bool:
        return os.path.lexists(f"/proc/self/fd/{name}")

    def own_threads() -> set[threading.Thread]:
        # anyio keeps a worker for whoever needs one next; everything else that starts a thread has to end it.
        return {thread for thread in threading.enumerate() if not thread.name.startswith("AnyIO")}

    threads = own_threads()
    async with Database(tmp_path / "a.sqlite3"):
        assert open_files() != []
    assert open_files() == []
    for thread in own_threads() - threads:
        # Its work is done; what is left of it is the way out.
        thread.join(5)
    assert own_threads() == threads
