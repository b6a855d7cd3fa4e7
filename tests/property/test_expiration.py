"""Expiration under every order of timeout, cancellation, completion and outer cancellation."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from app_server.exec.expiration import Expiration

Event = Literal["finish", "cancel:a", "cancel:b", "outer", "tick"]


@dataclass
class Outcome:
    """What was seen of one run."""

    body_ended: bool = False
    outer_caught: bool = False
    reason: str | None = None
    delivered: list[str] = field(default_factory=list[str])


async def _race(timeout: float | None, events: list[Event]) -> Outcome:
    outcome = Outcome()
    expiration = Expiration(timeout)
    finish = asyncio.Event()

    async def drive(outer: anyio.CancelScope) -> None:
        for event in events:
            outcome.delivered.append(event)
            match event:
                case "finish":
                    finish.set()
                case "cancel:a" | "cancel:b":
                    expiration.cancel(event)
                case "outer":
                    outer.cancel()
                case "tick":
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
        finish.set()

    with anyio.CancelScope() as outer:
        async with anyio.create_task_group() as group:
            group.start_soon(drive, outer)
            with expiration:
                await finish.wait()
                outcome.body_ended = True
    outcome.outer_caught = outer.cancelled_caught
    outcome.reason = expiration.reason
    return outcome


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([None, 0, 60]),
    st.lists(st.sampled_from(["finish", "cancel:a", "cancel:b", "outer", "tick"]), max_size=8),
)
def test_one_reason_is_given_and_it_is_the_first_that_applied(timeout: float | None, events: list[Event]) -> None:
    outcome = asyncio.run(_race(timeout, events))
    cancels = [event for event in events if event.startswith("cancel")]

    allowed: set[str | None] = {cancels[0]} if cancels else set()
    if timeout == 0:
        allowed.add("timeout")
    if outcome.body_ended or outcome.outer_caught:
        allowed.add(None)
    assert outcome.reason in allowed

    # The block ended for exactly one cause: its body, an expiry, or the outer scope.
    if outcome.reason is None:
        assert outcome.body_ended or outcome.outer_caught
    if "outer" not in events:
        assert not outcome.outer_caught
    if timeout == 60:
        assert outcome.reason != "timeout"
    first = next((event for event in events if event != "tick"), None)
    if first is not None and first.startswith("cancel") and timeout != 0:
        assert outcome.reason == first


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5), st.booleans())
def test_the_first_cancellation_wins_over_later_ones_and_over_a_due_timeout(reasons: list[str], due: bool) -> None:
    async def run() -> str | None:
        expiration = Expiration(0 if due else None)
        with expiration:
            for reason in reasons:
                expiration.cancel(reason)
            await anyio.sleep_forever()
        return expiration.reason

    assert asyncio.run(run()) == reasons[0]
