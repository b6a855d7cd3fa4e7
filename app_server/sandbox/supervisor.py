"""Answers the calls of a command that Landlock alone could not decide: what is next to protected entries.

Landlock grants whole directories. Where a directory holds something protected it grants nothing, and the command asks
here; what is allowed is then done in its place, on objects that are held open, never on paths that it could change in
between. "Go on" is only ever answered where Landlock decides once more.
"""

import errno
import fcntl
import os
import select
import signal
import stat
import struct
from collections.abc import Callable
from contextlib import suppress

from app_server.sandbox import descent, kernel
from app_server.sandbox.area import Area
from app_server.sandbox.caller import AT_FDCWD, IS_VALID, Answered, Call, error_of
from app_server.sandbox.connecting import Connections

RECEIVE = 0xC0502100
SEND = 0xC0182101
ADD_DESCRIPTOR = 0x40182103

REQUEST_BYTES = 80
GO_ON = 1
ADD_AND_SEND = 2

LINKS = 40
"""Symbolic links followed before a path counts as endless."""

AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
PRIO_PROCESS = 0
IOPRIO_WHO_PROCESS = 1

LOCK = "@hhqqi4x"
"""A `struct flock`: kind, whence, start, length, process."""

F_OFD_SETLK, F_OFD_SETLKW = 37, 38
OPEN_FILE_LOCKS = (F_OFD_SETLK, F_OFD_SETLKW)
WAITING_LOCKS = (fcntl.F_SETLKW, F_OFD_SETLKW)
RETRY_MS = 10

CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_DESCRIPTORS = (b"/proc/self/fd", b"/proc/thread-self/fd", b"/dev/fd")
_STANDARD = {b"/dev/stdin": 0, b"/dev/stdout": 1, b"/dev/stderr": 2}


class GoOn(Exception):
    """Let the kernel do it, under Landlock."""


