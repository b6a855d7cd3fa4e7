"""NetworkPolicy: which hosts a command may reach, and why not."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app_server.config.network_proxy import HostAction, NetworkProxySettings

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
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a command wants to reach, before anything is dialled. `host` is normalised; `method` is that of HTTP."""

    protocol: NetworkProtocol
    host: str
    port: int
    method: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided about an attempt, by what, and why; an allowance needs no reason."""

    decision: NetworkDecision
    source: NetworkSource = "baseline_policy"
    reason: NetworkReason | None = None


ALLOWED = Judgement("allow")


@dataclass(slots=True)
class LiveRules:
    """Rules for whole hosts that were made while commands run; every policy that knows them obeys at once."""

    hosts: dict[str, HostAction] = field(default_factory=dict[str, HostAction])


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """The rules for one command.

    `rules` are those of rules files, as host and action; `live` are those made meanwhile. A deny wins over any allow.
    """

    settings: NetworkProxySettings
    rules: Sequence[tuple[str, HostAction]] = ()
    live: LiveRules = field(default_factory=LiveRules)

    def judge(self, attempt: Attempt) -> Judgement:
        """What the rules say before the name is looked up; `ask` (reason `not_allowed`) for a miss."""
        raise NotImplementedError

    def judge_address(self, attempt: Attempt, address: Address) -> Judgement:
        """What the rules say about one address that the name of an allowed attempt stands for."""
        raise NotImplementedError


def normalised_host(text: str) -> str:
    """A host as the rules know it: lower case, no brackets, port or trailing dot. Raises ValueError."""
    raise NotImplementedError
