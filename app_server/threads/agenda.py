"""What an idle thread does by itself: it sends the next message of its queue, else it goes on with its goal."""

import logging
from typing import TYPE_CHECKING

import anyio

from app_server.rpc.connection import Connection
from app_server.store.errors import StoreError, ThreadInUse, ThreadMissing
from app_server.store.queues import QueuedMessage, QueuedMissing
from app_server.threads.goal import Goal
from app_server.threads.queue import MessageQueue, parsed_input
from protocol.jsonrpc import RpcError, invalid_request

if TYPE_CHECKING:
    from app_server.threads.thread import Thread
    from app_server.threads.turn import Turn

logger = logging.getLogger(__name__)


class Agenda:
    """The queue and the goal of one loaded thread, and the decision what comes next.

    `beginning` is held by whoever looks whether a turn runs in order to begin one.
    """

    def __init__(self, thread: "Thread", queue: MessageQueue, goal: Goal, *, waits: bool) -> None:
        """`waits` keeps the thread idle until somebody who may drive it has come."""
        self._thread, self.queue, self.goal = thread, queue, goal
        self.beginning = anyio.Lock()
        self._asleep = waits
        self._queue_waits = self._goal_waits = self._closed = False

    def close(self) -> None:
        """Begin nothing more by itself."""
        self._closed = True

    def hold(self) -> None:
        """Begin nothing until a turn that somebody else begins has ended."""
        self._queue_waits = self._goal_waits = True

    def hold_goal(self) -> None:
        """Let the goal wait until a turn has ended, or until `release_goal`."""
        self._goal_waits = True

    def release_goal(self) -> None:
        """Somebody wants the thread to go on with its goal."""
        self._goal_waits = self._asleep = False

    def _release(self) -> None:
        self._queue_waits = self._goal_waits = self._asleep = False

    def joined(self, connection: Connection) -> None:
        """Tell a client that has just begun to follow how the goal stands; one that may drive the thread wakes it."""
        if (frame := self.goal.frame()) is not None:
            connection.push(frame)
        if self._asleep and "act" in connection.scope.access:
            self._asleep = False
            self.go_on_soon()

    def go_on_soon(self) -> None:
        """Look for something to do, beside what the caller does."""
        self._thread.spawn(self.go_on)

    async def turn_ended(self, turn: "Turn") -> None:
        """Go on after a turn, unless the user has stopped it."""
        if turn.stopped:
            self._queue_waits, self._asleep = True, False
        else:
            self._release()
        await self.go_on()

    async def go_on(self) -> None:
        """Begin the next turn if the thread is idle and has something to do."""
        async with self.beginning:
            thread = self._thread
            if self._closed or self._asleep or thread.ephemeral or not await thread.settled():
                return
            try:
                message = None if self._queue_waits else await self.queue.first()
            except ThreadMissing:
                return  # It was deleted meanwhile.
            if message is not None:
                await self._send(message)
            elif self.goal.active and not self._goal_waits and thread.settings.mode != "plan":
                await self._pursue()

    async def start_queued(self, message_id: str | None) -> "Turn":
        """Send a message of the queue now, the first one if none is named. Raises -32600 where that cannot be."""
        async with self.beginning:
            message = await self.queue.first() if message_id is None else await self.queue.find(message_id)
            if message is None:
                raise invalid_request("queue is empty")
            if not await self._thread.settled():
                raise invalid_request("thread already has an active or pending turn")
            try:
                return await self._thread.start_queued_turn(message, parsed_input(message))
            except QueuedMissing as error:
                raise invalid_request(str(error)) from None

    async def _send(self, message: QueuedMessage) -> None:
        try:
            await self._thread.start_queued_turn(message, parsed_input(message))
        except QueuedMissing:
            self.go_on_soon()
        except (RpcError, StoreError, ThreadInUse, ThreadMissing) as error:
            self._queue_waits = True
            self._say(f"A queued message could not be sent and still waits: {_reason(error)}")
        else:
            self.queue.changed()

    async def _pursue(self) -> None:
        try:
            await self._thread.start_goal_turn()
        except (RpcError, StoreError, ThreadInUse, ThreadMissing) as error:
            self._goal_waits = True
            self._say(f"The goal of this thread cannot go on: {_reason(error)}")

    def _say(self, message: str) -> None:
        logger.warning("thread %s: %s", self._thread.id, message)
        self._thread.warn(message)


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, RpcError) else str(error)
