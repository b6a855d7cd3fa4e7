"""`[permissions.NAME]`: named sets of what commands may read, write and reach, and how one extends another."""

import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, cast

from msgspec import Struct, field
from msgspec.structs import replace

from app_server.config.network_proxy import ManagedNetwork, NetworkProxySettings, NetworkTable
from app_server.config.network_tables import read_network_table
from app_server.config.table import Problem, TableReader

PathAccess = Literal["read", "write", "deny"]

ROOT, MINIMAL, WORKSPACE_ROOTS, TMPDIR, SLASH_TMP = ":root", ":minimal", ":workspace_roots", ":tmpdir", ":slash_tmp"
PLACES = (ROOT, MINIMAL, WORKSPACE_ROOTS, TMPDIR, SLASH_TMP)
"""Places that are known by their role. The older name of `:workspace_roots` is `:project_roots`."""

KEYS = ("description", "extends", "workspace_roots", "filesystem", "network")
NOT_ENABLED = (
    "the profile has rules for the network and does not say `enabled`, so commands under it have none; add "
    "`enabled = true` to let them reach what the rules allow"
)
NO_FILES = (
    "the profile opens no files, so commands under it can read only what programs need to start; extend `:read-only` "
    "or `:workspace`, or add a `filesystem` table"
)
PROFILE_SUMMARY = "Invalid permission profile; it cannot be used until it is corrected."


class ProfileError(Exception):
    """A profile cannot be used; the message names it and says why."""


class PathRule(Struct, frozen=True):
    """What may be done at one place and below it.

    `place` is an absolute path or one of `PLACES`; `within` is a path relative to it (empty for the place itself) or,
    where it has wildcards, a pattern that is denied.
    """

    place: str
    within: str
    access: PathAccess

    @property
    def is_pattern(self) -> bool:
        """Whether `within` has wildcards."""
        return has_wildcards(self.within)


class NamedProfile(Struct, frozen=True):
    """A profile with everything that it inherits. `extends` is the one that it names itself.

    With `proxy` the network is only what the managed proxy lets through, under these rules. `workspace_roots` are
    absolute paths that count as workspace roots besides those of the thread. `glob_depth` bounds how many folders deep
    patterns are looked for. `problem` says why the profile cannot be used.
    """

    name: str
    rules: tuple[PathRule, ...] = ()
    network: bool = False
    proxy: NetworkProxySettings | None = None
    full_access: bool = False
    extends: str | None = None
    description: str | None = None
    workspace_roots: tuple[str, ...] = ()
    glob_depth: int | None = None
    problem: str | None = None


_READ_ONLY = NamedProfile(":read-only", (PathRule(ROOT, "", "read"),))
_WORKSPACE = NamedProfile(
    ":workspace",
    (
        PathRule(ROOT, "", "read"),
        PathRule(WORKSPACE_ROOTS, "", "write"),
        PathRule(SLASH_TMP, "", "write"),
        PathRule(TMPDIR, "", "write"),
    ),
)
_FULL_ACCESS = NamedProfile(":danger-full-access", network=True, full_access=True)

BUILT_IN: Mapping[str, NamedProfile] = MappingProxyType(
    {profile.name: profile for profile in (_READ_ONLY, _WORKSPACE, _FULL_ACCESS)}
)
"""The profiles that need no configuration, by name."""

_EXTENSIBLE = (_READ_ONLY.name, _WORKSPACE.name)


def find_profile(name: str, profiles: Mapping[str, NamedProfile]) -> NamedProfile:
    """The profile of that name. Raises ProfileError if there is none or it cannot be used."""
    profile = profiles.get(name)
    if profile is None:
        known = ", ".join(f"`{other}`" for other in profiles)
        raise ProfileError(f"unknown permission profile `{name}`; known profiles: {known}")
    if profile.problem is not None:
        raise ProfileError(f"permission profile `{name}` cannot be used: {profile.problem}")
    return profile


def read_profiles(reader: TableReader, network: ManagedNetwork) -> tuple[Mapping[str, NamedProfile], str | None]:
    """Every profile by name, the built-in ones first, and the name of the default one.

    `network` is what holds for the network of all profiles.
    What is wrong in a profile makes it unusable and is noted; in the default one it is decisive, and `:read-only` takes
    its place.
    """
    default = reader.text("default_permissions", decisive=True)
    if default is None and reader.raw("default_permissions") is not None:
        default = _READ_ONLY.name
    drafts: dict[str, _Draft] = {}
    for name, entry in reader.tables("permissions", decisive=True):
        drafts[name] = _read_draft(name, entry)
    profiles = dict(BUILT_IN)
    for name in sorted(drafts):
        if name not in BUILT_IN:
            profiles[name] = _resolved(name, drafts, (), network)
    for name, draft in drafts.items():
        problem = profiles[name].problem
        if problem is not None and not draft.problems:
            draft.problems.append(Problem(("permissions", name, "extends"), problem, decisive=False))
    needed = _ancestry(default, drafts)
    for name, draft in drafts.items():
        for problem in draft.problems:
            reader.problems.append(replace(problem, decisive=name in needed, summary=PROFILE_SUMMARY))
        if (profile := profiles[name]).problem is None and name not in BUILT_IN:
            reader.problems.extend(_notes(profile, _network_table(name, drafts)))
    if default is not None:
        try:
            find_profile(default, profiles)
        except ProfileError as error:
            reader.problem("default_permissions", str(error), decisive=True)
            default = _READ_ONLY.name
    return MappingProxyType(profiles), default


