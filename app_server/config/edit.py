"""Writing config.toml: single values and batches, checked before they are written; comments and order are kept."""

import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct

from app_server.config.layer import Layer, Table, contains, line_of, merge, renewed, value_at
from app_server.config.layers import LayerStack
from app_server.config.permission_profiles import PROFILE_SUMMARY
from app_server.config.settings import CLOUD_PROVIDERS
from app_server.config.table import dotted
from app_server.config.toml_text import CannotChange, changed

FILE_MODE = 0o600
"""Of a new file: it may come to hold keys."""

MAX_INTEGER = 1 << 63
MAX_DEPTH = 64
"""How deeply tables and lists may be nested: more than anybody writes, and less than readers of TOML stumble over."""
ATTEMPTS = 3

CONFLICT = "Configuration was modified since last read. Fetch latest version and retry."
NO_PROFILE = (
    "`profile` is a legacy config selector and can no longer be written; use `--profile <name>` with "
    "`<name>.config.toml` instead"
)
NO_PROFILES = (
    "`profiles` holds config profiles of an older form and can no longer be written; use `--profile <name>` with "
    "`<name>.config.toml` instead"
)

Strategy = Literal["replace", "upsert"]


class WriteRefused(Exception):
    """A write that changes nothing. `kind` is what clients are told beside the message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Edit(Struct, frozen=True):
    """One change: the value at a dotted path, None to take it away. `upsert` merges tables, `replace` replaces them."""

    key_path: str
    value: Any
    strategy: Strategy = "replace"


class Written(Struct, frozen=True):
    """The user's layer after a write. `overridden` is the layer that hides a written value, and the value it has."""

    layer: Layer
    overridden: tuple[Layer, Any] | None = None


def write(
    stack: LayerStack, edits: Sequence[Edit], *, expected_version: str | None = None, file_path: str | None = None
) -> Written:
    """Change the user's config.toml, all or nothing. Blocks on files. Raises WriteRefused, or OSError.

    `stack` is as the files were last read; the user's file is read again. A link stays a link.
    """
    user = stack.user
    if file_path is not None and os.path.normpath(file_path) != os.path.normpath(str(user.file)):
        raise WriteRefused("configLayerReadonly", "Only writes to the user config are allowed")
    paths = [(parse_path(edit.key_path), edit) for edit in edits]
    for _ in range(ATTEMPTS):
        written = _attempt(stack, Path(str(user.file)), paths, expected_version)
        if written is not None:
            return written
    raise WriteRefused("configVersionConflict", CONFLICT)


def parse_path(text: str) -> tuple[str, ...]:
    """The segments of a key path: separated by dots, quoted where they hold dots themselves. Raises WriteRefused."""
    if not text.strip():
        raise WriteRefused("configValidationError", "keyPath must not be empty")
    segments: list[str] = []
    rest = text
    while True:
        segment, rest = _segment(rest.lstrip())
        segments.append(segment)
        rest = rest.lstrip()
        if not rest:
            return tuple(segments)
        if not rest.startswith("."):
            raise WriteRefused("configValidationError", f"expected `.` after the quoted segment of keyPath `{text}`")
        rest = rest[1:]


def _segment(text: str) -> tuple[str, str]:
    """The first segment, and what follows it."""
    quote = text[:1]
    if quote not in ('"', "'"):
        bare, dot, rest = text.partition(".")
        if not bare.strip() or (dot and not rest):
            raise WriteRefused("configValidationError", "keyPath segments must not be empty")
        return bare.strip(), dot + rest
    end = 1
    while end < len(text) and text[end] != quote:
        end += 2 if text[end] == "\\" and quote == '"' else 1
    if end >= len(text):
        raise WriteRefused("configValidationError", "unterminated quoted keyPath segment")
    try:
        return next(iter(tomllib.loads(f"{text[: end + 1]} = 0"))), text[end + 1 :]
    except tomllib.TOMLDecodeError:
        raise WriteRefused("configValidationError", f"invalid quoted keyPath segment {text[: end + 1]}") from None


