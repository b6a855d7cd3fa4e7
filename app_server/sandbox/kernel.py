"""Kernel calls for which Python has no functions: Landlock, seccomp and a few of files.

Also loaded by the helper process of the Landlock backend, which has the standard library and nothing else of ours.
"""

import ctypes
import errno
import os
import struct

# The same number everywhere.
OPENAT2 = 437
PIDFD_GETFD = 438
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446

_BY_MACHINE = {
    "x86_64": {"seccomp": 317, "capset": 126, "utimensat": 280, "fchownat": 260, "renameat2": 316, "connect": 42},
    "aarch64": {"seccomp": 277, "capset": 91, "utimensat": 88, "fchownat": 54, "renameat2": 276, "connect": 203},
}
_NUMBERS = _BY_MACHINE.get(os.uname().machine, {})

AT_EMPTY_PATH = 0x1000

# prctl
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5

CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04

# Landlock's rights on files.
FS_EXECUTE = 1 << 0
FS_WRITE_FILE = 1 << 1
FS_READ_FILE = 1 << 2
FS_READ_DIR = 1 << 3
FS_REMOVE_DIR = 1 << 4
FS_REMOVE_FILE = 1 << 5
FS_MAKE_CHAR = 1 << 6
FS_MAKE_DIR = 1 << 7
FS_MAKE_REG = 1 << 8
FS_MAKE_SOCK = 1 << 9
FS_MAKE_FIFO = 1 << 10
FS_MAKE_BLOCK = 1 << 11
FS_MAKE_SYM = 1 << 12
FS_REFER = 1 << 13
FS_TRUNCATE = 1 << 14
FS_IOCTL_DEV = 1 << 15

FS_READ = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR
FS_CHANGE = (
    FS_WRITE_FILE
    | FS_TRUNCATE
    | FS_REMOVE_DIR
    | FS_REMOVE_FILE
    | FS_MAKE_DIR
    | FS_MAKE_REG
    | FS_MAKE_SOCK
    | FS_MAKE_FIFO
    | FS_MAKE_SYM
    | FS_REFER
)
FS_ON_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV
"""The rights that a rule about a single file may name."""

NET_TCP = 0b11
SCOPE_ABSTRACT_SOCKETS = 1 << 0
SCOPE_SIGNALS = 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.argtypes = [ctypes.c_long] * 7
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def _call(number: int, *arguments: int) -> int:
    """The result of a system call. Raises OSError."""
    result: int = _libc.syscall(number, *arguments, *(0,) * (6 - len(arguments)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _named(name: str) -> int:
    try:
        return _NUMBERS[name]
    except KeyError:
        raise OSError(errno.ENOSYS, f"{name} is not known on {os.uname().machine}") from None


def prctl(option: int, argument: int = 0) -> int:
    """Raises OSError."""
    result: int = _libc.prctl(option, argument, 0, 0, 0)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# Landlock


def landlock_abi() -> int:
    """Landlock's version in this kernel; 0 where there is none or it is switched off."""
    try:
        return _call(LANDLOCK_CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


def filesystem_rights(abi: int) -> int:
    """Every right on files that this version can take away."""
    last = FS_MAKE_SYM
    for version, right in ((2, FS_REFER), (3, FS_TRUNCATE), (5, FS_IOCTL_DEV)):
        if abi >= version:
            last = right
    return (last << 1) - 1


def create_ruleset(filesystem: int, network: int, scoped: int) -> int:
    """The descriptor of a new ruleset that takes these rights away but where rules give them. Raises OSError."""
    attributes = struct.pack("=QQQ", filesystem, network, scoped)
    size = 24 if scoped else 16 if network else 8
    buffer = ctypes.create_string_buffer(attributes[:size], size)
    return _call(LANDLOCK_CREATE_RULESET, ctypes.addressof(buffer), size, 0)


def add_path_rule(ruleset: int, rights: int, fd: int) -> None:
    """Give rights on a file or below a directory. Raises OSError."""
    buffer = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd), 12)
    _call(LANDLOCK_ADD_RULE, ruleset, 1, ctypes.addressof(buffer), 0)


def restrict_self(ruleset: int) -> None:
    """Put this thread, and what comes of it, under a ruleset for good. Raises OSError."""
    _call(LANDLOCK_RESTRICT_SELF, ruleset, 0)


# seccomp and privileges


def install_filter(program: bytes, flags: int = 0) -> int:
    """Put this thread under a system call filter for good; the listener's descriptor, if asked for one.

    Raises OSError.
    """
    code = ctypes.create_string_buffer(program, len(program))
    description = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return _call(_named("seccomp"), SECCOMP_SET_MODE_FILTER, flags, ctypes.addressof(description))


def drop_privileges() -> None:
    """Give up every capability, and the chance of ever getting one. Raises OSError."""
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):  # unknown, or never held
                raise
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)
    _call(_named("capset"), ctypes.addressof(header), ctypes.addressof(nothing))


# Files


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """A descriptor for `path`, looked up from `directory`. Raises OSError."""
    how = ctypes.create_string_buffer(struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve), 24)
    name = ctypes.create_string_buffer(path)
    return _call(OPENAT2, directory, ctypes.addressof(name), ctypes.addressof(how), 24)


def pidfd_getfd(process: int, number: int) -> int:
    """A descriptor for the open file that another process has under `number`. Raises OSError."""
    return _call(PIDFD_GETFD, process, number, 0)


def connect(fd: int, address: bytes) -> None:
    """Connect a socket to a `struct sockaddr`. A signal interrupts it. Raises OSError."""
    name = ctypes.create_string_buffer(address, len(address))
    _call(_named("connect"), fd, ctypes.addressof(name), len(address))


def set_times(fd: int, times: bytes | None) -> None:
    """Set the time stamps of what a path-only descriptor stands for; two `struct timespec`. Raises OSError."""
    empty = ctypes.create_string_buffer(b"")
    stamps = None if times is None else ctypes.create_string_buffer(times, len(times))
    address = 0 if stamps is None else ctypes.addressof(stamps)
    _call(_named("utimensat"), fd, ctypes.addressof(empty), address, AT_EMPTY_PATH)


def set_owner(fd: int, user: int, group: int) -> None:
    """Change the owner of what a path-only descriptor stands for; -1 keeps one. Raises OSError."""
    empty = ctypes.create_string_buffer(b"")
    _call(_named("fchownat"), fd, ctypes.addressof(empty), user, group, AT_EMPTY_PATH)


def rename(source: int, old: bytes, target: int, new: bytes, flags: int) -> None:
    """Rename between two directories. Raises OSError."""
    names = ctypes.create_string_buffer(old), ctypes.create_string_buffer(new)
    _call(_named("renameat2"), source, ctypes.addressof(names[0]), target, ctypes.addressof(names[1]), flags)
