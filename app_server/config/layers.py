"""Where configuration comes from: layers in order of strength, merged, with the origin of each value."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from msgspec import field
from msgspec.structs import replace

from app_server.config.instructions_file import INSTRUCTIONS_FILE
from app_server.config.known_keys import misshapen, unknown_keys, unreachable_servers
from app_server.config.layer import (
    INVALID,
    ConfigError,
    ConfigWarning,
    Layer,
    Table,
    contains,
    leaves,
    line_of,
    merge,
    nested,
    parse_override,
    read_file,
    renewed,
)
from app_server.config.permission_profiles import PROFILE_SUMMARY
from app_server.config.projects import Project, project_warnings
from app_server.config.requirements import Requirements, read_requirements
from app_server.config.settings import Settings, read_settings
from app_server.config.table import Problem, TableReader, dotted
from app_server.telemetry.secrecy import Discreet

SYSTEM_CONFIG = Path("/etc/codex/config.toml")
REQUIREMENTS = "requirements.toml"
"""Beside the system's configuration: what an organisation demands."""
MANAGED = "managed_config.toml"
"""Beside it too: an older form of demands, values that users cannot change."""

MANAGED_KINDS = ("legacyManagedConfigTomlFromFile",)
"""Layers that are stronger than what clients and the command line say."""

MAX_UNKNOWN = 20
"""How many unknown settings are told one by one."""

UNKNOWN = "Ignoring an unrecognized configuration setting."


