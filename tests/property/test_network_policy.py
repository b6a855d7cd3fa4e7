"""Hosts, addresses and patterns, against models that are slower and simpler."""

import ipaddress
import re
import socket
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from app_server.config.hosts import normalised_host, normalised_pattern
from app_server.config.network_proxy import HostAction, NetworkProxySettings
from app_server.network.policy import ALLOWED, DENIED, LOCAL, Attempt, NetworkPolicy, NetworkProtocol, is_local

ADDRESSES_4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
ADDRESSES_6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
LABELS = st.text("abz09-_", min_size=1, max_size=4)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())
PROTOCOLS = st.sampled_from(("http", "https_connect", "socks5_tcp", "socks5_udp"))


@st.composite
def _spelled_4(draw: st.DrawFn, address: ipaddress.IPv4Address, port: bool = True) -> str:
    """An IPv4 address in any form that a C library takes, or a URL with its port."""
    octets = address.packed
    count = draw(st.integers(1, 4))
    numbers = [*octets[: count - 1], int.from_bytes(octets[count - 1 :])]
    forms = st.sampled_from(("{}", "0{:o}", "0x{:x}", "0X{:X}", "0x0{:x}", "00{:o}"))
    text = ".".join(draw(forms).format(number) for number in numbers)
    if draw(st.integers(0, 2)) == 0:
        return draw(_decorated(f"[::ffff:{address}]", port))
    return draw(_decorated(text + draw(st.sampled_from(("", ".", ".."))), port))


@st.composite
def _decorated(draw: st.DrawFn, text: str, port: bool = True) -> str:
    text += draw(st.sampled_from(("", ":80", ":"))) if port else ""
    return draw(st.sampled_from(("", " "))) + text + draw(st.sampled_from(("", " ", "\t")))


@st.composite
def _spelled_name(draw: st.DrawFn, name: str) -> str:
    text = "".join(draw(st.sampled_from((letter, letter.upper()))) for letter in name)
    return draw(_decorated(text + draw(st.sampled_from(("", ".", "..")))))


@st.composite
def _spelled_6(draw: st.DrawFn, address: ipaddress.IPv6Address) -> str:
    text = draw(st.sampled_from((str(address), address.exploded, address.exploded.upper())))
    return draw(st.sampled_from((text, f"[{text}]", f"[{text}]:443")))


def _policy(allow: list[str], deny: list[str], **more: Any) -> NetworkPolicy:
    domains: dict[str, HostAction] = dict.fromkeys(allow, "allow")
    domains.update(dict.fromkeys(deny, "deny"))
    return NetworkPolicy(NetworkProxySettings(domains=domains, **more))


@given(st.text(max_size=30) | st.text("0x17fF.:[]%aA \u00fc\uff11", max_size=20))
@example("0x7f.1")
@example("[::ffff:1.2.3.4%eth0]:80")
def test_normalising_again_changes_nothing(text: str) -> None:
    try:
        host = normalised_host(text)
    except ValueError:
        return
    assert normalised_host(host) == host
    assert host == host.strip().rstrip(".")
    assert host.isascii()


@given(st.text("0123456789xXabf.", min_size=1, max_size=18))
def test_a_number_is_what_the_c_library_makes_of_it(text: str) -> None:
    try:
        address = str(ipaddress.IPv4Address(socket.inet_aton(text)))
    except OSError:
        address = None
    if address is not None:
        assert normalised_host(text) == address
    else:
        assume(not text.endswith("."))
        try:
            host = normalised_host(text)
        except ValueError:
            return
        assert not re.fullmatch(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", host)


@given(st.data(), ADDRESSES_4, PROTOCOLS, st.integers(1, 65535))
def test_a_denied_address_is_denied_in_every_spelling(
    data: st.DataObject, address: ipaddress.IPv4Address, protocol: NetworkProtocol, port: int
) -> None:
    policy = _policy(["*"], [data.draw(_spelled_4(address, port=False))], allow_local_binding=True)
    host = normalised_host(data.draw(_spelled_4(address)))
    assert policy.judge(Attempt(protocol, host, port)) == DENIED
    for carrier in ("::ffff:{}", "64:ff9b::{}"):
        assert policy.judge_address(
            Attempt(protocol, "a.com", port), ipaddress.ip_address(carrier.format(address))
        ) == (DENIED)


@given(st.data(), NAMES, PROTOCOLS)
def test_a_denied_name_is_denied_in_every_spelling(data: st.DataObject, name: str, protocol: NetworkProtocol) -> None:
    policy = _policy(["*"], [name], allow_local_binding=True)
    assert policy.judge(Attempt(protocol, normalised_host(data.draw(_spelled_name(name))), 443)) == DENIED


@given(st.data(), ADDRESSES_6)
def test_an_ipv6_address_has_one_spelling(data: st.DataObject, address: ipaddress.IPv6Address) -> None:
    assert normalised_host(data.draw(_spelled_6(address))) == str(address.ipv4_mapped or address)


# What the standard library takes for public, and is not: relays and carriers of other addresses, and the like.
_SET_ASIDE_4 = [ipaddress.ip_network(text) for text in ("192.88.99.0/24", "100.64.0.0/10", "192.0.0.0/24")]
_SPECIAL = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "192.88.99.0/24")
]
SPECIAL_4 = st.sampled_from(_SPECIAL).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(ipaddress.IPv4Address)
)


