"""`[permissions.NAME]` as it is written, and what it comes to."""

import os
from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import ConfigError, LayerStack, load_settings
from app_server.config.network_proxy import NetworkProxySettings
from app_server.config.permission_profiles import (
    BUILT_IN,
    NO_FILES,
    NOT_ENABLED,
    PROFILE_SUMMARY,
    NamedProfile,
    PathRule,
    ProfileError,
    find_profile,
)

DEMO = 'model_provider = "demo"\n'


def _stack(folder: Path, text: str, *overrides: str, system: str = "") -> LayerStack:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(DEMO + text)
    (folder / "etc.toml").write_text(system)
    return load_settings(home, overrides, (), (), system_config=folder / "etc.toml", environ={})


def _profile(folder: Path, text: str, name: str = "x") -> NamedProfile:
    return find_profile(name, _stack(folder, text).settings().permission_profiles)


def _problem(folder: Path, text: str, name: str = "x") -> str:
    with pytest.raises(ProfileError) as error:
        _profile(folder, text, name)
    return str(error.value)


def _rules(profile: NamedProfile) -> dict[tuple[str, str], str]:
    return {(rule.place, rule.within): rule.access for rule in profile.rules}


def test_without_configuration_there_are_the_three_built_in_profiles(tmp_path: Path) -> None:
    settings = _stack(tmp_path, "").settings()
    assert list(settings.permission_profiles) == [":read-only", ":workspace", ":danger-full-access"]
    assert settings.default_permissions == ":read-only"


def test_every_key_of_a_profile_is_read(tmp_path: Path) -> None:
    profile = _profile(
        tmp_path,
        """
        [permissions.x]
        description = "For work."
        extends = ":workspace"
        [permissions.x.workspace_roots]
        "/srv/shared" = true
        "/srv/off" = false
        [permissions.x.filesystem]
        glob_scan_max_depth = 3
        "/opt/tools" = "read"
        "~/notes" = "write"
        ":tmpdir" = "read"
        ":workspace_roots" = { "." = "write", "private" = "deny", "**/*.env" = "deny" }
        [permissions.x.network]
        enabled = true
        """,
    )
    assert profile == NamedProfile(
        "x",
        rules=(
            PathRule(":root", "", "read"),
            PathRule(":workspace_roots", "", "write"),
            PathRule(":slash_tmp", "", "write"),
            PathRule(":tmpdir", "", "read"),
            PathRule("/opt/tools", "", "read"),
            PathRule(os.path.expanduser("~/notes"), "", "write"),
            PathRule(":workspace_roots", "private", "deny"),
            PathRule(":workspace_roots", "**/*.env", "deny"),
        ),
        network=True,
        extends=":workspace",
        description="For work.",
        workspace_roots=("/srv/shared",),
        glob_depth=3,
    )


def test_older_spellings_are_understood(tmp_path: Path) -> None:
    text = '[permissions.x.filesystem]\n":project_roots" = { "." = "write", "keys" = "none" }\n'
    assert _rules(_profile(tmp_path, text)) == {
        (":workspace_roots", ""): "write",
        (":workspace_roots", "keys"): "deny",
    }


@pytest.mark.parametrize(
    ("entry", "rules"),
    [
        ('"/a/**" = "write"', {("/a", ""): "write"}),
        ('"/a" = { "b/**" = "read" }', {("/a", "b"): "read"}),
        ('"/a/./b/../c/" = "read"', {("/a/c", ""): "read"}),
        ('":root" = { "." = "read" }', {(":root", ""): "read"}),
        ('":root" = { "srv" = "read" }', {(":root", "srv"): "read"}),
        ('"/a/*.env" = "deny"', {("/a", "*.env"): "deny"}),
        ('"/a/**/*.{env,key}" = "deny"', {("/a", "**/*.env"): "deny", ("/a", "**/*.key"): "deny"}),
        ('"/*.env" = "deny"', {("/", "*.env"): "deny"}),
        ('":workspace_roots" = { "**" = "write" }', {(":workspace_roots", ""): "write"}),
        ('":workspace_roots" = "write"\n":project_roots" = "read"', {(":workspace_roots", ""): "read"}),
    ],
)
def test_an_entry_stands_for_rules(tmp_path: Path, entry: str, rules: dict[tuple[str, str], str]) -> None:
    assert _rules(_profile(tmp_path, f"[permissions.x.filesystem]\n{entry}\n")) == rules


