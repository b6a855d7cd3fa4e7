"""What Landlock leaves open, as system call filters: calls that are refused, and calls that the supervisor answers."""

import functools
import os
import platform
import struct
from collections.abc import Iterable, Mapping

from app_server.sandbox.sandbox import SandboxUnavailable

LOAD, AND, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x54, 0x15, 0x45, 0x06

ALLOW = 0x7FFF0000
ASK = 0x7FC00000
"""The supervisor is asked."""
ERRNO = 0x00050000
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95

LOCKS = (6, 7, 37, 38)
"""fcntls F_SETLK, F_SETLKW, F_OFD_SETLK and F_OFD_SETLKW."""

NUMBER = 0
FIRST_ARGUMENT = 16

NEW_NAMESPACES = 0x7E020000 | 0x80
"""clone() flags: mount, cgroup, uts, ipc, user, pid, network and time namespaces."""

CLONE_FILES, CLONE_THREAD = 0x400, 0x10000

OPENS_TO_ASK_ABOUT = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_DIRECTORY
"""Those that change something, and those that list a directory."""

# Names and numbers on x86-64 and on aarch64, which has no calls that another one can replace.
_NUMBERS: Mapping[str, tuple[int, int | None]] = {
    "open": (2, None),
    "creat": (85, None),
    "openat": (257, 56),
    "truncate": (76, 45),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "link": (86, None),
    "linkat": (265, 37),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "unlink": (87, None),
    "rmdir": (84, None),
    "unlinkat": (263, 35),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "connect": (42, 203),
    "fcntl": (72, 25),
    "flock": (73, 32),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "openat2": (437, 437),
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "ioctl": (16, 29),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}

