"""Automatic reviews of each kind of action, and who decides instead of them."""

from pathlib import Path

import orjson
import pytest

from tests.support.reviews import (
    COMPLETED,
    ESCALATED,
    SETTINGS,
    Roles,
    action,
    allow,
    command,
    deny,
    escalated,
    output,
    ran,
    reviewed,
    shown,
    statuses,
)
from tests.support.scripted_model import tool_call
from tests.support.stage import Stage, assert_balanced, begin, completed_items, ended, run_turn, set_stage


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
    policy = {"approvalPolicy": "on-request", "sandbox": "workspace-write", "approvalsReviewer": "user"}
    answer = await client.call("thread/start", {"cwd": str(stage.cwd), **policy})
    assert answer["approvalsReviewer"] == "user"
    thread = answer["thread"]["id"]
    roles.agent(escalated())
    await run_turn(client, thread, approvalsReviewer=name)
    assert ran(stage)
    (updated,) = client.notifications("thread/settings/updated")
    assert updated["params"]["threadSettings"]["approvalsReviewer"] == "auto_review"
