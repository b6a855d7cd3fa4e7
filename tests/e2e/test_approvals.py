"""Approvals on the wire: who is asked, whose answer counts, and what each answer does."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from tests.support.daemon import running_daemon
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, say, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    methods_of,
    of_turn,
    run_turn,
    set_stage,
)

ASK = "item/commandExecution/requestApproval"
ESCALATED = {"sandbox_permissions": "require_escalated", "justification": "May I?"}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A daemon of its own for each test: what is allowed for good must not reach the next one."""
    settings: dict[str, object] = {"approval_policy": "on-request", "sandbox_mode": "workspace-write"}
    async with set_stage(tmp_path, settings=settings) as stage:
        yield stage


def command(cmd: str, call_id: str = "call_c", **arguments: Any) -> Part:
    return tool_call("exec_command", {"cmd": cmd, "login": False, **arguments}, call_id)


def outputs(request: Message) -> dict[str, str]:
    """The outputs of calls in a request to the model, by call."""
    return {entry["call_id"]: entry["output"] for entry in request["input"] if entry["type"] == "function_call_output"}


def commands(client: RpcClient) -> list[Message]:
    return [item for item in completed_items(client) if item["type"] == "commandExecution"]


async def ask(stage: Stage, client: RpcClient, *calls: Part, **settings: Any) -> tuple[str, str]:
    """A thread and its running turn, in which the model makes these calls."""
    thread = await stage.thread(client, **settings)
    stage.model.script(*(calls or (command("touch ran", **ESCALATED),)))
    return thread, await begin(client, thread)


async def answer(client: RpcClient, decision: Any, number: int = 0) -> Message:
    """Answer the next question, which is returned."""
    question = await client.until(ASK)
    await client.respond(question, {"decision": decision})
    return question


async def exists(path: Path) -> bool:
    return await anyio.Path(path).exists()


async def test_a_yes_runs_the_command_and_the_dialogue_is_in_order(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    question = await answer(client, "accept")
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    params = question["params"]
    begun = next(told["params"]["item"] for told in of_turn(client, turn) if told["method"] == "item/started")
    assert begun["type"] == "userMessage"
    (done,) = commands(client)
    assert params == {
        "threadId": thread,
        "turnId": turn,
        "itemId": "call_c",
        "startedAtMs": params["startedAtMs"],
        "kind": "command",
        "approvalId": None,
        "environmentId": "local",
        "reason": "May I?",
        "command": done["command"],
        "cwd": str(stage.cwd),
        "commandActions": done["commandActions"],
        "additionalPermissions": None,
        "networkApprovalContext": None,
        "proposedExecpolicyAmendment": ["touch", "ran"],
        "proposedNetworkPolicyAmendments": None,
        "availableDecisions": [
            "accept",
            {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["touch", "ran"]}},
            "cancel",
        ],
    }
    order = [
        (message.get("method"), message.get("params", {}).get("item", {}).get("type"))
        for message in client.received
        if message.get("method") in (ASK, "item/started", "serverRequest/resolved", "item/completed", "turn/completed")
    ]
    at = order.index(("item/started", "commandExecution"))
    assert order[at : at + 4] == [
        ("item/started", "commandExecution"),
        (ASK, None),
        ("serverRequest/resolved", None),
        ("item/completed", "commandExecution"),
    ]
    assert (done["status"], done["source"], done["exitCode"]) == ("completed", "unifiedExecStartup", 0)
    assert await exists(stage.cwd / "ran")


