"""The last stage before a command: a program of a few system calls, made anew for each command.

It runs inside the sandbox, where the mounts are made and privileges are gone. It makes sure that each mount is the
one that was meant, gives up writing to all that is not named (Landlock), takes the terminal, and becomes the command.
An interpreter would take longer for that than the whole sandbox; this program is an ELF file in memory whose code
only walks a table of system calls, and the table is written here.
"""

import ctypes
import functools
import os
import platform
import struct
from collections.abc import Mapping, Sequence

from msgspec import Struct

from app_server.sandbox import kernel
from app_server.sandbox.sandbox import PRIVATE, SandboxUnavailable

FALLBACK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the command's environment has no PATH."""

FAILED = 126
NOT_STARTED = 127

CHANGED = b"turnloom: a protected place was changed while the command was being started; run it again\n"
NO_LANDLOCK = b"turnloom: the kernel refused the Landlock rules of the command\n"
NO_BRIDGE = b"turnloom: the sandbox could not listen for the managed network proxy; run the command again\n"
NOT_TOLD = b"turnloom: the sandbox could not tell the server that the command begins\n"

# Addresses in memory; in the file everything lies as far apart, and what is between takes no room.
CODE = 0x400000
TABLE = 0x410000
TEXTS = 0x610000
HEADERS_BYTES = 64 + 2 * 56
ROW_BYTES = 13 * 8

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
STATX_NLINK, STATX_INO = 0x4, 0x100
STATX_SIZE = 256
STATX_ATTRIBUTES, STATX_LINKS, STATX_INODE, STATX_KNOWN_ATTRIBUTES, STATX_DEVICE = 0x08, 0x10, 0x20, 0x38, 0x88
MOUNT_ROOT = 0x2000
F_GETFL = 3
TIOCSCTTY = 0x540E
ENOEXEC = 8
AF_INET, SOCK_STREAM, SOCK_CLOEXEC = 2, 1, os.O_CLOEXEC
SOL_SOCKET, SCM_RIGHTS, MSG_NOSIGNAL = 1, 1, 0x4000
WAITING_CONNECTIONS = 1024
ALL_BITS = (1 << 64) - 1


class _Machine(Struct, frozen=True):
    """An architecture: its number in ELF, the code that walks the table, and the numbers of the system calls."""

    elf: int
    code: str
    calls: Mapping[str, int]


def _numbered(*numbers: int) -> Mapping[str, int]:
    names = ("openat", "statx", "fcntl", "setsid", "ioctl", "close", "getpid", "execve", "write", "exit_group")
    names += ("socket", "dup3", "bind", "listen", "sendmsg")
    everywhere = {
        "close_range": 436,
        "landlock_add_rule": kernel.LANDLOCK_ADD_RULE,
        "landlock_restrict_self": kernel.LANDLOCK_RESTRICT_SELF,
    }
    return {**dict(zip(names, numbers, strict=True)), **everywhere}


_MACHINES = {
    "x86_64": _Machine(
        elf=62,
        code="""
            bb00004100      mov ebx, TABLE
            488b03          mov rax, [rbx]          ; next:
            488b7b08        mov rdi, [rbx+8]
            488b7310        mov rsi, [rbx+16]
            488b5318        mov rdx, [rbx+24]
            4c8b5320        mov r10, [rbx+32]
            4c8b4328        mov r8, [rbx+40]
            4c8b4b30        mov r9, [rbx+48]
            0f05            syscall
            488b4b38        mov rcx, [rbx+56]
            488901          mov [rcx], rax
            488b4b40        mov rcx, [rbx+64]
            488b09          mov rcx, [rcx]
            48234b48        and rcx, [rbx+72]
            48334b50        xor rcx, [rbx+80]
            48f7d9          neg rcx
            4819c9          sbb rcx, rcx            ; -1 unless the value is there
            4809c8          or rax, rcx
            48c1e83f        shr rax, 63
            488b5cc358      mov rbx, [rbx+rax*8+88]
            ebb9            jmp next
        """,
        calls=_numbered(257, 332, 72, 112, 16, 3, 39, 59, 1, 231, 41, 292, 49, 50, 46),
    ),
    "aarch64": _Machine(
        elf=183,
        code="""
            3308a052        mov w19, TABLE
            680240f9        ldr x8, [x19]           ; next:
            608640a9        ldp x0, x1, [x19, 8]
            628e41a9        ldp x2, x3, [x19, 24]
            649642a9        ldp x4, x5, [x19, 40]
            010000d4        svc 0
            691e40f9        ldr x9, [x19, 56]
            200100f9        str x0, [x9]
            692a44a9        ldp x9, x10, [x19, 64]
            6b2a40f9        ldr x11, [x19, 80]
            290140f9        ldr x9, [x9]
            29010a8a        and x9, x9, x10
            3f010beb        cmp x9, x11
            e9039fda        csetm x9, ne            ; -1 unless the value is there
            000009aa        orr x0, x0, x9
            00fc7fd3        lsr x0, x0, 63
            730e008b        add x19, x19, x0, lsl 3
            732e40f9        ldr x19, [x19, 88]
            efffff17        b next
        """,
        calls=_numbered(56, 291, 25, 157, 29, 57, 172, 221, 64, 94, 198, 24, 200, 201, 211),
    ),
}