def test_a_profile_has_what_it_extends_and_its_own_words_count(tmp_path: Path) -> None:
    text = """
        [permissions.base]
        extends = ":workspace"
        [permissions.base.workspace_roots]
        "/one" = true
        "/two" = true
        [permissions.base.filesystem]
        glob_scan_max_depth = 2
        "/opt" = "write"
        ":slash_tmp" = "read"
        [permissions.base.network]
        enabled = true
        [permissions.x]
        extends = "base"
        [permissions.x.workspace_roots]
        "/two" = false
        [permissions.x.filesystem]
        "/opt" = "read"
        [permissions.x.network]
        enabled = false
    """
    profile = _profile(tmp_path, text)
    assert (profile.extends, profile.description) == ("base", None)
    assert (profile.network, profile.workspace_roots, profile.glob_depth) == (False, ("/one",), 2)
    assert _rules(profile) == _rules(BUILT_IN[":workspace"]) | {("/opt", ""): "read", (":slash_tmp", ""): "read"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("frobnicate = 1", "`frobnicate` is not a known key"),
        ("filesytem = {}", "did you mean `filesystem`?"),
        ("extends = 1", "permissions.x.extends"),
        ("description = 1", "permissions.x.description"),
        ('filesystem = "read"', "permissions.x.filesystem"),
        ("network = true", "permissions.x.network"),
        ('filesystem = { ":future" = "read" }', "`:future` is not a known place"),
        ('filesystem = { ":future" = "deny" }', "`:future` is not a known place"),
        ('filesystem = { "/a" = "execute" }', "got `execute`"),
        ('filesystem = { "a/b" = "read" }', "filesystem path `a/b` must be absolute"),
        ('filesystem = { "~root/b" = "read" }', "filesystem path `~root/b` must be absolute"),
        ('filesystem = { "/a" = { "../b" = "read" } }', "`../b` must be a descendant path"),
        ('filesystem = { ":workspace_roots" = { "/b" = "read" } }', "`/b` must be a descendant path"),
        ('filesystem = { ":workspace_roots" = { "a//b" = "deny" } }', "`a//b` must be a descendant path"),
        ('filesystem = { ":tmpdir" = { "b" = "read" } }', "`:tmpdir` does not support nested entries"),
        ('filesystem = { ":minimal" = "write" }', "can only be given `read`"),
        ('filesystem = { "/a/*/b" = "write" }', "the pattern `/a/*/b` can only be denied"),
        ('filesystem = { "/a/*.c" = "read" }', "the pattern `/a/*.c` can only be denied"),
        ('filesystem = { "/a/b[c" = "deny" }', "has a bracket without its partner"),
        ('filesystem = { "/a/{b" = "deny" }', "has a brace without its partner"),
        ('filesystem = { "/a/x**" = "deny" }', "has `**` beside other characters"),
        ('filesystem = { "/a/[z-a]" = "deny" }', "has a range that matches nothing"),
        ("filesystem = { glob_scan_max_depth = 0 }", "permissions.x.filesystem.glob_scan_max_depth"),
        ('network = { enabled = "yes" }', "permissions.x.network.enabled"),
        ("network = { dommains = {} }", "did you mean `domains`?"),
        ('network = { domains = { "a.com" = "maybe" } }', "got `maybe`"),
        ('workspace_roots = { "rel" = true }', "workspace root `rel` must be an absolute path"),
        ('workspace_roots = { "/a/*" = true }', "workspace root `/a/*` must be an absolute path"),
        ('workspace_roots = { "/a" = "yes" }', "permissions.x.workspace_roots"),
        ('extends = "nowhere"', "it extends `nowhere`, which is not defined"),
        ('extends = ":danger-full-access"', "it cannot extend `:danger-full-access`"),
        ('extends = ":other"', "it cannot extend `:other`"),
        ('extends = "x"', "x -> x"),
    ],
)
def test_a_mistake_makes_the_profile_unusable_and_names_the_key(tmp_path: Path, body: str, told: str) -> None:
    text = f"[permissions.x]\n{body}\n"
    assert told in _problem(tmp_path, text)
    stack = _stack(tmp_path, text)
    (warning,) = [warning for warning in stack.warnings if warning.summary == PROFILE_SUMMARY]
    assert told in (warning.details or "")
    assert warning.path == str(tmp_path / "home" / "config.toml")
    assert stack.with_thread_config().default_permissions == ":read-only"