class Supervisor:
    """Serves one command and everything that it starts."""

    def __init__(self, listener: int, area: Area, calls: dict[int, str], proxy: tuple[int, int] | None) -> None:
        """`calls` are the names of the calls that may be asked about, by number; `proxy` is as for `Connections`."""
        self._listener, self._area = listener, area
        self._poll = select.poll()
        self._connections = None if proxy is None else Connections(listener, proxy, self._poll, self._send)
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        self._calls: dict[int, Callable[[Call], int]] = {
            number: getattr(self, f"_on_{name}") for number, name in calls.items()
        }

    # The loop

    def serve(self, child: int) -> int:
        """Answer until the child has ended; its exit code. Nothing that it started is left then."""
        waker, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        poll = self._poll
        poll.register(self._listener, select.POLLIN)
        poll.register(waker, select.POLLIN)
        while (status := descent.reap(child)) is None:
            for fd, event in poll.poll(RETRY_MS if self._waiting else None):
                if fd == waker:
                    os.read(waker, 512)
                elif self._connections is not None and self._connections.look(fd):
                    pass
                elif event & select.POLLIN:
                    self._answer_one()
                else:
                    poll.unregister(fd)  # nobody is left who could ask
            self._try_again()
        descent.end_all()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _answer_one(self) -> None:
        request = bytearray(REQUEST_BYTES)
        try:
            fcntl.ioctl(self._listener, RECEIVE, request)
        except OSError:
            return  # it was interrupted before we looked
        call = Call(self._listener, request)
        value, number, flags = 0, 0, 0
        try:
            value = self._calls[call.number](call)
        except GoOn:
            flags = GO_ON
        except Answered:
            return
        except OSError as error:
            number = -(error.errno or errno.EPERM)
        except Exception:
            number = -errno.EPERM  # a fault of ours must not end the supervision
        finally:
            call.close()
        self._send(call.id, value, number, flags)

    def _send(self, call: int, value: int, failure: int, flags: int) -> None:
        with suppress(OSError):  # nobody waits any more
            fcntl.ioctl(self._listener, SEND, struct.pack("=QqiI", call, value, failure, flags))

    # Looking up

    def _find(self, call: Call, base: int, path: bytes, *, follow: bool = True) -> int:
        """A path-only descriptor for what a path means to the caller. Raises OSError."""
        if not path:
            raise error_of(errno.ENOENT)
        if follow and (number := _named_descriptor(path)) is not None:
            return call.descriptor(number)
        start = AT_FDCWD if path.startswith(b"/") else call.descriptor(base)
        flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
        return call.keep(kernel.openat2(start, path, flags, kernel.RESOLVE_NO_MAGICLINKS))

    def _entry(self, call: Call, base: int, path: bytes) -> tuple[int, bytes, bytes]:
        """The directory of an entry, its name there, and its whole path. GoOn where a path means no entry."""
        directory, name = os.path.split(path.rstrip(b"/"))
        if name in (b"", b".", b".."):
            raise GoOn
        try:
            fd = self._find(call, base, directory or b".")
        except OSError:
            raise GoOn from None  # the kernel finds the same
        return fd, name, os.path.join(_path_of(fd), name)

    # Opening

    def _on_open(self, call: Call) -> int:
        return self._open(call, AT_FDCWD, call.text(0), call.integer(1), call.integer(2))

    def _on_creat(self, call: Call) -> int:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        return self._open(call, AT_FDCWD, call.text(0), flags, call.integer(1))

    def _on_openat(self, call: Call) -> int:
        return self._open(call, call.integer(0), call.text(1), call.integer(2), call.integer(3))

    def _open(self, call: Call, base: int, path: bytes, flags: int, mode: int) -> int:
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        if flags & os.O_PATH or (flags & os.O_CREAT and flags & os.O_DIRECTORY):
            raise GoOn
        for _ in range(LINKS):
            try:
                fd = self._find(call, base, path, follow=not (flags & os.O_NOFOLLOW or exclusive))
            except FileNotFoundError:
                if not flags & os.O_CREAT or path.endswith(b"/"):
                    raise GoOn from None
            except OSError:
                raise GoOn from None  # the kernel finds the same, or follows one of its magic links under Landlock
            else:
                self._open_existing(call, fd, flags, mode)
            directory, name, whole = self._entry(call, base, path)
            try:
                target = os.readlink(name, dir_fd=directory)
            except FileNotFoundError:
                self._create(call, directory, name, whole, flags, mode)
                target = whole  # somebody else has made it meanwhile
            except OSError:
                raise GoOn from None
            path, base = os.path.join(os.path.dirname(whole), target), AT_FDCWD
        raise error_of(errno.ELOOP)

    def _open_existing(self, call: Call, fd: int, flags: int, mode: int) -> None:
        path = _path_of(fd)
        kind = os.stat(fd).st_mode
        if stat.S_ISDIR(kind) and path in self._area.listed and not flags & CHANGING:
            self._install(call, os.open(b"/proc/self/fd/%d" % fd, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), flags)
        if self._area.is_granted(path) or not self._area.may_change(path):
            raise GoOn
        if (flags & os.O_CREAT and flags & os.O_EXCL) or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise GoOn
        ours = flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) | os.O_CLOEXEC | os.O_NOCTTY
        os.umask(call.umask())
        self._install(call, os.open(b"/proc/self/fd/%d" % fd, ours, mode & 0o7777), flags)

    def _create(self, call: Call, directory: int, name: bytes, path: bytes, flags: int, mode: int) -> None:
        """Return only if it exists by now."""
        if self._area.is_granted(path) or not self._area.may_change(path):
            raise GoOn
        os.umask(call.umask())
        ours = flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        try:
            fd = os.open(name, ours, mode & 0o7777, dir_fd=directory)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return
        self._install(call, fd, flags)

    def _install(self, call: Call, fd: int, flags: int) -> None:
        """Give an open descriptor to the caller as the result of its call."""
        call.keep(fd)
        message = struct.pack("=QIIII", call.id, ADD_AND_SEND, fd, 0, flags & os.O_CLOEXEC)
        try:
            fcntl.ioctl(self._listener, ADD_DESCRIPTOR, message)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
        raise Answered

    # Entries of directories

    def _may(self, *paths: bytes) -> None:
        """GoOn unless the supervisor has to act, and may."""
        if all(self._area.is_granted(os.path.dirname(path)) for path in paths):
            raise GoOn
        if not all(self._area.may_move(path) for path in paths):
            raise GoOn

    def _on_mkdir(self, call: Call) -> int:
        return self._mkdir(call, AT_FDCWD, 0)

    def _on_mkdirat(self, call: Call) -> int:
        return self._mkdir(call, call.integer(0), 1)

    def _mkdir(self, call: Call, base: int, index: int) -> int:
        directory, name, path = self._entry(call, base, call.text(index))
        self._may(path)
        os.umask(call.umask())
        os.mkdir(name, call.integer(index + 1) & 0o7777, dir_fd=directory)
        return 0

    def _on_mknod(self, call: Call) -> int:
        return self._mknod(call, AT_FDCWD, 0)

    def _on_mknodat(self, call: Call) -> int:
        return self._mknod(call, call.integer(0), 1)

    def _mknod(self, call: Call, base: int, index: int) -> int:
        mode = call.integer(index + 1)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise GoOn
        directory, name, path = self._entry(call, base, call.text(index))
        self._may(path)
        os.umask(call.umask())
        os.mknod(name, stat.S_IMODE(mode) | stat.S_IFREG, dir_fd=directory)
        return 0

    def _on_symlink(self, call: Call) -> int:
        return self._symlink(call, AT_FDCWD, 1)

    def _on_symlinkat(self, call: Call) -> int:
        return self._symlink(call, call.integer(1), 2)

    def _symlink(self, call: Call, base: int, index: int) -> int:
        directory, name, path = self._entry(call, base, call.text(index))
        self._may(path)
        os.symlink(call.text(0), name, dir_fd=directory)
        return 0

    def _on_unlink(self, call: Call) -> int:
        return self._remove(call, AT_FDCWD, 0, 0)

    def _on_rmdir(self, call: Call) -> int:
        return self._remove(call, AT_FDCWD, 0, AT_REMOVEDIR)

    def _on_unlinkat(self, call: Call) -> int:
        return self._remove(call, call.integer(0), 1, call.integer(2))

    def _remove(self, call: Call, base: int, index: int, flags: int) -> int:
        directory, name, path = self._entry(call, base, call.text(index))
        self._may(path)
        if flags & AT_REMOVEDIR:
            os.rmdir(name, dir_fd=directory)
            self._area.forget(path)
        else:
            os.unlink(name, dir_fd=directory)
        return 0

    def _on_link(self, call: Call) -> int:
        return self._link(call, (AT_FDCWD, 0), (AT_FDCWD, 1), 0)

    def _on_linkat(self, call: Call) -> int:
        return self._link(call, (call.integer(0), 1), (call.integer(2), 3), call.integer(4))

    def _link(self, call: Call, old: tuple[int, int], new: tuple[int, int], flags: int) -> int:
        source, old_name, old_path = self._entry(call, old[0], call.text(old[1]))
        target, new_name, new_path = self._entry(call, new[0], call.text(new[1]))
        self._may(old_path, new_path)
        is_link = stat.S_ISLNK(os.stat(old_name, dir_fd=source, follow_symlinks=False).st_mode)
        if flags & ~AT_SYMLINK_FOLLOW or (flags and is_link):
            raise GoOn
        os.link(old_name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        return 0

    def _on_rename(self, call: Call) -> int:
        return self._rename(call, (AT_FDCWD, 0), (AT_FDCWD, 1), 0)

    def _on_renameat(self, call: Call) -> int:
        return self._rename(call, (call.integer(0), 1), (call.integer(2), 3), 0)

    def _on_renameat2(self, call: Call) -> int:
        return self._rename(call, (call.integer(0), 1), (call.integer(2), 3), call.integer(4))

    def _rename(self, call: Call, old: tuple[int, int], new: tuple[int, int], flags: int) -> int:
        source, old_name, old_path = self._entry(call, old[0], call.text(old[1]))
        target, new_name, new_path = self._entry(call, new[0], call.text(new[1]))
        self._may(old_path, new_path)
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise error_of(errno.EINVAL)
        kernel.rename(source, old_name, target, new_name, flags)
        # What was granted there goes with the directory; at its old place there is nothing or something new.
        self._area.forget(old_path)
        self._area.forget(new_path)
        return 0

    def _on_truncate(self, call: Call) -> int:
        fd = self._find(call, AT_FDCWD, call.text(0))
        if not self._area.may_change(_path_of(fd)):
            raise error_of(errno.EACCES)
        os.truncate(b"/proc/self/fd/%d" % fd, call.arguments[1])
        return 0

    # Attributes, of which Landlock knows nothing: here nothing may just go on.

    def _changeable(self, call: Call, base: int, path: bytes | None, flags: int = 0) -> int:
        """A descriptor for what a path means, or for what is open under the number `base` where there is no path."""
        if path is None or (not path and flags & AT_EMPTY_PATH):
            fd = call.descriptor(base)
        else:
            fd = self._find(call, base, path, follow=not flags & AT_SYMLINK_NOFOLLOW)
        if not self._area.may_change(_path_of(fd)):
            raise error_of(errno.EPERM)
        return fd

    def _on_chmod(self, call: Call) -> int:
        return _chmod(self._changeable(call, AT_FDCWD, call.text(0)), call.integer(1))

    def _on_fchmod(self, call: Call) -> int:
        return _chmod(self._changeable(call, call.integer(0), None), call.integer(1))

    def _on_fchmodat(self, call: Call) -> int:
        return _chmod(self._changeable(call, call.integer(0), call.text(1)), call.integer(2))

    def _on_fchmodat2(self, call: Call) -> int:
        fd = self._changeable(call, call.integer(0), call.text(1), call.integer(3))
        return _chmod(fd, call.integer(2))

    def _on_chown(self, call: Call) -> int:
        return _chown(self._changeable(call, AT_FDCWD, call.text(0)), call, 1)

    def _on_lchown(self, call: Call) -> int:
        return _chown(self._changeable(call, AT_FDCWD, call.text(0), AT_SYMLINK_NOFOLLOW), call, 1)

    def _on_fchown(self, call: Call) -> int:
        return _chown(self._changeable(call, call.integer(0), None), call, 1)

    def _on_fchownat(self, call: Call) -> int:
        return _chown(self._changeable(call, call.integer(0), call.text(1), call.integer(4)), call, 2)

    def _on_utime(self, call: Call) -> int:
        fd = self._changeable(call, AT_FDCWD, call.text(0))
        return _set_times(fd, call, 1, nanoseconds=0)

    def _on_utimes(self, call: Call) -> int:
        fd = self._changeable(call, AT_FDCWD, call.text(0))
        return _set_times(fd, call, 1, nanoseconds=1000)

    def _on_futimesat(self, call: Call) -> int:
        fd = self._changeable(call, call.integer(0), call.text(1) if call.arguments[1] else None)
        return _set_times(fd, call, 2, nanoseconds=1000)

    def _on_utimensat(self, call: Call) -> int:
        path = call.text(1) if call.arguments[1] else None
        fd = self._changeable(call, call.integer(0), path, call.integer(3))
        return _set_times(fd, call, 2, nanoseconds=1)

    # Locks: who uses a file outside would wait for them.

    def _on_flock(self, call: Call) -> int:
        operation = call.integer(1)
        if operation & fcntl.LOCK_UN:
            raise GoOn
        fd = self._to_lock(call)
        return self._lock(call, fd, lambda: fcntl.flock(fd, operation | fcntl.LOCK_NB), operation & fcntl.LOCK_NB == 0)

    def _on_fcntl(self, call: Call) -> int:
        command = call.integer(1)
        kind, whence, start, length, _ = struct.unpack(LOCK, call.memory(call.arguments[2], struct.calcsize(LOCK)))
        request = struct.pack(LOCK, kind, whence, start, length, 0)
        if command not in OPEN_FILE_LOCKS and call.is_alone() and kind != fcntl.F_UNLCK:
            self._check_lock(call.descriptor(call.integer(0)))
            raise GoOn
        # A lock that belongs to the process cannot be taken for it; one that belongs to the open file can.
        fd = self._to_lock(call)
        if kind == fcntl.F_UNLCK:
            with suppress(OSError):
                fcntl.fcntl(fd, F_OFD_SETLK, request)
            os.close(fd)
            raise GoOn
        return self._lock(call, fd, lambda: fcntl.fcntl(fd, F_OFD_SETLK, request), command in WAITING_LOCKS)

    def _to_lock(self, call: Call) -> int:
        """The caller's own open file, as it is now: under its number there may be another in a moment."""
        number = call.integer(0)
        try:
            fd = call.take(number)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
                raise
            if not call.is_alone():  # another thread could exchange it before the kernel looks
                raise error_of(errno.EOPNOTSUPP) from None
            self._check_lock(call.descriptor(number))
            raise GoOn from None
        try:
            self._check_lock(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check_lock(self, fd: int) -> None:
        kind = os.stat(fd).st_mode
        if (stat.S_ISREG(kind) or stat.S_ISDIR(kind)) and not self._area.may_change(_path_of(fd)):
            raise error_of(errno.EPERM)

    def _lock(self, call: Call, fd: int, attempt: Callable[[], object], waits: bool) -> int:
        """Take a lock, at once or as soon as it is free; `fd` is closed then."""
        try:
            attempt()
        except (BlockingIOError, PermissionError):  # the two names of a conflict
            if waits:
                self._waiting.append((call.id, fd, attempt))
                raise Answered from None
            os.close(fd)
            raise
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return 0

    def _try_again(self) -> None:
        """Answer those who wait for a lock that is free by now, and forget those who do not wait any more."""
        for waiting in list(self._waiting):
            number, fd, attempt = waiting
            failure = 0
            try:
                fcntl.ioctl(self._listener, IS_VALID, struct.pack("=Q", number))
                attempt()
            except (BlockingIOError, PermissionError):
                continue
            except OSError as error:
                failure = -(error.errno or errno.EIO)
            self._waiting.remove(waiting)
            self._send(number, 0, failure, 0)
            os.close(fd)

    # Connections

    def _on_connect(self, call: Call) -> int:
        if self._connections is None:
            raise error_of(errno.EPERM)
        return self._connections.connect(call)

    # Processes: their own may be changed. Numbers are no pointers: they cannot become others before the kernel looks.

    def _on_setpriority(self, call: Call) -> int:
        if call.integer(0) != PRIO_PROCESS:
            raise error_of(errno.EPERM)
        return self._change_process(call, 1)

    def _on_ioprio_set(self, call: Call) -> int:
        if call.integer(0) != IOPRIO_WHO_PROCESS:
            raise error_of(errno.EPERM)
        return self._change_process(call, 1)

    def _on_prlimit64(self, call: Call) -> int:
        if call.arguments[2] == 0:
            raise GoOn  # it only asks
        return self._change_process(call, 0)

    def _change_process(self, call: Call, index: int = 0) -> int:
        if not descent.is_descendant(call.integer(index)):
            raise error_of(errno.EPERM)
        raise GoOn

    _on_sched_setparam = _on_sched_setscheduler = _on_sched_setattr = _on_sched_setaffinity = _change_process

    # Signals, where Landlock cannot hold them back

    def _on_kill(self, call: Call) -> int:
        pid, number = call.integer(0), call.integer(1)
        if pid > 0:
            return self._signal_one(call)
        meant = descent.descendants()
        if pid != -1:
            group = os.getpgid(call.thread) if pid == 0 else -pid
            meant = [other for other in meant if descent.group_of(other) == group]
        if not meant:
            raise error_of(errno.ESRCH)
        for other in meant:
            with suppress(OSError):
                os.kill(other, number)
        return 0

    def _signal_one(self, call: Call) -> int:
        return self._change_process(call)

    _on_tkill = _on_tgkill = _on_rt_sigqueueinfo = _on_rt_tgsigqueueinfo = _signal_one

    def _on_pidfd_send_signal(self, call: Call) -> int:
        raise error_of(errno.ENOSYS)  # what the descriptor stands for could change before the kernel looks


def _wake(*_: object) -> None:
    """That a signal is handled at all makes the loop look."""


def _path_of(fd: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % fd)


def _named_descriptor(path: bytes) -> int | None:
    if (number := _STANDARD.get(path)) is not None:
        return number
    directory, name = os.path.split(path)
    return int(name) if directory in _DESCRIPTORS and name.isdigit() and len(name) < 10 else None


def _chmod(fd: int, mode: int) -> int:
    os.chmod(b"/proc/self/fd/%d" % fd, mode & 0o7777)
    return 0


def _chown(fd: int, call: Call, index: int) -> int:
    kernel.set_owner(fd, call.integer(index), call.integer(index + 1))
    return 0


def _set_times(fd: int, call: Call, index: int, *, nanoseconds: int) -> int:
    """Set the times that a call gives, in seconds and a fraction in units of `nanoseconds` (0: no fraction).

    A call that gives none means now.
    """
    times = None
    if address := call.arguments[index]:
        if nanoseconds:
            read, read_part, write, write_part = struct.unpack("=4q", call.memory(address, 32))
            times = struct.pack("=4q", read, read_part * nanoseconds, write, write_part * nanoseconds)
        else:
            read, write = struct.unpack("=2q", call.memory(address, 16))
            times = struct.pack("=4q", read, 0, write, 0)
    kernel.set_times(fd, times)
    return 0
