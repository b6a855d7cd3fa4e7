"""However a person has written a file, a change makes it say what was wanted, and touches no other line."""

import tomllib
from copy import deepcopy
from typing import Any, cast

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app_server.config.toml_text import CannotChange, changed, inline_text, key_text, same

NAMES = st.sampled_from(["a", "b", "c", "x.y", "d e", "é", '"', ""])
SCALARS = st.one_of(
    st.sampled_from([True, 1, 1.0, -7, 2.5e30, "", "text", 'q"uote', "# no comment", "line\nbreak", "é\x7f\t", "'''"]),
    st.lists(st.integers(-9, 9), max_size=3),
    st.lists(st.fixed_dictionaries({"k": st.integers(0, 3)}), min_size=1, max_size=2),
)
WRITTEN = st.sampled_from(
    [
        '"""two\nlines # no comment\n[no.header]\n"""',
        "'''it's\n'''",
        '"""ends in a quote\\""""',
        "[1, # one\n 2,\n]",
        "{ p = 1, q = { r = [2] } }",
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        "0xff",
        "'C:\\path'",
        "[ { k = 1 }, { k = 2 } ]",
        "+inf",
    ]
)
LINES = ["{p} = {v} {c}", "{p}={v}", "[{p}] {c}", "  [ {p} ]", "[[{p}]]", "{c}", "", " {p} = {v}"]
PATHS = st.lists(NAMES, min_size=1, max_size=3)
TABLES = st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=5)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid files with tables in parts, dotted keys, inline tables, lists of tables and comments."""
    text, newline = "", draw(st.sampled_from(["\n", "\r\n"]))
    for number in range(draw(st.integers(0, 9))):
        comment = f"# c{number}" if draw(st.booleans()) else ""
        path = key_text(draw(PATHS))
        value = draw(WRITTEN | SCALARS.map(inline_text)).replace("\n", newline)
        line = draw(
            st.sampled_from(["{p} = {v} {c}", "{p}={v}", "[{p}] {c}", "  [ {p} ]", "[[{p}]]", "{c}", "", " {p} = {v}"])
        )
        more = text + line.format(p=path, v=value, c=comment) + newline
        try:
            tomllib.loads(more)
        except tomllib.TOMLDecodeError:
            continue
        text = more
    return text if draw(st.booleans()) else text.rstrip("\r\n")


def edited(table: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    wanted = inner = deepcopy(table)
    for key in path[:-1]:
        if not isinstance(inner.get(key), dict):
            inner[key] = {}
        inner = cast("dict[str, Any]", inner[key])
    if value is None:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    return wanted


@settings(max_examples=120, deadline=None)
@given(documents(), st.lists(st.tuples(PATHS, st.none() | TABLES), min_size=1, max_size=3))
def test_a_change_says_what_was_wanted_and_leaves_the_other_lines(
    text: str, edits: list[tuple[list[str], Any]]
) -> None:
    table = tomllib.loads(text)
    wanted = table
    for path, value in edits:
        wanted = edited(wanted, path, value)
    try:
        new = changed(text, wanted)
    except CannotChange:
        # Tables that are closed by how they are written: a person has to open them.
        assume(False)
        return
    assert same(tomllib.loads(new), wanted)
    if same(table, wanted):
        assert new == text


@settings(max_examples=60, deadline=None)
@given(documents(), NAMES, SCALARS)
def test_a_new_setting_at_the_top_adds_lines_and_removes_none(text: str, name: str, value: Any) -> None:
    table = tomllib.loads(text)
    assume(name not in table)
    new = changed(text, {**table, name: value})
    kept = iter(new.splitlines())
    assert all(line in kept for line in text.splitlines())
    assert same(tomllib.loads(new), {**table, name: value})