class Expected(Struct, frozen=True):
    """A place where a mount of its own must be, and the device and inode that must be mounted there, if known.

    It may be missing if what the descriptor `witness` stands for has been deleted; if that was moved it may not.
    """

    path: str
    identity: tuple[int, int] | None = None
    witness: int | None = None


class Bridge(Struct, frozen=True):
    """Where the sandbox's own network is to listen for the managed proxy, and whom it hands the socket to.

    `end` is the descriptor of a local socket, to which the listening socket for `port` of 127.0.0.1 is sent.
    """

    end: int
    port: int


class _Row(Struct):
    """One system call, and what comes after it: by name a later label, None the next row.

    `watch` is an address, a mask and a value: the call counts as failed unless the masked word has the value.
    """

    number: int
    arguments: tuple[int, ...]
    store: int
    watch: tuple[int, int, int]
    then: str | None
    otherwise: str | None


class _Table:
    """The rows, and the memory that they point to."""

    def __init__(self, calls: Mapping[str, int]) -> None:
        self._calls = calls
        self._rows: list[_Row] = []
        self._labels: dict[str, int] = {}
        self._memory = bytearray()
        self.scratch = self.memory(bytes(8))

    def memory(self, data: bytes) -> int:
        """The address of some bytes, at a multiple of 8."""
        address = TEXTS + len(self._memory)
        self._memory += data + bytes(-len(data) % 8)
        return address

    def text(self, text: str | bytes) -> int:
        """The address of a string."""
        return self.memory(os.fsencode(text) + b"\0")

    def texts(self, texts: Sequence[str]) -> int:
        """The address of an array of strings, as argv and envp are."""
        return self.memory(struct.pack(f"<{len(texts) + 1}Q", *map(self.text, texts), 0))

    def call(
        self,
        name: str,
        *arguments: int,
        store: int | None = None,
        watch: tuple[int, int, int] | None = None,
        then: str | None = None,
        otherwise: str | None = None,
    ) -> None:
        """Add a row. `store` is the address for the result."""
        store = self.scratch if store is None else store
        watch = (self.scratch, 0, 0) if watch is None else watch
        self._rows.append(_Row(self._calls[name], arguments, store, watch, then, otherwise))

    def argument_of_next_but_one(self, index: int) -> int:
        """The address of an argument of the row after the one to come: the table lies where it can be written."""
        return TABLE + (len(self._rows) + 1) * ROW_BYTES + 8 * (1 + index)

    def label(self, name: str) -> None:
        """Name the row to come."""
        self._labels[name] = len(self._rows)

    def rows(self) -> bytes:
        """The table as it lies in memory."""
        size = ROW_BYTES
        if len(self._rows) * size > TEXTS - TABLE:
            raise SandboxUnavailable("the command has too many protected places to watch over")
        data = bytearray()
        for index, row in enumerate(self._rows):
            arguments = (*row.arguments, *(0,) * (6 - len(row.arguments)))
            following = [index + 1 if name is None else self._labels[name] for name in (row.then, row.otherwise)]
            words = (row.number, *arguments, row.store, *row.watch, *(TABLE + at * size for at in following))
            data += struct.pack("<13Q", *(word & ALL_BITS for word in words))
        return bytes(data)

    def contents(self) -> bytes:
        """What lies at `TEXTS`."""
        return bytes(self._memory)


