"""What the user allows although an automatic review has denied it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.daemon import stdio_daemon
from tests.support.reviews import COMPLETED, SETTINGS, Roles, deny, escalated, ran, reviewed, shown
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import gate
from tests.support.stage import Stage, begin, ended, run_turn, set_stage


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
