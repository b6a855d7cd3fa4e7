"""Clients that vanish without a word."""

import os
from pathlib import Path

import anyio
import pytest

from tests.support.rpc_client import RpcClient, WebSocketClient
from tests.support.scripted_model import gate, partial, say, tool_call
from tests.support.stage import (
    Stage,
    Transport,
    assert_balanced,
    begin,
    completed_items,
    deltas,
    ended,
    of_turn,
    run_turn,
    set_stage,
    text,
)

network = pytest.mark.parametrize("transport", ["unix", "ws"])


def vanish(client: RpcClient) -> None:
    """Cut the connection as a crash or a pulled cable does: no close frame, no answer to anything."""
    assert isinstance(client, WebSocketClient)
    connection = client.socket._response.connection  # pyright: ignore[reportPrivateUsage]
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()


class Watched:
    """A process that is no child of ours, by a descriptor that tells of its end."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    async def gone(self) -> None:
        """Wait for its end."""
        await anyio.wait_readable(self._descriptor)
        os.close(self._descriptor)


@network
async def test_a_turn_goes_on_without_who_started_it(tmp_path: Path, transport: Transport) -> None:
    async with set_stage(tmp_path, transport) as stage:
        other = await stage.client("other")
        client = await stage.client("vanishing")
        thread = await stage.thread(client)
        await other.call("thread/resume", {"threadId": thread})
        opening = anyio.Event()
        stage.model.script(
            partial("half", item_id="msg_v"), gate(opening), tool_call("exec_command", {"cmd": "echo still here"})
        )
        stage.model.script(say("the end", deltas=3, item_id="msg_w"))
        turn_id = await begin(client, thread)
        await client.until("item/agentMessage/delta")
        vanish(client)
        await client.closed.wait()
        opening.set()
        assert (await ended(other, turn_id))["status"] == "completed"
        assert_balanced(other, turn_id)
        assert deltas(other, "msg_w") == "the end"
        assert any(item.get("aggregatedOutput") == "still here\n" for item in completed_items(other, turn_id))
        again = await stage.client("vanishing")
        answer = await again.call("thread/resume", {"threadId": thread})
        (turn,) = answer["thread"]["turns"]
        assert (turn["status"], turn["items"]) == ("completed", completed_items(other, turn_id))


async def test_a_turn_goes_on_when_its_only_client_vanishes(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        bystander = await stage.client("bystander")
        client = await stage.client("vanishing")
        thread = await stage.thread(client)
        opening = anyio.Event()
        stage.model.script(partial("half"), gate(opening), say("whole"))
        await begin(client, thread)
        await client.until("item/agentMessage/delta")
        vanish(client)
        opening.set()
        await bystander.until("thread/status/changed", lambda p: p["status"]["type"] == "idle")
        read = await bystander.call("thread/read", {"threadId": thread, "includeTurns": True})
        assert [turn["status"] for turn in read["thread"]["turns"]] == ["completed"]


@network
async def test_the_commands_of_a_client_die_with_it(tmp_path: Path, transport: Transport) -> None:
    async with set_stage(tmp_path, transport) as stage:
        client = await stage.client("vanishing")
        script = "sleep 86400 & echo $!; setsid sleep 86400 & echo $!; echo $$; wait"
        for name, more in (("pipe", {}), ("tty", {"tty": True}), ("quiet", {"streamStdin": True})):
            file = stage.cwd / name
            await client.post(
                "command/exec",
                {
                    "command": ["sh", "-c", f"exec 3>{file}; {{ {script}; }} >&3"],
                    "processId": name,
                    "streamStdoutStderr": True,
                    "disableTimeout": True,
                    "sandboxPolicy": {"type": "dangerFullAccess"},
                    **more,
                },
            )
        pids: list[int] = []
        for name in ("pipe", "tty", "quiet"):
            pids += await three_pids(stage.cwd / name)
        watched = [Watched(pid) for pid in pids]
        vanish(client)
        for process in watched:
            await process.gone()


async def three_pids(file: Path) -> list[int]:
    """What a script has written, once it has."""
    while True:
        words = await anyio.to_thread.run_sync(lambda: file.read_text().split() if file.exists() else [])
        if len(words) == 3:
            return [int(word) for word in words]
        await anyio.sleep(0.01)


async def test_requests_of_a_vanished_client_leave_threads_whole(tmp_path: Path) -> None:
    """Clients vanish right after asking for something; whatever became of it, the thread reads well and works."""
    async with set_stage(tmp_path) as stage:
        keeper = await stage.client("keeper")
        threads: list[str] = []
        for number in range(24):
            async with stage.daemon.client() as client:
                await client.initialize("vanishing")
                thread = await stage.thread(client)
                threads.append(thread)
                await run_turn(client, thread, "first")
                requests = [
                    ("turn/start", {"threadId": thread, "input": text("second")}),
                    ("thread/name/set", {"threadId": thread, "name": "a name"}),
                    ("thread/fork", {"threadId": thread}),
                    ("thread/archive", {"threadId": thread}),
                    ("thread/shellCommand", {"threadId": thread, "command": "echo hi"}),
                    ("thread/settings/update", {"threadId": thread, "model": "other"}),
                ]
                method, params = requests[number % len(requests)]
                await client.post(method, params)
                for _ in range(number // len(requests)):
                    await anyio.lowlevel.checkpoint()
                vanish(client)
        await whole(stage, keeper, threads)


async def whole(stage: Stage, keeper: RpcClient, threads: list[str]) -> None:
    """Every thread can be read and takes a turn, and no turn is left running."""
    archived = (await keeper.call("thread/list", {"archived": True, "limit": 100}))["data"]
    for row in archived:
        await keeper.call("thread/unarchive", {"threadId": row["id"]})
    for thread in threads:
        await keeper.call("thread/resume", {"threadId": thread})
        turn = await run_turn(keeper, thread, "last")
        assert turn["status"] == "completed"
        assert of_turn(keeper, turn["id"])
        read = await keeper.call("thread/read", {"threadId": thread, "includeTurns": True})
        assert read["thread"]["turns"][-1]["status"] == "completed"
        assert {turn["status"] for turn in read["thread"]["turns"]} <= {"completed", "interrupted"}
        assert read["thread"]["status"] == {"type": "idle"}
