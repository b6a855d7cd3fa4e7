"""fs/*: what a path is, and what a file holds."""

import ctypes
import os
import re
import struct
from collections.abc import Callable
from errno import (
    EACCES,
    EBUSY,
    EDQUOT,
    EEXIST,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
)
from functools import cache
from stat import S_ISDIR, S_ISLNK, S_ISREG

import pybase64
from anyio import CapacityLimiter, to_thread
from msgspec import Struct

from protocol.jsonrpc import INTERNAL_ERROR, RpcError, invalid_request

MAX_READ_BYTES = 47 * 1024 * 1024
"""The largest file that is read whole: its base64 just fits into the longest message, 64 MiB."""

_CHUNK = 3 * 128 * 1024  # a multiple of 3, so that the base64 of the chunks joins to the base64 of the file
_WORKERS = {"read": 4, "look": 8, "write": 4}
_NO_DIGIT = re.compile(r"[^A-Za-z0-9+/]")

_KINDS = {
    ENOENT: "notFound",
    EACCES: "permissionDenied",
    EPERM: "permissionDenied",
    EEXIST: "alreadyExists",
    ENOTDIR: "notADirectory",
    EISDIR: "isADirectory",
    ENOTEMPTY: "directoryNotEmpty",
    ENAMETOOLONG: "nameTooLong",
    ELOOP: "linkLoop",
    EROFS: "readOnly",
    ENOSPC: "noSpace",
    EDQUOT: "noSpace",
    EBUSY: "busy",
}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK, _KEPT_BYTES = 4 * 1024 * 1024, 16 * 1024 * 1024

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BASIC_AND_BIRTH = 0xFFF
_STATX_BIRTH = 0x800
_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_CACHED = 0x20
_O_PATH = getattr(os, "O_PATH", 0)

# Of `struct statx`: mask, mode, and seconds and nanoseconds of the times of birth and modification.
_STATX = struct.Struct("=I24xH50xqI4x16xqI")
_OPEN_LINK = struct.pack("=QQQ", _O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, _RESOLVE_CACHED)
_OPEN_TARGET = struct.pack("=QQQ", _O_PATH | os.O_CLOEXEC, 0, _RESOLVE_CACHED)


class Metadata(Struct, frozen=True):
    """What is at a path, seen through links; `is_symlink` speaks of the path itself. Times in Unix ms, 0 if unknown."""

    is_file: bool
    is_directory: bool
    is_symlink: bool
    created_at_ms: int
    modified_at_ms: int


def absolute(path: str, field: str = "path") -> str:
    """`path` without `.`, `..` and needless slashes, links not looked at.

    Raises -32600, naming the `field` that it came in, unless it is absolute.
    """
    if "\0" in path:
        raise invalid_request(f"`{field}` contains a NUL character")
    if not os.path.isabs(path):
        raise invalid_request(f"Invalid request: `{field}` must be absolute: {path}")
    normal = os.path.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def file_error(error: OSError, path: str) -> RpcError:
    """How a client is told that the system refused: the reason as the system names it, and the path.

    `data.kind` names the reason for programs: notFound, permissionDenied, alreadyExists, notADirectory, isADirectory,
    directoryNotEmpty, nameTooLong, linkLoop, readOnly, noSpace, busy or other.
    """
    if error.errno is None:
        return RpcError(INTERNAL_ERROR, f"{error}: {path}", {"kind": "other"})
    reason = f"{os.strerror(error.errno)} (os error {error.errno}): {path}"
    return RpcError(INTERNAL_ERROR, reason, {"kind": _KINDS.get(error.errno, "other")})


async def metadata(path: str) -> Metadata:
    """What is at the absolute `path`. Raises -32603 if it is missing or out of reach."""
    path = absolute(path)
    try:
        # A hop to a worker costs 115 to 160 us of CPU here, more than all the rest of the request; a look into the
        # kernel's memory costs 3 us and cannot wait. Only what is not in memory, or not local, needs the worker.
        found = _KERNEL.cached(path) if _KERNEL is not None else None
        return found or await to_thread.run_sync(_metadata, path, limiter=_workers("look"), abandon_on_cancel=True)
    except OSError as error:
        raise file_error(error, path) from None


