"""Requests of one key run in arrival order; neighbouring shared ones run together."""

import anyio
from hypothesis import given
from hypothesis import strategies as st

from app_server.rpc.ordering import RequestOrder, Turnstile
from protocol.methods import Order

_requests = st.lists(
    st.tuples(st.sampled_from(("a", "b")), st.booleans(), st.integers(min_value=0, max_value=3)), max_size=14
)
"""Key, shared, and after how many steps it is done."""


class Log:
    """What began and ended, in order."""

    def __init__(self) -> None:
        self.running: list[int] = []
        self.began: list[int] = []
        self.together: list[frozenset[int]] = []

    async def run(self, number: int, steps: int) -> None:
        """One request."""
        self.began.append(number)
        self.running.append(number)
        self.together.append(frozenset(self.running))
        try:
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
        finally:
            self.running.remove(number)


def _run(requests: list[tuple[str, bool, int]], cancelled: frozenset[int] = frozenset()) -> Log:
    log = Log()

    async def main() -> None:
        order = RequestOrder()
        scopes: dict[int, anyio.CancelScope] = {}

        async def one(number: int, place: Turnstile, steps: int) -> None:
            with anyio.CancelScope() as scope:
                scopes[number] = scope
                if number in cancelled:
                    scope.cancel()
                async with place:
                    await log.run(number, steps)

        async with anyio.create_task_group() as tasks:
            for number, (key, shared, steps) in enumerate(requests):
                tasks.start_soon(one, number, order.enqueue(Order(key, shared)), steps)
        assert order.idle

    anyio.run(main)
    return log


@given(_requests)
def test_every_request_runs_and_those_of_one_key_begin_in_order(requests: list[tuple[str, bool, int]]) -> None:
    log = _run(requests)
    assert sorted(log.began) == list(range(len(requests)))
    for key in ("a", "b"):
        of_key = [number for number in log.began if requests[number][0] == key]
        assert of_key == sorted(of_key)


@given(_requests)
def test_an_exclusive_request_never_runs_beside_another_of_its_key(requests: list[tuple[str, bool, int]]) -> None:
    for running in _run(requests).together:
        for key in ("a", "b"):
            beside = [number for number in running if requests[number][0] == key]
            assert len(beside) <= 1 or all(requests[number][1] for number in beside)


@given(_requests, st.frozensets(st.integers(min_value=0, max_value=13)))
def test_a_cancelled_request_holds_up_nobody(requests: list[tuple[str, bool, int]], cancelled: frozenset[int]) -> None:
    log = _run(requests, cancelled)
    assert set(log.began) >= set(range(len(requests))) - cancelled


async def _both_run(first: Order, second: Order) -> bool:
    order = RequestOrder()
    places = order.enqueue(first), order.enqueue(second)
    entered: list[int] = []

    async def one(number: int) -> None:
        async with places[number]:
            entered.append(number)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        for number in (0, 1):
            tasks.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return entered == [0, 1]


async def test_two_shared_requests_run_together() -> None:
    assert await _both_run(Order("a", shared=True), Order("a", shared=True))


async def test_requests_of_two_keys_run_together() -> None:
    assert await _both_run(Order("a"), Order("b"))


async def test_a_shared_request_waits_for_an_exclusive_one_and_the_reverse() -> None:
    assert not await _both_run(Order("a"), Order("a", shared=True))
    assert not await _both_run(Order("a", shared=True), Order("a"))


async def test_a_request_that_never_ran_can_leave_its_place() -> None:
    order = RequestOrder()
    first, second = order.enqueue(Order("a")), order.enqueue(Order("a"))
    first.leave()
    first.leave()
    async with second:
        pass
    assert order.idle
