"""The last stage: what it starts, what it refuses, and that programs find in the sandbox what they need."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from app_server.exec.pty import Size
from app_server.sandbox import bubblewrap, stage
from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.permissions import PermissionProfile, read_only, workspace_write
from app_server.sandbox.stage import Bridge, Expected
from tests.sandbox.conftest import Jail, Ran


@pytest.fixture
def witness() -> Iterator[Callable[[Path], int]]:
    """Makes descriptors that stand for what is at a path."""
    with ExitStack() as stack:

        def make(path: Path) -> int:
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
            stack.callback(os.close, fd)
            return fd

        yield make


def ran(
    argv: Sequence[str],
    env: dict[str, str] | None = None,
    expected: Sequence[Expected] = (),
    begun: int | None = None,
) -> Ran:
    """What the stage's program does, run in the open."""
    witnesses = [place.witness for place in expected if place.witness is not None]
    fd = stage.make(argv, {"PATH": "/usr/bin:/bin"} if env is None else env, expected=expected, begun=begun)
    passed = [fd, *witnesses, *([] if begun is None else [begun])]
    try:
        done = subprocess.run([f"/proc/self/fd/{fd}"], pass_fds=passed, capture_output=True, env={}, check=False)
    finally:
        os.close(fd)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_it_becomes_the_command_with_its_words_and_its_environment() -> None:
    env = {"PATH": "/nowhere::/usr/bin:/bin", "A": "b=c", "EMPTY": "", "LD_LIBRARY_PATH": "/x"}
    script = 'printf "[%s]" "$0" "$@"; env -0 | sort -z | tr "\\0" ";"'
    result = ran(["sh", "-c", script, "", "two words", "\u00e9", "x" * 100_000], env)
    own = [f"{name}={value}" for name, value in sorted(env.items())]
    assert result.code == 0
    assert result.out.startswith(f"[][two words][\u00e9][{'x' * 100_000}]")
    assert [word for word in result.out.rsplit("]", 1)[1].split(";") if word in own] == own


def test_nothing_of_itself_is_open_in_the_command() -> None:
    held = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        assert ran(["ls", "/proc/self/fd"]).out.split() == ["0", "1", "2", "3"]
    finally:
        os.close(held)


