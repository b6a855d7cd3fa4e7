"""Steering and interrupting a running turn."""

import re
from pathlib import Path

import anyio
import pytest

from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import event, gate, partial, reasoning, say, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    item_started,
    run_turn,
    text,
)

every_transport = pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])


def never() -> anyio.Event:
    return anyio.Event()


def texts(request: Message, role: str) -> list[str]:
    """The texts of one role in a request to the model."""
    messages = [entry for entry in request["input"] if entry["type"] == "message" and entry["role"] == role]
    return [part["text"] for message in messages for part in message["content"]]


async def streaming(stage: Stage, client: RpcClient) -> tuple[str, str]:
    """A thread and its turn, which has said `part one ` and waits."""
    thread = await stage.thread(client)
    stage.model.script(partial("part one ", item_id="msg_1"), gate(never()))
    turn_id = await begin(client, thread, "first")
    await client.until("item/agentMessage/delta")
    return thread, turn_id


async def interrupt(client: RpcClient, thread: str, turn_id: str) -> None:
    assert await client.call("turn/interrupt", {"threadId": thread, "turnId": turn_id}) == {}


async def test_steering_without_a_turn_is_refused_in_the_words_that_clients_parse(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    params = {"threadId": thread, "expectedTurnId": "x", "input": text("a")}
    answer = await client.try_call("turn/steer", params)
    assert answer["error"] == {"code": -32600, "message": "no active turn to steer"}


async def test_steering_another_turn_names_both_in_backquotes(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    params = {"threadId": thread, "expectedTurnId": "nope", "input": text("a")}
    answer = await client.try_call("turn/steer", params)
    message = f"expected active turn id `nope` but found `{turn_id}`"
    assert answer["error"] == {"code": -32600, "message": message}
    await interrupt(client, thread, turn_id)
    await ended(client, turn_id)


@every_transport
async def test_steering_cuts_the_answer_and_asks_the_model_again_at_once(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    stage.model.script(say("steered answer"))
    answer = await client.call(
        "turn/steer",
        {"threadId": thread, "expectedTurnId": turn_id, "input": text("second"), "clientUserMessageId": "mine"},
    )
    assert answer == {"turnId": turn_id}
    turn = await ended(client, turn_id)
    assert turn["status"] == "completed"
    assert_balanced(client, turn_id)
    items = completed_items(client, turn_id)
    assert [(item["type"], item.get("text")) for item in items] == [
        ("userMessage", None),
        ("agentMessage", "part one "),
        ("userMessage", None),
        ("agentMessage", "steered answer"),
    ]
    assert items[2]["clientId"] == "mine"
    await stage.model.wait_for_hangups(1)
    assert texts(stage.model.requests[1], "user")[-2:] == ["first", "second"]
    assert texts(stage.model.requests[1], "assistant") == ["part one "]


async def test_starting_a_turn_while_one_runs_steers_it_and_returns_its_id(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    assert await begin(client, thread, "second") == turn_id
    turn = await ended(client, turn_id)
    assert turn["status"] == "completed"
    assert len(client.notifications("turn/started")) == 1
    assert texts(stage.model.requests[1], "user")[-2:] == ["first", "second"]


async def test_steering_while_a_command_runs_lets_it_end_and_then_tells_the_model_both(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    stage.model.script(tool_call("exec_command", {"cmd": "read line < go; echo $line"}, "call_s"))
    turn_id = await begin(client, thread, "first")
    await item_started(client, turn_id, "commandExecution")
    await client.call("turn/steer", {"threadId": thread, "expectedTurnId": turn_id, "input": text("second")})
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "done\n")
    assert (await ended(client, turn_id))["status"] == "completed"
    assert_balanced(client, turn_id)
    tail = stage.model.requests[1]["input"][-3:]
    assert [entry["type"] for entry in tail] == ["function_call", "function_call_output", "message"]
    assert "done" in tail[1]["output"]
    assert texts(stage.model.requests[1], "user")[-1] == "second"


async def test_several_messages_steered_at_once_all_reach_the_model_in_order(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    words = [f"message {number}" for number in range(5)]
    requests = [
        await client.post("turn/steer", {"threadId": thread, "expectedTurnId": turn_id, "input": text(word)})
        for word in words
    ]
    for request in requests:
        answer = await client.answer_to(request)
        assert answer.get("result") == {"turnId": turn_id} or answer["error"]["message"] == "no active turn to steer"
    accepted = [
        word for word, request in zip(words, requests, strict=True) if "result" in await client.answer_to(request)
    ]
    assert accepted
    await ended(client, turn_id)
    assert_balanced(client, turn_id)
    shown = [item["content"][0]["text"] for item in completed_items(client, turn_id) if item["type"] == "userMessage"]
    assert shown == ["first", *accepted]
    await run_turn(client, thread, "after")
    assert texts(stage.model.requests[-1], "user")[-len(accepted) - 1 : -1] == accepted


async def test_no_steered_message_is_lost_around_the_end_of_a_turn(stage: Stage) -> None:
    """Messages are sent while the model's answer ends: each is either refused or reaches the model."""
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    accepted: list[str] = []
    for number in range(25):
        opening = anyio.Event()
        stage.model.script(partial("a", item_id=f"msg_{number}"), gate(opening), say("ab", item_id=f"msg_{number}"))
        turn_id = await begin(client, thread, f"begin {number}")
        await item_started(client, turn_id, "agentMessage")
        opening.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(steer_until_refused, other, thread, turn_id, f"steered {number}", accepted)
        await ended(client, turn_id)
    await run_turn(client, thread, "last")
    told = texts(stage.model.requests[-1], "user")
    assert [word for word in told if word.startswith("steered")] == accepted
    assert accepted


async def steer_until_refused(client: RpcClient, thread: str, turn_id: str, words: str, accepted: list[str]) -> None:
    count = 0
    while count < 20:
        word = f"{words}.{count}"
        params = {"threadId": thread, "expectedTurnId": turn_id, "input": text(word)}
        answer = await client.try_call("turn/steer", params)
        if "error" in answer:
            assert answer["error"]["message"] == "no active turn to steer"
            return
        accepted.append(word)
        count += 1


async def test_starting_turns_without_pause_loses_no_message(stage: Stage) -> None:
    """Each turn/start falls into some moment of the turn before it: it steers that turn or starts the next."""
    client = await stage.client()
    thread = await stage.thread(client)
    words = [f"word {number}" for number in range(40)]
    ids: list[str] = []
    for word in words:
        ids.append(await begin(client, thread, word))
    for turn_id in dict.fromkeys(ids):
        assert (await ended(client, turn_id))["status"] == "completed"
        assert_balanced(client, turn_id)
    await run_turn(client, thread, "last")
    told = texts(stage.model.requests[-1], "user")
    assert [word for word in told if word.startswith("word")] == words


async def test_an_interrupt_without_a_turn_is_refused(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    for turn_id in ("x", ""):
        answer = await client.try_call("turn/interrupt", {"threadId": thread, "turnId": turn_id})
        assert answer["error"] == {"code": -32600, "message": "no active turn to interrupt"}


async def test_an_interrupt_of_another_turn_names_both(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    for wrong in ("nope", ""):
        answer = await client.try_call("turn/interrupt", {"threadId": thread, "turnId": wrong})
        message = f"expected active turn id {wrong} but found {turn_id}"
        assert answer["error"] == {"code": -32600, "message": message}
    await interrupt(client, thread, turn_id)
    await ended(client, turn_id)


@every_transport
async def test_an_interrupt_in_the_stream_keeps_the_text_so_far(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    await interrupt(client, thread, turn_id)
    turn = await ended(client, turn_id)
    assert (turn["status"], turn["error"], turn["items"]) == ("interrupted", None, [])
    assert_balanced(client, turn_id)
    assert completed_items(client, turn_id)[-1]["text"] == "part one "
    await stage.model.wait_for_hangups(1)
    page = await client.call("thread/turns/list", {"threadId": thread, "itemsView": "full"})
    assert page["data"][0]["status"] == "interrupted"
    assert page["data"][0]["items"] == completed_items(client, turn_id)


async def test_an_interrupt_while_the_model_thinks_completes_the_reasoning(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    thinking = [
        *event("response.output_item.added", item={"type": "reasoning", "id": "rs_i", "summary": []}),
        *event("response.reasoning_summary_text.delta", item_id="rs_i", summary_index=0, delta="half a thought"),
    ]
    stage.model.script(thinking, gate(never()))
    turn_id = await begin(client, thread)
    await client.until("item/reasoning/summaryTextDelta")
    await interrupt(client, thread, turn_id)
    await ended(client, turn_id)
    assert_balanced(client, turn_id)
    assert completed_items(client, turn_id)[-1]["summary"] == ["half a thought"]


async def test_an_interrupt_before_the_model_answers_ends_the_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(gate(never()))
    turn_id = await begin(client, thread)
    await stage.model.wait_for_requests(1)
    await interrupt(client, thread, turn_id)
    assert (await ended(client, turn_id))["status"] == "interrupted"
    assert_balanced(client, turn_id)
    await stage.model.wait_for_hangups(1)


async def test_an_interrupt_right_after_the_start_ends_the_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    for _ in range(10):
        stage.model.default = [gate(never())]
        turn_id = await begin(client, thread)
        await interrupt(client, thread, turn_id)
        assert (await ended(client, turn_id))["status"] == "interrupted"
        assert_balanced(client, turn_id)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
async def test_an_interrupt_leaves_a_command_running_whose_whole_tree_can_be_ended(stage: Stage, sandbox: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox=sandbox)
    # Processes are found by what they sleep for, because ids inside the sandbox are other ones.
    marks = [f"86400.{kind}{abs(hash(str(stage.cwd))) % 10**8}" for kind in (1, 2, 3)]
    script = f"echo before; setsid sleep {marks[0]} & (sleep {marks[1]} &) ; echo ready; sleep {marks[2]}"
    stage.model.script(tool_call("exec_command", {"cmd": script, "yield_time_ms": 30_000}, "call_t"))
    turn_id = await begin(client, thread)
    seen = ""
    while "ready" not in seen:
        seen += (await client.until("item/commandExecution/outputDelta"))["params"]["delta"]
    pids: set[int] = set()
    while len(pids) < 3:  # a process in the middle of exec shows no command line
        await anyio.lowlevel.checkpoint()
        pids |= {pid for mark in marks for pid in processes_with(mark)}
    await interrupt(client, thread, turn_id)
    turn = await ended(client, turn_id)
    assert turn["status"] == "interrupted"
    assert completed_items(client, turn_id)[-1]["type"] == "userMessage"
    assert [pid for pid in pids if is_gone(pid)] == []
    await client.call("thread/backgroundTerminals/clean", {"threadId": thread})
    command = (await client.until("item/completed"))["params"]["item"]
    assert (command["id"], command["status"], command["exitCode"]) == ("call_t", "failed", -1)
    assert command["aggregatedOutput"] == "before\nready\n"
    assert [pid for pid in pids if not is_gone(pid)] == []
    assert len(stage.model.requests) == 1


def processes_with(mark: str) -> set[int]:
    """The processes whose command line holds `mark`."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark.encode() in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


async def test_after_an_interrupt_the_model_is_told_of_it_and_every_call_has_an_output(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(
        say("I will run a command and change a file"),
        tool_call("exec_command", {"cmd": "echo begun; sleep 86400"}, "call_1"),
        tool_call("apply_patch", {"input": "*** Begin Patch\n*** Delete File: a\n*** End Patch"}, "call_2"),
    )
    turn_id = await begin(client, thread, "first")
    await client.until("item/commandExecution/outputDelta")
    await interrupt(client, thread, turn_id)
    await ended(client, turn_id)
    await run_turn(client, thread, "second")
    entries = stage.model.requests[1]["input"]
    calls = [entry["call_id"] for entry in entries if entry["type"] == "function_call"]
    outputs = {entry["call_id"]: entry["output"] for entry in entries if entry["type"] == "function_call_output"}
    assert calls == list(outputs) == ["call_1", "call_2"]
    (terminal,) = (await client.call("thread/backgroundTerminals/list", {"threadId": thread}))["data"]
    running = f"\\nProcess running with session ID {terminal['processId']}"
    assert re.fullmatch(rf"Wall time: \d+\.\d seconds\naborted by user{running}", outputs["call_1"])
    assert outputs["call_2"] == "aborted"
    assert any("turn_aborted" in words for words in texts(stage.model.requests[1], "user"))
    assert texts(stage.model.requests[1], "user")[-1] == "second"


async def test_a_second_interrupt_does_no_harm(stage: Stage) -> None:
    client = await stage.client()
    thread, turn_id = await streaming(stage, client)
    first = await client.post("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    second = await client.post("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    assert (await client.answer_to(first))["result"] == {}
    answer = await client.answer_to(second)
    assert answer.get("result") == {} or answer["error"]["message"] == "no active turn to interrupt"
    await ended(client, turn_id)
    assert_balanced(client, turn_id)
    assert (await run_turn(client, thread))["status"] == "completed"


async def test_any_subscriber_can_steer_and_interrupt(stage: Stage) -> None:
    first, second = await stage.client("first"), await stage.client("second")
    thread, turn_id = await streaming(stage, first)
    await second.call("thread/resume", {"threadId": thread})
    stage.model.script(partial("part two ", item_id="msg_2"), gate(never()))
    await second.call("turn/steer", {"threadId": thread, "expectedTurnId": turn_id, "input": text("more")})
    await item_started(first, turn_id, "agentMessage", nth=1)
    await interrupt(second, thread, turn_id)
    assert (await ended(first, turn_id))["status"] == "interrupted"
    assert_balanced(first, turn_id)


@pytest.mark.parametrize("method", ["turn/start", "turn/steer"])
async def test_empty_input_is_refused(stage: Stage, method: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    with pytest.raises(CallFailed, match="input") as failure:
        await client.call(method, {"threadId": thread, "input": [], "expectedTurnId": "x"})
    assert failure.value.code == -32600


@pytest.mark.parametrize("method", ["turn/start", "turn/steer", "turn/interrupt", "thread/shellCommand"])
async def test_unknown_and_malformed_thread_ids_are_refused(stage: Stage, method: str) -> None:
    client = await stage.client()
    for thread in ("00000000-0000-7000-8000-000000000000", "x", ""):
        params = {"threadId": thread, "turnId": "t", "expectedTurnId": "t", "input": text("a"), "command": "true"}
        with pytest.raises(CallFailed) as failure:
            await client.call(method, params)
        assert failure.value.code == -32600
        expected = f"thread not found: {thread}" if thread.startswith("0") else "invalid thread id"
        assert failure.value.message.startswith(expected)


async def test_a_shell_command_of_the_user_is_a_turn_of_its_own(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    assert await client.call("thread/shellCommand", {"threadId": thread, "command": "echo mine; exit 2"}) == {}
    turn_id = (await client.until("turn/started"))["params"]["turn"]["id"]
    assert (await ended(client, turn_id))["status"] == "completed"
    assert_balanced(client, turn_id)
    (command,) = completed_items(client, turn_id)
    assert (command["source"], command["exitCode"], command["status"]) == ("userShell", 2, "failed")
    assert command["aggregatedOutput"] == "mine\n"
    assert stage.model.requests == []
    await run_turn(client, thread, "what happened?")
    assert any("echo mine" in words and "mine\n" in words for words in texts(stage.model.requests[0], "user"))


async def test_a_shell_command_can_be_interrupted(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await client.call("thread/shellCommand", {"threadId": thread, "command": "echo mine; sleep 86400"})
    turn_id = (await client.until("turn/started"))["params"]["turn"]["id"]
    await client.until("item/commandExecution/outputDelta")
    await interrupt(client, thread, turn_id)
    assert (await ended(client, turn_id))["status"] == "interrupted"
    assert_balanced(client, turn_id)


@pytest.mark.parametrize("method", ["turn/start", "turn/steer"])
async def test_a_message_during_a_shell_command_is_answered_after_it(stage: Stage, method: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    await client.call("thread/shellCommand", {"threadId": thread, "command": "echo mine; read line < go"})
    turn_id = (await client.until("turn/started"))["params"]["turn"]["id"]
    await client.until("item/commandExecution/outputDelta")
    stage.model.script(say("I saw it"))
    await client.call(method, {"threadId": thread, "expectedTurnId": turn_id, "input": text("look at that")})
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "x\n")
    assert (await ended(client, turn_id))["status"] == "completed"
    assert_balanced(client, turn_id)
    assert [item["type"] for item in completed_items(client, turn_id)] == [
        "commandExecution",
        "userMessage",
        "agentMessage",
    ]
    told = texts(stage.model.requests[0], "user")
    assert told[-1] == "look at that"
    assert "echo mine" in told[-2]
    assert "<environment_context>" in told[0]


async def test_a_shell_command_in_a_running_turn_joins_it(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="msg_j"), gate(opening), say("ab", item_id="msg_j"))
    turn_id = await begin(client, thread)
    await item_started(client, turn_id, "agentMessage")
    await client.call("thread/shellCommand", {"threadId": thread, "command": "echo beside"})
    await client.until("item/completed", lambda p: p["item"]["type"] == "commandExecution")
    opening.set()
    await ended(client, turn_id)
    assert_balanced(client, turn_id)
    await run_turn(client, thread)
    assert any("echo beside" in words for words in texts(stage.model.requests[-1], "user"))


@pytest.mark.parametrize("how", ["ends", "is interrupted"])
async def test_a_shell_command_that_is_still_running_when_its_turn_ends_is_completed_once(
    stage: Stage, how: str
) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="msg_k"), gate(opening), say("ab", item_id="msg_k"))
    turn_id = await begin(client, thread)
    await item_started(client, turn_id, "agentMessage")
    command = "echo beside; read line < go; echo $line"
    await client.call("thread/shellCommand", {"threadId": thread, "command": command})
    await client.until("item/commandExecution/outputDelta")
    if how == "ends":
        opening.set()
        await client.until("item/completed", lambda p: p["item"]["type"] == "agentMessage")
        await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "freed\n")
    else:
        await interrupt(client, thread, turn_id)
    turn = await ended(client, turn_id)
    assert turn["status"] == ("completed" if how == "ends" else "interrupted")
    await run_turn(client, thread)
    assert_balanced(client, turn_id)
    done = [item for item in completed_items(client, turn_id) if item["type"] == "commandExecution"]
    assert [item["aggregatedOutput"] for item in done] == ["beside\nfreed\n" if how == "ends" else "beside\n"]


async def test_reasoning_is_sent_back_to_the_model_sealed(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(reasoning("hm", item_id="rs_k"), tool_call("exec_command", {"cmd": "true"}, "call_k"))
    await run_turn(client, thread)
    kept = [entry for entry in stage.model.requests[1]["input"] if entry["type"] == "reasoning"]
    assert [entry["encrypted_content"] for entry in kept] == ["sealed"]