def make(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    expected: Sequence[Expected] = (),
    ruleset: int | None = None,
    handled: int = 0,
    terminal: bool = False,
    bridge: Bridge | None = None,
    begun: int | None = None,
) -> int:
    """A descriptor of the program that becomes `argv` with the environment `env`. It closes itself and `ruleset`.

    `ruleset` is a Landlock ruleset that handles the rights `handled`, to which the sandbox's own /dev and the open
    streams are added. With a `bridge` it first makes the socket for the managed proxy; nothing of that is left in the
    command. When nothing but the command itself is left to come, the event counter `begun` is set to 1.
    Raises SandboxUnavailable where there is no such program for this machine.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise SandboxUnavailable(f"there is no sandbox for the {platform.machine()} architecture")
    fd = _memory_file()
    try:
        table = _Table(machine.calls)
        _check_mounts(table, expected)
        if bridge is not None:
            _open_bridge(table, bridge, fd)
        if ruleset is not None:
            _enter_landlock(table, ruleset, handled)
        if terminal:
            table.call("setsid")
            table.call("ioctl", 0, TIOCSCTTY, 0)
        if begun is not None:
            table.call("write", begun, table.memory(struct.pack("<Q", 1)), 8, otherwise="not told")
            table.call("close", begun)
        table.call("close_range", 3, 0xFFFFFFFF, 0)
        table.call("close", fd)  # for kernels without close_range
        _become(table, argv, env)
        for label, message, code in (
            ("not started", _not_started(argv), NOT_STARTED),
            ("changed", CHANGED, FAILED),
            ("no landlock", NO_LANDLOCK, FAILED),
            ("no bridge", NO_BRIDGE, FAILED),
            ("not told", NOT_TOLD, FAILED),
        ):
            table.label(label)
            table.call("write", 2, table.memory(message), len(message))
            table.call("exit_group", code)
        _write(fd, machine, table)
    except BaseException:
        os.close(fd)
        raise
    return fd


@functools.cache
def can_check_mounts() -> bool:
    """Whether this kernel tells where a mount begins (Linux 5.8)."""
    status = ctypes.create_string_buffer(STATX_SIZE)
    if ctypes.CDLL(None).statx(AT_FDCWD, b"/proc", AT_SYMLINK_NOFOLLOW, STATX_INO, status) != 0:
        return False
    (known,) = struct.unpack_from("<Q", status, STATX_KNOWN_ATTRIBUTES)
    return bool(known & MOUNT_ROOT)


def _check_mounts(table: _Table, expected: Sequence[Expected]) -> None:
    """Whether every mount is where it belongs, and none went elsewhere while links were moved under bubblewrap."""
    status = table.memory(bytes(STATX_SIZE))
    for number, place in enumerate(expected):
        facts = [(STATX_ATTRIBUTES, MOUNT_ROOT, MOUNT_ROOT)]
        if place.identity is not None:
            device, inode = place.identity
            facts += [
                (STATX_INODE, ALL_BITS, inode),
                (STATX_DEVICE, ALL_BITS, os.major(device) | os.minor(device) << 32),
            ]
        path = table.text(place.path)
        look = (AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO, status)
        if place.witness is not None:
            table.call("statx", *look, otherwise=f"missing {number}")
        for offset, mask, value in facts:
            table.call("statx", *look, watch=(status + offset, mask, value), otherwise="changed")
        if place.witness is not None:
            table.call("close", place.witness, then=f"found {number}", otherwise=f"found {number}")
            table.label(f"missing {number}")
            deleted = (status + STATX_LINKS, 0xFFFFFFFF, 0)
            here = (place.witness, table.text(""), AT_EMPTY_PATH, STATX_NLINK, status)
            table.call("statx", *here, watch=deleted, otherwise="changed")
            table.call("close", place.witness)
            table.label(f"found {number}")


def _enter_landlock(table: _Table, ruleset: int, handled: int) -> None:
    """Add what exists only in here to the rules, and obey them from now on."""
    on_folder = table.memory(struct.pack("<QQ", handled, 0))
    table.call("openat", AT_FDCWD, table.text("/dev"), os.O_PATH | os.O_CLOEXEC, store=on_folder + 8)
    table.call("landlock_add_rule", ruleset, 1, on_folder, 0, otherwise="no landlock")
    flags = table.memory(bytes(8))
    for stream in range(3):
        # A stream that is open for writing may be opened again, as /dev/stderr. A pipe needs no rule, and gets none.
        rule = table.memory(struct.pack("<QQ", handled & kernel.FS_ON_FILES, stream))
        following = f"stream {stream}"
        table.call("fcntl", stream, F_GETFL, store=flags, watch=(flags, os.O_ACCMODE, os.O_RDONLY), then=following)
        table.call("landlock_add_rule", ruleset, 1, rule, 0)
        table.label(following)
    table.call("landlock_restrict_self", ruleset, 0, otherwise="no landlock")
    table.call("close", ruleset)


def _open_bridge(table: _Table, bridge: Bridge, spare: int) -> None:
    """Listen in the network of the sandbox, and send that socket out; it stays in this network wherever it goes.

    It is put under the number `spare`, since only the kernel knows which one it would get.
    """
    address = table.memory(struct.pack("<H", AF_INET) + struct.pack(">H4B8x", bridge.port, 127, 0, 0, 1))
    control = table.memory(struct.pack("<QIIi4x", 20, SOL_SOCKET, SCM_RIGHTS, spare))
    content = table.memory(struct.pack("<QQ", table.memory(PRIVATE), 1))
    message = table.memory(struct.pack("<QQQQQQQ", 0, 0, content, 1, control, 24, 0))
    made = table.argument_of_next_but_one(0)
    table.call("socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, store=made, otherwise="no bridge")
    table.call("dup3", 0, spare, os.O_CLOEXEC, otherwise="no bridge")
    table.call("bind", spare, address, 16, otherwise="no bridge")
    table.call("listen", spare, WAITING_CONNECTIONS, otherwise="no bridge")
    table.call("sendmsg", bridge.end, message, MSG_NOSIGNAL, otherwise="no bridge")
    table.call("close", bridge.end)


def _become(table: _Table, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Try the files that the program's name may mean, as execvp does: what has no header is a shell script."""
    arguments = table.texts(argv)
    environment = table.texts([f"{name}={value}" for name, value in env.items()])
    shell = table.text("/bin/sh")
    result = table.memory(bytes(8))
    for number, program in enumerate(_candidates(argv[0], env)):
        following = f"candidate {number}"
        table.call("execve", table.text(program), arguments, environment, store=result)
        table.call("getpid", watch=(result, ALL_BITS, -ENOEXEC & ALL_BITS), otherwise=following)
        table.call("execve", shell, table.texts(["/bin/sh", program, *argv[1:]]), environment, then="not started")
        table.label(following)


