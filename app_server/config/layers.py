"""Where configuration comes from: layers in order of strength, merged, with the origin of each value."""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from app_server.config.known_keys import KNOWN_KEYS
from app_server.config.network_proxy import NetworkRequirements
from app_server.config.network_tables import read_network_requirements
from app_server.config.settings import Settings, read_settings
from app_server.config.table import Problem, TableReader, dotted

SYSTEM_CONFIG = Path("/etc/codex/config.toml")
REQUIREMENTS = "requirements.toml"
"""Beside the system's configuration: what an organisation demands."""

INVALID = "Invalid configuration; threads cannot start until it is corrected."

Table = dict[str, Any]


class ConfigError(Exception):
    """Configuration that cannot be used; the message names the key and the file or flag."""


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Something in the configuration that a user should know. Lines and columns count from 1."""

    summary: str
    details: str | None = None
    path: str | None = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One source. `source` is its name as `config/read` tells it; `text` is the file, for positions in it."""

    source: Mapping[str, Any]
    table: Table
    text: str = ""

    @property
    def version(self) -> str:
        """Changes when the content changes."""
        content = json.dumps(self.table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return "sha256:" + hashlib.sha256(content.encode()).hexdigest()

    @property
    def file(self) -> str | None:
        """The file that the layer is read from."""
        return self.source.get("file")


@dataclass(frozen=True)
class LayerStack:
    """All layers, weakest first, as they were when read. `broken` are files that could not be understood."""

    codex_home: Path
    layers: tuple[Layer, ...]
    broken: tuple[ConfigWarning, ...] = ()
    signed_in: bool = False
    """Whether the user has signed in to an account, which some defaults depend on."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    requirements: Layer | None = None
    """What an organisation demands, which no layer can change."""

    def effective(self) -> Table:
        """The merged table. The caller may change it."""
        merged: Table = {}
        for layer in self.layers:
            merge(merged, layer.table)
        return merged

    def origins(self) -> dict[str, Layer]:
        """The layer that has the last word on each value, by dotted key."""
        found: dict[tuple[str, ...], Layer] = {}
        for layer in self.layers:
            for path, value in leaves(layer.table):
                if value == {} and any(other[: len(path)] == path != other for other in found):
                    continue
                for other in [p for p in found if p[: len(path)] == path or path[: len(p)] == p]:
                    del found[other]
                found[path] = layer
        return {dotted(path): layer for path, layer in found.items()}

    def settings(self) -> Settings:
        """What is in force for the daemon. Never raises: what cannot be used is at its default and in `warnings`."""
        return self._read[0]

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong in the merged configuration."""
        return self._read[1].problems

    def with_thread_config(self, overrides: Mapping[str, Any] | None = None) -> Settings:
        """What is in force for a thread that gives `overrides` (dotted keys, JSON values) of its own.

        Raises ConfigError when a file or an override leaves open where prompts go or what may run.
        """
        if self.broken:
            raise ConfigError(str(self.broken[0].details))
        for warning in self._warnings_of_demands():
            raise ConfigError(str(warning.details))
        stack = self
        if overrides:
            stack = self._with(Layer({"type": "sessionFlags"}, nested(overrides)))
        settings, reader = stack._read
        for problem in reader.problems:
            if problem.decisive:
                raise ConfigError(stack._describe(problem)[0])
        return settings

    @cached_property
    def warnings(self) -> tuple[ConfigWarning, ...]:
        """What clients should be told, one `configWarning` each."""
        found = [*self.broken, *self._warnings_of_demands()]
        for problem in self._read[1].problems:
            details, path, line = self._describe(problem)
            summary = INVALID
            if not problem.decisive:
                summary = problem.summary or f"Ignoring an invalid setting: {problem.key}."
            found.append(ConfigWarning(summary, details, path, line, None if line is None else 1))
        found.extend(self._unknown_keys())
        settings = self.settings()
        if settings.model_provider == "demo" and "model_provider" not in self.effective():
            found.append(
                ConfigWarning(
                    "No model is configured: the offline demo model answers.",
                    "Set OPENAI_API_KEY, or choose a provider with `model_provider` in "
                    f"{self.codex_home / 'config.toml'} and describe it in [model_providers.NAME].",
                )
            )
        return tuple(found)

    @cached_property
    def _read(self) -> tuple[Settings, TableReader]:
        return read_settings(self._deciding(), self.codex_home, self.signed_in, self.environ, self._demands[0])

    @cached_property
    def _demands(self) -> tuple[NetworkRequirements | None, Sequence[Problem]]:
        reader = TableReader({} if self.requirements is None else self.requirements.table)
        return read_network_requirements(reader), reader.problems

    def _warnings_of_demands(self) -> Iterator[ConfigWarning]:
        file, text = ("", "") if self.requirements is None else (self.requirements.file, self.requirements.text)
        for problem in self._demands[1]:
            line = line_of(text, problem.path)
            details = f"{file}:{line}: {problem.message} (in `{problem.key}`)"
            yield ConfigWarning(INVALID, details, file, line, 1)

    def _deciding(self) -> Table:
        """The merged table, where what a stronger layer says in short does not undo more than it means.

        A sandbox mode that is set above it puts aside a default permission profile. `features.network_proxy` of true
        or false, such as that of `--enable`, switches the rules that a weaker layer has made, and keeps them.
        """
        merged = self.effective()
        rules = _network_rules(self.layers)
        if rules is not None and isinstance(merged.get("features"), dict):
            merged["features"]["network_proxy"] = rules
        for layer in reversed(self.layers):
            if "default_permissions" in layer.table:
                break
            if "sandbox_mode" in layer.table:
                merged.pop("default_permissions", None)
                break
        return merged

    def _with(self, layer: Layer) -> "LayerStack":
        return replace(self, layers=(*self.layers, layer))

    def _describe(self, problem: Problem) -> tuple[str, str | None, int | None]:
        owner = None
        for depth in range(len(problem.path), 0, -1):
            path = problem.path[:depth]
            if owner := next((layer for layer in reversed(self.layers) if contains(layer.table, path)), None):
                break
        if owner is not None and owner.file is not None:
            line = line_of(owner.text, problem.path)
            return f"{owner.file}:{line}: {problem.message} (in `{problem.key}`)", owner.file, line
        if owner is not None:
            return f"{problem.message} (in `{problem.key}`, given by a client or on the command line)", None, None
        return f"{problem.message} (in `{problem.key}`)", None, None

    def _unknown_keys(self) -> Iterator[ConfigWarning]:
        import difflib

        for layer in self.layers:
            for key in layer.table:
                if key in KNOWN_KEYS:
                    continue
                near = difflib.get_close_matches(key, KNOWN_KEYS, 1)
                hint = f" Did you mean `{near[0]}`?" if near else ""
                line = line_of(layer.text, (key,)) if layer.file else None
                where = layer.file or "the command line"
                yield ConfigWarning(
                    "Ignoring an unrecognized configuration setting.",
                    f"{where}: `{key}` is not a known setting.{hint}",
                    layer.file,
                    line,
                    None if line is None else 1,
                )


def load_settings(
    codex_home: Path,
    overrides: Sequence[str] = (),
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    *,
    system_config: Path = SYSTEM_CONFIG,
    environ: Mapping[str, str] = os.environ,
) -> LayerStack:
    """Read all layers. `overrides` are `key=value` texts. Blocks on files; raises ConfigError for a bad override.

    What an organisation demands is in requirements.toml beside `system_config`.
    """
    layers: list[Layer] = []
    broken: list[ConfigWarning] = []
    for kind, path in (("system", system_config), ("user", codex_home / "config.toml")):
        source = {"type": kind, "file": str(path)} | ({"profile": None} if kind == "user" else {})
        table, text, warning = _read_file(path)
        if warning is not None:
            broken.append(warning)
        layers.append(Layer(source, table, text))
    flags: Table = {}
    for override in overrides:
        merge(flags, parse_override(override))
    for names, value in ((enable, True), (disable, False)):
        for name in names:
            merge(flags, {"features": {name: value}})
    if flags:
        layers.append(Layer({"type": "sessionFlags"}, flags))
    path = system_config.with_name(REQUIREMENTS)
    table, text, warning = _read_file(path)
    if warning is not None:
        broken.append(warning)
        table = {"experimental_network": {"enabled": False}}
    requirements = Layer({"type": "requirements", "file": str(path)}, table, text)
    stack = LayerStack(codex_home, tuple(layers), tuple(broken), _signed_in(codex_home), environ, requirements)
    if flags and not broken:
        # A mistake on the command line is told there, at once; one in a file only when a thread needs it.
        for problem in stack.problems:
            if contains(flags, problem.path):
                raise ConfigError(f"-c {problem.key}: {problem.message}")
    return stack


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


def contains(table: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Whether the table has a value at the path."""
    value: Any = table
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = cast("Table", value)[key]
    return True


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
    return _at(parse_key(key), parsed["value"] if set(parsed) == {"value"} else value.strip("\"'"))


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


def nested(overrides: Mapping[str, Any]) -> Table:
    """Overrides with dotted keys as one table; a null means that the key is not overridden."""
    table: Table = {}
    for key, value in overrides.items():
        if value is not None:
            merge(table, _at(parse_key(key), value))
    return table


def line_of(text: str, path: Sequence[str]) -> int:
    """The line, from 1, where the value at `path` is most likely set; 1 when it cannot be told."""
    section: tuple[str, ...] = ()
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = parse_key(header[1])
            here = section
        elif assignment := _ASSIGNMENT.match(line):
            here = (*section, *parse_key(assignment[1].strip()))
        else:
            continue
        if len(here) > depth and tuple(path[: len(here)]) == here:
            best, depth = number, len(here)
    return best


_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_ASSIGNMENT = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_POSITION = re.compile(r"\(at line (\d+), column (\d+)\)|\(at end of document\)")


def _at(path: Sequence[str], value: Any) -> Table:
    for key in reversed(path):
        value = {key: value}
    return value


def _network_rules(layers: Sequence[Layer]) -> Table | None:
    """`features.network_proxy` as one table; None where it is no table, or none is needed."""
    rules: Table = {}
    for layer in layers:
        features = layer.table.get("features", {})
        if not isinstance(features, dict) or "network_proxy" not in features:
            continue
        value: Any = cast("Table", features)["network_proxy"]
        if isinstance(value, bool):
            merge(rules, {"enabled": value})
        elif isinstance(value, dict):
            merge(rules, cast("Table", value))
        else:
            return None
    return rules or None


def _read_file(path: Path) -> tuple[Table, str, ConfigWarning | None]:
    summary = INVALID
    text = ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text), text, None
    except FileNotFoundError:
        return {}, "", None
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "the file is not UTF-8"
        return {}, "", ConfigWarning(summary, f"{path}: {reason}", str(path))
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = _POSITION.search(message)
        line, column = len(text.splitlines()) or 1, 1
        if position is not None and position[1] is not None:
            line, column = int(position[1]), int(position[2])
        reason = _POSITION.sub("", message).strip()
        return {}, text, ConfigWarning(summary, f"{path}:{line}:{column}: {reason}", str(path), line, column)


def _signed_in(codex_home: Path) -> bool:
    try:
        stored: Any = json.loads((codex_home / "auth.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and any(cast("Table", stored).get(key) for key in ("OPENAI_API_KEY", "tokens"))