OPENING = ("open", "openat")
CHANGING_FILES = (
    *("creat", "truncate", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat"),
    *("rename", "renameat", "renameat2", "unlink", "rmdir", "unlinkat"),
)
"""What Landlock decides on, so that the supervisor may let it pass."""

CHANGING_ATTRIBUTES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
"""What Landlock knows nothing of: the supervisor does it where it is allowed."""

LOCKING = ("fcntl", "flock")
"""A file need not be open for writing to be locked, and whoever uses it outside then waits."""

CONNECTING = "connect"
"""With a proxy on this machine's network: the supervisor does it, to that place only."""

SIGNALLING = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")

_NEVER = (
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot"),
    # Shared with every other process of the machine, whoever started it.
    *("shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop"),
    *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "add_key", "request_key", "keyctl"),
    *("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "open_by_handle_at"),
    # On processes of the same user, which without a process-id namespace are all there.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "file_setattr"),
)
_EXTENDED_ATTRIBUTES = (
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    *("setxattrat", "removexattrat"),
)
_MOVING_MEMORY = ("migrate_pages", "move_pages")
"""Of a process that the first argument names."""

ON_PROCESSES = {
    "sched_setparam": 0,
    "sched_setscheduler": 0,
    "sched_setattr": 0,
    "sched_setaffinity": 0,
    "prlimit64": 0,
}
"""Calls that change a process, and which argument names it; 0 there is the caller itself."""

BY_KIND = {"setpriority": (2,), "ioprio_set": (3,)}
"""Calls that change processes of some kind, their first argument, and the kind that is all of a user."""

_OF_FILE_SYSTEMS = tuple(number << 8 for number in (0x45, 0x58, 0x66, 0x6E, 0x6F, 0x76, 0x94, 0x97, 0xCF, 0xF5))
"""Kinds of ioctls by which file systems change what is only open for reading: flags, versions, subvolumes, seals."""

_HARMLESS = (0x80086601, 0x80046601, 0x80087601, 0x801C581F, 0xC020660B, 0x40049409, 0x4020940D, 0xC0189436)
"""Of these kinds: asking for flags, version, attributes and extents; clones into what is open for writing."""

_OWNER_FCNTLS = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX."""

_OWNER_IOCTLS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP."""


def number_of(name: str, machine: str) -> int | None:
    """The number of a system call, or None where there is no such call."""
    x86, arm = _NUMBERS[name]
    return x86 if machine == "x86_64" else arm


@functools.cache
def names(machine: str | None = None) -> Mapping[int, str]:
    """The calls that the supervisor may be asked about, by number."""
    machine = _known(machine)
    asked = (
        *OPENING,
        *CHANGING_FILES,
        *CHANGING_ATTRIBUTES,
        *LOCKING,
        *SIGNALLING,
        *ON_PROCESSES,
        *BY_KIND,
        CONNECTING,
    )
    return {number: name for name in (*asked, CONNECTING) if (number := number_of(name, machine)) is not None}


@functools.cache
def refusals(*, truncate: bool, signals: bool, machine: str | None = None) -> bytes:
    """The filter of calls that nobody decides on: an array of `struct sock_filter`.

    With `truncate` Landlock cannot refuse to cut files, so cutting one that is opened to read is refused here. With
    `signals` it cannot hold them back, so naming who gets the signals of a descriptor is refused too.
    """
    code = _Code(_known(machine))
    code.answer(_NEVER, ERRNO | EPERM)
    code.answer(_EXTENDED_ATTRIBUTES, ERRNO | EOPNOTSUPP)
    # Their arguments are behind pointers; programs do without them.
    code.answer(("openat2", "clone3"), ERRNO | ENOSYS)
    code.on("clone", [*code.refuse_if_set(0, NEW_NAMESPACES), *code.refuse_shared_files(0)])
    code.on(
        "ioctl",
        [
            *code.answer_if_one_of(1, _HARMLESS, ALLOW),
            *code.answer_if_one_of(1, _OWNER_IOCTLS if signals else (), ERRNO | EPERM),
            *code.answer_if_one_of(1, _OF_FILE_SYSTEMS, ERRNO | EPERM, mask=0xFF00),
        ],
    )
    for name in _MOVING_MEMORY:
        code.on(name, code.answer_unless_zero(0, ERRNO | EPERM))
    if signals:
        code.on("fcntl", code.answer_if_one_of(1, _OWNER_FCNTLS, ERRNO | EPERM))
    if truncate:
        code.on("open", code.refuse_truncating_reader(1))
        code.on("openat", code.refuse_truncating_reader(2))
    return code.end()


@functools.cache
def questions(*, reads: bool, signals: bool, proxied: bool = False, machine: str | None = None) -> bytes:
    """The filter of calls that wait for the supervisor's answer.

    They change or lock files, list directories, or change processes.

    With `reads` every other open is among them, with `signals` every signal, with `proxied` every `connect`.
    """
    code = _Code(_known(machine))
    code.answer((*CHANGING_FILES, *CHANGING_ATTRIBUTES, "flock"), ASK)
    code.on("fcntl", code.answer_if_one_of(1, LOCKS, ASK))
    if reads:
        code.answer(OPENING, ASK)
    else:
        code.on("open", code.ask_if_set(1, OPENS_TO_ASK_ABOUT))
        code.on("openat", code.ask_if_set(2, OPENS_TO_ASK_ABOUT))
    for name, position in ON_PROCESSES.items():
        code.on(name, code.answer_unless_zero(position, ASK))
    for name in BY_KIND:
        # Of the kinds of targets only processes and groups can be the caller's own alone, and not its user.
        code.on(name, [*code.answer_unless_zero(1, ASK), *code.answer_if_one_of(0, BY_KIND[name], ASK)])
    if signals:
        code.answer(SIGNALLING, ASK)
    if proxied:
        code.answer((CONNECTING,), ASK)
    return code.end()


def _known(machine: str | None) -> str:
    machine = machine or platform.machine()
    if machine not in ("x86_64", "aarch64"):
        raise SandboxUnavailable(f"there is no system call filter for the {machine} architecture")
    return machine


class _Code:
    """A program that looks at the number first; calls of another architecture are refused by the other filter."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._code = [_instruction(LOAD, NUMBER)]

    def answer(self, calls: Iterable[str], answer: int) -> None:
        for call in calls:
            if (number := number_of(call, self._machine)) is not None:
                self._code += [_jump(JUMP_IF_EQUAL, number, 0, 1), _instruction(RETURN, answer)]

    def on(self, call: str, body: list[bytes]) -> None:
        """`body` for one call; what it does not answer is allowed."""
        if (number := number_of(call, self._machine)) is not None:
            body = [*body, _instruction(RETURN, ALLOW)]
            self._code += [_jump(JUMP_IF_EQUAL, number, 0, len(body)), *body]

    def end(self) -> bytes:
        return b"".join([*self._code, _instruction(RETURN, ALLOW)])

    def refuse_if_set(self, argument: int, bits: int) -> list[bytes]:
        return [_load(argument), _jump(JUMP_IF_SET, bits, 0, 1), _instruction(RETURN, ERRNO | EPERM)]

    def refuse_shared_files(self, argument: int) -> list[bytes]:
        """Descriptors are shared with threads only: the supervisor reckons with nobody else who changes them."""
        return [
            _load(argument),
            _jump(JUMP_IF_SET, CLONE_FILES, 0, 2),
            _jump(JUMP_IF_SET, CLONE_THREAD, 1, 0),
            _instruction(RETURN, ERRNO | EPERM),
        ]

    def ask_if_set(self, argument: int, bits: int) -> list[bytes]:
        return [_load(argument), _jump(JUMP_IF_SET, bits, 0, 1), _instruction(RETURN, ASK)]

    def answer_if_one_of(
        self, argument: int, values: Iterable[int], answer: int, *, mask: int | None = None
    ) -> list[bytes]:
        answers = [
            part for value in values for part in (_jump(JUMP_IF_EQUAL, value, 0, 1), _instruction(RETURN, answer))
        ]
        return [_load(argument), *([] if mask is None else [_instruction(AND, mask)]), *answers]

    def answer_unless_zero(self, argument: int, answer: int) -> list[bytes]:
        return [_load(argument), _jump(JUMP_IF_EQUAL, 0, 1, 0), _instruction(RETURN, answer)]

    def refuse_truncating_reader(self, argument: int) -> list[bytes]:
        return [
            _load(argument),
            _jump(JUMP_IF_SET, os.O_TRUNC, 0, 2),
            _jump(JUMP_IF_SET, os.O_WRONLY | os.O_RDWR, 1, 0),
            _instruction(RETURN, ERRNO | EPERM),
        ]


def _instruction(operation: int, value: int) -> bytes:
    return struct.pack("<HBBI", operation, 0, 0, value)


def _jump(operation: int, value: int, then: int, otherwise: int) -> bytes:
    """Skip `then` instructions if the comparison holds, else `otherwise`."""
    return struct.pack("<HBBI", operation, then, otherwise, value)


def _load(argument: int) -> bytes:
    """The low word of an argument."""
    return _instruction(LOAD, FIRST_ARGUMENT + 8 * argument)
