"""Terminals and interrupts of confined commands, with every backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable
from tests.sandbox.backends import BACKENDS, backend_named
from tests.unit.tools.command_bench import Bench, output_of, session_of


@pytest.fixture(params=BACKENDS)
async def confined(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Commands that may write their own folder only."""
    backend = backend_named(request.param)
    try:
        await backend.available()
    except SandboxUnavailable as error:
        pytest.skip(f"{request.param}: {error}")
    async with Reaper() as reaper, anyio.create_task_group() as tasks:
        bench = Bench(tmp_path, reaper, tasks, backend)
        bench.with_turn("never", workspace_write([str(tmp_path)]))
        yield bench
        await bench.terminals.shutdown()


async def test_a_confined_command_is_interrupted_and_may_say_goodbye(confined: Bench) -> None:
    script = "trap 'echo asked; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    report = await confined.run(script, yield_time_ms=1_000)
    assert output_of(report) == "ready\n"
    report = await confined.write(session_of(report), "\x03", yield_time_ms=30_000)
    assert "Process exited with code 9\n" in report
    assert output_of(report) == "asked\n"


async def test_an_interrupt_ends_what_does_not_listen(confined: Bench) -> None:
    session = session_of(await confined.run("sleep 86400 | cat; echo never", yield_time_ms=500))
    report = await confined.write(session, "\x03", yield_time_ms=30_000)
    assert "Process exited with code 130\n" in report


async def test_a_confined_terminal_is_typed_into(confined: Bench) -> None:
    session = session_of(await confined.run("stty size; read word; echo got $word; cat", tty=True, yield_time_ms=500))
    report = await confined.write(session, "hello\n", yield_time_ms=500)
    assert "got hello" in output_of(report)
    report = await confined.write(session, "\x03", yield_time_ms=30_000)
    assert "Process exited with code 130\n" in report
    shown = confined.clients.of("completed")[0].aggregated_output
    assert shown.startswith("24 80\r\n")


async def test_a_confined_command_in_the_background_writes_where_it_may(confined: Bench) -> None:
    script = "read word; echo in > in; echo out > /var/tmp/turnloom-out; echo $?"
    session = session_of(await confined.run(script, tty=True, yield_time_ms=500))
    report = await confined.write(session, "\n", yield_time_ms=30_000)
    assert output_of(report).endswith("1\r\n")
    assert (confined.cwd / "in").read_text() == "in\n"
