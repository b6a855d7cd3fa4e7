"""All files and folders below a root, as a search wants them, kept and checked against the file system."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Lock
from typing import TypeVar

from msgspec import Struct

from app_server.files.fuzzy import fold
from app_server.files.ignore import TELLING, IgnoreFile, Scope, Signature, scope_of_root, signature

LINES = 2048
"""How many paths are looked at between two moments in which other threads may run."""

MAX_PATHS = 500_000
"""How many paths of one root are searched: those nearest to it."""

TRUST_SECONDS = 30.0
"""How long a folder is taken as it was while its time of change says so: some file systems do not keep that time."""

_FINE_NS, _COARSE_NS = 20_000_000, 2_100_000_000
"""How long after a change a folder may change again without another time of change, by what its clock can tell."""

_LOOK_AGAIN = 0.02
_BREATH_SECONDS, _PAUSE_SECONDS = 0.002, 0.00002

Identity = tuple[int, int]
"""Device and inode."""


T = TypeVar("T")

Progress = Callable[[Callable[[], Iterable[T]]], None]
"""Called now and then with what gives what was found so far."""


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Breath:
    """Lets other threads run, which one that only computes does not do often enough by itself."""

    def __init__(self, abandoned: Event) -> None:
        self._abandoned, self._last = abandoned, time.monotonic()

    def __call__(self) -> None:
        """Let them, if it is time to. Raises Abandoned once that is so."""
        if self._abandoned.is_set():
            raise Abandoned
        if time.monotonic() - self._last > _BREATH_SECONDS:
            # Not 0: whoever gives the interpreter lock away and asks for it again at once, gets it.
            time.sleep(_PAUSE_SECONDS)
            self._last = time.monotonic()


class Chunk(Struct, frozen=True):
    """Paths of files, or of folders, relative to the root, and the same folded; both lists have the same order."""

    folders: bool
    paths: list[str]
    folded: list[str]
    ascii: bool


class _Entered(Struct, frozen=True):
    """A folder that is being looked at: its path relative to the root with a slash, and those above it."""

    prefix: str
    scope: Scope
    above: "_Entered | None"
    identity: Identity | None = None


class _Folder(Struct, frozen=True):
    """What was in a folder when it was read."""

    identity: Identity
    changed_ns: int
    read_ns: int
    outer: Scope
    inner: Scope
    read: dict[str, Signature]
    """The files that made the inner scope of the outer one."""
    files: str
    """The paths of the files, each ended by a NUL character."""
    folders: tuple[tuple[str, bool], ...]
    """The names of the folders that are searched, and whether each is a link."""

    def holds(self, state: os.stat_result, outer: Scope, now_ns: int) -> bool:
        """Whether all this must still be so."""
        if self.outer is not outer or self.changed_ns != state.st_mtime_ns:
            return False
        if self.identity != (state.st_dev, state.st_ino) or now_ns - self.read_ns > TRUST_SECONDS * 1e9:
            return False
        settled = self.changed_ns + (_FINE_NS if self.changed_ns % 1_000_000 else _COARSE_NS)
        return self.read_ns > settled and all(signature(path) == known for path, known in self.read.items())


class Listing:
    """What is below one root. Used by worker threads, of which one at a time looks at the file system."""

    def __init__(self, root: str, without: frozenset[str] = frozenset()) -> None:
        """`root` is an absolute path; `without` are paths of folders in it that other listings are about."""
        self.used = time.monotonic()
        self._root = root.rstrip("/") + "/"
        self._without = without
        self._lock = Lock()
        self._outer: tuple[Scope, dict[str, Signature]] | None = None
        self._folders: dict[str, _Folder] = {}
        self._chunks: tuple[Chunk, ...] = ()
        self._stale = True

    def refresh(self, abandoned: Event, progress: Progress[Chunk] | None = None) -> tuple[Chunk, ...]:
        """All paths as they are now. Folders that did not change since the last call are not read again.

        Raises Abandoned once `abandoned` is set; what was read until then is kept.
        """
        self.used = time.monotonic()
        breathe = Breath(abandoned)
        while not self._lock.acquire(timeout=_LOOK_AGAIN):
            breathe()
        try:
            return self._refresh(breathe, progress)
        finally:
            self.used = time.monotonic()
            self._lock.release()

    def _refresh(self, breathe: Breath, progress: Progress[Chunk] | None) -> tuple[Chunk, ...]:
        found: dict[str, _Folder] = {}
        paths = 0
        for prefix, folder in self._walk(breathe):
            found[prefix] = folder
            if self._folders.get(prefix) is not folder:
                self._stale = True
                self._folders[prefix] = folder
            paths += folder.files.count("\0") + len(folder.folders)
            if paths > MAX_PATHS:
                break
            if progress is not None:
                progress(lambda: _chunks(found, breathe))
        if self._stale or len(found) != len(self._folders):
            self._stale = True
            self._folders = found
            self._chunks = tuple(_chunks(found, breathe))
            self._stale = False
        return self._chunks

    def _walk(self, breathe: Breath) -> Iterator[tuple[str, _Folder]]:
        now_ns = time.time_ns()
        if self._outer is None or any(signature(path) != known for path, known in self._outer[1].items()):
            self._outer = scope_of_root(self._root.rstrip("/") or "/")
        waiting = deque([(_Entered("", self._outer[0], None), False)])
        entered: set[Identity] = set()
        while waiting:
            breathe()
            here, is_link = waiting.popleft()
            path = self._root + here.prefix
            try:
                state = os.stat(path)
                identity = (state.st_dev, state.st_ino)
                if is_link and (identity in entered or _is_above(here, identity)):
                    continue
                entered.add(identity) if is_link else None
                folder = self._folders.get(here.prefix)
                if folder is None or not folder.holds(state, here.scope, now_ns):
                    folder = self._read(here, state, time.time_ns())
            except (OSError, ValueError):
                continue
            yield here.prefix, folder
            above = _Entered(here.prefix, here.scope, here.above, identity)
            for name, link in folder.folders:
                waiting.append((_Entered(f"{here.prefix}{name}/", folder.inner, above), link))

    def _read(self, here: _Entered, state: os.stat_result, now_ns: int) -> _Folder:
        path = self._root + here.prefix
        files: list[str] = []
        folders: list[tuple[str, bool]] = []
        telling: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name in TELLING:
                    telling.append(name)
                    if name == ".git":
                        continue
                link = entry.is_symlink()
                if entry.is_dir():
                    folders.append((name, link))
                elif not link or os.path.exists(entry.path):
                    files.append(name)
        inner, read = here.scope.inside(path.rstrip("/"), telling) if telling else (here.scope, {})
        chain = inner.chain()
        if chain:
            files = [name for name in files if not _left_out(chain, name, path + name, False)]
            folders = [(name, link) for name, link in folders if not _left_out(chain, name, path + name, True)]
        if self._without:
            folders = [(name, link) for name, link in folders if path + name not in self._without]
        return _Folder(
            (state.st_dev, state.st_ino),
            state.st_mtime_ns,
            now_ns,
            here.scope,
            inner,
            read,
            "".join([f"{here.prefix}{name}\0" for name in files]),
            tuple(folders),
        )


def _left_out(chain: Iterable[IgnoreFile], name: str, path: str, is_folder: bool) -> bool:
    for file in chain:
        verdict = file.verdict(name, path, is_folder)
        if verdict is not None:
            return verdict
    return False


def _is_above(here: _Entered, identity: Identity) -> bool:
    above = here.above
    while above is not None and above.identity != identity:
        above = above.above
    return above is not None


def _chunks(found: dict[str, _Folder], breathe: Breath) -> Iterator[Chunk]:
    for folders, text in ((False, _files(found)), (True, _folder_paths(found))):
        rest: list[str] = []
        for piece in text:
            rest += piece.split("\0")[:-1]
            while len(rest) >= LINES:
                yield from _halves(folders, rest[:LINES])
                rest = rest[LINES:]
                breathe()
        yield from _halves(folders, rest)


def _files(found: dict[str, _Folder]) -> Iterator[str]:
    yield from (folder.files for folder in found.values())


def _folder_paths(found: dict[str, _Folder]) -> Iterator[str]:
    for prefix, folder in found.items():
        yield "".join([f"{prefix}{name}\0" for name, _ in folder.folders])


def _halves(folders: bool, paths: list[str]) -> Iterator[Chunk]:
    """Paths in ASCII can be worked on together; of the others, those that are no UTF-8 cannot be told to clients."""
    joined = "\0".join(paths)
    if not joined.isascii():
        plain = [path for path in paths if path.isascii()]
        other = [path for path in paths if not path.isascii() and _can_be_told(path)]
        if other:
            yield Chunk(folders, other, [fold(path) for path in other], False)
        paths, joined = plain, "\0".join(plain)
    if paths:
        # Most paths are in lower case already, and then one string serves twice.
        lower = joined.lower().split("\0")
        folded = [path if path == low else low for path, low in zip(paths, lower, strict=True)]
        yield Chunk(folders, paths, folded, True)


def _can_be_told(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
