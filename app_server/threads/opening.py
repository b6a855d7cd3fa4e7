"""How threads come to be loaded: started, resumed, and forked."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from app_server.config.layers import unknown_overrides
from app_server.rpc.connection import Connection
from app_server.rpc.outbound import now_ms
from app_server.rpc.scopes import FULL, Scope
from app_server.store.errors import ThreadMissing, TurnMissing
from app_server.store.ids import uuid7
from app_server.store.rows import ThreadRow
from app_server.threads.config_source import ConfigSource
from app_server.threads.history import aborted_output, unanswered_calls
from app_server.threads.manager import check_id
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
from app_server.version import PROTOCOL_VERSION
from protocol.jsonrpc import RpcError, invalid_request
from protocol.v2 import thread as wire

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World


class Opening:
    """The part of the thread manager that loads threads."""

    def __init__(self, threads: "ThreadManager", world: "World", config: ConfigSource) -> None:
        self._threads, self._world, self.config = threads, world, config

    async def start(self, params: wire.ThreadStartParams, connection: Connection) -> Thread:
        """A new thread, followed by `connection`."""
        settings = await self.config.thread_settings(params.config, params.cwd)
        chosen = for_new_thread(settings, params, self.config.default_cwd)
        chosen, warning = within_requirements(chosen, settings)
        if connection.scope is not FULL:
            plain = await self.config.thread_settings(None, params.cwd)
            before = configured(plain, self.config.default_cwd)
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
        self._threads.add(thread)
        return thread

    async def resume(self, params: wire.ThreadResumeParams, scope: Scope = FULL) -> Thread:
        """The thread, loaded if it was not. Overrides count only then: who joins others changes nothing for them.

        `scope` is that of the client that asks.
        """
        if params.history is not None or params.path not in (None, self._world.thread_store.place(params.thread_id)):
            field = "history" if params.history is not None else "path"
            raise invalid_request(f"`{field}`: only stored threads can be resumed, by `threadId`")
        thread = self._threads.find(params.thread_id)
        if thread is None:
            thread = await self._load(params)
            changed, warning = within_requirements(
                with_overrides(thread.settings, thread.config, params), thread.config
            )
            thread.warning = thread.warning or warning
            check_scope(scope, thread.settings, changed, config=thread.config, overrides=params.config)
            (await stored(thread.apply(changed)))()
        elif params.config:
            await self.config.thread_settings(params.config, thread.settings.cwd)
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
            config = await self.config.thread_settings(params.config, params.cwd or row.cwd)
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
        self._threads.add(thread)
        return thread

    async def fork(self, params: wire.ThreadForkParams, connection: Connection) -> Thread:
        """A copy of a thread up to a turn, with settings of its own, followed by `connection`."""
        if params.path not in (None, self._world.thread_store.place(params.thread_id)):
            raise invalid_request("`path`: only stored threads can be forked, by `threadId`")
        await self._bring(params.thread_id)
        source = await self._threads.row(params.thread_id)
        loaded = self._threads.find(params.thread_id)
        settings = await self.config.thread_settings(params.config, params.cwd or source.cwd)
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
                await self._threads.course.copy_goal(source.id, thread)
        await thread.briefing.load()
        self._threads.add(thread)
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