async def read_file(path: str) -> bytes:
    """The base64 of the regular file at the absolute `path`. Raises -32600 for what is no file or too large."""
    path = absolute(path)
    try:
        return await to_thread.run_sync(_read, path, limiter=_workers("read"), abandon_on_cancel=True)
    except OSError as error:
        raise file_error(error, path) from None


async def write_file(path: str, data_base64: str) -> None:
    """Make the file at the absolute `path` hold exactly these bytes. A link is followed, an old file keeps its mode.

    Raises -32600 for what is no base64 or no regular file; then the file is as it was.
    """
    path = absolute(path)
    try:
        await to_thread.run_sync(_write, path, data_base64, limiter=_workers("write"), abandon_on_cancel=True)
    except OSError as error:
        raise file_error(error, path) from None


@cache
def _workers(kind: str) -> CapacityLimiter:
    # A file in memory is up to 111 MiB, so few are read at a time. Calls that hang on a dead network file system
    # use up these workers, and none of other rooms.
    return CapacityLimiter(_WORKERS[kind])


def _read(path: str) -> bytes:
    _keep_freed_memory()
    # Looked at before it is opened: opening a device can do things. And once more, it may have been replaced;
    # with O_NONBLOCK a FIFO without a writer opens at once.
    _refuse_unless_file(os.stat(path).st_mode, path)
    with open(path, "rb", buffering=0, opener=_opener) as file:
        state = os.fstat(file.fileno())
        _refuse_unless_file(state.st_mode, path)
        # In chunks, since base64 holds the interpreter lock; the size is only a hint, in /proc it is 0.
        encoded, size = list[bytes](), state.st_size
        left = MAX_READ_BYTES
        while size <= MAX_READ_BYTES and left >= 0:
            chunk = _full_chunk(file.read)
            if not chunk:
                return b"".join(encoded)
            left -= len(chunk)
            encoded.append(pybase64.b64encode(chunk))
    raise invalid_request(f"file is too large to read: limit is {MAX_READ_BYTES} bytes: {path}")


@cache
def _keep_freed_memory() -> None:
    # glibc gives blocks of the size of a file back to the system at once, and with the next file each page of them is
    # fetched again: four fifths of the time that reading a megabyte takes.
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    set_option(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
    set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _write(path: str, data_base64: str) -> None:
    chunks = _decoded(data_base64)
    try:
        _refuse_unless_file(os.stat(path).st_mode, path, writing=True)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(os.open(path, flags, 0o666), "wb", buffering=0) as file:
        _refuse_unless_file(os.fstat(file.fileno()).st_mode, path, writing=True)
        file.truncate(0)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) :]


def _decoded(data_base64: str) -> list[bytes]:
    # In chunks, since base64 holds the interpreter lock; the digits of each come to whole bytes.
    digits = _CHUNK // 3 * 4
    place = data_base64.find("=")
    if 0 <= place < len(data_base64) - 2:
        raise _no_base64(f"`=` at character {place}, before the end")
    try:
        starts = range(0, len(data_base64), digits)
        return [pybase64.b64decode(data_base64[start : start + digits], validate=True) for start in starts]
    except ValueError:
        wrong = _NO_DIGIT.search(data_base64.rstrip("="))
        at = "the end is incomplete" if wrong is None else f"{wrong.group()!r} at character {wrong.start()}"
        raise _no_base64(at) from None


def _no_base64(reason: str) -> RpcError:
    return invalid_request(f"fs/writeFile requires valid base64 dataBase64: {reason}")


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _refuse_unless_file(mode: int, path: str, *, writing: bool = False) -> None:
    if writing and S_ISDIR(mode):
        raise OSError(EISDIR, os.strerror(EISDIR))
    if not S_ISREG(mode):
        raise invalid_request(f"path `{path}` is not a file")


