"""Threads and turns as clients are shown them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from app_server.store.rows import ThreadRow, TurnRow
from protocol.v2.thread_data import GitInfo, NotLoadedThreadStatus, ThreadSection, ThreadStatus
from protocol.v2.thread_data import Thread as WireThread

if TYPE_CHECKING:
    from app_server.threads.thread import Thread


def thread_shown(row: ThreadRow, thread: "Thread | None", path: str | None) -> WireThread:
    """A thread as the wire shows it, without turns. `thread` is it if it is loaded, `path` where it is stored."""
    source: Any = orjson.loads(row.source)
    return WireThread(
        id=row.id,
        session_id=row.id,
        cli_version=row.cli_version,
        created_at=row.created_at_ms // 1000,
        updated_at=row.updated_at_ms // 1000,
        recency_at=row.recency_at_ms // 1000,
        cwd=row.cwd,
        ephemeral=thread is not None and thread.ephemeral,
        environments=None if thread is None else [thread.settings.environment()],
        can_accept_direct_input=True if thread is not None else None,
        forked_from_id=row.forked_from_id,
        git_info=None if row.git_info is None else GitInfo.model_validate(orjson.loads(row.git_info)),
        history_mode="paginated",
        model=row.model,
        model_provider=row.model_provider,
        name=row.name,
        originator=row.originator,
        parent_thread_id=row.parent_thread_id,
        path=None if thread is not None and thread.ephemeral else path,
        preview=row.preview,
        project_id=row.project_id,
        daybreak_enabled=row.daybreak_enabled,
        section=None if row.section is None else ThreadSection.model_validate(orjson.loads(row.section)),
        section_entered_at=None if row.section_entered_at_ms is None else row.section_entered_at_ms // 1000,
        reasoning_effort=row.reasoning_effort,
        source=source,
        **_agent(source),
        status=status_shown(thread),
        thread_source=row.thread_source,
        turns=[],
    )


def status_shown(thread: "Thread | None") -> ThreadStatus:
    """The status of a thread; `notLoaded` for one that is only stored."""
    return NotLoadedThreadStatus() if thread is None else thread.status


def turn_json(row: TurnRow, items: Sequence[bytes], view: str) -> bytes:
    """A Turn of the wire around encoded items."""
    head = orjson.dumps(
        {
            "id": row.id,
            "rootTurnId": row.id,
            "status": row.status,
            "itemsView": view,
            "startedAt": row.started_at_ms // 1000,
            "completedAt": None if row.completed_at_ms is None else row.completed_at_ms // 1000,
            "durationMs": row.duration_ms,
        }
    )
    error = b"null" if row.error is None else row.error.encode()
    return b'%b,"error":%b,"items":[%b]}' % (head[:-1], error, b",".join(items))


def _agent(source: Any) -> dict[str, Any]:  # Any: as members of a model are given
    """What the agent of a thread that another thread started is called, and what it is there for."""
    match source:
        case {"subAgent": {"thread_spawn": {"agent_nickname": nickname, "agent_role": role}}}:
            return {"agent_nickname": nickname, "agent_role": role}
        case _:
            return {}
