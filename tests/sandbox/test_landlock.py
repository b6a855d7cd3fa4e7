"""Commands under Landlock, filters and the supervisor: what they can do beside what is protected, and what not."""

import os
import shutil
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.sandbox.landlock import Landlock
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import SandboxUnavailable, Unsandboxed
from tests.sandbox.conftest import Jail, sleeping, until

INTERPRETERS = os.path.dirname(os.path.realpath(sys.executable))

VERSIONS = [None, 5, 2, 1]
"""Versions of Landlock to act as: that of the kernel, and older ones that leave more to the filters."""


@pytest.fixture
def version() -> int | None:
    """Landlock's version; tests that care are parametrised by it."""
    return None


@pytest.fixture
async def jail(tmp_path: Path, version: int | None) -> AsyncIterator[Jail]:
    sandbox = Landlock(version)
    try:
        await sandbox.available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO LANDLOCK HERE, ITS TESTS DO NOT RUN: {error}")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    async with Reaper() as reaper:
        yield Jail(sandbox, reaper, workspace)
    await anyio.to_thread.run_sync(partial(shutil.rmtree, tmp_path, ignore_errors=True))


def writable(jail: Jail) -> PermissionProfile:
    return workspace_write([str(jail.workspace)], slash_tmp=False)


async def python(jail: Jail, code: str, profile: PermissionProfile) -> list[str]:
    """The lines that a Python program prints, run confined; `tried(NAME, FUNCTION)` prints what refused it, or ok."""
    prelude = """
        import os, sys
        def tried(name, function):
            try:
                function()
                print(name, "ok")
            except OSError as error:
                print(name, type(error).__name__)
    """
    program = jail.workspace.parent / "program.py"
    program.write_text(textwrap.dedent(prelude) + textwrap.dedent(code))
    result = await jail.run(f"exec {sys.executable} -I -S {program}", profile)
    assert result.err == ""
    return result.out.splitlines()


# Beside what is protected


@pytest.mark.parametrize("version", VERSIONS)
async def test_beside_protected_entries_everything_can_be_done_as_without_a_sandbox(jail: Jail) -> None:
    (jail.workspace / ".git" / "hooks").mkdir(parents=True)
    (jail.workspace / "src").mkdir()
    (jail.workspace / "old").write_text("old\n")
    script = """
        set -e
        echo one > new; echo two >> new; sed -i s/one/1/ new; cat new
        ln new hard; ln -s new soft; echo three >> soft; wc -l < hard
        mkdir -p a/b/c; echo deep > a/b/c/file; mv a moved; cat moved/b/c/file; rm -r moved
        echo in > src/file; mv src renamed; mkdir src; echo again > src/file; cat renamed/file src/file
        mv old renamed/; mv renamed/old .; cat old; rm old; rmdir_me=$(mktemp -d ./tmp.XXXXXX); rmdir $rmdir_me
        umask 027; echo x > masked; mkdir masked.d; stat -c %a masked masked.d
        chmod 711 masked; touch -d 2001-02-03T04:05:06Z masked; stat -c '%a %Y' masked
        truncate -s 0 masked; stat -c %s masked
        echo err > /dev/stderr; echo out > /dev/fd/1; (echo piped > /dev/stdout) | cat
    """
    result = await jail.run(textwrap.dedent(script), writable(jail))
    assert result.out.split() == [
        *("1", "two", "3", "deep", "in", "again", "old", "640", "750", "711", "981173106", "0", "out", "piped")
    ]
    assert (result.code, result.err) == (0, "err\n")


