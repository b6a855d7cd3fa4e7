"""A denial of the network ends its command wherever it runs: the whole tree at once, and nothing stays behind."""

import base64
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import anyio.to_thread
import pytest
from anyio.abc import Process

from app_server.app import App
from app_server.telemetry import log
from app_server.transport.listen import ServerOptions, UnixSocket
from tests.faults.test_leaks import WORKER_THREADS, Here, children, descriptors, tasks, threads
from tests.sandbox.attempts import end_marked, marked
from tests.sandbox.backends import BACKENDS, usable_backends
from tests.support.daemon import Daemon, running_daemon
from tests.support.home import make_home
from tests.support.networked import OPEN, answer, asked, done, output, poll, questions, run, session, without_bubblewrap
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel
from tests.support.stage import Stage, begin, ended, run_turn

TREE = """
import os, signal, sys, time, urllib.request

host, go = sys.argv[1:3]

def sleep():
    time.sleep(86400)

def deaf():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)

if os.fork() == 0:  # in a session of its own, with a child that ignores every signal
    os.setsid()
    if os.fork() == 0:
        deaf()
        sleep()
    sleep()
if os.fork() == 0:  # nobody's child
    if os.fork() == 0:
        deaf()
        os.setsid()
        sleep()
    os._exit(0)
print("so far", flush=True)
open(go).read()
try:
    urllib.request.urlopen(f"http://{host}/")
except OSError:
    pass
sleep()
"""

RULES = """
[features.network_proxy]
enabled = true
on_denial = "terminate"
[features.network_proxy.domains]
"denied.test" = "deny"
"""

SETTINGS: dict[str, object] = {"approval_policy": "on-request", "sandbox_mode": "workspace-write"}

POLICY = {"type": "workspaceWrite", "networkAccess": True, "excludeSlashTmp": True, "excludeTmpdirEnvVar": True}

Who = Literal["the rules", "the user"]
"""Who says no."""

HOSTS: dict[Who, str] = {"the rules": "denied.test", "the user": "unlisted.test"}

_numbers = count()


class Tree:
    """One hostile tree: `cmd` grows it, and `go` lets it reach for the network."""

    def __init__(self, cwd: Path, who: Who) -> None:
        self.who = who
        self.mark = f"denied-{os.getpid()}-{next(_numbers)}"
        self._go = cwd / f"go-{self.mark}"
        program = cwd / "tree.py"
        program.write_text(TREE)
        os.mkfifo(self._go)
        self.cmd = f"exec {sys.executable} -I -S {program} {HOSTS[who]} {self._go} {self.mark}"

    async def go(self) -> None:
        await anyio.to_thread.run_sync(self._go.write_text, "go")

    def check(self, kept: str) -> None:
        """It is told to be over: nothing of it is there, and what it has said was kept."""
        left = marked(self.mark)
        end_marked(self.mark)
        assert left == []
        assert kept.startswith("so far\n"), kept
        assert kept.endswith("rejected by user" if self.who == "the user" else "from this prompt."), kept


class Commands:
    """Runs trees in the places where commands run, and has each denied."""

    def __init__(self, stage: Stage, client: RpcClient) -> None:
        self.stage, self.client = stage, client

    async def _thread(self) -> str:
        return await self.stage.thread(self.client)

    async def _denied(self, tree: Tree, item_id: str) -> Message:
        """Let it reach for the network, and give its item once that is over."""
        before = len(questions(self.client))
        await tree.go()
        if tree.who == "the user":
            await answer(self.client, await asked(self.client, before), "decline")
        item = await done(self.client, item_id)
        tree.check(item["aggregatedOutput"])
        assert (item["status"], item["exitCode"]) == ("failed", -1)
        return item

    async def _runs(self, item_id: str) -> None:
        await self.client.until("item/commandExecution/outputDelta", lambda params: params["itemId"] == item_id)

    async def during_the_call(self, tree: Tree) -> None:
        thread = await self._thread()
        self.stage.model.script(run(tree.cmd, tree.mark, yield_time_ms=30_000))
        turn = await begin(self.client, thread)
        await self._runs(tree.mark)
        await self._denied(tree, tree.mark)
        await ended(self.client, turn)
        assert output(self.stage.model.requests[-1], tree.mark).startswith("exec_command failed: ")
        await self._end(thread)

    async def at_a_poll(self, tree: Tree) -> None:
        thread, polled = await self._thread(), anyio.Event()

        def wait_for_it(request: Any) -> Any:
            polled.set()
            return [poll(session(request, tree.mark), yield_time_ms=60_000)]

        self.stage.model.script(run(tree.cmd, tree.mark, yield_time_ms=250))
        self.stage.model.script(wait_for_it)
        turn = await begin(self.client, thread)
        await self._runs(tree.mark)
        await polled.wait()
        await self._denied(tree, tree.mark)
        await ended(self.client, turn)
        assert output(self.stage.model.requests[-1], "call_p").startswith("write_stdin failed: Unified exec process ")
        await self._end(thread)

    async def that_nobody_polls(self, tree: Tree) -> None:
        thread = await self._thread()
        self.stage.model.script(run(tree.cmd, tree.mark, yield_time_ms=250))
        await run_turn(self.client, thread)
        await self._runs(tree.mark)
        # After the turn nobody can be asked.
        assert tree.who == "the rules"
        await self._denied(tree, tree.mark)
        await self._end(thread)

    async def of_the_user(self, tree: Tree) -> None:
        thread = await self._thread()
        await self.client.call("thread/shellCommand", {"threadId": thread, "command": tree.cmd})
        delta = await self.client.until(
            "item/commandExecution/outputDelta", lambda params: params["threadId"] == thread
        )
        await self._denied(tree, delta["params"]["itemId"])
        await ended(self.client, delta["params"]["turnId"])
        await self._end(thread)

    async def of_a_client(self, tree: Tree) -> None:
        policy = {**POLICY, "writableRoots": [str(self.stage.cwd)]}
        params = {"command": ["bash", "-c", tree.cmd], "processId": tree.mark, "streamStdoutStderr": True}
        call = await self.client.post("command/exec", {**params, "disableTimeout": True, "sandboxPolicy": policy})
        await self.client.until("command/exec/outputDelta", lambda params: params["processId"] == tree.mark)
        assert tree.who == "the rules"
        await tree.go()
        result = (await self.client.answer_to(call))["result"]
        shown = b"".join(
            base64.b64decode(told["params"]["deltaBase64"])
            for told in self.client.notifications("command/exec/outputDelta")
            if told["params"]["processId"] == tree.mark
        )
        tree.check(shown.decode().rstrip())
        assert result["exitCode"] == 137

    async def _end(self, thread: str) -> None:
        listed = await self.client.call("thread/backgroundTerminals/list", {"threadId": thread})
        assert listed["data"] == []
        await self.client.call("thread/delete", {"threadId": thread})


