"""Several clients do at random what they like to one thread; the rules of turns hold all the same."""

import os
import random
from collections import Counter

import anyio
import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, drop, event, failed, partial, reasoning, say, status, tool_call
from tests.support.stage import Stage, assert_balanced, completed_items, ended, text

CLIENTS = 4
STEPS = 40
ALLOWED_ERRORS = (
    "no active turn to steer",
    "no active turn to interrupt",
    "expected active turn id",
    "is running; interrupt it or wait for its end",
    "the running turn takes no messages",
)


class Whims:
    """What the model answers and what clients do, from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.errors: Counter[str] = Counter()
        self.sent: list[str] = []

    def answer(self, _request: Message) -> list[Part]:
        """An answer of the model; one in a few calls a command, so that turns end."""
        kind = self.chance.choice(["say", "say", "say", "think", "run", "run two", "drop", "fail", "refuse", "cut"])
        match kind:
            case "think":
                return [reasoning("hm", content="raw"), say("thought about it", deltas=3)]
            case "run":
                return [say("I run"), tool_call("exec_command", {"cmd": "echo a; sleep 0.02; echo b"})]
            case "run two":
                return [tool_call("exec_command", {"cmd": "echo one"}), tool_call("exec_command", {"cmd": "exit 3"})]
            case "drop":
                return [partial("half of a"), drop()]
            case "fail":
                return [partial("some"), failed("server_is_overloaded", "busy")]
            case "refuse":
                return [status(400)]
            case "cut":
                return [event("response.in_progress"), partial("never finished", deltas=3)]
            case _:
                return [say("some words", deltas=self.chance.randrange(1, 6))]

    async def act(self, client: RpcClient, thread: str) -> None:
        """One request, whatever the thread is doing."""
        read = await client.call("thread/turns/list", {"threadId": thread, "limit": 1, "itemsView": "notLoaded"})
        turn = read["data"][0]["id"] if read["data"] else "none"
        words = f"message {len(self.sent)}"
        requests: list[tuple[str, Message]] = [
            ("turn/start", {"input": text(words)}),
            ("turn/start", {"input": text(words), "effort": self.chance.choice(["low", "high"])}),
            ("turn/steer", {"input": text(words), "expectedTurnId": turn}),
            ("turn/steer", {"input": text(words), "expectedTurnId": turn}),
            ("turn/interrupt", {"turnId": turn}),
            ("thread/shellCommand", {"command": "echo mine; sleep 0.01"}),
            ("thread/settings/update", {"model": self.chance.choice(["m1", "m2"])}),
            ("thread/name/set", {"name": words}),
            ("thread/resume", {}),
            ("thread/items/list", {}),
            ("thread/compact/start", {}),
        ]
        method, params = self.chance.choice(requests)
        if "input" in params:
            self.sent.append(words)
        answer = await client.try_call(method, {"threadId": thread, **params})
        if "error" in answer:
            assert answer["error"]["code"] == -32600, (method, answer)
            assert any(known in answer["error"]["message"] for known in ALLOWED_ERRORS), (method, answer)
            self.errors[method] += 1
            if "input" in params:
                self.sent.remove(words)

    async def live(self, client: RpcClient, thread: str) -> None:
        """A client's life: requests, now and then after a pause."""
        for _ in range(STEPS):
            await self.act(client, thread)
            await anyio.sleep(self.chance.choice([0, 0, 0.005, 0.02]))

    async def last_turn(self, client: RpcClient, thread: str) -> str:
        """A turn that ends well; what is sent while another one runs joins that one, which may fail yet."""
        while True:
            self.sent.append(f"last {len(self.sent)}")
            answer = await client.call("turn/start", {"threadId": thread, "input": text(self.sent[-1])})
            ending = await ended(client, answer["turn"]["id"])
            if ending["status"] == "completed":
                return answer["turn"]["id"]


def check_request(request: Message) -> None:
    """No call without an output, no output without a call, no two of a kind."""
    calls = [entry["call_id"] for entry in request["input"] if entry["type"] == "function_call"]
    outputs = [entry["call_id"] for entry in request["input"] if entry["type"] == "function_call_output"]
    assert sorted(calls) == sorted(outputs)
    assert len(calls) == len(set(calls))


def open_commands(client: RpcClient) -> set[str]:
    """The commands that a client has seen begin and not end: an interrupted turn leaves them running."""
    begun = {message["params"]["item"]["id"] for message in client.notifications("item/started")}
    return begun - {item["id"] for item in completed_items(client)}


def by_id(item: Message) -> str:
    return item["id"]


@pytest.mark.parametrize("seed", range(int(os.environ.get("TURNLOOM_TEST_SEEDS", "4"))))
async def test_whatever_clients_do_the_rules_of_turns_hold(stage: Stage, seed: int) -> None:
    whims = Whims(seed)
    stage.model.default = whims.answer
    clients = [await stage.client(f"client {number}") for number in range(CLIENTS)]
    thread = await stage.thread(clients[0])
    for client in clients[1:]:
        await client.call("thread/resume", {"threadId": thread})
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(whims.live, client, thread)
    stage.model.default = lambda _: [say("the end")]
    last = await whims.last_turn(clients[0], thread)
    for client in clients:
        await ended(client, last)
        await client.wait_for(lambda _, client=client: not open_commands(client))

    turns = [message["params"]["turn"]["id"] for message in clients[0].notifications("turn/started")]
    assert len(turns) == len(set(turns)) > 5
    for client in clients:
        for turn_id in turns:
            assert_balanced(client, turn_id, outlived=True)
    whole = events_of(clients[0], thread)
    for client in clients[1:]:
        assert events_of(client, thread) == whole
    stored = await clients[0].call("thread/read", {"threadId": thread, "includeTurns": True})
    assert [turn["id"] for turn in stored["thread"]["turns"]] == turns
    for turn in stored["thread"]["turns"]:
        assert sorted(turn["items"], key=by_id) == sorted(completed_items(clients[0], turn["id"]), key=by_id)
    shown = [
        item["content"][0]["text"]
        for turn in stored["thread"]["turns"]
        for item in turn["items"]
        if item["type"] == "userMessage"
    ]
    assert Counter(shown) == Counter(whims.sent)
    for request in stage.model.requests:
        check_request(request)
    # The server of a busy machine may see a request that was given up after those that came later.
    assert shown in [texts_in(request, shown) for request in stage.model.requests]
    assert stored["thread"]["status"] == {"type": "idle"}


def texts_in(request: Message, texts: list[str]) -> list[str]:
    """Those of the texts that a request tells the model as the user's, in its order."""
    return [
        part["text"]
        for entry in request["input"]
        if entry.get("role") == "user"
        for part in entry["content"]
        if part["text"] in texts
    ]


def events_of(client: RpcClient, thread: str) -> list[Message]:
    """What a follower was told, without what comes only to one that resumes."""
    return [
        {"method": message["method"], "params": message["params"]}
        for message in client.notifications()
        if message["params"].get("threadId") == thread and message["method"] != "thread/tokenUsage/updated"
    ]
