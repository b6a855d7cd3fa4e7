"""Limits on sandboxed commands, and how they are told to clients and to the model."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app_server.config.settings import CommandLimits
from app_server.exec.process import Process
from app_server.sandbox.permissions import read_only
from tests.sandbox.conftest import Jail, sleeping
from tests.support.rpc_client import Message
from tests.support.scripted_model import say, tool_call
from tests.support.stage import Stage, completed_items, run_turn, set_stage

STOPPED = "the command was stopped: it and what it started "
KILLED = 137

# Doubles itself as often as its argument says, each process in a session of its own, prints an x for each, and stays.
BOMB = """
printf x
if [ "$1" -gt 0 ]; then
  setsid /bin/sh -c "$0" "$0" $(($1 - 1)) &
  setsid /bin/sh -c "$0" "$0" $(($1 - 1)) &
fi
exec sleep 7654.5
"""


async def start(jail: Jail, *argv: str, limits: CommandLimits) -> Process:
    command = await jail.sandbox.wrap(argv, cwd=str(jail.workspace), env=os.environ, profile=read_only())
    return Process.spawn(command, cwd=str(jail.workspace), reaper=jail.reaper, limits=limits)


async def end(process: Process) -> tuple[int, str | None, bytes]:
    """Exit code, the limit that was hit, and standard output of a command run to its end."""
    out = b""
    async with process:
        async for stream, data in process:
            out += data if stream == "stdout" else b""
        code = await process.wait()
    return code, process.limit_hit, out


async def test_a_fork_bomb_meets_its_limit_and_nothing_of_it_is_left(jail: Jail) -> None:
    bomb = ("/bin/sh", "-c", BOMB, BOMB, "6")
    # It does go off where it may, and then the sandbox still ends all of it.
    process = await start(jail, *bomb, limits=CommandLimits(None, None, None))
    async with process:
        seen = b""
        while len(seen) < 127:
            chunk = await process.read()
            assert chunk is not None
            seen += chunk[1] if chunk[0] == "stdout" else b""
    assert process.limit_hit is None
    assert sleeping("7654.5") == []

    code, hit, _ = await end(await start(jail, *bomb, limits=CommandLimits(None, 40, None)))
    assert (code, hit) == (
        KILLED,
        STOPPED + "ran more than 40 processes and threads at once (command_limits.processes)",
    )
    assert sleeping("7654.5") == []


async def test_the_sandboxs_own_processes_do_not_count(jail: Jail) -> None:
    # As many as allowed run while they are looked at, since memory makes every look complete.
    script = "sleep 0.3 & sleep 0.3 & wait; echo fine"
    assert await end(await start(jail, "/bin/sh", "-c", script, limits=CommandLimits(500, 3, None))) == (
        0,
        None,
        b"fine\n",
    )


async def test_memory_of_a_sandboxed_command_is_limited(jail: Jail) -> None:
    script = "echo before; head -c 300000000 /dev/zero | tail | sleep 1000; echo after"
    assert await end(await start(jail, "/bin/sh", "-c", script, limits=CommandLimits(100, None, None))) == (
        KILLED,
        STOPPED + "used more than 100 MB of memory (command_limits.memory_mb)",
        b"before\n",
    )


async def test_processor_time_of_a_sandboxed_command_is_limited(jail: Jail) -> None:
    script = "setsid sh -c 'while :; do :; done' & setsid sh -c 'while :; do :; done' & wait"
    code, hit, _ = await end(await start(jail, "/bin/sh", "-c", script, limits=CommandLimits(None, None, 1)))
    assert (code, hit) == (KILLED, STOPPED + "used more than 1 s of processor time (command_limits.cpu_seconds)")


@pytest.fixture
async def stage(jail: Jail, tmp_path: Path) -> AsyncIterator[Stage]:
    del jail  # only for its skip

    def limits(_: str) -> str:
        return "[command_limits]\nmemory_mb = 100"

    async with set_stage(tmp_path, more=limits) as stage:
        yield stage


TOO_MUCH = "head -c 300000000 /dev/zero | tail | sleep 1000"
TOLD = STOPPED + "used more than 100 MB of memory (command_limits.memory_mb)"


async def test_a_client_is_told_of_the_limit_on_stderr(stage: Stage) -> None:
    client = await stage.client()
    for policy in ({"type": "readOnly"}, {"type": "dangerFullAccess"}):
        params: dict[str, Any] = {"command": ["/bin/sh", "-c", TOO_MUCH], "sandboxPolicy": policy}
        assert await client.call("command/exec", params) == {"exitCode": KILLED, "stdout": "", "stderr": TOLD + "\n"}


async def test_the_model_is_told_of_the_limit_in_the_output(stage: Stage) -> None:
    client = await stage.client()
    stage.model.script(tool_call("exec_command", {"cmd": TOO_MUCH}, call_id="call"))
    stage.model.script(say("oh"))
    thread = await stage.thread(client)
    turn = await run_turn(client, thread)
    output: list[Message] = [each for each in stage.model.requests[1]["input"] if each.get("call_id") == "call"]
    assert TOLD in output[-1]["output"]
    item = next(item for item in completed_items(client, turn["id"]) if item["type"] == "commandExecution")
    assert (item["status"], item["exitCode"]) == ("failed", KILLED)
    assert TOLD in item["aggregatedOutput"]


async def test_the_users_own_process_is_limited_too(stage: Stage) -> None:
    client = await stage.client()
    params = {"command": ["/bin/sh", "-c", TOO_MUCH], "cwd": str(stage.cwd), "processHandle": "p"}
    await client.call("process/spawn", params)
    told = (await client.until("process/exited"))["params"]
    assert (told["exitCode"], told["stderr"]) == (KILLED, TOLD + "\n")
