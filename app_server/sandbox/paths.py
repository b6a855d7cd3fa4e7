"""Paths on which links may be put or moved at any time, because commands write there."""

import errno
import os
import stat

from app_server.sandbox import kernel

LINKS = 40
"""Symbolic links on one path before it leads nowhere, as for the kernel."""


def follow(path: str) -> tuple[str, tuple[str, ...]]:
    """An absolute path without symbolic links, and the links that lay on the way. What does not exist is kept."""
    links: list[str] = []
    waiting = path.split("/")[::-1]
    real = "/"
    while waiting:
        part = waiting.pop()
        if part in ("", "."):
            continue
        if part == "..":
            real = os.path.dirname(real)
            continue
        here = os.path.join(real, part)
        try:
            target = os.readlink(here) if len(links) < LINKS else None
        except OSError:
            target = None
        if target is None:
            real = here
            continue
        links.append(here)
        if target.startswith("/"):
            real = "/"
        waiting += target.split("/")[::-1]
    return real, tuple(links)


def open_without_links(path: str, flags: int = os.O_PATH) -> tuple[int, tuple[int, int]]:
    """A descriptor of what is at an absolute path, with its device and inode. Raises OSError, also for a link."""
    flags |= os.O_NOFOLLOW
    try:
        fd = kernel.openat2(-100, os.fsencode(path), flags, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        fd = _step_by_step(path, flags | os.O_CLOEXEC)
    status = os.fstat(fd)
    if stat.S_ISLNK(status.st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return fd, (status.st_dev, status.st_ino)


def _step_by_step(path: str, flags: int) -> int:
    """For kernels without openat2."""
    way = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    parts = [part for part in path.split("/") if part] or ["."]
    fd = os.open("/", way)
    for index, part in enumerate(parts):
        folder = fd
        try:
            fd = os.open(part, way if index < len(parts) - 1 else flags, dir_fd=folder)
        finally:
            os.close(folder)
    return fd
