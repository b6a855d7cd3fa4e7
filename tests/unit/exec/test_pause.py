"""Time that stands still while somebody holds it."""

import anyio
import pytest

from app_server.exec.pause import Pause


async def test_time_stands_still_until_the_last_holder_lets_go() -> None:
    pause = Pause()
    await pause.released()
    pause.hold()
    pause.hold()
    pause.release()
    assert pause.held
    waited: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await pause.released()
            waited.append("released")

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert waited == []
        pause.release()
    assert waited == ["released"]
    assert not pause.held


async def test_held_time_is_counted_once_however_many_hold_it() -> None:
    pause = Pause()
    assert pause.seconds == 0
    pause.hold()
    pause.hold()
    first = pause.seconds
    while pause.seconds == first:
        await anyio.lowlevel.checkpoint()
    pause.release()
    pause.release()
    counted = pause.seconds
    assert counted > first
    await anyio.lowlevel.checkpoint()
    assert pause.seconds == counted


def test_what_nobody_holds_cannot_be_released() -> None:
    pause = Pause()
    with pytest.raises(ValueError, match="nobody"):
        pause.release()
    assert pause.holders == 0
