"""Permission profiles by name, and what the wire adds to one, as the one form in which the sandbox takes them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from app_server.config.permission_profiles import (
    MINIMAL,
    ROOT,
    SLASH_TMP,
    TMPDIR,
    WORKSPACE_ROOTS,
    NamedProfile,
    PathAccess,
    alternatives,
    find_profile,
    has_wildcards,
    pattern_problem,
)
from app_server.config.settings import Settings
from app_server.sandbox.patterns import escaped, matches_any
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, profile_of_settings
from protocol.v2.permissions import (
    AdditionalPermissionProfile,
    DangerFullAccessSandboxPolicy,
    ExternalSandboxSandboxPolicy,
    FileSystemSandboxEntry,
    FileSystemSpecialPath,
    GlobPatternFileSystemPath,
    GrantedPermissionProfile,
    MinimalFileSystemSpecialPath,
    PathFileSystemPath,
    ProjectRootsFileSystemSpecialPath,
    ReadOnlySandboxPolicy,
    RequestPermissionProfile,
    RootFileSystemSpecialPath,
    SandboxPolicy,
    SlashTmpFileSystemSpecialPath,
    TmpdirFileSystemSpecialPath,
    UnknownFileSystemSpecialPath,
    WorkspaceWriteSandboxPolicy,
)

Additional = AdditionalPermissionProfile | GrantedPermissionProfile | RequestPermissionProfile


def profile_named(
    name: str, settings: Settings, roots: Sequence[str], env: Mapping[str, str] | None = None
) -> PermissionProfile:
    """The profile of that name, built-in or from `[permissions.NAME]`, for a thread or command with these workspace
    roots.

    TMPDIR is read from `env` (the daemon's environment if None). Raises ProfileError if there is no such profile or it
    cannot be used.
    """
    return profile_of(find_profile(name, settings.permission_profiles), roots, env)


def default_profile(settings: Settings, roots: Sequence[str]) -> PermissionProfile:
    """The profile that configuration puts in force where nobody names another."""
    if settings.default_permissions is None:
        return profile_of_settings(settings, roots=roots)
    return profile_named(settings.default_permissions, settings, roots)


def profile_of(named: NamedProfile, roots: Sequence[str], env: Mapping[str, str] | None = None) -> PermissionProfile:
    """What a configured profile comes to with these workspace roots; the most specific path decides."""
    if named.full_access:
        return FULL_ACCESS
    places = {
        ROOT: ("/",),
        MINIMAL: (),
        WORKSPACE_ROOTS: (*roots, *named.workspace_roots),
        SLASH_TMP: ("/tmp",),
        TMPDIR: _tmpdir(env),
    }
    access: dict[str, PathAccess] = {}
    patterns: list[str] = []
    for rule in named.rules:
        for place in places.get(rule.place, (rule.place,)):
            if rule.is_pattern:
                patterns.append(f"{escaped(place).rstrip('/')}/{rule.within}")
            else:
                path = os.path.join(place, rule.within) if rule.within else place
                access[path] = _decisive(access.get(path), rule.access)
    everything = access.pop("/", "deny")
    allowed = [path for path, kind in access.items() if kind != "deny"]
    writable = [path for path, kind in access.items() if kind == "write"]
    if everything == "write":
        writable.insert(0, "/")
    return PermissionProfile(
        "restricted",
        network=named.network and named.proxy is None,
        writable_roots=tuple(writable),
        readable_roots=tuple(allowed) if everything == "deny" else None,
        read_only=tuple(path for path, kind in access.items() if kind == "read" and within_any(path, writable)),
        denied=tuple(path for path, kind in access.items() if kind == "deny"),
        denied_patterns=tuple(dict.fromkeys(patterns)),
        pattern_depth=named.glob_depth,
        proxy=named.proxy if named.network else None,
    )


def with_managed_network(profile: PermissionProfile, settings: Settings) -> PermissionProfile:
    """What a profile, with all that was granted, comes to where the network is managed.

    A restricted profile with a network has it by the proxy only, where configuration or an organisation asks for one;
    where the organisation does, one without a network gets the proxy too. Other profiles stay as they are. Doing it
    again changes nothing.
    """
    if profile.kind != "restricted":
        return profile
    demands = settings.network_requirements
    if demands is not None and demands.enabled is False:
        return replace(profile, network=False, proxy=None)
    if profile.proxy is not None:
        return replace(profile, network=False)
    rules = settings.network_proxy
    if rules is None:
        return profile
    if profile.network:
        return replace(profile, network=False, proxy=rules)
    if demands is not None and demands.enabled:
        return replace(profile, proxy=replace(rules, beyond_profile=True))
    return profile


def shown_policy(
    profile: PermissionProfile, roots: Sequence[str], env: Mapping[str, str] | None = None
) -> SandboxPolicy:
    """The sandbox policy by which clients that know no profiles see `profile`: never one that allows more writing."""
    if profile.kind == "full_access":
        return DangerFullAccessSandboxPolicy()
    if profile.kind == "external":
        return ExternalSandboxSandboxPolicy(network_access="enabled" if profile.network else "restricted")
    # What the proxy gives to a profile with a network is one, though a watched one.
    network = profile.network or (profile.proxy is not None and not profile.proxy.beyond_profile)
    writable = profile.writable_roots
    if not writable or not all(within_any(root, writable) for root in roots):
        return ReadOnlySandboxPolicy(network_access=network)
    temporary = {"/tmp", *_tmpdir(env)}
    return WorkspaceWriteSandboxPolicy(
        writable_roots=[path for path in writable if path not in roots and path not in temporary],
        network_access=network,
        exclude_slash_tmp="/tmp" not in writable,
        exclude_tmpdir_env_var=not all(path in writable for path in _tmpdir(env)),
    )


def with_additional(
    profile: PermissionProfile, additional: Additional, cwd: str, roots: Sequence[str] | None = None
) -> PermissionProfile:
    """`profile` with what was granted beyond it. What the profile denies, and what the grant itself denies, stays so.

    Relative paths begin at `cwd`; `roots` are what `project_roots` stands for (`cwd` if None). Raises ValueError with a
    sentence for the model where an entry cannot be understood, so that nothing is granted by mistake.
    """
    if profile.kind == "full_access":
        return profile
    granted_network = additional.network is not None and additional.network.enabled is True
    # Who has a network by the proxy asks its rules for more, host by host.
    network = profile.network or (granted_network and profile.proxy is None)
    if granted_network and profile.proxy is not None:
        profile = replace(profile, proxy=replace(profile.proxy, beyond_profile=False))
    if profile.kind == "external" or (files := additional.file_system) is None:
        return replace(profile, network=network)
    rules = _each((_resolved(path, cwd) for path in files.read or ()), "read")
    rules += _each((_resolved(path, cwd) for path in files.write or ()), "write")
    patterns: list[str] = []
    for entry in files.entries or ():
        if isinstance(entry.path, GlobPatternFileSystemPath) and has_wildcards(_below(entry.path.pattern)):
            patterns += _denied_patterns(entry.access, entry.path.pattern, cwd)
        else:
            rules += _each(_paths(entry, cwd, roots or (cwd,)), entry.access)
    denied = [*profile.denied, *(path for path, kind in rules if kind == "deny")]
    hidden = (*profile.denied_patterns, *patterns)
    granted = [
        (path, kind)
        for path, kind in rules
        if kind != "deny" and not within_any(path, denied) and not matches_any(path, hidden)
    ]
    writes = [path for path, kind in granted if kind == "write"]
    readable = profile.readable_roots
    if readable is not None:
        paths = [path for path, _ in granted]
        readable = None if "/" in paths else tuple(dict.fromkeys((*readable, *paths)))
    depths = (profile.pattern_depth if profile.denied_patterns else 0, files.glob_scan_max_depth if patterns else 0)
    return replace(
        profile,
        network=network,
        writable_roots=tuple(dict.fromkeys((*profile.writable_roots, *writes))),
        readable_roots=readable,
        read_only=tuple(path for path in profile.read_only if path not in writes),
        denied=tuple(dict.fromkeys(denied)),
        denied_patterns=tuple(dict.fromkeys(hidden)),
        pattern_depth=None if None in depths else max(depth or 0 for depth in depths) or None,
    )


def within_any(path: str, folders: Sequence[str]) -> bool:
    """Whether `path` is one of the folders or lies in one; all are absolute."""
    return any(folder in (path, "/") or path.startswith(folder + "/") for folder in folders)


def _decisive(one: PathAccess | None, other: PathAccess) -> PathAccess:
    """Of two rules for the same path: deny, or else write."""
    return other if one is None or other == "deny" or (one == "read" and other == "write") else one


def _tmpdir(env: Mapping[str, str] | None) -> tuple[str, ...]:
    path = (os.environ if env is None else env).get("TMPDIR") or ""
    return (os.path.normpath(path),) if os.path.isabs(path) else ()


def _each(paths: Iterable[str], access: PathAccess) -> list[tuple[str, PathAccess]]:
    return [(path, access) for path in paths]


def _below(pattern: str) -> str:
    """`a/**`, which stands for everything below `a`, as that path."""
    if pattern == "**":
        return "."
    return (pattern.removesuffix("/**") or "/") if pattern.endswith("/**") else pattern


def _denied_patterns(access: PathAccess, pattern: str, cwd: str) -> list[str]:
    if access != "deny":
        raise ValueError(f"the pattern `{pattern}` can only be denied; ask for a path, or for all below by `PATH/**`")
    if pattern.startswith("~/"):
        pattern = os.path.expanduser("~") + pattern[1:]
    found = [_below(one) for one in alternatives(pattern)]
    for one in found:
        if problem := pattern_problem(one):
            raise ValueError(f"the pattern `{pattern}` {problem}")
    return [os.path.normpath(one if os.path.isabs(one) else f"{escaped(cwd)}/{one}") for one in found]


def _resolved(path: str, cwd: str) -> str:
    if not path:
        raise ValueError("an empty path cannot be granted")
    return "/" + os.path.normpath(os.path.join(cwd, os.path.expanduser(path))).lstrip("/")


def _paths(entry: FileSystemSandboxEntry, cwd: str, roots: Sequence[str]) -> Iterator[str]:
    match entry.path:
        case PathFileSystemPath(path=path):
            yield _resolved(path, cwd)
        case GlobPatternFileSystemPath(pattern=pattern):
            yield _resolved(_below(pattern), cwd)
        case special:
            yield from _special(special.value, entry.access, roots)


def _special(place: FileSystemSpecialPath, access: PathAccess, roots: Sequence[str]) -> Iterator[str]:
    match place:
        case RootFileSystemSpecialPath():
            yield "/"
        case MinimalFileSystemSpecialPath():
            if access != "read":
                raise ValueError("`minimal` is what programs need to start, and can only be read")
        case ProjectRootsFileSystemSpecialPath(subpath=subpath):
            for root in roots:
                path = _resolved(subpath or ".", root)
                if not within_any(path, [root]):
                    raise ValueError(f"`{subpath}` leads out of the workspace")
                yield path
        case TmpdirFileSystemSpecialPath():
            yield from _tmpdir(None)
        case SlashTmpFileSystemSpecialPath():
            yield "/tmp"
        case UnknownFileSystemSpecialPath(path=path):
            raise ValueError(f"`{path}` is not a place that this version knows")


def policy_mode(policy: SandboxPolicy) -> str:
    """The sandbox mode that a policy details."""
    if isinstance(policy, ReadOnlySandboxPolicy):
        return "read-only"
    return "workspace-write" if isinstance(policy, WorkspaceWriteSandboxPolicy) else "danger-full-access"
