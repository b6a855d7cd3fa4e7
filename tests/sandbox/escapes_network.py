"""Attempts to reach anything beyond the machine, or any service on it, without a network."""

import ctypes
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress

from tests.sandbox.attempts import CONFINED, EVERYWHERE, PRELUDE, Attempt, Check, Host, Outcome, Prepare, py, says, sh
from tests.sandbox.needs import SYS_ADMIN, capability, existing, has_v6, program, root, x86_64

SOCKETS = "import socket, struct\n"


def tcp(family: socket.AddressFamily, address: str) -> Prepare:
    """A service of the host at PORT; the attempt succeeds if somebody connects."""

    def prepare(host: Host) -> Check:
        listener = host.keep(socket.socket(family))
        listener.bind((address, 0))
        listener.listen()
        host.env["PORT"] = str(listener.getsockname()[1])
        return lambda _: has_news(listener)

    return prepare


def udp(family: socket.AddressFamily, address: str) -> Prepare:
    """The same for datagrams."""

    def prepare(host: Host) -> Check:
        receiver = host.keep(socket.socket(family, socket.SOCK_DGRAM))
        receiver.bind((address, 0))
        host.env["PORT"] = str(receiver.getsockname()[1])
        return lambda _: has_news(receiver)

    return prepare


def unix(kind: socket.SocketKind, *, abstract: bool = False) -> Prepare:
    """A local service of the host at SOCKET."""

    def prepare(host: Host) -> Check:
        service = host.keep(socket.socket(socket.AF_UNIX, kind))
        # The folder's own name may be too long for an address.
        path = f"/tmp/turnloom-{host.mark}"
        service.bind("\0" + path if abstract else path)
        if not abstract:
            host.stack.callback(os.unlink, path)
        if kind != socket.SOCK_DGRAM:
            service.listen()
        host.env["SOCKET"] = path
        return lambda _: has_news(service)

    return prepare


def has_news(endpoint: socket.socket) -> bool:
    """Whether somebody connected or sent."""
    return bool(select.select([endpoint], [], [], 0)[0])


def can_connect(host: Host) -> Check:
    """Whether a service that the command offers answers the host; it tells its port."""

    def check(outcome: Outcome) -> bool:
        ports = [word.removeprefix("port=") for word in outcome.text.split() if word.startswith("port=")]
        for port in ports:
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=2):
                return True
        return False

    return check