def _full_chunk(read: Callable[[int], bytes | None]) -> bytes:
    chunk = read(_CHUNK) or b""
    while chunk and len(chunk) < _CHUNK and (more := read(_CHUNK - len(chunk))):
        chunk += more
    return chunk


def _metadata(path: str) -> Metadata:
    if _KERNEL is not None:
        return _KERNEL.waited(path)
    link = os.lstat(path)
    target = os.stat(path) if S_ISLNK(link.st_mode) else link
    born_ms = int(getattr(target, "st_birthtime", 0) * 1000)
    return _seen(S_ISLNK(link.st_mode), target.st_mode, born_ms, target.st_mtime_ns // 1_000_000)


def _seen(is_symlink: bool, mode: int, born_ms: int, modified_ms: int) -> Metadata:
    return Metadata(S_ISREG(mode), S_ISDIR(mode), is_symlink, born_ms, modified_ms)


class _Kernel:
    """statx of Linux, which Python has only from 3.15 on, and paths resolved from the kernel's memory alone."""

    def __init__(self) -> None:
        # What cannot wait keeps the interpreter lock: giving it up and getting it back would cost more than the call.
        fast, slow = ctypes.PyDLL(None, use_errno=True), ctypes.CDLL(None, use_errno=True)
        self._open, self._statx, self._statx_waiting = fast.syscall, fast.statx, slow.statx
        self._open.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
        self._open.restype = ctypes.c_long
        for statx in (self._statx, self._statx_waiting):
            statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
        self._buffer = ctypes.create_string_buffer(256)

    def cached(self, path: str) -> Metadata | None:
        """What the kernel knows without any input or output, or None. Called on the loop only."""
        encoded = os.fsencode(path)
        link = self._look(encoded, _OPEN_LINK)
        if link is None:
            return None
        target = self._look(encoded, _OPEN_TARGET) if S_ISLNK(link[1]) else link
        return None if target is None else _of_statx(link, target)

    def _look(self, path: bytes, how: bytes) -> tuple[int, ...] | None:
        descriptor = self._open(_SYS_OPENAT2, _AT_FDCWD, path, how, len(how))
        if descriptor < 0:
            code = ctypes.get_errno()
            # Anything else says that this way is closed (not in memory, an old kernel, a seccomp filter).
            if code in (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES):
                raise OSError(code, os.strerror(code))
            return None
        try:
            flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
            if self._statx(descriptor, b"", flags, _STATX_BASIC_AND_BIRTH, self._buffer):
                return None
            return _STATX.unpack_from(self._buffer)
        finally:
            os.close(descriptor)

    def waited(self, path: str) -> Metadata:
        """The same from the file system itself, however long it takes. Called in a worker thread."""
        encoded, buffer = os.fsencode(path), ctypes.create_string_buffer(256)

        def look(flags: int) -> tuple[int, ...]:
            if self._statx_waiting(_AT_FDCWD, encoded, flags, _STATX_BASIC_AND_BIRTH, buffer):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            return _STATX.unpack_from(buffer)

        link = look(_AT_SYMLINK_NOFOLLOW)
        return _of_statx(link, look(0) if S_ISLNK(link[1]) else link)


def _of_statx(link: tuple[int, ...], target: tuple[int, ...]) -> Metadata:
    mask, mode, born_s, born_ns, modified_s, modified_ns = target
    born_ms = born_s * 1000 + born_ns // 1_000_000 if mask & _STATX_BIRTH else 0
    return _seen(S_ISLNK(link[1]), mode, born_ms, modified_s * 1000 + modified_ns // 1_000_000)


def _kernel() -> _Kernel | None:
    try:
        return _Kernel() if _O_PATH else None
    except (AttributeError, OSError):
        return None  # not Linux, or a C library without statx


_KERNEL = _kernel()
