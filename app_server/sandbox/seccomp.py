"""The system call filter of sandboxed commands: a BPF program, built here and given to bubblewrap by descriptor."""

import functools
import platform
import struct

from msgspec import Struct

from app_server.sandbox.sandbox import SandboxUnavailable

# Classic BPF operations.
LOAD = 0x20  # ld [k]: a 32-bit word of struct seccomp_data
AND = 0x54
EQUAL = 0x15
AT_LEAST = 0x35
ANY_OF = 0x45
RETURN = 0x06

# What the filter may answer.
ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000
EPERM = ERRNO | 1
ENOSYS = ERRNO | 38

# Offsets in struct seccomp_data (both architectures are little-endian).
NUMBER = 0
ARCHITECTURE = 4

X32_BIT = 0x40000000
"""x86-64 has a second table of system calls from here on; nothing needs it."""

AF_UNIX = 1
SOCK_TYPE_MASK = 0xF
CONNECTED_TYPES = (1, 5)
"""SOCK_STREAM and SOCK_SEQPACKET. Any other kind of local socket sends to a path by one sendmsg, also SOCK_RAW."""
AF_INET = 2
SOCK_STREAM = 1
TCP_PROTOCOLS = (0, 6)
NETWORK_FAMILIES = (AF_INET, 10, 16)
"""AF_INET, AF_INET6, and AF_NETLINK, by which programs learn of addresses and routes."""
MSG_FASTOPEN = 0x20000000
"""Of sendto and sendmsg: connect to the address in the message."""
SOCKET_OPTIONS = {
    1: (2, 6, 7, 8, 9, 10, 12, 13, 15, 16, 18, 20, 21, 26, 27, 29, 34, 35, 44, 46, 60, 63, 64, 65, 66, 67),
    6: (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 18, 25),
    0: (1, 2, 10, 11),
}
"""By level what may be set of a socket that leads to the proxy: waits, buffers, keeping alive and the like.

No option can lead its packets elsewhere (a device, a source route, a mark) or connect it otherwise (fast open).
"""
TERMINAL_INPUT = (0x5412, 0x541C)
"""ioctls TIOCSTI and TIOCLINUX: typing into the terminal that the command was given."""
CLONE_NEWUSER = 0x10000000
FILE_WATCHES = (1024, 1026, 1040)
"""fcntls F_SETLEASE, F_NOTIFY and F_SETDELEG: they make whoever opens the file wait, also outside."""


class Calls(Struct, frozen=True):
    """The numbers of the system calls that the filter knows, for one architecture."""

    audit: int
    socket: int
    socketpair: int
    sendto: int
    sendmsg: int
    setsockopt: int
    ioctl: int
    fcntl: int
    clone: int
    unshare: int
    network: tuple[int, ...]
    """connect, bind, listen, accept, accept4, sendmmsg, recvmmsg"""
    tracing: tuple[int, ...]
    """ptrace, process_vm_readv, process_vm_writev"""
    keys: tuple[int, ...]
    """add_key, request_key, keyctl: the keys of the user's session and account"""
    observing: tuple[int, ...]
    """bpf, perf_event_open, userfaultfd, fanotify_init"""
    mounting: tuple[int, ...]
    """mount, umount2, pivot_root, setns, open_by_handle_at, quotactl, swapon, swapoff"""
    machine: tuple[int, ...]
    """kexec_load, kexec_file_load, init_module, finit_module, delete_module, reboot, acct, and on x86 iopl, ioperm"""
    has_x32: bool = False


IO_URING = (425, 426, 427)
"""Everywhere the same, as all newer calls; it does what other calls do without passing a filter."""

CLONE3 = 435
"""Its flags are behind a pointer. Told that it does not exist, the C libraries use clone instead."""

NEWER_TRACING = (438,)
"""pidfd_getfd"""

NEWER_MOUNTING = (428, 429, 430, 431, 432, 433, 442, 443, 467)
"""open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, quotactl_fd, open_tree_attr"""

ARCHITECTURES = {
    "x86_64": Calls(
        audit=0xC000003E,
        socket=41,
        socketpair=53,
        sendto=44,
        sendmsg=46,
        setsockopt=54,
        ioctl=16,
        fcntl=72,
        clone=56,
        unshare=272,
        network=(42, 49, 50, 43, 288, 307, 299),
        tracing=(101, 310, 311),
        keys=(248, 249, 250),
        observing=(321, 298, 323, 300),
        mounting=(165, 166, 155, 308, 304, 179, 167, 168),
        machine=(246, 320, 175, 313, 176, 169, 163, 172, 173),
        has_x32=True,
    ),
    "aarch64": Calls(
        audit=0xC00000B7,
        socket=198,
        socketpair=199,
        sendto=206,
        sendmsg=211,
        setsockopt=208,
        ioctl=29,
        fcntl=25,
        clone=220,
        unshare=97,
        network=(203, 200, 201, 202, 242, 269, 243),
        tracing=(117, 270, 271),
        keys=(217, 218, 219),
        observing=(280, 241, 282, 262),
        mounting=(40, 39, 41, 268, 265, 60, 224, 225),
        machine=(104, 294, 105, 273, 106, 142, 89),
    ),
}


