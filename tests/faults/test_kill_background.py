"""kill -9 while commands run in the background: nothing of them lives on, and their items end as failed."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.support.daemon import running_daemon
from tests.support.scripted_model import tool_call
from tests.support.stage import completed_items, run_turn, set_stage

GONE_SECONDS = 10.0
"""How long the processes of a killed daemon may take to end."""


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
async def test_nothing_of_a_killed_daemons_terminals_lives_on(tmp_path: Path, sandbox: str) -> None:
    mark = f"86400.{os.getpid()}{abs(hash(sandbox)) % 1000}"
    script = f"echo ready; (setsid sleep {mark}1 &); sleep {mark}2 & sleep {mark}3"
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client, sandbox=sandbox)
        calls: list[dict[str, Any]] = [{"cmd": script, "tty": tty, "yield_time_ms": 250} for tty in (False, True)]
        stage.model.script(*(tool_call("exec_command", call, f"call_{at}") for at, call in enumerate(calls)))
        turn = await run_turn(client, thread)
        assert [item for item in completed_items(client, turn["id"]) if item["type"] == "commandExecution"] == []
        while len(processes_with(mark)) < 6:
            await anyio.lowlevel.checkpoint()
        stage.daemon.signal(signal.SIGKILL)
        await client.closed.wait()
        with anyio.fail_after(GONE_SECONDS):
            while processes_with(mark):
                await anyio.lowlevel.checkpoint()
        async with running_daemon(stage.home) as daemon, daemon.client() as again:
            await again.initialize()
            (turn,) = (await again.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
            assert turn["status"] == "completed"
            items = [item for item in turn["items"] if item["type"] == "commandExecution"]
            assert sorted((item["id"], item["status"]) for item in items) == [
                ("call_0", "failed"),
                ("call_1", "failed"),
            ]
            assert all(item["completedAtMs"] is not None for item in items)
            await again.call("thread/resume", {"threadId": thread})
            listed = await again.call("thread/backgroundTerminals/list", {"threadId": thread})
            assert listed == {"data": [], "nextCursor": None}


def processes_with(mark: str) -> set[int]:
    """The sleeping processes whose command line holds `mark`."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"sleep" and mark.encode() in words[1]:
            found.add(int(folder.name))
    return found
