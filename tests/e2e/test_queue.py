"""The queue: messages that the server keeps and sends one by one."""

import signal
from pathlib import Path
from typing import Any

import anyio

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel, gate, partial, say, status
from tests.support.stage import Stage, begin, completed_items, ended, run_turn, text


async def add(client: RpcClient, thread: str, words: str, **params: Any) -> str:
    """The id of a message put into the queue."""
    request = {"threadId": thread, "input": text(words), "clientUserMessageId": f"mine: {words}", **params}
    return (await client.call("thread/queue/add", request))["queuedSubmission"]["id"]


async def waiting(client: RpcClient, thread: str) -> list[str]:
    """What the queue's messages say."""
    listed = await client.call("thread/queue/list", {"threadId": thread})
    return [message["input"][0]["text"] for message in listed["data"]]


async def refusal(client: RpcClient, method: str, **params: Any) -> tuple[int, str]:
    error = (await client.try_call(method, params))["error"]
    return error["code"], error["message"]


def said(client: RpcClient) -> list[str]:
    """What the user has said, as far as the client was told."""
    return [item["content"][0]["text"] for item in completed_items(client) if item["type"] == "userMessage"]


async def until_said(client: RpcClient, words: str) -> Message:
    """Until a turn has begun with these words."""

    def is_it(params: Message) -> bool:
        item = params["item"]
        return item["type"] == "userMessage" and item["content"][0]["text"] == words

    return (await client.until("item/completed", is_it))["params"]


async def held_turn(stage: Stage, client: RpcClient, thread: str) -> tuple[str, anyio.Event]:
    """A turn that runs until the event is set."""
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="held"), gate(opening), say("ab", item_id="held"))
    turn = await begin(client, thread, "first")
    await client.until("item/agentMessage/delta")
    return turn, opening