@functools.cache
def program(*, network: bool, proxied: bool = False, machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, for this machine or the one named.

    Always refused: io_uring, tracing, keys, mounts and user namespaces, what is the machine's, leases, typing into the
    terminal, and local sockets but for pairs of streams. With `network` there are internet and netlink sockets,
    without it there are only local streams that can neither reach nor offer anything. With `proxied` instead there are
    TCP sockets too, which can only be connected, and on connecting a supervisor is to decide. The answer is EPERM; a
    call of a foreign architecture kills the process. Raises SandboxUnavailable where the architecture is unknown.
    """
    machine = machine or platform.machine()
    calls = ARCHITECTURES.get(machine)
    if calls is None:
        raise SandboxUnavailable(f"there is no system call filter for the {machine} architecture")
    code: list[bytes] = [
        _load(ARCHITECTURE),
        _jump(EQUAL, calls.audit, then=1, otherwise=0),
        _return(KILL),
        _load(NUMBER),
    ]
    if calls.has_x32:
        code += [_jump(AT_LEAST, X32_BIT, then=0, otherwise=1), _return(KILL)]
    for number in refused(network=network, proxied=proxied, machine=machine):
        code += [_jump(EQUAL, number, then=0, otherwise=1), _return(EPERM)]
    code += [_jump(EQUAL, CLONE3, then=0, otherwise=1), _return(ENOSYS)]
    for number in (calls.clone, calls.unshare):
        code += _on_call(
            number, [_load(_argument(0)), _jump(ANY_OF, CLONE_NEWUSER, then=0, otherwise=1), _return(EPERM)]
        )
    code += _on_call(calls.ioctl, [_load(_argument(1)), *_refuse_if_one_of(TERMINAL_INPUT)])
    code += _on_call(calls.fcntl, [_load(_argument(1)), *_refuse_if_one_of(FILE_WATCHES)])
    kind = [_load(_argument(1)), struct.pack("<HBBI", AND, 0, 0, SOCK_TYPE_MASK)]
    local_stream = [
        *[_load(_argument(0)), *_refuse_unless_one_of((AF_UNIX,))],
        *[*kind, *_refuse_unless_one_of(CONNECTED_TYPES)],
    ]
    code += _on_call(calls.socketpair, local_stream)
    if network:
        # No local sockets: with connect allowed they reach the machine's services, whose paths no filter can see.
        code += _on_call(calls.socket, [_load(_argument(0)), *_refuse_unless_one_of(NETWORK_FAMILIES)])
    else:
        to_proxy: list[bytes] = []
        connecting: list[bytes] = []
        if proxied:
            over_tcp = [*kind, *_refuse_unless_one_of((SOCK_STREAM,)), _load(_argument(2))]
            over_tcp += [*_refuse_unless_one_of(TCP_PROTOCOLS), _return(ALLOW)]
            to_proxy = [_load(_argument(0)), *_if_equal(AF_INET, over_tcp)]
            connecting = [_jump(ANY_OF, MSG_FASTOPEN, then=0, otherwise=1), _return(EPERM)]
            code += _on_call(calls.sendmsg, [_load(_argument(2)), *connecting])
            code += _on_call(calls.setsockopt, [_load(_argument(1)), *_options()])
        code += _on_call(calls.socket, [*to_proxy, *local_stream])
        # send() on a pair or a connection is a sendto without an address, and harmless.
        low, high = _argument(4), _argument(4) + 4
        elsewhere = [_load(low), *_refuse_unless_one_of((0,)), _load(high), *_refuse_unless_one_of((0,))]
        code += _on_call(calls.sendto, [_load(_argument(3)), *connecting, *elsewhere])
    code.append(_return(ALLOW))
    return b"".join(code)


def refused(*, network: bool, machine: str, proxied: bool = False) -> tuple[int, ...]:
    """The calls that are refused whatever their arguments, for an architecture of `ARCHITECTURES`."""
    calls = ARCHITECTURES[machine]
    always = (*IO_URING, *calls.tracing, *NEWER_TRACING, *calls.keys, *calls.observing)
    always += (*calls.mounting, *NEWER_MOUNTING, *calls.machine)
    return always if network else (*always, *calls.network[1 if proxied else 0 :])


def _options() -> list[bytes]:
    """Refuse options of sockets that are not in `SOCKET_OPTIONS`. The level is expected in the accumulator."""
    levels = [
        _if_equal(level, [_load(_argument(2)), *_refuse_unless_one_of(options), _return(ALLOW)])
        for level, options in SOCKET_OPTIONS.items()
    ]
    return [*(part for level in levels for part in level), _return(EPERM)]


def _argument(index: int) -> int:
    """The offset of an argument's low word; its high word follows."""
    return 16 + 8 * index


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", LOAD, 0, 0, offset)


def _jump(operation: int, value: int, *, then: int, otherwise: int) -> bytes:
    """Skip `then` instructions if the comparison holds, else `otherwise`."""
    return struct.pack("<HBBI", operation, then, otherwise, value)


def _return(answer: int) -> bytes:
    return struct.pack("<HBBI", RETURN, 0, 0, answer)


def _refuse_if_one_of(values: tuple[int, ...]) -> list[bytes]:
    return [part for value in values for part in (_jump(EQUAL, value, then=0, otherwise=1), _return(EPERM))]


def _refuse_unless_one_of(values: tuple[int, ...]) -> list[bytes]:
    """Go on behind the refusal if the word in the accumulator is one of `values`."""
    count = len(values)
    return [*(_jump(EQUAL, value, then=count - at, otherwise=0) for at, value in enumerate(values)), _return(EPERM)]


def _if_equal(value: int, body: list[bytes]) -> list[bytes]:
    """`body`, which must answer, if the accumulator has that value."""
    return [_jump(EQUAL, value, then=0, otherwise=len(body)), *body]


def _on_call(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for one system call; what it does not refuse is allowed. The number is expected in the accumulator."""
    return [_jump(EQUAL, number, then=0, otherwise=len(body) + 1), *body, _return(ALLOW)]