class LayerStack(Discreet, frozen=True, dict=True):
    """All layers, weakest first, as they were when read. `broken` are files that could not be understood.

    Layers with a `disabled_reason` are shown and do not count. With `strict` no thread starts on unknown settings or
    wrong values, those of its project included.
    """

    codex_home: Path
    layers: tuple[Layer, ...]
    broken: tuple[ConfigWarning, ...] = ()
    signed_in: bool = False
    """Whether the user has signed in to an account, which some defaults depend on."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    requirements: Layer | None = None
    """What an organisation demands, which no layer can change."""
    strict: bool = False
    project: Project | None = None
    """The project whose layers are among them."""
    live_features: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Features that clients have switched for this daemon, where no layer says anything of them."""

    @property
    def active(self) -> Iterator[Layer]:
        """The layers that count."""
        return (layer for layer in self.layers if layer.disabled_reason is None)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every file that decides about this stack, whether or not it exists."""
        own = [layer.file for layer in (*self.layers, *([self.requirements] if self.requirements else []))]
        looked_for = () if self.project is None else self.project.files
        system = next((layer.file for layer in self.layers if layer.kind == "system"), None)
        others = (
            str(self.codex_home / "auth.json"),
            None if system is None else str(Path(system).with_name(MANAGED)),
            self._instructions_file(),
        )
        return tuple(dict.fromkeys(file for file in (*own, *looked_for, *others) if file is not None))

    def effective(self) -> Table:
        """The merged table. The caller may change it."""
        merged: Table = {"features": dict(self.live_features)} if self.live_features else {}
        for layer in self.active:
            merge(merged, layer.table)
        return renewed(merged)

    def origins(self) -> dict[str, Layer]:
        """The layer that has the last word on each value, by dotted key."""
        found: dict[tuple[str, ...], Layer] = {}
        for layer in self.active:
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

        Raises ConfigError when a file leaves open where prompts go or what may run, and for every wrong override.
        """
        if self.broken:
            raise ConfigError(str(self.broken[0].details))
        for problem in self._demands[1]:
            if problem.decisive:
                raise ConfigError(str(self._warning_of_demand(problem).details))
        stack, own = self, nested(overrides or {})
        if own:
            stack = self._with(Layer({"type": "sessionFlags"}, own))
        if self.strict:
            stack.refuse_mistakes()
        settings, reader = stack._read
        for problem in reader.problems:
            if problem.decisive or (contains(own, problem.path) and (problem.imposed or problem.summary is None)):
                raise ConfigError(stack._describe(problem)[0])
        for path, message in misshapen(own):
            raise ConfigError(f"{message} (in `{dotted(path)}`, given by a client)")
        return settings

    @cached_property
    def warnings(self) -> tuple[ConfigWarning, ...]:
        """What clients should be told, one `configWarning` each."""
        found = [*self.broken, *map(self._warning_of_demand, self._demands[1])]
        for problem in self._read[1].problems:
            details, path, line = self._describe(problem)
            summary = INVALID
            if not problem.decisive:
                summary = problem.summary or f"Ignoring an invalid setting: {problem.key}."
            found.append(ConfigWarning(summary, details, path, line, None if line is None else 1))
        for layer in self.layers:
            found.extend(project_warnings(layer))
        found.extend(self._warnings_of_unknown())
        found.extend(self._warnings_of_shape())
        found.extend(map(self._warning_of_server, unreachable_servers(self.effective())))
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
        demands, table = self.demands, self._deciding()
        trust = None if self.project is None else self.project.trust
        if trust == "untrusted":
            table.setdefault("approval_policy", "untrusted")
        notes = [] if demands is None else demands.impose(table)
        settings, reader = read_settings(table, self.codex_home, self.signed_in, self.environ, demands, trust)
        reader.problems.extend(notes)
        return settings, reader

    @property
    def demands(self) -> Requirements | None:
        """What an organisation demands, read."""
        return self._demands[0]

    @cached_property
    def _demands(self) -> tuple[Requirements | None, Sequence[Problem]]:
        layer = self.requirements
        return (None, ()) if layer is None else read_requirements(layer.table, str(layer.file))

    def _warning_of_demand(self, problem: Problem) -> ConfigWarning:
        file, text = ("", "") if self.requirements is None else (self.requirements.file, self.requirements.text)
        line = line_of(text, problem.path)
        details = f"{file}:{line}: {problem.message} (in `{problem.key}`)"
        return ConfigWarning(INVALID if problem.decisive else problem.summary or INVALID, details, file, line, 1)

    def _deciding(self) -> Table:
        """The merged table, where what a stronger layer says in short does not undo more than it means.

        A sandbox mode that is set above it puts aside a default permission profile. `features.network_proxy` of true
        or false, such as that of `--enable`, switches the rules that a weaker layer has made, and keeps them.
        """
        merged = self.effective()
        if (instructions := self._instructions_file()) is not None:
            merged[INSTRUCTIONS_FILE] = instructions
        rules = _network_rules(tuple(self.active))
        if rules is not None and isinstance(merged.get("features"), dict):
            merged["features"]["network_proxy"] = rules
        for layer in reversed(tuple(self.active)):
            if "default_permissions" in layer.table:
                break
            if "sandbox_mode" in layer.table:
                merged.pop("default_permissions", None)
                break
        return merged

    def _instructions_file(self) -> str | None:
        """The path that `model_instructions_file` stands for: as seen from the folder of the file that says it."""
        for layer in reversed(tuple(self.active)):
            if isinstance(value := layer.table.get(INSTRUCTIONS_FILE), str) and value:
                path = os.path.expanduser(value)
                return path if layer.file is None else os.path.join(os.path.dirname(layer.file), path)
            if INSTRUCTIONS_FILE in layer.table:
                break
        return None

    def in_project(self, project: Project) -> "LayerStack":
        """The stack in a folder of a project: its layers are stronger than the user's, weaker than the command line."""
        at = sum(layer.kind in ("system", "user") for layer in self.layers)
        layers = (*self.layers[:at], *project.layers, *self.layers[at:])
        return replace(self, layers=layers, broken=(*self.broken, *project.broken), project=project)

    def with_user_table(self, layer: Layer) -> "LayerStack":
        """The stack with another content of the user's file."""
        layers = (layer if other.source == layer.source else other for other in self.layers)
        return replace(self, layers=tuple(layers))

    def live(self, features: Mapping[str, bool], signed_in: bool) -> "LayerStack":
        """The stack with what comes from no file."""
        return replace(self, live_features=features, signed_in=signed_in)

    @property
    def user(self) -> Layer:
        """The user's file."""
        return next(layer for layer in self.layers if layer.kind == "user")

    def _with(self, layer: Layer) -> "LayerStack":
        at = sum(other.kind not in MANAGED_KINDS for other in self.layers)
        return replace(self, layers=(*self.layers[:at], layer, *self.layers[at:]))

    def _describe(self, problem: Problem) -> tuple[str, str | None, int | None]:
        owner = None
        for depth in range(len(problem.path), 0, -1):
            path = problem.path[:depth]
            if owner := next((layer for layer in reversed(tuple(self.active)) if contains(layer.table, path)), None):
                break
        if owner is not None and owner.file is not None:
            line = line_of(owner.text, problem.path)
            return f"{owner.file}:{line}: {problem.message} (in `{problem.key}`)", owner.file, line
        if owner is not None:
            return f"{problem.message} (in `{problem.key}`, given by a client or on the command line)", None, None
        return f"{problem.message} (in `{problem.key}`)", None, None

    def _warning_of_server(self, found: tuple[tuple[str, ...], str]) -> ConfigWarning:
        details, path, line = self._describe(Problem(*found, decisive=False))
        return ConfigWarning(
            f"An MCP server cannot be used: {found[0][1]}.", details, path, line, None if line is None else 1
        )

    def refuse_mistakes(self) -> None:
        """Raise ConfigError for the first setting that nobody knows, or else for a value that cannot be used."""
        for layer, path, hint in self._unknown_keys():
            place = f"{layer.file}:{line_of(layer.text, path)}: " if layer.file else ""
            end = "" if layer.file else " in -c/--config override"
            raise ConfigError(f"{place}unknown configuration field `{dotted(path)}`{end}.{hint}")
        for problem in self._read[1].problems:
            if not problem.imposed and problem.summary in (None, PROFILE_SUMMARY):
                raise ConfigError(self._describe(problem)[0])
        servers = map(self._warning_of_server, unreachable_servers(self.effective()))
        for warning in (*self._warnings_of_shape(), *servers):
            raise ConfigError(str(warning.details))

    def _unknown_keys(self) -> Iterator[tuple[Layer, tuple[str, ...], str]]:
        for layer in self.active:
            for path, near in unknown_keys(layer.table):
                yield layer, path, f" Did you mean `{near}`?" if near else ""

    def _warnings_of_unknown(self) -> Iterator[ConfigWarning]:
        unknown = list(self._unknown_keys())
        for layer, path, hint in unknown[:MAX_UNKNOWN]:
            line = line_of(layer.text, path) if layer.file else None
            where = f"{layer.file}:{line}" if layer.file else "the command line"
            details = f"{where}: `{dotted(path)}` is not a known setting.{hint}"
            yield ConfigWarning(UNKNOWN, details, layer.file, line, None if line is None else 1)
        if len(unknown) > MAX_UNKNOWN:
            count, example = len(unknown) - MAX_UNKNOWN, dotted(unknown[MAX_UNKNOWN][1])
            yield ConfigWarning(UNKNOWN, f"{count} more settings are not known, such as `{example}`.")

    def _warnings_of_shape(self) -> Iterator[ConfigWarning]:
        told = {problem.path for problem in self._read[1].problems} | {path for _, path, _ in self._unknown_keys()}
        for layer in self.active:
            for path, message in misshapen(layer.table):
                if not any(path[: len(other)] == other for other in told):
                    line = line_of(layer.text, path) if layer.file else None
                    where = f"{layer.file}:{line}" if layer.file else "the command line"
                    details = f"{where}: {message} (in `{dotted(path)}`)"
                    summary = f"Ignoring an invalid setting: {dotted(path)}."
                    yield ConfigWarning(summary, details, layer.file, line, None if line is None else 1)