def _is_local_4(address: ipaddress.IPv4Address) -> bool:
    return not address.is_global or address.is_multicast or any(address in network for network in _SET_ASIDE_4)


@given(st.data(), ADDRESSES_4 | SPECIAL_4)
def test_every_spelling_of_a_local_address_is_local(data: st.DataObject, address: ipaddress.IPv4Address) -> None:
    local = _is_local_4(address)
    assert is_local(address) is local
    host = normalised_host(data.draw(_spelled_4(address)))
    assert (_policy(["*"], []).judge(Attempt("http", host, 80, "GET")) == LOCAL) is local
    assert is_local(ipaddress.ip_address(f"64:ff9b::{address}")) is local
    assert is_local(ipaddress.ip_address(f"::ffff:{address}")) is local
    assert is_local(ipaddress.ip_address((0x2002 << 112) + (int(address) << 80) + 1)) is local


@given(ADDRESSES_6 | st.integers(0, 2**125 - 1).map(lambda low: ipaddress.IPv6Address((1 << 125) + low)))
def test_what_the_standard_library_takes_for_private_is_local(address: ipaddress.IPv6Address) -> None:
    # Versions of the library differ about 2002::/16, which is as local as the address within.
    if address.sixtofour is None and (not address.is_global or address.is_multicast or address.is_site_local):
        assert is_local(address)


# Patterns


def _means(pattern: str, host: str) -> bool:
    """Whether a pattern means a host, letter by letter."""
    if pattern.startswith("**."):
        rest = pattern.removeprefix("**.")
        return _globs(rest, host) or _means("*." + rest, host)
    return _globs(pattern, host)


def _globs(pattern: str, host: str) -> bool:
    if not pattern:
        return not host
    if pattern[0] == "*":
        return _globs(pattern[1:], host) or (bool(host) and _globs(pattern, host[1:]))
    return bool(host) and pattern[0] in ("?", host[0]) and _globs(pattern[1:], host[1:])


PARTS = st.text("ab?*", min_size=1, max_size=3).filter(lambda part: "**" not in part)
PATTERNS = st.tuples(st.sampled_from(("", "*.", "**.")), st.lists(PARTS, min_size=1, max_size=3).map(".".join)).map(
    "".join
)
HOSTS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4).map(".".join)


@given(st.lists(PATTERNS, max_size=4), st.lists(PATTERNS, max_size=3), HOSTS)
@example(["*.a"], [], "a")
@example(["**.a"], [], "a")
@example(["**.a"], [], "b.a")
@example(["**.*b"], [], "b")
def test_patterns_mean_what_they_mean_letter_by_letter(allow: list[str], deny: list[str], host: str) -> None:
    denied = {pattern for pattern in deny if pattern.strip("*?.")}
    allowed = [pattern for pattern in allow if pattern not in denied]
    judgement = _policy(allowed, sorted(denied)).judge(Attempt("http", host, 80, "GET"))
    assert (judgement == DENIED) is any(_means(pattern, host) for pattern in denied)
    if judgement != DENIED:
        assert (judgement == ALLOWED) is any(_means(pattern, host) for pattern in allowed)


@given(st.text(max_size=20) | st.text("ab.*?[]{}:/-", max_size=12))
def test_a_normalised_pattern_is_normal(text: str) -> None:
    try:
        pattern = normalised_pattern(text)
    except ValueError:
        return
    assert normalised_pattern(pattern) == pattern
