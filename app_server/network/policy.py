"""NetworkPolicy: which hosts a command may reach, and why not."""

import fnmatch
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Literal

from msgspec import Struct, field

from app_server.config.hosts import Address, address_of, is_pattern, normalised_host, normalised_pattern, text_of
from app_server.config.network_proxy import HostAction, NetworkProxySettings

__all__ = [
    "ALLOWED",
    "BLOCKED",
    "Address",
    "Attempt",
    "Judgement",
    "LiveRules",
    "NetworkDecision",
    "NetworkPolicy",
    "NetworkProtocol",
    "NetworkReason",
    "NetworkSource",
    "RuleAction",
    "blocked",
    "is_local",
    "normalised_host",
]

NetworkProtocol = Literal["http", "https_connect", "socks5_tcp", "socks5_udp"]
NetworkDecision = Literal["allow", "deny", "ask"]
NetworkSource = Literal["baseline_policy", "mode_guard", "proxy_state", "decider"]
NetworkReason = Literal[
    "denied",
    "not_allowed",
    "not_allowed_local",
    "method_not_allowed",
    "mitm_required",
    "proxy_disabled",
    "policy_denied",
    "unix_socket_unsupported",
]
RuleAction = Literal["allow", "deny", "ask"]
"""What a rule of a rules file says; `ask` holds against any allowance but one that was made meanwhile."""

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""What HTTP requests may do in limited mode."""


class Attempt(Struct, frozen=True):
    """What a command wants to reach, before anything is dialled. `host` is normalised; `method` is that of HTTP."""

    protocol: NetworkProtocol
    host: str
    port: int
    method: str | None = None


class Judgement(Struct, frozen=True):
    """What is decided about an attempt, by what, and why; an allowance needs no reason."""

    decision: NetworkDecision
    source: NetworkSource = "baseline_policy"
    reason: NetworkReason | None = None


ALLOWED = Judgement("allow")
MISSED = Judgement("ask", "decider", "not_allowed")
DENIED = Judgement("deny", reason="denied")
NOT_LISTED = Judgement("deny", reason="not_allowed")
LOCAL = Judgement("deny", reason="not_allowed_local")
WRITING = Judgement("deny", "mode_guard", "method_not_allowed")


BLOCKED: Mapping[NetworkReason, str] = MappingProxyType(
    {
        "denied": "domain is explicitly denied by policy and cannot be approved from this prompt",
        "not_allowed": "domain is not on the allowlist for the current sandbox mode",
        "not_allowed_local": "local/private network addresses are blocked by the sandbox policy",
        "method_not_allowed": "request method is blocked by the current network mode",
        "proxy_disabled": "network proxy is disabled",
    }
)
"""Why the rules refuse, in words that clients and models know."""
_BLOCKED_SOMEHOW = "request is blocked by network policy"


def blocked(host: str, reason: NetworkReason | None) -> str:
    """Why a request was refused, as a sentence."""
    detail = BLOCKED.get(reason, _BLOCKED_SOMEHOW) if reason is not None else _BLOCKED_SOMEHOW
    return f'Network access to "{host}" was blocked: {detail}.' if host else "Network access was blocked by policy."


class LiveRules(Struct):
    """Rules for whole hosts that were made while commands run; every policy that knows them obeys at once."""

    hosts: dict[str, HostAction] = field(default_factory=dict[str, HostAction])


class NetworkPolicy(Struct, frozen=True, dict=True):
    """The rules for one command. Raises ValueError for settings with a pattern that is none.

    `rules` are those of rules files, as host and action; `live` are those made meanwhile. All of them hold for whole
    hosts, any port and protocol. A deny wins over any allow.
    """

    settings: NetworkProxySettings
    rules: Sequence[tuple[str, RuleAction]] = ()
    live: LiveRules = field(default_factory=LiveRules)

    def __post_init__(self) -> None:
        _ = self._compiled

    @cached_property
    def _compiled(self) -> "_Compiled":
        settings = self.settings
        domains = tuple(settings.domains.items())
        return _compiled(domains, tuple(self.rules), settings.review_domains, settings.managed_domains_only)

    def judge(self, attempt: Attempt) -> Judgement:
        """What the rules say before the name is looked up; `ask` (reason `not_allowed`) for a miss.

        What can never be allowed is said first, so that nobody is asked in vain.
        """
        host, settings, compiled = attempt.host, self.settings, self._compiled
        address = address_of(host)
        names = _names(host, address)
        if self._denies(names):
            return DENIED
        local = _is_localhost(host) if address is None else is_local(address)
        if local and not settings.allow_local_binding and not self._lists(host):
            return LOCAL
        if settings.mode == "limited" and not _only_reads(attempt):
            return WRITING
        reviewed = compiled.reviewed.match_any(names)
        meant = not reviewed and compiled.allowed.match_any(names[:1] if address is None else _zoned(host))
        if settings.managed_domains_only:
            return ALLOWED if meant else NOT_LISTED
        if reviewed:
            return MISSED
        if self.live.hosts.get(host) == "allow":
            return ALLOWED
        return ALLOWED if meant and not compiled.asked.match_any(names) else MISSED

    def judge_address(self, attempt: Attempt, address: Address) -> Judgement:
        """What the rules say about one address that the name of an allowed attempt stands for.

        A local one is refused, unless local ones are allowed or that very address (or the name, for `localhost`) is
        listed; one that is denied by itself is refused whatever name leads there.
        """
        text = text_of(address)
        local = is_local(address)
        names = _names(text, address)
        if self._denies(names) or (local and _is_loopback(address) and self._denies(("localhost",))):
            return DENIED
        own_name = _is_localhost(attempt.host)
        if not (local or own_name) or self.settings.allow_local_binding:
            return ALLOWED
        listed = self._lists(text) or (own_name and _is_loopback(address) and self._lists(attempt.host))
        return ALLOWED if listed else LOCAL

    def _denies(self, names: Sequence[str]) -> bool:
        live = self.live.hosts
        return self._compiled.denied.match_any(names) or (
            bool(live) and any(live.get(name) == "deny" for name in names)
        )

    def _lists(self, host: str) -> bool:
        """Whether the host itself, and not only a pattern that means it too, is allowed."""
        if any(one in self._compiled.allowed.listed for one in _zoned(host)):
            return True
        return not self.settings.managed_domains_only and self.live.hosts.get(host) == "allow"


def is_local(address: Address) -> bool:
    """Whether an address is not one of the open internet: this machine, private networks, and all that is reserved."""
    if address.version == 4:
        return _within(address, _SPECIAL_4)
    number = int(address)
    # The open internet is 2000::/3; what wraps an IPv4 address is as local as that.
    if number >> 125 != 1 and number >> 32 not in (_MAPPED, _NAT64):
        return True
    return _within(address, _SPECIAL_6) or any(_within(inner, _SPECIAL_4) for inner in _embedded(address))


class _Patterns(Struct, frozen=True):
    """Patterns of hosts, sorted by how they are compared."""

    listed: frozenset[str] = frozenset()
    """Hosts that are named themselves, by no pattern."""
    exact: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()
    """What some pattern means everything below of."""
    globs: re.Pattern[str] | None = None
    everything: bool = False

    def match(self, host: str) -> bool:
        """Whether a host is meant."""
        if self.everything or host in self.exact:
            return True
        above = self.above
        if above:
            dot = host.find(".")
            while dot >= 0:
                if host[dot + 1 :] in above:
                    return True
                dot = host.find(".", dot + 1)
        return self.globs is not None and self.globs.match(host) is not None

    def match_any(self, hosts: Sequence[str]) -> bool:
        """Whether one of the hosts is meant."""
        return any(self.match(host) for host in hosts)


class _Compiled(Struct, frozen=True):
    """All rules but those that are made meanwhile."""

    allowed: _Patterns
    denied: _Patterns
    asked: _Patterns
    reviewed: _Patterns


@lru_cache(maxsize=256)
def _compiled(
    domains: tuple[tuple[str, HostAction], ...],
    rules: tuple[tuple[str, RuleAction], ...],
    reviewed: tuple[str, ...],
    managed_only: bool,
) -> _Compiled:
    found: dict[RuleAction, list[str]] = {"allow": [], "deny": [], "ask": []}
    for text, action in domains:
        found[action].append(normalised_pattern(text))
    for host, action in rules:
        if managed_only and action == "allow":
            continue
        try:
            found[action].append(normalised_host(host))
        except ValueError:
            continue  # no request can be for it either
    allowed, denied, asked = (_patterns(found[action]) for action in ("allow", "deny", "ask"))
    return _Compiled(allowed, denied, asked, _patterns(map(normalised_pattern, reviewed)))


def _patterns(texts: Iterable[str]) -> _Patterns:
    listed: set[str] = set()
    roots: set[str] = set()
    above: set[str] = set()
    globs: list[str] = []
    everything = False
    for text in texts:
        rest = text.removeprefix("**.") if text.startswith("**.") else text.removeprefix("*.")
        if not is_pattern(text):
            listed.add(text)
        elif text == "*":
            everything = True
        elif not is_pattern(rest):
            above.add(rest)
            if text.startswith("**."):
                roots.add(rest)
        else:
            ways = [text, rest] if text.startswith("**.") else [text]
            globs += [fnmatch.translate(way.replace("**.", "*.")) for way in ways]
    return _Patterns(
        frozenset(listed),
        frozenset(listed | roots),
        frozenset(above),
        re.compile("|".join(globs)) if globs else None,
        everything,
    )


def _only_reads(attempt: Attempt) -> bool:
    match attempt.protocol:
        case "http":
            return attempt.method in READING_METHODS
        case "https_connect":
            # What is asked for within TLS is judged again, with its method.
            return attempt.method is None or attempt.method in READING_METHODS
        case "socks5_tcp":
            return attempt.port == 443 and (attempt.method is None or attempt.method in READING_METHODS)
        case "socks5_udp":
            return False


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _zoned(host: str) -> tuple[str, ...]:
    """An address as it is, and without its zone: rules may leave that out."""
    alone = host.partition("%")[0]
    return (host,) if alone == host else (host, alone)


def _names(host: str, address: Address | None) -> tuple[str, ...]:
    """The host, and what it is another spelling of, or leads to."""
    if address is None or address.version == 4:
        return (host,)
    return (*_zoned(host), *(str(inner) for inner in _embedded(address)))


_MAPPED = 0xFFFF
"""::ffff:0:0/96"""
_NAT64 = 0x0064_FF9B << 64
"""64:ff9b::/96"""
_CARRIERS = frozenset({_MAPPED, _NAT64, 0, 0xFFFF_0000})
"""Prefixes, of 96 bits, of what carries an IPv4 address; also the old ::/96 and ::ffff:0:0:0/96."""


def _embedded(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 address that an IPv6 address carries, and leads to."""
    number = int(address)
    if address.version == 4 or number <= 0xFFFF:
        return ()
    if number >> 32 in _CARRIERS:
        return (ipaddress.IPv4Address(number & 0xFFFFFFFF),)
    if number >> 112 == 0x2002:  # 6to4
        return (ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF),)
    return ()


def _is_loopback(address: Address) -> bool:
    return address.is_loopback or any(inner.is_loopback for inner in _embedded(address))


def _ranges(*networks: str) -> tuple[list[int], list[int]]:
    """Where the networks begin and where they end, in order."""
    known = sorted(ipaddress.ip_network(network) for network in networks)
    return [int(network[0]) for network in known], [int(network[-1]) for network in known]


def _within(address: Address, ranges: tuple[list[int], list[int]]) -> bool:
    starts, ends = ranges
    number = int(address)
    position = bisect_right(starts, number) - 1
    return position >= 0 and number <= ends[position]


_SPECIAL_4 = _ranges(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # shared by the customers of a carrier
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",  # for examples, like 198.51.100 and 203.0.113
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",  # for benchmarks
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_SPECIAL_6 = _ranges("2001::/23", "2001:db8::/32", "3fff::/20")
