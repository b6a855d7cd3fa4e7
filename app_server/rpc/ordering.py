"""Requests that touch the same thing run in the order in which they arrived."""

from collections import deque
from types import TracebackType

import anyio

from protocol.methods import Order


class Turnstile:
    """A request's place in its queue, taken on arrival. Entering waits for the requests before it."""

    def __init__(self, queues: dict[str, deque["Turnstile"]], order: Order) -> None:
        self._queues, self._order = queues, order
        self._open = anyio.Event()
        queue = queues.setdefault(order.key, deque())
        queue.append(self)
        self._advance(queue)

    async def __aenter__(self) -> None:
        try:
            await self._open.wait()
        except BaseException:
            self.leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def is_open(self) -> bool:
        """Whether the request may run."""
        return self._open.is_set()

    def leave(self) -> None:
        """Let the next one pass; also for a request that never ran."""
        queue = self._queues.get(self._order.key)
        if queue is None or self not in queue:
            return
        queue.remove(self)
        if queue:
            self._advance(queue)
        else:
            del self._queues[self._order.key]

    @staticmethod
    def _advance(queue: deque["Turnstile"]) -> None:
        for place, waiting in enumerate(queue):
            if place > 0 and not waiting._order.shared:
                break
            waiting._open.set()
            if not waiting._order.shared:
                break


class RequestOrder:
    """Per-key FIFO in which neighbouring shared requests run together."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Turnstile]] = {}

    @property
    def idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._queues

    @property
    def waiting(self) -> int:
        """How many requests wait for others."""
        return sum(not place.is_open for queue in self._queues.values() for place in queue)

    def enqueue(self, order: Order) -> Turnstile:
        """Take the next place under `order.key`. Synchronous, so that arrival order is queue order."""
        return Turnstile(self._queues, order)
