"""All threads: which are loaded, what is stored of them, and archiving, deleting and unloading them."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import anyio
import orjson
from msgspec.structs import replace

from app_server.rpc.connection import Connection
from app_server.rpc.outbound import notification, notification_json
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.rows import ItemRow, Page, ThreadColumns, ThreadQuery, ThreadRow, TurnRow
from app_server.threads.storing import stored
from protocol.jsonrpc import RpcError, invalid_request
from protocol.methods import ServerNotification

if TYPE_CHECKING:
    from app_server.config.live import Configuration
    from app_server.config.network_proxy import HostAction
    from app_server.threads.course import Course
    from app_server.threads.opening import Opening
    from app_server.threads.thread import Thread
    from app_server.threads.turn import Turn
    from app_server.threads.world import World
    from protocol.v2.thread import ThreadUnsubscribeStatus
    from protocol.v2.thread_data import Thread as WireThread
    from protocol.v2.thread_data import ThreadStatus
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

    def __init__(self, world: "World", configuration: "Configuration") -> None:
        self._world, self._configuration = world, configuration
        self._loaded: dict[str, Thread] = {}
        self._ending = False

    # What clients that only look never need is made when it is asked for.

    @cached_property
    def opening(self) -> "Opening":
        """How threads come to be loaded."""
        from app_server.threads.config_source import ConfigSource
        from app_server.threads.opening import Opening

        return Opening(self, self._world, ConfigSource(self._configuration))

    @cached_property
    def course(self) -> "Course":
        """What threads do next."""
        from app_server.threads.course import Course

        return Course(self, self._world)

    def network_rule_kept(self, host: str, action: "HostAction") -> None:
        """A rule holds for a whole host from now on: the open questions about it are answered, in every thread."""
        for thread in self._loaded.values():
            thread.network.rule_kept(host, action)

    # Finding

    def add(self, thread: "Thread") -> None:
        """A thread is loaded from now on."""
        if self._ending:
            thread.agenda.close()
        self._loaded[thread.id] = thread

    def loaded_ids(self) -> list[str]:
        """Ids of the loaded threads, oldest first."""
        return sorted(self._loaded)

    def loaded(self, thread_id: str) -> "Thread":
        """A loaded thread. Raises -32600 `thread not found` or what is wrong with the id."""
        thread = self._loaded.get(thread_id)
        if thread is None:
            check_id(thread_id)
            raise invalid_request(f"thread not found: {thread_id}")
        return thread

    def find(self, thread_id: str) -> "Thread | None":
        """The thread if it is loaded."""
        return self._loaded.get(thread_id)

    def running_turns(self) -> "list[Turn]":
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

    def status(self, thread_id: str) -> "ThreadStatus":
        """The thread's status; `notLoaded` for one that is only stored."""
        from app_server.threads.shown import status_shown

        return status_shown(self._loaded.get(thread_id))

    # Life

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
        from protocol.v2 import thread as wire

        params = wire.ThreadNameUpdatedNotification(thread_id=thread_id, thread_name=name)
        return partial(self._world.broadcast, notification(wire.THREAD_NAME_UPDATED, params))

    def unsubscribe(self, thread_id: str, connection: Connection) -> "ThreadUnsubscribeStatus":
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
        if self._loaded:
            await self.opening.config.renew(list(self._loaded.values()))

    async def unload_idle(self) -> None:
        """Unload what nobody has used for a while, again and again; the manager's owner runs this."""
        while True:
            await anyio.sleep(UNLOAD_CHECK_SECONDS)
            await self.unload_unused(UNLOAD_AFTER_SECONDS)

    async def unload_unused(self, seconds: float) -> None:
        """Unload every thread that was not used for `seconds`, and tell it as `thread/closed`."""
        from protocol.v2.thread import THREAD_CLOSED

        for thread in list(self._loaded.values()):
            unused = thread.unused_for()
            if thread.in_use or unused < seconds:
                continue
            try:
                await self._unload(thread.id)
            except RpcError as error:
                logger.error("thread %s cannot be unloaded: %s", thread.id, error.message)
                continue
            self.tell(THREAD_CLOSED, thread.id)

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
        if not self._loaded:
            return
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
        from app_server.threads.shown import turn_json

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

    async def items_page(self, params: "ThreadItemsListParams", *, descending: bool) -> Page[ItemRow]:
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

    def wire_thread(self, row: ThreadRow) -> "WireThread":
        """A thread as the wire shows it, without turns."""
        from app_server.threads.shown import thread_shown

        return thread_shown(row, self._loaded.get(row.id), self._world.thread_store.place(row.id))

    def tell(self, descriptor: ServerNotification[Any], thread_id: str) -> None:
        """Tell every client news that consist of a thread's id."""
        self._world.broadcast(notification_json(descriptor.method, orjson.dumps({"threadId": thread_id})))

    def tell_started(self, thread: "Thread") -> None:
        """Tell every client that a thread has begun."""
        from app_server.rpc.experimental import stripper
        from protocol.v2 import thread as wire

        params = wire.ThreadStartedNotification(thread=self.wire_thread(thread.row))
        strip = stripper(wire.ThreadStartedNotification, "params")
        self._world.broadcast(notification(wire.THREAD_STARTED, params, strip))


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
