"""Attempts on the kernel: mounts, settings, keyrings, shared memory and what only root may do."""

import ctypes
import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.sandbox.attempts import EVERYWHERE, Attempt, Check, Host, Outcome, Prepare, py, says, sh
from tests.sandbox.needs import SYS_ADMIN, SYS_TIME, SYSLOG, capability, existing, program, root

SECRET = b"secret-of-the-host"
libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def alone() -> Generator[None]:
    """For what the whole machine has only one of: no other run of these tests changes it meanwhile."""
    with open("/tmp/turnloom-escapes.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def setting_stays(path: str) -> Prepare:
    """A setting of the kernel that must stay, and is put back."""

    def prepare(host: Host) -> Check:
        file = Path(path)
        host.keep(alone())
        before = file.read_text()
        host.stack.callback(lambda: file.read_text() != before and file.write_text(before))
        return lambda _: file.read_text() != before

    return prepare


def host_name(host: Host) -> Check:
    host.keep(alone())
    before = socket.gethostname()
    host.stack.callback(lambda: socket.gethostname() != before and socket.sethostname(before))
    return lambda _: socket.gethostname() != before


def folder_stays_away(path: str) -> Prepare:
    """A folder that must not appear."""

    def prepare(host: Host) -> Check:
        host.env["FOLDER"] = f"{path}/{host.mark}"
        folder = Path(host.env["FOLDER"])
        host.stack.callback(lambda: folder.exists() and folder.rmdir())
        return lambda _: folder.exists()

    return prepare


def shared_memory(host: Host) -> Check:
    """A segment of the host's by System V's calls, with KEY for a name."""
    key = int.from_bytes(os.urandom(3), "big") + 1
    number = libc.shmget(key, 4096, 0o1666)
    assert number >= 0
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(number, None, 0)
    ctypes.memmove(address, SECRET + b"\0", len(SECRET) + 1)

    def end() -> None:
        libc.shmdt(ctypes.c_void_p(address))
        libc.shmctl(number, 0, None)

    host.stack.callback(end)
    host.env["KEY"] = str(key)
    return lambda outcome: ctypes.string_at(address) != SECRET or SECRET.decode() in outcome.text


def message_queue(host: Host) -> Check:
    """A queue of the host's by System V's calls."""
    key = int.from_bytes(os.urandom(3), "big") + 1
    number = libc.msgget(key, 0o1666)
    assert number >= 0
    host.stack.callback(libc.msgctl, number, 0, None)
    host.env["KEY"] = str(key)
    buffer = ctypes.create_string_buffer(100)
    return lambda _: libc.msgrcv(number, buffer, 80, 0, 0o4000) >= 0


def semaphore(host: Host) -> Check:
    """A semaphore of the host's."""
    key = int.from_bytes(os.urandom(3), "big") + 1
    number = libc.semget(key, 1, 0o1666)
    assert number >= 0
    host.stack.callback(libc.semctl, number, 0, 0)
    host.env["KEY"] = str(key)
    return lambda _: libc.semctl(number, 0, 12) != 0


def posix_queue(host: Host) -> Check:
    """A queue of the host's by POSIX's calls."""
    name = f"/turnloom-{host.mark}".encode()
    queue = libc.mq_open(name, 0o102 | os.O_NONBLOCK, 0o666, None)
    assert queue >= 0
    host.stack.callback(os.close, queue)
    host.stack.callback(libc.mq_unlink, name)
    host.env["NAME"] = name.decode()
    buffer = ctypes.create_string_buffer(8192)
    return lambda _: libc.mq_receive(queue, buffer, 8192, None) >= 0


def key(keyring: int) -> Prepare:
    """A key of the user's."""

    def prepare(host: Host) -> Check:
        numbers = KEY_CALLS
        name = f"turnloom-{host.mark}".encode()
        libc.syscall(numbers[2], 8, -4, -3, 0, 0)  # as a login does: who has the session has the user's keys
        serial = libc.syscall(numbers[0], b"user", name, SECRET, len(SECRET), keyring)
        assert serial > 0
        # For everybody with this user's id: the strongest form of the attempt.
        libc.syscall(numbers[2], 5, serial, 0x3F3F0000, 0, 0)
        host.stack.callback(libc.syscall, numbers[2], 9, serial, keyring, 0, 0)
        host.env["NAME"], host.env["KEYRING"] = name.decode(), str(keyring)
        host.env["SERIAL"] = str(serial)
        buffer = ctypes.create_string_buffer(100)

        def check(outcome: Outcome) -> bool:
            size = libc.syscall(numbers[2], 11, serial, buffer, 100, 0)
            return SECRET.decode() in outcome.text or buffer.raw[: max(size, 0)] != SECRET

        return check

    return prepare


KEY_CALLS = (248, 249, 250) if os.uname().machine == "x86_64" else (217, 218, 219)


def keys() -> str | None:
    """Whether the kernel keeps keys for this user."""
    if libc.syscall(KEY_CALLS[2], 0, -3, 1) < 0:
        return f"there are no kernel keyrings here: {os.strerror(ctypes.get_errno())}"
    return None


def queues() -> str | None:
    """Whether the kernel has POSIX queues."""
    name = f"/turnloom-probe-{os.getpid()}".encode()
    queue = libc.mq_open(name, 0o102, 0o600, None)
    if queue < 0:
        return f"there are no POSIX message queues here: {os.strerror(ctypes.get_errno())}"
    os.close(queue)
    libc.mq_unlink(name)
    return None


def writable(path: str):
    """A file that this user can open to write."""

    def holds() -> str | None:
        return None if os.access(path, os.W_OK) else f"{path} cannot be written here at all"

    return holds


def _sys_is_writable() -> bool:
    return any(os.access(f"/sys/{name}", os.W_OK) for name in ("kernel/profiling", "power/state")) and not (
        os.statvfs("/sys").f_flag & os.ST_RDONLY
    )


def _control_groups() -> str:
    """A folder in which root can make a control group."""
    for place in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        if os.access(f"{place}/cgroup.procs", os.W_OK) and not os.statvfs(place).f_flag & os.ST_RDONLY:
            return place
    return ""


def _disk() -> str:
    """A block device that this user can read."""
    for name in sorted(os.listdir("/sys/block")):
        with suppress(OSError), open(f"/dev/{name}", "rb") as disk:
            if disk.read(1):
                return f"/dev/{name}"
    return ""


def kernel_messages(host: Host) -> Check:
    """What the kernel says must not hold the mark."""
    messages = host.opened(Path("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(messages, 0, os.SEEK_END)

    def check(_: Outcome) -> bool:
        with suppress(BlockingIOError):
            while text := os.read(messages, 8192):
                if host.mark.encode() in text:
                    return True
        return False

    return check


def device_number(host: Host) -> Check:
    """The number of a disk, for a device to be made of it; what is made is removed."""
    host.env["DISK"], host.env["NAME"] = str(os.stat(_disk()).st_rdev), host.mark
    for place in ("/dev/shm", "/dev"):
        host.stack.callback((Path(place) / host.mark).unlink, missing_ok=True)
    return says(host)


ON_MOUNT = """
def mount(source, target, kind, flags, data=None):
    lib("mount", source and os.fsencode(source), os.fsencode(target), kind and kind.encode(), flags, data)
"""

OWN_NAMESPACE = """
def own_namespace():
    # In a user namespace of its own a process has every right over its own mounts.
    uid, gid = os.getuid(), os.getgid()
    each(lambda: lib("unshare", 0x10000000 | 0x20000))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        def set():
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        each(set)
"""

EVIL_DEVICE = 'for f in /dev/*; do [ -b "$f" ] && head -c 1 "$f" >/dev/null && echo ESCAPED && break; done'

ATTEMPTS = [
    Attempt(
        name="mount what is outside to write",
        program=sh('mkdir -p m; mount --bind "$OUT" m && echo evil >m/file; umount m'),
        profiles=("workspace", "workspace with network"),
        needs=(capability(SYS_ADMIN), program("mount")),
    ),
    Attempt(
        name="mount the file system again to write",
        program=py(
            ON_MOUNT,
            """
            for target in ("/", OUT, WORK):
                if os.statvfs(OUT).f_flag & os.ST_RDONLY:
                    each(lambda: mount(None, target, None, 32 | 4096), lambda: mount(None, target, None, 32))
            write(FILE)
            """,
        ),
    ),
    Attempt(
        name="mount the file system again to write in a user namespace of its own",
        program=py(
            ON_MOUNT,
            OWN_NAMESPACE,
            "own_namespace()",
            """
            for target in ("/", OUT, WORK):
                if os.statvfs(OUT).f_flag & os.ST_RDONLY:
                    each(lambda: mount(None, target, None, 32 | 4096), lambda: mount(None, target, None, 32))
            each(lambda: mount(OUT, "/mnt", None, 4096))
            each(lambda: write("/mnt/file"), lambda: write(FILE))
            """,
        ),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="uncover what lies below the mounts in a user namespace of its own",
        program=py(
            OWN_NAMESPACE,
            "own_namespace()",
            """
            for target in (WORK, OUT, "/proc", "/dev", "/"):
                each(lambda: libc.umount2(os.fsencode(target), 2))
            each(lambda: write(FILE), lambda: write("/proc/1/root" + FILE))
            """,
        ),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="clone a mount and make it writable",
        program=py(
            OWN_NAMESPACE,
            "own_namespace()",
            """
            import struct
            for recursive in (0x8000, 0):
                def clone():
                    tree = call(428, -100, os.fsencode(OUT), 1 | recursive)
                    attributes = ctypes.create_string_buffer(struct.pack("QQQQ", 0, 1, 0, 0))
                    each(lambda: call(442, tree, b"", 0x1000 | recursive, attributes, 32))
                    os.write(os.open("file", os.O_WRONLY, dir_fd=tree), b"evil")
                each(clone)
            """,
        ),
        needs=(root,),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the root by pivot_root",
        program=py(
            ON_MOUNT,
            OWN_NAMESPACE,
            "own_namespace()",
            """
            numbers = 155 if X86 else 41
            def pivot():
                mount("none", "/mnt", "tmpfs", 0)
                os.makedirs("/mnt/old")
                call(numbers, b"/mnt", b"/mnt/old")
            each(pivot, lambda: write("/old" + FILE), lambda: write(FILE))
            """,
        ),
    ),
    Attempt(
        name="leave by chroot",
        program=py(
            """
            def leave():
                os.makedirs(WORK + "/jail", exist_ok=True)
                os.chroot(WORK + "/jail")
                for _ in range(64):
                    os.chdir("..")
                os.chroot(".")
            leave()
            write(FILE)
            """
        ),
        needs=(root,),
        profiles=("workspace",),
    ),
    Attempt(
        name="mount proc anew and go through it",
        program=py(
            ON_MOUNT,
            OWN_NAMESPACE,
            'each(lambda: write(f"/proc/{VICTIM}/root{FILE}"), own_namespace)\n'
            + 'each(lambda: mount("proc", "/mnt", "proc", 0))\n'
            + 'for top in ("/mnt", "/proc"):\n    each(lambda: write(f"{top}/{VICTIM}/root{FILE}"))\n',
        ),
        prepare=lambda host: (host.victim(), host.watch())[1],
    ),
    Attempt(
        name="change a setting of the kernel",
        program=sh("echo 44 >/proc/sys/fs/lease-break-time"),
        prepare=setting_stays("/proc/sys/fs/lease-break-time"),
        needs=(root, writable("/proc/sys/fs/lease-break-time")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change where the kernel puts core dumps",
        program=sh('f=$(cat /proc/sys/kernel/core_pattern); echo "core.evil" >/proc/sys/kernel/core_pattern'),
        prepare=setting_stays("/proc/sys/kernel/core_pattern"),
        needs=(root, writable("/proc/sys/kernel/core_pattern")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change a setting of the kernel in a user namespace of its own",
        program=py(
            OWN_NAMESPACE, "own_namespace()", 'write_text = open("/proc/sys/fs/lease-break-time", "w").write("43")'
        ),
        prepare=setting_stays("/proc/sys/fs/lease-break-time"),
        needs=(root, writable("/proc/sys/fs/lease-break-time")),
    ),
    Attempt(
        name="open any setting of the kernel to write",
        program=py(
            """
            for top, _, names in os.walk("/proc/sys"):
                for name in names:
                    try:
                        os.close(os.open(f"{top}/{name}", os.O_WRONLY))
                        escaped(print(f"{top}/{name}"))
                    except OSError:
                        pass
            """
        ),
        prepare=says,
        needs=(root, writable("/proc/sys/fs/lease-break-time")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="open the system's files in /proc to write",
        program=py(
            """
            for top, names, files in os.walk("/proc"):
                names[:] = [n for n in names if not n.isdigit() and n not in ("self", "thread-self", "sys")]
                for name in files:
                    try:
                        os.close(os.open(f"{top}/{name}", os.O_WRONLY | os.O_NONBLOCK))
                        escaped(print(f"{top}/{name}"))
                    except OSError:
                        pass
            """
        ),
        prepare=says,
        needs=(root, writable("/proc/sysrq-trigger")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="press the magic key",
        program=py('os.open("/proc/sysrq-trigger", os.O_WRONLY)\nescaped()'),
        prepare=says,
        needs=(root, writable("/proc/sysrq-trigger")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="open the system's files in /sys to write",
        program=py(
            """
            for top in ("/sys/kernel", "/sys/module", "/sys/block", "/sys/power", "/sys/class"):
                for path in os.popen(f"find -L {top} -maxdepth 3 -type f -perm -200 2>/dev/null").read().split():
                    try:
                        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                        escaped(print(path))
                        sys.exit()
                    except OSError:
                        pass
            """
        ),
        prepare=says,
        needs=(root, lambda: None if _sys_is_writable() else "/sys is read-only here"),
    ),
    Attempt(
        name="make a control group",
        program=sh('mkdir "$FOLDER"'),
        prepare=folder_stays_away(_control_groups()),
        needs=(root, lambda: None if _control_groups() else "there are no control groups to write here"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="leave its control group",
        program=sh("for g in /sys/fs/cgroup /sys/fs/cgroup/*; do echo $$ >$g/cgroup.procs && echo ESCAPED; done"),
        prepare=says,
        needs=(root, lambda: None if _control_groups() else "there are no control groups to write here"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the name of the host",
        program=py(
            """
            import socket
            each(lambda: socket.sethostname("evil"), lambda: open("/proc/sys/kernel/hostname", "w").write("evil"))
            """
        ),
        prepare=host_name,
        needs=(capability(SYS_ADMIN),),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="set the clock",
        program=py(
            "import time\ntime.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))\nescaped()"
        ),
        prepare=says,
        needs=(capability(SYS_TIME),),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read the kernel's messages",
        program=py("n = lib('klogctl', 3, ctypes.create_string_buffer(4096), 4096)\nn and escaped()"),
        prepare=says,
        needs=(capability(SYSLOG), existing("/dev/kmsg")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="write into the kernel's messages",
        program=sh('echo "turnloom $MARK" >/dev/kmsg'),
        prepare=kernel_messages,
        needs=(capability(SYSLOG), writable("/dev/kmsg")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read a disk",
        program=sh(EVIL_DEVICE),
        prepare=says,
        needs=(root, lambda: None if _disk() else "there is no disk here"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="make the device of a disk anew",
        program=py(
            """
            import stat
            for place in (WORK, "/dev/shm", "/dev"):
                def make():
                    os.mknod(place + "/" + os.environ["NAME"], stat.S_IFBLK | 0o600, int(os.environ["DISK"]))
                    os.read(os.open(place + "/" + os.environ["NAME"], os.O_RDONLY), 1)
                    escaped()
                each(make)
            """
        ),
        prepare=device_number,
        needs=(root, lambda: None if _disk() else "there is no disk here"),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="open a terminal of the console",
        program=py(
            'each(*(lambda n=n: escaped(os.open(n, os.O_RDWR | os.O_NOCTTY)) for n in ("/dev/tty1", "/dev/ttyS0")))'
        ),
        prepare=says,
        needs=(root, writable("/dev/tty1")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="load a program into the kernel",
        program=py(
            """
            number = 321 if X86 else 280
            code = ctypes.create_string_buffer(bytes.fromhex("b700000000000000 9500000000000000".replace(" ", "")))
            text = ctypes.create_string_buffer(b"GPL")
            import struct
            request = struct.pack("IIQQIIQII", 1, 2, ctypes.addressof(code), ctypes.addressof(text), 0, 0, 0, 0, 0)
            escaped(call(number, 5, ctypes.create_string_buffer(request + bytes(80)), 48))
            """
        ),
        prepare=says,
        needs=(capability(SYS_ADMIN),),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="watch the whole machine by performance events",
        program=py(
            """
            import struct
            number = 298 if X86 else 241
            request = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0).ljust(112, b"\\0"))
            escaped(call(number, request, -1, 0, -1, 0))
            """
        ),
        prepare=says,
        needs=(capability(SYS_ADMIN),),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="write into shared memory of the host",
        program=py(
            """
            number = lib("shmget", int(os.environ["KEY"]), 0, 0)
            libc.shmat.restype = ctypes.c_void_p
            address = libc.shmat(number, None, 0)
            print(ctypes.string_at(address))
            ctypes.memmove(address, b"evil", 4)
            """
        ),
        prepare=shared_memory,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="send to a message queue of the host",
        program=py(
            """
            message = ctypes.create_string_buffer((1).to_bytes(8, "little") + b"evil")
            lib("msgsnd", lib("msgget", int(os.environ["KEY"]), 0), message, 4, 0)
            """
        ),
        prepare=message_queue,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="raise a semaphore of the host",
        program=py('lib("semctl", lib("semget", int(os.environ["KEY"]), 0, 0), 0, 16, 7)'),
        prepare=semaphore,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="send to a POSIX queue of the host",
        program=py('lib("mq_send", lib("mq_open", os.environ["NAME"].encode(), os.O_WRONLY), b"evil", 4, 0)'),
        prepare=posix_queue,
        needs=(queues,),
        profiles=EVERYWHERE,
    ),
    *(
        Attempt(
            name=f"read and change a key in {what}",
            program=py(
                """
                add, request, control = (248, 249, 250) if X86 else (217, 218, 219)
                ring, name, serial = int(os.environ["KEYRING"]), os.environ["NAME"].encode(), int(os.environ["SERIAL"])
                def read(key):
                    buffer = ctypes.create_string_buffer(100)
                    call(control, 11, key, buffer, 100, 0)
                    print(buffer.value)
                each(
                    lambda: read(call(control, 10, ring, b"user", name, 0)), lambda: read(serial),
                    lambda: read(call(request, b"user", name, None, 0)),
                    lambda: call(add, b"user", name, b"evil", 4, ring), lambda: call(control, 2, serial, b"evil", 4),
                )
                """
            ),
            prepare=key(ring),
            needs=(keys,),
            profiles=EVERYWHERE,
        )
        for what, ring in (("the session's keyring", -3), ("the user's keyring", -4))
    ),
]
