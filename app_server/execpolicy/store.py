"""The rules files of one daemon: read when they change, and added to when the user allows a prefix for good."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app_server.execpolicy.rules import RuleSet


class RulesError(Exception):
    """A rule could not be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """A rules file that cannot be used, as the `configWarning` about it: summary and details."""

    path: Path
    summary: str
    details: str


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The rules of some folders, merged, weakest layer first; the same object as long as no file changes."""

    rules: RuleSet = field(default_factory=RuleSet)
    problems: tuple[RuleProblem, ...] = ()


class RulesStore:
    """Knows the rules files. `folders` are the config layers' `rules` folders, weakest first."""

    def __init__(self, codex_home: Path) -> None:
        self.folder = codex_home / "rules"
        """Where amendments go: `default.rules` in it."""

    async def current(self, folders: Sequence[Path]) -> LoadedRules:
        """The rules as the files are now; files that did not change are not read again."""
        return LoadedRules()

    async def append_prefix(self, prefix: Sequence[str]) -> None:
        """Allow commands that begin with `prefix` from now on, here and in every daemon on this home.

        Raises RulesError when the file cannot be written.
        """
