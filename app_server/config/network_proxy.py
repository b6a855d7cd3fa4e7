"""What the managed network proxy lets through, as the configuration says it, and as an organisation demands it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

HostAction = Literal["allow", "deny"]
NetworkMode = Literal["full", "limited"]

_NONE: Mapping[str, HostAction] = MappingProxyType({})


class NetworkProxySettings(Struct, frozen=True):
    """The rules of one profile for the managed proxy. There is no such object where no proxy is wanted.

    `domains` maps patterns of hosts (exact, `*.x` for what is below x, `**.x` for x too, other globs) to what is done;
    what no pattern means is a miss, and somebody is asked. `limited` lets only reading methods through, also inside
    TLS. `allow_local_binding` lets names lead to this machine and to private networks. `unix_sockets` maps paths.
    `managed_domains_only` says that a miss is a no and nobody is asked.
    """

    mode: NetworkMode = "full"
    domains: Mapping[str, HostAction] = _NONE
    unix_sockets: Mapping[str, HostAction] = _NONE
    allow_local_binding: bool = False
    enable_socks5: bool = True
    allow_upstream_proxy: bool = True
    dangerously_allow_all_unix_sockets: bool = False
    managed_domains_only: bool = False
    review_domains: tuple[str, ...] = ()
    """Patterns of hosts that an organisation wants somebody to be asked about, whatever allows them."""
    learn: bool = False
    """Let misses through, and tell which rules would have been needed."""
    terminate_on_denial: bool = False
    """`on_denial = "terminate"`: a denial also ends a `command/exec`, which nobody is asked about."""
    beyond_profile: bool = False
    """The profile itself has no network: this way out is the organisation's, and the command is told so as before."""

    def __hash__(self) -> int:
        # Maps have none; what is equal has the same patterns.
        return hash((self.mode, frozenset(self.domains), frozenset(self.unix_sockets), self.beyond_profile))


class NetworkRequirements(Struct, frozen=True):
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
    domains: Mapping[str, HostAction] | None = None
    unix_sockets: Mapping[str, HostAction] | None = None
    managed_allowed_domains_only: bool | None = None
    review_domains: tuple[str, ...] | None = None


NO_NETWORK = NetworkRequirements(enabled=False)
"""What holds where the demands cannot be read."""

NOTHING_ALLOWED = NetworkProxySettings(mode="limited", managed_domains_only=True)
"""What holds where the rules cannot be read."""


class NetworkTable(Struct, frozen=True):
    """One table of rules as written; None where it says nothing."""

    enabled: bool | None = None
    mode: NetworkMode | None = None
    domains: Mapping[str, HostAction] = _NONE
    unix_sockets: Mapping[str, HostAction] = _NONE
    allow_local_binding: bool | None = None
    enable_socks5: bool | None = None
    allow_upstream_proxy: bool | None = None
    dangerously_allow_all_unix_sockets: bool | None = None
    learn: bool | None = None
    terminate_on_denial: bool | None = None

    @property
    def needs_proxy(self) -> bool:
        """Whether it says what nothing but the proxy can keep."""
        return self.domains not in ({}, {"*": "allow"}) or self.mode == "limited" or self.learn is True

    def extended(self, child: "NetworkTable") -> "NetworkTable":
        """This table with what another, which builds on it, says instead or besides."""
        return self._with(child, {**self.domains, **child.domains}, {**self.unix_sockets, **child.unix_sockets})

    def beside(self, own: "NetworkTable") -> "NetworkTable":
        """This table for everybody, and one of a single profile: a denial of either holds."""
        domains = strictest(self.domains, own.domains)
        return self._with(own, domains, strictest(self.unix_sockets, own.unix_sockets))

    def settings(self) -> NetworkProxySettings:
        """The rules that it makes."""
        said = {name: value for name, value in self._said() if name != "enabled"}
        return NetworkProxySettings(**said)

    def _with(
        self, other: "NetworkTable", domains: Mapping[str, HostAction], unix_sockets: Mapping[str, HostAction]
    ) -> "NetworkTable":
        said = dict(other._said())
        actions = {"domains": MappingProxyType(domains), "unix_sockets": MappingProxyType(unix_sockets)}
        return replace(self, **(said | actions))

    def _said(self) -> Iterable[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return ((name, value) for name, value in values if value is not None)


class ManagedNetwork(Struct, frozen=True):
    """What configuration says about the network of all profiles.

    `feature` is None where `[features.network_proxy]` is off; `unreadable` where it, or what an organisation demands,
    has mistakes, so that nothing may get through.
    """

    feature: NetworkTable | None = None
    demands: NetworkRequirements | None = None
    unreadable: bool = False

    @property
    def forbids_all(self) -> bool:
        """Whether no restricted command may have any network."""
        return self.demands is not None and self.demands.enabled is False

    def rules(self, own: NetworkTable | None = None) -> NetworkProxySettings | None:
        """The rules of the proxy for a profile with a table of its own, or None where nothing asks for a proxy."""
        if self.unreadable:
            return NOTHING_ALLOWED
        if self.feature is None and self.demands is None and (own is None or not own.needs_proxy):
            return None
        table = self.feature or NetworkTable()
        return demanded((table if own is None else table.beside(own)).settings(), self.demands)


def demanded(rules: NetworkProxySettings, demands: NetworkRequirements | None) -> NetworkProxySettings:
    """Rules as they are where an organisation has demands: its denials and the user's both hold."""
    if demands is None:
        return rules
    only_managed = demands.managed_allowed_domains_only is True
    own = _denials(rules.domains) if only_managed else rules.domains
    sockets = rules.unix_sockets
    if demands.unix_sockets is not None:
        sockets = strictest(_denials(sockets), demands.unix_sockets)
    replaced = {
        "allow_local_binding": demands.allow_local_binding,
        "allow_upstream_proxy": demands.allow_upstream_proxy,
        "dangerously_allow_all_unix_sockets": demands.dangerously_allow_all_unix_sockets,
    }
    return replace(
        rules,
        domains=MappingProxyType(strictest(demands.domains or {}, own)),
        unix_sockets=MappingProxyType(dict(sockets)),
        managed_domains_only=only_managed,
        review_domains=demands.review_domains or (),
        **{name: value for name, value in replaced.items() if value is not None},
    )


def strictest(one: Mapping[str, HostAction], other: Mapping[str, HostAction]) -> dict[str, HostAction]:
    """Both; what either denies is denied."""
    return {**one, **other, **_denials(one)}


def _denials(actions: Mapping[str, HostAction]) -> dict[str, HostAction]:
    return {name: action for name, action in actions.items() if action == "deny"}
