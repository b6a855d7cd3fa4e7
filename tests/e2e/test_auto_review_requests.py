"""What the reviewing model is asked, and what it may do before it answers."""

from pathlib import Path

from tests.support.reviews import SETTINGS, Roles, escalated, output, ran, reviewed, shown, statuses
from tests.support.scripted_model import tool_call
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn, set_stage


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
    look = {"cmd": "cat script.sh; touch planted 2>&1 || echo refused"}
    roles.reviewer(
        tool_call("exec_command", look, "look_1"),
        tool_call("exec_command", {"cmd": "pwd", "workdir": "part"}, "look_2"),
        tool_call("apply_patch", {"input": "x"}, "look_3"),
        tool_call("exec_command", "no JSON", "look_4"),
        tool_call("exec_command", {"cmd": "pwd", "workdir": "part\0"}, "look_5"),
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
    assert "must not contain NUL characters" in output(second, "look_5")
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
