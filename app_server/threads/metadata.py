"""What users keep about single threads: their repository and project, memory, and what they have read."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import orjson
from msgspec.structs import replace

from app_server.rpc.outbound import encode
from app_server.store.errors import ThreadMissing
from app_server.store.read_states import NothingToRead, ReadStateChanged, change
from app_server.store.rows import ThreadRow
from app_server.threads.projects import Projects
from app_server.threads.read_states import tell_read_state, wire_state
from app_server.threads.storing import stored
from protocol.jsonrpc import INVALID_REQUEST, RpcError, invalid_request
from protocol.v2 import thread_metadata as wire
from protocol.v2.thread_data import ThreadReadState

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World

_GIT_MEMBERS = {"sha": "sha", "branch": "branch", "origin_url": "originUrl"}


class Metadata:
    """Changes to what users keep about single threads. All of them raise -32600 for threads that are not stored."""

    def __init__(self, threads: "ThreadManager", world: "World", projects: Projects) -> None:
        self._threads, self._world, self._projects = threads, world, projects

    async def update(self, params: wire.ThreadMetadataUpdateParams) -> tuple[ThreadRow, Callable[[], None]]:
        """Change what is given. Returns the thread as it is then, and what tells every client of its new project."""
        if params.git_info is None and params.daybreak_enabled is None and params.project_id is None:
            raise invalid_request("thread metadata update must include at least one field")
        columns: dict[str, str | bool | None] = {}
        patch = None if params.git_info is None else _git_patch(params.git_info)
        row = await self._threads.kept(params.thread_id, "metadata updates")
        if patch is not None:
            columns["git_info"] = _git_info(row.git_info, patch)
        if params.daybreak_enabled is not None:
            columns["daybreak_enabled"] = params.daybreak_enabled
        if params.project_id is not None:
            project_id = params.project_id or None
            await self._projects.check(project_id)
            columns["project_id"] = project_id
        tell = _tell_nothing
        if columns.get("project_id", row.project_id) != row.project_id:
            tell = partial(self._projects.tell_moved, [row.id], params.project_id or None)
        return await self._threads.set_columns(row.id, columns), tell

    async def set_memory_mode(self, thread_id: str, mode: wire.ThreadMemoryMode) -> None:
        """Say whether memories may be made from the thread."""
        await self._threads.kept(thread_id, "metadata updates")
        await self._threads.set_columns(thread_id, {"memory_mode": mode})

    async def change_read_state(self, thread_id: str, expected_revision: str, *, unread: bool) -> ThreadReadState:
        """Let all of the thread count as read or unread, and tell its followers.

        Raises -32600 when the state has changed meanwhile, with the state as it is in `data`.
        """
        try:
            await self._threads.row(thread_id)
            state = await stored(change(self._world.thread_store, thread_id, expected_revision, unread=unread))
        except ReadStateChanged as conflict:
            known = orjson.loads(encode(wire_state(conflict.state)))
            data = {"reason": "readStateConflict", "readState": known}
            raise RpcError(INVALID_REQUEST, str(conflict), data) from None
        except (NothingToRead, ThreadMissing):
            raise invalid_request("thread read state unavailable") from None
        if (thread := self._threads.find(thread_id)) is not None:
            thread.row = replace(thread.row, read_revision=state.revision, first_unread=state.first_unread)
            tell_read_state(thread.events, thread_id, state)
        return wire_state(state)


def _git_patch(changes: wire.ThreadMetadataGitInfoUpdateParams) -> Mapping[str, str | None]:
    """The members that are given, by their names on the wire; None takes one away."""
    patch: dict[str, str | None] = {}
    for field in changes.model_fields_set:
        value: str | None = getattr(changes, field)
        if value is not None and not (value := value.strip()):
            raise invalid_request(f"gitInfo.{_GIT_MEMBERS[field]} must not be empty")
        patch[_GIT_MEMBERS[field]] = value
    if not patch:
        raise invalid_request("gitInfo must include at least one field")
    return patch


def _git_info(known: str | None, patch: Mapping[str, str | None]) -> str | None:
    info: dict[str, str | None] = {} if known is None else orjson.loads(known)
    info |= patch
    return orjson.dumps(info).decode() if any(value is not None for value in info.values()) else None


def _tell_nothing() -> None:
    pass
