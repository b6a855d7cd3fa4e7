"""The helper process of the Landlock backend: runs the command as a confined child, and supervises it.

It runs alone, in a Python without site packages, and gets everything by one descriptor; see `landlock.py`. That it
forks is safe: it has one thread and no loop.
"""

import array
import errno
import fcntl
import os
import signal
import socket
import stat
from collections.abc import Iterable, Sequence

from app_server.sandbox import kernel
from app_server.sandbox.area import Area
from app_server.sandbox.supervisor import Supervisor

TYPE_CHECKING = False  # `typing` itself takes a tenth of the helper's start
if TYPE_CHECKING:
    from typing import Any, NoReturn

EXIT_NOT_CONFINED = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

DEVICES = (b"/dev/null", b"/dev/zero", b"/dev/full", b"/dev/random", b"/dev/urandom", b"/dev/tty")

AT_FDCWD = -100

NOT_TAKEN = "the sockets of the command cannot be connected to the managed network proxy for it (pidfd_getfd)"


class Orders:
    """What to confine, and how.

    `rules`, `closed` and `names` are as for `Area`. `filters` are installed before the command starts; `questions` is
    the one that makes it ask the supervisor, about the calls in `calls`. `proxy` is as for `Connections`, None
    where the command may connect to nothing.
    """

    def __init__(
        self,
        argv: list[bytes],
        env: dict[bytes, bytes],
        abi: int,
        rules: dict[bytes, int],
        closed: list[bytes],
        names: list[bytes],
        network: bool,
        filters: list[bytes],
        questions: bytes,
        calls: dict[int, str],
        proxy: tuple[int, int] | None,
    ) -> None:
        self.argv, self.env, self.abi, self.network = argv, env, abi, network
        self.rules, self.closed, self.names = rules, closed, names
        self.filters, self.questions, self.calls = filters, questions, calls
        self.proxy = proxy

    def packed(self) -> tuple[object, ...]:
        """The form that crosses to the helper: the arguments for `Orders`."""
        files = (self.rules, self.closed, self.names)
        asked = (self.filters, self.questions, self.calls, self.proxy)
        return (self.argv, self.env, self.abi, *files, self.network, *asked)


def main(packed: "Sequence[Any]") -> "NoReturn":
    """Run the command; this process ends with its exit code."""
    try:
        orders = Orders(*packed)
        kernel.drop_privileges()
        area = Area(orders.rules, orders.closed, orders.names)
        os._exit(_supervise(orders, area))
    except BaseException as error:
        _fail(EXIT_NOT_CONFINED, f"the command was not started, because it cannot be confined: {error}")


def _fail(code: int, text: str) -> "NoReturn":
    os.write(2, f"turnloom: {text}\n".encode("utf-8", "replace"))
    os._exit(code)


def _execute(orders: Orders) -> "NoReturn":
    # The daemon's mark on its commands is in our own environment.
    marks = {name: value for name, value in os.environb.items() if name.startswith(b"TURNLOOM_")}
    try:
        os.execvpe(orders.argv[0], orders.argv, {**orders.env, **marks})
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        name = os.fsdecode(orders.argv[0])
        _fail(EXIT_NOT_FOUND if missing else EXIT_NOT_EXECUTABLE, f"{name}: {error.strerror}")


# Landlock


def _confine(orders: Orders, area: Area) -> None:
    rights = kernel.filesystem_rights(orders.abi)
    scoped = 0
    if orders.abi >= 6:
        scoped = kernel.SCOPE_SIGNALS | (0 if orders.network else kernel.SCOPE_ABSTRACT_SOCKETS)
    tcp = kernel.NET_TCP if orders.abi >= 4 and not orders.network else 0
    ruleset = kernel.create_ruleset(rights, tcp, scoped)
    for path, given in _rules(area):
        _add_rule(ruleset, path, given & rights)
    kernel.restrict_self(ruleset)
    os.close(ruleset)
    for program in orders.filters:
        kernel.install_filter(program)


def _rules(area: Area) -> Iterable[tuple[bytes, int]]:
    for path in area.readable():
        yield path, kernel.FS_READ
    for path in (*area.granted, *area.writable_files()):
        yield path, kernel.FS_CHANGE
    on_device = kernel.FS_READ_FILE | kernel.FS_WRITE_FILE | kernel.FS_TRUNCATE | kernel.FS_IOCTL_DEV
    for device in (*DEVICES, *_own_terminals()):
        yield device, on_device
    yield b"/dev", kernel.FS_READ_DIR


def _own_terminals() -> set[bytes]:
    """The terminals that the command has on its standard descriptors: it may open them by name too."""
    found: set[bytes] = set()
    for fd in range(3):
        try:
            found.add(os.fsencode(os.ttyname(fd)))
        except OSError:
            continue
    return found


def _add_rule(ruleset: int, path: bytes, rights: int) -> None:
    try:
        fd = kernel.openat2(AT_FDCWD, path, os.O_PATH, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            return  # gone, or another thing by now: nothing is given
        raise
    try:
        if not stat.S_ISDIR(os.stat(fd).st_mode):
            rights &= kernel.FS_ON_FILES
        if rights:
            kernel.add_path_rule(ruleset, rights, fd)
    finally:
        os.close(fd)


# Supervision


def _supervise(orders: Orders, area: Area) -> int:
    """Run the command in a child, answer what it asks, and end what it leaves behind. The exit code."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    ours, theirs = socket.socketpair()
    own = os.getpid()
    child = os.fork()
    if child == 0:
        ours.close()
        _become_command(orders, area, theirs, own)
    theirs.close()
    # What the terminal or the daemon sends to the group is for the command.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    listener = _receive_listener(ours)
    if listener is None:
        return _exit_code(os.waitpid(child, 0)[1])
    if orders.proxy is not None:
        _check_taking(child)
        ours.send(b"x")
    ours.close()
    # Else the command's readers would wait for us to close them.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    return Supervisor(listener, area, orders.calls, orders.proxy).serve(child)


def _become_command(orders: Orders, area: Area, ours: socket.socket, parent: int) -> "NoReturn":
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_NOT_CONFINED)
        listener = _listen(orders.questions)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        os.close(listener)
        if orders.proxy is not None and not ours.recv(1):
            os._exit(EXIT_NOT_CONFINED)
        ours.close()
        _confine(orders, area)
    except BaseException as error:
        _fail(EXIT_NOT_CONFINED, f"the command was not started, because it cannot be confined: {error}")
    _execute(orders)


def _listen(questions: bytes) -> int:
    flags = kernel.SECCOMP_FILTER_FLAG_NEW_LISTENER
    try:
        return kernel.install_filter(questions, flags | kernel.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, "another program supervises the system calls of this server already") from None
        if error.errno != errno.EINVAL:  # older than 5.19: a signal may make a call ask twice
            raise
        return kernel.install_filter(questions, flags)


def _receive_listener(ours: socket.socket) -> int | None:
    """None if the child has ended before."""
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    if not ancillary:
        return None
    listener = array.array("i", ancillary[0][2][:4])[0]
    fcntl.fcntl(listener, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return listener


def _check_taking(child: int) -> None:
    """Whether the command's sockets can be connected for it. Raises OSError; the child ends with us."""
    process = os.pidfd_open(child)
    try:
        os.close(kernel.pidfd_getfd(process, 2))
    except OSError as error:
        raise OSError(error.errno, f"{NOT_TAKEN}: {error.strerror}") from None
    finally:
        os.close(process)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
