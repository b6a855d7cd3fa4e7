"""Records that hold secrets, and so must never be shown whole: not in logs, not in tracebacks."""

from msgspec import Struct


class Discreet(Struct, frozen=True):
    """A record whose `repr` names its kind and none of its values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"