def _candidates(name: str, env: Mapping[str, str]) -> list[str]:
    if "/" in name:
        return [name]
    return [os.path.join(directory or ".", name) for directory in env.get("PATH", FALLBACK_PATH).split(":")]


def _not_started(argv: Sequence[str]) -> bytes:
    return b"turnloom: " + os.fsencode(argv[0]) + b": the sandbox has no such program, or none that can be executed\n"


def _memory_file() -> int:
    try:
        return os.memfd_create("turnloom", os.MFD_CLOEXEC)
    except OSError as error:
        raise SandboxUnavailable(f"no file can be made in memory: {error.strerror}") from error


def _write(fd: int, machine: _Machine, table: _Table) -> None:
    code = bytes.fromhex("".join(line.split()[0] for line in machine.code.strip().splitlines()))
    rows, texts = table.rows(), table.contents()
    end = TEXTS - TABLE + len(texts)
    header = struct.pack(
        "<4s5B7xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, 0, 2, machine.elf, 1, CODE + HEADERS_BYTES, 64, 0, 0, 64, 56, 2, 0, 0, 0),
    )
    read_execute, read_write = 5, 6
    size = HEADERS_BYTES + len(code)
    segments = struct.pack("<IIQQQQQQ", 1, read_execute, 0, CODE, CODE, size, size, 0x10000)
    segments += struct.pack("<IIQQQQQQ", 1, read_write, TABLE - CODE, TABLE, TABLE, end, end, 0x10000)
    os.pwrite(fd, header + segments + code, 0)
    os.pwrite(fd, rows, TABLE - CODE)
    os.pwrite(fd, texts, TEXTS - CODE)
