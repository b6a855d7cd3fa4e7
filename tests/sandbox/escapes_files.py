"""Attempts to change files outside, by every kind of name and every kind of change."""

import fcntl
import os
import stat
from pathlib import Path

from app_server.sandbox.permissions import PermissionProfile
from tests.sandbox.attempts import EVERYWHERE, Attempt, Check, Host, Outcome, py, says, sh
from tests.sandbox.needs import DAC_READ_SEARCH, capability, root, xattrs


def link_to_outside(host: Host) -> Check:
    (host.workspace / "link").symlink_to(host.outside)
    return host.watch()


def victim_outside(host: Host) -> Check:
    host.victim()
    return host.watch()


def victim_with_the_file_open(host: Host) -> Check:
    host.victim(fds=[host.opened(host.file, os.O_RDWR)])
    return host.watch()


def fifo_outside(host: Host) -> Check:
    path = host.outside / "fifo"
    os.mkfifo(path)
    reader = host.opened(path, os.O_RDONLY | os.O_NONBLOCK)

    def check(_: Outcome) -> bool:
        try:
            return os.read(reader, 100) != b""
        except BlockingIOError:
            return False

    return check


def fifo_with_a_secret(host: Host) -> Check:
    path = host.outside / "fifo"
    os.mkfifo(path)
    both = host.opened(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(both, b"meant for another")
    return lambda outcome: "meant for another" in outcome.text


def device_outside(host: Host) -> Check:
    os.mknod(host.outside / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    return says(host)


def cannot_lock(host: Host) -> Check:
    """Whether somebody keeps the user from locking the file."""

    def check(_: Outcome) -> bool:
        with host.file.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(file, fcntl.LOCK_UN)
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    return check


def cannot_open_at_once(host: Host) -> Check:
    """Whether opening the file would have to wait for the holder of a lease."""

    def check(_: Outcome) -> bool:
        try:
            os.close(os.open(host.file, os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            return True
        return False

    return check


def shared_memory_is_clean(host: Host) -> Check:
    name = f"turnloom-{host.mark}"
    host.env["NAME"] = name
    return appears(host, Path("/dev/shm") / name)


def tmp_is_clean(host: Host) -> Check:
    name = f"turnloom-{host.mark}"
    host.env["NAME"] = name
    return appears(host, Path("/tmp") / name)


def appears(host: Host, path: Path) -> Check:
    host.stack.callback(path.unlink, missing_ok=True)
    return lambda _: path.exists()


def inner_root(host: Host) -> Path:
    return host.workspace / "sub"


def with_inner_root(host: Host, profile: PermissionProfile) -> PermissionProfile:
    from msgspec.structs import replace

    return replace(profile, writable_roots=(*profile.writable_roots, str(inner_root(host))))


def inner_root_exists(host: Host) -> Check:
    inner_root(host).mkdir()
    return host.watch()


def directory_of_the_same_name(host: Host) -> Check:
    (host.outside / "lib").mkdir()
    return host.watch()


def swapping(name: str, first: str = "") -> tuple[str, ...]:
    """Exchanges a directory of the workspace with a link to outside, again and again."""
    return py(
        first
        + f"""
import time
a, b = os.fsencode(WORK + "/{name}"), os.fsencode(WORK + "/spare")
os.symlink("../outside", b)
print("ready", flush=True)
while True:
    libc.renameat2(-100, a, -100, b, 2)
    time.sleep(0.0005)
"""
    )


WORKSPACE = ("workspace",)

LOCKS = {
    "bubblewrap": "whoever may read a file may lock it: no filter sees which file is meant, and no mount forbids it"
}
READING_TAKES = {
    "bubblewrap": "whoever may read files may read pipes: nothing tells them apart when they are opened to read",
    "landlock": "whoever may read files may read pipes: nothing tells them apart when they are opened to read",
}

ATTEMPTS = [
    Attempt(name="append to a file outside", program=sh('echo evil >>"$OUT/file"'), profiles=EVERYWHERE),
    Attempt(name="write outside by a relative path", program=sh("echo evil >../outside/file; echo evil >../outside/x")),
    Attempt(
        name="write outside by .. through /proc/self/cwd",
        program=sh("echo evil >/proc/self/cwd/../outside/file"),
    ),
    Attempt(
        name="write through a symlink that was there",
        program=sh("echo evil >link/file; echo evil >link/x"),
        prepare=link_to_outside,
    ),
    Attempt(
        name="write through a symlink of its own",
        program=sh(
            'd=$(mktemp -d -p "$WORK" || mktemp -d -p /dev/shm); ln -s "$OUT" "$d/l"; ln -s "$OUT/file" "$d/f"\n'
            'echo evil >"$d/f"; echo evil >"$d/l/x"; rm -r "$d"'
        ),
    ),
    Attempt(
        name="write through a hard link into the workspace",
        program=sh('ln "$OUT/file" hard && echo evil >hard'),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="hard link a file of its own to outside",
        program=sh('echo evil >own; ln own "$OUT/planted"'),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="link an unnamed file to outside",
        program=py(
            """
            def unnamed(directory):
                fd = os.open(directory, os.O_TMPFILE | os.O_RDWR)
                os.write(fd, b"evil")
                source = os.fsencode(f"/proc/self/fd/{fd}")
                lib("linkat", -100, source, -100, os.fsencode(OUT + "/planted"), 0x400)
            each(lambda: unnamed(WORK), lambda: unnamed(OUT))
            """
        ),
    ),
    Attempt(
        name="write outside by /proc/self/root",
        program=sh('echo evil >"/proc/self/root$OUT/file"; echo evil >"/proc/thread-self/root$OUT/file"'),
    ),
    Attempt(
        name="write outside by the root of the parents",
        program=sh('for p in 1 2 $PPID $$; do echo evil >"/proc/$p/root$OUT/file"; done'),
    ),
    Attempt(
        name="write outside by the root of a process of the host",
        program=sh('echo evil >"/proc/$VICTIM/root$OUT/file"'),
        prepare=victim_outside,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="write outside by the working directory of a process of the host",
        program=sh('echo evil >"/proc/$VICTIM/cwd/file"'),
        prepare=victim_outside,
    ),
    Attempt(
        name="write by the descriptor of a process of the host",
        program=sh('for fd in /proc/$VICTIM/fd/*; do [ "$(readlink "$fd")" = "$OUT/file" ] && echo evil >"$fd"; done'),
        prepare=victim_with_the_file_open,
    ),
    Attempt(
        name="write by a descriptor of the parents",
        program=sh(
            "for p in 1 2 $PPID; do for fd in /proc/$p/fd/*; do\n"
            '[ "$(readlink "$fd")" = "$OUT/file" ] && echo evil >"$fd"; done; done'
        ),
        prepare=lambda host: (host.opened(host.file, os.O_RDWR), host.watch())[1],
    ),
    Attempt(
        name="reopen a descriptor that was opened without access",
        program=py(
            """
            directory, file = os.open(OUT, os.O_PATH), os.open(FILE, os.O_PATH)
            def relative():
                os.write(os.open("file", os.O_WRONLY | os.O_TRUNC, dir_fd=directory), b"evil")
            each(relative, lambda: write(f"/proc/self/fd/{file}"), lambda: write(f"/proc/self/fd/{directory}/file"))
            """
        ),
    ),
    Attempt(
        name="reopen a descriptor that was opened to read",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            each(lambda: write(f"/proc/self/fd/{fd}"), lambda: write(f"/dev/fd/{fd}"), lambda: os.fchmod(fd, 0o777))
            """
        ),
    ),
    Attempt(
        name="open by file handle",
        program=py(
            """
            handle = ctypes.create_string_buffer(bytes((128).to_bytes(4, "little") + bytes(140)))
            mount = ctypes.c_int()
            lib("name_to_handle_at", -100, os.fsencode(FILE), handle, ctypes.byref(mount), 0)
            fd = lib("open_by_handle_at", os.open(WORK, os.O_RDONLY), handle, os.O_WRONLY)
            os.write(fd, b"evil")
            """
        ),
        needs=(capability(DAC_READ_SEARCH),),
    ),
    Attempt(
        name="rename a file of its own over one outside",
        program=py("""
            with open(WORK + "/own", "w") as own:
                own.write("evil")
            os.rename(WORK + "/own", FILE)
            """),
        profiles=WORKSPACE,
    ),
    Attempt(name="move a file over one outside", program=sh('echo evil >/dev/shm/$$; mv -f /dev/shm/$$ "$OUT/file"')),
    Attempt(name="move a file in from outside", program=sh('mv "$OUT/file" "$WORK/stolen"; mv "$OUT/dir" "$WORK/d"')),
    Attempt(
        name="exchange a file with one outside",
        program=py(
            """
            open(WORK + "/own", "w").close()
            lib("renameat2", -100, os.fsencode(WORK + "/own"), -100, os.fsencode(FILE), 2)
            """
        ),
        profiles=WORKSPACE,
    ),
    Attempt(name="rename the directory outside", program=sh('mv "$OUT" "$OUT-moved"; mv "$OUT/dir" "$OUT/moved"')),
    Attempt(
        name="rename the workspace itself",
        program=sh('mv "$WORK" "$OUT/moved" || mv "$WORK" "$OUT-moved"'),
        prepare=lambda host: lambda _: not host.workspace.is_dir(),
    ),
    Attempt(name="delete what is outside", program=sh('rm -rf "$OUT/file" "$OUT/dir"')),
    Attempt(
        name="create entries of every kind outside",
        program=sh('mkdir "$OUT/d"; ln -s / "$OUT/l"; mkfifo "$OUT/p"; : >"$OUT/f"'),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="bind a socket outside",
        program=py('import socket\nsocket.socket(socket.AF_UNIX).bind(OUT + "/socket")'),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="truncate a file outside",
        program=py(
            """
            def by_open():
                os.open(FILE, os.O_RDONLY | os.O_TRUNC)
            each(lambda: os.truncate(FILE, 0), by_open)
            """
        ),
    ),
    Attempt(
        name="punch a hole into a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDWR)
            lib("fallocate", fd, 0, 0, 100)
            os.copy_file_range(os.open("/etc/passwd", os.O_RDONLY), fd, 10)
            """
        ),
    ),
    Attempt(
        name="map a file outside to write",
        program=py(
            """
            import mmap
            def by(flags):
                mmap.mmap(os.open(FILE, flags), 4, mmap.MAP_SHARED, mmap.PROT_WRITE)[0:4] = b"evil"
            each(lambda: by(os.O_RDONLY), lambda: by(os.O_RDWR))
            """
        ),
    ),
    Attempt(
        name="change the mode of a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            each(
                lambda: os.chmod(FILE, 0o777), lambda: os.fchmod(fd, 0o776),
                lambda: os.chmod(f"/proc/self/fd/{fd}", 0o775),
                lambda: call(452, -100, os.fsencode(FILE), 0o774, 0),
                lambda: os.chmod("dir", 0o700, dir_fd=os.open(OUT, 0)),
            )
            """
        ),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="change the owner of a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            group = os.getgid()
            each(lambda: os.chown(FILE, -1, group), lambda: os.fchown(fd, -1, group))
            os.lchown(FILE, -1, group)
            """
        ),
    ),
    Attempt(
        name="change the times of a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            each(lambda: os.utime(FILE, (1, 1)), lambda: os.utime(fd, (2, 2)), lambda: os.utime(OUT, (3, 3)))
            """
        ),
    ),
    Attempt(
        name="change extended attributes of a file outside",
        program=py(
            """
            fd = os.open(FILE, os.O_RDONLY)
            each(lambda: os.setxattr(FILE, "user.evil", b"1"), lambda: os.setxattr(fd, "user.more", b"1"))
            """
        ),
        needs=(xattrs,),
    ),
    Attempt(
        name="change the flags of a file outside",
        program=py(
            """
            import array
            fd, flags = os.open(FILE, os.O_RDONLY), array.array("l", [0])
            fcntl.ioctl(fd, 0x80086601, flags)
            flags[0] |= 0x40 | 0x80  # no dump, no access times: harmless
            fcntl.ioctl(fd, 0x40086602, flags)
            """
        ),
        needs=(xattrs,),
    ),
    Attempt(
        name="lock a file outside",
        still_open=LOCKS,
        program=py("fcntl.flock(os.open(FILE, os.O_RDONLY), fcntl.LOCK_EX)\nready()"),
        prepare=cannot_lock,
        alive=True,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="lock a part of a file outside",
        still_open=LOCKS,
        program=py(
            """
            import struct
            request = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
            fd = os.open(FILE, os.O_RDONLY)
            each(lambda: fcntl.fcntl(fd, 37, request), lambda: fcntl.fcntl(fd, fcntl.F_SETLK, request))
            ready()
            """
        ),
        prepare=cannot_lock,
        alive=True,
    ),
    Attempt(
        name="take a lease on a file outside",
        program=py("fcntl.fcntl(os.open(FILE, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)\nready()"),
        prepare=cannot_open_at_once,
        alive=True,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="write into a pipe of the host",
        program=py('write(OUT + "/fifo", os.O_WRONLY | os.O_NONBLOCK)'),
        prepare=fifo_outside,
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="take what a pipe of the host holds",
        still_open=READING_TAKES,
        program=py('print(os.read(os.open(OUT + "/fifo", os.O_RDONLY | os.O_NONBLOCK), 100))'),
        prepare=fifo_with_a_secret,
    ),
    Attempt(
        name="open a device that lies outside",
        program=py('len(os.read(os.open(OUT + "/device", os.O_RDWR), 10)) == 10 and escaped()'),
        prepare=device_outside,
        needs=(root,),
        profiles=EVERYWHERE,
    ),
    Attempt(
        name="make a device in the workspace and open it",
        program=py(
            """
            import stat
            os.mknod(WORK + "/device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            len(os.read(os.open(WORK + "/device", os.O_RDWR), 10)) == 10 and escaped()
            """
        ),
        prepare=says,
        needs=(root,),
        profiles=("workspace", "workspace with network"),
    ),
    Attempt(
        name="leave a file in the host's /dev/shm",
        program=sh(': >"/dev/shm/$NAME"'),
        prepare=shared_memory_is_clean,
        profiles=EVERYWHERE,
    ),
    Attempt(name="leave a file in the host's /tmp", program=sh(': >"/tmp/$NAME"'), prepare=tmp_is_clean),
    Attempt(
        name="dump core outside",
        program=sh('cd "$OUT"; ulimit -c unlimited; sh -c "kill -SEGV \\$\\$"'),
        needs=(),
    ),
    Attempt(
        name="write outside from a program in memory",
        program=py(
            """
            fd = os.memfd_create("program", 0)
            with open("/bin/sh", "rb") as source:
                os.write(fd, source.read())
            os.execve(fd, ["sh", "-c", 'echo evil >"$OUT/file"'], dict(os.environ))
            """
        ),
    ),
    Attempt(
        name="win a race between a directory and a link",
        program=py(
            """
            import threading, time
            os.makedirs(WORK + "/real", exist_ok=True)
            open(WORK + "/real/file", "w").close()
            os.path.lexists(WORK + "/spare") or os.symlink(OUT, WORK + "/spare")
            over = time.monotonic() + 0.3
            def swap():
                while time.monotonic() < over:
                    libc.renameat2(-100, os.fsencode(WORK + "/real"), -100, os.fsencode(WORK + "/spare"), 2)
            threading.Thread(target=swap).start()
            while time.monotonic() < over:
                each(lambda: write(WORK + "/real/file"))
            """
        ),
        profiles=WORKSPACE,
    ),
    Attempt(
        name="put a link in the place of a missing writable root",
        before=(sh('ln -s "$OUT" sub'), sh("ln -s ../outside sub")),
        program=sh('echo evil >sub/file; echo evil >"$OUT/file"'),
        adjust=with_inner_root,
        profiles=WORKSPACE,
        unstarted_is_fine=True,
    ),
    Attempt(
        name="replace a writable root by a link for the next command",
        before=(sh('rmdir sub || mv sub moved; ln -s "$OUT" sub'),),
        program=sh('echo evil >sub/file; echo evil >"$OUT/file"'),
        prepare=inner_root_exists,
        by_others=True,
        adjust=with_inner_root,
        profiles=WORKSPACE,
        unstarted_is_fine=True,
    ),
    Attempt(
        name="replace a writable root by a relative link for the next command",
        before=(sh("rmdir sub || mv sub moved; ln -s ../outside sub"),),
        program=sh('echo evil >sub/file; echo evil >"$OUT/file"'),
        prepare=inner_root_exists,
        by_others=True,
        adjust=with_inner_root,
        profiles=WORKSPACE,
        unstarted_is_fine=True,
    ),
    Attempt(
        name="swap a writable root while the sandbox is built",
        beside=swapping("sub"),
        program=sh('echo evil >sub/file; echo evil >"$OUT/file"'),
        prepare=inner_root_exists,
        by_others=True,
        adjust=with_inner_root,
        profiles=WORKSPACE,
        repeat=25,
        unstarted_is_fine=True,
    ),
    Attempt(
        name="swap the way to a repository while the sandbox is built",
        beside=swapping("vendor", 'os.makedirs(WORK + "/vendor/lib/.git/hooks")'),
        program=sh('echo evil >"$OUT/file"; echo evil >"$OUT/lib/file"'),
        prepare=directory_of_the_same_name,
        profiles=WORKSPACE,
        repeat=25,
        unstarted_is_fine=True,
    ),
]
