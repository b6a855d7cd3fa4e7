"""The system call filter of sandboxed commands: a BPF program, built here and given to bubblewrap by descriptor."""

import functools
import platform
import struct
from dataclasses import dataclass

from app_server.sandbox.sandbox import SandboxUnavailable

# Classic BPF operations.
LOAD = 0x20  # ld [k]: a 32-bit word of struct seccomp_data
AND = 0x54
EQUAL = 0x15
AT_LEAST = 0x35
RETURN = 0x06

# What the filter may answer.
ALLOW = 0x7FFF0000
KILL = 0x80000000
EPERM = 0x00050000 | 1

# Offsets in struct seccomp_data (both architectures are little-endian).
NUMBER = 0
ARCHITECTURE = 4

X32_BIT = 0x40000000
"""x86-64 has a second table of system calls from here on; nothing needs it."""

AF_UNIX = 1
SOCK_DGRAM = 2
SOCK_TYPE_MASK = 0xF
FAMILIES_NEVER = (17, 40)
"""AF_PACKET, and AF_VSOCK, which reaches the host of a virtual machine past every network namespace."""
TERMINAL_INPUT = (0x5412, 0x541C)
"""ioctls TIOCSTI and TIOCLINUX: typing into the terminal that the command was given."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The numbers of the system calls that the filter knows, for one architecture."""

    audit: int
    socket: int
    socketpair: int
    sendto: int
    ioctl: int
    network: tuple[int, ...]
    """connect, bind, listen, accept, accept4, sendmmsg, recvmmsg"""
    tracing: tuple[int, ...]
    """ptrace, process_vm_readv, process_vm_writev"""
    has_x32: bool = False


IO_URING = (425, 426, 427)
"""Everywhere the same; it does what other calls do without passing a filter."""

ARCHITECTURES = {
    "x86_64": Calls(
        audit=0xC000003E,
        socket=41,
        socketpair=53,
        sendto=44,
        ioctl=16,
        network=(42, 49, 50, 43, 288, 307, 299),
        tracing=(101, 310, 311),
        has_x32=True,
    ),
    "aarch64": Calls(
        audit=0xC00000B7,
        socket=198,
        socketpair=199,
        sendto=206,
        ioctl=29,
        network=(203, 200, 201, 202, 242, 269, 243),
        tracing=(117, 270, 271),
    ),
}


@functools.cache
def program(*, network: bool, machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, for this machine or the one named.

    Always refused: io_uring, typing into the terminal, packet and vsock sockets. Without `network` also every socket
    but local streams, reaching or offering any, and tracing. The answer is EPERM; a call of a foreign architecture
    kills the process. Raises SandboxUnavailable where the architecture is unknown.
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
    refused = [*IO_URING]
    if not network:
        refused += [*calls.network, *calls.tracing]
    for number in refused:
        code += [_jump(EQUAL, number, then=0, otherwise=1), _return(EPERM)]
    code += _on_call(calls.ioctl, [_load(_argument(1)), *_refuse_if_one_of(TERMINAL_INPUT)])
    if network:
        code += _on_call(calls.socket, [_load(_argument(0)), *_refuse_if_one_of(FAMILIES_NEVER)])
    else:
        # A datagram socket could be aimed at any local service by one sendmsg, a stream only by a connect.
        local_stream_only = [
            _load(_argument(0)),
            _jump(EQUAL, AF_UNIX, then=1, otherwise=0),
            _return(EPERM),
            _load(_argument(1)),
            struct.pack("<HBBI", AND, 0, 0, SOCK_TYPE_MASK),
            _jump(EQUAL, SOCK_DGRAM, then=0, otherwise=1),
            _return(EPERM),
        ]
        code += _on_call(calls.socket, local_stream_only)
        code += _on_call(calls.socketpair, local_stream_only)
        # send() on a pair is a sendto without an address, and harmless.
        without_address = [
            _load(_argument(4)),
            _jump(EQUAL, 0, then=1, otherwise=0),
            _return(EPERM),
            _load(_argument(4) + 4),
            _jump(EQUAL, 0, then=1, otherwise=0),
            _return(EPERM),
        ]
        code += _on_call(calls.sendto, without_address)
    code.append(_return(ALLOW))
    return b"".join(code)


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


def _on_call(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for one system call; what it does not refuse is allowed. The number is expected in the accumulator."""
    return [_jump(EQUAL, number, then=0, otherwise=len(body) + 1), *body, _return(ALLOW)]
