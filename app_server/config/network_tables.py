"""Reading the rules of the network: `[features.network_proxy]`, `[permissions.NAME.network]`, and requirements.toml."""

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from app_server.config.hosts import means_everything, normalised_pattern
from app_server.config.network_proxy import (
    NO_NETWORK,
    HostAction,
    ManagedNetwork,
    NetworkMode,
    NetworkRequirements,
    NetworkTable,
)
from app_server.config.table import TableReader

SWITCHES = ("allow_local_binding", "enable_socks5", "allow_upstream_proxy", "dangerously_allow_all_unix_sockets")
UNUSED_SWITCHES = ("enable_socks5_udp", "dangerously_allow_non_loopback_proxy")
"""Accepted, and of no effect: the proxy never listens but on this machine, and carries no UDP."""
UNUSED_TEXTS = ("proxy_url", "socks_url")
"""Accepted, and of no effect: the proxy takes a free port."""
ACTIONS = ("domains", "unix_sockets", "allowed_domains", "denied_domains", "allow_unix_sockets")
KEYS = ("enabled", "mode", *SWITCHES, *UNUSED_SWITCHES, *UNUSED_TEXTS, *ACTIONS, "on_denial", "learn", "mitm")

DEMANDED_SWITCHES = (
    "enabled",
    "allow_upstream_proxy",
    "allow_local_binding",
    "dangerously_allow_non_loopback_proxy",
    "dangerously_allow_all_unix_sockets",
    "managed_allowed_domains_only",
)
PORTS = ("http_port", "socks_port")
DEMANDED_KEYS = (*DEMANDED_SWITCHES, *PORTS, *ACTIONS, "review_domains")
SURFACES = (("experimental_network",), ("network_proxy",), ("permissions", "network"))
"""Where requirements.toml may have the demands; in one place only."""

NO_MITM = "rules for single requests (`mitm`) are not supported yet; remove the table"
EVERYTHING_DENIED = (
    "`{}` cannot be denied, since it means every host; what is not allowed is asked about, and without a network "
    "nothing is reached"
)


def read_network_feature(reader: TableReader) -> tuple[NetworkTable | None, bool]:
    """`features.network_proxy`, and whether all of it could be read; None where it is off.

    A table of rules without `enabled` is on: nobody writes rules to have none.
    """
    features: Any = reader.raw("features")
    if not isinstance(features, dict):
        return None, True
    features = reader.table("features")
    value = features.raw("network_proxy")
    if value is None or value is False:
        return None, True
    if value is True:
        return NetworkTable(), True
    if not isinstance(value, dict):
        features.problem("network_proxy", "must be true, false or a table", decisive=True)
        return None, False
    known = len(reader.problems)
    table = read_network_table(features.table("network_proxy"), decisive=True)
    on = bool(cast("dict[str, Any]", value)) if table.enabled is None else table.enabled
    return (table if on else None), len(reader.problems) == known


def read_network_table(entry: TableReader, *, decisive: bool) -> NetworkTable:
    """One table of rules. What is wrong is a problem, and left out."""
    entry.refuse_unknown(KEYS, decisive=decisive)
    if entry.raw("mitm") is not None:
        entry.problem("mitm", NO_MITM, decisive=decisive)
    for name in UNUSED_SWITCHES:
        entry.flag(name, decisive=decisive)
    for name in UNUSED_TEXTS:
        entry.text(name, decisive=decisive)
    on_denial = entry.choice("on_denial", ("report", "terminate"), decisive=decisive)
    domains, sockets = _read_actions(entry, decisive=decisive)
    return NetworkTable(
        enabled=entry.flag("enabled", decisive=decisive),
        mode=cast("NetworkMode | None", entry.choice("mode", ("full", "limited"), decisive=decisive)),
        domains=MappingProxyType(domains or {}),
        unix_sockets=MappingProxyType(sockets or {}),
        learn=entry.flag("learn", decisive=decisive),
        terminate_on_denial=None if on_denial is None else on_denial == "terminate",
        **{name: entry.flag(name, decisive=decisive) for name in SWITCHES},
    )


