"""Values out of files that anybody may have written: what has the wrong type counts as absent."""

from collections.abc import Mapping
from typing import Any, cast

Table = Mapping[str, Any]


def table_in(value: Any) -> Table:
    """`value` if it is a table, else an empty one."""
    return cast("Table", value) if isinstance(value, dict) else {}


def list_in(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(table: Table, key: str) -> str | None:
    """The text at `key`; None if there is none or it is empty."""
    value = table.get(key)
    return value or None if isinstance(value, str) else None


def texts(value: Any) -> list[str]:
    """The texts of a list, and nothing else of it."""
    return [entry for entry in list_in(value) if isinstance(entry, str)]


def line(table: Table, key: str) -> str | None:
    """The text at `key` on one line, without space around it; None if nothing is left."""
    value = text(table, key)
    return None if value is None else " ".join(value.split()) or None
