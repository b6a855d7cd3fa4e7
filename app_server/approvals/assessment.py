"""The reviewer's answer: its schema, and how it is read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from msgspec import Struct

from protocol.v2.review import GuardianRiskLevel, GuardianUserAuthorization

Outcome = Literal["allow", "deny"]

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "risk_level": {"type": "string", "enum": list(get_args(GuardianRiskLevel))},
        "user_authorization": {"type": "string", "enum": list(get_args(GuardianUserAuthorization))},
        "outcome": {"type": "string", "enum": list(get_args(Outcome))},
        "rationale": {"type": "string"},
    },
    "required": ["outcome"],
    "additionalProperties": False,
}
"""What the model is asked to answer with. For a harmless action the outcome alone will do."""

ALLOWED_WITHOUT_REASON = "Auto-review returned a low-risk allow decision."
DENIED_WITHOUT_REASON = "Auto-review returned a deny decision without a rationale."

RATIONALE_CHARACTERS = 4_000
"""How much of a rationale is passed on."""


class Assessment(Struct, frozen=True):
    """A verdict of the model."""

    outcome: Outcome
    risk_level: GuardianRiskLevel
    user_authorization: GuardianUserAuthorization
    rationale: str


class Unreadable(Exception):
    """An answer that is no verdict; the message says why, for the user and for the next attempt."""


def read_assessment(text: str) -> Assessment:
    """The verdict in a message, which may have words around its JSON. Raises Unreadable."""
    found = _object(text)
    outcome = _choice(found, "outcome", get_args(Outcome))
    if outcome is None:
        raise Unreadable("the reviewer's answer has no `outcome`")
    allowed = outcome == "allow"
    risk = _choice(found, "risk_level", get_args(GuardianRiskLevel)) or ("low" if allowed else "high")
    authorization = _choice(found, "user_authorization", get_args(GuardianUserAuthorization)) or "unknown"
    rationale = found.get("rationale")
    if rationale is not None and not isinstance(rationale, str):
        raise Unreadable("the reviewer's `rationale` is no text")
    stock = ALLOWED_WITHOUT_REASON if allowed else DENIED_WITHOUT_REASON
    return Assessment(
        cast("Outcome", outcome),
        cast("GuardianRiskLevel", risk),
        cast("GuardianUserAuthorization", authorization),
        (rationale or "").strip()[:RATIONALE_CHARACTERS] or stock,
    )


def _object(text: str) -> Mapping[str, Any]:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise Unreadable("the reviewer's answer was not valid JSON")
    try:
        return json.loads(text[start : end + 1], object_pairs_hook=_once)
    except (ValueError, RecursionError):
        # Some JSON is not read either, such as numbers of thousands of digits.
        raise Unreadable("the reviewer's answer was not valid JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = {name: _writable(value) for name, value in pairs}
    if len(members) < len(pairs):
        # Of two outcomes neither can be believed.
        raise Unreadable("the reviewer's answer names a member twice")
    return members


def _writable(value: Any) -> Any:
    """A text without halves of surrogate pairs, which JSON can name and no message can hold."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _choice(found: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str | None:
    value = found.get(name)
    if value is None or (isinstance(value, str) and value in allowed):
        return value
    expected = ", ".join(f"`{each}`" for each in allowed)
    shown = f"`{value[:40]}`" if isinstance(value, str) else "something else"
    raise Unreadable(f"the reviewer's `{name}` must be one of {expected}, and was {shown}")
