"""What clients do to the course of a thread: revert, injected items and plans, held clocks, settings of a turn."""

import os
import subprocess
from pathlib import Path
from typing import Any

import anyio
import orjson

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Body, gate, partial, say, status, tool_call
from tests.support.stage import Stage, begin, completed_items, ended, item_started, run_turn, set_stage, text


async def refusal(client: RpcClient, method: str, **params: Any) -> tuple[int, str]:
    error = (await client.try_call(method, params))["error"]
    return error["code"], error["message"]


def words(request: Body) -> list[str]:
    """The texts of the conversation in a request, without what the program adds."""
    return [
        part["text"]
        for entry in request["input"]
        if entry["type"] == "message"
        for part in entry["content"]
        if not part["text"].startswith("<")
    ]


def message(role: str, words: str) -> Message:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}]}


async def turn_ids(client: RpcClient, thread: str) -> list[str]:
    listed = await client.call("thread/turns/list", {"threadId": thread, "sortDirection": "asc"})
    return [turn["id"] for turn in listed["data"]]


# Revert


async def test_reverting_takes_turns_away_from_readers_and_from_the_model(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    for number in range(3):
        stage.model.script(say(f"answer {number}"))
        await run_turn(client, thread, f"question {number}")
    first, second, _ = await turn_ids(client, thread)
    answer = await client.call("thread/revert", {"threadId": thread, "beforeTurnId": second})
    assert answer["thread"]["id"] == thread
    assert answer["thread"]["turns"] == []
    assert (await other.until("thread/reverted"))["params"] == {"threadId": thread}
    assert await turn_ids(client, thread) == [first]
    items = await client.call("thread/items/list", {"threadId": thread, "cursor": answer["itemsBackwardsCursor"]})
    assert {entry["turnId"] for entry in items["data"]} == {first}
    await run_turn(client, thread, "another question")
    assert words(stage.model.requests[-1]) == ["question 0", "answer 0", "another question"]


async def test_reverting_in_mid_turn_interrupts_it_first(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread, "kept")
    stage.model.script(partial("a"), gate(anyio.Event()))
    turn = await begin(client, thread, "taken back")
    await stage.model.wait_for_requests(2)
    await client.call("thread/revert", {"threadId": thread, "beforeTurnId": turn})
    methods = [message["method"] for message in client.notifications("turn/completed", "thread/reverted")]
    assert methods == ["turn/completed", "turn/completed", "thread/reverted"]
    assert (await ended(client, turn))["status"] == "interrupted"
    assert turn not in await turn_ids(client, thread)
    await run_turn(client, thread, "anew")
    assert words(stage.model.requests[-1]) == ["kept", "done", "anew"]


async def test_a_thread_reverted_to_its_beginning_stays_in_the_lists_and_knows_its_project(stage: Stage) -> None:
    client = await stage.client()
    (stage.cwd / "AGENTS.md").write_text("Be kind.")
    thread = await stage.thread(client)
    await run_turn(client, thread, "first words")
    (turn,) = await turn_ids(client, thread)
    answer = await client.call("thread/revert", {"threadId": thread, "beforeTurnId": turn})
    assert (answer["turnsBackwardsCursor"], answer["itemsBackwardsCursor"]) == (None, None)
    listed = await client.call("thread/list", {"cwd": str(stage.cwd)})
    assert [entry["id"] for entry in listed["data"]] == [thread]
    await run_turn(client, thread, "second words")
    assert "Be kind." in str(stage.model.requests[1]["input"])
    assert words(stage.model.requests[1])[1:] == ["second words"]


async def test_what_cannot_be_reverted_is_refused_and_nothing_happens(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("a", item_id="m"), gate(opening := anyio.Event()), say("ab", item_id="m"))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(1)
    wanted = (-32600, "turn not found: nope")
    assert await refusal(client, "thread/revert", threadId=thread, beforeTurnId="nope") == wanted
    opening.set()
    assert (await ended(client, turn))["status"] == "completed"
    fleeting = await stage.thread(client, ephemeral=True)
    wanted = (-32600, "ephemeral threads do not support thread/revert")
    assert await refusal(client, "thread/revert", threadId=fleeting, beforeTurnId=turn) == wanted


# Injected items


async def test_injected_items_reach_the_model_and_no_client(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    call: Message = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    output: Message = {"type": "function_call_output", "call_id": "c", "output": "of f"}
    unknown: Message = {"type": "hologram", "data": 1}
    items = [message("assistant", "as if said"), call, output, unknown]
    assert await client.call("thread/inject_items", {"threadId": thread, "items": items}) == {}
    await run_turn(client, thread, "hello")
    shown = stage.model.requests[0]["input"]
    assert [entry for entry in shown if entry.get("call_id") == "c"] == [
        {name: value for name, value in call.items() if name != "id"},
        output,
    ]
    assert unknown in shown
    assert words(stage.model.requests[0]) == ["as if said", "hello"]
    assert [item["type"] for item in completed_items(client)] == ["userMessage", "agentMessage"]


async def test_what_is_injected_into_a_running_turn_is_read_before_it_ends(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="m"), gate(opening), say("ab", item_id="m"))
    turn = await begin(client, thread, "first")
    await stage.model.wait_for_requests(1)
    items = [message("developer", "by the way")]
    await client.call("thread/inject_items", {"threadId": thread, "items": items})
    opening.set()
    await ended(client, turn)
    assert len(stage.model.requests) == 2
    assert "by the way" in words(stage.model.requests[1])


async def test_items_that_are_none_are_refused_by_their_place(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)

    async def injecting(*items: Any) -> tuple[int, str]:
        return await refusal(client, "thread/inject_items", threadId=thread, items=list(items))

    assert await injecting() == (-32600, "items must not be empty")
    code, text = await injecting(message("user", "fine"), 1)
    assert (code, text.partition(":")[0]) == (-32600, "items[1] is not a valid response item")
    code, text = await injecting({"type": "message", "role": "user"})
    assert code == -32600
    assert "`content`" in text
    await run_turn(client, thread, "hello")
    assert words(stage.model.requests[0]) == ["hello"]


async def test_an_approved_plan_is_shown_to_the_model_and_the_prompt_carries_it_out(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    plan: Message = {"threadId": thread, "markdown": "# Plan\n- build"}
    prompt = (await client.call("thread/prepareApprovedPlan", plan))["prompt"]
    await run_turn(client, thread, prompt)
    assert "# Plan\\n- build" in orjson.dumps(stage.model.requests[0]["input"]).decode()
    assert words(stage.model.requests[0]) == [prompt]
    empty = (-32600, "The approved plan is empty.")
    assert await refusal(client, "thread/prepareApprovedPlan", threadId=thread, markdown=" ") == empty
    long: Message = {"threadId": thread, "markdown": "- a\n" * 20_000}
    code, reason = await refusal(client, "thread/prepareApprovedPlan", **long)
    assert code == -32600
    assert "attachmentPath" in reason
    (stage.cwd / "plan.md").write_text(long["markdown"])
    await client.call("thread/prepareApprovedPlan", {**long, "attachmentPath": str(stage.cwd / "plan.md")})
    relative = (-32602, "`attachmentPath` must be absolute on the app server")
    assert await refusal(client, "thread/prepareApprovedPlan", **long, attachmentPath="plan.md") == relative


# Clocks


async def test_a_command_that_waits_for_the_user_does_not_use_up_its_time(stage: Stage) -> None:
    """The call waits at least 250 ms for the command, and goes on waiting while the clock is held."""
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    held = await client.call("thread/increment_elicitation", {"threadId": thread})
    assert held == {"count": 1, "paused": True}
    arguments = {"cmd": "read line < go; echo $line", "yield_time_ms": 250}
    stage.model.script(tool_call("exec_command", arguments, "call_w"))
    turn = await begin(client, thread)
    await item_started(client, turn, "commandExecution")
    with anyio.move_on_after(0.6):
        await stage.model.wait_for_requests(2)
    assert len(stage.model.requests) == 1
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "answered\n")
    await ended(client, turn)
    assert "answered" in stage.model.requests[1]["input"][-1]["output"]
    released = await client.call("thread/decrement_elicitation", {"threadId": thread})
    assert released == {"count": 0, "paused": False}
    wanted = (-32600, "out-of-band elicitation count is already zero")
    assert await refusal(client, "thread/decrement_elicitation", threadId=thread) == wanted


async def test_once_the_clock_is_released_a_call_ends_as_usual(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    for count in (1, 2):
        held = await client.call("thread/increment_elicitation", {"threadId": thread})
        assert held == {"count": count, "paused": True}
    stage.model.script(tool_call("exec_command", {"cmd": "read line < go", "yield_time_ms": 250}, "call_w"))
    turn = await begin(client, thread)
    await item_started(client, turn, "commandExecution")
    for count in (1, 0):
        released = await client.call("thread/decrement_elicitation", {"threadId": thread})
        assert released == {"count": count, "paused": count > 0}
    await ended(client, turn)
    assert "session" in stage.model.requests[1]["input"][-1]["output"].lower()
    await client.call("thread/backgroundTerminals/clean", {"threadId": thread})


# Settings of a turn


async def test_settings_of_a_running_turn_hold_from_its_next_request_on_and_not_longer(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    stage.model.script(tool_call("exec_command", {"cmd": "read line < go"}))
    turn = await begin(client, thread)
    await item_started(client, turn, "commandExecution")
    changes = {"model": "other-model", "effort": "high", "summary": "detailed", "serviceTier": "flex"}
    answer = await client.call("turn/settings/update", {"threadId": thread, "turnId": turn, **changes})
    assert answer == {"status": "applied"}
    code, reason = await refusal(
        client,
        "turn/settings/update",
        threadId=thread,
        turnId=turn,
        environments=[{"environmentId": "moon", "cwd": "/"}],
    )
    assert (code, reason) == (-32600, "unknown turn environment id `moon`")
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "\n")
    await ended(client, turn)
    second = stage.model.requests[1]
    assert (second["model"], second["service_tier"]) == ("other-model", "flex")
    assert second["reasoning"] == {"effort": "high", "summary": "detailed"}
    await run_turn(client, thread)
    assert stage.model.requests[2]["model"] == "mock-model"
    late = {"threadId": thread, "turnId": turn, "model": "x"}
    assert await client.call("turn/settings/update", late) == {"status": "targetUnavailable"}
    unknown = await client.try_call("turn/settings/update", {**late, "colour": "red"})
    assert unknown["error"]["code"] == -32600


async def test_a_turn_without_an_environment_has_no_tools(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(gate(opening), tool_call("update_plan", {"plan": []}))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(1)
    await client.call("turn/settings/update", {"threadId": thread, "turnId": turn, "environments": []})
    opening.set()
    await ended(client, turn)
    assert not stage.model.requests[1].get("tools")


# Tool outputs in place of messages


async def test_the_output_of_a_clients_tool_begins_a_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    output: Message = {"name": "mail", "namespace": "inbox", "output": "You have mail"}
    answer = await client.call("turn/start", {"threadId": thread, "input": [], "toolOutput": output})
    await ended(client, answer["turn"]["id"])
    item = completed_items(client)[0]
    assert {name: item[name] for name in ("type", "name", "namespace", "output")} == {
        "type": "functionCallOutput",
        **output,
    }
    assert stage.model.requests[0]["input"][-1] == {"type": "function_call_output", **output}
    listed = await client.call("thread/items/list", {"threadId": thread})
    assert listed["data"][0]["item"] == item


async def test_the_output_of_a_clients_tool_joins_a_running_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("a"), gate(anyio.Event()))
    turn = await begin(client, thread, "first")
    await stage.model.wait_for_requests(1)
    parts = [{"type": "input_text", "text": "in parts"}]
    answer = await client.call(
        "turn/start", {"threadId": thread, "input": [], "toolOutput": {"name": "mail", "output": parts}}
    )
    assert answer["turn"]["id"] == turn
    await ended(client, turn)
    assert stage.model.requests[1]["input"][-1] == {"type": "function_call_output", "name": "mail", "output": parts}


async def test_a_message_and_a_tools_output_exclude_each_other(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    both = {"threadId": thread, "input": text("x"), "toolOutput": {"name": "mail", "output": "y"}}
    wanted = (-32600, "`toolOutput` cannot be combined with nonempty `input`")
    assert await refusal(client, "turn/start", **both) == wanted
    nameless: Message = {"threadId": thread, "input": [], "toolOutput": {"name": " ", "output": "y"}}
    assert await refusal(client, "turn/start", **nameless) == (-32600, "`toolOutput.name` must not be empty")
    assert await refusal(client, "turn/start", threadId=thread, input=[]) == (-32600, "`input` must not be empty")


# What goes along with a message


async def test_what_a_client_adds_to_a_steering_message_reaches_the_model(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("a"), gate(anyio.Event()))
    turn = await begin(client, thread, "first")
    await stage.model.wait_for_requests(1)
    added = {"open file": {"kind": "untrusted", "value": "of the editor"}}
    params = {"threadId": thread, "expectedTurnId": turn, "input": text("second"), "additionalContext": added}
    await client.call("turn/steer", params)
    await ended(client, turn)
    last = [entry["content"][0]["text"] for entry in stage.model.requests[1]["input"][-2:]]
    assert "of the editor" in last[0]
    assert last[1] == "second"


async def test_a_clients_metadata_reach_the_provider_with_the_turn_that_they_are_about(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn = await begin(client, thread, responsesapiClientMetadata={"editor": "mine"})
    await ended(client, turn)
    queued = {"clientUserMessageId": "c", "responsesapiClientMetadata": {"editor": "queued"}}
    await client.call("thread/queue/add", {"threadId": thread, "input": text("q"), **queued})
    await stage.model.wait_for_requests(2)
    await client.until("turn/completed")
    await client.until("turn/completed")
    await run_turn(client, thread)
    first, second, third = stage.model.requests
    told = [orjson.loads(request["client_metadata"]["x-codex-turn-metadata"]) for request in (first, second)]
    assert told[0] == {"editor": "mine", "thread_id": thread, "turn_id": turn}
    assert told[1]["editor"] == "queued"
    assert "client_metadata" not in third


# Samples


async def test_a_sample_asks_the_model_aside_and_leaves_no_trace(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(say("the answer"))
    turn = (await run_turn(client, thread, "the question"))["id"]
    stage.model.script(say("in short"))
    request = {"threadId": thread, "prompt": "Sum up", "expectedTurnId": turn, "effort": "low"}
    answer = await client.call("thread/sample", request)
    assert answer["text"] == "in short"
    assert (answer["sourceTurnId"], answer["inputTokens"], answer["outputTokens"]) == (turn, 10, 5)
    assert words(stage.model.requests[1]) == ["the question", "the answer", "Sum up"]
    assert stage.model.requests[1]["tools"] == stage.model.requests[0]["tools"]
    assert stage.model.requests[1]["reasoning"]["effort"] == "low"
    stage.model.script(tool_call("exec_command", {"cmd": "touch x"}))
    assert (await client.call("thread/sample", request))["text"] is None
    assert not (stage.cwd / "x").exists()
    await run_turn(client, thread, "next")
    assert words(stage.model.requests[-1]) == ["the question", "the answer", "next"]


async def test_a_sample_is_cancelled_by_the_id_of_its_request(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    turn = (await run_turn(client, thread))["id"]
    stage.model.script(partial("a"), gate(anyio.Event()))
    request = await client.post("thread/sample", {"threadId": thread, "prompt": "p", "expectedTurnId": turn})
    await stage.model.wait_for_requests(2)
    assert await other.call("thread/sample/cancel", {"requestId": request}) == {}
    assert await client.call("thread/sample/cancel", {"requestId": request}) == {}
    assert (await client.answer_to(request))["error"] == {"code": -32603, "message": "sample canceled"}
    await stage.model.wait_for_hangups(1)
    assert await client.call("thread/sample/cancel", {"requestId": request}) == {}


async def test_a_sample_of_a_thread_that_has_gone_on_is_refused(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    first = (await run_turn(client, thread))["id"]
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="m"), gate(opening), say("ab", item_id="m"))
    second = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    request = {"threadId": thread, "prompt": "p", "expectedTurnId": second}
    assert await refusal(client, "thread/sample", **request) == (-32600, "sample source must be idle")
    answer = await client.call("thread/sample", {**request, "allowInProgressTurn": True})
    assert answer["text"] == "done"
    opening.set()
    await ended(client, second)
    stale = (-32600, "sample source turn must be the latest finished turn")
    assert await refusal(client, "thread/sample", **{**request, "expectedTurnId": first}) == stale
    long = (-32600, "thread/sample requires expectedTurnId and a prompt of at most 4000 bytes")
    assert await refusal(client, "thread/sample", **{**request, "prompt": "ä" * 2001}) == long
    stage.model.script(status(500))
    assert (await refusal(client, "thread/sample", **request))[0] == -32603


# Reviews that a client asks for


async def test_the_call_that_a_thread_ends_with_is_reviewed_where_a_model_decides(stage: Stage) -> None:
    client = await stage.client()
    call: Message = {"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": '{"cmd": "ls"}'}
    verdict = {"outcome": "deny", "risk_level": "high", "user_authorization": "low", "rationale": "Too much."}
    for reviewer, wanted in (("user", None), ("auto_review", verdict)):
        thread = await stage.thread(client, approvalPolicy="on-request", approvalsReviewer=reviewer)
        await client.call("thread/inject_items", {"threadId": thread, "items": [call]})
        stage.model.script(say(orjson.dumps(verdict).decode()))
        answer = await client.call("thread/guardianReview", {"threadId": thread})
        assert answer["callId"] == "c"
        found = answer["assessment"]
        assert found == (
            None
            if wanted is None
            else {"outcome": "deny", "riskLevel": "high", "userAuthorization": "low", "rationale": "Too much."}
        )
        stage.model.reset()


async def test_what_no_review_can_be_about_is_refused(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    wanted = (
        "expected a completed plaintext exec_command, apply_patch, request_permissions, or MCP call with a "
        "nonempty call ID"
    )
    assert await refusal(client, "thread/guardianReview", threadId=thread) == (-32600, wanted)
    for name, arguments, reason in (
        ("view_image", "{}", "unsupported tool for direct review"),
        ("exec_command", "{bad", "failed to parse function arguments"),
    ):
        call: Message = {"type": "function_call", "call_id": "c", "name": name, "arguments": arguments}
        await client.call("thread/inject_items", {"threadId": thread, "items": [call]})
        code, told = await refusal(client, "thread/guardianReview", threadId=thread)
        assert code == -32600
        assert reason in told


# Where a thread's repository stood


async def test_a_thread_keeps_where_its_repository_stood_as_it_began(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.email=a@example.com", "-c", "user.name=a", "-c", "init.defaultBranch=trunk"]
        variables = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *identity, *arguments], cwd=stage.cwd, env=variables, check=True, capture_output=True)

    async def recorded(client: RpcClient, thread: str) -> Message:
        while True:
            read = (await client.call("thread/read", {"threadId": thread}))["thread"]
            if read["gitInfo"] is not None:
                return read["gitInfo"]

    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        await anyio.to_thread.run_sync(git, "init")
        await anyio.to_thread.run_sync(git, "remote", "add", "origin", "https://me:secret@example.com/a/b.git")
        (stage.cwd / "file").write_text("x")
        await anyio.to_thread.run_sync(git, "add", ".")
        await anyio.to_thread.run_sync(git, "commit", "-m", "first")
        thread = await stage.thread(client)
        found = await recorded(client, thread)
        assert (found["branch"], found["originUrl"]) == ("trunk", "https://example.com/a/b.git")
        assert len(found["sha"]) == 40
        await run_turn(client, thread)
        await anyio.to_thread.run_sync(git, "checkout", "-b", "other")
        copy = (await client.call("thread/fork", {"threadId": thread, "excludeTurns": True}))["thread"]["id"]
        assert (await recorded(client, copy))["branch"] == "other"
        listed = await client.call("thread/list")
        assert {entry["id"]: entry["gitInfo"]["branch"] for entry in listed["data"]} == {
            thread: "trunk",
            copy: "other",
        }