def hands_out_a_network(host: Host) -> Check:
    """A process of the host's that listens, with its socket to be taken."""
    listener = host.keep(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    connected = host.keep(socket.create_connection(listener.getsockname()))
    served, _ = listener.accept()
    host.keep(served)
    host.victim(fds=[connected.fileno()])
    host.env["FD"] = str(connected.fileno())
    return lambda _: has_news(served)


def host_names(host: Host) -> Check:
    """Whether the command can name the network interfaces of the host besides its own loopback."""
    names = {name for _, name in socket.if_nameindex()} - {"lo"}
    host.env["NAMES"] = " ".join(names)
    return says(host)


def has_second_interface() -> str | None:
    return None if len(socket.if_nameindex()) > 1 else "this machine has no network interface but its loopback"


def family(number: int, kind: int, protocol: int = 0):
    """A kind of socket that this kernel has."""

    def has() -> str | None:
        try:
            socket.socket(number, kind, protocol).close()
        except OSError as error:
            return f"sockets of family {number} and type {kind} do not exist here: {error.strerror}"
        return None

    return has


def socket_of(
    what: str, number: int, kind: int, protocol: int = 0, *, as_root: bool = False, profiles: tuple[str, ...] = CONFINED
) -> Attempt:
    """An attempt that has succeeded once there is such a socket."""
    return Attempt(
        name=f"open {what}",
        program=py(SOCKETS + f"escaped(socket.socket({number}, {kind}, {protocol}))"),
        prepare=says,
        needs=(root, family(number, kind, protocol)) if as_root else (family(number, kind, protocol),),
        profiles=profiles,
    )


FOREIGN_CALL = """
import mmap
CODE = mmap.mmap(-1, 4096, prot=7, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40)

def foreign(number, *arguments):
    \"\"\"A call by the table of 32-bit programs.\"\"\"
    code = b"\\x53\\xb8" + number.to_bytes(4, "little")  # push rbx; mov eax
    for opcode, value in zip((b"\\xbb", b"\\xb9", b"\\xba"), (*arguments, 0, 0, 0)):
        code += opcode + value.to_bytes(4, "little")
    CODE[: len(code) + 4] = code + b"\\xcd\\x80\\x5b\\xc3"  # int 0x80; pop rbx; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(CODE))
    return checked(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""

URING = """
import mmap, struct, socket

class Ring:
    \"\"\"Calls handed to the kernel by shared memory, past any filter of calls.\"\"\"

    def __init__(self):
        parameters = bytearray(120)
        buffer = (ctypes.c_char * 120).from_buffer(parameters)
        self.fd = call(425, 4, buffer)
        values = struct.unpack("30I", bytes(parameters))
        self.sq, self.cq = values[10:20], values[20:30]
        self.size = max(self.sq[6] + values[0] * 4, self.cq[5] + values[1] * 16)
        self.rings = mmap.mmap(self.fd, self.size, offset=0)
        self.cqs = self.rings if values[5] & 1 else mmap.mmap(self.fd, self.cq[5] + values[1] * 16, offset=0x8000000)
        self.entries = mmap.mmap(self.fd, values[0] * 64, offset=0x10000000)
        self.turn = 0

    def run(self, opcode, fd, address=0, length=0, offset=0, flags=0):
        self.entries[0:64] = struct.pack("<BBHiQQIIQ24x", opcode, 0, 0, fd, offset, address, length, flags, 7)
        tail = struct.unpack_from("<I", self.rings, self.sq[1])[0]
        struct.pack_into("<I", self.rings, self.sq[6] + 4 * (tail & 3), 0)
        struct.pack_into("<I", self.rings, self.sq[1], tail + 1)
        call(426, self.fd, 1, 1, 1, 0, 0)
        head = struct.unpack_from("<I", self.cqs, self.cq[0])[0]
        result = struct.unpack_from("<Qi", self.cqs, self.cq[5] + 16 * (head & 7))[1]
        struct.pack_into("<I", self.cqs, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

def pointer(data):
    data = ctypes.create_string_buffer(data)
    KEPT.append(data)
    return ctypes.addressof(data)

KEPT = []
"""


def uring() -> str | None:
    """Whether the kernel lets anybody use io_uring."""
    buffer = ctypes.create_string_buffer(120)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(425, 1, buffer)
    if fd < 0:
        return f"io_uring is not available here: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return None


def table_of_32() -> str | None:
    """Whether the kernel has the calls of 32-bit programs."""
    code = PRELUDE + FOREIGN_CALL + "foreign(20)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env={"OUT": "", "WORK": ""}, capture_output=True, check=False
    )
    return None if done.returncode == 0 else "the kernel does not run the calls of 32-bit programs"


def table_of_x32() -> str | None:
    """Whether the kernel has the x32 calls."""
    return None if ctypes.CDLL(None).syscall(0x40000000 + 39) > 0 else "the kernel has no x32 calls"


CONNECT = SOCKETS + 'port = int(os.environ["PORT"])\n'
LOCAL = SOCKETS + 'path = os.environ["SOCKET"]\n'
ABSTRACT = SOCKETS + 'path = "\\0" + os.environ["SOCKET"]\n'
V4 = tcp(socket.AF_INET, "127.0.0.1")
V4_UDP = udp(socket.AF_INET, "127.0.0.1")

ATTEMPTS = [
    Attempt(
        name="connect by IPv4",
        program=py(CONNECT + 'socket.create_connection(("127.0.0.1", port))'),
        prepare=V4,
    ),
    Attempt(
        name="connect by IPv6",
        program=py(CONNECT + 'socket.socket(socket.AF_INET6).connect(("::1", port))'),
        prepare=tcp(socket.AF_INET6, "::1"),
        needs=(has_v6,),
    ),
    Attempt(
        name="connect by a shell of its own",
        program=sh('bash -c "echo evil >/dev/tcp/127.0.0.1/$PORT"'),
        prepare=V4,
        needs=(program("bash"),),
    ),
    Attempt(
        name="connect by multipath TCP",
        program=py(CONNECT + 'socket.socket(2, 1, 262).connect(("127.0.0.1", port))'),
        prepare=V4,
        needs=(family(2, 1, 262),),
    ),
    Attempt(
        name="send a datagram by IPv4",
        program=py(CONNECT + 'socket.socket(2, 2).sendto(b"evil", ("127.0.0.1", port))'),
        prepare=V4_UDP,
    ),
    Attempt(
        name="send a datagram by IPv4 with sendmsg",
        program=py(CONNECT + 'socket.socket(2, 2).sendmsg([b"evil"], [], 0, ("127.0.0.1", port))'),
        prepare=V4_UDP,
    ),
    Attempt(
        name="send a datagram by IPv4 after a connect",
        program=py(CONNECT + 's = socket.socket(2, 2); s.connect(("127.0.0.1", port)); s.send(b"evil")'),
        prepare=V4_UDP,
    ),
    Attempt(
        name="send a datagram by IPv6",
        program=py(CONNECT + 'socket.socket(10, 2).sendto(b"evil", ("::1", port))'),
        prepare=udp(socket.AF_INET6, "::1"),
        needs=(has_v6,),
    ),
    Attempt(
        name="connect by io_uring",
        program=py(
            URING + CONNECT + "ring = Ring()\n"
            "fd = ring.run(45, socket.AF_INET, offset=socket.SOCK_STREAM)\n"
            'address = struct.pack("<H", 2) + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)\n'
            "ring.run(16, fd, pointer(address), offset=16)"
        ),
        prepare=V4,
        needs=(uring,),
    ),
    Attempt(
        name="write outside by io_uring",
        program=py(
            URING + "ring = Ring()\n"
            "fd = ring.run(18, -100, pointer(os.fsencode(FILE)), flags=os.O_WRONLY)\n"
            'ring.run(23, fd, pointer(b"evil"), 4)'
        ),
        needs=(uring,),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="open a socket by the calls of 32-bit programs",
        program=py(FOREIGN_CALL + "escaped(foreign(359, 2, 1, 0))"),
        prepare=says,
        needs=(x86_64, table_of_32),
    ),
    Attempt(
        name="write outside by the calls of 32-bit programs",
        program=py(
            FOREIGN_CALL + "low = mmap.mmap(-1, 4096, prot=3, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40)\n"
            'low[:] = os.fsencode(FILE).ljust(4096, b"\\0")\n'
            "foreign(10, ctypes.addressof(ctypes.c_char.from_buffer(low)))"
        ),
        needs=(x86_64, table_of_32),
    ),
    Attempt(
        name="open a socket by the x32 calls",
        program=py("escaped(call(0x40000000 + 41, 2, 1, 0))"),
        prepare=says,
        needs=(x86_64, table_of_x32),
    ),
    socket_of("a raw socket", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, as_root=True),
    socket_of("an ICMP socket", socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    socket_of("a packet socket", socket.AF_PACKET, socket.SOCK_RAW, as_root=True, profiles=EVERYWHERE),
    socket_of("a vsock", socket.AF_VSOCK, socket.SOCK_STREAM, profiles=EVERYWHERE),
    socket_of("a netlink route socket", socket.AF_NETLINK, socket.SOCK_RAW),
    socket_of("a netlink audit socket", socket.AF_NETLINK, socket.SOCK_RAW, 9),
    socket_of("a netlink event socket", socket.AF_NETLINK, socket.SOCK_RAW, 15),
    socket_of("a kernel cipher socket", socket.AF_ALG, socket.SOCK_SEQPACKET),
    socket_of("a Bluetooth socket", 31, socket.SOCK_RAW, 1),
    socket_of("an SCTP socket", socket.AF_INET, socket.SOCK_STREAM, 132),
    socket_of("an XDP socket", 44, socket.SOCK_RAW, as_root=True),
    socket_of("a TIPC socket", 30, socket.SOCK_SEQPACKET),
    socket_of("a key management socket", 15, socket.SOCK_RAW, 2, as_root=True),
    Attempt(
        name="see the network of the host",
        still_open={
            "landlock": "without a namespace of networks /proc/net tells of the host's, and Landlock leaves it readable"
        },
        program=sh(
            """
            for n in $NAMES; do
                grep -q "$n" /proc/net/dev /proc/self/net/dev /proc/1/net/dev && echo ESCAPED
            done
            """
        ),
        prepare=host_names,
        needs=(has_second_interface,),
    ),
    Attempt(
        name="offer a service",
        program=py(
            SOCKETS + "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
            'print(f"port={s.getsockname()[1]}", flush=True); ready()'
        ),
        prepare=can_connect,
        alive=True,
    ),
    Attempt(
        name="enter the network namespace of a process of the host",
        program=py(
            CONNECT + 'lib("setns", os.open(f"/proc/{VICTIM}/ns/net", os.O_RDONLY), 0)\n'
            'socket.create_connection(("127.0.0.1", port))'
        ),
        prepare=lambda host: (host.victim(), V4(host))[1],
        needs=(capability(SYS_ADMIN),),
    ),
    Attempt(
        name="enter the network namespace of the parents",
        program=py(
            CONNECT + "for pid in (1, 2, os.getppid()):\n"
            '    each(lambda: lib("setns", os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), 0))\n'
            'socket.create_connection(("127.0.0.1", port))'
        ),
        prepare=V4,
        needs=(root,),
    ),
    Attempt(
        name="take a connection from a process of the host",
        program=py(SOCKETS + 'fd = call(438, call(434, VICTIM, 0), int(os.environ["FD"]), 0)\nos.write(fd, b"evil")'),
        prepare=hands_out_a_network,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="connect to a local service",
        program=py(LOCAL + "socket.socket(socket.AF_UNIX).connect(path)"),
        prepare=unix(socket.SOCK_STREAM),
    ),
    Attempt(
        name="connect to a local service through its directory",
        program=py(
            LOCAL + "fd = os.open(os.path.dirname(path), os.O_PATH)\n"
            'socket.socket(socket.AF_UNIX).connect(f"/proc/self/fd/{fd}/{os.path.basename(path)}")'
        ),
        prepare=unix(socket.SOCK_STREAM),
    ),
    Attempt(
        name="connect to a local service of packets",
        program=py(LOCAL + "socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(path)"),
        prepare=unix(socket.SOCK_SEQPACKET),
    ),
    Attempt(
        name="connect to an abstract local service",
        program=py(ABSTRACT + "socket.socket(socket.AF_UNIX).connect(path)"),
        prepare=unix(socket.SOCK_STREAM, abstract=True),
    ),
    Attempt(
        name="send a datagram to a local service",
        program=py(LOCAL + 'socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"evil", path)'),
        prepare=unix(socket.SOCK_DGRAM),
    ),
    Attempt(
        name="send a datagram to a local service with sendmsg",
        program=py(LOCAL + 'socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendmsg([b"evil"], [], 0, path)'),
        prepare=unix(socket.SOCK_DGRAM),
    ),
    Attempt(
        name="send a datagram to a local service from a raw socket",
        program=py(
            LOCAL + 'each(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_RAW).sendmsg([b"evil"], [], 0, path),\n'
            '    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_RAW).sendto(b"evil", path))'
        ),
        prepare=unix(socket.SOCK_DGRAM),
    ),
    Attempt(
        name="send a datagram to a local service from one of a pair",
        program=py(
            LOCAL + "for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
            '    each(lambda: socket.socketpair(socket.AF_UNIX, kind)[0].sendmsg([b"evil"], [], 0, path))'
        ),
        prepare=unix(socket.SOCK_DGRAM),
    ),
    Attempt(
        name="send a datagram to an abstract local service",
        program=py(
            ABSTRACT + "for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
            '    each(lambda: socket.socket(socket.AF_UNIX, kind).sendmsg([b"evil"], [], 0, path))\n'
            "    each(lambda: socket.socket(socket.AF_UNIX, kind).connect(path))"
        ),
        prepare=unix(socket.SOCK_DGRAM, abstract=True),
    ),
    Attempt(
        name="send many datagrams to a local service at once",
        program=py(
            LOCAL
            + """
address = ctypes.create_string_buffer(struct.pack("<H", 1) + os.fsencode(path) + b"\\0")
data = ctypes.create_string_buffer(b"evil")
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 4))
size = len(os.fsencode(path)) + 3
header = struct.pack("QI4xQQQQi4x", ctypes.addressof(address), size, ctypes.addressof(vector), 1, 0, 0, 0)
headers = ctypes.create_string_buffer(header + bytes(8))
def send(kind):
    with socket.socket(socket.AF_UNIX, kind) as sender:
        lib("sendmmsg", sender.fileno(), headers, 1, 0)
each(lambda: send(socket.SOCK_DGRAM), lambda: send(socket.SOCK_RAW))
"""
        ),
        prepare=unix(socket.SOCK_DGRAM),
    ),
    Attempt(
        name="make a tunnel device",
        program=py('escaped(os.open("/dev/net/tun", os.O_RDWR))'),
        prepare=says,
        needs=(existing("/dev/net/tun"), root),
    ),
]