# One attempt


def _attempt(
    stack: LayerStack, file: Path, edits: Sequence[tuple[tuple[str, ...], Edit]], expected_version: str | None
) -> Written | None:
    """Read, change, check and write; None if somebody else has written meanwhile."""
    target = Path(os.path.realpath(file))
    before = _state(target)
    text = "" if before is None else _read_text(target, file)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WriteRefused("configValidationError", f"{file} cannot be understood: {error}; correct it first") from None
    layer = Layer(stack.user.source, table, text)
    if expected_version is not None and expected_version != layer.version:
        raise WriteRefused("configVersionConflict", CONFLICT)
    wanted = deepcopy(table)
    for path, edit in edits:
        _check_value(path, edit.value)
        _apply(wanted, path, edit)
    try:
        new_text = changed(text, wanted)
    except CannotChange as error:
        reason = f"the edit cannot be made without rewriting {file} ({error}); make it by hand"
        raise WriteRefused("configValidationError", reason) from None
    new = Layer(stack.user.source, wanted, new_text)
    after = stack.with_user_table(new)
    _check(stack.with_user_table(layer), after, edits)
    if new_text != text and not _replace(target, new_text, before):
        return None
    return Written(new, _overridden(after, edits))


def _read_text(target: Path, file: Path) -> str:
    try:
        return target.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WriteRefused("configValidationError", f"{file} is not UTF-8; correct it first") from None


def _check_value(path: Sequence[str], value: Any) -> None:
    if path == ("profile",) and value is not None:
        raise WriteRefused("configValidationError", NO_PROFILE)
    if path[0] == "profiles" and value is not None:
        raise WriteRefused("configValidationError", NO_PROFILES)
    if value is not None and (reason := _unwritable(value)) is not None:
        raise WriteRefused("configValidationError", f"invalid value for `{dotted(path)}`: {reason}")


def _unwritable(value: Any, depth: int = 0) -> str | None:
    if depth > MAX_DEPTH:
        return f"it is nested more than {MAX_DEPTH} levels deep"
    if value is None:
        return "invalid type: null, expected any valid TOML value"
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return next((why for inner in entries.values() if (why := _unwritable(inner, depth + 1)) is not None), None)
    if isinstance(value, list):
        found = (_unwritable(inner, depth + 1) for inner in cast("list[Any]", value))
        return next((reason for reason in found if reason is not None), None)
    # JSON has whole numbers of any size, and what is very large was read as a fraction.
    if isinstance(value, int | float) and not -MAX_INTEGER <= value < MAX_INTEGER:
        return f"{value} has more than 64 bits"
    return None


def _apply(table: Table, path: Sequence[str], edit: Edit) -> None:
    """Make one change to a plain table."""
    whole = table
    for key in path[:-1]:
        if key not in table:
            if edit.value is None:
                return
            table[key] = {}
        inner = table[key]
        if not isinstance(inner, dict):
            if edit.value is None:
                return
            raise WriteRefused("configValidationError", "cannot set value on non-table parent")
        table = cast("Table", inner)
    key, value = path[-1], edit.value
    if value is None:
        removed = table.pop(key, None)
        # A list of tables stands under headers of its own: without it nothing says that there is a table around it.
        if isinstance(removed, list) and not table and len(path) > 1:
            _apply(whole, path[:-1], Edit(edit.key_path, None))
    elif edit.strategy == "upsert" and isinstance(value, dict) and isinstance(table.get(key), dict):
        merge(table[key], cast("Table", value))
    else:
        table[key] = deepcopy(cast("Any", value))


# Checks


