"""The settings that config.toml may hold, at any depth, whether or not this program acts on them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

ANY_NAME = "*"
"""In a table of known keys: what a key may hold that users name themselves."""

Known = Mapping[str, Any]
"""Keys, each with the keys of its table, or with 1 where it holds a value or a table of any content."""


SHORT_FORMS = frozenset({("tools", "web_search")})
"""Tables that may be true or false instead, as their older form was."""


@cache
def known_keys() -> Known:
    """All known settings."""
    from app_server.config.features import known_features

    keys: dict[str, Any] = json.loads(Path(__file__).with_name("known_keys.json").read_bytes())
    return {**keys, "features": dict.fromkeys(known_features(), 1)}


def unknown_keys(table: Mapping[str, Any], known: Known | None = None) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """The path of each setting that nobody knows, with the most similar known name at that place, if one is similar."""
    known = known_keys() if known is None else known
    for key, value in table.items():
        inner: Any = known.get(key, known.get(ANY_NAME))
        if inner is None:
            yield (key,), _nearest(key, known)
        elif isinstance(inner, Mapping) and isinstance(value, dict):
            for path, near in unknown_keys(cast("dict[str, Any]", value), cast("Known", inner)):
                yield (key, *path), near
        elif ANY_NAME in known and len(known) > 1 and key not in known and not isinstance(value, dict):
            # A single value among tables that users name: a setting whose name is wrong.
            yield (key,), _nearest(key, known)


def misshapen(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path of each known setting whose value is of the wrong kind, as far as names tell, and what it must be."""
    yield from _no_tables(table, {**known_keys(), "hooks": {}, "plugins": {ANY_NAME: {}}})
    features = table.get("features", {})
    if not isinstance(features, dict):
        yield ("features",), "must be a table"
        return
    for name, value in cast("dict[str, Any]", features).items():
        if not isinstance(value, bool | dict):
            yield ("features", name), "must be true or false"


def _no_tables(
    table: Mapping[str, Any], known: Known, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in table.items():
        inner, here = known.get(key, known.get(ANY_NAME)), (*path, key)
        if not isinstance(inner, Mapping) or here[:-1] == ("features",):
            continue
        if isinstance(value, dict):
            yield from _no_tables(cast("dict[str, Any]", value), cast("Known", inner), here)
        elif here not in SHORT_FORMS:
            yield here, "must be a table"


def _nearest(key: str, known: Known) -> str | None:
    import difflib

    near = difflib.get_close_matches(key, [name for name in known if name != ANY_NAME], 1)
    return near[0] if near else None
