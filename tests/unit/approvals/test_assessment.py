"""How the reviewer's answers are read."""

import jsonschema
import orjson
import pytest

from app_server.approvals.assessment import (
    ALLOWED_WITHOUT_REASON,
    DENIED_WITHOUT_REASON,
    RATIONALE_CHARACTERS,
    SCHEMA,
    Assessment,
    Unreadable,
    read_assessment,
)

WHOLE = '{"risk_level": "medium", "user_authorization": "high", "outcome": "allow", "rationale": "Fine."}'


@pytest.mark.parametrize(
    ("text", "assessment"),
    [
        (WHOLE, Assessment("allow", "medium", "high", "Fine.")),
        (f"```json\n{WHOLE}\n```", Assessment("allow", "medium", "high", "Fine.")),
        ('{"outcome":"allow"}', Assessment("allow", "low", "unknown", ALLOWED_WITHOUT_REASON)),
        ('{"outcome":"deny"}', Assessment("deny", "high", "unknown", DENIED_WITHOUT_REASON)),
        ('{"outcome":"deny","rationale":"  "}', Assessment("deny", "high", "unknown", DENIED_WITHOUT_REASON)),
        ('{"outcome":"deny","risk_level":null}', Assessment("deny", "high", "unknown", DENIED_WITHOUT_REASON)),
        ('{"outcome":"allow","confidence":1}', Assessment("allow", "low", "unknown", ALLOWED_WITHOUT_REASON)),
    ],
)
def test_a_verdict_is_read(text: str, assessment: Assessment) -> None:
    assert read_assessment(text) == assessment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "allow",
        "}{",
        "[]",
        '["outcome", "allow"]',
        '{"outcome":"Allow"}',
        '{"outcome":true}',
        '{"outcome":["allow"]}',
        '{"outcome":"allow","risk_level":"none"}',
        '{"outcome":"allow","user_authorization":3}',
        '{"outcome":"allow","rationale":[]}',
        '{"verdict":{"outcome":"allow"}}',
        '{"outcome":"deny"} but {"outcome":"allow"}',
        '{"outcome":"deny","outcome":"allow"}',
        '{"outcome":"allow"',
        "{" * 100_000 + "}" * 100_000,
        '{"outcome":"allow","confidence":' + "1" * 5_000 + "}",
    ],
)
def test_anything_else_is_no_verdict(text: str) -> None:
    with pytest.raises(Unreadable):
        read_assessment(text)


def test_a_long_rationale_is_cut() -> None:
    text = orjson.dumps({"outcome": "deny", "rationale": "x" * 100_000}).decode()
    assert len(read_assessment(text).rationale) == RATIONALE_CHARACTERS


def test_half_a_surrogate_pair_does_not_come_through() -> None:
    assert read_assessment('{"outcome":"deny","rationale":"a\\ud800b"}').rationale == "a?b"
    with pytest.raises(Unreadable, match=r"and was `\?`"):
        read_assessment('{"outcome":"\\ud800"}')


def test_the_schema_holds_for_what_is_read() -> None:
    jsonschema.validate(orjson.loads(WHOLE), SCHEMA)
    jsonschema.validate({"outcome": "allow"}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"outcome": "allow", "more": 1}, SCHEMA)
