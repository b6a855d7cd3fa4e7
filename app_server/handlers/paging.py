"""Pages of lists that are small enough to count."""

from collections.abc import Sequence
from typing import TypeVar

from protocol.jsonrpc import invalid_request

T = TypeVar("T")


def counted_page(
    items: Sequence[T], cursor: str | None, limit: int | None, what: str
) -> tuple[Sequence[T], str | None]:
    """The page that begins at a cursor, which is a position, and the cursor of the next one, None after the last.

    A limit of 0 counts as 1. Raises -32600 for a cursor that is none; `what` names the items in it.
    """
    start = 0
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit()):
            raise invalid_request(f"invalid cursor: {cursor}")
        start = int(cursor[:9])
        if start > len(items):
            raise invalid_request(f"cursor {start} exceeds total {what} {len(items)}")
    end = len(items) if limit is None else start + max(1, limit)
    return items[start:end], str(end) if end < len(items) else None
