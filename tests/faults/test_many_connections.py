"""Many clients at once."""

from pathlib import Path

import anyio
import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, reasoning, say, tool_call
from tests.support.stage import Stage, Transport, assert_balanced, completed_items, ended, run_turn, set_stage

CLIENTS = 64


async def all_at_once(clients: list[RpcClient], work: "Work") -> None:
    """Let every client do `work` with its number at the same time."""
    async with anyio.create_task_group() as tasks:
        for number, client in enumerate(clients):
            tasks.start_soon(work, number, client)


class Work:
    """Turns, commands and reads, a different mixture for each client."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.threads: dict[int, str] = {}

    async def __call__(self, number: int, client: RpcClient) -> None:
        thread = await self._stage.thread(client)
        self.threads[number] = thread
        turn = await run_turn(client, thread, f"I am number {number}")
        assert turn["status"] == "completed"
        assert_balanced(client, turn["id"])
        assert turn["items"][0]["text"] == f"you are: I am number {number}"
        if number % 3 == 0:
            answer = await client.call("command/exec", {"command": ["echo", str(number)]})
            assert answer["stdout"] == f"{number}\n"
        if number % 3 == 1:
            read = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
            assert read["thread"]["turns"][0]["items"] == completed_items(client, turn["id"])
        if number % 3 == 2:
            listed = await client.call("thread/list", {"searchTerm": f"number {number}"})
            assert thread in [row["id"] for row in listed["data"]]


def parrot(request: Message) -> list[Part]:
    """Says who asked; calls a command first when the number ends with 5."""
    last = request["input"][-1]
    if last["type"] == "message":
        words = last["content"][0]["text"]
        if words.endswith("5"):
            return [reasoning("a command"), tool_call("exec_command", {"cmd": f"echo {words}"})]
        return [say(f"you are: {words}", deltas=4)]
    return [say(f"you are: {last['output'].split(chr(10))[-2]}")]


@pytest.mark.parametrize("transport", ["unix", "ws"])
async def test_64_clients_at_once_each_get_what_is_theirs(tmp_path: Path, transport: Transport) -> None:
    async with set_stage(tmp_path, transport) as stage:
        stage.model.default = parrot
        clients = [await stage.client(f"client {number}", opt_out=["thread/started"]) for number in range(CLIENTS)]
        work = Work(stage)
        await all_at_once(clients, work)
        assert len(set(work.threads.values())) == CLIENTS
        loaded = await clients[0].call("thread/loaded/list")
        assert set(loaded["data"]) == set(work.threads.values())
        for number, client in enumerate(clients):
            threads = {m["params"]["threadId"] for m in client.notifications("item/started")}
            assert threads == {work.threads[number]}


async def test_64_clients_follow_one_thread_and_hear_the_same(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        clients = [await stage.client(f"client {number}") for number in range(CLIENTS)]
        thread = await stage.thread(clients[0])
        for client in clients[1:]:
            await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
        stage.model.script(say("one answer for all of them", deltas=26))
        turn = await run_turn(clients[-1], thread)
        items: list[object] = []
        for client in clients:
            await ended(client, turn["id"])
            assert_balanced(client, turn["id"])
            items.append([m["params"] for m in client.notifications("item/agentMessage/delta", "item/completed")])
        assert all(told == items[0] for told in items)


async def test_a_burst_of_requests_gets_an_answer_each(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        requests = [await client.post("thread/read", {"threadId": thread}) for _ in range(2000)]
        refused = 0
        for request in requests:
            answer = await client.answer_to(request)
            if "error" in answer:
                assert answer["error"] == {"code": -32001, "message": "Server overloaded; retry later."}
                refused += 1
        assert refused < len(requests)
        assert (await run_turn(client, thread))["status"] == "completed"