async def test_open_flags_mean_what_they_mean_without_a_sandbox(jail: Jail) -> None:
    code = """
        def read(name):
            return open(name).read()
        fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, b"12345"); os.lseek(fd, 0, 0); print(os.read(fd, 9), os.get_inheritable(fd))
        tried("exclusive", lambda: os.open("f", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        tried("missing", lambda: os.open("g", os.O_WRONLY))
        tried("directory", lambda: os.open(".", os.O_WRONLY))
        tried("no directory", lambda: os.open("f", os.O_WRONLY | os.O_CREAT | os.O_DIRECTORY))
        os.symlink("target", "link")
        tried("no link", lambda: os.open("link", os.O_WRONLY | os.O_NOFOLLOW))
        tried("exclusive link", lambda: os.open("link", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.write(os.open("link", os.O_WRONLY | os.O_CREAT), b"through"); print(read("target"))
        os.symlink("loop", "loop")
        tried("loop", lambda: os.open("loop", os.O_WRONLY | os.O_CREAT))
        os.write(os.open("f", os.O_WRONLY | os.O_APPEND), b"6"); print(read("f"))
        os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)); print(os.stat("f").st_size)
        nameless = os.open(".", os.O_RDWR | os.O_TMPFILE); os.write(nameless, b"x"); print(os.fstat(nameless).st_nlink)
        tried("too long", lambda: os.open("x" * 300, os.O_WRONLY | os.O_CREAT))
        tried("empty", lambda: os.open("", os.O_WRONLY | os.O_CREAT))
        os.mkdir("d"); directory = os.open("d", os.O_RDONLY)
        os.close(os.open("relative", os.O_WRONLY | os.O_CREAT, dir_fd=directory)); print(os.listdir("d"))
        tried("not there", lambda: os.unlink("nothing"))
        tried("not empty", lambda: os.rmdir("d"))
        tried("onto it", lambda: os.rename("f", "d"))
    """
    confined = await python(jail, code, writable(jail))
    for entry in jail.workspace.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert confined == await python(Jail(Unsandboxed(), jail.reaper, jail.workspace), code, FULL_ACCESS)
    assert len(confined) == 18


# What is protected


@pytest.mark.parametrize("version", VERSIONS)
async def test_protected_entries_cannot_be_made_changed_moved_or_replaced(jail: Jail) -> None:
    git = jail.workspace / ".git"
    (git / "hooks").mkdir(parents=True)
    (git / "config").write_text("[core]\n")
    code = """
        def write(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        os.mkdir("mine"); write("mine/config")
        tried("change", lambda: write(".git/config"))
        tried("add", lambda: write(".git/hooks/pre-commit"))
        tried("cut", lambda: os.truncate(".git/config", 0))
        tried("mode", lambda: os.chmod(".git/config", 0o777))
        tried("time", lambda: os.utime(".git", (1, 1)))
        tried("remove", lambda: os.unlink(".git/config"))
        tried("move", lambda: os.rename(".git", "git"))
        tried("move out", lambda: os.rename(".git/hooks", "hooks"))
        tried("move in", lambda: os.rename("mine", ".git/mine"))
        tried("link out", lambda: os.link(".git/config", "config"))
        tried("link in", lambda: os.link("mine/config", ".git/mine"))
        for name in (".codex", ".agents", ".aws", ".CODEX"):
            tried("make", lambda: os.mkdir(name))
            tried("write", lambda: write(name))
            tried("link", lambda: os.symlink("mine", name))
            tried("rename", lambda: os.rename("mine", name))
            tried("node", lambda: os.mknod(name))
        os.symlink(".git/hooks/post-checkout", "way"); tried("by link", lambda: write("way"))
        os.chdir(".git"); tried("from inside", lambda: write("x"))
    """
    lines = await python(jail, code, writable(jail))
    assert [line for line in lines if line.endswith("ok")] == []
    assert len(lines) == 33
    assert sorted(os.listdir(jail.workspace)) == [".git", "mine", "way"]
    assert (git / "config").read_text() == "[core]\n"
    assert sorted(os.listdir(git)) == ["config", "hooks"]


async def test_a_repository_below_stays_where_it_is_and_what_is_beside_it_is_free(jail: Jail) -> None:
    nested = jail.workspace / "vendor" / "library" / ".git"
    nested.mkdir(parents=True)
    code = """
        def write(path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        tried("beside", lambda: write("vendor/library/file"))
        tried("above", lambda: os.mkdir("vendor/other"))
        tried("into", lambda: write("vendor/library/.git/config"))
        tried("move", lambda: os.rename("vendor/library", "elsewhere"))
        tried("move above", lambda: os.rename("vendor", "elsewhere"))
        tried("exchange", lambda: os.rename("vendor/other", "vendor/library"))
        tried("a new one", lambda: os.makedirs("new/.git/hooks"))
    """
    assert await python(jail, code, writable(jail)) == [
        "beside ok",
        "above ok",
        "into PermissionError",
        "move PermissionError",
        "move above PermissionError",
        "exchange PermissionError",
        "a new one ok",
    ]


async def test_what_the_pointer_of_a_worktree_names_is_protected_too(jail: Jail) -> None:
    worktrees = jail.workspace / "store" / "worktrees" / "one"
    worktrees.mkdir(parents=True)
    (worktrees / "commondir").write_text("../..\n")
    (jail.workspace / "tree").mkdir()
    (jail.workspace / "tree" / ".git").write_text("gitdir: ../store/worktrees/one\n")
    result = await jail.run("echo x > store/config; echo x > store/worktrees/one/x; echo x > tree/x", writable(jail))
    assert result.err.count("Permission denied") == 2
    assert (jail.workspace / "tree" / "x").exists()


