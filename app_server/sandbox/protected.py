"""Which paths within the writable roots stay read-only, and the stand-ins for those that do not exist."""

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.repositories import NEVER_WRITABLE, RepositorySearch, is_within_any
from app_server.sandbox.sandbox import SandboxUnavailable

MOUNTS = 600
"""Mounts per command before the run is refused: their cost grows with the square of their number."""

STAND_IN_MTIME_NS = 86_402_000_000_000
STAND_IN_MODE = 0o555
"""Modification time and mode by which a stand-in is known again, also after a crash and by another daemon."""

LOCK_ATTEMPTS = 50
LOCK_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Mounts:
    """What is mounted over the read-only root: first `writable` and `steps` (read-write), then the read-only rest.

    All paths exist and are free of symbolic links. `steps` are directories on the way to a nested repository; as
    mounts of their own they cannot be renamed, and with them the repository stays where it is. What is `nested` may
    vanish before it is mounted, for the folders below a root are everybody's.
    """

    writable: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


@dataclass(slots=True)
class _Root:
    fd: int
    holders: int = 0
    made: set[str] = field(default_factory=set[str])


class StandIns:
    """Empty directories in place of protected names that do not exist, so that a command cannot create them.

    The last command of a root removes them. Two daemons agree by a lock on the root directory: who holds it shared
    has commands running there, and only who gets it for himself removes anything. Safe to use from any thread.
    """

    def __init__(self, journal: Path | None = None) -> None:
        """`journal` is a file that lists the roots in which stand-ins were made; see `sweep`."""
        self._roots: dict[str, _Root] = {}
        self._lock = threading.Lock()
        self._journal = journal
        self._noted: set[str] = set()

    def hold(self, root: str, names: Sequence[str]) -> list[str]:
        """Make sure that each name exists in `root`, and keep it until `release`. The paths that now exist.

        A name that this user cannot create is left out: a command cannot create it either.
        """
        with self._lock:
            entry = self._roots.get(root)
            if entry is None:
                entry = self._roots[root] = _Root(_lock_shared(root))
                self._note(root)
            entry.holders += 1
            paths = [os.path.join(root, name) for name in names]
            try:
                return [path for path in paths if self._ensure(path, entry)]
            except BaseException:
                self._release(root, entry)
                raise

    def release(self, root: str) -> None:
        """One holder less."""
        with self._lock:
            if (entry := self._roots.get(root)) is not None:
                self._release(root, entry)

    def _note(self, root: str) -> None:
        if self._journal is None or root in self._noted:
            return
        with _journal_of(self._journal) as file:
            if os.fsencode(root) not in file.read().split(b"\0"):
                file.write(os.fsencode(root) + b"\0")
        self._noted.add(root)

    def _ensure(self, path: str, entry: _Root) -> bool:
        try:
            os.mkdir(path)
        except FileExistsError:
            if _is_stand_in(path):
                entry.made.add(path)
            return True
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.EROFS:
                return False
            raise SandboxUnavailable(f"{path} cannot be protected: {error.strerror}") from error
        os.chmod(path, STAND_IN_MODE)
        os.utime(path, ns=(STAND_IN_MTIME_NS, STAND_IN_MTIME_NS))
        entry.made.add(path)
        return True

    def _release(self, root: str, entry: _Root) -> None:
        entry.holders -= 1
        if entry.holders > 0:
            return
        del self._roots[root]
        # Where another daemon has commands here, it will find the stand-ins when they end.
        if _lock_alone(entry.fd):
            for path in entry.made:
                if _is_stand_in(path):
                    with suppress(OSError):
                        os.rmdir(path)
        os.close(entry.fd)


@contextmanager
def _journal_of(path: Path) -> Generator[BinaryIO]:
    """The journal, opened to read and append, and locked against other daemons."""
    try:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            yield file
    except OSError as error:
        raise SandboxUnavailable(
            f"{path} cannot be written, so protected entries cannot be cleaned up: {error}"
        ) from error


def sweep(journal: Path, names: Sequence[str]) -> None:
    """Remove the stand-ins that a killed daemon left in the roots that `journal` lists. Blocks on files.

    A root where another daemon has commands is left alone, and stays in the journal.
    """
    if not journal.exists():
        return
    with _journal_of(journal) as file:
        kept = [root for root in file.read().split(b"\0") if root and not _swept(os.fsdecode(root), names)]
        file.truncate(0)
        file.writelines(root + b"\0" for root in kept)


def _swept(root: str, names: Sequence[str]) -> bool:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not _lock_alone(fd):
            return False
        for path in (os.path.join(root, name) for name in names):
            if _is_stand_in(path):
                with suppress(OSError):
                    os.rmdir(path)
        return True
    finally:
        os.close(fd)