def test_profiles_that_extend_each_other_cannot_be_used(tmp_path: Path) -> None:
    text = '[permissions.x]\nextends = "y"\n[permissions.y]\nextends = "x"\n'
    assert "x -> y -> x" in _problem(tmp_path, text)
    assert "y -> x -> y" in _problem(tmp_path, text, "y")


def test_a_profile_cannot_be_better_than_what_it_extends(tmp_path: Path) -> None:
    text = '[permissions.x]\nextends = "y"\n[permissions.y]\nbad = 1\n'
    assert "it extends `y`, which cannot be used: `bad` is not a known key" in _problem(tmp_path, text)


@pytest.mark.parametrize("name", [":workspace", ":mine"])
def test_names_with_a_colon_are_kept_for_built_in_profiles(tmp_path: Path, name: str) -> None:
    stack = _stack(tmp_path, f'[permissions."{name}"]\nextends = ":read-only"\n')
    assert any(f"the name `{name}` begins with a colon" in (warning.details or "") for warning in stack.warnings)
    profiles = stack.settings().permission_profiles
    assert profiles[":workspace"] == BUILT_IN[":workspace"]
    if name == ":mine":
        with pytest.raises(ProfileError):
            find_profile(name, profiles)


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "known profiles: `:read-only`, `:workspace`, `:danger-full-access`, `y`" in _problem(
        tmp_path, '[permissions.y]\nextends = ":read-only"\n'
    )


# Which profile is in force


@pytest.mark.parametrize(
    ("default", "told"),
    [
        ('default_permissions = "gone"', "unknown permission profile `gone`"),
        ("default_permissions = 1", "default_permissions"),
        ('default_permissions = "x"\n[permissions.x]\nbad = 1', "`bad` is not a known key"),
        ('default_permissions = "x"\n[permissions.x]\nextends = "y"\n[permissions.y]\nbad = 1', "`bad`"),
    ],
)
def test_without_its_default_profile_no_thread_starts_and_commands_may_only_read(
    tmp_path: Path, default: str, told: str
) -> None:
    stack = _stack(tmp_path, f'sandbox_mode = "danger-full-access"\n{default}\n')
    with pytest.raises(ConfigError) as refusal:
        stack.with_thread_config()
    assert told in str(refusal.value)
    assert stack.settings().default_permissions == ":read-only"


@pytest.mark.parametrize(
    ("system", "user", "flags", "chosen"),
    [
        ("", 'sandbox_mode = "workspace-write"', (), None),
        ("", 'default_permissions = ":workspace"', (), ":workspace"),
        ("", 'default_permissions = ":workspace"\nsandbox_mode = "read-only"', (), ":workspace"),
        ("", 'default_permissions = ":workspace"', ("sandbox_mode=read-only",), None),
        ("", 'sandbox_mode = "read-only"', ("default_permissions=:workspace",), ":workspace"),
        ('default_permissions = ":workspace"', 'sandbox_mode = "read-only"', (), None),
        ('sandbox_mode = "read-only"', 'default_permissions = ":workspace"', (), ":workspace"),
    ],
)
def test_of_a_profile_and_a_sandbox_mode_the_stronger_layer_counts(
    tmp_path: Path, system: str, user: str, flags: tuple[str, ...], chosen: str | None
) -> None:
    assert _stack(tmp_path, user, *flags, system=system).settings().default_permissions == chosen


def test_a_thread_may_bring_profiles_of_its_own(tmp_path: Path) -> None:
    overrides: dict[str, Any] = {
        "permissions": {"mine": {"extends": ":workspace"}},
        "default_permissions": "mine",
    }
    settings = _stack(tmp_path, "").with_thread_config(overrides)
    assert (settings.default_permissions, settings.permission_profiles["mine"].extends) == ("mine", ":workspace")


