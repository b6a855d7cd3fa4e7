"""Which hosts and addresses the rules let through, and why not."""

import ipaddress
from typing import Any

import pytest

from app_server.config.hosts import address_of, normalised_host, normalised_pattern, text_of
from app_server.config.network_proxy import HostAction, NetworkProxySettings
from app_server.network.policy import (
    ALLOWED,
    DENIED,
    LOCAL,
    MISSED,
    NOT_LISTED,
    WRITING,
    Attempt,
    Judgement,
    LiveRules,
    NetworkPolicy,
    NetworkProtocol,
    RuleAction,
    blocked,
    is_local,
)


def _policy(
    allow: str = "",
    deny: str = "",
    *,
    rules: tuple[tuple[str, RuleAction], ...] = (),
    live: dict[str, HostAction] | None = None,
    **more: Any,
) -> NetworkPolicy:
    domains: dict[str, HostAction] = dict.fromkeys(allow.split(), "allow")
    domains |= dict.fromkeys(deny.split(), "deny")
    return NetworkPolicy(NetworkProxySettings(domains=domains, **more), rules, LiveRules(live or {}))


def _attempt(host: str, protocol: NetworkProtocol = "http", method: str | None = "GET", port: int = 80) -> Attempt:
    return Attempt(protocol, normalised_host(host), port, method)


def _judged(policy: NetworkPolicy, host: str) -> Judgement:
    return policy.judge(_attempt(host))


def _led(policy: NetworkPolicy, host: str, address: str) -> Judgement:
    return policy.judge_address(_attempt(host), ipaddress.ip_address(address))


