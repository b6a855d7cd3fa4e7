"""All threads: which are loaded, and starting, resuming, forking, archiving, deleting and unloading them."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import anyio
import orjson
from msgspec.structs import replace

from app_server.config.layers import unknown_overrides
from app_server.config.network_proxy import HostAction
from app_server.rpc.connection import Connection
from app_server.rpc.experimental import stripper
from app_server.rpc.outbound import notification, notification_json, now_ms
from app_server.rpc.scopes import FULL, Scope
from app_server.store.errors import BadCursor, ThreadMissing, TurnMissing
from app_server.store.ids import uuid7
from app_server.store.rows import ItemRow, Page, ThreadColumns, ThreadQuery, ThreadRow, TurnRow
from app_server.threads.config_source import ConfigSource
from app_server.threads.course import Course
from app_server.threads.history import aborted_output, unanswered_calls
from app_server.threads.settings import (
    ThreadSettings,
    check_scope,
    configured,
    for_new_thread,
    restored,
    with_known_profile,
    with_overrides,
    within_requirements,
)
from app_server.threads.storing import stored
from app_server.threads.thread import Thread
from app_server.threads.turn import Turn, turn_json
from app_server.threads.world import World
from app_server.version import PROTOCOL_VERSION
from protocol.jsonrpc import RpcError, invalid_request
from protocol.methods import ServerNotification
from protocol.v2 import thread as wire
from protocol.v2.thread_data import GitInfo, NotLoadedThreadStatus, ThreadSection, ThreadStatus
from protocol.v2.thread_data import Thread as WireThread
from protocol.v2.thread_list import ThreadItemsListParams

UNLOAD_AFTER_SECONDS = 30 * 60.0
"""How long a thread that nobody follows and where nothing runs stays loaded."""
UNLOAD_CHECK_SECONDS = 60.0

LIST_LIMIT = 25
"""Rows of a page for which the client names no limit."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ThreadManager:
    """The loaded threads, and the store behind them."""

    def __init__(self, world: World, config: ConfigSource) -> None:
        self._world, self._config = world, config
        self._loaded: dict[str, Thread] = {}
        self._ending = False
        self.course = Course(self, world)
        """What threads do next."""

    def network_rule_kept(self, host: str, action: HostAction) -> None:
        """A rule holds for a whole host from now on: the open questions about it are answered, in every thread."""
        for thread in self._loaded.values():
            thread.network.rule_kept(host, action)

    # Finding

    def loaded_ids(self) -> list[str]:
        """Ids of the loaded threads, oldest first."""
        return sorted(self._loaded)

    def loaded(self, thread_id: str) -> Thread:
        """A loaded thread. Raises -32600 `thread not found` or what is wrong with the id."""
        thread = self._loaded.get(thread_id)
        if thread is None:
            check_id(thread_id)
            raise invalid_request(f"thread not found: {thread_id}")
        return thread

    def find(self, thread_id: str) -> Thread | None:
        """The thread if it is loaded."""
        return self._loaded.get(thread_id)

    def running_turns(self) -> list[Turn]:
        """The turn of each thread that has one running."""
        return [thread.active for thread in self._loaded.values() if thread.active is not None]

    async def row(self, thread_id: str) -> ThreadRow:
        """A thread's row, loaded or stored. Raises -32600 for an unknown one."""
        if (thread := self._loaded.get(thread_id)) is not None:
            return thread.row
        check_id(thread_id)
        try:
            return await self._world.thread_store.get(thread_id)
        except ThreadMissing:
            raise invalid_request(f"thread not found: {thread_id}") from None

    async def kept(self, thread_id: str, what: str) -> ThreadRow:
        """The row of a thread that is stored. Raises -32600 for an unknown one, and for one that cannot have `what`."""
        row = await self.row(thread_id)
        if (thread := self._loaded.get(thread_id)) is not None and thread.ephemeral:
            raise invalid_request(f"ephemeral thread does not support {what}: {thread_id}")
        return row

    async def set_columns(self, thread_id: str, columns: ThreadColumns) -> ThreadRow:
        """Change a stored thread's row; returns it as it is then. Raises -32600 for one that is gone."""
        try:
            if (thread := self._loaded.get(thread_id)) is not None:
                await stored(thread.change(**columns))
                return thread.row
            await stored(self._world.thread_store.update(thread_id, columns))
            return await self._world.thread_store.get(thread_id)
        except ThreadMissing:
            raise invalid_request(f"thread not found: {thread_id}") from None

    async def reread(self, thread_id: str | None = None) -> None:
        """Take over to which sections and projects loaded threads belong now: one, or all."""
        for thread in [self._loaded.get(thread_id)] if thread_id else list(self._loaded.values()):
            if thread is not None and not thread.ephemeral:
                with suppress(ThreadMissing):
                    row = await self._world.thread_store.get(thread.id)
                    thread.row = replace(
                        thread.row,
                        project_id=row.project_id,
                        section=row.section,
                        section_entered_at_ms=row.section_entered_at_ms,
                    )

    def status(self, thread_id: str) -> ThreadStatus:
        """The thread's status; `notLoaded` for one that is only stored."""
        thread = self._loaded.get(thread_id)
        return NotLoadedThreadStatus() if thread is None else thread.status

    # Life

    async def start(self, params: wire.ThreadStartParams, connection: Connection) -> Thread:
        """A new thread, followed by `connection`."""
        settings = await self._config.thread_settings(params.config, params.cwd)
        chosen = for_new_thread(settings, params, self._config.default_cwd)
        chosen, warning = within_requirements(chosen, settings)
        if connection.scope is not FULL:
            plain = await self._config.thread_settings(None, params.cwd)
            before = configured(plain, self._config.default_cwd)
            check_scope(connection.scope, before, chosen, config=plain, new_config=settings, overrides=params.config)
        chosen = replace(chosen, dynamic_tools=tuple(params.dynamic_tools or ()))
        now = now_ms()
        row = self._new_row(chosen, connection, now, params.thread_source)
        row = replace(row, project_id=params.project_id, daybreak_enabled=params.daybreak_enabled)
        offers_tools = params.environments is None or len(params.environments) > 0
        thread = Thread(self._world, row, chosen, settings, ephemeral=bool(params.ephemeral), offers_tools=offers_tools)
        thread.warning, thread.config_overrides = warning or unknown_overrides(params.config), params.config
        thread.tells_raw = params.experimental_raw_events
        await thread.briefing.load()
        if not thread.ephemeral:
            await stored(self._world.thread_store.create(row))
            thread.spawn(thread.note_repository)
        self._loaded[thread.id] = thread
        return thread

    async def resume(self, params: wire.ThreadResumeParams, scope: Scope = FULL) -> Thread:
        """The thread, loaded if it was not. Overrides count only then: who joins others changes nothing for them.

        `scope` is that of the client that asks.
        """
        if params.history is not None or params.path not in (None, self._world.thread_store.place(params.thread_id)):
            field = "history" if params.history is not None else "path"
            raise invalid_request(f"`{field}`: only stored threads can be resumed, by `threadId`")
        thread = self._loaded.get(params.thread_id)
        if thread is None:
            thread = await self._load(params)
            changed, warning = within_requirements(
                with_overrides(thread.settings, thread.config, params), thread.config
            )
            thread.warning = thread.warning or warning
            check_scope(scope, thread.settings, changed, config=thread.config, overrides=params.config)
            (await stored(thread.apply(changed)))()
        elif params.config:
            await self._config.thread_settings(params.config, thread.settings.cwd)
        thread.touch()
        return thread

    async def _load(self, params: wire.ThreadResumeParams) -> Thread:
        thread_id = params.thread_id
        check_id(thread_id)
        store = self._world.thread_store
        try:
            await stored(store.claim(thread_id))
            row = await store.get(thread_id)
        except ThreadMissing:
            raise invalid_request(f"no rollout found for thread id {thread_id}") from None
        if row.archived:
            await store.release(thread_id)
            raise invalid_request(f"thread {thread_id} is archived; unarchive it with thread/unarchive first")
        try:
            config = await self._config.thread_settings(params.config, params.cwd or row.cwd)
        except RpcError:
            await store.release(thread_id)
            raise
        history = list(await store.history(thread_id))
        settings, warning = with_known_profile(self._restored_settings(row), config)
        thread = Thread(self._world, row, settings, config, history=history, waits=True)
        thread.config_overrides = params.config
        thread.warning = warning or await store.notice(thread_id) or unknown_overrides(params.config)
        await thread.agenda.goal.load()
        await thread.briefing.load()
        if self._ending:
            thread.agenda.close()
        self._loaded[thread_id] = thread
        return thread

    async def fork(self, params: wire.ThreadForkParams, connection: Connection) -> Thread:
        """A copy of a thread up to a turn, with settings of its own, followed by `connection`."""
        if params.path not in (None, self._world.thread_store.place(params.thread_id)):
            raise invalid_request("`path`: only stored threads can be forked, by `threadId`")
        await self._bring(params.thread_id)
        source = await self.row(params.thread_id)
        loaded = self._loaded.get(params.thread_id)
        settings = await self._config.thread_settings(params.config, params.cwd or source.cwd)
        base = loaded.settings if loaded is not None else self._restored_settings(source)
        base, warning = with_known_profile(base, settings)
        chosen, limited = within_requirements(with_overrides(base, settings, params), settings)
        check_scope(connection.scope, base, chosen, config=settings, overrides=params.config)
        now = now_ms()
        row = replace(
            self._new_row(chosen, connection, now, params.thread_source),
            forked_from_id=source.id,
            preview=source.preview,
            name=source.name,
            token_usage=source.token_usage,
            project_id=source.project_id,
            daybreak_enabled=source.daybreak_enabled,
            memory_mode=source.memory_mode,
        )
        thread = Thread(self._world, row, chosen, settings, ephemeral=params.ephemeral)
        thread.warning = warning or limited or unknown_overrides(params.config)
        thread.config_overrides = params.config
        if params.ephemeral:
            if not params.exclude_turns:
                raise invalid_request("an ephemeral fork needs `excludeTurns: true`")
            if params.last_turn_id is not None or params.before_turn_id is not None:
                raise invalid_request("an ephemeral fork copies the whole thread; leave out the turn id")
            history = loaded.history if loaded is not None else await self._world.thread_store.history(source.id)
            # A turn may be running: its calls without an output yet would be refused by the model.
            cut = [aborted_output(call_id, custom=custom) for call_id, custom in unanswered_calls(history)]
            thread.history = [*history, *cut]
        elif loaded is not None and loaded.ephemeral:
            raise invalid_request("an ephemeral thread can only be forked into an ephemeral one")
        else:
            await self._copy(source.id, row, params)
            thread.history = list(await self._world.thread_store.history(row.id))
            thread.spawn(thread.note_repository)
            if params.defer_goal_continuation:
                await self.course.copy_goal(source.id, thread)
        await thread.briefing.load()
        self._loaded[thread.id] = thread
        return thread

    async def _bring(self, thread_id: str) -> None:
        check_id(thread_id)
        try:
            await stored(self._world.thread_store.bring(thread_id))
        except ThreadMissing:
            raise invalid_request(f"no rollout found for thread id {thread_id}") from None

    async def _copy(self, source_id: str, row: ThreadRow, params: wire.ThreadForkParams) -> None:
        try:
            await stored(
                self._world.thread_store.fork(
                    source_id, row, through_turn_id=params.last_turn_id, before_turn_id=params.before_turn_id
                )
            )
        except TurnMissing as error:
            raise invalid_request(f"turn not found in thread {source_id}: {error.turn_id}") from None

    async def archive(self, thread_id: str) -> None:
        """Interrupt, unload and put away a thread."""
        row = await self.row(thread_id)
        self._refuse_ephemeral(thread_id, "archived")
        await self._unload(thread_id)
        await stored(self._world.thread_store.archive(row.id))

    async def unarchive(self, thread_id: str) -> ThreadRow:
        """Take a thread out again; it is not loaded."""
        row = await self.row(thread_id)
        if not row.archived:
            raise invalid_request(f"thread {thread_id} is not archived")
        await stored(self._world.thread_store.unarchive(thread_id))
        return await self._world.thread_store.get(thread_id)

    async def delete(self, thread_id: str) -> None:
        """Interrupt and unload a thread, and remove all that was stored of it."""
        await self.row(thread_id)
        ephemeral = (thread := self._loaded.get(thread_id)) is not None and thread.ephemeral
        await self._unload(thread_id)
        if not ephemeral:
            await stored(self._world.thread_store.delete(thread_id))

    async def rename(self, thread_id: str, name: str) -> Callable[[], None]:
        """Give a thread a name; the result tells every client."""
        name = name.strip()
        if not name:
            raise invalid_request("thread name must not be empty")
        await self.row(thread_id)
        if (thread := self._loaded.get(thread_id)) is not None:
            await stored(thread.change(name=name))
        else:
            await stored(self._world.thread_store.update(thread_id, {"name": name}))
        params = wire.ThreadNameUpdatedNotification(thread_id=thread_id, thread_name=name)
        return partial(self._world.broadcast, notification(wire.THREAD_NAME_UPDATED, params))

    def unsubscribe(self, thread_id: str, connection: Connection) -> wire.ThreadUnsubscribeStatus:
        """`unsubscribed`, `notSubscribed`, or `notLoaded`."""
        thread = self._loaded.get(thread_id)
        if thread is None:
            check_id(thread_id)
            return "notLoaded"
        return "unsubscribed" if thread.unfollow(connection.id) else "notSubscribed"

    def leave(self, connection: Connection) -> None:
        """The client has gone: it follows nothing any more. Its turns go on."""
        for thread in self._loaded.values():
            thread.unfollow(connection.id)

    async def _unload(self, thread_id: str) -> None:
        thread = self._loaded.get(thread_id)
        if thread is None:
            return
        thread.agenda.close()
        self._world.terminals.kill(thread_id)
        await thread.stop()
        await self._world.terminals.close(thread_id)
        self._loaded.pop(thread_id, None)
        if not thread.ephemeral:
            await stored(self._world.thread_store.release(thread_id))
        thread.tell_unloaded()

    async def reconfigure(self) -> None:
        """Let loaded threads go on with the configuration as it is now."""
        await self._config.renew(list(self._loaded.values()))

    async def unload_idle(self) -> None:
        """Unload what nobody has used for a while, again and again; the manager's owner runs this."""
        while True:
            await anyio.sleep(UNLOAD_CHECK_SECONDS)
            await self.unload_unused(UNLOAD_AFTER_SECONDS)

    async def unload_unused(self, seconds: float) -> None:
        """Unload every thread that was not used for `seconds`, and tell it as `thread/closed`."""
        for thread in list(self._loaded.values()):
            unused = thread.unused_for()
            if thread.in_use or unused < seconds:
                continue
            try:
                await self._unload(thread.id)
            except RpcError as error:
                logger.error("thread %s cannot be unloaded: %s", thread.id, error.message)
                continue
            self.tell(wire.THREAD_CLOSED, thread.id)

    def _begin_nothing(self) -> None:
        self._ending = True
        for thread in self._loaded.values():
            thread.agenda.close()

    async def settle(self) -> None:
        """Let no thread go on by itself any more, and wait until no turn runs."""
        self._begin_nothing()
        while running := self.running_turns():
            await running[0].finished.wait()

    async def stop(self) -> None:
        """Interrupt every turn and wait for their ends."""
        self._begin_nothing()
        running = self.running_turns()
        self._world.terminals.kill()
        for turn in running:
            turn.abandon()
        for turn in running:
            await turn.finished.wait()
        await self._world.terminals.shutdown()

    # Reading

    async def page(self, query: ThreadQuery) -> Page[ThreadRow]:
        """A page of stored threads."""
        try:
            return await self._world.thread_store.list(query)
        except BadCursor as error:
            raise invalid_request(str(error)) from None

    async def turns_page(
        self, thread_id: str, *, view: str, cursor: str | None, limit: int | None, descending: bool
    ) -> tuple[list[bytes], Page[TurnRow]]:
        """A page of turns as wire JSON; the running turn shows the text so far of its items."""
        await self._stored_thread(thread_id)
        thread = self._loaded.get(thread_id)
        while True:
            changes = 0 if thread is None else thread.turn_changes
            page = await self._turn_rows(thread_id, cursor, limit, descending)
            items = await self._items_by_turn(thread_id, page.rows, view)
            if thread is None or changes == thread.turn_changes:
                break
        active = None if thread is None else thread.active
        encoded = [
            active.snapshot(view)
            if active is not None and row.id == active.id
            else turn_json(row, items.get(row.id, ()), view)
            for row in page.rows
        ]
        return encoded, page

    async def all_turns(self, thread: ThreadRow) -> list[bytes]:
        """Every turn with its items, oldest first."""
        turns, _ = await self.turns_page(thread.id, view="full", cursor=None, limit=1 << 31, descending=False)
        return turns

    async def newest_cursors(self, thread_id: str) -> tuple[str | None, str | None, str | None]:
        """The newest turn's id, and cursors that begin at the newest turn and at the newest item."""
        if (thread := self._loaded.get(thread_id)) is not None and thread.ephemeral:
            return None, None, None
        turns = await self._world.thread_store.turns(thread_id, limit=1, descending=True)
        items = await self._world.thread_store.items(thread_id, limit=1, descending=True)
        newest = turns.rows[0].id if turns.rows else None
        return newest, turns.backwards_cursor, items.backwards_cursor

    async def _turn_rows(
        self, thread_id: str, cursor: str | None, limit: int | None, descending: bool
    ) -> Page[TurnRow]:
        try:
            return await self._world.thread_store.turns(
                thread_id, cursor=cursor, limit=page_limit(limit), descending=descending
            )
        except BadCursor as error:
            raise invalid_request(str(error)) from None

    async def _items_by_turn(self, thread_id: str, rows: Sequence[TurnRow], view: str) -> dict[str, Sequence[bytes]]:
        if view == "notLoaded" or not rows:
            return {}
        types = ("userMessage", "agentMessage") if view == "summary" else None
        found = await self._world.thread_store.items_of_turns(thread_id, [row.id for row in rows], types)
        by_turn: dict[str, list[ItemRow]] = {}
        for item in found:
            by_turn.setdefault(item.turn_id, []).append(item)
        if view == "full":
            return {turn: [item.payload for item in items] for turn, items in by_turn.items()}
        return {turn: _summary(items) for turn, items in by_turn.items()}

    async def items_page(self, params: ThreadItemsListParams, *, descending: bool) -> Page[ItemRow]:
        """A page of a thread's completed items."""
        await self._stored_thread(params.thread_id)
        cursor = params.cursor
        if cursor is not None and not isinstance(cursor, str):
            item_id = cursor.item_id
            cursor = await self._world.thread_store.item_cursor(params.thread_id, item_id)
            if cursor is None:
                raise invalid_request(f"item not found in thread {params.thread_id}: {item_id}")
        try:
            return await self._world.thread_store.items(
                params.thread_id,
                params.turn_id,
                cursor=cursor,
                limit=page_limit(params.limit),
                descending=descending,
            )
        except BadCursor as error:
            raise invalid_request(str(error)) from None

    async def _stored_thread(self, thread_id: str) -> None:
        await self.row(thread_id)
        self._refuse_ephemeral(thread_id, "listed: they are not stored")

    def _refuse_ephemeral(self, thread_id: str, what: str) -> None:
        thread = self._loaded.get(thread_id)
        if thread is not None and thread.ephemeral:
            raise invalid_request(f"ephemeral threads cannot be {what}")

    # Wire forms

    def wire_thread(self, row: ThreadRow) -> WireThread:
        """A thread as the wire shows it, without turns."""
        thread = self._loaded.get(row.id)
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
            path=None if thread is not None and thread.ephemeral else self._world.thread_store.place(row.id),
            preview=row.preview,
            project_id=row.project_id,
            daybreak_enabled=row.daybreak_enabled,
            section=None if row.section is None else ThreadSection.model_validate(orjson.loads(row.section)),
            section_entered_at=None if row.section_entered_at_ms is None else row.section_entered_at_ms // 1000,
            reasoning_effort=row.reasoning_effort,
            source=source,
            **_agent(source),
            status=self.status(row.id),
            thread_source=row.thread_source,
            turns=[],
        )

    def tell(self, descriptor: ServerNotification[Any], thread_id: str) -> None:
        """Tell every client news that consist of a thread's id."""
        self._world.broadcast(notification_json(descriptor.method, orjson.dumps({"threadId": thread_id})))

    def tell_started(self, thread: Thread) -> None:
        """Tell every client that a thread has begun."""
        params = wire.ThreadStartedNotification(thread=self.wire_thread(thread.row))
        strip = stripper(wire.ThreadStartedNotification, "params")
        self._world.broadcast(notification(wire.THREAD_STARTED, params, strip))

    def _new_row(
        self, settings: ThreadSettings, connection: Connection, now: int, thread_source: str | None
    ) -> ThreadRow:
        client = connection.client
        return ThreadRow(
            id=uuid7(),
            created_at_ms=now,
            updated_at_ms=now,
            recency_at_ms=now,
            cwd=settings.cwd,
            model=settings.model,
            model_provider=settings.model_provider,
            reasoning_effort=settings.effort,
            cli_version=PROTOCOL_VERSION,
            settings=settings.stored(),
            originator=None if client is None else client.name,
            thread_source=thread_source,
        )

    def _restored_settings(self, row: ThreadRow) -> ThreadSettings:
        return restored(
            row.settings,
            model=row.model or self._world.settings.model,
            model_provider=row.model_provider,
            cwd=row.cwd,
            effort=row.reasoning_effort,
        )


def _agent(source: Any) -> dict[str, Any]:  # Any: as members of a model are given
    """What the agent of a thread that another thread started is called, and what it is there for."""
    match source:
        case {"subAgent": {"thread_spawn": {"agent_nickname": nickname, "agent_role": role}}}:
            return {"agent_nickname": nickname, "agent_role": role}
        case _:
            return {}


def check_id(thread_id: str) -> None:
    """Raise -32600 for what cannot be a thread's id."""
    try:
        UUID(thread_id)
    except ValueError:
        raise invalid_request(f"invalid thread id: `{thread_id}` is no UUID") from None


def page_limit(asked: int | None) -> int:
    """How many rows a page has: at least one."""
    return LIST_LIMIT if asked is None else max(1, asked)


def _summary(items: Sequence[ItemRow]) -> list[bytes]:
    """A turn's first user message and its last agent message."""
    users = [item for item in items if item.type == "userMessage"][:1]
    answers = [item for item in items if item.type == "agentMessage"][-1:]
    return [item.payload for item in (*users, *answers)]