def test_a_bad_default_on_the_command_line_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-c default_permissions: unknown permission profile `gone`"):
        _stack(tmp_path, "", "default_permissions=gone")


# What a user may not expect


# The network of a profile


@pytest.mark.parametrize(
    ("network", "proxy"),
    [
        ('domains = { "a.com" = "allow" }', NetworkProxySettings(domains={"a.com": "allow"})),
        ('allowed_domains = ["A.com."]', NetworkProxySettings(domains={"a.com": "allow"})),
        ('mode = "limited"', NetworkProxySettings("limited")),
        ("learn = true", NetworkProxySettings(learn=True)),
        ('domains = { "*" = "allow" }', None),
        ('mode = "full"', None),
        ("allow_local_binding = true", None),
    ],
)
def test_rules_for_hosts_ask_for_the_proxy_and_all_else_opens_the_network(
    tmp_path: Path, network: str, proxy: NetworkProxySettings | None
) -> None:
    profile = _profile(
        tmp_path, f'[permissions.x]\nextends = ":workspace"\nnetwork = {{ enabled = true, {network} }}\n'
    )
    assert (profile.network, profile.proxy) == (True, proxy)


def test_with_the_feature_every_network_of_a_profile_is_by_the_proxy(tmp_path: Path) -> None:
    text = """
        [features.network_proxy]
        enabled = true
        allow_local_binding = true
        domains = { "a.com" = "deny", "f.com" = "allow", "c.com" = "allow" }
        [permissions.x]
        extends = ":workspace"
        [permissions.x.network]
        enabled = true
        mode = "limited"
        domains = { "a.com" = "allow", "c.com" = "deny" }
        [permissions.z.network]
        enabled = false
        domains = { "a.com" = "allow" }
    """
    assert _profile(tmp_path, text).proxy == NetworkProxySettings(
        "limited", domains={"a.com": "deny", "f.com": "allow", "c.com": "deny"}, allow_local_binding=True
    )
    none = _profile(tmp_path, text, "z")
    assert (none.network, none.proxy) == (False, None)


def test_a_profile_that_inherits_rules_for_hosts_has_them_and_may_change_them(tmp_path: Path) -> None:
    text = """
        [permissions.y]
        extends = ":workspace"
        [permissions.y.network]
        mode = "limited"
        domains = { "a.com" = "allow", "b.com" = "deny" }
        [permissions.x]
        extends = "y"
        [permissions.x.network]
        enabled = true
        mode = "full"
        domains = { "b.com" = "allow", "*.c.com" = "allow" }
    """
    assert _profile(tmp_path, text).proxy == NetworkProxySettings(
        domains={"a.com": "allow", "b.com": "allow", "*.c.com": "allow"}
    )


def test_rules_in_a_profile_without_a_network_are_told(tmp_path: Path) -> None:
    text = '[permissions.x]\nextends = ":workspace"\nnetwork = { domains = { "a.com" = "allow" } }\n'
    stack = _stack(tmp_path, text)
    assert any(NOT_ENABLED in (warning.details or "") for warning in stack.warnings)
    assert not stack.settings().permission_profiles["x"].network
    stack = _stack(tmp_path, text.replace("{ domains", "{ enabled = true, domains"))
    assert not any(NOT_ENABLED in (warning.details or "") for warning in stack.warnings)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("mitm = {}", r"`mitm`\) are not supported yet"),
        ('domains = { "*" = "deny" }', r"`\*` cannot be denied"),
        ('modes = "full"', "did you mean `mode`"),
    ],
)
def test_a_profile_whose_rules_for_hosts_are_wrong_cannot_be_used(tmp_path: Path, network: str, told: str) -> None:
    text = f"[permissions.x]\nnetwork = {{ enabled = true, {network} }}\n"
    with pytest.raises(ProfileError, match=told):
        _profile(tmp_path, text)
    with pytest.raises(ConfigError, match=told):
        _stack(tmp_path, 'default_permissions = "x"\n' + text).with_thread_config()


def test_a_profile_that_opens_no_files_is_told(tmp_path: Path) -> None:
    stack = _stack(tmp_path, '[permissions.x]\ndescription = "Nothing."\n')
    assert any(NO_FILES in (warning.details or "") for warning in stack.warnings)
    assert stack.settings().permission_profiles["x"].rules == ()