@pytest.mark.parametrize("version", VERSIONS)
async def test_nothing_outside_can_be_changed_in_any_way(jail: Jail, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = outside / "file"
    file.write_text("content")
    before = file.stat()
    code = f"""
        import fcntl
        FILE, OUT = {str(file)!r}, {str(outside)!r}
        os.symlink(OUT, "way"); os.mkdir("d")
        for way in (OUT, "way", "d/../way", "../outside", "/proc/self/cwd/../outside", "/proc/self/root" + OUT):
            tried("write", lambda: os.open(way + "/file", os.O_WRONLY))
            tried("cut", lambda: os.open(way + "/file", os.O_RDONLY | os.O_TRUNC))
            tried("truncate", lambda: os.truncate(way + "/file", 0))
            tried("make", lambda: os.open(way + "/new", os.O_WRONLY | os.O_CREAT))
            tried("folder", lambda: os.mkdir(way + "/new"))
            tried("remove", lambda: os.unlink(way + "/file"))
            tried("move", lambda: os.rename(way + "/file", "file"))
            tried("link", lambda: os.link(way + "/file", "file"))
            tried("mode", lambda: os.chmod(way + "/file", 0o777))
            tried("owner", lambda: os.chown(way + "/file", 1, 1))
            tried("times", lambda: os.utime(way + "/file", (1, 1)))
            tried("attribute", lambda: os.setxattr(way + "/file", "user.x", b"x"))
        fd = os.open(FILE, os.O_RDONLY)
        tried("mode", lambda: os.fchmod(fd, 0o777))
        tried("owner", lambda: os.fchown(fd, 1, 1))
        tried("times", lambda: os.utime(fd, (1, 1)))
        tried("again", lambda: os.open(f"/proc/self/fd/{{fd}}", os.O_WRONLY))
        tried("lock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
        tried("part", lambda: fcntl.lockf(os.open(FILE, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB))
        tried("lease", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK))
        tried("flags", lambda: fcntl.ioctl(fd, 0x40086602, b"\\0" * 8))
    """
    lines = await python(jail, code, writable(jail))
    assert [line for line in lines if line.endswith("ok")] == []
    assert len(lines) == 6 * 12 + 8
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid, after.st_nlink) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_uid,
        1,
    )
    assert os.listdir(outside) == ["file"]


async def test_read_only_means_that_nothing_at_all_can_be_written(jail: Jail) -> None:
    script = (
        "echo x > file; mkdir d; chmod 777 .; touch .; echo x > /tmp/$$; echo x > /dev/shm/$$; echo fine > /dev/null"
    )
    result = await jail.run(script, read_only())
    assert len(result.err.splitlines()) == 6
    assert os.listdir(jail.workspace) == []


async def test_locks_within_the_workspace_keep_others_out_and_are_waited_for(jail: Jail) -> None:
    code = """
        import fcntl, threading

        def child(work):
            pid = os.fork()
            if pid == 0:
                work(open("lock", "r+"))
                sys.stdout.flush()
                os._exit(0)
            return pid

        def taken_meanwhile(lock):
            with open("lock", "w") as file:
                lock(file, fcntl.LOCK_EX)
                os.waitpid(child(lambda other: tried("busy", lambda: lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))), 0)
                reading, writing = os.pipe()
                pid = child(lambda other: (os.write(writing, b"x"), lock(other, fcntl.LOCK_EX), print("waited")))
                os.read(reading, 1)
                print("released", flush=True)
                lock(file, fcntl.LOCK_UN)
                os.waitpid(pid, 0)
                os.waitpid(child(lambda other: tried("free", lambda: lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB))), 0)

        sys.stdout.flush()
        for lock in (fcntl.flock, fcntl.lockf):
            taken_meanwhile(lock)
            thread = threading.Thread(target=taken_meanwhile, args=(lock,))
            thread.start(), thread.join()
    """
    assert await python(jail, code, writable(jail)) == ["busy BlockingIOError", "released", "waited", "free ok"] * 4


# What may be read