async def test_the_status_says_that_the_thread_waits(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    await client.until(ASK)
    read = await client.call("thread/read", {"threadId": thread})
    assert read["thread"]["status"] == {"type": "active", "activeFlags": ["waitingOnApproval"]}
    (question,) = [message for message in client.received if message.get("method") == ASK]
    await client.respond(question, {"decision": "decline"})
    await ended(client, turn)
    flags = [
        message["params"]["status"].get("activeFlags")
        for message in client.notifications("thread/status/changed")
        if message["params"]["threadId"] == thread
    ]
    assert flags == [[], ["waitingOnApproval"], [], None]


async def test_a_no_is_told_to_the_model_and_the_turn_goes_on(stage: Stage) -> None:
    client = await stage.client()
    _, turn = await ask(stage, client)
    await answer(client, "decline")
    assert (await ended(client, turn))["status"] == "completed"
    assert outputs(stage.model.requests[-1]) == {"call_c": "exec_command failed: rejected by user"}
    (done,) = commands(client)
    assert (done["status"], done["source"], done["exitCode"], done["processId"]) == ("declined", "agent", None, None)
    assert not await exists(stage.cwd / "ran")


async def test_cancel_ends_the_turn_after_the_item(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    await answer(client, "cancel")
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    assert commands(client)[0]["status"] == "declined"
    assert len(stage.model.requests) == 1
    assert not await exists(stage.cwd / "ran")
    await run_turn(client, thread)
    assert outputs(stage.model.requests[-1]) == {"call_c": "aborted"}


@pytest.mark.parametrize(
    "response",
    [
        {"result": {"decision": "perhaps"}},
        {"result": {}},
        {"result": None},
        {"result": "accept"},
        {"error": {"code": -32000, "message": "no idea"}},
        {"result": {"decision": {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": []}}}},
        {
            "result": {
                "decision": {
                    "applyNetworkPolicyAmendment": {"network_policy_amendment": {"host": "a.b", "action": "allow"}}
                }
            }
        },
    ],
)
async def test_what_is_no_proper_answer_is_a_no(stage: Stage, response: Message) -> None:
    client = await stage.client()
    _, turn = await ask(stage, client)
    question = await client.until(ASK)
    await client.send({"id": question["id"], **response})
    assert (await ended(client, turn))["status"] == "completed"
    assert outputs(stage.model.requests[-1])["call_c"].startswith("exec_command failed: approval request failed")
    assert commands(client)[0]["status"] == "failed"
    assert not await exists(stage.cwd / "ran")
    assert not await exists(stage.home / "rules")


async def test_a_yes_for_the_session_covers_the_same_command_and_no_other(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    await answer(client, "acceptForSession")
    await ended(client, turn)
    (stage.cwd / "ran").unlink()
    stage.model.script(command("touch ran", "call_again", **ESCALATED))
    await run_turn(client, thread)
    assert await exists(stage.cwd / "ran")
    assert len([message for message in client.received if message.get("method") == ASK]) == 1
    stage.model.script(command("touch other", "call_other", **ESCALATED))
    turn = await begin(client, thread)
    await answer(client, "decline")
    await ended(client, turn)
    assert not await exists(stage.cwd / "other")
    other = await stage.client()
    _, turn = await ask(stage, other)
    await answer(other, "decline")
    await ended(other, turn)


async def test_an_amendment_is_kept_as_a_rule_and_lets_the_next_command_out(stage: Stage, tmp_path: Path) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    await answer(client, {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["touch"]}})
    await ended(client, turn)
    assert (stage.home / "rules" / "default.rules").read_text() == 'prefix_rule(pattern=["touch"], decision="allow")\n'
    told = [entry for entry in stage.model.requests[-1]["input"] if entry.get("role") == "developer"]
    assert "['touch']" in told[-1]["content"][0]["text"]
    stage.model.script(command(f"touch {tmp_path}/outside", "call_next"))
    await run_turn(client, thread)
    assert await exists(tmp_path / "outside")
    assert len([message for message in client.received if message.get("method") == ASK]) == 1


async def test_all_followers_are_asked_and_the_first_answer_counts(stage: Stage) -> None:
    client, other = await stage.client("one"), await stage.client("two")
    thread = await stage.thread(client)
    await other.call("thread/resume", {"threadId": thread})
    stage.model.script(command("touch ran", **ESCALATED))
    turn = await begin(client, thread)
    questions = [await each.until(ASK) for each in (client, other)]
    assert questions[0] == questions[1]
    await other.respond(questions[1], {"decision": "decline"})
    for each in (client, other):
        resolved = await each.until("serverRequest/resolved")
        assert resolved["params"] == {"threadId": thread, "requestId": questions[0]["id"]}
    await client.respond(questions[0], {"decision": "accept"})
    for each in (client, other):
        assert (await ended(each, turn))["status"] == "completed"
        assert commands(each)[0]["status"] == "declined"
    assert not await exists(stage.cwd / "ran")


async def test_who_does_not_follow_the_thread_does_not_answer_for_it(stage: Stage) -> None:
    client, stranger, former = [await stage.client(name) for name in ("one", "stranger", "former")]
    thread = await stage.thread(client)
    await former.call("thread/resume", {"threadId": thread})
    stage.model.script(command("touch ran", **ESCALATED))
    turn = await begin(client, thread)
    question = await client.until(ASK)
    await former.until(ASK)
    await former.call("thread/unsubscribe", {"threadId": thread})
    for other in (stranger, former):
        for number in range(question["id"] + 2):
            await other.send({"id": number, "result": {"decision": "accept"}})
        await other.call("thread/loaded/list", {})
    await client.respond(question, {"decision": "decline"})
    await ended(client, turn)
    assert commands(client)[0]["status"] == "declined"
    assert not await exists(stage.cwd / "ran")
    assert [message for message in stranger.received if message.get("method") == ASK] == []


async def test_a_question_waits_for_somebody_and_is_asked_again(stage: Stage) -> None:
    watcher = await stage.client("watcher")
    async with stage.daemon.client() as client:
        await client.initialize("gone")
        thread, turn = await ask(stage, client)
        first = await client.until(ASK)
    while (await watcher.call("thread/read", {"threadId": thread}))["thread"]["status"]["type"] != "active":
        await anyio.lowlevel.checkpoint()
    later = await stage.client("later")
    answer_to_resume = await later.call("thread/resume", {"threadId": thread})
    items = answer_to_resume["thread"]["turns"][-1]["items"]
    assert (items[-1]["id"], items[-1]["status"]) == ("call_c", "inProgress")
    assert await later.until(ASK) == first
    await later.respond(first, {"decision": "accept"})
    assert (await ended(later, turn))["status"] == "completed"
    assert await exists(stage.cwd / "ran")


async def test_a_follower_that_joins_is_asked_what_is_open_once(stage: Stage) -> None:
    client, other = await stage.client("one"), await stage.client("two")
    thread, turn = await ask(stage, client)
    question = await client.until(ASK)
    for _ in range(2):
        await other.call("thread/resume", {"threadId": thread})
    assert await other.until(ASK) == question
    await other.call("thread/loaded/list", {})
    assert len([message for message in other.received if message.get("method") == ASK]) == 1
    await other.respond(question, {"decision": "accept"})
    await ended(client, turn)
    assert commands(client)[0]["status"] == "completed"


async def test_an_interrupt_closes_the_question_and_declines_the_command(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client)
    question = await client.until(ASK)
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    resolved = [message["params"]["requestId"] for message in client.notifications("serverRequest/resolved")]
    assert resolved == [question["id"]]
    await client.respond(question, {"decision": "accept"})
    assert commands(client)[0]["status"] == "declined"
    await run_turn(client, thread)
    assert "aborted by user" in outputs(stage.model.requests[-1])["call_c"]
    assert not await exists(stage.cwd / "ran")


async def test_a_restart_makes_no_yes_of_an_open_question(tmp_path: Path) -> None:
    settings: dict[str, object] = {"approval_policy": "untrusted", "sandbox_mode": "workspace-write"}
    async with set_stage(tmp_path, settings=settings) as stage:
        client = await stage.client()
        thread, _ = await ask(stage, client, command("touch ran"))
        await client.until(ASK)
        stage.daemon.process.kill()
        await client.closed.wait()
        async with running_daemon(stage.home) as daemon, daemon.client() as again:
            await again.initialize()
            resumed = await again.call("thread/resume", {"threadId": thread})
            assert resumed["thread"]["turns"][-1]["status"] == "interrupted"
            await again.call("thread/loaded/list", {})
            assert [message for message in again.received if message.get("method") == ASK] == []
            assert not await exists(stage.cwd / "ran")
    assert [(row["decision"], row["decided_by"]) for row in decisions(stage.home)] == [("lost", "the daemon ended")]


async def test_every_decision_is_kept_with_who_made_it_and_what_it_was_about(stage: Stage) -> None:
    client = await stage.client("somebody")
    thread, turn = await ask(stage, client)
    await answer(client, "accept")
    await ended(client, turn)
    stage.model.script(command("touch other", "call_d", **ESCALATED))
    turn = await begin(client, thread)
    await client.send({"id": (await client.until(ASK))["id"], "result": {"decision": "perhaps"}})
    await ended(client, turn)
    first, second = decisions(stage.home)
    argv = orjson.dumps([str(stage.cwd), "/bin/bash", "-c", "touch ran"])
    assert first["digest"] == sha256(argv).hexdigest()
    assert (first["thread_id"], first["item_id"], first["kind"]) == (thread, "call_c", "command")
    assert first["summary"] == "/bin/bash -c 'touch ran'"
    assert first["decision"] == "accept"
    assert first["decided_by"].startswith("somebody ")
    assert first["asked_at_ms"] <= first["decided_at_ms"]
    assert second["decision"] == "failed"
    assert "does not fit" in second["decided_by"]


def decisions(home: Path) -> Sequence[Any]:
    """The rows of the decision log, oldest first."""
    connection = sqlite3.connect(home / "turnloom" / "threads.sqlite3")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM decisions ORDER BY number").fetchall()
    finally:
        connection.close()


# Policies


async def test_under_untrusted_every_command_is_asked_about(stage: Stage) -> None:
    client = await stage.client()
    _, turn = await ask(stage, client, command("ls"), approvalPolicy="untrusted")
    question = await answer(client, "accept")
    assert question["params"]["reason"] is None
    await ended(client, turn)
    assert commands(client)[0]["status"] == "completed"


async def test_a_turn_may_have_a_policy_of_its_own(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(command("touch ran", **ESCALATED))
    await run_turn(client, thread, approvalPolicy="never")
    assert outputs(stage.model.requests[-1])["call_c"].startswith("exec_command failed: ")
    assert commands(client) == []
    assert "item/started" in methods_of(client, stage_turn(client))
    assert not await exists(stage.cwd / "ran")


def stage_turn(client: RpcClient) -> str:
    return client.notifications("turn/completed")[-1]["params"]["turn"]["id"]


@pytest.mark.parametrize("policy", ["untrusted", "granular"])
async def test_a_command_that_the_sandbox_stopped_is_asked_about_once_and_run_again(
    stage: Stage, policy: str, tmp_path: Path
) -> None:
    outside = Path.home() / f"turnloom-test-{tmp_path.parent.name}-{tmp_path.name}"
    granular = {"granular": {"sandbox_approval": True, "rules": True, "mcp_elicitations": True}}
    client = await stage.client()
    try:
        _, turn = await ask(
            stage, client, command(f"touch {outside}"), approvalPolicy=policy if policy == "untrusted" else granular
        )
        if policy == "untrusted":
            await answer(client, "accept")
        question = await answer(client, "accept")
        assert question["params"]["reason"] == "The sandbox stopped this command. Run it again outside the sandbox?"
        await ended(client, turn)
        assert_balanced(client, turn)
        assert await exists(outside)
        (done,) = commands(client)
        assert (done["status"], done["exitCode"]) == ("completed", 0)
        assert "exited with code 0" in outputs(stage.model.requests[-1])["call_c"]
    finally:
        outside.unlink(missing_ok=True)


async def test_under_on_request_what_the_sandbox_stopped_goes_back_to_the_model(stage: Stage, tmp_path: Path) -> None:
    outside = Path.home() / f"turnloom-test-{tmp_path.parent.name}-{tmp_path.name}"
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(command(f"touch {outside}"))
    turn = await run_turn(client, thread)
    assert_balanced(client, turn["id"])
    assert "exited with code 1" in outputs(stage.model.requests[-1])["call_c"]
    assert [message for message in client.received if message.get("method") == ASK] == []
    (done,) = commands(client)
    assert (done["status"], done["exitCode"]) == ("failed", 1)
    assert not await exists(outside)


async def test_input_for_a_terminal_outside_of_the_sandbox_is_asked_about(stage: Stage) -> None:
    client = await stage.client()
    thread, turn = await ask(stage, client, command("cat", tty=True, yield_time_ms=250, **ESCALATED))
    await answer(client, "accept")
    await ended(client, turn)
    (terminal,) = (await client.call("thread/backgroundTerminals/list", {"threadId": thread}))["data"]
    number = terminal["processId"]
    stage.model.script(tool_call("write_stdin", {"session_id": int(number), "chars": "one\n"}, "call_1"))
    stage.model.script(tool_call("write_stdin", {"session_id": int(number), "chars": "two\n"}, "call_2"), say("x"))
    turn = await begin(client, thread)
    first = (await answer(client, "accept"))["params"]
    second = (await answer(client, "decline"))["params"]
    await ended(client, turn)
    assert (first["kind"], first["itemId"], first["approvalId"], first["turnId"]) == (
        "writeStdin",
        "call_c",
        "call_1",
        turn,
    )
    assert first["command"] == f"write_stdin --session-id {number} 'one\n'"
    assert first["availableDecisions"] == ["accept", "cancel"]
    assert second["approvalId"] == "call_2"
    said = outputs(stage.model.requests[-1])
    assert said["call_1"].endswith("Output:\none\r\none\r\n")
    assert said["call_2"] == "write_stdin rejected: rejected by user"
    typed = client.notifications("item/commandExecution/terminalInteraction")
    assert [message["params"]["stdin"] for message in typed] == ["one\n"]
