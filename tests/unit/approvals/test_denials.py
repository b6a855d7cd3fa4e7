"""Approving what a review has denied."""

from typing import Any

import orjson
import pytest

from app_server.approvals import actions
from app_server.approvals.actions import Action
from app_server.approvals.assessment import Assessment
from app_server.approvals.denials import InvalidDenial, approved_text, denied_id, review_record
from app_server.approvals.guardian import Verdict
from app_server.approvals.transcript import APPROVAL_TAG
from protocol.v2.permissions import AdditionalNetworkPermissions, RequestPermissionProfile

ASSESSMENT = Assessment("deny", "high", "low", 'It says "no".')
ACTIONS = [
    actions.command("make", ["make"], "/ws", escalated=True, tty=False),
    actions.write_stdin("7", "y\n", "/ws", "call"),
    actions.patch(["/a"], "*** Begin Patch", "/ws"),
    actions.network("socks5-tcp://a:1", "a", 1, "socks5Tcp", {"command": ["ssh"]}),
    actions.mcp_call("s", "t", {"x": 1}, title="T"),
    actions.permissions(
        RequestPermissionProfile(network=AdditionalNetworkPermissions(enabled=True)), "/ws", "It needs the network."
    ),
]


def event(action: Action, **changes: Any) -> dict[str, Any]:
    return {"id": "r", "status": "denied", "action": action.core(), **changes}


def record(action: Action, status: Any = "denied") -> str:
    return review_record(action, Verdict("r", status, "", ASSESSMENT))


def approve(named: Any, kept: str) -> str:
    denied_id(named)
    return approved_text(named, kept)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.shown.type)
def test_every_kind_of_action_can_be_approved(action: Action) -> None:
    named = event(action)
    assert denied_id(named) == "r"
    text = approved_text(named, record(action))
    assert text.startswith(f"{APPROVAL_TAG}\n")
    assert 'Reason of the denial: "It says \\"no\\"."' in text
    assert f'"tool": "{action.planned["tool"]}"' in text


def test_paths_may_come_as_urls_and_protocols_by_their_older_names() -> None:
    stdin = event(actions.write_stdin("7", "y\n", "/w s", "call"))
    stdin["action"]["cwd"] = "file:///w%20s"
    assert approved_text(stdin, record(actions.write_stdin("7", "y\n", "/w s", "call")))
    connection = actions.network("https://a:443", "a", 443, "https", {})
    named = event(connection)
    named["action"]["protocol"] = "https_connect"
    assert approved_text(named, record(connection))


def test_a_review_that_failed_can_be_approved_too() -> None:
    kept = review_record(ACTIONS[0], Verdict("r", "denied", "", failure="the model is gone"))
    assert 'Reason of the denial: "the model is gone"' in approved_text(event(ACTIONS[0]), kept)


@pytest.mark.parametrize("status", ["approved", "timedOut"])
def test_a_review_that_was_no_denial_is_refused(status: str) -> None:
    with pytest.raises(InvalidDenial, match="has denied an action of this thread"):
        approved_text(event(ACTIONS[0]), record(ACTIONS[0], status))
    with pytest.raises(InvalidDenial, match="has denied an action of this thread"):
        approved_text(event(ACTIONS[0]), None)


@pytest.mark.parametrize("action", ACTIONS[:5], ids=lambda action: action.shown.type)
def test_another_action_than_the_denied_one_is_refused(action: Action) -> None:
    for name, value in action.core().items():
        if value is None:
            continue
        altered = event(action)
        altered["action"][name] = f"{value} "
        with pytest.raises(InvalidDenial):
            approve(altered, record(action))
        del altered["action"][name]
        with pytest.raises(InvalidDenial, match=f"missing field `{name}`"):
            approve(altered, record(action))


@pytest.mark.parametrize("nonsense", [None, "x", 3, [], {}, {"id": 3}, {"id": "r", "status": []}])
def test_nonsense_is_refused(nonsense: Any) -> None:
    with pytest.raises(InvalidDenial):
        denied_id(nonsense)


def test_what_is_kept_of_a_review_is_all_of_it() -> None:
    assert orjson.loads(record(ACTIONS[0])) == {
        "id": "r",
        "status": "denied",
        "risk_level": "high",
        "user_authorization": "low",
        "rationale": 'It says "no".',
        "action": ACTIONS[0].core(),
        "planned": orjson.loads(record(ACTIONS[0]))["planned"],
    }
