"""How long a denial of the network takes to end a command: from the decision to the last process of its tree dead.

Run it with `python -m tests.bench.denial_latency [--runs N] [--json] [--place NAME]`. Each run is a hostile little
tree, with children that ignore SIGTERM and one that has left the session, in each of the places where commands run.
"""

import argparse
import json
import os
import select
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from tests.support.rpc_client import RpcClient
from tests.support.scripted_model import Part, say, tool_call
from tests.support.stage import Stage, begin, ended, set_stage

POLICY = {"type": "workspaceWrite", "networkAccess": True, "excludeSlashTmp": True, "excludeTmpdirEnvVar": True}
CONFIG = """
[sandbox_workspace_write]
network_access = true
exclude_slash_tmp = true
exclude_tmpdir_env_var = true
[features.network_proxy]
enabled = true
on_denial = "terminate"
[features.network_proxy.domains]
"denied.test" = "deny"
"""
TREE = """
trap '' TERM
(trap '' TERM; sleep {mark}) &
setsid sh -c "trap '' TERM; sleep {mark} & wait" &
echo kept
echo > pipes/ready
read line < pipes/go
curl -s http://denied.test/ > /dev/null
sleep {mark}
"""


class Watched:
    """The processes of one tree, and when the last of them died."""

    def __init__(self, mark: str) -> None:
        self._fds = [os.pidfd_open(pid) for pid in _marked(mark)]

    async def dead(self) -> float:
        """The time (seconds since 1970) at which the last one was gone."""
        return await anyio.to_thread.run_sync(self._wait)

    def _wait(self) -> float:
        poll = select.poll()
        left = set(self._fds)
        for fd in left:
            poll.register(fd, select.POLLIN)
        while left:
            for fd, _ in poll.poll():
                poll.unregister(fd)
                left.discard(fd)
        at = time.time()
        for fd in self._fds:
            os.close(fd)
        return at


def _marked(mark: str) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                found.append(int(entry.name))
    return found


def _status(pid: int) -> str:
    try:
        return f"{pid} {(Path('/proc') / str(pid) / 'stat').read_text()}"
    except OSError:
        return f"{pid} gone by now"