def test_a_program_is_found_as_a_shell_would(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first" / "tool").write_text("not executable")
    (tmp_path / "second" / "tool").write_text('echo "$0" "$1"')  # a script that names no interpreter
    (tmp_path / "second" / "tool").chmod(0o755)
    env = {"PATH": f"{tmp_path}/first:{tmp_path}/second"}
    assert ran(["tool", "word"], env).out == f"{tmp_path}/second/tool word\n"
    assert ran([f"{tmp_path}/second/tool", "x"]).out == f"{tmp_path}/second/tool x\n"
    assert ran(["true"], {}).code == 0


@pytest.mark.parametrize("name", ["no-such-program", "/no/such", "/etc/passwd", "/etc"])
def test_what_cannot_be_started_is_said(name: str) -> None:
    text = f"turnloom: {name}: the sandbox has no such program, or none that can be executed\n"
    assert ran([name]) == Ran(127, "", text)


def test_it_starts_nothing_unless_every_mount_is_what_it_was(tmp_path: Path, witness: Callable[[Path], int]) -> None:
    proc = os.stat("/proc")
    identity = (proc.st_dev, proc.st_ino)
    deleted, moved, there = (tmp_path / name for name in ("deleted", "moved", "there"))
    for folder in (deleted, moved, there):
        folder.mkdir()
    good = [
        Expected("/proc", identity),
        Expected("/proc"),
        Expected("/proc", identity, witness(Path("/proc"))),
        Expected(str(deleted), identity, witness(deleted)),
    ]
    of_the_moved = witness(moved)
    deleted.rmdir()
    moved.rename(tmp_path / "elsewhere")
    assert ran(["ls", "/proc/self/fd"], expected=good).out.split() == ["0", "1", "2", "3"]
    link = tmp_path / "link"
    link.symlink_to("/proc")
    for bad in (
        Expected("/proc", (proc.st_dev, proc.st_ino + 1)),
        Expected("/proc", (proc.st_dev + 1, proc.st_ino)),
        Expected(str(there)),
        Expected(str(there), identity, witness(there)),
        Expected(str(moved), identity, of_the_moved),
        Expected(str(tmp_path / "missing")),
        Expected(str(link), identity),
    ):
        result = ran(["echo", "started"], expected=[*good, bad])
        assert (result.code, result.out) == (126, "")
        assert result.err.startswith("turnloom: a protected place was changed")


@pytest.mark.parametrize("tty", [None, Size(24, 80)], ids=["pipes", "terminal"])
async def test_the_streams_can_be_opened_again(jail: Jail, tty: Size | None) -> None:
    result = await jail.run(
        "echo one >/dev/stdout; echo two >/dev/stderr; echo three >/proc/self/fd/1", read_only(), tty=tty
    )
    assert (result.out + result.err).split() == (["one", "two", "three"] if tty else ["one", "three", "two"])


async def test_what_programs_do_in_their_own_places_works(jail: Jail) -> None:
    code = """
        import fcntl, mmap, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading
        os.makedirs("a/b"); open("a/file", "w").write("x"); os.rename("a/file", "a/b/file"); os.link("a/b/file", "link")
        os.symlink("link", "symbolic"); os.rename("a/b", "c"); os.mkfifo("pipe"); os.truncate("link", 5)
        reader = os.open("pipe", os.O_RDWR); os.write(reader, b"x"); os.chmod("link", 0o600); os.utime("link")
        with open("link", "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_EX); mmap.mmap(file.fileno(), 5)[:1] = b"y"
        database = sqlite3.connect("database"); database.execute("create table t (c)"); database.commit()
        thread = threading.Thread(target=os.getpid); thread.start(); thread.join()
        left, right = socket.socketpair(); left.sendall(b"x"); right.recv(1)
        with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
        subprocess.run(["true"], check=True); open("/dev/shm/x", "w").write("x"); open("/dev/null", "w").write("x")
        os.openpty(); os.sched_setaffinity(0, os.sched_getaffinity(0)); os.setpriority(os.PRIO_PROCESS, 0, 5)
        print("done")
    """
    lines = [line.removeprefix(" " * 8) for line in code.splitlines()]
    (jail.workspace / "program.py").write_text("\n".join(lines))
    for profile in (workspace_write([str(jail.workspace)], slash_tmp=False), network(jail.workspace)):
        result = await jail.run(f"{sys.executable} -I program.py; rm -rf a c link symbolic pipe database", profile)
        assert (result.out, result.err) == ("done\n", "")


@pytest.mark.parametrize("missing", ["Landlock", "checks of mounts", "both"])
async def test_an_older_kernel_does_the_rest(jail: Jail, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing != "checks of mounts":
        monkeypatch.setattr(bubblewrap, "_handled", lambda: 0)
    if missing != "Landlock":
        monkeypatch.setattr(stage, "can_check_mounts", lambda: False)
    assert len(bubblewrap.weaknesses()) == (2 if missing == "both" else 1)
    sandbox = Bubblewrap()
    await sandbox.available()
    (jail.workspace / "sub" / ".git").mkdir(parents=True)
    (jail.workspace / "secret").write_text("secret")
    profile = PermissionProfile(
        "restricted",
        network=False,
        writable_roots=(str(jail.workspace), str(jail.workspace / "sub")),
        denied=(str(jail.workspace / "secret"),),
    )
    script = """
        echo x >file; echo x >../outside; echo x >sub/.git/config; mv sub moved; cat secret
        echo >>/proc/sys/fs/lease-break-time; cat file
    """
    result = await Jail(sandbox, jail.reaper, jail.workspace).run(script, profile)
    assert result.out == "x\n"
    assert sorted(os.listdir(jail.workspace)) == ["file", "secret", "sub"]
    assert os.listdir(jail.workspace / "sub" / ".git") == []
    assert result.err.count("cannot create") == 3


def network(workspace: Path) -> PermissionProfile:
    """Writes in the workspace, and a network."""
    return workspace_write([str(workspace)], network=True, slash_tmp=False)


async def test_git_works_in_a_workspace_where_its_folder_is_read_only(jail: Jail) -> None:
    git = "git -c user.name=n -c user.email=e -c init.defaultBranch=main"
    script = f"{git} init -q . && echo one >file && {git} add file && {git} commit -qm one && echo two >file"
    await anyio.run_process(["/bin/sh", "-c", script], cwd=jail.workspace)
    result = await jail.run(
        "git status --short; git log --format=%s; git diff --stat | tail -1", network(jail.workspace)
    )
    assert result.out == " M file\none\n 1 file changed, 1 insertion(+), 1 deletion(-)\n"


def test_it_tells_that_the_command_begins_and_only_then() -> None:
    begun = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        assert ran(["true"], expected=[Expected("/etc")], begun=begun).code == stage.FAILED
        with pytest.raises(BlockingIOError):
            os.eventfd_read(begun)
        assert ran(["no-such-program"], begun=begun).code == stage.NOT_STARTED
        assert os.eventfd_read(begun) == 1
        assert ran(["sh", "-c", f"test ! -e /proc/self/fd/{begun}"], begun=begun).code == 0
        assert os.eventfd_read(begun) == 1
    finally:
        os.close(begun)


def test_a_command_of_which_nobody_can_be_told_is_not_started() -> None:
    with Path("/dev/null").open() as null:
        result = ran(["echo", "started"], begun=null.fileno())
    assert (result.code, result.out) == (stage.FAILED, "")
    assert result.err == stage.NOT_TOLD.decode()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_an_executable_of_its_machine(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    fd = stage.make(["true"], {})
    try:
        header = os.pread(fd, 64, 0)
        kind, number, _, entry = struct.unpack_from("<HHIQ", header, 16)
        assert (header[:7], kind, entry) == (b"\x7fELF\x02\x01\x01", 2, stage.CODE + stage.HEADERS_BYTES)
        assert number == {"x86_64": 62, "aarch64": 183}[machine]
        (size,) = struct.unpack_from("<Q", os.pread(fd, 56, 64), 32)
        code = os.pread(fd, size - stage.HEADERS_BYTES, stage.HEADERS_BYTES)
        assert code.count({"x86_64": b"\x0f\x05", "aarch64": b"\x01\x00\x00\xd4"}[machine]) == 1  # one system call
        assert len(code) == {"x86_64": 76, "aarch64": 76}[machine]
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [("x86_64", (41, 292, 49, 50, 46, 3)), ("aarch64", (198, 24, 200, 201, 211, 57))],
)
def test_a_bridge_is_a_few_calls_of_its_machine_before_all_others(
    machine: str, numbers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    fd = stage.make(["true"], {}, bridge=Bridge(77, 8080))
    try:
        table = os.pread(fd, 6 * stage.ROW_BYTES, stage.TABLE - stage.CODE)
        rows = [struct.unpack_from("<13Q", table, at * stage.ROW_BYTES) for at in range(6)]
        assert tuple(row[0] for row in rows) == numbers
        made, put, bound, listening, sent, closed = rows
        # The socket's number is written into the call that gives it a known one.
        assert made[1:4] == (2, 1 | os.O_CLOEXEC, 0)
        assert made[7] == stage.TABLE + stage.ROW_BYTES + 8
        assert put[2:4] == (fd, os.O_CLOEXEC)
        address = os.pread(fd, 16, bound[2] - stage.CODE)
        assert (bound[1], address, bound[3]) == (fd, b"\2\0\x1f\x90\x7f\0\0\1" + bytes(8), 16)
        assert listening[1] == fd
        assert (sent[1], closed[1]) == (77, 77)
        # Where one of them fails the command is not started.
        (failing,) = {row[12] for row in rows[:5]}
        assert failing > max(row[11] for row in rows)
    finally:
        os.close(fd)