# Hosts in one spelling


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.COM", "example.com"),
        ("  example.com\t", "example.com"),
        ("example.com.", "example.com"),
        ("example.com..", "example.com"),
        ("example.com:443", "example.com"),
        ("example.com.:443", "example.com"),
        ("example.com:", "example.com"),
        ("my_host-1", "my_host-1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0177.1", "127.0.0.1"),
        ("0x7F.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("10.0x10.0400", "10.16.1.0"),
        ("0", "0.0.0.0"),
        ("1.2.3.", "1.2.0.3"),
        ("1.256", "1.0.1.0"),
        ("0xg", "0xg"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("::1", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::FFFF:7f00:1]:80", "127.0.0.1"),
        ("[0:0:0:0:0:ffff:0a00:0001]", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[FE80::1%25eth0]:80", "fe80::1%eth0"),
        ("[fe80::1%25]", "fe80::1%25"),
        ("::ffff:127.0.0.1%lo", "127.0.0.1"),
        ("::127.0.0.1", "::7f00:1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127.0.0.1"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert normalised_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ":80",
        "a b",
        "a\tb",
        "a\x00b",
        "a\nb",
        "a/b",
        "http://a",
        "a?b",
        "a#b",
        "a\\b",
        "user@a",
        "a%41",
        "a..b",
        ".a",
        "a:b",
        "a:80:90",
        "a:123456",
        "a:-1",
        "a*",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.16777216",
        "1.1.65536",
        "4294967296",
        "09",
        "0x",
        "a.1",
        "a.0x7f",
        "[::1",
        "::1]",
        "[::1]80",
        "[::1]:x",
        "[a.com]",
        "[]",
        ":::",
        "::1%",
        "::1%a/b",
        "12345::",
        "x" * 64,
        ".".join(["x" * 60] * 5),
        "xn--ü",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"`|host"):
        normalised_host(text)


def test_an_address_is_known_and_a_name_is_none() -> None:
    assert address_of("127.0.0.1") == ipaddress.ip_address("127.0.0.1")
    assert address_of("fe80::1%eth0") == ipaddress.ip_address("fe80::1%eth0")
    assert address_of("host1") is None
    assert address_of("example.com") is None
    assert text_of(ipaddress.ip_address("::ffff:10.0.0.1")) == "10.0.0.1"


# Patterns


@pytest.mark.parametrize(
    ("pattern", "meant", "others"),
    [
        ("example.com", "example.com Example.COM. example.com:8080", "www.example.com example.com.org xexample.com"),
        ("*.example.com", "a.example.com a.b.example.com", "example.com xexample.com a.example.com.org"),
        ("**.example.com", "example.com a.example.com a.b.example.com", "xexample.com example.com.org"),
        ("*", "a a.b.c 8.8.8.8 2606::1", ""),
        ("region*.v2.x", "region1.v2.x region.v2.x region1.y.v2.x", "v2.x aregion1.v2.x region1.v2.x.y"),
        ("api?.x", "api1.x", "api.x api12.x"),
        ("*.api?.x", "a.api1.x", "api1.x"),
        ("**.api?.x", "a.api1.x api1.x", "a.xapi1.x"),
        ("*x.com", "x.com ax.com a.x.com", "x.org"),
        ("a.*.b", "a.x.b a.x.y.b", "a.b"),
        ("*.*", "a.b a.b.c", "a"),
        ("8.8.8.*", "8.8.8.8", "8.8.9.8"),
        ("*.bücher.example", "a.xn--bcher-kva.example", "a.bucher.example"),
        ("2606:4700::1", "[2606:4700:0::1]:443", "2606:4700::2"),
        ("8.8.8.8", "8.8.8.8 134744072 0x8.8.2056 [::ffff:8.8.8.8]", "8.8.8.9"),
    ],
)
def test_a_pattern_means_some_hosts_and_not_others(pattern: str, meant: str, others: str) -> None:
    for host in meant.split():
        assert _judged(_policy(pattern), host) == ALLOWED, host
        if pattern != "*":
            assert _judged(_policy("*", pattern), host) == DENIED, host
    for host in others.split():
        assert _judged(_policy(pattern), host) == MISSED, host
        assert _judged(_policy("*", pattern), host) == ALLOWED, host


def test_normalising_a_pattern_again_changes_nothing() -> None:
    for text in ("*.Example.COM.", "**.B\u00fccher.example", "A?*.x", "*", "0x7f.1", "[::1]"):
        pattern = normalised_pattern(text)
        assert normalised_pattern(pattern) == pattern


def test_settings_with_what_is_no_pattern_make_no_policy() -> None:
    with pytest.raises(ValueError, match="`a/b`"):
        _policy("a/b")


# Who says what


def test_without_rules_everything_is_a_miss() -> None:
    assert _judged(_policy(), "example.com") == Judgement("ask", "decider", "not_allowed")


def test_a_denial_wins_whoever_says_it() -> None:
    everything: dict[str, Any] = {"rules": (("a.com", "allow"),), "live": {"a.com": "allow"}}
    assert _judged(_policy("a.com", "*.com", **everything), "a.com") == DENIED
    assert _judged(_policy("a.com", live={"a.com": "deny"}, rules=(("a.com", "allow"),)), "a.com") == DENIED
    assert _judged(_policy("a.com", rules=(("A.com.", "deny"), ("a.com", "allow"))), "a.com") == DENIED
    assert Judgement("deny", "baseline_policy", "denied") == DENIED


def test_rules_of_files_hold_for_the_whole_host_and_no_other() -> None:
    policy = _policy(rules=(("A.com:443", "allow"), ("0x8.8.8.8", "allow")))
    for attempt in (
        _attempt("a.com", "https_connect", None, 8443),
        _attempt("a.com", "socks5_tcp", None, 22),
        _attempt("8.8.8.8"),
    ):
        assert policy.judge(attempt) == ALLOWED
    assert _judged(policy, "www.a.com") == MISSED


def test_a_rule_for_what_no_request_can_be_for_is_left_out() -> None:
    assert _judged(_policy("a.com", rules=(("1.2.3.4.5", "deny"),)), "a.com") == ALLOWED


def test_a_rule_that_asks_holds_against_allowances_of_files_and_settings() -> None:
    asking: tuple[tuple[str, RuleAction], ...] = (("a.com", "ask"), ("a.com", "allow"))
    policy = _policy("*.com a.com", rules=asking)
    assert _judged(policy, "a.com") == MISSED
    policy.live.hosts["a.com"] = "allow"
    assert _judged(policy, "a.com") == ALLOWED


def test_an_organisation_may_want_somebody_to_be_asked_whatever_allows_a_host() -> None:
    reviewed = ("r.com", "*.r.com")
    policy = _policy(
        "* r.com", "d.r.com", review_domains=reviewed, live={"r.com": "allow"}, rules=(("r.com", "allow"),)
    )
    assert [_judged(policy, host) for host in ("r.com", "a.r.com", "d.r.com", "a.com")] == [
        MISSED,
        MISSED,
        DENIED,
        ALLOWED,
    ]
    only = _policy("* r.com", review_domains=reviewed, managed_domains_only=True)
    assert (_judged(only, "r.com"), _judged(only, "a.com")) == (NOT_LISTED, ALLOWED)


def test_live_rules_are_obeyed_at_once() -> None:
    live = LiveRules()
    policies = [NetworkPolicy(NetworkProxySettings(domains={"b.com": "allow"}), live=live) for _ in range(2)]
    live.hosts["a.com"] = "allow"
    live.hosts["b.com"] = "deny"
    for policy in policies:
        assert (_judged(policy, "a.com"), _judged(policy, "b.com")) == (ALLOWED, DENIED)


def test_where_only_managed_domains_count_a_miss_is_a_denial() -> None:
    policy = _policy(
        "a.com", managed_domains_only=True, rules=(("b.com", "allow"), ("d.com", "deny")), live={"c.com": "allow"}
    )
    assert _judged(policy, "a.com") == ALLOWED
    for host in ("b.com", "c.com", "e.com"):
        assert _judged(policy, host) == NOT_LISTED
    assert _judged(policy, "d.com") == DENIED
    assert Judgement("deny", "baseline_policy", "not_allowed") == NOT_LISTED


def test_learning_is_not_for_the_policy() -> None:
    assert _judged(_policy(learn=True), "a.com") == MISSED


# Limited mode


@pytest.mark.parametrize(
    ("protocol", "method", "port", "reads"),
    [
        ("http", "GET", 80, True),
        ("http", "HEAD", 80, True),
        ("http", "OPTIONS", 80, True),
        ("http", "POST", 80, False),
        ("http", "get", 80, False),
        ("http", "CONNECT", 80, False),
        ("http", None, 80, False),
        ("https_connect", None, 443, True),
        ("https_connect", "GET", 443, True),
        ("https_connect", "PUT", 443, False),
        ("socks5_tcp", None, 443, True),
        ("socks5_tcp", "DELETE", 443, False),
        ("socks5_tcp", None, 80, False),
        ("socks5_udp", None, 443, False),
    ],
)
def test_limited_mode_lets_only_reading_through(
    protocol: NetworkProtocol, method: str | None, port: int, reads: bool
) -> None:
    attempt = _attempt("a.com", protocol, method, port)
    assert _policy("a.com").judge(attempt) == ALLOWED
    assert _policy("a.com", mode="limited").judge(attempt) == (ALLOWED if reads else WRITING)
    assert Judgement("deny", "mode_guard", "method_not_allowed") == WRITING


def test_nobody_is_asked_about_what_can_never_be_allowed() -> None:
    policy = _policy("", "d.com", mode="limited")
    assert policy.judge(_attempt("a.com", method="POST")) == WRITING
    assert policy.judge(_attempt("a.com")) == MISSED
    assert policy.judge(_attempt("d.com", method="POST")) == DENIED
    assert policy.judge(_attempt("10.0.0.1", method="POST")) == LOCAL


# Local addresses

LOCALS = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:10.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b::127.0.0.1
    64:ff9b:1::8.8.8.8 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::
    2002:c0a8:101::1 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 febf::1 fec0::1 ff02::1 4000::1 8000::1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
    169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2001:200::1 2001:4860:4860::8888 2002:808:808::1 2606:4700::1111
    2a00:1450::1 3ffe::1
"""


@pytest.mark.parametrize("text", LOCALS.split())
def test_local_addresses_are_refused_in_every_form(text: str) -> None:
    assert is_local(ipaddress.ip_address(text))
    assert _judged(_policy("*"), text) == LOCAL
    assert _judged(_policy(), text) == LOCAL
    assert _led(_policy("*"), "a.com", text) == LOCAL
    assert _judged(_policy("*", allow_local_binding=True), text) == ALLOWED
    assert _judged(_policy(allow_local_binding=True), text) == MISSED
    assert _led(_policy("*", allow_local_binding=True), "a.com", text) == ALLOWED
    assert Judgement("deny", "baseline_policy", "not_allowed_local") == LOCAL


@pytest.mark.parametrize("text", PUBLIC.split())
def test_other_addresses_are_judged_like_names(text: str) -> None:
    assert not is_local(ipaddress.ip_address(text))
    assert _judged(_policy("*"), text) == ALLOWED
    assert _judged(_policy(), text) == MISSED
    assert _led(_policy("a.com"), "a.com", text) == ALLOWED


def test_a_listed_local_address_passes_in_every_spelling_and_no_other_does() -> None:
    policy = _policy("127.0.0.1 ::1 fe80::1")
    for text in ("127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "[0::1]:80", "fe80::1%eth0"):
        assert _judged(policy, text) == ALLOWED, text
        assert _led(policy, text, normalised_host(text)) == ALLOWED, text
    for text in ("127.0.0.2", "::127.0.0.1", "64:ff9b::127.0.0.1", "fe80::2", "10.0.0.1"):
        assert _judged(policy, text) == LOCAL, text
        assert _led(policy, text, normalised_host(text)) == LOCAL, text


def test_a_pattern_lists_no_local_address() -> None:
    assert _judged(_policy("127.0.0.*"), "127.0.0.1") == LOCAL
    assert _led(_policy("127.0.0.*"), "127.0.0.1", "127.0.0.1") == LOCAL


@pytest.mark.parametrize("more", [{"rules": (("127.0.0.1", "allow"),)}, {"live": {"127.0.0.1": "allow"}}])
def test_a_rule_lists_a_local_address_too(more: dict[str, Any]) -> None:
    policy = _policy(**more)
    assert _judged(policy, "127.0.0.1") == ALLOWED
    assert _led(policy, "127.0.0.1", "127.0.0.1") == ALLOWED
    only = _policy(**more, managed_domains_only=True)
    assert _judged(only, "127.0.0.1") == LOCAL
    assert _led(only, "127.0.0.1", "127.0.0.1") == LOCAL


def test_localhost_is_local_by_its_name() -> None:
    for host in ("localhost", "LOCALHOST.", "a.localhost"):
        assert _judged(_policy("*"), host) == LOCAL
        assert _led(_policy("*"), host, "127.0.0.1") == LOCAL
        assert _led(_policy("*"), host, "8.8.8.8") == LOCAL
    listed = _policy("localhost app.localhost")
    for host in ("localhost", "app.localhost"):
        assert _judged(listed, host) == ALLOWED
        assert _led(listed, host, "127.0.0.1") == ALLOWED
        assert _led(listed, host, "::1") == ALLOWED
        assert _led(listed, host, "10.0.0.1") == LOCAL
    assert _judged(listed, "b.localhost") == LOCAL
    assert _judged(listed, "127.0.0.1") == LOCAL
    assert _judged(_policy("*"), "localhost.example.com") == ALLOWED


def test_an_unlisted_name_is_asked_about_and_refused_when_it_leads_here() -> None:
    policy = _policy(live={"b.com": "allow"})
    assert _judged(policy, "a.com") == MISSED
    for host in ("a.com", "b.com"):
        assert _led(policy, host, "10.0.0.1") == LOCAL
        assert _led(policy, host, "8.8.8.8") == ALLOWED


def test_a_listed_name_may_lead_to_a_listed_address() -> None:
    policy = _policy("a.com 10.0.0.1")
    assert _led(policy, "a.com", "10.0.0.1") == ALLOWED
    assert _led(policy, "a.com", "10.0.0.2") == LOCAL


# Denied addresses


@pytest.mark.parametrize(
    "text",
    [
        "9.9.9.9",
        "9.9.9.9.",
        "0x9.9.9.9",
        "011.9.2313",
        "151587081",
        "[::ffff:9.9.9.9]",
        "::9.9.9.9",
        "[64:ff9b::9.9.9.9]:80",
        "2002:909:909::1",
        "::ffff:0:9.9.9.9",
    ],
)
def test_a_denied_address_is_denied_in_every_spelling(text: str) -> None:
    policy = _policy("*", "9.9.9.9", allow_local_binding=True)
    assert _judged(policy, text) == DENIED
    assert _led(policy, "a.com", normalised_host(text)) == DENIED


def test_a_denied_zone_is_the_address_in_every_zone() -> None:
    policy = _policy("*", "fe80::1", allow_local_binding=True)
    assert _judged(policy, "fe80::1%eth0") == DENIED
    assert _judged(_policy("*", "fe80::1%eth0", allow_local_binding=True), "fe80::1%eth1") == ALLOWED


def test_who_denies_localhost_denies_every_loopback_address() -> None:
    policy = _policy("*", "localhost", allow_local_binding=True)
    assert _judged(policy, "localhost") == DENIED
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert _led(policy, address, address) == DENIED
    assert _led(policy, "10.0.0.1", "10.0.0.1") == ALLOWED


def test_a_live_denial_of_an_address_holds_for_names_that_lead_there() -> None:
    assert _led(_policy("a.com", live={"9.9.9.9": "deny"}), "a.com", "9.9.9.9") == DENIED


# Words


def test_a_refusal_is_told_in_the_words_that_clients_know() -> None:
    assert blocked("a.com", "denied") == (
        'Network access to "a.com" was blocked: domain is explicitly denied by policy and cannot be approved from '
        "this prompt."
    )
    assert blocked("a.com", "mitm_required").endswith("request is blocked by network policy.")
    assert blocked("", "denied") == "Network access was blocked by policy."
