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
  may not be missing, and keys that are not in it are somebody else's business
"""

ANY_NAME = "*"
REQUIRED = "!"

Mismatch = tuple[tuple[str, ...], str]
"""Where a value is wrong, and what it must be."""


def mismatches(kind: Kind, value: Any, path: tuple[str, ...] = ()) -> Iterator[Mismatch]:
    """What is wrong in a value; its path goes on into tables by key, and into lists by place, counted from 0."""
    if isinstance(kind, int):
        return
    if isinstance(kind, Mapping):
        if isinstance(value, dict):
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
    for name in kind.get(REQUIRED, ()):
        if name not in table:
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


def _is_keys(value: Any) -> bool:
    if isinstance(value, str):
        return _KEYS.fullmatch(value.strip().lower()) is not None
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

_KEY = (
    r"(?:(?:ctrl|control|alt|option|shift|super|cmd|command)-)*(?:[!-,.-~]|f(?:[1-9]|1\d|2[0-4])|enter|return|tab"
    r"|backspace|esc|escape|del|delete|up|down|left|right|home|end|page-?up|page-?down|pgup|pgdn|space|spacebar|minus)"
)
_KEYS = re.compile(rf"(?:leader\s+)?{_KEY}(?:\s+{_KEY})*")
