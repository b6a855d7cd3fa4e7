"""What a command confined by Landlock may read and change, path by path; part of the helper process."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping

READ, WRITE, DENY = 1, 2, 0

DEVICES = b"/dev"
"""Nothing in it may be opened but the few that every program needs."""


class Area:
    """Rules about paths that are absolute and free of symbolic links.

    `rules` says of some paths whether they may be read, changed as well, or neither; the innermost decides, and there
    is always one about `/`. What is in `closed` may never be changed, nor may an entry that has one of `names` at the
    top of a directory that may. `split` are directories that hold something with rules of its own, `granted` those
    below which everything may be changed, so that Landlock can give them as a whole. `listed` are directories that may
    be listed though something in them may not be read.
    """

    def __init__(self, rules: Mapping[bytes, int], closed: Iterable[bytes], names: Iterable[bytes]) -> None:
        """The area as the files are now."""
        self._rules = rules
        self._tops = {path for path, access in rules.items() if access == WRITE}
        self._names = {name.lower() for name in names}
        directories = [path for path in self._tops if os.path.isdir(path)]
        self._closed = {*closed, *(os.path.join(path, name) for path in directories for name in names)}
        self.split = frozenset(step for path in (*rules, *self._closed) for step in ancestors(path)[1:])
        self._kept = {DEVICES, *(path for path in rules if self._reads_otherwise(path))}
        kept_in = {step for path in self._kept for step in ancestors(path)[1:]}
        self.listed = frozenset(path for path in kept_in if self.may_read(path))
        self.granted = {
            path
            for top in directories
            for path in _parts(top, self.split, self.may_change)
            if not path.startswith(DEVICES + b"/") and is_directory(path)
        }

    def _reads_otherwise(self, path: bytes) -> bool:
        """Whether the rule about a path changes what may be read."""
        return path != b"/" and (self._rules[path] == DENY) != (self._decided(os.path.dirname(path)) == DENY)

    def _decided(self, path: bytes) -> int:
        return next(self._rules[step] for step in ancestors(path) if step in self._rules)

    def may_read(self, path: bytes) -> bool:
        """Whether the file or directory at a path may be read."""
        return self._decided(path) != DENY

    def may_change(self, path: bytes) -> bool:
        """Whether the file or directory at a path may be changed."""
        if not path.startswith(b"/") or self._decided(path) != WRITE:
            return False
        for step in ancestors(path):
            parent, name = os.path.split(step)
            if step in self._closed or (parent in self._tops and name.lower() in self._names):
                return False
        return True

    def may_move(self, path: bytes) -> bool:
        """Whether the entry itself may go, come or be replaced."""
        return self.may_change(path) and path not in self.split and path not in self._rules

    def is_granted(self, path: bytes) -> bool:
        """Whether Landlock allows changes there."""
        return any(step in self.granted for step in ancestors(path))

    def forget(self, path: bytes) -> None:
        """A directory is no longer where it was."""
        self.granted.discard(path)

    def readable(self) -> Iterable[bytes]:
        """What together makes up everything that exists now and may be read."""
        above = {step for path in self._kept for step in ancestors(path)[1:]}
        return _parts(b"/", above, lambda path: path != DEVICES and self.may_read(path))

    def writable_files(self) -> Iterable[bytes]:
        """The single files that may be changed."""
        return [path for path in self._tops if not is_directory(path) and self.may_change(path)]


def ancestors(path: bytes) -> list[bytes]:
    """The path and everything above it."""
    steps = [path]
    while path not in (b"/", b""):
        path = os.path.dirname(path)
        steps.append(path)
    return steps


def is_directory(path: bytes) -> bool:
    """Whether there is a directory, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _parts(path: bytes, split: Iterable[bytes], wanted: Callable[[bytes], bool]) -> Iterable[bytes]:
    """The outermost paths at or below `path` that are `wanted` and not `split`."""
    if path not in split:
        if wanted(path):
            yield path
        return
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for entry in below:
        yield from _parts(entry, split, wanted)
