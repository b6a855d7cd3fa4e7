"""What 200 mixed operations leave behind in the daemon: nothing."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from anyio.abc import Process

from app_server.app import App
from app_server.store.ids import uuid7
from app_server.telemetry import log
from app_server.transport.listen import ServerOptions, UnixSocket
from tests.support.daemon import Daemon
from tests.support.home import make_home
from tests.support.rpc_client import RpcClient
from tests.support.scripted_model import ScriptedModel, drop, gate, partial, say, status, tool_call
from tests.support.stage import Stage, begin, ended, run_turn, set_stage

ROUNDS = 20
WORKER_THREADS = 40
"""What anyio keeps at most for blocking work; the database, the watcher and the loop have their own."""


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind: sockets and pipes have numbers that say nothing."""
    found: Counter[str] = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        found[target.split("[")[0] if target.startswith(("socket:", "pipe:", "anon_inode:")) else target] += 1
    return found


def children(pid: int) -> list[int]:
    """Child processes, the ended but unreaped ones included."""
    words: list[str] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread may end meanwhile.
        with suppress(FileNotFoundError):
            words += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return [int(word) for word in words]


def threads(pid: int) -> int:
    """Operating-system threads."""
    return len(os.listdir(f"/proc/{pid}/task"))


async def operations(stage: Stage, client: RpcClient, other: RpcClient) -> None:
    """Ten operations of different kinds, finished and aborted ones."""
    model = stage.model
    model.script(tool_call("exec_command", {"cmd": "echo hi; sleep 86400 & exit 0"}))
    model.script(say("done", deltas=5))
    thread = await stage.thread(client)
    await run_turn(client, thread)
    model.script(partial("half"), gate(anyio.Event()))
    turn_id = await begin(client, thread)
    await client.until("item/agentMessage/delta")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    await ended(client, turn_id)
    model.script(tool_call("exec_command", {"cmd": "echo begun; setsid sleep 86400"}))
    turn_id = await begin(client, thread)
    await client.until("item/commandExecution/outputDelta")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    await ended(client, turn_id)
    model.script(partial("half"), drop())
    await run_turn(client, thread)
    model.script(status(400))
    await run_turn(client, thread)
    await client.call("command/exec", {"command": ["sh", "-c", "sleep 86400 & echo hi"]})
    await client.call("command/exec", {"command": ["sleep", "86400"], "timeoutMs": 10})
    await client.try_call("command/exec", {"command": ["no such program"]})
    name = uuid7()
    tty: dict[str, Any] = {"command": ["sh", "-c", "echo up; sleep 86400"], "tty": True, "processId": name}
    running = await client.post("command/exec", {**tty, "streamStdoutStderr": True})
    await client.until("command/exec/outputDelta", lambda p: p["processId"] == name)
    await client.call("command/exec/terminate", {"processId": name})
    await client.answer_to(running)
    watch = await other.try_call("fs/watch", {"path": str(stage.cwd), "watchId": name})
    if "result" in watch:
        await other.call("fs/unwatch", {"watchId": name})
    await other.call("thread/resume", {"threadId": thread})
    fork = (await other.call("thread/fork", {"threadId": thread}))["thread"]["id"]
    await other.call("thread/delete", {"threadId": fork})
    async with stage.daemon.client() as passing:
        await passing.initialize("passing")
        await passing.call("thread/resume", {"threadId": thread})
        await passing.post("command/exec", {"command": ["sleep", "86400"], "disableTimeout": True})
        model.script(partial("half"), gate(anyio.Event()))
        await begin(passing, thread)
        await passing.until("turn/started")
    await client.call("thread/archive", {"threadId": thread})
    await client.call("thread/unarchive", {"threadId": thread})
    await client.call("thread/delete", {"threadId": thread})
    await client.try_call("thread/read", {"threadId": thread})


async def settled(stage: Stage, client: RpcClient, wanted: Counter[str]) -> Counter[str]:
    """The daemon's descriptors, once they are as `wanted` or stay otherwise after many more requests."""
    for _ in range(300):
        now = await anyio.to_thread.run_sync(descriptors, stage.daemon.pid)
        if now <= wanted and not children(stage.daemon.pid):
            return now
        await client.call("thread/list")
        await anyio.sleep(0.01)
    return await anyio.to_thread.run_sync(descriptors, stage.daemon.pid)


async def test_200_operations_leave_no_descriptor_process_or_thread_behind(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client, other = await stage.client(), await stage.client()
        for _ in range(2):
            await operations(stage, client, other)
        await anyio.lowlevel.checkpoint()
        # Connections to the model stay open for the next question, so the peak of a few rounds is the measure.
        before = await anyio.to_thread.run_sync(descriptors, stage.daemon.pid)
        allowed = before + Counter({"socket:": 2})
        for _ in range(ROUNDS):
            await operations(stage, client, other)
        after = await settled(stage, client, allowed)
        assert after - allowed == Counter()
        assert children(stage.daemon.pid) == []
        assert threads(stage.daemon.pid) <= WORKER_THREADS + 5
        assert (await client.call("thread/loaded/list"))["data"] == []
        assert "Traceback" not in stage.daemon.stderr
        assert "ERROR" not in stage.daemon.stderr


def tasks() -> Counter[str]:
    """The tasks of this process by the function that each runs.

    Those of the watcher of files come and go with the folders that it watches; their number is bounded by itself.
    """
    names = (task.get_name() for task in asyncio.all_tasks())
    return Counter(name for name in names if not name.startswith(("Task-", "app_server.files.watch.")))


async def test_200_operations_leave_no_task_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with the daemon in this process, where its tasks can be counted."""
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        monkeypatch.setenv("CODEX_HOME", str(home))
        address = f"unix://{tmp_path}/socket"
        daemon = Daemon(cast("Process", Here()))
        daemon.url = address
        listening = anyio.Event()

        def heard(_text: str) -> None:
            listening.set()

        monkeypatch.setattr(log, "notice", heard)
        async with anyio.create_task_group() as group:
            group.start_soon(App(ServerOptions(listen=UnixSocket(tmp_path / "socket"))).serve)
            await listening.wait()
            async with Stage(model, home, tmp_path, daemon) as stage:
                client, other = await stage.client(), await stage.client()
                await operations(stage, client, other)
                before = tasks()
                assert any("app_server" in name for name in before)
                for _ in range(ROUNDS):
                    await operations(stage, client, other)
                after = tasks()
                for _ in range(300):
                    if after <= before:
                        break
                    await client.call("thread/list")
                    after = tasks()
                assert after - before == Counter()
            signal.raise_signal(signal.SIGTERM)
        assert [name for name in tasks() if "app_server" in name] == []


class Here:
    """Stands for the process of a daemon that runs in this one."""

    pid = os.getpid()
