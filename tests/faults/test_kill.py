"""kill -9 in the middle of turns: what a client was told is done is there afterwards."""

import os
import random
import signal
from pathlib import Path

import anyio
import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import ConnectionClosed, Message, RpcClient
from tests.support.scripted_model import Part, ScriptedModel, reasoning, say, tool_call
from tests.support.stage import begin, completed_items, ended, run_turn

INSTANTS = 20
SEED = int(os.environ.get("TURNLOOM_TEST_SEED", "20"))


def busy_turn(_request: Message) -> list[Part]:
    """An answer with items of all kinds; a turn of this kind asks again and again until it is killed."""
    return [
        reasoning("some thought", content="some raw thought"),
        say("words " * 30, deltas=30),
        tool_call("exec_command", {"cmd": "echo some output; echo more"}),
    ]


TEXT: list[Message] = [{"type": "text", "text": "and more", "text_elements": []}]


async def watch(client: RpcClient, thread: str) -> None:
    """Run turns without end, steering into each, until the daemon is gone."""
    try:
        while True:
            turn_id = await begin(client, thread, "go")
            await client.call("turn/steer", {"threadId": thread, "expectedTurnId": turn_id, "input": TEXT})
            await ended(client, turn_id)
    except ConnectionClosed:
        return


async def everything(client: RpcClient, thread: str) -> list[Message]:
    """All entries of thread/items/list, page by page."""
    entries: list[Message] = []
    cursor: str | None = None
    while True:
        page = await client.call("thread/items/list", {"threadId": thread, "cursor": cursor, "limit": 50})
        entries += page["data"]
        cursor = page["nextCursor"]
        if cursor is None:
            return entries


@pytest.mark.timeout(120)
async def test_kill_9_at_random_instants_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """The instant is a number of messages to the client, so that it falls anywhere in a turn."""
    chance = random.Random(SEED)
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        told: dict[str, list[Message]] = {}
        ends: dict[str, Message] = {}
        thread = ""
        for _ in range(INSTANTS):
            model.default = busy_turn
            async with running_daemon(home) as daemon, daemon.client() as client:
                await client.initialize()
                if not thread:
                    thread = (await client.call("thread/start", {"cwd": str(tmp_path)}))["thread"]["id"]
                else:
                    await check(client, thread, told, ends)
                    model.default = [say("quick")]
                    assert (await run_turn(client, thread, "after the crash"))["status"] == "completed"
                    check_calls(model.requests[-1])
                    model.default = busy_turn
                count = len(client.received) + chance.randrange(1, 150)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch, client, thread)
                    await reached(client, count)
                    daemon.signal(signal.SIGKILL)
                    await client.closed.wait()
                remember(client, told, ends)
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            await check(client, thread, told, ends)
            assert "damaged" not in daemon.stderr
        assert sum(len(items) for items in told.values()) > INSTANTS


def check_calls(request: Message) -> None:
    """Every call that the model is shown has its output, and no output lacks its call."""
    calls = [entry["call_id"] for entry in request["input"] if entry["type"] == "function_call"]
    outputs = [entry["call_id"] for entry in request["input"] if entry["type"] == "function_call_output"]
    assert sorted(calls) == sorted(outputs)


async def reached(client: RpcClient, count: int) -> None:
    """Until the client has got so many messages."""
    seen = 0

    def counts(_message: Message) -> bool:
        nonlocal seen
        seen += 1
        return seen >= count

    await client.wait_for(counts)


def remember(client: RpcClient, told: dict[str, list[Message]], ends: dict[str, Message]) -> None:
    """Note what the client was told is done."""
    for message in client.notifications("turn/started"):
        told.setdefault(message["params"]["turn"]["id"], [])
    for turn_id in told:
        told[turn_id] += completed_items(client, turn_id)
    for message in client.notifications("turn/completed"):
        ends[message["params"]["turn"]["id"]] = message["params"]["turn"]


async def check(client: RpcClient, thread: str, told: dict[str, list[Message]], ends: dict[str, Message]) -> None:
    """What was told is there, by every way of reading; what was cut is interrupted."""
    stored = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
    entries = await everything(client, thread)
    answer = await client.call("thread/resume", {"threadId": thread})
    turns = {turn["id"]: turn for turn in stored["thread"]["turns"]}
    assert answer["thread"]["turns"] == stored["thread"]["turns"]
    assert [entry["item"] for entry in entries] == [item for turn in turns.values() for item in turn["items"]]
    for turn_id, items in told.items():
        turn = turns[turn_id]
        # What was stored but not told any more may follow.
        assert turn["items"][: len(items)] == items
        if turn_id in ends:
            assert turn["status"] == ends[turn_id]["status"]
            assert len(turn["items"]) == len(items)
        else:
            assert turn["status"] in ("interrupted", "completed")
        assert turn["completedAt"] is not None
        for item in turn["items"]:
            assert item.get("status") != "inProgress"
