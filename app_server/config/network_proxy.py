"""What the managed network proxy lets through, as the configuration says it, and as an organisation demands it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

HostAction = Literal["allow", "deny"]
NetworkMode = Literal["full", "limited"]

_NONE: Mapping[str, HostAction] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NetworkProxySettings:
    """The rules of one profile for the managed proxy. There is no such object where no proxy is wanted.

    `domains` maps patterns of hosts (exact, `*.x` for what is below x, `**.x` for x too, other globs) to what is done;
    what no pattern means is a miss, and somebody is asked. `limited` lets only reading methods through, also inside
    TLS. `allow_local_binding` lets names lead to this machine and to private networks. `unix_sockets` maps paths.
    `managed_domains_only` says that a miss is a no and nobody is asked.
    """

    mode: NetworkMode = "full"
    domains: Mapping[str, HostAction] = field(default_factory=lambda: _NONE, hash=False)
    unix_sockets: Mapping[str, HostAction] = field(default_factory=lambda: _NONE, hash=False)
    allow_local_binding: bool = False
    enable_socks5: bool = True
    allow_upstream_proxy: bool = True
    dangerously_allow_all_unix_sockets: bool = False
    managed_domains_only: bool = False
    learn: bool = False
    """Let misses through, and tell which rules would have been needed."""
    terminate_on_denial: bool = False
    """`on_denial = "terminate"`: a denial also ends a `command/exec`, which nobody is asked about."""
    beyond_profile: bool = False
    """The profile itself has no network: this way out is the organisation's, and the command is told so as before."""


@dataclass(frozen=True, slots=True)
class NetworkRequirements:
    """What an organisation demands of the network of commands; None where it demands nothing.

    `enabled` of True gives every restricted command the proxy, False none of them any network. Names of domains and
    sockets are as in NetworkProxySettings. Ports are accepted and not used: the proxy takes free ones.
    """

    enabled: bool | None = None
    http_port: int | None = None
    socks_port: int | None = None
    allow_upstream_proxy: bool | None = None
    allow_local_binding: bool | None = None
    dangerously_allow_non_loopback_proxy: bool | None = None
    dangerously_allow_all_unix_sockets: bool | None = None
    domains: Mapping[str, HostAction] | None = field(default=None, hash=False)
    unix_sockets: Mapping[str, HostAction] | None = field(default=None, hash=False)
    managed_allowed_domains_only: bool | None = None
    review_domains: tuple[str, ...] | None = None


NO_NETWORK = NetworkRequirements(enabled=False)
"""What holds where the demands cannot be read."""

NOTHING_ALLOWED = NetworkProxySettings(mode="limited", managed_domains_only=True)
"""What holds where the rules cannot be read."""


@dataclass(frozen=True, slots=True)
class NetworkTable:
    """One table of rules as written; None where it says nothing."""

    enabled: bool | None = None
    mode: NetworkMode | None = None
    domains: Mapping[str, HostAction] = field(default_factory=lambda: _NONE, hash=False)
    unix_sockets: Mapping[str, HostAction] = field(default_factory=lambda: _NONE, hash=False)
    allow_local_binding: bool | None = None
    enable_socks5: bool | None = None
    allow_upstream_proxy: bool | None = None
    dangerously_allow_all_unix_sockets: bool | None = None
    learn: bool | None = None
    terminate_on_denial: bool | None = None
