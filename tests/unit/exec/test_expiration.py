"""What ends a command, and which reason it is given."""

import anyio
import anyio.lowlevel
import pytest

from app_server.exec.expiration import Expiration


async def test_a_block_that_ends_by_itself_has_no_reason() -> None:
    expiration = Expiration(60)
    with expiration:
        await anyio.lowlevel.checkpoint()
    assert expiration.reason is None
    assert not expiration.timed_out


async def test_a_timeout_ends_the_block_without_raising() -> None:
    expiration = Expiration(0.001)
    with expiration:
        await anyio.sleep_forever()
    assert expiration.reason == "timeout"
    assert expiration.timed_out


async def test_a_timeout_of_zero_ends_the_block_at_its_first_wait() -> None:
    expiration = Expiration(0)
    with expiration:
        await anyio.sleep_forever()
    assert expiration.timed_out


async def test_another_task_may_cancel_and_its_reason_is_kept() -> None:
    expiration = Expiration(None)
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel, expiration, "denied", "interrupted")
        with expiration:
            await anyio.sleep_forever()
    assert expiration.reason == "denied"
    assert not expiration.timed_out


async def test_a_cancellation_before_entry_ends_the_block_at_its_first_wait() -> None:
    expiration = Expiration(None)
    expiration.cancel("gone")
    with expiration:
        await anyio.sleep_forever()
    assert expiration.reason == "gone"


async def test_a_cancellation_wins_over_a_timeout_that_fell_due_at_the_same_time() -> None:
    expiration = Expiration(0)
    with expiration:
        expiration.cancel("interrupted")
        await anyio.sleep_forever()
    assert expiration.reason == "interrupted"


async def test_a_cancellation_after_a_timeout_or_an_ordinary_end_changes_nothing() -> None:
    late = Expiration(0)
    with late:
        await anyio.sleep_forever()
    late.cancel("too late")
    assert late.reason == "timeout"

    done = Expiration(None)
    with done:
        pass
    done.cancel("too late")
    assert done.reason is None


async def test_an_outer_cancellation_passes_through_and_is_no_expiration() -> None:
    expiration = Expiration(60)
    reached = False
    with anyio.CancelScope() as outer, expiration:
        outer.cancel()
        await anyio.sleep_forever()
        reached = True
    assert not reached
    assert outer.cancelled_caught
    assert expiration.reason is None


async def test_an_error_in_the_block_is_raised() -> None:
    with pytest.raises(LookupError), Expiration(60):
        raise LookupError


async def test_an_expiration_cannot_be_used_twice() -> None:
    expiration = Expiration(None)
    with expiration:
        pass
    with pytest.raises(RuntimeError, match="once"), expiration:
        pass


async def _cancel(expiration: Expiration, *reasons: str) -> None:
    for reason in reasons:
        expiration.cancel(reason)