def _lock_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _lock_shared(root: str) -> int:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxUnavailable(f"{root} cannot be opened to protect what is in it: {error.strerror}") from error
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)  # in a worker thread
        except OSError:
            return fd  # a file system without locks: no other daemon is reckoned with
        else:
            return fd
    os.close(fd)
    raise SandboxUnavailable(f"{root} is locked by another process, so its protected entries cannot be secured")


def _is_stand_in(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_mode == stat.S_IFDIR | STAND_IN_MODE and status.st_mtime_ns == STAND_IN_MTIME_NS


def writable_roots(profile: PermissionProfile) -> tuple[str, ...]:
    """The roots that exist, without symbolic links, parents before what lies in them."""
    found = {os.path.realpath(root) for root in profile.writable_roots if os.path.exists(root)}
    return tuple(sorted(root for root in found if not is_within_any(root, NEVER_WRITABLE)))


def plan(profile: PermissionProfile, stand_ins: StandIns, searcher: RepositorySearch) -> tuple[Mounts, tuple[str, ...]]:
    """What to mount for `profile`, and the roots to release from `stand_ins` when the command has ended.

    Walks the roots: call it in a worker thread. Raises SandboxUnavailable if something cannot be protected.
    """
    roots = writable_roots(profile)
    if not roots:
        return Mounts(), ()
    held: list[str] = []
    try:
        top: set[str] = set()
        for root in roots:
            if os.path.isdir(root) and os.access(root, os.W_OK):
                # Before the search, so that what others do in between can only add to it.
                top.update(_top_level(root, profile, stand_ins, held))
        nested = {path for repository in searcher.find(roots) for path in _protect(repository, roots)} - top
        fixed = tuple(top | nested)
        steps = {step for path in fixed for step in _steps(path, roots)} - set(roots)
        steps = {step for step in steps if not is_within_any(step, fixed)}
        mounts = Mounts(roots, tuple(sorted(steps)), tuple(sorted(top)), tuple(sorted(nested)))
        count = len(roots) + len(steps) + len(fixed)
        if count > MOUNTS:
            raise SandboxUnavailable(
                f"the writable roots hold so many repositories that {count} places would have to be protected "
                f"(at most {MOUNTS}); choose narrower writable roots: {', '.join(roots)}"
            )
    except BaseException:
        for root in held:
            stand_ins.release(root)
        raise
    return mounts, tuple(held)


def _top_level(root: str, profile: PermissionProfile, stand_ins: StandIns, held: list[str]) -> list[str]:
    paths = stand_ins.hold(root, profile.protected_names)
    held.append(root)
    for path in paths:
        _refuse_symlink(path)
    return paths


def _protect(repository: str, roots: Sequence[str]) -> set[str]:
    """The entry itself, and what it names if it is the pointer of a worktree or submodule.

    A link cannot be kept from being replaced, so its whole directory is kept as it is.
    """
    if os.path.islink(repository):
        directory = os.path.dirname(repository)
        return {directory} if directory not in roots else set()  # at the top of a root it was refused before
    paths = {repository}
    if os.path.isfile(repository):
        for directory in _named_by(repository):
            real = os.path.realpath(directory)
            if is_within_any(real, tuple(roots)) and os.path.exists(real):
                paths.add(real)
    return paths


def _named_by(pointer: str) -> list[str]:
    """The git directory that a `.git` file names, and the one that it shares with its main worktree."""
    directory = _read_path(pointer, b"gitdir:")
    if directory is None:
        return []
    common = _read_path(os.path.join(directory, "commondir"), b"")
    return [directory] if common is None else [directory, common]


def _read_path(file: str, prefix: bytes) -> str | None:
    try:
        with open(file, "rb") as handle:
            first = handle.read(8192)
    except OSError:
        return None
    if not first.startswith(prefix):
        return None
    named = os.fsdecode(first[len(prefix) :].split(b"\n", 1)[0].strip())
    return os.path.join(os.path.dirname(file), named) if named else None


def _refuse_symlink(path: str) -> None:
    if os.path.islink(path):
        raise SandboxUnavailable(
            f"{path} is a symbolic link in a writable directory, so it cannot be kept from being replaced; "
            "replace it by a directory, or choose other writable roots"
        )


def _steps(path: str, roots: Sequence[str]) -> list[str]:
    """The directories between the innermost writable root around `path` and `path` itself."""
    steps: list[str] = []
    directory = os.path.dirname(path)
    while directory not in roots and directory != "/":
        steps.append(directory)
        directory = os.path.dirname(directory)
    return steps if directory in roots else []
