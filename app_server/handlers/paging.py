"""Pages of lists that are small enough to count."""

from collections.abc import Sequence
from typing import TypeVar

from protocol.jsonrpc import invalid_request

T = TypeVar("T")

# No list is so long that more digits would matter, and Python refuses to read very many.
MOST_DIGITS = 18


def counted_page(items: Sequence[T], cursor: str | None, limit: int | None, what: str) -> tuple[list[T], str | None]:
    """The page that begins at a cursor, which is a position, and the cursor of the next one, None after the last.

    A limit of 0 counts as 1. Raises -32600 for a cursor that is none; `what` names the items in it.
    """
    start = 0
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= MOST_DIGITS):
            raise invalid_request(f"invalid cursor: {cursor[:100]}")
        start = int(cursor)
        if start > len(items):
            raise invalid_request(f"cursor {start} exceeds total {what} {len(items)}")
    end = len(items) if limit is None else start + max(1, limit)
    return list(items[start:end]), str(end) if end < len(items) else None
