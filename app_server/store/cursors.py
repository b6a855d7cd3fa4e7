"""Paging cursors: opaque to clients, checked when they come back."""

from msgspec import Struct

from app_server.store.errors import BadCursor


class Cursor(Struct, frozen=True):
    """A place in a list, which `scope` names without "|". `inclusive`: the row at the place is part of the page."""

    scope: str
    place: tuple[int, ...]
    inclusive: bool

    def encode(self) -> str:
        return "|".join([self.scope, *map(str, self.place), "from" if self.inclusive else "after"])


def decode(text: str, scope: str, length: int) -> Cursor:
    """The cursor of `length` numbers that `encode` wrote for this scope; anything else is a `BadCursor`."""
    head, *numbers, tail = text.split("|") if text.count("|") == length + 1 else ("", "")
    if head != scope or tail not in {"from", "after"} or len(numbers) != length:
        raise BadCursor(text)
    try:
        place = tuple(int(number) for number in numbers)
    except ValueError:
        raise BadCursor(text) from None
    if any(abs(number) >= 1 << 62 for number in place):
        raise BadCursor(text)
    return Cursor(scope, place, tail == "from")
