"""Exec rules, merged: which commands the user allows, wants to be asked about, or forbids."""

import os.path
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

from msgspec import Struct

Decision = Literal["allow", "prompt", "forbidden"]
"""What a rule says; the later one is the stricter one."""

NetworkProtocol = Literal["http", "https", "socks5_tcp", "socks5_udp"]
HostAction = Literal["allow", "ask", "deny"]

_HOST_ACTIONS: Mapping[Decision, HostAction] = {"allow": "allow", "prompt": "ask", "forbidden": "deny"}

_STRICTNESS: Mapping[Decision, int] = {"allow": 0, "prompt": 1, "forbidden": 2}

SYSTEM_FOLDERS = frozenset(
    {
        "/bin",
        "/sbin",
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/opt/homebrew/bin",
        "/run/current-system/sw/bin",
    }
)
"""Where programs are that no sandboxed command can have put there."""


class PrefixRule(Struct, frozen=True):
    """Commands that begin with `pattern`, each element of which is the words that may stand there."""

    pattern: tuple[tuple[str, ...], ...]
    decision: Decision = "allow"
    justification: str | None = None

    def matches(self, argv: Sequence[str]) -> bool:
        """Whether the command begins with the pattern."""
        pattern = self.pattern
        if len(argv) < len(pattern):
            return False
        return all(word in words for word, words in zip(argv, pattern, strict=False))


class NetworkRule(Struct, frozen=True):
    """What is decided about one host, in lower case and without port, and one protocol."""

    host: str
    protocol: NetworkProtocol
    decision: Decision
    justification: str | None = None


class HostExecutable(Struct, frozen=True):
    """The only absolute paths at which rules about the program `name` hold."""

    name: str
    paths: tuple[str, ...]


class RuleMatch(Struct, frozen=True):
    """One rule that matched. `resolved_program` is the path, where a rule about its last part matched."""

    matched_prefix: tuple[str, ...]
    decision: Decision
    justification: str | None = None
    resolved_program: str | None = None


class Verdict(Struct, frozen=True):
    """What the rules say of one command: the strictest decision, or None where no rule matched."""

    decision: Decision | None = None
    matched: tuple[RuleMatch, ...] = ()


_NO_MATCH = Verdict()


class RuleSet(Struct, frozen=True, dict=True):
    """All rules that are in force."""

    prefix_rules: tuple[PrefixRule, ...] = ()
    host_executables: tuple[HostExecutable, ...] = ()
    network_rules: tuple[NetworkRule, ...] = ()

    @cached_property
    def _by_program(self) -> Mapping[str, tuple[PrefixRule, ...]]:
        by_program: dict[str, list[PrefixRule]] = {}
        for rule in self.prefix_rules:
            for program in dict.fromkeys(rule.pattern[0]):
                by_program.setdefault(program, []).append(rule)
        return {name: tuple(rules) for name, rules in by_program.items()}

    @cached_property
    def _paths(self) -> Mapping[str, frozenset[str]]:
        # A later definition replaces an earlier one: the file of the stronger layer has the last word.
        return {known.name: frozenset(known.paths) for known in self.host_executables}

    def evaluate(
        self, argv: Sequence[str], *, resolve_programs: bool = True, any_folder: bool = False, cwd: str = "/"
    ) -> Verdict:
        """What the rules say of one plain command.

        With `resolve_programs`, rules about a bare name hold for a path that ends in it too: an allow rule only at the
        paths of `host_executable`, or in the system's folders where there is none (in `any_folder` if asked for). A
        relative path is one below `cwd`.
        """
        if not argv or not self._by_program:
            return _NO_MATCH
        exact = [
            RuleMatch(tuple(argv[: len(rule.pattern)]), rule.decision, rule.justification)
            for rule in self._by_program.get(argv[0], ())
            if rule.matches(argv)
        ]
        if exact:
            return _verdict(exact)
        if resolve_programs and "/" in argv[0]:
            return _verdict(self._matches_of_path(argv, os.path.join(cwd, argv[0]), any_folder))
        return _NO_MATCH

    def host_actions(self) -> tuple[tuple[str, HostAction], ...]:
        """What the network rules say about whole hosts: as with the reference, whatever protocol they name."""
        return tuple((rule.host, _HOST_ACTIONS[rule.decision]) for rule in self.network_rules)

    def merged(self, other: "RuleSet") -> "RuleSet":
        """These rules, and after them the other's."""
        return RuleSet(
            self.prefix_rules + other.prefix_rules,
            self.host_executables + other.host_executables,
            self.network_rules + other.network_rules,
        )

    def without_allowances(self) -> "RuleSet":
        """Only what asks or forbids."""
        return RuleSet(
            tuple(rule for rule in self.prefix_rules if rule.decision != "allow"),
            self.host_executables,
            tuple(rule for rule in self.network_rules if rule.decision != "allow"),
        )

    def _matches_of_path(self, argv: Sequence[str], path: str, any_folder: bool) -> Iterable[RuleMatch]:
        # After a symbolic link `..` leads elsewhere than it reads: such a path is never taken for a trusted one.
        certain = any_folder or ".." not in path.split("/")
        path = os.path.normpath(path)
        folder, name = os.path.split(path)
        bare = (name, *argv[1:])
        listed = self._paths.get(name)
        at_home = any_folder or folder in SYSTEM_FOLDERS if listed is None else path in listed
        for rule in self._by_program.get(name, ()):
            holds = at_home and certain if rule.decision == "allow" else at_home or listed is None
            if holds and rule.matches(bare):
                yield RuleMatch(bare[: len(rule.pattern)], rule.decision, rule.justification, path)


def _verdict(matches: Iterable[RuleMatch]) -> Verdict:
    matched = tuple(matches)
    return Verdict(strictest([match.decision for match in matched]), matched)


def strictest(decisions: Sequence[Decision | None]) -> Decision | None:
    """The one that counts where several apply; None where there is none."""
    given: list[Decision] = [decision for decision in decisions if decision is not None]
    return max(given, key=_STRICTNESS.__getitem__) if given else None