def _check(before: LayerStack, after: LayerStack, edits: Sequence[tuple[tuple[str, ...], Edit]]) -> None:
    """Raise WriteRefused for what was not wrong before, or is what an edit has just said."""
    demands = after.demands
    for path, edit in edits:
        if demands is not None and (refusal := demands.check_write(path, edit.value)) is not None:
            raise WriteRefused(*refusal)
    known = {(problem.path, problem.message) for problem in before.problems}
    for problem in after.problems:
        said = any(_touches(problem.path, path) for path, edit in edits if edit.value is not None)
        new = (problem.path, problem.message) not in known
        own = contains(after.user.table, problem.path[:1])
        if (said and own and problem.summary in (None, PROFILE_SUMMARY)) or (
            new and (problem.decisive or (said and problem.imposed))
        ):
            line = line_of(after.user.text, problem.path)
            raise WriteRefused(
                "configValidationError",
                f"Invalid configuration: {problem.message} (in `{problem.key}`, line {line} as it would be)",
            )
    _check_shape(after, [path for path, edit in edits if edit.value is not None])
    if after.strict:
        from app_server.config.known_keys import unknown_keys

        old = {path for path, _ in unknown_keys(before.user.table)}
        for path, near in unknown_keys(after.user.table):
            if path not in old:
                hint = f"; did you mean `{near}`?" if near else ""
                reason = f"Invalid configuration: unknown configuration field `{dotted(path)}`{hint}"
                raise WriteRefused("configValidationError", reason)


def _check_shape(after: LayerStack, said: Sequence[tuple[str, ...]]) -> None:
    """Raise WriteRefused for a value of the wrong kind that an edit has said, also where nothing reads it here.

    Another program on the same home may, and would not start on it.
    """
    from app_server.config.known_keys import misshapen, unreachable_servers

    wrong = [*misshapen(renewed(dict(after.user.table))), *unreachable_servers(after.effective())]
    providers = after.user.table.get("model_providers", {})
    for name, provider in (cast("Table", providers) if isinstance(providers, dict) else {}).items():
        if isinstance(provider, dict) and "name" not in provider and name not in CLOUD_PROVIDERS:
            wrong.append((("model_providers", name), "`name` is missing"))
    for path, message in wrong:
        if any(_touches(path, edited) for edited in said):
            raise WriteRefused("configValidationError", f"Invalid configuration: {message} (in `{dotted(path)}`)")


def _touches(one: Sequence[str], other: Sequence[str]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _overridden(stack: LayerStack, edits: Sequence[tuple[tuple[str, ...], Edit]]) -> tuple[Layer, Any] | None:
    """The first edit whose value another layer hides: that layer, and the value in force."""
    stronger = list(stack.active)
    stronger = stronger[stronger.index(stack.user) + 1 :]
    effective = stack.effective()
    for path, edit in edits:
        if edit.value is None:
            continue
        inner: Any = edit.value
        if isinstance(inner, dict) and inner:
            hidden = [(*path, *rest) for rest in _leaf_paths(cast("Mapping[str, Any]", inner))]
        else:
            hidden = [tuple(path)]
        for layer in reversed(stronger):
            if any(_says(layer.table, place) for place in hidden):
                return layer, value_at(effective, path)
    return None


def _leaf_paths(table: Mapping[str, Any]) -> list[tuple[str, ...]]:
    from app_server.config.layer import leaves

    return [path for path, _ in leaves(table)]


def _says(table: Table, path: Sequence[str]) -> bool:
    """Whether a layer has a value at the path, or something else than a table above it."""
    value: Any = table
    for key in path:
        if not isinstance(value, dict):
            return True
        if key not in value:
            return False
        value = cast("Table", value)[key]
    return True


# Files


def _state(path: Path) -> tuple[int, int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_mode & 0o777


def _replace(target: Path, text: str, before: tuple[int, int, int, int] | None) -> bool:
    """Put a new file in the place of the old one, on disk before this returns. False if the old one has changed."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), FILE_MODE if before is None else before[3])
            os.fsync(file.fileno())
        if _state(target) != before:
            os.unlink(name)
            return False
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
