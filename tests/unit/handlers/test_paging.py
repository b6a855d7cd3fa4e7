"""Pages of short lists."""

import pytest

from app_server.handlers.paging import counted_page
from protocol.jsonrpc import RpcError


def test_pages_follow_each_other_to_the_end() -> None:
    pages: list[list[int]] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page, cursor = counted_page(range(5), cursor, 2, "numbers")
        pages.append(page)
    assert pages == [[0, 1], [2, 3], [4]]
    assert counted_page(range(5), None, None, "numbers") == ([0, 1, 2, 3, 4], None)
    assert counted_page(range(5), None, 0, "numbers") == ([0], "1")
    for wrong in ("x", "-1", "6", "9" * 5000, ""):
        with pytest.raises(RpcError):
            counted_page(range(5), wrong, 2, "numbers")
