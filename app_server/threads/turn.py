"""The life of a turn: stored, begun, driven, finished. What it does between is its subclass's."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Literal

import anyio
import orjson

from app_server.approvals.network import AskingTurn
from app_server.rpc.outbound import encode, now_ms
from app_server.store.errors import StoreError
from app_server.store.ids import uuid7
from app_server.store.rows import ItemRow, TurnRow
from app_server.threads.history import INTERRUPTED_NOTICE, aborted_output, text_message, unanswered_calls
from app_server.threads.items import TurnItems
from app_server.threads.messages import Message
from app_server.threads.read_states import store_end
from app_server.threads.settings import reviewer_named, turn_profile
from app_server.threads.shown import turn_json
from app_server.tools.context import INTERRUPTED, TurnContext
from protocol.jsonrpc import invalid_request
from protocol.v2 import turn as wire
from protocol.v2.permissions import ApprovalsReviewer
from protocol.v2.thread_data import TurnError

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

logger = logging.getLogger(__name__)

FINISH_SECONDS = 5.0
"""How long the last writes of a turn may take, whatever was cancelled."""

AlsoStored = Callable[[sqlite3.Connection, int], object]
"""What else is to be done, with the thread's number, in the transaction that stores something."""

TurnStatus = Literal["inProgress", "completed", "interrupted", "failed"]


class TurnFailed(Exception):
    """The turn cannot go on; `error` is what clients are told."""

    def __init__(self, error: TurnError) -> None:
        super().__init__(error.message)
        self.error = error


