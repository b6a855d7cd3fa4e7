"""Projects: names for folders, to which threads belong."""

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from app_server.store import writing
from app_server.store.cursors import Cursor, decode
from app_server.store.database import Database
from app_server.store.errors import ThreadMissing
from app_server.store.ids import uuid7
from app_server.store.rows import Page

ProjectSort = Literal["position", "recencyAt"]

_RECENCY: Final = "(SELECT max(recency_at_ms) FROM threads WHERE project_id = projects.id)"
_COLUMNS: Final = f"id, name, roots, metadata, position, created_at_ms, updated_at_ms, {_RECENCY}"
_KEYS: Final = {"position": "position", "recencyAt": f"coalesce({_RECENCY}, 0)"}


class ProjectMissing(LookupError):
    """No project has this id."""

    def __init__(self, project_id: str, what: str = "project") -> None:
        super().__init__(f"{what} not found: {project_id}")


class KeyUsed(ValueError):
    """The idempotency key made a project that was deleted since."""

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key refers to deleted project: {key}")


class ProjectRow(Struct, frozen=True):
    """A project. `roots` and `metadata` are JSON, a list of paths and an object of texts; times are milliseconds.

    `recency_at_ms` is that of its newest thread.
    """

    id: str
    name: str
    roots: str
    metadata: str
    position: int
    created_at_ms: int
    updated_at_ms: int
    recency_at_ms: int | None = None


class ProjectStore:
    """The projects of a home."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, sort: ProjectSort, descending: bool, cursor: str | None, limit: int) -> Page[ProjectRow]:
        """A page of projects. Raises BadCursor."""
        scope, key = f"projects:{sort}:{descending}", _KEYS[sort]
        order, comparison = ("DESC", "<") if descending else ("ASC", ">")

        def work(connection: sqlite3.Connection) -> Page[ProjectRow]:
            where, place = "", tuple[int, ...]()
            if cursor is not None:
                where, place = f" WHERE ({key}, number) {comparison} (?, ?)", decode(cursor, scope, 2).place
            rows = connection.execute(
                f"SELECT {_COLUMNS}, {key}, number FROM projects{where} ORDER BY {key} {order}, number {order} LIMIT ?",
                (*place, limit + 1),
            ).fetchall()
            more = len(rows) > limit
            following = Cursor(scope, rows[limit - 1][-2:], inclusive=False).encode() if more else None
            return Page(tuple(ProjectRow(*row[:-2]) for row in rows[:limit]), following, None)

        return await self._database.read(work)

    async def get(self, project_id: str) -> ProjectRow:
        """A project. Raises ProjectMissing."""
        return await self._database.read(lambda connection: get(connection, project_id))

    async def create(
        self, key: str, name: str, roots: str, metadata: str, threads: Sequence[str], at_ms: int
    ) -> tuple[ProjectRow, bool]:
        """Add a project with these threads at the end, unless this key has made one; whether it is new.

        Raises KeyUsed and ThreadMissing.
        """

        def work(connection: sqlite3.Connection) -> tuple[ProjectRow, bool]:
            made = connection.execute("SELECT project_id FROM project_keys WHERE idempotency_key = ?", (key,))
            if (known := made.fetchone()) is not None:
                try:
                    return get(connection, known[0]), False
                except ProjectMissing:
                    raise KeyUsed(key) from None
            project_id = uuid7()
            connection.execute("INSERT INTO project_keys VALUES (?, ?)", (key, project_id))
            connection.execute(
                "INSERT INTO projects (id, name, roots, metadata, position, created_at_ms, updated_at_ms)"
                " VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(position) + 1, 0) FROM projects), ?5, ?5)",
                (project_id, name, roots, metadata, at_ms),
            )
            for thread_id in threads:
                if not writing.join_project(connection, thread_id, project_id):
                    raise ThreadMissing(thread_id)
            return get(connection, project_id), True

        return await self._database.write(work)

    async def update(
        self, project_id: str, name: str | None, roots: str | None, metadata: str | None, at_ms: int
    ) -> ProjectRow:
        """Change what is not None. Raises ProjectMissing."""
        changed = name is not None or roots is not None or metadata is not None

        def work(connection: sqlite3.Connection) -> ProjectRow:
            connection.execute(
                "UPDATE projects SET name = coalesce(?, name), roots = coalesce(?, roots),"
                " metadata = coalesce(?, metadata), updated_at_ms = iif(?, ?, updated_at_ms) WHERE id = ?",
                (name, roots, metadata, changed, at_ms, project_id),
            )
            return get(connection, project_id)

        return await self._database.write(work)

    async def move(self, project_id: str, before_id: str | None, at_ms: int) -> None:
        """Put a project before another one, or at the end; positions count from 0 then. Raises ProjectMissing."""

        def work(connection: sqlite3.Connection) -> None:
            get(connection, project_id)
            rows = connection.execute("SELECT id FROM projects ORDER BY position, number").fetchall()
            ids = [row[0] for row in rows if row[0] != project_id]
            if before_id is not None and before_id not in ids:
                raise ProjectMissing(before_id, "before project")
            ids.insert(len(ids) if before_id is None else ids.index(before_id), project_id)
            connection.executemany("UPDATE projects SET position = ? WHERE id = ?", enumerate(ids))
            connection.execute("UPDATE projects SET updated_at_ms = ? WHERE id = ?", (at_ms, project_id))

        await self._database.write(work)

    async def delete(self, project_id: str) -> Sequence[str]:
        """Remove a project; its threads, whose ids are returned, belong to none then. Raises ProjectMissing."""

        def work(connection: sqlite3.Connection) -> Sequence[str]:
            if not connection.execute("DELETE FROM projects WHERE id = ?", (project_id,)).rowcount:
                raise ProjectMissing(project_id)
            rows = connection.execute(
                "UPDATE threads SET project_id = NULL WHERE project_id = ? RETURNING id", (project_id,)
            )
            return [row[0] for row in rows.fetchall()]

        return await self._database.write(work)


def get(connection: sqlite3.Connection, project_id: str) -> ProjectRow:
    row = connection.execute(f"SELECT {_COLUMNS} FROM projects WHERE id = ?", (project_id,)).fetchone()
    if row is None:
        raise ProjectMissing(project_id)
    return ProjectRow(*row)
