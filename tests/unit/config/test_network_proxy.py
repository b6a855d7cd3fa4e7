"""`[features.network_proxy]`, what an organisation demands of the network, and what both come to."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app_server.config.layers import ConfigError, LayerStack, load_settings
from app_server.config.network_proxy import (
    NO_NETWORK,
    NOTHING_ALLOWED,
    HostAction,
    NetworkProxySettings,
    NetworkRequirements,
)

DEMO = 'model_provider = "demo"\n'
ON = "[features.network_proxy]\nenabled = true\n"


def _stack(
    folder: Path, text: str = "", *overrides: str, system: str = "", demands: str | None = None, **more: Any
) -> LayerStack:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(DEMO + text)
    (folder / "config.toml").write_text(system)
    if demands is not None:
        (folder / "requirements.toml").write_text(demands)
    return load_settings(home, overrides, system_config=folder / "config.toml", environ={}, **more)


def _rules(folder: Path, text: str = "", *overrides: str, **more: Any) -> NetworkProxySettings | None:
    return _stack(folder, text, *overrides, **more).with_thread_config().network_proxy


# The feature


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", None),
        ("[features]\nnetwork_proxy = false", None),
        ("[features.network_proxy]", None),
        ("[features.network_proxy]\nenabled = false\nmode = 'limited'", None),
        ("[features]\nnetwork_proxy = true", NetworkProxySettings()),
        (ON, NetworkProxySettings()),
        ("[features.network_proxy]\nmode = 'limited'", NetworkProxySettings("limited")),
    ],
)
def test_the_feature_is_a_switch_or_a_table(tmp_path: Path, text: str, rules: NetworkProxySettings | None) -> None:
    settings = _stack(tmp_path, text).with_thread_config()
    assert settings.network_proxy == rules
    assert settings.feature("network_proxy") is (rules is not None)
    assert settings.network_requirements is None


def test_every_key_is_read(tmp_path: Path) -> None:
    text = f"""{ON}
        mode = "limited"
        allow_local_binding = true
        enable_socks5 = false
        enable_socks5_udp = true
        allow_upstream_proxy = false
        dangerously_allow_non_loopback_proxy = true
        dangerously_allow_all_unix_sockets = true
        proxy_url = "http://127.0.0.1:3128"
        socks_url = "socks5h://127.0.0.1:8081"
        on_denial = "terminate"
        learn = true
        [features.network_proxy.domains]
        "Example.COM." = "allow"
        "*.b.com" = "allow"
        "**.c.com" = "deny"
        "api?-*.d.com" = "allow"
        "0x7f.1" = "allow"
        "[::1]" = "allow"
        "bücher.example" = "allow"
        "*" = "allow"
        [features.network_proxy.unix_sockets]
        "/run/./docker.sock" = "allow"
        "/run/other" = "deny"
    """
    assert _rules(tmp_path, text) == NetworkProxySettings(
        "limited",
        {
            "example.com": "allow",
            "*.b.com": "allow",
            "**.c.com": "deny",
            "api?-*.d.com": "allow",
            "127.0.0.1": "allow",
            "::1": "allow",
            "xn--bcher-kva.example": "allow",
            "*": "allow",
        },
        {"/run/docker.sock": "allow", "/run/other": "deny"},
        allow_local_binding=True,
        enable_socks5=False,
        allow_upstream_proxy=False,
        dangerously_allow_all_unix_sockets=True,
        learn=True,
        terminate_on_denial=True,
    )


def test_the_older_lists_are_read_too(tmp_path: Path) -> None:
    text = f'{ON}allowed_domains = ["A.com"]\ndenied_domains = ["b.com"]\nallow_unix_sockets = ["/run/s"]\n'
    assert _rules(tmp_path, text) == NetworkProxySettings(
        domains={"a.com": "allow", "b.com": "deny"}, unix_sockets={"/run/s": "allow"}
    )


def test_of_two_spellings_of_one_host_the_denial_counts(tmp_path: Path) -> None:
    for first, second in (("allow", "deny"), ("deny", "allow")):
        text = f'{ON}[features.network_proxy.domains]\n"A.com" = "{first}"\n"a.com" = "{second}"\n'
        rules = _rules(tmp_path, text)
        assert rules is not None
        assert rules.domains == {"a.com": "deny"}


@pytest.mark.parametrize(
    ("line", "key", "told"),
    [
        ("modes = 'full'", "modes", "did you mean `mode`"),
        ("mode = 'half'", "mode", "must be one of `full`, `limited`, got `half`"),
        ("enabled = 'yes'", "enabled", "must be true or false"),
        ("learn = 1", "learn", "must be true or false"),
        ("on_denial = 'kill'", "on_denial", "must be one of `report`, `terminate`"),
        ("proxy_url = 3128", "proxy_url", "must be a string"),
        ("mitm = true", "mitm", "not supported yet"),
        ("mitm = { hooks = {} }", "mitm", "not supported yet"),
        ("domains = ['a.com']", "domains", "must be a table"),
        ("domains = { 'a.com' = 'ask' }", 'domains."a.com"', "must be one of `allow`, `deny`"),
        ("domains = { 'a.com' = true }", 'domains."a.com"', "must be one of `allow`, `deny`"),
        ("domains = { '*' = 'deny' }", 'domains."*"', "cannot be denied"),
        ("domains = { '*.*' = 'deny' }", 'domains."*.*"', "cannot be denied"),
        ("denied_domains = ['?*']", "denied_domains", "cannot be denied"),
        ("domains = { '' = 'allow' }", "domains", "an empty text is no host"),
        ("domains = { 'https://a.com' = 'allow' }", 'domains."https://a.com"', "without scheme, path"),
        ("domains = { 'a.com/b' = 'allow' }", 'domains."a.com/b"', "without scheme, path"),
        ("domains = { '10.0.0.0/8' = 'deny' }", 'domains."10.0.0.0/8"', "ranges of addresses are not supported"),
        ("domains = { 'a b' = 'allow' }", 'domains."a b"', "spaces"),
        ("domains = { '* .b' = 'allow' }", 'domains."* .b"', "spaces"),
        ("domains = { 'me@a.com' = 'allow' }", 'domains."me@a.com"', "user"),
        ("domains = { 'a.com:443' = 'allow' }", 'domains."a.com:443"', "leave it out"),
        ("domains = { '*.a.com:443' = 'allow' }", 'domains."*.a.com:443"', "leave it out"),
        ("domains = { '[::1]:80' = 'allow' }", 'domains."[::1]:80"', "leave it out"),
        ("domains = { '[::1' = 'allow' }", 'domains."[::1"', "bracket without its partner"),
        ("domains = { 'a[b].com' = 'allow' }", 'domains."a[b].com"', "must be a host alone"),
        ("domains = { 'a[b]*' = 'allow' }", 'domains."a[b]*"', "of wildcards there are"),
        ("domains = { 'a{b,c}*' = 'allow' }", 'domains."a{b,c}*"', "of wildcards there are"),
        ("domains = { '**' = 'allow' }", 'domains."**"', "two wildcards"),
        ("domains = { 'a**b.com' = 'allow' }", 'domains."a**b.com"', "two wildcards"),
        ("domains = { '*.' = 'allow' }", 'domains."*."', "empty"),
        ("domains = { '*.1.2.3.4' = 'allow' }", 'domains."*.1.2.3.4"', "below an address"),
        ("domains = { 'a..b' = 'allow' }", 'domains."a..b"', "must be a host alone"),
        ("domains = { '.a.com' = 'allow' }", 'domains.".a.com"', "must be a host alone"),
        ("domains = { '1.2.3.4.5' = 'allow' }", 'domains."1.2.3.4.5"', "no IPv4 address"),
        ("domains = { '1.2.3.400' = 'deny' }", 'domains."1.2.3.400"', "no IPv4 address"),
        ("domains = { ':::1' = 'deny' }", 'domains.":::1"', "no IPv6 address"),
        ("domains = { 'xn--\u00fc.com' = 'deny' }", 'domains."xn--\u00fc.com"', "no valid international name"),
        ("unix_sockets = { 'run/x' = 'allow' }", 'unix_sockets."run/x"', "must be absolute"),
        ("allowed_domains = 'a.com'", "allowed_domains", "must be a list of strings"),
        ("domains = {}\nallowed_domains = []", "allowed_domains", "an older form of `domains`"),
    ],
)
def test_a_mistake_stops_threads_names_its_key_and_lets_nothing_through(
    tmp_path: Path, line: str, key: str, told: str
) -> None:
    stack = _stack(tmp_path, f"[features.network_proxy]\n{line}\n")
    with pytest.raises(ConfigError) as error:
        stack.with_thread_config()
    assert told in str(error.value)
    assert f"(in `features.network_proxy.{key}`)" in str(error.value)
    assert str(error.value) in [warning.details for warning in stack.warnings]
    assert stack.settings().network_proxy == NOTHING_ALLOWED


def test_a_switch_that_is_none_stops_threads_too(tmp_path: Path) -> None:
    stack = _stack(tmp_path, '[features]\nnetwork_proxy = "yes"\n')
    with pytest.raises(
        ConfigError, match=r"config.toml:3: must be true, false or a table \(in `features.network_proxy`"
    ):
        stack.with_thread_config()
    assert stack.settings().network_proxy == NOTHING_ALLOWED


def test_a_mistake_on_the_command_line_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"-c features.network_proxy.mode: must be one of"):
        _stack(tmp_path, "", "features.network_proxy.mode=half")


def test_a_switch_above_a_table_keeps_its_rules(tmp_path: Path) -> None:
    table = "[features.network_proxy]\nenabled = false\nmode = 'limited'\n"
    assert _rules(tmp_path, table, enable=("network_proxy",)) == NetworkProxySettings("limited")
    assert _rules(tmp_path, ON, disable=("network_proxy",)) is None
    assert _rules(tmp_path, "[features]\nnetwork_proxy = true", system=table) == NetworkProxySettings("limited")
    assert _rules(tmp_path, table, system="[features]\nnetwork_proxy = true") is None
    stack = _stack(tmp_path, table)
    assert stack.with_thread_config({"features.network_proxy": True}).network_proxy == NetworkProxySettings("limited")
    assert stack.with_thread_config({"features": {"network_proxy": {"enabled": True, "mode": "full"}}}).network_proxy


def test_stronger_layers_add_to_the_rules(tmp_path: Path) -> None:
    system = f'{ON}[features.network_proxy.domains]\n"a.com" = "deny"\n"b.com" = "deny"\n'
    user = '[features.network_proxy.domains]\n"a.com" = "allow"\n'
    assert _rules(tmp_path, user, system=system) == NetworkProxySettings(domains={"a.com": "allow", "b.com": "deny"})


# What an organisation demands


def test_demands_are_read_from_beside_the_system_configuration(tmp_path: Path) -> None:
    demands = """
        [experimental_network]
        enabled = true
        http_port = 3128
        socks_port = 8081
        allow_upstream_proxy = false
        allow_local_binding = true
        dangerously_allow_non_loopback_proxy = true
        dangerously_allow_all_unix_sockets = true
        managed_allowed_domains_only = true
        review_domains = ["*.R.com"]
        [experimental_network.domains]
        "A.com" = "allow"
        [experimental_network.unix_sockets]
        "/run/s" = "allow"
    """
    settings = _stack(tmp_path, demands=demands).with_thread_config()
    assert settings.network_requirements == NetworkRequirements(
        enabled=True,
        http_port=3128,
        socks_port=8081,
        allow_upstream_proxy=False,
        allow_local_binding=True,
        dangerously_allow_non_loopback_proxy=True,
        dangerously_allow_all_unix_sockets=True,
        domains={"a.com": "allow"},
        unix_sockets={"/run/s": "allow"},
        managed_allowed_domains_only=True,
        review_domains=("*.r.com",),
    )
    assert settings.network_proxy == NetworkProxySettings(
        domains={"a.com": "allow"},
        unix_sockets={"/run/s": "allow"},
        allow_local_binding=True,
        allow_upstream_proxy=False,
        dangerously_allow_all_unix_sockets=True,
        managed_domains_only=True,
        review_domains=("*.r.com",),
    )
    assert not settings.feature("network_proxy")


@pytest.mark.parametrize("surface", ["experimental_network", "network_proxy", "permissions.network"])
def test_demands_have_three_names(tmp_path: Path, surface: str) -> None:
    demands = f'[{surface}]\nenabled = true\nallowed_domains = ["a.com"]\n'
    settings = _stack(tmp_path, demands=demands).with_thread_config()
    assert settings.network_requirements == NetworkRequirements(enabled=True, domains={"a.com": "allow"})


def test_other_demands_are_not_about_the_network(tmp_path: Path) -> None:
    settings = _stack(tmp_path, demands='allowed_sandbox_modes = ["read-only"]\n[permissions]\n').with_thread_config()
    assert (settings.network_requirements, settings.network_proxy) == (None, None)


MANAGED = """
    [experimental_network]
    enabled = true
    [experimental_network.domains]
    "m.com" = "allow"
    "d.com" = "deny"
    "n.com" = "allow"