class Place:
    """One place where commands run: begins a command, and gives its output once it has ended."""

    def __init__(self, stage: Stage, client: RpcClient, thread: str) -> None:
        self.stage, self.client, self.thread = stage, client, thread

    async def during_the_call(self, script: str, denied: Callable[[], Awaitable[None]]) -> str:
        self.stage.model.script(tool_call("exec_command", {"cmd": script, "login": False}))
        self.stage.model.script(say("done"))
        turn = await begin(self.client, self.thread)
        await denied()
        await ended(self.client, turn)
        return self._output()

    async def at_the_next_poll(self, script: str, denied: Callable[[], Awaitable[None]]) -> str:
        self.stage.model.script(tool_call("exec_command", {"cmd": script, "login": False, "yield_time_ms": 250}))
        polled = anyio.Event()

        def poll(request: Any) -> list[Part]:
            polled.set()
            return [tool_call("write_stdin", {"session_id": _session(request), "yield_time_ms": 30_000})]

        self.stage.model.script(poll)
        self.stage.model.script(say("done"))
        turn = await begin(self.client, self.thread)
        await polled.wait()
        await denied()
        await ended(self.client, turn)
        return self._output()

    async def that_nobody_polls(self, script: str, denied: Callable[[], Awaitable[None]]) -> str:
        self.stage.model.script(tool_call("exec_command", {"cmd": script, "login": False, "yield_time_ms": 250}))
        self.stage.model.script(say("done"))
        await ended(self.client, await begin(self.client, self.thread))
        await denied()
        await self.client.until("item/completed", self._is_the_command)
        return self._output()

    async def of_the_user(self, script: str, denied: Callable[[], Awaitable[None]]) -> str:
        await self.client.call("thread/shellCommand", {"threadId": self.thread, "command": script})
        await denied()
        await self.client.until("turn/completed", lambda params: params["threadId"] == self.thread)
        return self._output()

    async def of_a_client(self, script: str, denied: Callable[[], Awaitable[None]]) -> str:
        answers: list[Any] = []

        async def run() -> None:
            params = {"command": ["bash", "-c", script], "cwd": str(self.stage.cwd), "disableTimeout": True}
            policy = {**POLICY, "writableRoots": [str(self.stage.cwd)]}
            answers.append(await self.client.call("command/exec", {**params, "sandboxPolicy": policy}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await denied()
        return answers[0]["stdout"] + answers[0]["stderr"]

    def _is_the_command(self, params: Any) -> bool:
        return params["threadId"] == self.thread and params["item"]["type"] == "commandExecution"

    def _output(self) -> str:
        told = (message["params"] for message in self.client.notifications("item/completed"))
        return next(params["item"]["aggregatedOutput"] for params in told if self._is_the_command(params))


def _session(request: Any) -> int:
    output = next(entry["output"] for entry in reversed(request["input"]) if entry["type"] == "function_call_output")
    assert "session ID" in output, output
    return int(output.split("session ID ")[1].split()[0])


async def measure(stage: Stage, client: RpcClient, name: str, runs: int) -> list[float]:
    """Milliseconds from the decision to the end of the tree, of each run."""
    times: list[float] = []
    for number in range(runs):
        thread = await stage.thread(client, sandbox="workspace-write", approvalPolicy="never")
        place = Place(stage, client, thread)
        # Landlock lets nobody write into named pipes that lie directly in the workspace.
        ready, go = stage.cwd / "pipes" / "ready", stage.cwd / "pipes" / "go"
        ready.parent.mkdir(exist_ok=True)
        for fifo in (ready, go):
            fifo.unlink(missing_ok=True)
            os.mkfifo(fifo)
        mark = f"86{os.getpid()}{number:05}"
        died: list[float] = []

        async def denied(ready: Path = ready, go: Path = go, mark: str = mark, died: list[float] = died) -> None:
            await anyio.to_thread.run_sync(ready.read_text)
            watched = Watched(mark)
            await anyio.to_thread.run_sync(go.write_text, "go\n")
            died.append(await watched.dead())

        output = await getattr(place, name)(TREE.format(mark=mark), denied)
        assert output.startswith("kept\n"), output
        assert "was blocked" in output, output
        assert not _marked(mark), f"something of {name} has survived: {[_status(pid) for pid in _marked(mark)]}"
        decisions = await client.call("turnloom/network/decisions/list", {"limit": 1})
        times.append(died[0] * 1000 - decisions["data"][0]["atMs"])
        await client.call("thread/unsubscribe", {"threadId": thread})
    return times


def _usage(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


PLACES = ("during_the_call", "at_the_next_poll", "that_nobody_polls", "of_the_user", "of_a_client")


async def main(runs: int, as_json: bool, places: Sequence[str]) -> None:
    """Measure these places and print a line for each."""
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        async with set_stage(Path(folder), more=lambda _: CONFIG) as stage:
            client = await stage.client()
            for name in places:
                await measure(stage, client, name, 3)
                before = _usage(stage.daemon.pid)
                times = sorted(await measure(stage, client, name, runs))
                results[name] = {
                    "p50": round(statistics.median(times), 1),
                    "p99": round(times[max(0, int(len(times) * 0.99) - 1)], 1),
                    "max": round(times[-1], 1),
                    "descriptors": _usage(stage.daemon.pid) - before,
                }
                if not as_json:
                    print(f"{name:20} {results[name]}", flush=True)
    if as_json:
        print(json.dumps(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--place", choices=PLACES, action="append", help="only here; may be given again")
    options = parser.parse_args()
    anyio.run(main, options.runs, options.json, options.place or PLACES)
