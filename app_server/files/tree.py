"""fs/* on folders and whole trees: list, create, remove, copy."""

import os
import shutil
from collections.abc import Callable
from errno import EEXIST, EINVAL, EISDIR, ENOSYS, ENOTDIR, ENOTSUP, EPERM, EXDEV
from functools import cache
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import TypeVar

import orjson
from anyio import CapacityLimiter, to_thread

from app_server.files.operations import absolute, file_error
from protocol.jsonrpc import invalid_request

T = TypeVar("T")

_WORKERS = 4
_ATTEMPTS = 20
_CHUNK = 1024 * 1024
_ENTRIES = 2000
"""How many entries are encoded at a time: the encoder holds the interpreter lock."""
_NO_KERNEL_COPY = frozenset({EXDEV, EINVAL, ENOSYS, ENOTSUP, EPERM})
"""Where the kernel cannot copy between two files by itself."""


async def list_folder(path: str) -> bytes:
    """What is in the folder at the absolute `path`, by name, as a JSON array of `FsReadDirectoryEntry`.

    Bytes of a name that are no UTF-8 become U+FFFD.
    """
    return await _in_worker(absolute(path), _list)


async def create_folder(path: str, *, recursive: bool) -> None:
    """Make a folder at the absolute `path`. With `recursive`, those above it too, and an existing one is no error."""
    await _in_worker(absolute(path), lambda at: _create(at, recursive))


async def remove(path: str, *, recursive: bool, force: bool) -> None:
    """Remove what is at the absolute `path`; of a link the link itself. With `force`, nothing there is no error.

    Without `recursive` a folder goes only if it is empty.
    """
    path = absolute(path)
    if path == "/":
        raise invalid_request("`path` is `/`, which cannot be removed: name what is to be removed below it")
    await _in_worker(path, lambda at: _remove(at, recursive, force))


async def copy(source: str, destination: str, *, recursive: bool) -> None:
    """Copy a file, a link (as a link) or, with `recursive`, a folder to the absolute path `destination`.

    A file replaces the content of one that is there and has the mode of its source afterwards; of a folder, what is
    there already is merged with. Raises -32600 for other kinds, and for a folder into itself. What is neither file,
    folder nor link within a folder is left out. A file copied onto itself stays as it is.
    """
    source, destination = absolute(source, "sourcePath"), absolute(destination, "destinationPath")
    await _in_worker(destination, lambda to: _copy(source, to, recursive))


async def _in_worker(path: str, function: Callable[[str], T]) -> T:
    try:
        return await to_thread.run_sync(function, path, limiter=_workers(), abandon_on_cancel=True)
    except OSError as error:
        raise file_error(error, _name_of(error) or path) from None


def _name_of(error: OSError) -> str | None:
    # Of a link or a rename, the second name is where it was to be.
    name = error.filename if error.filename2 is None else error.filename2
    return os.fsencode(name).decode(errors="replace") if isinstance(name, str | bytes) else None


@cache
def _workers() -> CapacityLimiter:
    return CapacityLimiter(_WORKERS)


def _list(path: str) -> bytes:
    with os.scandir(os.fsencode(path)) as found:
        entries = sorted(
            (entry.name.decode(errors="replace"), _is(entry.is_dir), _is(entry.is_file)) for entry in found
        )
    parts: list[bytes] = []
    for start in range(0, len(entries), _ENTRIES):
        part = entries[start : start + _ENTRIES]
        encoded = orjson.dumps([{"fileName": name, "isDirectory": d, "isFile": f} for name, d, f in part])
        parts.append(encoded[1:-1])
    return b"[%b]" % b",".join(parts)


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:
        return False


def _create(path: str, recursive: bool) -> None:
    if not recursive:
        os.mkdir(path)
        return
    missing: list[str] = []
    above = path
    while not os.path.isdir(above):
        if os.path.lexists(above):
            raise OSError(EEXIST if above == path else ENOTDIR, os.strerror(EEXIST), above)
        missing.append(above)
        above = os.path.dirname(above)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):  # somebody else made it meanwhile, which is as well
                raise


