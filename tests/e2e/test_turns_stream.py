"""A turn as its clients see it: what is told, to whom, in which order, and to those who come in the middle of it."""

import anyio
import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import event, gate, partial, reasoning, say, tool_call, usage
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    deltas,
    ended,
    item_started,
    methods_of,
    of_turn,
    run_turn,
    text,
)

every_transport = pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])


def place(client: RpcClient, message: Message) -> int:
    return client.received.index(message)


@every_transport
async def test_a_turn_streams_reasoning_a_command_and_a_message_in_order(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(
        reasoning("think", content="raw", item_id="rs_1"),
        tool_call("exec_command", {"cmd": "echo hi; exit 3"}, "call_1"),
    )
    stage.model.script(say("Hello world", deltas=3, item_id="msg_1"))
    turn_id = await begin(client, thread, "go")
    turn = await ended(client, turn_id)

    assert [(m["method"], m["params"].get("item", {}).get("type")) for m in of_turn(client, turn_id)] == [
        ("turn/started", None),
        ("item/started", "userMessage"),
        ("item/completed", "userMessage"),
        ("item/started", "reasoning"),
        ("item/reasoning/summaryPartAdded", None),
        ("item/reasoning/summaryTextDelta", None),
        ("item/reasoning/textDelta", None),
        ("item/completed", "reasoning"),
        ("thread/tokenUsage/updated", None),
        ("item/started", "commandExecution"),
        ("item/commandExecution/outputDelta", None),
        ("item/completed", "commandExecution"),
        ("item/started", "agentMessage"),
        *[("item/agentMessage/delta", None)] * 3,
        ("item/completed", "agentMessage"),
        ("thread/tokenUsage/updated", None),
        ("turn/completed", None),
    ]
    assert_balanced(client, turn_id)
    user, thought, command, message = completed_items(client, turn_id)
    assert user["content"] == text("go")
    assert (thought["summary"], thought["content"]) == (["think"], ["raw"])
    assert (command["id"], command["status"], command["exitCode"]) == ("call_1", "failed", 3)
    assert command["aggregatedOutput"] == "hi\n"
    assert message["text"] == "Hello world" == deltas(client, "msg_1")
    assert turn["status"] == "completed"
    assert turn["error"] is None
    assert turn["items"] == [message]
    assert turn["completedAt"] is not None
    assert turn["durationMs"] is not None


@every_transport
async def test_the_answer_to_turn_start_comes_before_turn_started(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    request = await client.post("turn/start", {"threadId": thread, "input": text("hi")})
    answer = await client.answer_to(request)
    turn = answer["result"]["turn"]
    assert turn | {"startedAt": None} == {
        "id": turn["id"],
        "rootTurnId": turn["id"],
        "items": [],
        "itemsView": "notLoaded",
        "status": "inProgress",
        "error": None,
        "startedAt": None,
        "completedAt": None,
        "durationMs": None,
    }
    await ended(client, turn["id"])
    first = client.notifications("turn/started")[0]
    assert place(client, answer) < place(client, first)


async def test_the_answer_to_thread_start_comes_before_thread_started(stage: Stage) -> None:
    client = await stage.client()
    answer = await client.try_call("thread/start", {"cwd": str(stage.cwd)})
    started = await client.until("thread/started")
    assert place(client, answer) < place(client, started)
    assert started["params"]["thread"] == answer["result"]["thread"]


async def test_the_thread_is_active_while_a_turn_runs_and_idle_before_its_end_is_told(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn_id = await begin(client, thread)
    await ended(client, turn_id)
    methods = [
        (message["method"], message["params"].get("status", {}).get("type"))
        for message in client.notifications("thread/status/changed", "turn/started", "turn/completed")
    ]
    assert methods == [
        ("thread/status/changed", "active"),
        ("turn/started", None),
        ("thread/status/changed", "idle"),
        ("turn/completed", None),
    ]


async def test_client_user_message_id_comes_back_in_the_user_message(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn = await run_turn(client, thread, clientUserMessageId="mine")
    assert completed_items(client, turn["id"])[0]["clientId"] == "mine"


async def test_a_message_without_deltas_is_told_with_its_whole_text(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(say("all at once", item_id="msg_whole"))
    turn = await run_turn(client, thread)
    assert completed_items(client, turn["id"])[-1]["text"] == "all at once"
    assert deltas(client, "msg_whole") == ""


async def test_the_final_text_of_a_message_counts_whatever_was_streamed(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("draft", item_id="msg_f"), say("final", item_id="msg_f"))
    turn = await run_turn(client, thread)
    assert [item["text"] for item in completed_items(client, turn["id"])[1:]] == ["final"]


async def test_a_turn_without_any_answer_of_the_model_completes(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(event("response.in_progress"))
    turn = await run_turn(client, thread)
    assert (turn["status"], turn["items"]) == ("completed", [])


async def test_token_usage_adds_up_over_requests_and_turns(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.usage = usage(input=100, cached=40, output=7, reasoning=2)
    stage.model.script(tool_call("exec_command", {"cmd": "true"}))
    stage.model.script(say("one"))
    first = await run_turn(client, thread)
    stage.model.usage = usage(input=1, output=1)
    second = await run_turn(client, thread)
    told = [
        (m["params"]["turnId"], m["params"]["tokenUsage"]) for m in client.notifications("thread/tokenUsage/updated")
    ]
    assert [turn_id for turn_id, _ in told] == [first["id"], first["id"], second["id"]]
    assert told[1][1]["last"] | told[1][1]["total"] == told[1][1]["total"]
    total, last = told[2][1]["total"], told[2][1]["last"]
    assert total == {
        "inputTokens": 201,
        "cachedInputTokens": 80,
        "cacheWriteInputTokens": 0,
        "outputTokens": 15,
        "reasoningOutputTokens": 4,
        "totalTokens": 216,
    }
    assert (last["inputTokens"], last["outputTokens"], last["totalTokens"]) == (1, 1, 2)


class Steps:
    """A streamed turn that stops before each of its events until it is told to go on."""

    def __init__(self, count: int) -> None:
        self.gates = [anyio.Event() for _ in range(count)]

    def open_all(self) -> None:
        for opened in self.gates:
            opened.set()


PIECES = ["one ", "two ", "three ", "four"]


@pytest.mark.parametrize("instant", range(len(PIECES) + 3))
async def test_who_resumes_in_mid_stream_gets_each_further_event_once(stage: Stage, instant: int) -> None:
    """`instant` counts the stops: before the model says anything, between deltas, and after the message's end."""
    steps = Steps(len(PIECES) + 3)
    parts = [gate(steps.gates[0]), partial("", item_id="msg_s")]
    for number, piece in enumerate(PIECES):
        delta = event("response.output_text.delta", item_id="msg_s", output_index=0, content_index=0, delta=piece)
        parts += [gate(steps.gates[number + 1]), delta]
    parts += [gate(steps.gates[-2]), say("".join(PIECES), item_id="msg_s"), gate(steps.gates[-1])]
    stage.model.script(*parts)
    first = await stage.client("first")
    second = await stage.client("second")
    thread = await stage.thread(first)
    turn_id = await begin(first, thread)
    for opened in steps.gates[:instant]:
        opened.set()
    if instant == 0:
        await first.wait_for(lambda m: m.get("method") == "item/completed")
    elif instant == 1:
        await item_started(first, turn_id, "agentMessage")
    elif instant <= len(PIECES) + 1:
        last = PIECES[instant - 2]
        await first.wait_for(lambda m: m.get("method", "").endswith("/delta") and m["params"]["delta"] == last)
    else:
        await first.wait_for(
            lambda m: m.get("method") == "item/completed" and m["params"]["item"]["type"] == "agentMessage"
        )
    told_before = len(of_turn(first, turn_id))

    answer = await second.call("thread/resume", {"threadId": thread})
    steps.open_all()
    await ended(first, turn_id)
    await ended(second, turn_id)

    (shown,) = answer["thread"]["turns"]
    assert (shown["id"], shown["status"], shown["itemsView"]) == (turn_id, "inProgress", "full")
    assert answer["thread"]["status"]["type"] == "active"
    assert of_turn(second, turn_id) == of_turn(first, turn_id)[told_before:]
    snapshot = {item["id"]: item for item in shown["items"]}
    began = "".join(item["text"] for item in shown["items"] if item["type"] == "agentMessage")
    assert began + deltas(second, "msg_s") == "".join(PIECES)
    whole = completed_items(first, turn_id)
    for item in whole:
        seen = snapshot.get(item["id"])
        later = [other for other in completed_items(second, turn_id) if other["id"] == item["id"]]
        if later:
            assert later == [item]
            assert seen is None or seen["completedAtMs"] is None
        else:
            assert seen == item


async def test_who_resumes_while_a_command_runs_sees_it_and_gets_its_end(stage: Stage) -> None:
    first, second = await stage.client("first"), await stage.client("second")
    thread = await stage.thread(first, sandbox="danger-full-access")
    stage.model.script(tool_call("exec_command", {"cmd": "echo begun; read line < go; echo $line"}, "call_r"))
    (stage.cwd / "go").unlink(missing_ok=True)
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    turn_id = await begin(first, thread)
    await first.until("item/commandExecution/outputDelta")
    answer = await second.call("thread/resume", {"threadId": thread})
    (stage.cwd / "go").write_text("freed\n")
    turn = await ended(second, turn_id)
    running = answer["thread"]["turns"][0]["items"][-1]
    assert (running["id"], running["type"], running["status"]) == ("call_r", "commandExecution", "inProgress")
    done = next(item for item in completed_items(second, turn_id) if item["id"] == "call_r")
    assert done["aggregatedOutput"] == "begun\nfreed\n"
    assert "item/started" not in methods_of(second, turn_id)[: methods_of(second, turn_id).index("item/completed")]
    assert turn["status"] == "completed"


async def test_resuming_while_deltas_pour_loses_and_doubles_nothing(stage: Stage) -> None:
    """Each burst of deltas races with a client that resumes."""
    bursts = [anyio.Event() for _ in range(12)]
    last = anyio.Event()
    pieces = [f"{number} " for number in range(200 * len(bursts))]
    parts = [partial("", item_id="msg_m")]
    for number, opening in enumerate(bursts):
        parts.append(gate(opening))
        for piece in pieces[number * 200 : number * 200 + 200]:
            parts.append(
                event("response.output_text.delta", item_id="msg_m", output_index=0, content_index=0, delta=piece)
            )
    whole = "".join(pieces)
    stage.model.script(*parts, gate(last), say(whole, item_id="msg_m"))
    first = await stage.client("first")
    thread = await stage.thread(first)
    turn_id = await begin(first, thread)
    await item_started(first, turn_id, "agentMessage")
    joiners = [await stage.client(f"joiner {number}") for number in range(len(bursts))]
    answers: list[Message] = []
    for opening, client in zip(bursts, joiners, strict=True):
        opening.set()
        answers.append(await client.call("thread/resume", {"threadId": thread}))
    last.set()
    await ended(first, turn_id)
    assert deltas(first, "msg_m") == whole
    for answer, client in zip(answers, joiners, strict=True):
        await ended(client, turn_id)
        (shown,) = answer["thread"]["turns"]
        assert shown["status"] == "inProgress"
        assert shown["items"][-1]["text"] + deltas(client, "msg_m") == whole
        ours, theirs = of_turn(first, turn_id), of_turn(client, turn_id)
        assert theirs == ours[len(ours) - len(theirs) :]


async def test_the_turns_list_shows_the_text_so_far_of_a_running_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("half", item_id="msg_h"), gate(opening), say("half and half", item_id="msg_h"))
    turn_id = await begin(client, thread)
    await client.until("item/agentMessage/delta")
    page = await client.call("thread/turns/list", {"threadId": thread, "itemsView": "full"})
    read = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
    opening.set()
    await ended(client, turn_id)
    assert [item.get("text") for item in page["data"][0]["items"]] == [None, "half"]
    assert read["thread"]["turns"] == page["data"]


async def test_who_asks_for_it_is_told_what_the_model_is_given_and_gives(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    raw = await stage.thread(client, experimentalRawEvents=True)
    plain = await stage.thread(client)
    await other.call("thread/resume", {"threadId": raw})
    stage.model.script(tool_call("exec_command", {"cmd": "echo hi"}, "call_1"))
    stage.model.script(say("done"))
    turn_id = (await run_turn(client, raw, "go"))["id"]
    told = [m for m in of_turn(client, turn_id) if m["method"].startswith("raw")]
    entries = [m["params"]["item"] for m in told if m["method"] == "rawResponseItem/completed"]
    assert entries == stage.model.requests[-1]["input"] + [entries[-1]]
    assert (entries[-1]["role"], entries[-1]["content"][0]["text"]) == ("assistant", "done")
    answers = [m["params"] for m in told if m["method"] == "rawResponse/completed"]
    assert [answer["usage"]["totalTokens"] for answer in answers] == [15, 15]
    assert answers[0]["usageMetadata"]["metadata"]["total_tokens"] == 15
    assert of_turn(client, turn_id)[0]["method"] == "turn/started"
    await ended(other, turn_id)
    assert [m for m in of_turn(other, turn_id) if m["method"].startswith("raw")] == told

    turn_id = (await run_turn(client, plain, "go"))["id"]
    assert not [m for m in of_turn(client, turn_id) if m["method"].startswith("raw")]
