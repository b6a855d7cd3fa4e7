"""What the token of a connection lets its client do: everything, everything but a shell, or only look."""

from collections.abc import Set

from msgspec import Struct

from protocol.methods import Access


class Scope(Struct, frozen=True):
    """A set of rights. `allows` says in words what is left, for the client that is refused something else.

    `access` are the kinds of request that are taken. `may_answer` tells whether the client is asked for approvals and
    its answers count, `may_amend` whether such an answer may also widen the rules for later commands, and
    `may_widen` whether it may loosen a thread's policy as far as it likes.
    """

    name: str
    allows: str
    access: Set[Access]
    may_answer: bool
    may_amend: bool
    may_widen: bool

    def __repr__(self) -> str:
        return f"Scope({self.name!r})"


FULL = Scope(
    "full",
    "everything",
    frozenset({"read", "act", "shell"}),
    may_answer=True,
    may_amend=True,
    may_widen=True,
)
NO_SHELL = Scope(
    "no-shell",
    "threads, turns and approvals, but no commands, files, configuration or policies that amount to a shell",
    frozenset({"read", "act"}),
    may_answer=True,
    may_amend=False,
    may_widen=False,
)
OBSERVE = Scope(
    "observe",
    "reading threads and following them, without changing anything",
    frozenset({"read"}),
    may_answer=False,
    may_amend=False,
    may_widen=False,
)

SCOPES = {scope.name: scope for scope in (FULL, NO_SHELL, OBSERVE)}
"""Every scope by the name that a token or an option gives it."""


def out_of_scope(scope: Scope, what: str) -> str:
    """The sentence for a client whose token does not allow `what`."""
    return (
        f"{what} is not allowed: the token of this connection has the scope `{scope.name}`, which allows {scope.allows}"
    )
