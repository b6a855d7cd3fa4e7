"""What the managed network proxy lets through, as the configuration says it."""

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
    domains: Mapping[str, HostAction] = field(default_factory=lambda: _NONE)
    unix_sockets: Mapping[str, HostAction] = field(default_factory=lambda: _NONE)
    allow_local_binding: bool = False
    enable_socks5: bool = True
    allow_upstream_proxy: bool = True
    dangerously_allow_all_unix_sockets: bool = False
    managed_domains_only: bool = False
    learn: bool = False
    """Let misses through, and tell which rules would have been needed."""
    terminate_on_denial: bool = False
    """`on_denial = "terminate"`: a denial also ends a `command/exec`, which nobody is asked about."""
