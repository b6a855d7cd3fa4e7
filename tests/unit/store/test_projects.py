from pathlib import Path

import pytest

from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.ids import uuid7
from app_server.store.projects import KeyUsed, ProjectMissing, ProjectRow, ProjectSort, ProjectStore
from app_server.store.rows import ThreadQuery
from tests.unit.store.homes import add_thread, opened


async def make(projects: ProjectStore, name: str, *threads: str) -> ProjectRow:
    row, is_new = await projects.create(f"key of {name}", name, "[]", "{}", threads, 1)
    assert is_new
    return row


async def all_pages(projects: ProjectStore, sort: ProjectSort, descending: bool, limit: int) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = await projects.page(sort, descending, cursor, limit)
        names += [row.name for row in page.rows]
        if (cursor := page.next_cursor) is None:
            return names


async def test_a_key_makes_one_project_however_often_it_is_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        projects = ProjectStore(home.database)
        made = await make(projects, "one")
        again = await projects.create("key of one", "other", "[]", "{}", (), 2)
        assert again == (made, False)
        await projects.delete(made.id)
        with pytest.raises(KeyUsed, match="idempotency key refers to deleted project: key of one"):
            await projects.create("key of one", "one", "[]", "{}", (), 3)


async def test_projects_are_listed_as_they_were_ordered_or_by_their_newest_threads(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        projects = ProjectStore(home.database)
        old, new = await add_thread(home.store, recency_at_ms=10), await add_thread(home.store, recency_at_ms=20)
        a, b, c = await make(projects, "a", new.id), await make(projects, "b"), await make(projects, "c", old.id)
        for limit in (1, 2, 5):
            assert await all_pages(projects, "position", False, limit) == ["a", "b", "c"]
            assert await all_pages(projects, "recencyAt", True, limit) == ["a", "c", "b"]
            assert await all_pages(projects, "recencyAt", False, limit) == ["b", "c", "a"]
        await projects.move(c.id, a.id, 2)
        assert await all_pages(projects, "position", False, 2) == ["c", "a", "b"]
        await projects.move(a.id, None, 2)
        assert await all_pages(projects, "position", False, 2) == ["c", "b", "a"]
        assert [row.position for row in (await projects.page("position", False, None, 9)).rows] == [0, 1, 2]
        with pytest.raises(ProjectMissing, match="before project not found: nope"):
            await projects.move(b.id, "nope", 2)
        first = await projects.page("position", False, None, 1)
        with pytest.raises(BadCursor):
            await projects.page("recencyAt", False, first.next_cursor, 1)


async def test_an_update_changes_what_is_given(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        projects = ProjectStore(home.database)
        made = await make(projects, "one")
        changed = await projects.update(made.id, "two", None, '{"a":"b"}', 5)
        assert (changed.name, changed.roots, changed.metadata, changed.updated_at_ms) == ("two", "[]", '{"a":"b"}', 5)
        assert await projects.update(made.id, None, None, None, 9) == changed
        with pytest.raises(ProjectMissing):
            await projects.update("nope", "x", None, None, 5)


async def test_threads_belong_to_the_project_that_took_them_last(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        projects = ProjectStore(home.database)
        row, other = await add_thread(home.store), await add_thread(home.store)
        a, b = await make(projects, "a", row.id, other.id), await make(projects, "b", row.id)
        assert [found.id for found in (await home.store.list(ThreadQuery(project_id=a.id))).rows] == [other.id]
        assert (await home.store.list(ThreadQuery(project_id=""))).rows == ()
        assert list(await projects.delete(b.id)) == [row.id]
        assert [found.id for found in (await home.store.list(ThreadQuery(project_id=""))).rows] == [row.id]


async def test_a_project_with_an_unknown_thread_is_not_made_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        projects = ProjectStore(home.database)
        row = await add_thread(home.store)
        with pytest.raises(ThreadMissing):
            await projects.create("key of x", "x", "[]", "{}", (row.id, uuid7()), 1)
        assert (await projects.page("position", False, None, 9)).rows == ()
        assert (await home.store.get(row.id)).project_id is None
        await make(projects, "x", row.id)
