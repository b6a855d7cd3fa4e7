"""Values are compared with what their settings take."""

from typing import Any

import pytest

from app_server.config.kinds import Kind, mismatches

CASES: list[tuple[Kind, list[Any], list[Any]]] = [
    ("flag", [True, False], [0, "true", None]),
    ("text", ["", "x"], [5, True, [], {}]),
    ("word", ["x"], ["", 5]),
    ("texts", [[], ["a", ""]], ["a", [1], {}]),
    ("0..", [0, 1 << 62], [-1, 1.5, True, "1"]),
    ("0..255", [0, 255], [256, -1]),
    ("..", [-5, 0, 5], [0.5, False]),
    ("number", [0, 1.5], [-1, float("inf"), float("nan"), True]),
    ("positive", [0.1, 3], [0, -1, float("nan")]),
    ("flag|texts", [True, ["a"]], ["a", 1]),
    ("table", [{}, {"a": 1}], [[], 5]),
    (["low", "high"], ["low"], ["mid", 5, [], {}]),
    ([{"id": "text"}], [[], [{"id": "a"}, {}]], [{}, "a", [5], [{"id": 5}]]),
    ({"*": "text"}, [{}, {"a": "b"}], [{"a": 1}, []]),
    ({"!": ["id"], "id": "text"}, [{"id": "a", "other": 5}], [{}]),
    ({"!": ["how", "how=a:id"]}, [{"how": "a", "id": 1}, {"how": "b"}], [{}, {"how": "a"}]),
    ({"|": ["0..", {"!": ["id"]}]}, [5, {"id": 1}], ["5", {}]),
    (1, [1, "a", None, {}], []),
]


@pytest.mark.parametrize(("kind", "right", "wrong"), CASES)
def test_a_value_is_right_or_wrong_by_its_kind(kind: Kind, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if list(mismatches(kind, value))] == []
    assert [value for value in wrong if not list(mismatches(kind, value))] == []


KEYS = [
    "a",
    "A",
    "~",
    "ctrl-a",
    "Ctrl-Shift-F5",
    "page-down",
    "pgup",
    "leader a",
    "ctrl-x ctrl-c",
    "minus",
    ["a", "f1"],
]
NO_KEYS: list[Any] = [
    "",
    " ",
    "-",
    "ctrl-",
    "ctrl+a",
    "f25",
    "é",
    "meta-a",
    "leader",
    "a b c",
    "ctrl-ctrl-a",
    "insert",
    5,
    [5],
    {},
]


def test_keys_of_the_keyboard_are_told_from_what_is_none() -> None:
    assert [value for value in KEYS if list(mismatches("keys", value))] == []
    assert [value for value in NO_KEYS if not list(mismatches("keys", value))] == []


def test_what_is_wrong_is_told_with_its_place_and_no_text_that_may_be_a_secret() -> None:
    kind: Kind = {"*": {"!": ["id"], "id": "word", "how": ["a", "b"], "port": "0..65535"}}
    assert list(mismatches(kind, {"x": {"how": "c", "port": "sk-secret"}, "y": {"id": ["sk-secret"]}, "z": 5})) == [
        (("x",), "`id` is missing"),
        (("x", "how"), "must be one of `a`, `b`, got `c`"),
        (("x", "port"), "must be a whole number from 0 to 65535, got a string"),
        (("y", "id"), "must be a string that is not empty, got a list"),
        (("z",), "must be a table, got the number 5"),
    ]


def test_of_several_kinds_the_nearest_one_is_told() -> None:
    kind: Kind = {"|": [["none"], {"http": {"!": ["url"]}}]}
    assert list(mismatches(kind, {"http": {}})) == [(("http",), "`url` is missing")]
    assert list(mismatches(kind, "some")) == [((), "must be one of `none`, got `some`")]
