"""Finding every repository below the writable roots, fast enough to do it before each command."""

import os
import stat
import threading
import time
from collections.abc import Sequence

from msgspec import Struct

from app_server.sandbox.sandbox import SandboxUnavailable

GIT = ".git"

HEAD = "HEAD"
BARE = frozenset((HEAD, "objects", "refs"))
"""What makes git take a directory itself for a repository; then `config` and `hooks` in it are obeyed."""

BARE_ORDERS = ("config", "hooks")

MARKS = frozenset((GIT, *BARE, *BARE_ORDERS))

SEARCHED_DIRECTORIES = 400_000
"""Directories looked into before the run is refused; some 10 microseconds each, a third of it when known already."""

KNOWN_DIRECTORIES = 100_000
"""Directories remembered between searches."""

SETTLED_NS = 2_000_000_000
"""How old a directory's last change must be for its time stamp to tell it from a later one, on any file system."""

NEVER_WRITABLE = ("/proc", "/sys", "/dev")
"""The sandbox has its own; writing to the machine's would reach past it."""


class _Known(Struct, frozen=True):
    """A directory as it was: the stamp that no program can set back, what to search below it, what to protect in it."""

    stamp: tuple[int, int, int]
    directories: tuple[str, ...]
    protected: tuple[str, ...]


class RepositorySearch:
    """Remembers directories from one search to the next, and looks again into those that have changed since.

    A directory's change time changes with its entries and cannot be set, so what is remembered is never out of date.
    Safe to use from any thread.
    """

    def __init__(self, limit: int = SEARCHED_DIRECTORIES) -> None:
        self._limit = limit
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def find(self, roots: Sequence[str]) -> list[str]:
        """Every `.git` entry below `roots`, and what bare repositories obey; no path has symbolic links.

        What cannot be read is passed over: the command cannot read it either. Raises SandboxUnavailable where there
        is too much to search.
        """
        with self._lock:
            return self._find(roots)

    def _find(self, roots: Sequence[str]) -> list[str]:
        found: list[str] = []
        waiting = [root for root in roots if not is_within_any(root, tuple(other for other in roots if other != root))]
        searched = 0
        while waiting:
            path = waiting.pop()
            searched += 1
            if searched > self._limit:
                raise SandboxUnavailable(
                    f"the writable roots hold more than {self._limit} directories, too many to find the repositories "
                    f"that must stay protected; choose narrower writable roots: {', '.join(roots)}"
                )
            if (directory := self._look_into(path)) is not None:
                found += [os.path.join(path, name) for name in directory.protected]
                waiting += directory.directories
        return found

    def _look_into(self, path: str) -> _Known | None:
        try:
            # Before the entries are read: a change in between then shows as one the next time.
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                return None
            stamp = (status.st_dev, status.st_ino, status.st_ctime_ns)
            known = self._known.get(path)
            if known is not None and known.stamp == stamp:
                return known
            directories: list[str] = []
            marks: set[str] = set()
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name in MARKS:
                        marks.add(entry.name)
                    if entry.name != GIT and entry.is_dir(follow_symlinks=False) and entry.path not in NEVER_WRITABLE:
                        directories.append(entry.path)
        except OSError:
            return None
        protected = [GIT] if GIT in marks else []
        if marks >= BARE:
            protected += [name for name in BARE_ORDERS if name in marks]
        directory = _Known(stamp, tuple(directories), tuple(protected))
        if time.time_ns() - status.st_ctime_ns > SETTLED_NS and (known or len(self._known) < KNOWN_DIRECTORIES):
            self._known[path] = directory
        else:
            self._known.pop(path, None)
        return directory


def is_within_any(path: str, directories: tuple[str, ...]) -> bool:
    """Whether a path is one of the directories or lies in one."""
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)