def load_settings(
    codex_home: Path,
    overrides: Sequence[str] = (),
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    *,
    profile: str | None = None,
    strict: bool = False,
    system_config: Path = SYSTEM_CONFIG,
    environ: Mapping[str, str] = os.environ,
) -> LayerStack:
    """Read all layers but those of projects. `overrides` are `key=value` texts. Blocks on files.

    `profile` names `$CODEX_HOME/NAME.config.toml`, which goes before the user's file. What an organisation demands is
    in requirements.toml beside `system_config`. Raises ConfigError for a bad override, for a profile without a file,
    and with `strict` for unknown settings, wrong values and files that cannot be understood.
    """
    layers: list[Layer] = []
    broken: list[ConfigWarning] = []

    def add(source: dict[str, Any], path: Path) -> None:
        table, text, warning = read_file(path)
        layers.append(Layer({**source, "file": str(path)}, table, text))
        if warning is not None:
            broken.append(warning)

    add({"type": "system"}, system_config)
    add({"type": "user", "profile": None}, codex_home / "config.toml")
    if profile is not None:
        add({"type": "user", "profile": profile}, _profile_file(codex_home, profile))
    flags: Table = {}
    for override in overrides:
        merge(flags, parse_override(override))
    for names, value in ((enable, True), (disable, False)):
        for name in names:
            merge(flags, {"features": {name: value}})
    if flags:
        layers.append(Layer({"type": "sessionFlags"}, flags))
    managed = system_config.with_name(MANAGED)
    if os.path.lexists(managed):
        add({"type": MANAGED_KINDS[0]}, managed)
    path = system_config.with_name(REQUIREMENTS)
    table, text, warning = read_file(path)
    if warning is not None:
        broken.append(warning)
        table = {"experimental_network": {"enabled": False}}
    requirements = Layer({"type": "requirements", "file": str(path)}, table, text)
    stack = LayerStack(
        codex_home, tuple(layers), tuple(broken), _signed_in(codex_home), environ, requirements, strict=strict
    )
    if strict and broken:
        raise ConfigError(str(broken[0].details))
    if strict:
        stack.refuse_mistakes()
    if flags and not broken:
        # A mistake on the command line is told there, at once; one in a file only when a thread needs it.
        for problem in stack.problems:
            if contains(flags, problem.path) and (problem.decisive or problem.summary is None):
                raise ConfigError(f"-c {problem.key}: {problem.message}")
        for path, message in misshapen(flags):
            raise ConfigError(f"-c {dotted(path)}: {message}")
    return stack


def unknown_overrides(overrides: Mapping[str, Any] | None) -> str | None:
    """What to tell a client whose overrides for a thread have keys that nobody knows; None if it knows what it says."""
    unknown = [
        f"`{dotted(path)}`" + (f" (did you mean `{near}`?)" if near else "")
        for path, near in unknown_keys(nested(overrides or {}))
    ]
    return None if not unknown else f"Ignoring unknown settings in `config`: {', '.join(unknown[:MAX_UNKNOWN])}."


Loader = Callable[[], LayerStack]
"""Reads all layers again."""

_PROFILE = re.compile(r"[A-Za-z0-9_-]+")


def _profile_file(codex_home: Path, profile: str) -> Path:
    if not _PROFILE.fullmatch(profile):
        raise ConfigError(f"--profile {profile}: a profile's name consists of letters, digits, `-` and `_`")
    path = codex_home / f"{profile}.config.toml"
    if not path.is_file():
        raise ConfigError(f"--profile {profile}: there is no {path}")
    return path


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


def _signed_in(codex_home: Path) -> bool:
    try:
        stored: Any = json.loads((codex_home / "auth.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and any(cast("Table", stored).get(key) for key in ("OPENAI_API_KEY", "tokens"))