async def test_what_is_denied_can_be_neither_read_nor_listed_nor_replaced(jail: Jail, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "token").write_text("secret")
    (jail.workspace / "key").write_text("secret")
    profile = PermissionProfile(
        "restricted",
        network=False,
        writable_roots=(str(jail.workspace),),
        denied=(str(private), str(jail.workspace / "key")),
    )
    script = f"""
        cat key; cat {private}/token; ls {private}; ln key copy; mv key other; rm key; echo x > key
        echo new > file; cat file; mkdir d; echo deep > d/file; cat d/file; ls; ls {tmp_path}; ls / | grep -c usr
    """
    result = await jail.run(textwrap.dedent(script), profile)
    assert "secret" not in result.out
    assert result.out.split() == ["new", "deep", "d", "file", "key", "private", "workspace", "1"]
    assert len(result.err.splitlines()) == 7
    assert (jail.workspace / "key").read_text() == "secret"


async def test_where_only_some_folders_are_readable_the_rest_is_not(jail: Jail, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("other")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("given\n")
    profile = PermissionProfile(
        "restricted",
        network=False,
        writable_roots=(str(jail.workspace),),
        readable_roots=(str(jail.workspace), str(tmp_path / "given")),
    )
    script = f"cat {tmp_path}/given/file {tmp_path}/other/file; ls {tmp_path}; ls / /root; echo mine > f; cat f; id -u"
    result = await jail.run(script, profile)
    assert result.out.split() == ["given", "mine", str(os.getuid())]
    assert len(result.err.splitlines()) == 4


async def test_the_innermost_path_decides(jail: Jail) -> None:
    inner = jail.workspace / "kept" / "free"
    (inner / "hidden").mkdir(parents=True)
    (inner / "hidden" / "file").write_text("hidden")
    profile = PermissionProfile(
        "restricted",
        network=False,
        writable_roots=(str(jail.workspace), str(inner)),
        read_only=(str(jail.workspace / "kept"),),
        denied=(str(inner / "hidden"),),
    )
    script = (
        "echo x > file && echo x > kept/free/file; echo x > kept/file; cat kept/free/hidden/file; mkdir kept/free/.git"
    )
    result = await jail.run(script, profile)
    assert (len(result.err.splitlines()), result.out) == (3, "")
    assert sorted(os.listdir(inner)) == ["file", "hidden"]


# Other processes and the network


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("network", [False, True], ids=["no network", "network"])
async def test_the_machines_processes_are_out_of_reach_and_its_own_are_not(jail: Jail, network: bool) -> None:
    code = f"""
        import ctypes, fcntl, signal, subprocess
        host = {os.getpid()}
        tried("signal", lambda: os.kill(host, 0))
        tried("group", lambda: os.killpg({os.getpgid(0)}, 0))
        tried("environment", lambda: open(f"/proc/{{host}}/environ").read())
        tried("memory", lambda: open(f"/proc/{{host}}/mem", "rb"))
        tried("descriptors", lambda: os.readlink(f"/proc/{{host}}/fd/0"))
        tried("its root", lambda: os.listdir(f"/proc/{{host}}/root/"))
        tried("helper", lambda: os.kill(os.getppid(), 0))
        tried("helper's environment", lambda: open(f"/proc/{{os.getppid()}}/environ").read())
        tried("limits", lambda: __import__("resource").prlimit(host, 0, (1, 1)))
        tried("priority", lambda: os.setpriority(os.PRIO_PROCESS, host, 10))
        tried("everybody's", lambda: os.setpriority(os.PRIO_USER, 0, 10))
        tried("processor", lambda: os.sched_setaffinity(host, {{0}}))
        child = subprocess.Popen(["sleep", "1000"])
        tried("own child's priority", lambda: os.setpriority(os.PRIO_PROCESS, child.pid, 10))
        tried("own processor", lambda: os.sched_setaffinity(child.pid, os.sched_getaffinity(0)))
        tried("own child", lambda: os.kill(child.pid, signal.SIGTERM))
        print(child.wait())
        tried("own group", lambda: os.kill(0, 0))
        tried("itself", lambda: os.kill(os.getpid(), 0))
    """
    lines = await python(jail, code, read_only(network=network))
    own = ["own child's priority ok", "own processor ok", "own child ok", "-15", "own group ok", "itself ok"]
    assert lines[-6:] == own
    assert [line for line in lines[:-6] if line.endswith("ok")] == []


async def test_a_command_has_no_privileges_and_can_get_none(jail: Jail) -> None:
    result = await jail.run("grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp:)' /proc/self/status", read_only())
    assert result.out.split()[1::2] == ["0" * 16, "0" * 16, "0" * 16, "1", "2"]


async def test_without_network_nothing_is_reached_and_with_it_no_local_service(jail: Jail, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as local:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        local.bind(path)
        local.listen()
        code = f"""
            import socket
            tried("internet", lambda: socket.create_connection(("127.0.0.1", {listener.getsockname()[1]})))
            tried("local", lambda: socket.socket(socket.AF_UNIX).connect({path!r}))
        """
        without = await python(jail, code, read_only())
        with_network = await python(jail, code, read_only(network=True))
    assert without == ["internet PermissionError", "local PermissionError"]
    assert with_network == ["internet ok", "local PermissionError"]


# The command as a process


async def test_exit_codes_and_signals_pass_through(jail: Jail) -> None:
    codes = [(await jail.run(script, read_only())).code for script in ("exit 200", "kill -9 $$", "kill -15 $$", "true")]
    assert codes == [200, 137, 143, 0]


async def test_nothing_outlives_the_command(jail: Jail) -> None:
    marker = f"1002.{os.getpid()}"
    script = f"setsid sleep {marker} & setsid setsid sleep {marker} & sleep {marker} & exit 3"
    assert (await jail.run(script, read_only())).code == 3
    assert sleeping(marker) == []


async def test_when_the_helper_is_killed_so_is_the_command(jail: Jail) -> None:
    marker = f"1003.{os.getpid()}"
    async with await jail.start(["/bin/sh", "-c", f"sleep {marker} & echo up; wait"], read_only()) as process:
        assert await process.read() == ("stdout", b"up\n")
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    await until(lambda: not sleeping(marker))


async def test_with_grace_the_command_is_asked_to_end(jail: Jail) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    async with await jail.start(["/bin/sh", "-c", script], read_only()) as process:
        assert (await process.read()) == ("stdout", b"up\n")
        await process.terminate(grace=30)
        assert b"bye\n" in [data async for _, data in process]
        assert process.exit_code == 5


async def test_output_ends_when_the_command_closes_it(jail: Jail) -> None:
    async with await jail.start(
        ["/bin/sh", "-c", "echo last; exec >&- 2>&-; read x"], read_only(), stdin=True
    ) as process:
        assert [data async for _, data in process] == [b"last\n"]
        assert process.exit_code is None


async def test_a_terminal_works_inside_and_ctrl_c_reaches_the_command(jail: Jail) -> None:
    script = "stty size; echo by name > $(tty); trap 'echo caught; exit 7' INT; echo up; sleep 60 & wait"
    async with await jail.start(["/bin/sh", "-c", script], read_only(), tty=Size(31, 101)) as process:
        seen = b""
        while b"up" not in seen:
            chunk = await process.read()
            assert chunk is not None
            seen += chunk[1]
        await process.write_stdin(b"\x03")
        async for _, data in process:
            seen += data
        assert await process.wait() == 7
    assert seen.startswith(b"31 101\r\nby name\r\nup\r\n")
    assert b"caught" in seen


async def test_the_environment_of_the_request_is_for_the_command_and_not_for_the_helper(
    jail: Jail, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')")
    env = {
        "LD_PRELOAD": "/no/such.so",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path),
    }
    result = await jail.run('echo "$LD_PRELOAD $PYTHONPATH $CODEX_SANDBOX_NETWORK_DISABLED"', read_only(), env=env)
    assert result.out == f"/no/such.so {tmp_path} 1\n"
    assert result.err.count("ld.so") == 1  # of the command itself
    assert not (tmp_path / "loaded").exists()


async def test_a_missing_program_is_an_error_and_no_output(jail: Jail) -> None:
    with pytest.raises(SpawnError, match="No such file or directory"):
        await jail.start(["no-such-program"], read_only())


async def test_a_command_has_no_descriptor_but_its_own(jail: Jail) -> None:
    assert (await jail.run("ls /proc/self/fd", writable(jail))).out.split() == ["0", "1", "2", "3"]


async def test_an_interpreter_that_commands_can_write_is_not_used(jail: Jail) -> None:
    with pytest.raises(SandboxUnavailable, match="lies in a directory that the command may write"):
        await jail.start(["true"], workspace_write([INTERPRETERS], slash_tmp=False))


async def test_a_root_through_a_link_that_a_command_may_have_made_is_refused(jail: Jail, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = jail.workspace / "inner"
    assert (await jail.run(f"ln -s {outside} inner", writable(jail))).code == 0
    with pytest.raises(SandboxUnavailable, match="leads through the symbolic link"):
        await jail.start(["true"], workspace_write([str(inner)], slash_tmp=False))