def has_wildcards(pattern: str) -> bool:
    """Whether a path is a pattern."""
    return _WILDCARDS.search(pattern) is not None


def alternatives(pattern: str) -> list[str]:
    """The pattern `a.{b,c}` as `a.b` and `a.c`."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [path for option in found[1].split(",") for path in alternatives(f"{before}{option}{after}")]


_BRACES = re.compile(r"\{([^{}]*)\}")


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a pattern, as the end of a sentence."""
    if "{" in pattern or "}" in pattern:
        return "has a brace without its partner"
    for part in pattern.split("/"):
        if "**" in part and part != "**":
            return "has `**` beside other characters; it must stand between slashes"
        for found in _CLASS.findall(part):
            try:
                re.compile(found)
            except re.error:
                return f"has a range that matches nothing: `{found}`"
        rest = _CLASS.sub("", part)
        if "[" in rest or "]" in rest:
            return "has a bracket without its partner"
    return None


_CLASS = re.compile(r"\[[!^]?\]?[^\]/]*\]")


_WILDCARDS = re.compile(r"[*?\[\]{}]")


def _notes(profile: NamedProfile, table: NetworkTable) -> Iterator[Problem]:
    """What a user may not expect of a profile that can be used."""
    path = ("permissions", profile.name)
    if not profile.rules:
        yield Problem(path, NO_FILES, decisive=False, summary=f"No files under `{profile.name}`.")
    if table.enabled is None and (table.needs_proxy or table.domains):
        yield Problem((*path, "network"), NOT_ENABLED, decisive=False, summary=f"No network under `{profile.name}`.")


# Reading one profile


class _Draft(Struct):
    """One `[permissions.NAME]` as written; None where it says nothing."""

    rules: list[PathRule]
    roots: dict[str, bool]
    problems: list[Problem]
    extends: str | None = None
    description: str | None = None
    network: NetworkTable = field(default_factory=NetworkTable)
    glob_depth: int | None = None


def _read_draft(name: str, entry: TableReader) -> _Draft:
    own = entry.apart()
    draft = _Draft([], {}, own.problems)
    if name.startswith(":"):
        own.problem("", f"the name `{name}` begins with a colon, as only those of built-in profiles do", decisive=False)
    elif not name.strip():
        own.problem("", "a permission profile must have a name", decisive=False)
    own.refuse_unknown(KEYS)
    draft.description = own.text("description")
    draft.extends = own.text("extends")
    draft.roots = dict(_read_roots(own.table("workspace_roots")))
    filesystem = own.table("filesystem")
    draft.glob_depth = filesystem.count("glob_scan_max_depth", least=1)
    draft.rules = _strictest(rule for key in filesystem.names() for rule in _read_rules(filesystem, key))
    draft.network = read_network_table(own.table("network"), decisive=False)
    return draft


def _read_roots(entry: TableReader) -> Iterator[tuple[str, bool]]:
    for key in entry.names():
        on = entry.flag(key)
        path = _absolute(key)
        if path is None or has_wildcards(key):
            entry.problem(key, f"workspace root `{key}` must be an absolute path or begin with `~/`", decisive=False)
        elif on is not None:
            yield path, on


def _read_rules(entry: TableReader, key: str) -> Iterator[PathRule]:
    """The rules that one key of the table `filesystem` stands for."""
    if key == "glob_scan_max_depth":
        return
    place = WORKSPACE_ROOTS if key == ":project_roots" else key
    if place.startswith(":"):
        if place not in PLACES:
            names = ", ".join(f"`{name}`" for name in PLACES)
            entry.problem(key, f"`{key}` is not a known place; known places: {names}", decisive=False)
            return
    else:
        absolute = _absolute(place)
        if absolute is None:
            text = (
                f"filesystem path `{key}` must be absolute, begin with `~/`, or be a place such as `:workspace_roots`"
            )
            entry.problem(key, text, decisive=False)
            return
        place = absolute
    if isinstance(entry.raw(key), dict):
        if place in (MINIMAL, TMPDIR, SLASH_TMP):
            entry.problem(key, f"filesystem path `{key}` does not support nested entries", decisive=False)
            return
        inner = entry.table(key)
        for within in inner.names():
            yield from _read_rule(inner, within, place, "" if within == "." else within)
    else:
        yield from _read_rule(entry, key, place, "")


