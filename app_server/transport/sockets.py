"""The sockets to listen on: a TCP port, or a Unix socket that only this user can open."""

import errno
import fcntl
import os
import secrets
import socket
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec.structs import replace

from app_server.transport.listen import StartError, UnixSocket, WebSocket

BACKLOG = 128
"""Clients that may wait to be accepted."""


@asynccontextmanager
async def listening_on(address: WebSocket | UnixSocket) -> AsyncGenerator[tuple[socket.socket, WebSocket | UnixSocket]]:
    """A listening socket, and the address with the port that the system chose. A Unix socket's file goes at the end.

    Raises StartError if the address is in use or cannot be had.
    """
    if isinstance(address, WebSocket):
        with _tcp(address) as listening:
            yield listening, replace(address, port=listening.getsockname()[1])
        return
    path = address.path
    assert path is not None, "the default path is filled in by whoever knows the home"
    listening, identity = await to_thread.run_sync(_claim, path)
    with listening:
        try:
            yield listening, address
        finally:
            with anyio.CancelScope(shield=True):  # bounded: two system calls under a lock that nobody holds for long
                await to_thread.run_sync(_remove_own, path, identity)


def _tcp(address: WebSocket) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise StartError(f"cannot listen on {address.url}: {error.strerror}") from None
    return listening


def _claim(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    """Listen on `path`, replacing a socket file on which nobody answers. Also gives the new file's identity."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.parent):
            _check_free(path)
            listening = socket.socket(socket.AF_UNIX)
            # Until `listen` nobody can connect, so the mode is right before it matters; the final name appears last.
            temporary = path.with_name(f".{secrets.token_hex(3)}")
            try:
                listening.bind(str(temporary))
                temporary.chmod(0o600)
                listening.listen(BACKLOG)
                listening.setblocking(False)
                status = temporary.stat()
                temporary.replace(path)
            except OSError:
                listening.close()
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot listen on unix socket {path}: {reason}") from None
    return listening, (status.st_dev, status.st_ino)


def _check_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"cannot listen on unix socket {path}: the file exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    if answer in (0, errno.EAGAIN, errno.EINPROGRESS):
        raise StartError(f"another server is listening on {path}; stop it or choose another --listen unix://PATH")
    if answer != errno.ECONNREFUSED:
        raise StartError(f"cannot listen on unix socket {path}: {os.strerror(answer)}")


def _remove_own(path: Path, identity: tuple[int, int]) -> None:
    try:
        with _locked(path.parent):
            status = path.lstat()
            if (status.st_dev, status.st_ino) == identity:
                path.unlink()
    except OSError:
        pass


@contextmanager
def _locked(directory: Path) -> Generator[None]:
    """Keeps two servers from replacing the same stale socket."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
