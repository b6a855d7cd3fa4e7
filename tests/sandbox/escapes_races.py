"""Attempts to deceive whoever decides about a call: by changing what it is about meanwhile, or by ending the judge."""

import fcntl
import os

from app_server.config.settings import CommandLimits
from tests.sandbox.attempts import EVERYWHERE, Attempt, Check, Host, py
from tests.sandbox.escapes_files import LOCKS, cannot_lock

SECONDS = 0.15
"""How long a race is run: some thousand chances."""

TWO_NAMES = (
    """
import threading, time
over = time.monotonic() + """
    + str(SECONDS)
    + """
os.makedirs(WORK + "/inside", exist_ok=True)
open(WORK + "/inside/file", "w").close()
# Two names of one length, in memory that another thread writes over.
own = os.fsencode(WORK + "/inside/file")
other = os.fsencode(FILE)
length = max(len(own), len(other))
def padded(name):
    folder, last = os.path.split(name)
    return folder + b"/" * (1 + length - len(name)) + last
own, other = padded(own), padded(other)
name = ctypes.create_string_buffer(own)
def exchange():
    while time.monotonic() < over:
        ctypes.memmove(name, other, length)
        ctypes.memmove(name, own, length)
def while_it_changes(*calls):
    threading.Thread(target=exchange).start()
    while time.monotonic() < over:
        for call in calls:
            call()
"""
)


CLOSE = "os.close(fd) if (fd := libc.open(%s)) >= 0 else None"


def race(what: str, *calls: str) -> Attempt:
    """A call, made again and again while the name in memory that it gets changes."""
    return Attempt(
        name=f"{what} by a name that changes while it is looked at",
        program=py(TWO_NAMES, f"while_it_changes({', '.join('lambda: ' + call for call in calls)})"),
        profiles=("workspace",),
    )


def with_a_link(what: str, *calls: str) -> Attempt:
    """The same with a name of the workspace that is a file and a link to outside in turn."""
    return Attempt(
        name=f"{what} by a name that is a link every other moment",
        program=py(
            TWO_NAMES,
            """
            os.symlink(FILE, WORK + "/spare")
            open(WORK + "/turning", "w").close()
            turning, spare = os.fsencode(WORK + "/turning"), os.fsencode(WORK + "/spare")
            name = turning
            def exchange():
                while time.monotonic() < over:
                    libc.renameat2(-100, turning, -100, spare, 2)
            """,
            f"while_it_changes({', '.join('lambda: ' + call for call in calls)})",
        ),
        profiles=("workspace",),
    )


def below_a_link(what: str, *calls: str) -> Attempt:
    """The same with a folder on the way."""
    return Attempt(
        name=f"{what} through a folder that is a link every other moment",
        program=py(
            TWO_NAMES,
            """
            os.symlink(OUT, WORK + "/spare")
            os.makedirs(WORK + "/turning")
            turning, spare = os.fsencode(WORK + "/turning"), os.fsencode(WORK + "/spare")
            open(WORK + "/turning/file", "w").close()
            name = turning + b"/file"
            new = turning + b"/new"
            def exchange():
                while time.monotonic() < over:
                    libc.renameat2(-100, turning, -100, spare, 2)
            """,
            f"while_it_changes({', '.join('lambda: ' + call for call in calls)})",
        ),
        profiles=("workspace",),
    )


def protected_while_turning(host: Host) -> Check:
    """A nested repository beside a folder of the same make."""
    repository = host.workspace / "vendor" / ".git"
    (repository / "hooks").mkdir(parents=True)
    (repository / "config").write_text("safe\n")
    return host.watch(repository)


def priority_of_io(host: Host) -> Check:
    """The priorities of a process of the host's."""
    import ctypes

    pid = host.victim().pid
    libc = ctypes.CDLL(None)
    number = 252 if os.uname().machine == "x86_64" else 31
    before = libc.syscall(number, 1, pid)
    return lambda _: libc.syscall(number, 1, pid) != before


def processors(host: Host) -> Check:
    """The processors that a process of the host's may use."""
    pid = host.victim().pid
    before = os.sched_getaffinity(pid)
    return lambda _: os.sched_getaffinity(pid) != before


