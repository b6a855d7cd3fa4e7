"""A call of a command that waits for the supervisor's answer, and what can be learned about who made it."""

import errno
import fcntl
import os
import struct

from app_server.sandbox import kernel

IS_VALID = 0x40082102

PATH_MAX = 4096
PAGE = 4096

AT_FDCWD = -100


class Answered(Exception):
    """The call has its answer, or nobody waits for one any more."""


def error_of(number: int) -> OSError:
    """The error of that number."""
    return OSError(number, os.strerror(number))


class Call:
    """One call of the command, which waits for the answer. Descriptors opened for it are closed with it."""

    def __init__(self, listener: int, request: bytes | bytearray) -> None:
        self.id, self.thread, _, self.number, _, _, *self.arguments = struct.unpack("=QIIiIQ6Q", request)
        self._listener = listener
        self._open: list[int] = []

    def close(self) -> None:
        """Give back what was opened for it."""
        for fd in self._open:
            os.close(fd)

    def keep(self, fd: int) -> int:
        """`fd`, which is closed with the call."""
        self._open.append(fd)
        return fd

    def integer(self, index: int) -> int:
        """An argument of the C type int."""
        value = self.arguments[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >= 1 << 31 else value

    def memory(self, address: int, length: int) -> bytes:
        """What the caller has there. Raises OSError."""
        fd = self._proc(b"mem", os.O_RDONLY)
        try:
            return os.pread(fd, length, address)
        except (OSError, OverflowError):
            raise error_of(errno.EFAULT) from None

    def text(self, index: int) -> bytes:
        """The string that an argument points to. Raises OSError."""
        address = self.arguments[index]
        found = b""
        while len(found) < PATH_MAX:
            part = self.memory(address, PAGE - address % PAGE)
            if not part:
                raise error_of(errno.EFAULT)
            head, end, _ = part.partition(b"\0")
            found += head
            if end:
                return found
            address += len(part)
        raise error_of(errno.ENAMETOOLONG)

    def descriptor(self, number: int) -> int:
        """A path-only descriptor for what the caller has open, or for its working directory. Raises OSError."""
        if number == AT_FDCWD:
            return self._proc(b"cwd", os.O_PATH)
        try:
            return self._proc(b"fd/%d" % number, os.O_PATH)
        except FileNotFoundError:
            raise error_of(errno.EBADF) from None

    def take(self, number: int) -> int:
        """A descriptor of ours for the very open file that the caller has under a number. Raises OSError."""
        process = self.keep(os.pidfd_open(int(self._status(b"Tgid"))))
        self._check()
        return kernel.pidfd_getfd(process, number)

    def is_alone(self) -> bool:
        """Whether the caller's process has no other thread, so that nothing of it changes while it waits."""
        return len(os.listdir(self._proc(b"task", os.O_RDONLY | os.O_DIRECTORY))) == 1

    def umask(self) -> int:
        """The caller's."""
        return int(self._status(b"Umask"), 8)

    def _status(self, name: bytes) -> bytes:
        for line in os.read(self._proc(b"status", os.O_RDONLY), 4096).split(b"\n"):
            if line.startswith(name + b":"):
                return line.split()[1]
        raise error_of(errno.EPERM)

    def _proc(self, name: bytes, flags: int) -> int:
        fd = self.keep(os.open(b"/proc/%d/%s" % (self.thread, name), flags | os.O_CLOEXEC))
        self._check()
        return fd

    def _check(self) -> None:
        """The number of a process may have passed to another, but not while its call waits."""
        try:
            fcntl.ioctl(self._listener, IS_VALID, struct.pack("=Q", self.id))
        except OSError:
            raise Answered from None