"""
OWN = f"""{ON}
    mode = "limited"
    allow_local_binding = true
    [features.network_proxy.domains]
    "u.com" = "allow"
    "d.com" = "allow"
    "m.com" = "deny"
    [features.network_proxy.unix_sockets]
    "/run/mine" = "allow"
    "/run/s" = "deny"
"""


def test_of_demands_and_rules_every_denial_holds_and_the_user_may_allow_more(tmp_path: Path) -> None:
    rules = _rules(tmp_path, OWN, demands=MANAGED)
    assert rules == NetworkProxySettings(
        "limited",
        {"m.com": "deny", "d.com": "deny", "n.com": "allow", "u.com": "allow"},
        {"/run/mine": "allow", "/run/s": "deny"},
        allow_local_binding=True,
    )


def test_where_only_managed_domains_count_the_user_may_only_deny(tmp_path: Path) -> None:
    demands = MANAGED.replace("enabled = true", "managed_allowed_domains_only = true")
    rules = _rules(tmp_path, OWN, demands=demands)
    assert rules is not None
    assert rules.managed_domains_only
    assert rules.domains == {"m.com": "deny", "d.com": "deny", "n.com": "allow"}


def test_switches_and_sockets_of_the_organisation_replace_those_of_the_user(tmp_path: Path) -> None:
    demands = """
        [experimental_network]
        allow_local_binding = false
        [experimental_network.unix_sockets]
        "/run/s" = "allow"
        "/run/t" = "allow"
    """
    rules = _rules(tmp_path, OWN, demands=demands)
    assert rules is not None
    assert not rules.allow_local_binding
    assert rules.unix_sockets == {"/run/s": "deny", "/run/t": "allow"}


def test_demands_reach_the_rules_of_profiles(tmp_path: Path) -> None:
    text = """
        [permissions.x]
        extends = ":workspace"
        [permissions.x.network]
        enabled = true
        [permissions.x.network.domains]
        "u.com" = "allow"
        "m.com" = "deny"
    """
    own: dict[str, HostAction] = {"u.com": "allow", "m.com": "deny"}
    profile = _stack(tmp_path, text, demands=MANAGED).settings().permission_profiles["x"]
    assert profile.proxy == NetworkProxySettings(domains={**own, "d.com": "deny", "n.com": "allow"})
    only = MANAGED.replace("enabled = true", "managed_allowed_domains_only = true")
    profile = _stack(tmp_path, text, demands=only).settings().permission_profiles["x"]
    assert profile.proxy is not None
    assert profile.proxy.domains == {"m.com": "deny", "d.com": "deny", "n.com": "allow"}
    off = _stack(tmp_path, text, demands="[experimental_network]\nenabled = false\n").settings()
    assert not off.permission_profiles["x"].network


@pytest.mark.parametrize(
    ("demands", "line", "key", "told"),
    [
        ("enabled = 'no'", 2, "enabled", "must be true or false"),
        ("domians = {}", 2, "domians", "did you mean `domains`"),
        ("mode = 'limited'", 2, "mode", "`mode` is not a known key"),
        ("http_port = 70000", 2, "http_port", "at most 65535"),
        ("enabled = true\ndomains = { '*' = 'deny' }", 3, 'domains."*"', "cannot be denied"),
        ("domains = { 'a.com' = 'none' }", 2, 'domains."a.com"', "must be one of"),
        ("review_domains = ['a/b']", 2, "review_domains", "without scheme"),
        ("reviewDomains = []", 2, "reviewDomains", "did you mean `review_domains`"),
        ("allowed_domains = []\ndomains = {}", 2, "allowed_domains", "an older form"),
    ],
)
def test_a_mistake_in_demands_stops_threads_and_all_network(
    tmp_path: Path, demands: str, line: int, key: str, told: str
) -> None:
    stack = _stack(tmp_path, ON, demands=f"[experimental_network]\n{demands}\n")
    with pytest.raises(ConfigError) as error:
        stack.with_thread_config()
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'requirements.toml'}:{line}: ")
    assert told in message
    assert message.endswith(f"(in `experimental_network.{key}`)")
    assert message in [warning.details for warning in stack.warnings]
    assert stack.settings().network_requirements == NO_NETWORK


def test_demands_in_two_places_are_a_mistake(tmp_path: Path) -> None:
    stack = _stack(tmp_path, demands="[permissions.network]\n[experimental_network]\nenabled = true\n")
    with pytest.raises(ConfigError, match=r"`\[experimental_network\]` and `\[permissions.network\]`; put them in one"):
        stack.with_thread_config()
    assert stack.settings().network_requirements == NO_NETWORK


def test_demands_that_are_no_toml_stop_threads_and_all_network(tmp_path: Path) -> None:
    stack = _stack(tmp_path, ON, demands="[experimental_network]\nenabled =\n")
    with pytest.raises(ConfigError, match=r"requirements.toml:2:10: "):
        stack.with_thread_config()
    assert stack.settings().network_requirements == NO_NETWORK


def test_no_layer_can_change_a_demand(tmp_path: Path) -> None:
    overrides = {"experimental_network.enabled": False, "features.network_proxy": False}
    settings = _stack(tmp_path, demands=MANAGED).with_thread_config(overrides)
    assert settings.network_requirements == NetworkRequirements(
        enabled=True, domains={"m.com": "allow", "d.com": "deny", "n.com": "allow"}
    )
    assert settings.network_proxy == NetworkProxySettings(domains={"m.com": "allow", "d.com": "deny", "n.com": "allow"})


def test_settings_with_rules_can_be_compared_and_hashed() -> None:
    one = NetworkProxySettings(domains={"a.com": "allow"})
    assert hash(one) == hash(replace(one, domains=dict(one.domains)))
    assert one != replace(one, domains={})