async def test_messages_that_come_while_a_turn_runs_are_sent_in_order_one_turn_each(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn, opening = await held_turn(stage, client, thread)
    for words in ("a", "b", "c"):
        await add(client, thread, words)
        await client.until("thread/queue/changed")
    assert await waiting(client, thread) == ["a", "b", "c"]
    opening.set()
    await ended(client, turn)
    last = await until_said(client, "c")
    assert last["item"]["clientId"] == "mine: c"
    await ended(client, last["turnId"])
    assert said(client) == ["first", "a", "b", "c"]
    assert len(client.notifications("turn/started")) == 4
    assert await waiting(client, thread) == []
    assert len(client.notifications("thread/queue/changed")) == 6


async def test_a_message_for_an_idle_thread_is_sent_at_once(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await add(client, thread, "now")
    told = await until_said(client, "now")
    assert (await ended(client, told["turnId"]))["status"] == "completed"
    assert await waiting(client, thread) == []
    read = await client.call("thread/read", {"threadId": thread})
    assert read["thread"]["preview"] == "now"


async def test_waiting_messages_are_changed_reordered_and_taken_out(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    _, opening = await held_turn(stage, client, thread)
    a, b, c = [await add(client, thread, words, responsesapiClientMetadata={"k": words}) for words in "abc"]
    page = await client.call("thread/queue/list", {"threadId": thread, "limit": 2})
    assert [message["id"] for message in page["data"]] == [a, b]
    rest = await client.call("thread/queue/list", {"threadId": thread, "limit": 2, "cursor": page["nextCursor"]})
    assert ([message["id"] for message in rest["data"]], rest["nextCursor"]) == ([c], None)
    changed = await client.call(
        "thread/queue/update", {"threadId": thread, "queuedSubmissionId": b, "input": text("b2")}
    )
    assert changed["queuedSubmission"] == {
        "id": b,
        "input": text("b2"),
        "clientUserMessageId": "mine: b",
        "responsesapiClientMetadata": {"k": "b"},
    }
    order = {"threadId": thread, "queuedSubmissionIds": [c, a, b]}
    assert await client.call("thread/queue/reorder", order) == {}
    taken = {"threadId": thread, "queuedSubmissionId": a}
    assert await client.call("thread/queue/delete", taken) == {"deleted": True}
    assert await client.call("thread/queue/delete", taken) == {"deleted": False}
    opening.set()
    await ended(client, (await until_said(client, "b2"))["turnId"])
    assert said(client) == ["first", "c", "b2"]


async def test_an_interrupt_stops_the_queue_until_a_turn_has_ended(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn, _ = await held_turn(stage, client, thread)
    await add(client, thread, "a")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    await add(client, thread, "b")
    await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
    assert await waiting(client, thread) == ["a", "b"]
    own = await run_turn(client, thread, "my own words")
    assert own["status"] == "completed"
    await ended(client, (await until_said(client, "b"))["turnId"])
    assert said(client) == ["first", "my own words", "a", "b"]


async def test_starting_a_message_by_hand_wakes_a_stopped_queue(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn, _ = await held_turn(stage, client, thread)
    await add(client, thread, "a")
    chosen = await add(client, thread, "b")
    start = {"threadId": thread, "queuedSubmissionId": chosen}
    busy = (-32600, "thread already has an active or pending turn")
    assert await refusal(client, "thread/queue/start", **start) == busy
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    await ended(client, turn)
    started = (await client.call("thread/queue/start", start))["turn"]
    assert (await ended(client, started["id"]))["status"] == "completed"
    await ended(client, (await until_said(client, "a"))["turnId"])
    assert said(client) == ["first", "b", "a"]
    assert await refusal(client, "thread/queue/start", threadId=thread) == (-32600, "queue is empty")


async def test_a_failed_turn_does_not_stop_the_queue(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn, _ = await held_turn(stage, client, thread)
    stage.model.script(status(400, {"error": {"message": "no"}}))
    await add(client, thread, "a")
    params = {"threadId": thread, "expectedTurnId": turn, "input": text("fail now")}
    await client.call("turn/steer", params)
    assert (await ended(client, turn))["status"] == "failed"
    assert (await ended(client, (await until_said(client, "a"))["turnId"]))["status"] == "completed"


async def test_a_message_that_cannot_be_sent_any_more_waits_and_says_why(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn, opening = await held_turn(stage, client, thread)
    image = stage.cwd / "image.png"
    image.write_bytes(b"\x89PNG")
    message = {
        "threadId": thread,
        "input": [{"type": "localImage", "path": str(image)}],
        "clientUserMessageId": "i",
    }
    await client.call("thread/queue/add", message)
    image.unlink()
    opening.set()
    await ended(client, turn)
    warning = (await client.until("warning", lambda params: params["threadId"] == thread))["params"]["message"]
    assert "image.png" in warning
    assert len((await client.call("thread/queue/list", {"threadId": thread}))["data"]) == 1
    assert (await run_turn(client, thread, "goes on"))["status"] == "completed"


async def test_what_the_queue_cannot_take_is_refused_with_the_reason(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    code, message = await refusal(client, "thread/queue/add", threadId=thread, input=[], clientUserMessageId="x")
    assert (code, message.partition(":")[0]) == (-32600, "`input` must not be empty")
    gone = (-32600, "queued submission not found: x")
    update = {"threadId": thread, "queuedSubmissionId": "x", "input": text("a")}
    assert await refusal(client, "thread/queue/update", **update) == gone
    assert await refusal(client, "thread/queue/start", threadId=thread, queuedSubmissionId="x") == gone
    order = (-32600, "queue reorder must include every queued submission exactly once")
    assert await refusal(client, "thread/queue/reorder", threadId=thread, queuedSubmissionIds=["x"]) == order
    cursor = (-32600, "invalid queue pagination cursor: zzz")
    assert await refusal(client, "thread/queue/list", threadId=thread, cursor="zzz") == cursor
    fleeting = await stage.thread(client, ephemeral=True)
    wanted = (-32600, f"ephemeral thread does not support queued submissions: {fleeting}")
    assert await refusal(client, "thread/queue/list", threadId=fleeting) == wanted


async def test_after_a_kill_the_queue_starts_itself_on_resume_and_sends_each_message_once(tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        model.script(partial("a"), gate(anyio.Event()))
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            thread = (await client.call("thread/start", {"cwd": str(tmp_path)}))["thread"]["id"]
            await begin(client, thread, "first")
            await model.wait_for_requests(1)
            await add(client, thread, "kept")
            daemon.signal(signal.SIGKILL)
            await client.closed.wait()
        model.script(partial("a"), gate(anyio.Event()))
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            assert await waiting(client, thread) == ["kept"]
            await add(client, thread, "later")
            unloaded = (-32600, "resume the thread before starting a queued message")
            assert await refusal(client, "thread/queue/start", threadId=thread) == unloaded
            await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
            await until_said(client, "kept")
            await model.wait_for_requests(2)
            daemon.signal(signal.SIGKILL)
            await client.closed.wait()
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            assert await waiting(client, thread) == ["later"]
            await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
            await ended(client, (await until_said(client, "later"))["turnId"])
            items = await client.call("thread/items/list", {"threadId": thread})
            users = [entry["item"]["content"][0]["text"] for entry in items["data"] if "clientId" in entry["item"]]
            assert users == ["first", "kept", "later"]
