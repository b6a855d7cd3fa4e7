"""Split a shell line into plain commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tree_sitter import Parser


@dataclass(frozen=True, slots=True)
class Split:
    """The commands of a call.

    `plain`: each of `commands` is words alone. `complex`: one command that reads a here-document, to be judged by its
    beginning. `opaque`: anything else, the whole argv as one command.
    """

    commands: tuple[tuple[str, ...], ...]
    kind: Literal["plain", "complex", "opaque"]


def split(argv: Sequence[str]) -> Split:
    """The plain commands that `argv` runs, looking into `[sh|bash|zsh, -c|-lc, script]`. Never raises."""
    return Split((tuple(argv),), "opaque")


def canonical(argv: Sequence[str]) -> tuple[str, ...]:
    """The command with spacing and quoting taken out: equal for calls that run the same."""
    return tuple(argv)


@cache
def _parser() -> "Parser":
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))