PLACES: list[tuple[str, Who]] = [
    ("during_the_call", "the rules"),
    ("during_the_call", "the user"),
    ("at_a_poll", "the rules"),
    ("at_a_poll", "the user"),
    ("that_nobody_polls", "the rules"),
    ("of_the_user", "the rules"),
    ("of_the_user", "the user"),
    ("of_a_client", "the rules"),
]

ROUNDS = 6
"""In all places each, once it has been done once."""


async def deny_everywhere(commands: Commands) -> None:
    """One tree in each place."""
    for place, who in PLACES:
        await getattr(commands, place)(Tree(commands.stage.cwd, who))


@asynccontextmanager
async def stage_in(folder: Path, backend: str = "bubblewrap") -> AsyncGenerator[Stage]:
    if isinstance(reason := (await usable_backends())[backend], str):
        pytest.skip(f"NO {backend.upper()} HERE, ITS TESTS DO NOT RUN: {reason}")
    variables = {"PATH": without_bubblewrap(folder)} if backend == "landlock" else {}
    async with ScriptedModel() as model:
        home = make_home(folder / "home", model.url, settings=SETTINGS, more=OPEN + RULES)
        cwd = folder / "project"
        cwd.mkdir()
        async with running_daemon(home, **variables) as daemon, Stage(model, home, cwd, daemon) as stage:
            yield stage


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("place", "who"), PLACES)
async def test_the_whole_tree_is_dead_when_the_end_is_told_and_its_output_is_kept(
    tmp_path: Path, place: str, who: Who, backend: str
) -> None:
    async with stage_in(tmp_path, backend) as stage:
        commands = Commands(stage, await stage.client())
        for _ in range(3):
            await getattr(commands, place)(Tree(stage.cwd, who))


@pytest.mark.timeout(180)
async def test_denials_leave_no_descriptor_process_or_thread_behind(tmp_path: Path) -> None:
    async with stage_in(tmp_path) as stage:
        client = await stage.client()
        commands = Commands(stage, client)
        for _ in range(2):
            await deny_everywhere(commands)
        pid = stage.daemon.pid
        before, known = await anyio.to_thread.run_sync(descriptors, pid), set(children(pid))
        for _ in range(ROUNDS):
            await deny_everywhere(commands)
        after = await anyio.to_thread.run_sync(descriptors, pid)
        with anyio.move_on_after(30):
            while not after <= before:
                # What is being closed, as a watch of files that is replaced by another, tells nobody when it is.
                await anyio.sleep(0.05)
                after = await anyio.to_thread.run_sync(descriptors, pid)
        assert after - before == Counter()
        assert set(children(pid)) <= known
        assert threads(pid) <= WORKER_THREADS + 5
        assert "Traceback" not in stage.daemon.stderr


@pytest.mark.timeout(180)
async def test_denials_leave_no_task_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with the daemon in this process, where its tasks can be counted."""
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url, settings=SETTINGS, more=OPEN + RULES)
        monkeypatch.setenv("CODEX_HOME", str(home))
        daemon = Daemon(cast("Process", Here()))
        daemon.url = f"unix://{tmp_path}/socket"
        listening = anyio.Event()

        def heard(_text: str) -> None:
            listening.set()

        monkeypatch.setattr(log, "notice", heard)
        async with anyio.create_task_group() as group:
            group.start_soon(App(ServerOptions(listen=UnixSocket(tmp_path / "socket"))).serve)
            await listening.wait()
            async with Stage(model, home, tmp_path, daemon) as stage:
                client = await stage.client()
                commands = Commands(stage, client)
                await deny_everywhere(commands)
                before = tasks()
                for _ in range(2):
                    await deny_everywhere(commands)
                after = tasks()
                for _ in range(300):
                    if after <= before:
                        break
                    await client.call("thread/list")
                    after = tasks()
                assert after - before == Counter()
            signal.raise_signal(signal.SIGTERM)
        assert [name for name in tasks() if "app_server" in name] == []
