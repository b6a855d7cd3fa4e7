"""Stand-ins for protected entries that do not exist, so that no command can make them."""

import errno
import fcntl
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, field

from app_server.sandbox.paths import open_without_links
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.repositories import BARE, GIT, HEAD, NEVER_WRITABLE, is_within_any
from app_server.sandbox.sandbox import SandboxUnavailable

logger = logging.getLogger(__name__)

STAND_IN_MTIME_NS = 86_402_000_000_000
STAND_IN_MODE = 0o555
"""Modification time and mode by which a stand-in is known again, also after a crash and by another daemon."""

LOCK_ATTEMPTS = 50
LOCK_PAUSE_S = 0.02


Folder = tuple[int, int]
"""A folder by its device and inode, since its path may come to lead elsewhere."""


class _Root(Struct):
    fd: int
    holders: int = 0
    made: set[str] = field(default_factory=set[str])
    was_repository: bool = False
    """Whether git took the folder itself for a repository before any command ran in it."""


class Held(Struct, frozen=True):
    """A folder in which the entries `names` now exist, until it is released."""

    folder: Folder
    names: tuple[str, ...]


class StandIns:
    """Empty directories in place of protected names that do not exist, so that a command cannot create them.

    The last command of a root removes them. Two daemons agree by a lock on the root directory: who holds it shared
    has commands running there, and only who gets it for himself removes anything. Other commands may move links under
    this: it never follows one. Safe to use from any thread.
    """

    def __init__(self, journal: Path | None = None) -> None:
        """`journal` is a file that lists the roots in which stand-ins were made; see `sweep`."""
        self._roots: dict[Folder, _Root] = {}
        self._lock = threading.Lock()
        self._journal = journal
        self._noted: set[str] = set()

    def hold(self, root: str, names: Sequence[str]) -> Held:
        """Make sure that each name exists in `root`, an absolute path without links, and keep it until `release`.

        A name that this user cannot create is left out: a command cannot create it either.
        """
        with self._lock:
            try:
                fd, folder = open_without_links(root, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise SandboxUnavailable(
                    f"{root} cannot be opened to protect what is in it: {error.strerror}"
                ) from error
            if (entry := self._roots.get(folder)) is None:
                _lock_shared(fd, root)
                entry = self._roots[folder] = _Root(fd, was_repository=_is_repository(fd))
            else:
                os.close(fd)
            entry.holders += 1
            try:
                self._note(root)
                return Held(folder, tuple(name for name in names if _ensure(root, name, entry)))
            except BaseException:
                self._release(folder, entry)
                raise

    def release(self, held: Held) -> None:
        """One holder less."""
        with self._lock:
            if (entry := self._roots.get(held.folder)) is not None:
                self._release(held.folder, entry)

    def _note(self, root: str) -> None:
        if self._journal is None or root in self._noted:
            return
        with _journal_of(self._journal) as file:
            if os.fsencode(root) not in file.read().split(b"\0"):
                file.write(os.fsencode(root) + b"\0")
        self._noted.add(root)

    def _release(self, folder: Folder, entry: _Root) -> None:
        entry.holders -= 1
        if not entry.was_repository:
            _disable_repository(entry.fd)
        if entry.holders > 0:
            return
        del self._roots[folder]
        # Where another daemon has commands here, it will find the stand-ins when they end.
        if _lock_alone(entry.fd):
            _remove(entry.fd, entry.made)
        os.close(entry.fd)


def _ensure(root: str, name: str, entry: _Root) -> bool:
    """Whether the name exists now."""
    try:
        os.mkdir(name, dir_fd=entry.fd)
    except FileExistsError:
        if is_stand_in(name, entry.fd):
            entry.made.add(name)
        return True
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.EROFS:
            return False
        raise SandboxUnavailable(f"{root}/{name} cannot be protected: {error.strerror}") from error
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.fd)
        try:
            if os.listdir(fd):
                raise SandboxUnavailable(f"{root}/{name} was replaced while it was being protected")
            os.fchmod(fd, STAND_IN_MODE)
            os.utime(fd, ns=(STAND_IN_MTIME_NS, STAND_IN_MTIME_NS))
        finally:
            os.close(fd)
    except OSError as error:
        raise SandboxUnavailable(f"{root}/{name} cannot be protected: {error.strerror}") from error
    entry.made.add(name)
    return True


def _is_repository(folder: int) -> bool:
    """Whether git would take the folder itself for a repository and obey the `config` in it."""
    return all(_status(name, folder) is not None for name in BARE)


def _disable_repository(folder: int) -> None:
    """Take away what a command made so that git obeys the folder it worked in: the user's git would be next.

    Its name cannot be closed while the command runs, as that of `.git` is: everybody would see the stand-in.
    """
    if _is_repository(folder) and not _is_real(GIT, folder):
        name = f"{HEAD}.disabled-{secrets.token_hex(4)}"
        logger.warning(
            "a command made its workspace a repository; %s is renamed to %s so that git ignores it", HEAD, name
        )
        with suppress(OSError):
            os.rename(HEAD, name, src_dir_fd=folder, dst_dir_fd=folder)


def _is_real(name: str, folder: int) -> bool:
    return _status(name, folder) is not None and not is_stand_in(name, folder)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _remove(root: int, names: Iterable[str]) -> None:
    for name in names:
        if is_stand_in(name, root):
            with suppress(OSError):
                os.rmdir(name, dir_fd=root)


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
        fd, _ = open_without_links(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return True
    try:
        if not _lock_alone(fd):
            return False
        if _is_new_repository(fd):
            _disable_repository(fd)
        _remove(fd, os.listdir(fd))
        return True
    finally:
        os.close(fd)


def _is_new_repository(folder: int) -> bool:
    """Whether what makes the folder a repository came after the stand-in of a killed daemon."""
    made = _status(GIT, folder)
    if made is None or not is_stand_in(GIT, folder):
        return False
    parts = [_status(name, folder) for name in BARE]
    return all(part is not None and part.st_ctime_ns > made.st_ctime_ns for part in parts)


def _lock_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _lock_shared(fd: int, root: str) -> None:
    """Take the shared lock, or close the descriptor and raise SandboxUnavailable."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)  # in a worker thread
        except OSError:
            return  # a file system without locks: no other daemon is reckoned with
        else:
            return
    os.close(fd)
    raise SandboxUnavailable(f"{root} is locked by another process, so its protected entries cannot be secured")


def is_stand_in(path: str, folder: int | None = None) -> bool:
    """Whether a path, which may begin at the descriptor `folder`, is a stand-in, made by us or by another daemon."""
    try:
        status = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return status.st_mode == stat.S_IFDIR | STAND_IN_MODE and status.st_mtime_ns == STAND_IN_MTIME_NS


def writable_roots(profile: PermissionProfile) -> tuple[str, ...]:
    """The roots that exist, without symbolic links, parents before what lies in them."""
    found = {os.path.realpath(root) for root in profile.writable_roots if os.path.exists(root)}
    return tuple(sorted(root for root in found if not is_within_any(root, NEVER_WRITABLE)))