def _read_rule(entry: TableReader, key: str, place: str, within: str) -> Iterator[PathRule]:
    access = entry.choice(key, ("read", "write", "deny", "none"))
    if access is None:
        if entry.raw(key) is None:
            entry.problem(key, "must be one of `read`, `write`, `deny`", decisive=False)
        return
    access = "deny" if access == "none" else access
    if within.startswith("/") or any(part in ("", ".", "..") for part in within.split("/") if within):
        text = f"filesystem subpath `{within}` must be a descendant path without `.` or `..` components"
        entry.problem(key, text, decisive=False)
        return
    if place == MINIMAL and access != "read":
        entry.problem(key, "`:minimal` is what programs need to start, and can only be given `read`", decisive=False)
        return
    if not place.startswith(":") and has_wildcards(place):
        place, within = _split(place, within)
    for alternative in alternatives(within):
        path = alternative
        if path.endswith("/**") or path == "**":
            path = path.removesuffix("**").removesuffix("/")
        if has_wildcards(path) and access != "deny":
            text = (
                f"the pattern `{key}` can only be denied; give `{access}` to a path, or to all below one by `PATH/**`"
            )
            entry.problem(key, text, decisive=False)
        elif problem := pattern_problem(path):
            entry.problem(key, f"the pattern `{key}` {problem}", decisive=False)
        else:
            yield PathRule(place, path, cast("PathAccess", access))


def _split(path: str, within: str) -> tuple[str, str]:
    """An absolute pattern as the path before its first wildcard and the pattern below that."""
    parts = path.split("/")
    first = next(number for number, part in enumerate(parts) if has_wildcards(part))
    below = "/".join([*parts[first:], *([within] if within else [])])
    return "/".join(parts[:first]) or "/", below


def _strictest(rules: Iterator[PathRule]) -> list[PathRule]:
    """One rule for each target; where it is named twice, the stricter one."""
    order = ("write", "read", "deny")
    chosen: dict[tuple[str, str], PathRule] = {}
    for rule in rules:
        target = (rule.place, rule.within)
        if target not in chosen or order.index(rule.access) > order.index(chosen[target].access):
            chosen[target] = rule
    return list(chosen.values())


def _absolute(path: str) -> str | None:
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser(path)
    if not os.path.isabs(path):
        return None
    return "/" + os.path.normpath(path).lstrip("/")


# Inheritance


def _resolved(name: str, drafts: Mapping[str, _Draft], below: tuple[str, ...], managed: ManagedNetwork) -> NamedProfile:
    draft = drafts[name]
    if draft.problems:
        return _unusable(name, draft, f"{draft.problems[0].message} (in `{draft.problems[0].key}`)")
    parent = NamedProfile(name)
    if (extends := draft.extends) is not None:
        if extends in (*below, name):
            chain = (*below, name)
            circle = " -> ".join((*chain[chain.index(extends) :], extends))
            return _unusable(name, draft, f"permission profiles extend each other in a circle: {circle}")
        if extends in _EXTENSIBLE:
            parent = BUILT_IN[extends]
        elif extends in drafts:
            parent = _resolved(extends, drafts, (*below, name), managed)
            if parent.problem is not None:
                return _unusable(name, draft, f"it extends `{extends}`, which cannot be used: {parent.problem}")
        elif extends.startswith(":"):
            choices = " or ".join(f"`{other}`" for other in _EXTENSIBLE)
            return _unusable(name, draft, f"it cannot extend `{extends}`; of the built-in profiles, extend {choices}")
        else:
            return _unusable(name, draft, f"it extends `{extends}`, which is not defined")
    rules = {(rule.place, rule.within): rule for rule in (*parent.rules, *draft.rules)}
    roots = dict.fromkeys(parent.workspace_roots, True) | draft.roots
    table = _network_table(name, drafts)
    network = table.enabled is True and not managed.forbids_all
    return NamedProfile(
        name,
        tuple(rules.values()),
        network=network,
        proxy=managed.rules(table) if network else None,
        extends=draft.extends,
        description=draft.description,
        workspace_roots=tuple(path for path, on in roots.items() if on),
        glob_depth=draft.glob_depth or parent.glob_depth,
    )


def _network_table(name: str, drafts: Mapping[str, _Draft]) -> NetworkTable:
    """The network table of a profile with what it inherits."""
    draft = drafts.get(name)
    if draft is None:
        return NetworkTable()
    if draft.extends is None:
        return draft.network
    return _network_table(draft.extends, drafts).extended(draft.network)


def _unusable(name: str, draft: _Draft, problem: str) -> NamedProfile:
    return NamedProfile(name, extends=draft.extends, description=draft.description, problem=problem)


def _ancestry(name: str | None, drafts: Mapping[str, _Draft]) -> set[str]:
    """The profile and what it builds on."""
    found: set[str] = set()
    while name is not None and name in drafts and name not in found:
        found.add(name)
        name = drafts[name].extends
    return found
