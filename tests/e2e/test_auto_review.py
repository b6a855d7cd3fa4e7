"""Automatic reviews on the wire: what each verdict does, and what everybody is told."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.reviews import (
    COMPLETED,
    SETTINGS,
    STARTED,
    Roles,
    allow,
    decisions,
    deny,
    escalated,
    output,
    ran,
    review,
    reviewed,
    reviews,
    statuses,
    verdict,
    warnings,
)
from tests.support.scripted_model import Part, gate, say, status
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn, set_stage


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
        ([say('{"outcome": "deny", "rationale": "\\udc00"}')], False, "denied (risk: high, authorization: unknown): ?"),
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


@pytest.mark.parametrize(("code", "count"), [(500, 3), (400, 2)])
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
    ("code", "refusal"),
    [
        (400, {"error": {"message": "Unknown parameter: 'text.format'."}}),
        (400, {"error": {"message": "response_format type json_schema is not supported by this model"}}),
        (500, {"error": {"message": "this model does not support structured outputs"}}),
        (400, {"error": {"message": "Invalid request"}}),
        (
            422,
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "text"], "msg": "Extra inputs are not permitted"}]},
        ),
    ],
)
async def test_a_provider_without_structured_outputs_is_asked_without_a_schema(
    stage: Stage, roles: Roles, code: int, refusal: Any
) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated(call_id="call_1"))
    roles.agent(escalated("touch more", call_id="call_2"))
    roles.reviewer(status(code, refusal))
    # What it has refused does not count as an attempt.
    roles.reviewer(say("Hm."))
    roles.reviewer(say("Hm."))
    await run_turn(client, thread)
    assert (ran(stage), ran(stage, "more")) == (True, True)
    assert ["text" in request for request in roles.reviews] == [True, False, False, False, False]


async def test_a_provider_that_has_taken_the_schema_is_not_asked_without_it(stage: Stage, roles: Roles) -> None:
    client = await stage.client()
    thread = await reviewed(stage, client)
    roles.agent(escalated(call_id="call_1"))
    roles.agent(escalated("touch more", call_id="call_2"))
    roles.reviewer(allow())
    roles.reviewer(status(400, {"error": {"message": "Invalid request"}}))
    await run_turn(client, thread)
    assert (ran(stage), ran(stage, "more")) == (True, False)
    assert len(roles.reviews) == 2


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