class Turn:
    """A turn belongs to its thread. It ends in exactly one `turn/completed`, whatever happens."""

    is_news = True
    """Whether its end brings the user something to read."""

    def __init__(self, thread: "Thread", message: Message | None = None) -> None:
        self.id = uuid7()
        self.finished = anyio.Event()
        self.row = TurnRow(id=self.id, status="inProgress", started_at_ms=now_ms())
        self._thread, self._settings = thread, thread.settings
        plans = self._settings.mode == "plan"
        self.items = TurnItems(thread.events, thread.id, self.id, self._persist_item, plans=plans)
        self._message = message
        self._message_item = None if message is None else message.item()
        self._began = monotonic_ns()
        self._interrupted = self.stopped = False
        """`stopped` says that the user has interrupted it, not the end of the daemon or of the thread."""
        self.reviewer: ApprovalsReviewer | None = None
        """Who decides about approvals in this turn, where that is not the thread's choice."""
        self._done = False
        self._waiting: anyio.CancelScope | None = None
        self._beside = 0
        self._beside_ended = anyio.Event()
        self._scope = anyio.CancelScope()
        self._entries: list[bytes] = []
        self._notes: list[bytes] = []
        self._history_start = len(thread.history)
        self._told = False
        self._context = TurnContext(
            thread_id=thread.id,
            turn_id=self.id,
            cwd=self._settings.cwd,
            base_profile=turn_profile(self._settings, thread.config),
            approval_policy=self._settings.approval_policy,
            items=self.items,
            approvals=thread.approvals,
            network=thread.network,
            config=thread.config,
            model=thread.model_info(self._settings.model),
            mode=self._settings.mode,
            publish=thread.events.publish,
            tell_model=self.tell_model,
            interrupted=lambda: self.ending,
            permission_profile=self._settings.permission_profile,
            goal=None if thread.ephemeral else thread.agenda.goal,
            pause=thread.pause,
        )

    def snapshot(self, view: str) -> bytes:
        """The turn as it stands now, as the wire's Turn; `view` as the wire's TurnItemsView."""
        return turn_json(self.row, () if view == "notLoaded" else self.items.snapshot(), view)

    def asking(self) -> AskingTurn:
        """The turn as one in which a question about the network can be put."""
        may_ask = self._context.approval_kind != "never"
        return AskingTurn(
            self.id, may_ask, lambda: not self.ending, lambda: self._interrupted, self.interrupt, self.tell_model
        )

    # What clients do to a running turn

    def interrupt(self) -> None:
        """The user stops the turn: it completes as interrupted, and nothing follows it by itself."""
        self.stopped = True
        self.stop()

    def stop(self) -> None:
        """What the turn waits for is dropped, its commands expire, and it completes as interrupted."""
        self._interrupted = True
        self._expire_commands(INTERRUPTED)
        self._thread.withdraw_questions()
        if self._waiting is not None:
            self._waiting.cancel()

    @property
    def ending(self) -> bool:
        """Whether the turn has done what it does; a message that comes now belongs to the next one."""
        return self._interrupted or self._done

    def steer(self, message: Message) -> None:
        """Give the turn a further message. Raises -32600 where nobody would read it."""
        raise invalid_request("the running turn takes no messages; wait for its end")

    def change_settings(self, changes: wire.TurnSettingsUpdateParams) -> None:
        """Change what the user chose, for the rest of this turn. Raises -32600 for an environment that there is not."""
        if changes.approvals_reviewer is not None:
            self.reviewer = reviewer_named(changes.approvals_reviewer)

    def join(self, work: Callable[[TurnContext], Awaitable[bytes]]) -> Callable[[], Awaitable[None]]:
        """Let something of the user's run beside what the turn does; the turn ends after it. Await the result.

        What `work` returns goes into the history.
        """
        self._beside += 1
        return partial(self._run_beside, work)

    async def _run_beside(self, work: Callable[[TurnContext], Awaitable[bytes]]) -> None:
        try:
            await self._thread.store(history=[await work(self._context)])
        finally:
            self._beside -= 1
            self._beside_ended.set()

    async def _wait_beside(self) -> None:
        """Until what runs beside the turn has ended, or a message or an interrupt comes."""
        while self._beside and not self._interrupted:
            with anyio.CancelScope() as self._waiting:
                await self._next_beside()
            waited, self._waiting = self._waiting, None
            if waited.cancelled_caught:
                return

    async def _next_beside(self) -> None:
        self._beside_ended = anyio.Event()
        await self._beside_ended.wait()

    def reads_again(self) -> None:
        """Something was added to the history that the model should read before the turn ends."""

    def tell_model(self, text: str) -> None:
        """A developer message, to be added after the outputs of the calls that are being answered."""
        self._notes.append(text_message("developer", text))

    @property
    def context(self) -> TurnContext:
        """What tools see of it."""
        return self._context

    @property
    def unsaved(self) -> Sequence[bytes]:
        """What is not in the thread's history yet."""
        return (*self._entries, *self._notes)

    def tell_raw(self, entries: Sequence[bytes]) -> None:
        """Tell what came into the history, to those who want it as it is; what it began with once it has started."""
        if self._told and self._thread.tells_raw:
            from app_server.threads.raw_events import tell_entries

            tell_entries(self._thread, self.id, entries)

    def after_call(self, work: Callable[[], None]) -> None:
        """Do something once the call that is being answered has its answer, or at once where there is none."""
        work()

    def _expire_commands(self, reason: str) -> None:
        for expiration in list(self._context.running):
            expiration.cancel(reason)

    def abandon(self) -> None:
        """Cancel everything at once, because the daemon ends."""
        self.stop()
        self._scope.cancel()

    # The life of the turn

    async def begin(self, context: Sequence[bytes], also: AlsoStored | None = None) -> None:
        """Store the turn and what it begins with, and do `also` in the same transaction.

        Once this returns, a crash leaves the turn as interrupted.
        """
        items: list[ItemRow] = []
        history = list(context)
        if self._message is not None and self._message_item is not None:
            items.append(self._item_row(encode(self._message_item), self._message_item))
            history += self._message.entries()
        await self._thread.store(turn=self.row, items=items, history=history, also=also)

    async def run(self) -> None:
        """From `turn/started` to `turn/completed`."""
        status: TurnStatus = "completed"
        error: TurnError | None = None
        try:
            self._thread.set_status("active")
            self._thread.events.publish_json(wire.TURN_STARTED, self._event())
            self._told = True
            self.tell_raw(self._thread.history[self._history_start :])
            if self._message_item is not None:
                self.items.tell(self._message_item, encode(self._message_item))
            with self._scope:
                await self._drive()
                await self._wait_beside()
            self._done = True
            if self._interrupted or self._scope.cancelled_caught:
                status = "interrupted"
        except TurnFailed as failure:
            status, error = "failed", failure.error
        except StoreError as failure:
            logger.error("turn %s cannot be stored: %s", self.id, failure)
            status, error = "failed", TurnError(message=str(failure), codex_error_info="other")
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(FINISH_SECONDS, shield=True):
                await self._finish("interrupted", None)
            raise
        except Exception:
            logger.exception("unforeseen error in turn %s", self.id)
            status, error = "failed", TurnError(message="internal error", codex_error_info="other")
        with anyio.move_on_after(FINISH_SECONDS, shield=True):
            await self._finish(status, error)

    async def _drive(self) -> None:
        """Do what the turn is for. Raises TurnFailed."""
        raise NotImplementedError

    async def _keep_unread(self) -> None:
        """Store what a client was told is taken, though the turn ends before it was used."""

    async def _add_message(self, message: Message) -> None:
        """Store and tell a message that came while the turn ran."""
        item = message.item()
        encoded = encode(item)
        await self._thread.store(items=[self._item_row(encoded, item)], history=message.entries())
        self.items.tell(item, encoded)

    async def _flush_history(self) -> None:
        entries, self._entries, self._notes = [*self._entries, *self._notes], [], []
        if entries:
            await self._thread.store(history=entries)

    def _publish_error(self, error: TurnError, *, will_retry: bool) -> None:
        params = wire.ErrorNotification(error=error, thread_id=self._thread.id, turn_id=self.id, will_retry=will_retry)
        self._thread.events.publish(wire.ERROR, params)

    async def _finish(self, status: TurnStatus, error: TurnError | None) -> None:
        """Close what is open, store the end, and tell it once."""
        self._done = True
        self.row = TurnRow(
            id=self.id,
            status=status,
            started_at_ms=self.row.started_at_ms,
            completed_at_ms=now_ms(),
            duration_ms=(monotonic_ns() - self._began) // 1_000_000,
            error=None if error is None else error.model_dump_json(),
        )
        try:
            self._expire_commands("the turn ended")
            while self._beside:
                await self._next_beside()
            await self.items.close_running()
            await self.items.close_open()
            await self._keep_unread()
            own = [*self._thread.history[self._history_start :], *self._entries]
            for call_id, custom in unanswered_calls(own):
                self._entries.append(aborted_output(call_id, custom=custom))
            if status == "interrupted":
                self._entries.append(text_message("user", INTERRUPTED_NOTICE))
            entries, self._entries, self._notes = [*self._entries, *self._notes], [], []
            await store_end(self._thread, self.row, entries, news=self.is_news and status != "interrupted")
            await self._thread.goal_after(self, error)
        except StoreError as failure:
            logger.error("the end of turn %s cannot be stored: %s", self.id, failure)
        finally:
            self._thread.turn_ended(self, "systemError" if status == "failed" else "idle")
            if error is not None:
                self._publish_error(error, will_retry=False)
            self._thread.events.publish_json(wire.TURN_COMPLETED, self._event())
            self.finished.set()

    def _event(self) -> bytes:
        answer = self.items.last_message if self.row.status == "completed" else None
        encoded = turn_json(self.row, [answer] if answer else (), "summary" if answer else "notLoaded")
        return b'{"threadId":%b,"turn":%b}' % (orjson.dumps(self._thread.id), encoded)

    def _item_row(self, encoded: bytes, item: Any) -> ItemRow:
        return ItemRow(self.id, item.id, item.type, encoded, item.started_at_ms, item.completed_at_ms)

    async def _persist_item(self, encoded: bytes, item: Any, history: Sequence[bytes]) -> None:
        await self._thread.store(items=[self._item_row(encoded, item)], history=history)


class RefusedTurn(Turn):
    """A turn that only says why it does nothing."""

    def __init__(self, thread: "Thread", reason: str) -> None:
        super().__init__(thread)
        self._reason = reason

    async def _drive(self) -> None:
        raise TurnFailed(TurnError(message=self._reason, codex_error_info="other"))
