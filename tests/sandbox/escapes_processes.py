"""Attempts on other processes of the host: their memory, descriptors, limits and signals; and to outlive the end."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.sandbox.attempts import EVERYWHERE, Attempt, Check, Host, Outcome, marked, py, says, sh
from tests.sandbox.needs import existing, root, setting

TEXT = b"unchanged-memory"


def is_disturbed(pid: int) -> bool:
    """Whether a process that sleeps if nobody disturbs it was killed, stopped or sent a signal."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return True
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if fields["State"][0] in "TtZX" or int(fields["SigPnd"], 16) or int(fields["ShdPnd"], 16):
            return True
        if fields["State"][0] in "SI":
            return False
        time.sleep(0.002)  # it is about to do something, and then sleeps, stops or ends


def is_left_alone(host: Host) -> Check:
    """A process of the host's that must neither die nor stop."""
    pid = host.victim().pid
    while is_disturbed(pid):  # its beginning
        time.sleep(0.002)

    def check(_: Outcome) -> bool:
        found = is_disturbed(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return found

    return check


def memory(host: Host) -> Check:
    """Memory of the host's at ADDRESS: this very process's, for everybody may know where it is."""
    buffer = ctypes.create_string_buffer(TEXT)
    host.env["VICTIM"], host.env["ADDRESS"] = str(os.getpid()), str(ctypes.addressof(buffer))
    return lambda outcome: buffer.value != TEXT or TEXT.decode() in outcome.text


def limits(host: Host) -> Check:
    """The limits, priority and processors of a process of the host's."""
    pid = host.victim().pid

    def now() -> object:
        return (
            Path(f"/proc/{pid}/limits").read_text(),
            os.getpriority(os.PRIO_PROCESS, pid),
            os.sched_getaffinity(pid),
            os.sched_getscheduler(pid),
            Path(f"/proc/{pid}/oom_score_adj").read_text(),
        )

    before = now()
    return lambda _: now() != before


def secret_in_a_descriptor(host: Host) -> Check:
    """A process of the host's holds a file that has no name any more."""
    path = host.outside / "nameless"
    path.write_text("secret-of-the-host")
    fd = host.opened(path, os.O_RDONLY)
    path.unlink()
    host.victim(fds=[fd])
    host.env["FD"] = str(fd)
    return lambda outcome: "secret-of-the-host" in outcome.text


def secret_in_an_environment(host: Host) -> Check:
    """A process of the host's with a key in its environment."""
    host.victim(env={"API_KEY": "secret-of-the-host"})
    return lambda outcome: "secret-of-the-host" in outcome.text


def descriptor_of_the_daemon(host: Host) -> Check:
    """A descriptor that the daemon holds, as a library may have opened it: not closed on exec."""
    fd = host.opened(host.file, os.O_RDWR)
    os.set_inheritable(fd, True)
    return host.watch()


def terminal_of_the_host(host: Host) -> Check:
    """Another terminal of the user's, where nothing may appear."""
    master, slave = os.openpty()
    host.stack.callback(os.close, master)
    host.stack.callback(os.close, slave)
    host.env["TERMINAL"] = os.ttyname(slave)
    os.set_blocking(master, False)

    def check(_: Outcome) -> bool:
        try:
            return os.read(master, 100) != b""
        except BlockingIOError:
            return False

    return check


def privileged_program(host: Host) -> Check:
    """A program that belongs to another user and takes his rights."""
    copy = host.outside / "id"
    copy.write_bytes(Path("/usr/bin/id").read_bytes())
    os.chown(copy, 12345, 12346)
    copy.chmod(0o6755)
    for directory in (host.outside, host.top, *host.top.parents):
        if directory != Path("/") and directory.stat().st_uid == os.getuid():
            directory.chmod(directory.stat().st_mode | 0o111)
    return lambda outcome: "euid=12345" in outcome.text or "egid=12346" in outcome.text


def outlives(host: Host) -> Check:
    return lambda _: bool(marked(host.mark))


def survivor(name: str, body: str, *, tty: bool = False) -> Attempt:
    """An attempt to be alive when the command was ended. `body` runs in the command; it says "ready" when it is set."""
    return Attempt(
        name=f"survive {name}",
        program=py("import signal, time\nMARK = os.environ['MARK']\n" + body),
        prepare=outlives,
        profiles=EVERYWHERE,
        killed=True,
        control="plain",
        tty=tty,
    )


FORK_AWAY = """
def away(depth, then):
    if os.fork():
        return
    os.setsid()
    if depth:
        away(depth - 1, then)
        os._exit(0)
    then()
"""

PEEK = """
address = int(os.environ["ADDRESS"])
def peek():
    with open(f"/proc/{VICTIM}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        print(memory.read(16))
        memory.seek(address)
        memory.write(b"evil")
"""

ATTEMPTS = [
    Attempt(
        name="kill a process of the host", program=sh("kill -9 $VICTIM"), prepare=is_left_alone, profiles=EVERYWHERE
    ),
    Attempt(name="stop a process of the host", program=sh("kill -STOP $VICTIM"), prepare=is_left_alone),
    Attempt(
        name="signal a process of the host by every call",
        program=py(
            """
            import signal
            each(
                lambda: os.kill(VICTIM, signal.SIGKILL), lambda: os.killpg(os.getpgid(VICTIM), 0),
                lambda: lib("tgkill", VICTIM, VICTIM, 9), lambda: lib("sigqueue", VICTIM, 9, 0),
                lambda: signal.pidfd_send_signal(os.pidfd_open(VICTIM), 9),
                lambda: signal.pidfd_send_signal(os.open(f"/proc/{VICTIM}", os.O_DIRECTORY), 9),
            )
            """
        ),
        prepare=is_left_alone,
    ),
    Attempt(
        name="signal a process of the host by the readiness of a file",
        program=py(
            """
            import signal
            reading, writing = os.pipe()
            fcntl.fcntl(reading, fcntl.F_SETOWN, VICTIM)
            fcntl.fcntl(reading, 10, signal.SIGKILL)
            fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            os.write(writing, b"x")
            """
        ),
        prepare=is_left_alone,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="trace a process of the host",
        program=py(
            """
            each(lambda: lib("ptrace", 0x4206, VICTIM, None, None), lambda: lib("ptrace", 0x4207, VICTIM, None, None))
            ready()
            """
        ),
        prepare=is_left_alone,
        profiles=EVERYWHERE,
        alive=True,
    ),
    Attempt(
        name="write into the memory of a process of the host",
        program=py(PEEK + "each(peek)"),
        prepare=memory,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="write into the memory of a process of the host by a call",
        program=py(
            """
            address = int(os.environ["ADDRESS"])
            data = ctypes.create_string_buffer(b"evil")
            local = (ctypes.c_ulong * 2)(ctypes.addressof(data), 4)
            remote = (ctypes.c_ulong * 2)(address, 4)
            lib("process_vm_writev", VICTIM, local, 1, remote, 1, 0)
            """
        ),
        prepare=memory,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read the memory of a process of the host by a call",
        program=py(
            """
            address = int(os.environ["ADDRESS"])
            data = ctypes.create_string_buffer(17)
            local = (ctypes.c_ulong * 2)(ctypes.addressof(data), 16)
            remote = (ctypes.c_ulong * 2)(address, 16)
            lib("process_vm_readv", VICTIM, local, 1, remote, 1, 0)
            print(data.value)
            """
        ),
        prepare=memory,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the limits of a process of the host",
        program=py(
            """
            import resource
            each(
                lambda: resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (10, 10)),
                lambda: os.setpriority(os.PRIO_PROCESS, VICTIM, 10), lambda: os.sched_setaffinity(VICTIM, {0}),
                lambda: os.sched_setscheduler(VICTIM, os.SCHED_BATCH, os.sched_param(0)),
                lambda: open(f"/proc/{VICTIM}/oom_score_adj", "w").write("900"),
            )
            """
        ),
        prepare=limits,
    ),
    Attempt(
        name="take a descriptor of a process of the host",
        program=py('fd = call(438, call(434, VICTIM, 0), int(os.environ["FD"]), 0)\nprint(os.pread(fd, 100, 0))'),
        prepare=secret_in_a_descriptor,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="open a descriptor of a process of the host again",
        program=sh('cat "/proc/$VICTIM/fd/$FD"'),
        prepare=secret_in_a_descriptor,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="use a descriptor of the daemon",
        program=py("for fd in range(3, 400):\n    each(lambda: os.pwrite(fd, b'evil', 0))"),
        prepare=descriptor_of_the_daemon,
        profiles=EVERYWHERE,
        control="plain",
    ),
    Attempt(
        name="enter the namespaces of a process of the host",
        program=py(
            """
            for name in ("user", "mnt", "pid", "net", "ipc", "uts"):
                each(lambda: lib("setns", os.open(f"/proc/{VICTIM}/ns/{name}", os.O_RDONLY), 0))
            each(lambda: lib("setns", call(434, VICTIM, 0), 0x20000))
            write(FILE)
            """
        ),
        prepare=lambda host: (host.victim(), host.watch())[1],
        needs=(root,),
    ),
    Attempt(
        name="type into the terminal",
        program=py("fcntl.ioctl(0, 0x5412, b'x')\nescaped()"),
        prepare=says,
        profiles=EVERYWHERE,
        tty=True,
        needs=(lambda: None if root() is None else setting("/proc/sys/dev/tty/legacy_tiocsti", "1")(),),
    ),
    Attempt(
        name="type into the terminal with a number of 64 bits",
        program=py("lib('ioctl', 0, 0x100005412, ctypes.create_string_buffer(b'x'))\nescaped()"),
        prepare=says,
        profiles=EVERYWHERE,
        tty=True,
        needs=(lambda: None if root() is None else setting("/proc/sys/dev/tty/legacy_tiocsti", "1")(),),
    ),
    Attempt(
        name="write to another terminal",
        program=py('write(os.environ["TERMINAL"], os.O_WRONLY | os.O_NOCTTY)'),
        prepare=terminal_of_the_host,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="gain rights from a program of another user",
        program=sh('"$OUT/id"'),
        prepare=privileged_program,
        needs=(root, existing("/usr/bin/id")),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="have capabilities",
        program=py(
            """
            for line in open("/proc/self/status"):
                if line.startswith(("CapEff", "CapPrm", "CapBnd")) and int(line.split()[1], 16):
                    escaped(print(line))
            """
        ),
        prepare=says,
        needs=(root,),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="become another user",
        program=py("os.setgid(12345)\nos.setuid(12345)\nescaped()"),
        prepare=says,
        needs=(root,),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="read the environment of a process of the host",
        program=sh('tr "\\0" "\\n" <"/proc/$VICTIM/environ"; cat /proc/[0-9]*/environ | tr "\\0" "\\n"'),
        prepare=secret_in_an_environment,
        profiles=EVERYWHERE,
    ),
    survivor("by leaving the session", FORK_AWAY + "away(0, lambda: (ready(), time.sleep(600)))\ntime.sleep(600)"),
    survivor("by a double fork", FORK_AWAY + "away(2, lambda: (ready(), time.sleep(600)))\ntime.sleep(600)"),
    survivor(
        "by ignoring signals",
        FORK_AWAY
        + "for n in range(1, 65):\n    each(lambda: signal.signal(n, signal.SIG_IGN))\n"
        + "away(1, lambda: (ready(), time.sleep(600)))\ntime.sleep(600)",
    ),
    survivor(
        "by blocking signals",
        FORK_AWAY
        + "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        + "away(1, lambda: (ready(), time.sleep(600)))\ntime.sleep(600)",
    ),
    survivor(
        "by closing everything",
        FORK_AWAY
        + "def hide():\n    print('ready', flush=True)\n    os.closerange(0, 100)\n"
        + "    os.chdir('/')\n    time.sleep(600)\n"
        + "away(1, hide)\ntime.sleep(600)",
    ),
    survivor(
        "with a clean environment",
        FORK_AWAY
        + "def clean():\n    code = 'import time; print(\"ready\", flush=True); time.sleep(600)'\n"
        + "    os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', code, MARK], {})\n"
        + "away(1, clean)\ntime.sleep(600)",
    ),
    survivor(
        "as a program in memory",
        FORK_AWAY
        + "def hide():\n    fd = os.memfd_create('x', 0)\n    os.write(fd, open('/bin/sh', 'rb').read())\n"
        + "    os.execve(fd, ['sh', '-c', 'echo ready; sleep 600; :', MARK], {})\n"
        + "away(1, hide)\ntime.sleep(600)",
    ),
    survivor(
        "as a process group of its own",
        "if not os.fork():\n    os.setpgid(0, 0)\n    ready()\n    time.sleep(600)\ntime.sleep(600)",
    ),
    survivor(
        "below a reaper of its own",
        FORK_AWAY
        + "lib('prctl', 36, 1, 0, 0, 0)\n"
        + "away(0, lambda: away(1, lambda: (ready(), time.sleep(600))) or time.sleep(600))\n"
        + "time.sleep(600)",
    ),
    survivor(
        "when the command has ended by itself",
        FORK_AWAY + "away(1, lambda: (time.sleep(0.05), ready(), time.sleep(600)))\nos._exit(0)",
    ),
    survivor(
        "in namespaces of its own",
        FORK_AWAY
        + "def apart():\n    each(lambda: lib('unshare', 0x10000000), lambda: lib('unshare', 0x20020000))\n"
        + "    if os.fork():\n        time.sleep(600)\n    ready()\n    time.sleep(600)\n"
        + "away(1, apart)\ntime.sleep(600)",
    ),
    survivor(
        "by stopping",
        FORK_AWAY
        + "away(1, lambda: (print('ready', flush=True), os.kill(os.getpid(), signal.SIGSTOP)))\ntime.sleep(600)",
    ),
]
