"""What threads do next, loaded or only stored: their goals, their queues, and going back."""

from typing import TYPE_CHECKING

from app_server.store.errors import TurnMissing
from app_server.store.reverting import remove_turns_from
from app_server.store.rows import ThreadRow
from app_server.threads.goal import Goal
from app_server.threads.queue import MessageQueue
from app_server.threads.sampling import Samples
from app_server.threads.storing import stored
from app_server.threads.thread import Thread
from app_server.threads.world import World
from protocol.jsonrpc import invalid_request

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager


class Course:
    """The part of the thread manager that is about the course of threads."""

    def __init__(self, threads: "ThreadManager", world: World) -> None:
        self._threads, self._world = threads, world
        self.samples = Samples()
        """What the model is being asked aside."""

    async def goal(self, thread_id: str) -> Goal:
        """The goal of a thread, loaded or stored. Raises -32600 for one that cannot have a goal."""
        await self._threads.row(thread_id)
        if (thread := self._threads.find(thread_id)) is not None:
            if thread.ephemeral:
                raise invalid_request(f"ephemeral thread does not support goals: {thread_id}")
            return thread.agenda.goal
        goal = Goal(thread_id, self._world.goals, self._world.broadcast)
        await goal.load()
        return goal

    async def queue(self, thread_id: str) -> MessageQueue:
        """The queue of a thread, loaded or stored. Raises -32600 for one that cannot have a queue."""
        await self._threads.row(thread_id)
        if (thread := self._threads.find(thread_id)) is not None:
            if thread.ephemeral:
                raise invalid_request(f"ephemeral thread does not support queued submissions: {thread_id}")
            return thread.agenda.queue
        return MessageQueue(thread_id, self._world.queues, _nobody_follows)

    async def revert(self, thread_id: str, turn_id: str) -> ThreadRow:
        """Take back a turn and all later ones; one that runs is interrupted first."""
        row = await self._threads.row(thread_id)
        if (thread := self._threads.find(thread_id)) is None:
            await self._remove_from(thread_id, turn_id)
            return row
        if thread.ephemeral:
            raise invalid_request("ephemeral threads do not support thread/revert")
        if not await self._world.thread_store.has_turn(thread_id, turn_id):
            raise invalid_request(f"turn not found: {turn_id}")
        thread.agenda.hold()
        self._world.terminals.kill(thread_id)
        await thread.stop()
        await self._world.terminals.close(thread_id)
        await self._remove_from(thread_id, turn_id)
        thread.replace_history(await self._world.thread_store.history(thread_id))
        return thread.row

    async def copy_goal(self, source_id: str, thread: Thread) -> None:
        """A copy of a thread has its goal too, and goes on with it once a turn was begun there."""
        goal = await self._world.goals.get(source_id)
        if goal is not None:
            await stored(self._world.goals.put(thread.id, goal))
            await thread.agenda.goal.load()
            thread.agenda.hold_goal()

    async def _remove_from(self, thread_id: str, turn_id: str) -> None:
        try:
            await stored(remove_turns_from(self._world.thread_store, thread_id, turn_id))
        except TurnMissing as error:
            raise invalid_request(f"turn not found: {error.turn_id}") from None


def _nobody_follows() -> None:
    pass
