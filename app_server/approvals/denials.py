"""What the user allows although a review has denied it: the event that names it, and what it says to the models."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

import orjson

from app_server.approvals.actions import Action
from app_server.approvals.guardian import Verdict
from app_server.approvals.guardian_prompt import planned_json
from app_server.approvals.transcript import APPROVAL_TAG

STATUSES = ("in_progress", "approved", "denied", "timed_out", "aborted")
ACTIONS = (
    "command",
    "execve",
    "write_stdin",
    "apply_patch",
    "network_access",
    "mcp_tool_call",
    "request_permissions",
)


class InvalidDenial(Exception):
    """The event names no denied action of the thread; the message says why."""


def review_record(action: Action, verdict: Verdict) -> str:
    """A review as it is kept in the log of decisions; `approved_text` reads it."""
    assessment = verdict.assessment
    record = {
        "id": verdict.review_id,
        "status": verdict.status,
        "risk_level": None if assessment is None else assessment.risk_level,
        "user_authorization": None if assessment is None else assessment.user_authorization,
        "rationale": verdict.failure if assessment is None else assessment.rationale,
        "action": action.core(),
        "planned": planned_json(action.planned),
    }
    return orjson.dumps(record).decode()


def denied_id(event: Any) -> str:
    """The id of the review that an event is about. Raises InvalidDenial unless it tells of a denial."""
    if not isinstance(event, dict):
        raise InvalidDenial("expected an object")
    members = cast("dict[str, Any]", event)
    review_id = _text(members, "id")
    status = _text(members, "status")
    if status not in STATUSES:
        raise InvalidDenial(f"unknown status `{status}`, expected one of {_listed(STATUSES)}")
    if status != "denied":
        raise InvalidDenial(f"the status is `{status}`; only a denied action can be approved")
    action = members.get("action")
    if not isinstance(action, dict):
        raise InvalidDenial("missing field `action`" if action is None else "`action` must be an object")
    kind = _text(cast("dict[str, Any]", action), "type")
    if kind not in ACTIONS:
        raise InvalidDenial(f"unknown action type `{kind}`, expected one of {_listed(ACTIONS)}")
    return review_id


def approved_text(event: Mapping[str, Any], record: str | None) -> str:
    """What the models are told of the approval. `record` is the review as it was kept. Raises InvalidDenial."""
    known: Mapping[str, Any] = {} if record is None else orjson.loads(record)
    if known.get("status") != "denied":
        raise InvalidDenial(f"no review `{event['id']}` has denied an action of this thread")
    action: Mapping[str, Any] = event["action"]
    for name, value in known["action"].items():
        if name not in action and value is not None:
            raise InvalidDenial(f"missing field `{name}`")
        if name != "permissions" and _plain(action.get(name)) != value:
            raise InvalidDenial(f"`action.{name}` is not that of the action that was denied")
    reason = orjson.dumps(known.get("rationale")).decode()
    return (
        f"{APPROVAL_TAG}\n"
        "The user allows an action that an automatic review has denied, knowing the reason of the denial. This is "
        "leave for this very action in the context in which it was asked for, and not for similar ones. If it is still "
        "wanted, ask for it again in the same form; it is reviewed once more, and the reviewer sees this approval.\n"
        f"Reason of the denial: {reason}\n"
        f"Action: {known['planned']}\n"
        "</approved_action>"
    )


def _plain(value: Any) -> Any:
    """A value of an event as we write it: some clients have URLs for paths and older names of protocols."""
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[Any]", value)]
    if isinstance(value, str) and value.startswith("file:///"):
        return unquote(value.removeprefix("file://"))
    return "https" if value in ("https_connect", "http-connect") else value


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if value is None:
        raise InvalidDenial(f"missing field `{name}`")
    if not isinstance(value, str):
        raise InvalidDenial(f"`{name}` must be a string")
    return value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
