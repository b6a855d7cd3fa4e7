import sqlite3
from pathlib import Path

import pytest

from app_server.store import migrations
from app_server.store.database import Database
from app_server.store.errors import StoreError
from app_server.store.rows import ThreadQuery
from tests.unit.store.homes import add_thread, item, opened, turn

_OLD = Path(__file__).parent / "schema_1.sql"


def _make(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def _version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return migrations.version_of(connection)
    finally:
        connection.close()


async def test_a_database_of_schema_1_is_brought_up_to_date_with_its_content(tmp_path: Path) -> None:
    _make(tmp_path / "threads.sqlite3", _OLD.read_text())
    assert _version(tmp_path / "threads.sqlite3") == 1
    async with opened(tmp_path) as home:
        assert home.database.warnings == []
        (row,) = (await home.store.list(ThreadQuery())).rows
        assert (row.id, row.name, row.preview, row.settings) == ("old", "An old thread", "hello", '{"model":"m"}')
        assert [one.id for one in (await home.store.turns(row.id)).rows] == ["t0"]
        assert [one.payload for one in (await home.store.items(row.id)).rows] == [b'{"id":"i0"}']
        assert await home.store.history(row.id) == [b'{"role":"user"}']
        await home.store.append(row.id, turn=turn("t1"), items=[item("t1", "i1")])
        assert len((await home.store.items(row.id)).rows) == 2
    assert _version(tmp_path / "threads.sqlite3") == migrations.VERSION


async def test_an_old_schema_is_the_same_as_a_new_one_after_its_steps(tmp_path: Path) -> None:
    def schema(path: Path) -> set[str]:
        connection = sqlite3.connect(path)
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        connection.close()
        return {" ".join(str(row[0]).split()) for row in rows}

    _make(tmp_path / "old" / "threads.sqlite3", _OLD.read_text())
    for name in ("old", "new"):
        async with opened(tmp_path / name):
            pass
    assert schema(tmp_path / "old" / "threads.sqlite3") == schema(tmp_path / "new" / "threads.sqlite3")


async def test_missing_steps_are_taken_in_order_and_content_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store)
    later = (
        *migrations.STEPS,
        "ALTER TABLE threads ADD COLUMN shelf TEXT; UPDATE threads SET shelf = 'inbox'",
        "CREATE INDEX threads_by_shelf ON threads (shelf)",
    )
    monkeypatch.setattr(migrations, "STEPS", later)
    monkeypatch.setattr(migrations, "VERSION", len(later))
    async with opened(tmp_path) as home:
        assert (await home.store.get(row.id)).preview == row.preview
        shelves = await home.database.read(
            lambda connection: connection.execute("SELECT shelf FROM threads").fetchall()
        )
        assert shelves == [("inbox",)]
    assert _version(tmp_path / "threads.sqlite3") == len(later)


async def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as home:
        row = await add_thread(home.store)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", (*migrations.STEPS, "ALTER TABLE threads ADD COLUMN x TEXT; NONSENSE"))
        patch.setattr(migrations, "VERSION", migrations.VERSION + 1)
        with pytest.raises(StoreError, match=r"threads\.sqlite3: near \"NONSENSE\": syntax error"):
            async with opened(tmp_path):
                pass
    assert _version(tmp_path / "threads.sqlite3") == migrations.VERSION
    async with opened(tmp_path) as home:
        assert (await home.store.get(row.id)).id == row.id


async def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite3"
    _make(path, "CREATE TABLE future (x); PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreError) as raised:
        async with Database(path):
            pass
    assert str(raised.value).startswith(
        f"{path} was written by a newer turnloom (schema 99, this one knows {migrations.VERSION})"
    )
    assert path.read_bytes() == before
    assert _names(tmp_path) == ["threads.sqlite3", "threads.sqlite3.lock"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
