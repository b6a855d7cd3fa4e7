"""The settings that config.toml may hold, at any depth, whether or not this program acts on them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from app_server.config.kinds import ANY_NAME, EITHER, REQUIRED, Kind, mismatches

Known = Mapping[str, Kind]
"""Keys, each with the kind of its value."""

SHORT_FORMS = frozenset({("tools", "web_search")})
"""Tables that may be true or false instead, as their older form was."""


@cache
def known_keys() -> Known:
    """All known settings."""
    from app_server.config.features import known_features

    keys = cast("dict[str, Any]", _spread(json.loads(Path(__file__).with_name("known_keys.json").read_bytes())))
    return {**keys, "features": {**dict.fromkeys(known_features(), "flag"), **keys["features"]}}


def unknown_keys(table: Mapping[str, Any], known: Known | None = None) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """The path of each setting that nobody knows, with the most similar known name at that place, if one is similar.

    The place in a list of tables is part of a path, counted from 0.
    """
    known = known_keys() if known is None else known
    for key, value in table.items():
        inner = known.get(key, known.get(ANY_NAME))
        if inner is None:
            yield (key,), _nearest(key, known)
        elif isinstance(inner, Mapping) and isinstance(value, dict) and EITHER not in inner:
            for path, near in unknown_keys(cast("dict[str, Any]", value), inner):
                yield (key, *path), near
        elif ANY_NAME in known and len(known) > 1 and key not in known and not isinstance(value, dict):
            # A single value among tables that users name: a setting whose name is wrong.
            yield (key,), _nearest(key, known)
        elif _holds_tables(inner) and isinstance(value, list):
            for number, entry in enumerate(cast("list[Any]", value)):
                if isinstance(entry, dict):
                    for path, near in unknown_keys(cast("dict[str, Any]", entry), cast("list[Known]", inner)[0]):
                        yield (key, str(number), *path), near


def misshapen(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each setting whose value is of the wrong kind or none of those that there are, and what it must be.

    A path goes on into lists with the place in them, counted from 0.
    """
    for path, message in mismatches(known_keys(), table):
        if not (path in SHORT_FORMS and isinstance(table["tools"]["web_search"], bool)):
            yield path, message
    features = table.get("features")
    if isinstance(features, dict):
        for name, value in cast("dict[str, Any]", features).items():
            if name not in cast("Known", known_keys()["features"]):
                yield from mismatches("flag", value, ("features", name))


def unreachable_servers(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each MCP server that cannot be connected to as it is described in the merged table, and why."""
    servers = table.get("mcp_servers")
    for name, server in cast("dict[str, Any]", servers if isinstance(servers, dict) else {}).items():
        if isinstance(server, dict) and (reason := _no_transport(cast("dict[str, Any]", server))) is not None:
            yield ("mcp_servers", name), reason


_OF_COMMAND = ("args", "env", "env_vars", "cwd")
_OF_URL = ("bearer_token_env_var", "http_headers", "env_http_headers", "oauth", "oauth_resource", "auth")


def _no_transport(server: Mapping[str, Any]) -> str | None:
    if ("command" in server) == ("url" in server):
        return "must have either `command` or `url`"
    if "bearer_token" in server:
        return "`bearer_token` is not supported; name a variable with `bearer_token_env_var`"
    way, others = ("command", _OF_URL) if "command" in server else ("url", _OF_COMMAND)
    return next((f"`{key}` is not for a server with `{way}`" for key in others if key in server), None)


def _spread(kind: Any) -> Any:
    """A kind as it is meant: names that stand together in the file have the same kind."""
    if isinstance(kind, dict):
        table = cast("dict[str, Any]", kind)
        return {name: _spread(inner) for names, inner in table.items() for name in names.split()}
    return kind if not isinstance(kind, list) else [_spread(inner) for inner in cast("list[Any]", kind)]


def _holds_tables(kind: Kind) -> bool:
    return isinstance(kind, list) and isinstance(kind[0], Mapping) and EITHER not in kind[0]


def _nearest(key: str, known: Known) -> str | None:
    import difflib

    near = difflib.get_close_matches(key, [name for name in known if name not in (ANY_NAME, REQUIRED)], 1)
    return near[0] if near else None