def read_network_requirements(reader: TableReader) -> NetworkRequirements | None:
    """What requirements.toml demands of the network; None if nothing. Where it is wrong there is no network."""
    found = [path for path in SURFACES if _has(reader, path)]
    if not found:
        return None
    known = len(reader.problems)
    if len(found) > 1:
        names = " and ".join(f"`[{'.'.join(path)}]`" for path in found)
        reader.problem(found[1][0], f"the network has demands in {names}; put them in one place", decisive=True)
        return NO_NETWORK
    entry = reader
    for name in found[0]:
        entry = entry.table(name, decisive=True)
    entry.refuse_unknown(DEMANDED_KEYS, decisive=True)
    said: dict[str, Any] = {name: entry.flag(name, decisive=True) for name in DEMANDED_SWITCHES}
    for name in PORTS:
        said[name] = port = entry.count(name, decisive=True)
        if port is not None and port > 65535:
            entry.problem(name, "must be a port, at most 65535", decisive=True)
    domains, sockets = _read_actions(entry, decisive=True)
    demands = NetworkRequirements(
        **said,
        domains=None if domains is None else MappingProxyType(domains),
        unix_sockets=None if sockets is None else MappingProxyType(sockets),
        review_domains=_read_reviewed(entry),
    )
    return demands if len(reader.problems) == known else NO_NETWORK


def _read_reviewed(entry: TableReader) -> tuple[str, ...] | None:
    texts = entry.texts("review_domains", decisive=True)
    if texts is None:
        return None
    patterns: list[str] = []
    for text in texts:
        try:
            patterns.append(normalised_pattern(text))
        except ValueError as error:
            entry.problem("review_domains", str(error), decisive=True)
    return tuple(patterns)


def managed_network(reader: TableReader, demands: NetworkRequirements | None) -> ManagedNetwork:
    """What the merged configuration and the demands come to."""
    feature, understood = read_network_feature(reader)
    return ManagedNetwork(feature, demands, unreadable=not understood)


def _has(reader: TableReader, path: tuple[str, ...]) -> bool:
    value: Any = {name: reader.raw(name) for name in reader.names()}
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = cast("Mapping[str, Any]", value)[name]
    return True


def _read_actions(
    entry: TableReader, *, decisive: bool
) -> tuple[dict[str, HostAction] | None, dict[str, HostAction] | None]:
    """Domains and sockets, from tables or from the lists that are their older form; None where nothing is said."""
    domains: dict[str, HostAction] = {}
    lists: dict[str, HostAction] = {"allowed_domains": "allow", "denied_domains": "deny"}
    for where, key, text, action in _written(entry, "domains", lists, decisive=decisive):
        try:
            pattern = normalised_pattern(text)
        except ValueError as error:
            where.problem(key, str(error), decisive=decisive)
            continue
        if action == "deny" and means_everything(pattern):
            where.problem(key, EVERYTHING_DENIED.format(text), decisive=decisive)
        else:
            _add(domains, pattern, action)
    sockets: dict[str, HostAction] = {}
    lists = {"allow_unix_sockets": "allow"}
    for where, key, path, action in _written(entry, "unix_sockets", lists, decisive=decisive):
        if os.path.isabs(path):
            _add(sockets, os.path.normpath(path), action)
        else:
            where.problem(key, f"the path of a socket must be absolute, unlike `{path}`", decisive=decisive)
    says_domains = any(entry.raw(name) is not None for name in ("domains", "allowed_domains", "denied_domains"))
    says_sockets = any(entry.raw(name) is not None for name in ("unix_sockets", "allow_unix_sockets"))
    return domains if says_domains else None, sockets if says_sockets else None


def _written(
    entry: TableReader, name: str, lists: Mapping[str, HostAction], *, decisive: bool
) -> Iterator[tuple[TableReader, str, str, HostAction]]:
    """What a table, or the lists, say about each host or socket, and where, for problems with it."""
    table = entry.table(name, decisive=decisive)
    for text in table.names():
        action = table.choice(text, ("allow", "deny"), decisive=decisive)
        if action is not None:
            yield table, text, text, cast("HostAction", action)
        elif table.raw(text) is None:
            table.problem(text, "must be one of `allow`, `deny`", decisive=decisive)
    for older, action in lists.items():
        texts = entry.texts(older, decisive=decisive)
        if texts is not None and entry.raw(name) is not None:
            text = f"`{older}` is an older form of `{name}` and cannot be used beside it"
            entry.problem(older, text, decisive=decisive)
        for text in texts or ():
            yield entry, older, text, action


def _add(actions: dict[str, HostAction], name: str, action: HostAction) -> None:
    """Note one action; of two for different spellings of one thing a denial counts."""
    if actions.get(name) != "deny":
        actions[name] = action
