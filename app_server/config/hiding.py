"""Configuration as those may read it who are not to have its secrets."""

from collections.abc import Mapping
from typing import Any, cast

SECRET_KEYS = frozenset(
    {"api_key", "bearer_token", "env", "experimental_bearer_token", "headers", "http_headers", "query_params", "set"}
)
"""Settings, at any depth, that hold keys and tokens, themselves or in a table."""

HIDDEN = "(hidden)"


def without_secrets(value: Any, *, secret: bool = False) -> Any:
    """A copy in which every text of a secret setting is replaced."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {key: without_secrets(inner, secret=secret or key in SECRET_KEYS) for key, inner in table.items()}
    if isinstance(value, list):
        return [without_secrets(entry, secret=secret) for entry in cast("list[Any]", value)]
    return HIDDEN if secret and isinstance(value, str) else value
