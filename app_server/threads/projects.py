"""Projects that threads belong to."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from app_server.rpc.outbound import notification, now_ms
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.projects import KeyUsed, ProjectMissing, ProjectRow, ProjectStore
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import project as wire

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World

PAGE = 100
"""How many projects a page has for which the client names no limit."""


class Projects:
    """The projects, and which threads belong to them. What is asked for and is not there raises -32600."""

    def __init__(self, threads: "ThreadManager", world: "World", store: ProjectStore) -> None:
        self._threads, self._world, self._store = threads, world, store

    async def page(self, params: wire.ProjectListParams) -> wire.ProjectListResponse:
        """A page of projects."""
        if params.sort_direction is not None and params.sort_key is None:
            raise invalid_request("sortDirection requires sortKey")
        descending = params.sort_key is not None and params.sort_direction != "asc"
        limit = PAGE if params.limit is None else max(1, min(params.limit, PAGE))
        try:
            page = await self._store.page(params.sort_key or "position", descending, params.cursor, limit)
        except BadCursor as error:
            raise invalid_request(f"{error}; it belongs to a list in another order, or to none") from None
        return wire.ProjectListResponse(data=list(map(_wire, page.rows)), next_cursor=page.next_cursor)

    async def read(self, project_id: str) -> wire.Project:
        """One project."""
        try:
            return _wire(await self._store.get(project_id))
        except ProjectMissing as error:
            raise invalid_request(str(error)) from None

    async def check(self, project_id: str | None) -> None:
        """Raise -32600 if there is no such project; None is none."""
        if project_id is not None:
            await self.read(project_id)

    async def create(
        self,
        key: str,
        name: str,
        roots: Sequence[wire.ProjectRoot],
        metadata: Mapping[str, str] | None,
        threads: Sequence[str] = (),
    ) -> wire.Project:
        """The project that this key makes or has made, with these threads in it if it is new; all clients are told."""
        if not key:
            raise invalid_request("idempotencyKey must not be empty")
        known: set[str] = set()
        for thread_id in threads:
            if thread_id in known:
                raise invalid_request(f"duplicate thread id: {thread_id}")
            known.add(thread_id)
            await self._threads.kept(thread_id, "projects")
        name, folders, notes = _checked_name(name), _checked_roots(roots), orjson.dumps(metadata or {}).decode()
        try:
            row, is_new = await stored(self._store.create(key, name, folders, notes, threads, now_ms()))
        except (KeyUsed, ThreadMissing) as error:
            raise invalid_request(str(error)) from None
        if is_new:
            self._tell_changed(row.id, "created")
            await self._threads.reread()
            self.tell_moved(threads, row.id)
        return _wire(row)

    async def update(self, params: wire.ProjectUpdateParams) -> wire.Project:
        """Change what is given of a project."""
        name = None if params.name is None else _checked_name(params.name)
        roots = None if params.roots is None else _checked_roots(params.roots)
        metadata = None if params.metadata is None else orjson.dumps(params.metadata).decode()
        try:
            row = await stored(self._store.update(params.project_id, name, roots, metadata, now_ms()))
        except ProjectMissing as error:
            raise invalid_request(str(error)) from None
        if name is not None or roots is not None or metadata is not None:
            self._tell_changed(row.id, "updated")
        return _wire(row)

    async def move(self, project_id: str, before_id: str | None) -> None:
        """Put a project before another one, or at the end."""
        if project_id == before_id:
            raise invalid_request(f"project {project_id} cannot be moved before itself")
        try:
            await stored(self._store.move(project_id, before_id, now_ms()))
        except ProjectMissing as error:
            raise invalid_request(str(error)) from None
        self._tell_changed(project_id, "updated")

    async def delete(self, project_id: str) -> None:
        """Remove a project."""
        try:
            left = await stored(self._store.delete(project_id))
        except ProjectMissing as error:
            raise invalid_request(str(error)) from None
        await self._threads.reread()
        self._tell_changed(project_id, "deleted")
        self.tell_moved(left, None)

    def tell_moved(self, thread_ids: Sequence[str], project_id: str | None) -> None:
        """Tell every client to which project threads belong now."""
        for thread_id in thread_ids:
            params = wire.ThreadProjectUpdatedNotification(thread_id=thread_id, project_id=project_id)
            self._world.broadcast(notification(wire.THREAD_PROJECT_UPDATED, params))

    def _tell_changed(self, project_id: str, change: wire.ProjectChangeType) -> None:
        params = wire.ProjectChangedNotification(project_id=project_id, change_type=change)
        self._world.broadcast(notification(wire.PROJECT_CHANGED, params))


def _checked_name(name: str) -> str:
    if not (name := name.strip()):
        raise invalid_request("project name must not be empty")
    return name


def _checked_roots(roots: Sequence[wire.ProjectRoot]) -> str:
    paths: list[str] = []
    for root in roots:
        path = posixpath.normpath(root.path) if root.path.startswith("/") else root.path
        if path in paths:
            raise invalid_request(f"duplicate project root: {path}")
        paths.append(path)
    return orjson.dumps(paths).decode()


def _wire(row: ProjectRow) -> wire.Project:
    return wire.Project(
        id=row.id,
        name=row.name,
        roots=[wire.ProjectRoot(path=path) for path in orjson.loads(row.roots)],
        metadata=orjson.loads(row.metadata),
        position=row.position,
        created_at=row.created_at_ms // 1000,
        updated_at=row.updated_at_ms // 1000,
        recency_at=None if row.recency_at_ms is None else row.recency_at_ms // 1000,
    )
