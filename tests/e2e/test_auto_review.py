"""Automatic reviews on the wire: what is reviewed, what each verdict does, and what everybody is told."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from tests.support.daemon import stdio_daemon
from tests.support.reviews import Roles, allow, deny, shown, verdict
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, gate, say, status, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    run_turn,
    set_stage,
)

STARTED = "item/autoApprovalReview/started"
COMPLETED = "item/autoApprovalReview/completed"
ESCALATED = {"sandbox_permissions": "require_escalated", "justification": "May I?"}
POLICY = {"approvalPolicy": "on-request", "sandbox": "workspace-write", "approvalsReviewer": "auto_review"}
SETTINGS: dict[str, object] = {
    "approval_policy": "on-request",
    "sandbox_mode": "workspace-write",
    "approvals_reviewer": "auto_review",
}


@pytest.fixture
def roles(stage: Stage) -> Roles:
    return Roles(stage.model)


async def reviewed(stage: Stage, client: RpcClient, **params: Any) -> str:
    """A new thread whose actions are reviewed."""
    return await stage.thread(client, **{**POLICY, **params})


def command(cmd: str, call_id: str = "call_c", **arguments: Any) -> Part:
    return tool_call("exec_command", {"cmd": cmd, "login": False, **arguments}, call_id)


def escalated(cmd: str = "touch ran", call_id: str = "call_c") -> Part:
    return command(cmd, call_id, **ESCALATED)


def output(request: Message, call_id: str = "call_c") -> str:
    """What the model is told that a call came to."""
    return next(
        entry["output"]
        for entry in request["input"]
        if entry["type"].endswith("_output") and entry["call_id"] == call_id
    )


def warnings(client: RpcClient) -> list[str]:
    return [told["params"]["message"] for told in client.notifications("guardianWarning")]


def reviews(client: RpcClient) -> list[str]:
    """How the reviews ended, in order."""
    return [told["params"]["review"]["status"] for told in client.notifications(COMPLETED)]


def review(client: RpcClient) -> Message:
    """What the latest review came to."""
    return client.notifications(COMPLETED)[-1]["params"]["review"]


def action(client: RpcClient) -> Message:
    """What the latest review was about."""
    return client.notifications(COMPLETED)[-1]["params"]["action"]


def statuses(client: RpcClient) -> list[str]:
    """How the commands ended."""
    return [item["status"] for item in completed_items(client) if item["type"] == "commandExecution"]


def decisions(stage: Stage, thread: str) -> list[tuple[str, str]]:
    """What the log says of a thread: decisions and who made them, oldest first."""
    with closing(sqlite3.connect(stage.home / "turnloom" / "threads.sqlite3")) as database:
        return database.execute(
            "SELECT decision, decided_by FROM decisions WHERE thread_id = ? ORDER BY number", (thread,)
        ).fetchall()


def ran(stage: Stage, name: str = "ran") -> bool:
    return (stage.cwd / name).exists()


async def test_an_approved_command_runs_and_clients_see_the_review(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    turn = await begin(client, thread)
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    assert ran(stage)
    told = [
        message
        for message in client.notifications()
        if message["method"] in (STARTED, COMPLETED, "guardianWarning")
        or message["params"].get("item", {}).get("type") == "commandExecution"
    ]
    assert [message["method"] for message in told] == [
        "item/started",
        STARTED,
        "guardianWarning",
        COMPLETED,
        "item/completed",
    ]
    line = told[0]["params"]["item"]["command"]
    action = {"type": "command", "source": "unifiedExec", "command": line, "cwd": str(stage.cwd)}
    begun, done = told[1]["params"], told[3]["params"]
    assert begun == {
        "threadId": thread,
        "turnId": turn,
        "startedAtMs": begun["startedAtMs"],
        "reviewId": begun["reviewId"],
        "targetItemId": "call_c",
        "review": {"status": "inProgress", "riskLevel": None, "userAuthorization": None, "rationale": None},
        "action": action,
    }
    assert done == {
        **begun,
        "completedAtMs": done["completedAtMs"],
        "decisionSource": "agent",
        "review": {
            "status": "approved",
            "riskLevel": "low",
            "userAuthorization": "high",
            "rationale": "It is what the user asked for.",
        },
    }
    assert told[2]["params"] == {
        "threadId": thread,
        "message": "Automatic approval review approved (risk: low, authorization: high): "
        "It is what the user asked for.",
    }
    assert not any("id" in message and "method" in message for message in client.received)


async def test_a_denied_command_does_not_run_and_the_model_reads_why(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(deny())
    turn = await begin(client, thread)
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    assert not ran(stage)
    assert statuses(client) == ["declined"]
    assert reviews(client) == ["denied"]
    read = output(roles.turns[-1])
    assert read.startswith(
        "exec_command failed: This action was rejected due to unacceptable risk.\n"
        "Reason: It would delete the user's work.\n"
    )
    assert "not by a workaround" in read
    assert decisions(stage, thread) == [("denied", "auto_review")]


@pytest.mark.parametrize(
    ("answer", "runs", "told"),
    [
        (
            [verdict("allow")],
            True,
            "approved (risk: low, authorization: unknown): Auto-review returned a low-risk allow decision.",
        ),
        (
            [verdict("deny")],
            False,
            "denied (risk: high, authorization: unknown): Auto-review returned a deny decision without a rationale.",
        ),
        (
            [say('I looked at it: {"outcome": "allow", "risk_level": "medium", "rationale": "Fine."} That is all.')],
            True,
            "approved (risk: medium, authorization: unknown): Fine.",
        ),
        ([say("Let me see."), verdict("allow", why="Second thought.")], True, "unknown): Second thought."),
    ],
)
async def test_short_and_wordy_verdicts_count(
    stage: Stage, roles: Roles, answer: list[Part], runs: bool, told: str
) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(*answer)
    await run_turn(client, thread)
    assert ran(stage) is runs
    assert len(roles.reviews) == 1
    (warning,) = warnings(client)
    assert warning.endswith(told)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("I would rather not say.", "the reviewer's answer was not valid JSON"),
        ('{"outcome": "maybe"}', "the reviewer's `outcome` must be one of `allow`, `deny`, and was `maybe`"),
        ('{"risk_level": "low"}', "the reviewer's answer has no `outcome`"),
        ('{"outcome": "allow"} or {"outcome": "deny"}', "the reviewer's answer was not valid JSON"),
        ('{"outcome": "deny", "outcome": "allow"}', "the reviewer's answer names a member twice"),
        ("", "the reviewer gave no answer"),
    ],
)
async def test_three_answers_that_are_no_verdict_are_a_failure_and_nothing_runs(
    stage: Stage, roles: Roles, answer: str, why: str
) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    for _ in range(3):
        roles.reviewer(say(answer))
    await run_turn(client, thread)
    assert not ran(stage)
    assert len(roles.reviews) == 3
    assert reviews(client) == ["denied"]
    assert statuses(client) == ["declined"]
    assert warnings(client) == [f"Automatic approval review failed: {why}"]
    assert review(client) == {
        "status": "denied",
        "riskLevel": None,
        "userAuthorization": None,
        "rationale": f"Automatic approval review failed: {why}",
    }
    assert "says nothing about whether the action is safe" in output(roles.turns[-1])
    assert decisions(stage, thread) == [("failed", "auto_review")]


async def test_after_an_answer_that_cannot_be_read_the_reviewer_is_asked_again(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(say("Hm."))
    await run_turn(client, thread)
    assert ran(stage)
    first, second = roles.reviews
    assert second["input"][:-1] == first["input"]
    assert "No verdict could be read" in str(second["input"][-1])


async def test_a_server_that_fails_is_asked_again_after_a_pause(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(status(500))
    roles.reviewer(status(503))
    before = anyio.current_time()
    await run_turn(client, thread)
    assert ran(stage)
    assert len(roles.reviews) == 3
    # The pauses double from a fifth of a second.
    assert anyio.current_time() - before > 0.5


@pytest.mark.parametrize(("code", "count"), [(500, 3), (400, 1)])
async def test_a_server_that_goes_on_failing_is_a_failure(stage: Stage, roles: Roles, code: int, count: int) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    for _ in range(count):
        roles.reviewer(status(code, {"error": {"message": "not today"}}))
    await run_turn(client, thread)
    assert not ran(stage)
    assert len(roles.reviews) == count
    (warning,) = warnings(client)
    assert warning.startswith("Automatic approval review failed: ")
    assert "not today" in warning


@pytest.mark.parametrize(
    "refusal",
    [
        "Unknown parameter: 'text.format'.",
        "response_format type json_schema is not supported by this model",
        "this model does not support structured outputs",
    ],
)
async def test_a_provider_without_structured_outputs_is_asked_without_a_schema(
    stage: Stage, roles: Roles, refusal: str
) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated(call_id="call_1"))
    roles.agent(escalated("touch more", call_id="call_2"))
    roles.reviewer(status(400, {"error": {"message": refusal}}))
    await run_turn(client, thread)
    assert (ran(stage), ran(stage, "more")) == (True, True)
    assert ["text" in request for request in roles.reviews] == [True, False, False]


async def test_a_reviewing_model_that_is_missing_is_named(tmp_path: Path) -> None:
    async with set_stage(tmp_path, settings=SETTINGS, more=lambda _: '[auto_review]\nmodel = "judge"') as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await reviewed(stage, client)
        roles.agent(escalated())
        refusal = {"error": {"code": "model_not_found", "message": "The model `judge` does not exist."}}
        roles.reviewer(status(404, refusal))
        await run_turn(client, thread)
        assert [request["model"] for request in roles.reviews] == ["judge"]
        assert not ran(stage)
        for told in (warnings(client)[0], output(roles.turns[-1])):
            assert "the model `judge`, which is to review, is not available at the provider `scripted`" in told
            assert "auto_review.model" in told


async def test_a_review_that_takes_too_long_is_no_yes(tmp_path: Path) -> None:
    async with set_stage(tmp_path, settings=SETTINGS, more=lambda _: "[auto_review]\ntimeout_ms = 300") as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await reviewed(stage, client)
        roles.agent(escalated())
        roles.reviewer(say("Let me think."), gate(anyio.Event()))
        await run_turn(client, thread)
        await stage.model.wait_for_hangups(1)
        assert not ran(stage)
        assert reviews(client) == ["timedOut"]
        assert statuses(client) == ["failed"]
        message = "Automatic approval review timed out while evaluating the requested approval."
        assert warnings(client) == [message]
        assert review(client)["rationale"] == message
        assert "You may ask for it once more, or ask the user" in output(roles.turns[-1])
        assert decisions(stage, thread) == [("timedOut", "auto_review")]


async def test_three_denials_in_a_row_interrupt_the_turn(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    for number in range(3):
        roles.agent(escalated(f"touch ran{number}", f"call_{number}"))
        roles.reviewer(deny())
    turn = await begin(client, thread)
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    assert statuses(client) == ["declined"] * 3
    assert warnings(client)[-1] == (
        "Automatic approval review rejected too many approval requests for this turn (3 consecutive, 3 in the last 50 "
        "reviews); interrupting the turn."
    )
    told = [message["method"] for message in client.notifications()]
    last = len(told) - 1 - told[::-1].index("guardianWarning")
    assert told[last - 1] == "item/completed"
    # The next turn begins afresh, and the model is told of the last denial too.
    roles.agent(escalated("touch again", "call_4"))
    roles.reviewer(deny())
    assert (await run_turn(client, thread))["status"] == "completed"
    assert "It would delete the user's work." in output(roles.turns[-1], "call_2")


async def test_what_is_not_denied_lies_between_denials(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    for number in range(5):
        roles.agent(escalated(f"touch ran{number}", f"call_{number}"))
    roles.reviewer(deny())
    roles.reviewer(deny())
    roles.reviewer(status(400))
    roles.reviewer(deny())
    roles.reviewer(deny())
    assert (await run_turn(client, thread))["status"] == "completed"
    assert reviews(client) == ["denied"] * 5


async def test_an_interrupt_aborts_the_review_before_the_turn_is_over(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(say("Let me think."), gate(anyio.Event()))
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(2)
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    await stage.model.wait_for_hangups(1)
    assert not ran(stage)
    assert review(client) == {
        "status": "aborted",
        "riskLevel": None,
        "userAuthorization": None,
        "rationale": None,
    }
    assert warnings(client) == []
    assert decisions(stage, thread) == [("withdrawn", "no answer was needed any more")]


async def test_two_commands_at_once_are_reviewed_beside_each_other(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    both = anyio.Event()
    roles.agent(escalated("touch one", "call_1"), escalated("touch two", "call_2"))
    roles.reviewer(gate(both), allow())
    roles.reviewer(gate(both), deny())
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(3)
    both.set()
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    assert sorted(reviews(client)) == ["approved", "denied"]
    assert ran(stage, "one") is not ran(stage, "two")


async def test_a_patch_that_the_sandbox_forbids_is_reviewed(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client, sandbox="read-only")
    for number, answer in enumerate((deny(), allow())):
        path = stage.cwd / f"outside{number}.txt"
        text = f"*** Begin Patch\n*** Add File: {path}\n+hello\n*** End Patch"
        roles.agent(tool_call("apply_patch", {"input": text}, "call_p"))
        roles.reviewer(answer)
        turn = await begin(client, thread)
        await ended(client, turn)
        assert_balanced(client, turn)
        assert path.exists() is (number == 1)
        assert action(client) == {"type": "applyPatch", "cwd": str(stage.cwd), "files": [str(path)]}
        assert "+hello" in shown(roles.reviews[-1])
    changes = [item["status"] for item in completed_items(client) if item["type"] == "fileChange"]
    assert changes == ["declined", "completed"]
    assert output(roles.turns[1], "call_p").startswith("This action was rejected due to unacceptable risk.\n")


async def test_input_for_a_command_outside_the_sandbox_is_reviewed(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(command("cat", tty=True, yield_time_ms=250, **ESCALATED))
    await run_turn(client, thread)
    number = int(output(roles.turns[-1]).partition("session ID ")[2].split()[0])
    for answer in (deny(), allow()):
        roles.agent(tool_call("write_stdin", {"session_id": number, "chars": "hi\n", "yield_time_ms": 250}, "call_w"))
        roles.reviewer(answer)
        await run_turn(client, thread)
        assert action(client) == {
            "type": "writeStdin",
            "approvalId": "call_w",
            "processId": str(number),
            "stdin": "hi\n",
            "cwd": str(stage.cwd),
        }
    outputs = [
        entry["output"] for entry in roles.turns[-1]["input"] if entry.get("call_id") == "call_w" and "output" in entry
    ]
    assert outputs[0].startswith("write_stdin rejected: This action was rejected due to unacceptable risk.")
    assert "hi\r\nhi" in outputs[1]


async def test_a_request_for_permissions_is_reviewed(tmp_path: Path) -> None:
    features = "[features]\nrequest_permissions_tool = true"
    async with set_stage(tmp_path, settings=SETTINGS, more=lambda _: features) as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await reviewed(stage, client)
        outside = stage.cwd.parent / "outside"
        outside.mkdir()
        wanted = {"permissions": {"file_system": {"write": [str(outside)]}}, "reason": "The task needs it."}
        roles.agent(tool_call("request_permissions", wanted, "call_r"))
        roles.agent(command(f"touch {outside}/ran"))
        await run_turn(client, thread)
        assert (outside / "ran").exists()
        assert action(client)["type"] == "requestPermissions"
        assert action(client)["reason"] == "The task needs it."
        granted = {"permissions": {"network": None, "file_system": {"write": [str(outside)]}}, "scope": "turn"}
        assert orjson.loads(output(roles.turns[-1], "call_r")) == granted
        roles.agent(tool_call("request_permissions", wanted, "call_s"))
        roles.reviewer(deny())
        await run_turn(client, thread)
        assert "This action was rejected due to unacceptable risk." in output(roles.turns[-1], "call_s")


async def test_a_user_can_grant_permissions_on_the_condition_that_all_is_reviewed(tmp_path: Path) -> None:
    features = "[features]\nrequest_permissions_tool = true"
    settings = {**SETTINGS, "approvals_reviewer": "user"}
    async with set_stage(tmp_path, settings=settings, more=lambda _: features) as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await stage.thread(client)
        outside = stage.cwd.parent / "outside"
        outside.mkdir()
        wanted = {"permissions": {"file_system": {"write": [str(outside)]}}}
        patch = "*** Begin Patch\n*** Add File: in.txt\n+x\n*** End Patch"
        roles.agent(tool_call("request_permissions", wanted, "call_r"))
        roles.agent(command("touch ran", "call_1"))
        roles.agent(tool_call("apply_patch", {"input": patch}, "call_2"))
        roles.agent(command(f"touch {outside}/ran", "call_3"))
        for answer in (allow(), allow(), deny()):
            roles.reviewer(answer)
        turn = await begin(client, thread)
        question = await client.until("item/permissions/requestApproval")
        granted = {"fileSystem": {"write": [str(outside)]}}
        await client.respond(question, {"permissions": granted, "scope": "turn", "strictAutoReview": True})
        await ended(client, turn)
        assert_balanced(client, turn)
        assert orjson.loads(output(roles.turns[-1], "call_r"))["strict_auto_review"] is True
        kinds = [told["params"]["action"]["type"] for told in client.notifications(COMPLETED)]
        assert kinds == ["command", "applyPatch", "command"]
        assert statuses(client) == ["completed", "declined"]
        assert (ran(stage), ran(stage, "in.txt"), (outside / "ran").exists()) == (True, True, False)
        # The next turn is as any other; and what cannot be reviewed for a whole session is not granted for it.
        roles.agent(tool_call("request_permissions", wanted, "call_s"))
        roles.agent(command("touch more", "call_4"))
        turn = await begin(client, thread)
        question = await client.until("item/permissions/requestApproval")
        await client.respond(question, {"permissions": granted, "scope": "session", "strictAutoReview": True})
        await ended(client, turn)
        nothing = {"permissions": {"network": None, "file_system": None}, "scope": "turn"}
        assert orjson.loads(output(roles.turns[-1], "call_s")) == nothing
        assert ran(stage, "more")
        assert len(roles.reviews) == 3


async def test_a_connection_of_a_command_is_reviewed_and_a_denial_ends_the_command(tmp_path: Path) -> None:
    more = "[features.network_proxy]\nenabled = true\n[sandbox_workspace_write]\nnetwork_access = true"
    async with set_stage(tmp_path, settings=SETTINGS, more=lambda _: more) as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await stage.thread(client)
        fetch = "import urllib.request as r, sys; r.urlopen('http://unlisted.invalid/secret-path', timeout=50)"
        line = f'{sys.executable} -c "{fetch}" || touch went-on'
        roles.agent(command(line))
        roles.reviewer(deny("The task needs no network."))
        turn = await begin(client, thread)
        await ended(client, turn)
        (params,) = [told["params"] for told in client.notifications(COMPLETED)]
        assert params["targetItemId"] is None
        assert params["turnId"] == turn
        assert params["action"] == {
            "type": "networkAccess",
            "target": "http://unlisted.invalid:80",
            "host": "unlisted.invalid",
            "protocol": "http",
            "port": 80,
        }
        assert not ran(stage, "went-on")
        assert statuses(client) == ["failed"]
        assert "Reason: The task needs no network." in output(roles.turns[-1])
        request = shown(roles.reviews[0])
        assert "Network access JSON:" in request
        assert (
            fetch
            in orjson.loads(request.partition("Network access JSON:\n")[2].rpartition(">>>")[0])["trigger"]["command"][
                -1
            ]
        )
        # An approval lets this command out, and no other one: the next is reviewed again.
        for _ in range(2):
            roles.agent(command(line))
            await run_turn(client, thread)
        assert reviews(client) == ["denied", "approved", "approved"]
        assert ran(stage, "went-on")


async def test_what_needs_no_approval_is_not_reviewed(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(command("touch ran"))
    await run_turn(client, thread)
    assert ran(stage)
    assert roles.reviews == []


async def test_under_untrusted_the_user_is_asked(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client, approvalPolicy="untrusted")
    roles.agent(command("touch ran"))
    turn = await begin(client, thread)
    question = await client.until("item/commandExecution/requestApproval")
    await client.respond(question, {"decision": "accept"})
    await ended(client, turn)
    assert ran(stage)
    assert roles.reviews == []


async def test_the_granular_policy_has_its_questions_reviewed(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    granular = {"granular": {"sandbox_approval": True, "rules": True, "mcp_elicitations": True}}
    thread = await reviewed(stage, client, approvalPolicy=granular)
    outside = stage.cwd.parent / "outside"
    outside.mkdir()
    roles.agent(command(f"touch {outside}/ran", workdir="/"))
    await run_turn(client, thread, sandboxPolicy={"type": "readOnly"})
    assert (outside / "ran").exists()
    assert "The sandbox stopped this command." in shown(roles.reviews[0])


@pytest.mark.parametrize("name", ["auto_review", "guardian_subagent"])
async def test_a_thread_or_a_turn_chooses_the_reviewer(stage: Stage, roles: Roles, name: str) -> None:
    client = await stage.client()
    answer = await client.call("thread/start", {"cwd": str(stage.cwd), **POLICY, "approvalsReviewer": "user"})
    assert answer["approvalsReviewer"] == "user"
    thread = answer["thread"]["id"]
    roles.agent(escalated())
    await run_turn(client, thread, approvalsReviewer=name)
    assert ran(stage)
    (updated,) = client.notifications("thread/settings/updated")
    assert updated["params"]["threadSettings"]["approvalsReviewer"] == "auto_review"


async def test_the_reviewer_is_told_apart_and_is_asked_in_one_conversation(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated(call_id="call_1"))
    roles.agent(escalated("touch more", "call_2"))
    await run_turn(client, thread, "Make the file.")
    first, second = roles.reviews
    for request in (first, second):
        assert request["prompt_cache_key"] == f"guardian:{thread}"
        assert request["client_metadata"] == {"x-openai-subagent": "guardian"}
        assert request["text"]["format"]["schema"]["required"] == ["outcome"]
        assert request["text"]["format"]["strict"] is False
        assert request["stream"] is True
    assert second["input"][:1] == first["input"]
    assert "[1] context (not the user's words): <environment_context>" in shown(first)
    assert "[2] user: Make the file.\n" in shown(first)
    assert '"sandbox_permissions": "require_escalated"' in shown(first)
    assert ">>> TRANSCRIPT DELTA START" in shown(second)
    assert "Make the file." not in shown(second)
    assert "tool exec_command result: " in shown(second)
    assert "decided by an automatic review" in str(roles.turns[0]["input"])
    assert roles.turns[-1]["prompt_cache_key"] == thread


async def test_the_reviewer_can_look_at_files_and_change_nothing(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    (stage.cwd / "script.sh").write_text("the script's content")
    (stage.cwd / "part").mkdir()
    roles.agent(escalated())
    look = {"cmd": "cat script.sh; touch planted || echo refused"}
    roles.reviewer(
        tool_call("exec_command", look, "look_1"),
        tool_call("exec_command", {"cmd": "pwd", "workdir": "part"}, "look_2"),
        tool_call("apply_patch", {"input": "x"}, "look_3"),
        tool_call("exec_command", "no JSON", "look_4"),
    )
    turn = await begin(client, thread)
    assert (await ended(client, turn))["status"] == "completed"
    assert ran(stage)
    assert not ran(stage, "planted")
    first, second = roles.reviews
    assert [tool["name"] for tool in first["tools"]] == ["exec_command"]
    read = output(second, "look_1")
    assert read.startswith("Exit code: 0\nOutput:\nthe script's content")
    assert read.endswith("refused\n")
    assert output(second, "look_2") == f"Exit code: 0\nOutput:\n{stage.cwd}/part\n"
    assert output(second, "look_3") == "unsupported call: apply_patch"
    assert "must be a JSON object" in output(second, "look_4")
    # Clients see the agent's command alone, and the conversation keeps the verdict alone.
    assert statuses(client) == ["completed"]
    assert_balanced(client, turn)
    roles.agent(escalated("touch more"))
    await run_turn(client, thread)
    assert [entry["role"] for entry in roles.reviews[-1]["input"]] == ["user", "assistant", "user"]


async def test_reviews_do_not_count_as_use_of_the_thread(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    await run_turn(client, thread)
    usage = client.notifications("thread/tokenUsage/updated")[-1]["params"]["tokenUsage"]
    assert usage["total"]["totalTokens"] == 30
    assert len(stage.model.requests) == 3


async def test_the_policy_of_the_configuration_takes_the_place_of_ours(tmp_path: Path) -> None:
    more = '[auto_review]\npolicy = "Whatever touches a moon is forbidden."'
    async with set_stage(tmp_path, settings=SETTINGS, more=lambda _: more) as stage:
        roles, client = Roles(stage.model), await stage.client()
        thread = await reviewed(stage, client)
        roles.agent(escalated())
        await run_turn(client, thread)
        policy = roles.reviews[0]["instructions"]
        assert "<workspace_policy>\nWhatever touches a moon is forbidden.\n</workspace_policy>" in policy
        assert "Package registries" not in policy


# What the user allows after a denial


async def denied(stage: Stage, roles: Roles, client: RpcClient) -> tuple[str, Message]:
    """A thread in which a command was denied, and the denial as clients name it to approve it."""
    thread = await reviewed(stage, client)
    roles.agent(escalated())
    roles.reviewer(deny("It touches a moon."))
    await run_turn(client, thread)
    params = client.notifications(COMPLETED)[-1]["params"]
    event = {
        "id": params["reviewId"],
        "target_item_id": params["targetItemId"],
        "turn_id": params["turnId"],
        "started_at_ms": params["startedAtMs"],
        "completed_at_ms": params["completedAtMs"],
        "status": "denied",
        "risk_level": "high",
        "user_authorization": "low",
        "rationale": "It touches a moon.",
        "decision_source": "agent",
        "action": {**params["action"], "source": "unified_exec"},
    }
    return thread, event


async def test_an_approval_of_a_denied_action_reaches_the_model_and_the_next_review(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread, event = await denied(stage, roles, client)
    assert await client.call("thread/approveGuardianDeniedAction", {"threadId": thread, "event": event}) == {}
    roles.agent(escalated())
    await run_turn(client, thread, "Do it.")
    assert ran(stage)
    notes = [entry["content"][0]["text"] for entry in roles.turns[-1]["input"] if entry.get("role") == "developer"]
    (note,) = [text for text in notes if text.startswith("<approved_action>")]
    assert 'Reason of the denial: "It touches a moon."' in note
    assert '"touch ran"' in note
    request = shown(roles.reviews[-1])
    assert ">>> USER APPROVALS START\n<approved_action>" in request
    assert request.count("It touches a moon.") >= 1


async def test_an_approval_in_the_middle_of_a_turn_counts_at_once(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread, event = await denied(stage, roles, client)
    opens = anyio.Event()
    roles.agent(gate(opens), escalated("touch ran", "call_d"))
    seen = len(stage.model.requests)
    turn = await begin(client, thread)
    await stage.model.wait_for_requests(seen + 1)
    await client.call("thread/approveGuardianDeniedAction", {"threadId": thread, "event": event})
    opens.set()
    await ended(client, turn)
    assert ">>> USER APPROVALS START" in shown(roles.reviews[-1])
    assert "<approved_action>" in str(roles.turns[-1]["input"])


async def test_a_denial_can_be_approved_after_a_restart(tmp_path: Path) -> None:
    async with set_stage(tmp_path, "stdio", settings=SETTINGS) as stage:
        roles = Roles(stage.model)
        async with stdio_daemon(stage.home) as client:
            await client.initialize()
            thread, event = await denied(stage, roles, client)
        client = await stage.client()
        await client.call("thread/resume", {"threadId": thread})
        assert await client.call("thread/approveGuardianDeniedAction", {"threadId": thread, "event": event}) == {}
        roles.agent(escalated())
        await run_turn(client, thread)
        assert ">>> USER APPROVALS START" in shown(roles.reviews[-1])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "approved"}, "the status is `approved`; only a denied action can be approved"),
        ({"status": "timed_out"}, "the status is `timed_out`; only a denied action can be approved"),
        ({"status": "timedOut"}, "unknown status `timedOut`, expected one of `in_progress`, `approved`"),
        ({"status": None}, "missing field `status`"),
        ({"id": None}, "missing field `id`"),
        ({"id": "made-up"}, "no review `made-up` has denied an action of this thread"),
        ({"action": None}, "missing field `action`"),
        ({"action": {"type": "applyPatch"}}, "unknown action type `applyPatch`, expected one of `command`"),
        ({"action": {"type": "command"}}, "missing field `source`"),
    ],
)
async def test_only_what_was_denied_can_be_approved(
    stage: Stage, roles: Roles, change: dict[str, Any], why: str
) -> None:
    client = await stage.client()
    thread, event = await denied(stage, roles, client)
    answer = await client.try_call(
        "thread/approveGuardianDeniedAction", {"threadId": thread, "event": {**event, **change}}
    )
    assert answer["error"]["code"] == -32600
    assert answer["error"]["message"].startswith(f"invalid Guardian denial event: {why}")


async def test_the_notification_itself_another_action_and_another_thread_are_refused(
    stage: Stage, roles: Roles
) -> None:
    client = await stage.client()
    thread, event = await denied(stage, roles, client)
    other = await reviewed(stage, client)

    async def refusal(thread: str, event: Any) -> str:
        answer = await client.try_call("thread/approveGuardianDeniedAction", {"threadId": thread, "event": event})
        assert answer["error"]["code"] == -32600
        return answer["error"]["message"]

    notification = client.notifications(COMPLETED)[-1]["params"]
    assert await refusal(thread, notification) == "invalid Guardian denial event: missing field `id`"
    assert "expected an object" in await refusal(thread, None)
    altered = {**event, "action": {**event["action"], "command": "touch elsewhere"}}
    assert "`action.command` is not that of the action that was denied" in await refusal(thread, altered)
    assert "has denied an action of this thread" in await refusal(other, event)
    roles.agent(escalated("touch allowed", "call_a"))
    await run_turn(client, thread)
    approved = {**event, "id": client.notifications(COMPLETED)[-1]["params"]["reviewId"]}
    assert "has denied an action of this thread" in await refusal(thread, approved)
