"""Stand-ins for protected entries that do not exist, so that no command can make them."""

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
from app_server.sandbox.repositories import NEVER_WRITABLE, is_within_any
from app_server.sandbox.sandbox import SandboxUnavailable

STAND_IN_MTIME_NS = 86_402_000_000_000
STAND_IN_MODE = 0o555
"""Modification time and mode by which a stand-in is known again, also after a crash and by another daemon."""

LOCK_ATTEMPTS = 50
LOCK_PAUSE_S = 0.02


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
            if is_stand_in(path):
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
                if is_stand_in(path):
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


def sweep(journal: Path) -> None:
    """Remove the stand-ins that a killed daemon left in the folders that `journal` lists. Blocks on files.

    A folder where another daemon has commands is left alone, and stays in the journal.
    """
    if not journal.exists():
        return
    with _journal_of(journal) as file:
        kept = [root for root in file.read().split(b"\0") if root and not _swept(os.fsdecode(root))]
        file.truncate(0)
        file.writelines(root + b"\0" for root in kept)


def _swept(root: str) -> bool:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not _lock_alone(fd):
            return False
        for path in [os.path.join(root, name) for name in os.listdir(fd)]:
            if is_stand_in(path):
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


def is_stand_in(path: str) -> bool:
    """Whether a path is a stand-in, made by us or by another daemon."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_mode == stat.S_IFDIR | STAND_IN_MODE and status.st_mtime_ns == STAND_IN_MTIME_NS


def writable_roots(profile: PermissionProfile) -> tuple[str, ...]:
    """The roots that exist, without symbolic links, parents before what lies in them."""
    found = {os.path.realpath(root) for root in profile.writable_roots if os.path.exists(root)}
    return tuple(sorted(root for root in found if not is_within_any(root, NEVER_WRITABLE)))
