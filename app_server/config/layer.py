"""One layer of configuration: where it comes from, its table, and the text it was read from."""

import hashlib
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

INVALID = "Invalid configuration; threads cannot start until it is corrected."

MAX_BYTES = 4 << 20
"""A file that is larger is no configuration."""

Table = dict[str, Any]


class ConfigError(Exception):
    """Configuration that cannot be used; the message names the key and the file or flag."""


class ConfigWarning(Struct, frozen=True):
    """Something in the configuration that a user should know. Lines and columns count from 1."""

    summary: str
    details: str | None = None
    path: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def essence(self) -> tuple[str, str]:
        """What it says, wherever in the file that is."""
        return self.summary, re.sub(r":\d+(:\d+)?: ", ": ", self.details or "")


class Layer(Struct, frozen=True, dict=True):
    """One source. `source` is its name as `config/read` tells it; `text` is the file, for positions in it.

    With a `disabled_reason` it is shown and does not count. `ignored` are the settings that were left out of `table`
    because such a layer may not make them.
    """

    source: Mapping[str, Any]
    table: Table
    text: str = ""
    disabled_reason: str | None = None
    ignored: tuple[str, ...] = ()

    @cached_property
    def version(self) -> str:
        """Changes when the content changes."""
        content = json.dumps(self.table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return "sha256:" + hashlib.sha256(content.encode()).hexdigest()

    @property
    def file(self) -> str | None:
        """The file that the layer is read from."""
        if (folder := self.source.get("dotCodexFolder")) is not None:
            return os.path.join(folder, "config.toml")
        return self.source.get("file")

    @property
    def kind(self) -> str:
        """`system`, `user`, `project`, `sessionFlags`, ..."""
        return self.source["type"]


# Tables


def merge(into: Table, table: Mapping[str, Any]) -> None:
    """Lay `table` over `into`: tables are merged key by key, anything else replaces what was there."""
    for key, value in table.items():
        if isinstance(value, dict):
            below = into.get(key)
            target = cast("Table", below) if isinstance(below, dict) else cast("Table", {})
            into[key] = target
            merge(target, cast("Table", value))
        else:
            into[key] = deepcopy(value)


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no table, with its path; an empty table counts as a value."""
    for key, value in table.items():
        inner = cast("Table", value) if isinstance(value, dict) else None
        if inner:
            yield from leaves(inner, (*path, key))
        else:
            yield (*path, key), value


def renewed(table: Table) -> Table:
    """The table itself, with values of an older form replaced by those that mean the same now."""
    for key, values in _OLDER.items():
        if isinstance(value := table.get(key), str) and value in values:
            table[key] = values[value]
    return table


_OLDER = {"approval_policy": {"on-failure": "on-request"}}


def contains(table: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Whether the table has a value at the path."""
    return value_at(table, path) is not None


def value_at(table: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at the path, None if there is none."""
    value: Any = table
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = cast("Table", value)[key]
    return value


def without(table: Table, paths: Iterable[Sequence[str]]) -> Table:
    """A copy that lacks what is at the paths."""
    copy = deepcopy(table)
    for *above, last in paths:
        inner = value_at(copy, above)
        if isinstance(inner, dict):
            cast("Table", inner).pop(last, None)
    return copy


def at_path(path: Sequence[str], value: Any) -> Table:
    """A table with nothing but a value at the path."""
    for key in reversed(path):
        value = {key: value}
    return value


def nested(overrides: Mapping[str, Any]) -> Table:
    """Overrides with dotted keys as one table; a null means that the key is not overridden."""
    table: Table = {}
    for key, value in overrides.items():
        if value is not None:
            merge(table, at_path(parse_key(key), value))
    return table


# Keys


def parse_override(text: str) -> Table:
    """`a.b=value` as a nested table. The value is TOML, or else a plain string. Raises ConfigError without a key."""
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key:
        raise ConfigError(f"-c {text}: expected key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    return at_path(parse_key(key), parsed["value"] if set(parsed) == {"value"} else value.strip("\"'"))


def parse_key(key: str) -> tuple[str, ...]:
    """The segments of a dotted key; segments may be quoted as in TOML."""
    if '"' not in key and "'" not in key:
        return tuple(key.split("."))
    try:
        table = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return tuple(key.split("."))
    path: list[str] = []
    value: Any = table
    while isinstance(value, dict):
        name, value = next(iter(cast("Table", value).items()))
        path.append(name)
    return tuple(path)


# Files


def read_file(path: Path) -> tuple[Table, str, ConfigWarning | None]:
    """The table of a TOML file, its text, and what is wrong with it. A file that is not there is empty."""
    text = ""
    try:
        text = _bytes_of(path).decode("utf-8-sig")
        return tomllib.loads(text), text, None
    except FileNotFoundError:
        return {}, "", None
    except RecursionError:
        return {}, text, ConfigWarning(INVALID, f"{path}: too many tables within each other", str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "the file is not UTF-8"
        return {}, "", ConfigWarning(INVALID, f"{path}: {reason}", str(path))
    except ValueError as error:  # of tomllib, or of a number with thousands of digits
        message = str(error)
        position = _POSITION.search(message)
        line, column = len(text.splitlines()) or 1, 1
        if position is not None and position[1] is not None:
            line, column = int(position[1]), int(position[2])
        reason = _POSITION.sub("", message).strip()
        return {}, text, ConfigWarning(INVALID, f"{path}:{line}:{column}: {reason}", str(path), line, column)


def _bytes_of(path: Path) -> bytes:
    # What is no file (a pipe in somebody's project) might never end.
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError("it is no regular file")
    if state.st_size > MAX_BYTES:
        raise OSError(f"it is larger than {MAX_BYTES >> 20} MiB")
    return path.read_bytes()


def line_of(text: str, path: Sequence[str]) -> int:
    """The line, from 1, where the value at `path` is most likely set; 1 when it cannot be told.

    Entries of a list of tables are counted from 0.
    """
    section: tuple[str, ...] = ()
    lists: dict[tuple[str, ...], int] = {}
    best, depth, below = 1, 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            here = section = _section(header[2], lists, another=bool(header[1]))
        elif assignment := _ASSIGNMENT.match(line):
            here = (*section, *parse_key(assignment[1].strip()))
        else:
            continue
        if len(here) > depth and tuple(path[: len(here)]) == here:
            best, depth = number, len(here)
        if not below and len(here) > len(path) and here[: len(path)] == tuple(path):
            below = number
    return best if depth or not below else below


def _section(header: str, lists: dict[tuple[str, ...], int], *, another: bool) -> tuple[str, ...]:
    """The path that a header opens. `lists` counts the entries of lists of tables so far, and `another`."""
    path: tuple[str, ...] = ()
    *outer, last = parse_key(header)
    for key in outer:
        path = (*path, key)
        if path in lists:
            path = (*path, str(lists[path] - 1))
    path = (*path, last)
    if another:
        lists[path] = lists.get(path, 0) + 1
        path = (*path, str(lists[path] - 1))
    return path


_HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
_ASSIGNMENT = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)|\(at end of document\)")
