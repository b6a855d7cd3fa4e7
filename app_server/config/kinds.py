"""What kind of value a setting takes, and what is wrong with one that it does not take."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from app_server.config.table import got

Kind = int | str | list[Any] | Mapping[str, Any]
"""What a setting takes, as known_keys.json says it.

- 1: anything
- a name, or several with `|` between them: `flag`, `text`, `word` (a text that is not empty), `texts`, `number` (not
  negative), `positive` (a number above zero), `keys` (a key of the keyboard, or several in a list), `list`, `table`,
  and `A..B` for whole numbers, where either end may be left open
- a list of texts: one of them
- a list of one other kind: a list of that
- a table: a table with such values. ANY_NAME is what keys hold that users name themselves, REQUIRED lists the keys that
  may not be missing (`KEY=TEXT:NAME` one that may not where KEY is TEXT), and keys that are not in it are somebody
  else's business
- a table with nothing but EITHER: one of the kinds in its list
"""

ANY_NAME = "*"
REQUIRED = "!"
EITHER = "|"

Mismatch = tuple[tuple[str, ...], str]
"""Where a value is wrong, and what it must be."""


def mismatches(kind: Kind, value: Any, path: tuple[str, ...] = ()) -> Iterator[Mismatch]:
    """What is wrong in a value; its path goes on into tables by key, and into lists by place, counted from 0."""
    if isinstance(kind, int):
        return
    if isinstance(kind, Mapping):
        if EITHER in kind:
            attempts = [list(mismatches(one, value, path)) for one in kind[EITHER]]
            if all(attempts):
                # What comes furthest into the value is most likely what was meant.
                yield from max(attempts, key=lambda attempt: max(len(where) for where, _ in attempt))
        elif isinstance(value, dict):
            yield from _in_table(kind, cast("dict[str, Any]", value), path)
        else:
            yield path, must_be("a table", value)
    elif isinstance(kind, str):
        if not any(_NAMED[name][1](value) if name in _NAMED else _within(name, value) for name in kind.split("|")):
            expected = (_NAMED[name][0] if name in _NAMED else _range(name) for name in kind.split("|"))
            yield path, must_be(" or ".join(expected), value)
    elif isinstance(kind[0], str):
        if value not in kind:
            yield path, must_be("one of " + ", ".join(f"`{name}`" for name in kind), value, shown=True)
    elif not isinstance(value, list):
        yield path, must_be("a list", value)
    else:
        for place, entry in enumerate(cast("list[Any]", value)):
            yield from mismatches(kind[0], entry, (*path, str(place)))


def must_be(expected: str, value: Any, *, shown: bool = False) -> str:
    """The sentence about a value that is not what it must be; a text is repeated only if it may be `shown`."""
    return f"must be {expected}, got {got(value, shown=shown)}"


def _in_table(kind: Mapping[str, Any], table: dict[str, Any], path: tuple[str, ...]) -> Iterator[Mismatch]:
    for required in kind.get(REQUIRED, ()):
        condition, _, name = required.rpartition(":")
        key, _, text = condition.partition("=")
        if name not in table and (not condition or table.get(key) == text):
            yield path, f"`{name}` is missing"
    for key, value in table.items():
        inner = kind.get(key, kind.get(ANY_NAME))
        if inner is not None and key != REQUIRED:
            yield from mismatches(inner, value, (*path, key))


def _within(limits: str, value: Any) -> bool:
    least, most = limits.split("..")
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return (not least or value >= int(least)) and (not most or value <= int(most))


def _range(limits: str) -> str:
    least, most = limits.split("..")
    if most:
        return f"a whole number from {least} to {most}"
    return f"a whole number, at least {least}" if least else "a whole number"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in cast("list[Any]", value))


def _is_stroke(stroke: str) -> bool:
    modifiers: list[str] = []
    while (parts := stroke.partition("-"))[0] in _MODIFIERS and parts[2]:
        modifiers.append(parts[0])
        stroke = parts[2]
    return len(set(modifiers)) == len(modifiers) and _KEY.fullmatch(stroke) is not None


def _is_keys(value: Any) -> bool:
    if isinstance(value, str):
        strokes = value.lower().split()
        if len(strokes) not in (1, 2) or (strokes[0] == "leader" and len(strokes) == 1):
            return False
        return all(map(_is_stroke, strokes[1:] if strokes[0] == "leader" else strokes))
    return _is_texts(value) and all(_is_keys(entry) for entry in value)


_NAMED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "text": ("a string", lambda value: isinstance(value, str)),
    "word": ("a string that is not empty", lambda value: isinstance(value, str) and value != ""),
    "texts": ("a list of strings", _is_texts),
    "number": ("a number, at least 0", lambda value: _is_number(value) and 0 <= value < float("inf")),
    "positive": ("a number above 0", lambda value: _is_number(value) and 0 < value < float("inf")),
    "keys": ("a key such as `ctrl-a`, `f5` or `page-down`, or a list of them", _is_keys),
    "list": ("a list", lambda value: isinstance(value, list)),
    "table": ("a table", lambda value: isinstance(value, dict)),
}

_KEY = re.compile(
    r"[!-,.-~]|f(?:[1-9]|1\d|2[0-4])|enter|return|tab|backspace|esc|escape|del|delete|up|down|left|right|home|end"
    r"|page-?up|page-?down|pgup|pgdn|space|spacebar|minus"
)
_MODIFIERS = ("ctrl", "control", "alt", "option", "shift", "super", "cmd", "command")
