"""From a named profile, and from what was granted beyond one, to what the sandbox enforces."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app_server.config.network_proxy import NetworkProxySettings, NetworkRequirements
from app_server.config.permission_profiles import BUILT_IN, NamedProfile, PathAccess, PathRule, ProfileError
from app_server.config.settings import SandboxWorkspaceWriteSettings, Settings
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, external, read_only, workspace_write
from app_server.sandbox.profiles import (
    default_profile,
    profile_named,
    profile_of,
    shown_policy,
    with_additional,
    with_managed_network,
)
from protocol.v2.permissions import (
    AdditionalPermissionProfile,
    DangerFullAccessSandboxPolicy,
    ExternalSandboxSandboxPolicy,
    ReadOnlySandboxPolicy,
    SandboxPolicy,
    WorkspaceWriteSandboxPolicy,
)

ENV = {"TMPDIR": "/t"}
WS = ["/ws"]


def _named(*rules: tuple[str, str, PathAccess], **more: Any) -> NamedProfile:
    return NamedProfile("x", tuple(PathRule(*rule) for rule in rules), **more)


def _profile(*rules: tuple[str, str, PathAccess], **more: Any) -> PermissionProfile:
    return profile_of(_named(*rules, **more), WS, ENV)


# Named profiles


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        (":read-only", read_only()),
        (":workspace", workspace_write(WS, tmpdir="/t")),
        (":danger-full-access", FULL_ACCESS),
    ],
)
def test_the_built_in_profiles_are_those_of_the_sandbox_modes(name: str, profile: PermissionProfile) -> None:
    settings = Settings(Path("/home"), "m", "p")
    assert profile_named(name, settings, WS, ENV) == profile


def test_the_options_of_workspace_write_are_not_those_of_the_profile() -> None:
    options = SandboxWorkspaceWriteSettings(("/more",), network_access=True)
    settings = Settings(Path("/home"), "m", "p", sandbox_mode="workspace-write", sandbox_workspace_write=options)
    assert default_profile(settings, WS).network
    assert not profile_named(":workspace", settings, WS).network


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ProfileError, match="`x`"):
        profile_named("x", Settings(Path("/home"), "m", "p"), WS)


def test_the_default_profile_is_the_named_one() -> None:
    settings = Settings(Path("/home"), "m", "p", sandbox_mode="danger-full-access", default_permissions=":read-only")
    assert default_profile(settings, WS) == read_only()


def test_places_are_where_the_thread_and_the_daemon_are() -> None:
    profile = _profile(
        (":root", "", "read"),
        (":workspace_roots", "", "write"),
        (":workspace_roots", "docs", "read"),
        (":workspace_roots", "keys", "deny"),
        (":tmpdir", "", "write"),
        (":slash_tmp", "", "write"),
        (":minimal", "", "read"),
        ("/opt", "", "write"),
        workspace_roots=("/srv",),
    )
    assert profile == PermissionProfile(
        "restricted",
        network=False,
        writable_roots=("/ws", "/srv", "/t", "/tmp", "/opt"),
        read_only=("/ws/docs", "/srv/docs"),
        denied=("/ws/keys", "/srv/keys"),
    )


def test_without_the_root_only_what_is_named_can_be_read() -> None:
    assert _profile((":minimal", "", "read")).readable_roots == ()
    assert _profile((":root", "", "deny"), ("/a", "", "read")).readable_roots == ("/a",)
    both = _profile((":workspace_roots", "", "write"), ("/a", "", "read"), ("/b", "", "deny"))
    assert (both.readable_roots, both.writable_roots, both.denied) == (("/ws", "/a"), ("/ws",), ("/b",))


def test_the_whole_file_system_can_be_opened_without_the_network() -> None:
    profile = _profile((":root", "", "write"), ("/etc", "", "read"), ("/root", "", "deny"))
    assert profile == PermissionProfile(
        "restricted", network=False, writable_roots=("/",), read_only=("/etc",), denied=("/root",)
    )


def test_of_two_rules_for_one_path_deny_counts_and_else_write() -> None:
    rules: list[tuple[str, str, PathAccess]] = [(":workspace_roots", "", "write"), ("/ws", "", "read")]
    for order in (rules, rules[::-1]):
        assert _profile(*order).writable_roots == ("/ws",)
        profile = _profile(*order, (":root", "ws", "deny"))
        assert (profile.writable_roots, profile.denied) == ((), ("/ws",))


def test_patterns_are_rooted_at_their_place() -> None:
    profile = profile_of(
        _named((":workspace_roots", "**/*.env", "deny"), ("/", "*.key", "deny"), glob_depth=4), ["/w[s]", "/v"], ENV
    )
    assert profile.denied_patterns == ("/w[[]s]/**/*.env", "/v/**/*.env", "/*.key")
    assert profile.pattern_depth == 4


RULES = NetworkProxySettings(domains={"a.com": "allow"})
FEATURE = NetworkProxySettings(allow_local_binding=True)


def test_a_network_with_rules_is_by_the_proxy_alone() -> None:
    assert _profile(network=True).network
    limited = _profile(network=True, proxy=RULES)
    assert (limited.network, limited.proxy) == (False, RULES)
    assert _profile(proxy=RULES).proxy is None


# The managed network


def _settings(proxy: NetworkProxySettings | None, enabled: bool | None = None, *, demands: bool = False) -> Settings:
    requirements = NetworkRequirements(enabled) if demands else None
    return Settings(Path("/home"), "m", "p", network_proxy=proxy, network_requirements=requirements)


@pytest.mark.parametrize(
    ("profile", "settings", "network", "proxy"),
    [
        (read_only(network=True), _settings(None), True, None),
        (read_only(network=True), _settings(FEATURE), False, FEATURE),
        (read_only(), _settings(FEATURE), False, None),
        (_profile(network=True, proxy=RULES), _settings(None), False, RULES),
        (_profile(network=True, proxy=RULES), _settings(FEATURE), False, RULES),
        (read_only(network=True), _settings(FEATURE, demands=True), False, FEATURE),
        (read_only(), _settings(FEATURE, demands=True), False, None),
        (read_only(network=True), _settings(FEATURE, True, demands=True), False, FEATURE),
        (read_only(), _settings(FEATURE, True, demands=True), False, replace(FEATURE, beyond_profile=True)),
        (read_only(network=True), _settings(FEATURE, False, demands=True), False, None),
        (_profile(network=True, proxy=RULES), _settings(FEATURE, False, demands=True), False, None),
        (FULL_ACCESS, _settings(FEATURE, False, demands=True), True, None),
        (external(network=True), _settings(FEATURE, True, demands=True), True, None),
    ],
)
def test_a_managed_network_is_by_the_proxy_where_there_is_one(
    profile: PermissionProfile, settings: Settings, network: bool, proxy: NetworkProxySettings | None
) -> None:
    managed = with_managed_network(profile, settings)
    assert managed == replace(profile, network=network, proxy=proxy)
    assert with_managed_network(managed, settings) == managed


def test_a_granted_network_is_by_the_proxy_where_the_profile_has_rules() -> None:
    additional = AdditionalPermissionProfile.model_validate({"network": {"enabled": True}, "fileSystem": None})
    limited = _profile(network=True, proxy=RULES)
    assert with_additional(limited, additional, "/ws") == limited
    beyond = replace(read_only(), proxy=replace(FEATURE, beyond_profile=True))
    assert with_additional(beyond, additional, "/ws") == replace(read_only(), proxy=FEATURE)
    granted = with_additional(read_only(), additional, "/ws")
    assert with_managed_network(granted, _settings(FEATURE)).proxy == FEATURE


# As clients see it


@pytest.mark.parametrize(
    ("profile", "policy"),
    [
        (FULL_ACCESS, DangerFullAccessSandboxPolicy()),
        (external(), ExternalSandboxSandboxPolicy()),
        (external(network=True), ExternalSandboxSandboxPolicy(network_access="enabled")),
        (read_only(network=True), ReadOnlySandboxPolicy(network_access=True)),
        (profile_of(BUILT_IN[":workspace"], WS, ENV), WorkspaceWriteSandboxPolicy()),
        (replace(read_only(), proxy=RULES), ReadOnlySandboxPolicy(network_access=True)),
        (replace(read_only(), proxy=replace(RULES, beyond_profile=True)), ReadOnlySandboxPolicy()),
        (
            _profile((":workspace_roots", "", "write"), ("/opt", "", "write"), network=True),
            WorkspaceWriteSandboxPolicy(
                writable_roots=["/opt"], network_access=True, exclude_slash_tmp=True, exclude_tmpdir_env_var=True
            ),
        ),
        (_profile(("/opt", "", "write"), (":root", "", "read")), ReadOnlySandboxPolicy()),
        (_profile((":tmpdir", "", "write")), ReadOnlySandboxPolicy()),
        (
            _profile((":root", "", "write")),
            WorkspaceWriteSandboxPolicy(writable_roots=["/"], exclude_slash_tmp=True, exclude_tmpdir_env_var=True),
        ),
    ],
)
def test_a_profile_is_shown_as_a_policy_that_allows_no_more_writing(
    profile: PermissionProfile, policy: SandboxPolicy
) -> None:
    assert shown_policy(profile, WS, ENV) == policy


# What is granted beyond a profile


def _granted(profile: PermissionProfile, cwd: str = "/ws", **additional: Any) -> PermissionProfile:
    return with_additional(profile, AdditionalPermissionProfile.model_validate(additional), cwd)


def _entry(access: str, **path: Any) -> dict[str, Any]:
    return {"access": access, "path": path}


def _special(access: str, kind: str, **more: Any) -> dict[str, Any]:
    return _entry(access, type="special", value={"kind": kind, **more})


def test_nothing_more_changes_nothing() -> None:
    profile = workspace_write(WS)
    assert _granted(profile) == profile
    assert _granted(profile, network={"enabled": None}) == profile
    assert _granted(profile, network={"enabled": False}, fileSystem={}) == profile
    assert _granted(FULL_ACCESS, network={"enabled": False}, fileSystem={"write": ["/a"]}) == FULL_ACCESS


def test_the_network_can_be_granted() -> None:
    assert _granted(read_only(), network={"enabled": True}) == read_only(network=True)
    assert _granted(external(), network={"enabled": True}) == external(network=True)
    assert _granted(read_only(network=True), network={"enabled": False}).network


@pytest.mark.parametrize(
    ("files", "writable"),
    [
        ({"write": ["/a", "/a/", "/b/../c"]}, ("/a", "/c")),
        ({"write": ["sub", "."]}, ("/ws/sub", "/ws")),
        ({"entries": [_entry("write", type="path", path="/a[1]")]}, ("/a[1]",)),
        ({"entries": [_entry("write", type="glob_pattern", pattern="/a/**")]}, ("/a",)),
        ({"entries": [_entry("write", type="glob_pattern", pattern="**")]}, ("/ws",)),
        ({"entries": [_special("write", "root")]}, ("/",)),
        ({"entries": [_special("write", "project_roots")]}, ("/ws",)),
        ({"entries": [_special("write", "project_roots", subpath="sub")]}, ("/ws/sub",)),
        ({"entries": [_special("write", "slash_tmp")]}, ("/tmp",)),
        ({"entries": [_special("read", "minimal")]}, ()),
    ],
)
def test_paths_can_be_granted(files: dict[str, Any], writable: tuple[str, ...]) -> None:
    assert _granted(read_only(), fileSystem=files).writable_roots == writable


def test_the_temporary_folder_can_be_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/t")
    assert _granted(read_only(), fileSystem={"entries": [_special("write", "tmpdir")]}).writable_roots == ("/t",)
    monkeypatch.delenv("TMPDIR")
    assert _granted(read_only(), fileSystem={"entries": [_special("write", "tmpdir")]}).writable_roots == ()


def test_the_workspace_of_a_thread_is_what_it_is_said_to_be() -> None:
    additional = AdditionalPermissionProfile.model_validate(
        {"fileSystem": {"entries": [_special("write", "project_roots")]}}
    )
    assert with_additional(read_only(), additional, "/ws", ["/a", "/b"]).writable_roots == ("/a", "/b")


def test_reading_is_granted_where_it_was_restricted() -> None:
    narrow = PermissionProfile("restricted", network=False, readable_roots=("/ws",))
    assert _granted(narrow, fileSystem={"read": ["/a"], "write": ["/b"]}).readable_roots == ("/ws", "/a", "/b")
    assert _granted(narrow, fileSystem={"read": ["/"]}).readable_roots is None
    assert _granted(read_only(), fileSystem={"read": ["/a"]}).readable_roots is None


def test_what_the_profile_denies_stays_denied() -> None:
    profile = PermissionProfile(
        "restricted", network=False, denied=("/ws/keys",), denied_patterns=("/ws/**/*.env", "/ws/**/secret")
    )
    asked = ["/ws/keys", "/ws/keys/one", "/ws/a.env", "/ws/sub/secret/file", "/ws/fine"]
    for files in ({"write": asked}, {"entries": [_entry("write", type="path", path=path) for path in asked]}):
        granted = _granted(profile, fileSystem=files)
        assert granted.writable_roots == ("/ws/fine",)
        assert (granted.denied, granted.denied_patterns) == (profile.denied, profile.denied_patterns)
    assert _granted(profile, fileSystem={"write": ["/ws"]}).denied == ("/ws/keys",)


def test_what_the_grant_denies_is_denied() -> None:
    files = {
        "entries": [
            _entry("write", type="path", path="/a"),
            _entry("deny", type="path", path="/a/b"),
            _entry("write", type="path", path="/a/b/c"),
            _entry("deny", type="glob_pattern", pattern="*.{env,key}"),
            _entry("write", type="path", path="x.env"),
        ]
    }
    granted = _granted(read_only(), cwd="/w[s]", fileSystem=files)
    assert (granted.writable_roots, granted.denied) == (("/a",), ("/a/b",))
    assert granted.denied_patterns == ("/w[[]s]/*.env", "/w[[]s]/*.key")


@pytest.mark.parametrize(
    ("own", "granted", "depth"), [(3, 2, 3), (2, 3, 3), (None, 2, None), (2, None, None), (None, None, None)]
)
def test_patterns_are_looked_for_as_deep_as_the_deeper_wish(
    own: int | None, granted: int | None, depth: int | None
) -> None:
    profile = PermissionProfile("restricted", network=False, denied_patterns=("/a/*",), pattern_depth=own)
    files = {"entries": [_entry("deny", type="glob_pattern", pattern="/b/*")], "globScanMaxDepth": granted}
    assert _granted(profile, fileSystem=files).pattern_depth == depth


def test_a_depth_without_a_pattern_means_nothing() -> None:
    profile = PermissionProfile("restricted", network=False, denied_patterns=("/a/*",), pattern_depth=2)
    assert _granted(profile, fileSystem={"write": ["/b"], "globScanMaxDepth": 9}).pattern_depth == 2


def test_a_path_that_was_read_only_can_be_opened_itself_and_not_by_its_folder() -> None:
    profile = PermissionProfile("restricted", network=False, writable_roots=("/ws",), read_only=("/ws/docs", "/ws/x"))
    assert _granted(profile, fileSystem={"write": ["/ws/docs"]}).read_only == ("/ws/x",)
    assert _granted(profile, fileSystem={"write": ["/ws"]}).read_only == ("/ws/docs", "/ws/x")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"write": [""]}, "an empty path"),
        ({"entries": [_entry("write", type="glob_pattern", pattern="/a/*.c")]}, "`/a/*.c` can only be denied"),
        ({"entries": [_entry("deny", type="glob_pattern", pattern="/a/[")]}, "bracket without its partner"),
        ({"entries": [_special("write", "minimal")]}, "can only be read"),
        ({"entries": [_special("write", "project_roots", subpath="../x")]}, "`../x` leads out of the workspace"),
        ({"entries": [_special("read", "unknown", path=":future")]}, "`:future` is not a place"),
        ({"entries": [_special("deny", "unknown", path=":future")]}, "`:future` is not a place"),
    ],
)
def test_what_cannot_be_understood_grants_nothing(files: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        _granted(read_only(), fileSystem=files)