def version_of_the_file(host: Host) -> Check:
    """The number that a file system keeps for a file's incarnation."""

    def version() -> int:
        with host.file.open() as file:
            return int.from_bytes(fcntl.ioctl(file, 0x80087601, bytes(8)), "little")

    before = version()
    return lambda _: version() != before


def versions() -> str | None:
    """Whether the file system of the temporary folder numbers its files."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        try:
            fcntl.ioctl(file, 0x80087601, bytes(8))
        except OSError as error:
            return f"files have no version here: {error.strerror}"
    return None


def new_call(number: int, name: str):
    """A system call that not every kernel has."""

    def has() -> str | None:
        import ctypes
        import errno

        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(number, -1, b"", 0, 0, 0, 0)
        return f"this kernel has no {name}" if ctypes.get_errno() == errno.ENOSYS else None

    return has


def several_processors() -> str | None:
    """Whether there is a choice."""
    return None if len(os.sched_getaffinity(0)) > 1 else "this machine has one processor"


def lives_on(_: Host) -> Check:
    return lambda outcome: outcome.says_so


ATTEMPTS = [
    race("change a mode", "libc.chmod(name, 0o777)", "libc.chmod(name, 0o600)"),
    race("change times", "libc.utimensat(-100, name, None, 0)"),
    race("change an owner", "libc.chown(name, -1, os.getgid())"),
    race("cut a file", "libc.truncate(name, 0)"),
    race("delete a file", "(libc.unlink(name), libc.close(libc.creat(own, 0o600)))"),
    race("open a file", CLOSE % "name, os.O_WRONLY | os.O_TRUNC"),
    race("rename a file", "(libc.rename(name, own + b'2'), libc.rename(own + b'2', own))"),
    race("link a file", "(libc.link(name, own + b'2'), libc.unlink(own + b'2'))"),
    with_a_link("change a mode", "libc.chmod(name, 0o777)", "libc.chmod(name, 0o600)"),
    with_a_link("change times", "libc.utimensat(-100, name, None, 0)"),
    with_a_link("cut a file", "libc.truncate(name, 0)"),
    with_a_link("open a file", CLOSE % "name, os.O_WRONLY | os.O_TRUNC"),
    with_a_link(
        "make a file",
        CLOSE % "name, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600",
    ),
    below_a_link("change a mode", "libc.chmod(name, 0o777)", "libc.chmod(name, 0o600)"),
    below_a_link("make a file", CLOSE % "new, os.O_CREAT | os.O_RDWR, 0o600"),
    below_a_link("make a folder", "libc.mkdir(new, 0o700)"),
    below_a_link("make a link", "libc.symlink(b'/', new)"),
    below_a_link("delete a file", "libc.unlink(name)"),
    below_a_link("rename a file", "libc.rename(name, new)"),
    Attempt(
        name="reach a repository through a folder that changes places",
        program=py(
            """
            import threading, time
            over = time.monotonic() + 0.2
            os.makedirs(WORK + "/own/.git/hooks")
            a, b = os.fsencode(WORK + "/own"), os.fsencode(WORK + "/vendor")
            os.symlink("vendor", WORK + "/link")
            def exchange():
                while time.monotonic() < over:
                    libc.renameat2(-100, a, -100, b, 2)
                    libc.renameat2(-100, a, -100, os.fsencode(WORK + "/link"), 2)
            threading.Thread(target=exchange).start()
            while time.monotonic() < over:
                for top in ("own", "link"):
                    fd = libc.open(os.fsencode(f"{WORK}/{top}/.git/hooks/pre-commit"), os.O_CREAT | os.O_WRONLY, 0o700)
                    fd < 0 or os.close(fd)
                    libc.mkdir(os.fsencode(f"{WORK}/{top}/.git/hooks/d"), 0o700)
                    libc.chmod(os.fsencode(f"{WORK}/{top}/.git/config"), 0o777)
            """
        ),
        prepare=protected_while_turning,
        profiles=("workspace",),
    ),
    Attempt(
        name="lock a file outside by a descriptor that changes meanwhile",
        still_open=LOCKS,
        program=py(
            """
            import threading, time
            over = time.monotonic() + 0.4
            own, other, used = os.open(WORK + "/own", os.O_CREAT | os.O_RDONLY, 0o600), os.open(FILE, os.O_RDONLY), 77
            os.dup2(own, used)
            def exchange():
                while time.monotonic() < over:
                    libc.dup2(other, used)
                    libc.dup2(own, used)
            threading.Thread(target=exchange).start()
            while time.monotonic() < over:
                libc.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ready()
            """
        ),
        prepare=cannot_lock,
        profiles=("workspace",),
        alive=True,
    ),
    Attempt(
        name="end whoever watches and go on",
        program=py(
            """
            import signal, time
            # Without a sandbox the parent is the test itself.
            for pid in (os.getppid(), 1):
                if os.environ["TESTER"] != str(pid) and (pid != 1 or os.getppid() == 1):
                    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
                        each(lambda: os.kill(pid, number))
            time.sleep(0.05)
            each(lambda: write(FILE), lambda: os.chmod(FILE, 0o777))
            """
        ),
        prepare=lambda host: (host.env.__setitem__("TESTER", str(os.getpid())), host.watch())[1],
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the attributes of a file outside by new calls",
        program=py(
            """
            import struct
            request = ctypes.create_string_buffer(struct.pack("QIIII", 0x80, 0, 0, 0, 0))
            each(lambda: call(469, -100, os.fsencode(FILE), request, 24, 0))
            value = ctypes.create_string_buffer(b"1")
            args = ctypes.create_string_buffer(struct.pack("QII", ctypes.addressof(value), 1, 0))
            each(lambda: call(463, -100, os.fsencode(FILE), 0, b"user.evil", args, 16))
            """
        ),
        needs=(new_call(463, "setxattrat"),),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the version of a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            value = (12345).to_bytes(8, "little")
            each(lambda: fcntl.ioctl(fd, 0x40087602, value), lambda: fcntl.ioctl(fd, 0x40086604, value))
            """
        ),
        prepare=version_of_the_file,
        needs=(versions,),
    ),
    Attempt(
        name="change the priority of a process of the host",
        program=py("call(251 if X86 else 30, 1, VICTIM, (2 << 13) | 7)"),
        prepare=priority_of_io,
    ),
    Attempt(
        name="change the processors of a process of the host",
        program=py("os.sched_setaffinity(VICTIM, {min(os.sched_getaffinity(0))})"),
        prepare=processors,
        needs=(several_processors,),
    ),
    Attempt(
        name="have more processes than allowed",
        program=py(
            """
            import time
            for _ in range(200):
                if not os.fork():
                    time.sleep(600)
            time.sleep(20 if os.environ["CONFINED"] else 0.1)
            escaped()
            """
        ),
        prepare=lives_on,
        limits=CommandLimits(processes=100),
    ),
    Attempt(
        name="have more threads than allowed",
        program=py(
            """
            import threading, time
            for _ in range(200):
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            time.sleep(20 if os.environ["CONFINED"] else 0.1)
            escaped()
            """
        ),
        prepare=lives_on,
        limits=CommandLimits(processes=100),
        profiles=("read-only",),
    ),
    Attempt(
        name="use more memory than allowed",
        program=py(
            """
            import time
            held = []
            for _ in range(4):
                if not os.fork():
                    held.append(b"x" * (64 << 20))
                    time.sleep(600)
            time.sleep(20 if os.environ["CONFINED"] else 0.1)
            escaped()
            """
        ),
        prepare=lives_on,
        limits=CommandLimits(memory_mb=150),
        profiles=("read-only",),
    ),
    Attempt(
        name="use more of the processor than allowed",
        program=py(
            """
            import time
            while time.process_time() < (10 if os.environ["CONFINED"] else 1.1):
                pass
            escaped()
            """
        ),
        prepare=lives_on,
        limits=CommandLimits(cpu_seconds=1),
        profiles=("read-only",),
    ),
]
