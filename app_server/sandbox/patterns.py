"""Patterns of paths that a profile denies: what they match, and finding it."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from msgspec.structs import replace

from app_server.sandbox.permissions import PermissionProfile

ENTRIES = 200_000
"""Entries of folders that are looked at for one command before it is refused: some 100 ms."""


class SearchTooLong(Exception):
    """There is too much to look at; the message says where, and the remedy."""


Steps = tuple[str, ...]
"""A pattern, name by name; `**` stands for any number of folders."""


def escaped(path: str) -> str:
    """`path` as the pattern that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def matches_any(path: str, patterns: Iterable[str]) -> bool:
    """Whether an absolute path, or a folder that it lies in, matches one of the absolute patterns."""
    names = path.split("/")[1:]
    return any(_matches(names, tuple(pattern.split("/")[1:])) for pattern in patterns)


def with_matches(profile: PermissionProfile) -> PermissionProfile:
    """`profile` with what its patterns match now among the denied paths, and no patterns.

    Walks folders: call it in a worker thread. Raises SearchTooLong.
    """
    found = dict.fromkeys(profile.denied)
    for base, patterns in _by_base(profile.denied_patterns).items():
        budget = iter(range(ENTRIES))
        for path in _find(base, frozenset(patterns), 1, profile.pattern_depth, budget):
            # What a link leads to is what would be read by its name.
            found[os.path.realpath(path)] = None
        if next(budget, None) is None:
            raise SearchTooLong(
                f"{base} has too many files to find those that a permission profile denies by pattern (more than "
                f"{ENTRIES}); set `glob_scan_max_depth` in the profile's `filesystem` table, or narrow the patterns"
            )
    return replace(profile, denied=tuple(found), denied_patterns=(), pattern_depth=None)


def _by_base(patterns: Sequence[str]) -> dict[str, list[Steps]]:
    """The patterns by the folder in which their first wildcard stands."""
    found: dict[str, list[Steps]] = {}
    for pattern in patterns:
        names = pattern.split("/")[1:]
        plain = 0
        while plain < len(names) - 1 and (literal := _literal(names[plain])) is not None:
            names[plain] = literal
            plain += 1
        found.setdefault("/" + "/".join(names[:plain]), []).append(tuple(names[plain:]))
    return found


def _find(
    folder: str, wanted: frozenset[Steps], depth: int, deepest: int | None, budget: Iterator[int]
) -> Iterator[str]:
    try:
        entries = os.scandir(folder)
    except OSError:
        return  # not there, or not readable for the command either
    inner: list[tuple[str, frozenset[Steps]]] = []
    with entries:
        for entry in entries:
            if next(budget, None) is None:
                return
            matched, left = _step(entry.name, wanted)
            if matched:
                yield entry.path
            elif left and (deepest is None or depth < deepest) and entry.is_dir(follow_symlinks=False):
                inner.append((entry.path, left))
    for path, left in inner:
        yield from _find(path, left, depth + 1, deepest, budget)


def _step(name: str, wanted: frozenset[Steps]) -> tuple[bool, frozenset[Steps]]:
    """Whether an entry of that name matches, and what is wanted within it if it is a folder."""
    left: set[Steps] = set()
    waiting = list(wanted)
    while waiting:
        first, *others = steps = waiting.pop()
        if first == "**":
            left.add(steps)
            if others:
                waiting.append(tuple(others))
        elif _expression(first).fullmatch(name):
            if not others:
                return True, frozenset()
            left.add(tuple(others))
    return False, frozenset(left)


def _matches(names: Sequence[str], pattern: Steps) -> bool:
    wanted = frozenset([pattern])
    for name in names:
        matched, wanted = _step(name, wanted)
        if matched:
            return True
        if not wanted:
            return False
    return False


def _literal(name: str) -> str | None:
    """The one name that a part of a pattern matches, if it is only one."""
    plain = re.sub(r"\[([*?\[])\]", r"\1", name)
    return plain if escaped(plain) == name else None


@cache
def _expression(part: str) -> re.Pattern[str]:
    found: list[str] = []
    at = 0
    while at < len(part):
        character = part[at]
        chosen = _CLASS.match(part, at) if character == "[" else None
        if chosen is not None:
            negated, inside = chosen[1], chosen[2].replace("\\", "\\\\").replace("[", "\\[")
            found.append(f"[{'^' if negated else ''}{inside}]")
            at = chosen.end()
            continue
        found.append({"*": ".*", "?": "."}.get(character) or re.escape(character))
        at += 1
    return re.compile("".join(found), re.DOTALL)


_CLASS = re.compile(r"\[([!^]?)(\]?[^\]]*)\]")
