"""Pages of short lists."""

from collections.abc import Sequence
from typing import TypeVar

from protocol.jsonrpc import invalid_request

T = TypeVar("T")


def page_by_offset(found: Sequence[T], cursor: str | None, limit: int | None, what: str) -> tuple[list[T], str | None]:
    """The entries from where `cursor`, a number, points to, at most `limit` (at least one), and the next cursor.

    Raises -32600 for a cursor that is no number or lies behind the end of `what` is listed.
    """
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise invalid_request(f"invalid cursor: {cursor}")
    # No list is so long that more digits would matter, and Python refuses to read very many.
    start = int((cursor or "0")[:18])
    if start > len(found):
        raise invalid_request(f"cursor {cursor} exceeds total {what} {len(found)}")
    end = len(found) if limit is None else start + max(1, limit)
    return list(found[start:end]), str(end) if end < len(found) else None