def _remove(path: str, recursive: bool, force: bool) -> None:
    try:
        if not S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
        elif recursive:
            _remove_tree(path)
        else:
            os.rmdir(path)
    except FileNotFoundError:
        if not force:
            raise


def _remove_tree(path: str) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            # Somebody else removes there too; what is left is still to go.
            if attempt == _ATTEMPTS - 1 or not os.path.lexists(path):
                raise
        else:
            return


def _copy(source: str, destination: str, recursive: bool) -> None:
    state = os.lstat(source)
    if S_ISLNK(state.st_mode):
        _copy_link(source, destination)
    elif S_ISREG(state.st_mode):
        _copy_file(source, destination)
    elif not S_ISDIR(state.st_mode):
        raise invalid_request(f"fs/copy only supports regular files, directories, and symlinks: {source}")
    elif not recursive:
        raise invalid_request("fs/copy requires recursive: true when sourcePath is a directory")
    else:
        real = os.path.realpath(source)
        if os.path.commonpath((real, os.path.realpath(destination))) == real:
            raise invalid_request("fs/copy cannot copy a directory to itself or one of its descendants")
        _create(destination, recursive=True)
        _copy_folder(source, destination)


def _copy_folder(source: str, destination: str) -> None:
    """Copy what is in a folder into another that exists, which has the same mode afterwards."""
    folders = [(source, destination)]
    for folder, to in folders:
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            there = os.path.join(to, entry.name)
            if entry.is_symlink():
                _copy_link(entry.path, there)
            elif entry.is_dir():
                _create(there, recursive=True)
                folders.append((entry.path, there))
            elif entry.is_file():
                _copy_file(entry.path, there)
    for folder, to in reversed(folders):  # a folder that may not be written to must be filled before
        os.chmod(to, S_IMODE(os.stat(folder).st_mode) & 0o1777)


def _copy_link(source: str, destination: str) -> None:
    target = os.readlink(source)
    try:
        os.symlink(target, destination)
    except FileExistsError:
        # Copied onto itself, or once more.
        if not os.path.islink(destination) or os.readlink(destination) != target:
            raise


def _copy_file(source: str, destination: str) -> None:
    # Not waited for: it may have become a FIFO since it was looked at.
    waiting_for_nothing = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(source, os.O_RDONLY | waiting_for_nothing), "rb", buffering=0) as original:
        state = os.fstat(original.fileno())
        if not S_ISREG(state.st_mode):
            raise invalid_request(f"fs/copy only supports regular files, directories, and symlinks: {source}")
        mode = S_IMODE(state.st_mode) & 0o777
        _refuse_what_is_no_file(destination)
        with open(
            os.open(destination, os.O_WRONLY | os.O_CREAT | waiting_for_nothing, mode), "wb", buffering=0
        ) as made:
            there = os.fstat(made.fileno())
            if (there.st_dev, there.st_ino) == (state.st_dev, state.st_ino):
                return
            _refuse_what_is_no_file(destination)
            made.truncate(0)
            os.fchmod(made.fileno(), mode)
            _copy_content(original.fileno(), made.fileno())


def _refuse_what_is_no_file(destination: str) -> None:
    # Opening a device can do things, so it is looked at before.
    try:
        mode = os.stat(destination).st_mode
    except FileNotFoundError:
        return
    if not S_ISREG(mode):
        code = EISDIR if S_ISDIR(mode) else EEXIST
        raise OSError(code, os.strerror(code), destination)


def _copy_content(original: int, made: int) -> None:
    try:
        while hasattr(os, "copy_file_range") and os.copy_file_range(original, made, _CHUNK * 64):
            pass
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
    # What the kernel did not copy; of files in /proc that is everything.
    while chunk := os.read(original, _CHUNK):
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(made, rest) :]
