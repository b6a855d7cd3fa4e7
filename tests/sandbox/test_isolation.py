"""What a confined command cannot reach: other processes, the network, the terminal's input, privileges."""

import os
import signal
import socket
import sys
import textwrap
from pathlib import Path

import anyio
import pytest

from app_server.exec.pty import Size
from app_server.exec.spawn import SpawnError
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only, workspace_write
from tests.sandbox.conftest import Jail, sleeping, until


async def python(jail: Jail, code: str, profile: PermissionProfile, tty: Size | None = None) -> str:
    """What a Python program prints, run confined."""
    script = jail.workspace / "program.py"
    script.write_text(textwrap.dedent(code))
    result = await jail.run(f"exec {sys.executable} -I -S {script}", profile, tty=tty)
    assert result.err == ""
    return result.out


async def test_a_command_sees_only_its_own_processes(jail: Jail) -> None:
    result = await jail.run(
        "echo /proc/[0-9]*; kill -0 $PARENT 2>&1 | grep -c 'No such process'",
        read_only(),
        env={"PARENT": str(os.getpid())},
    )
    listed, missing = result.out.splitlines()
    assert len(listed.split()) <= 4
    assert missing == "1"


@pytest.mark.parametrize("profile", [read_only(), read_only(network=True)], ids=["no network", "network"])
async def test_a_command_has_no_privileges_and_can_get_none(jail: Jail, profile: PermissionProfile) -> None:
    result = await jail.run("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status", profile)
    assert dict(line.split(":\t") for line in result.out.splitlines()) == {
        **{f"Cap{name}": "0" * 16 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")},
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }


async def test_a_command_has_no_descriptor_of_the_daemon_or_the_wrapper(jail: Jail) -> None:
    assert (await jail.run("ls /proc/self/fd", read_only())).out.split() == ["0", "1", "2", "3"]


async def test_without_network_there_is_no_socket_to_reach_anything(jail: Jail) -> None:
    code = """
        import socket
        for name, family, kind in (
            ("inet", socket.AF_INET, socket.SOCK_STREAM), ("inet udp", socket.AF_INET, socket.SOCK_DGRAM),
            ("inet6", socket.AF_INET6, socket.SOCK_STREAM), ("netlink", socket.AF_NETLINK, socket.SOCK_RAW),
            ("packet", socket.AF_PACKET, socket.SOCK_RAW), ("vsock", socket.AF_VSOCK, socket.SOCK_STREAM),
            ("unix datagram", socket.AF_UNIX, socket.SOCK_DGRAM),
        ):
            try:
                socket.socket(family, kind)
                print(name, "open")
            except PermissionError:
                pass
        unix = socket.socket(socket.AF_UNIX)
        for name, call in (
            ("connect", lambda: unix.connect("/nowhere")), ("bind", lambda: unix.bind("/dev/shm/s")),
            ("listen", unix.listen), ("accept", unix.accept),
            ("datagram pair", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
            ("sendto", lambda: unix.sendto(b"x", "/nowhere")),
        ):
            try:
                call()
                print(name, "allowed")
            except PermissionError:
                pass
        left, right = socket.socketpair()
        left.send(b"one")
        left.sendmsg([b"two"])
        left.shutdown(socket.SHUT_WR)
        print(right.recv(10), right.recv(10))
    """
    assert await python(jail, code, read_only()) == "b'onetwo' b''\n"


async def test_a_listener_of_the_machine_is_reached_by_the_network_and_never_by_a_path(
    jail: Jail, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as local:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        local.bind(path)
        local.listen()
        code = f"""
            import socket
            for address in (("127.0.0.1", {listener.getsockname()[1]}), {path!r}):
                try:
                    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
                    socket.socket(family).connect(address)
                    print("reached")
                except PermissionError as error:
                    print("refused")
        """
        assert await python(jail, code, FULL_ACCESS) == "reached\nreached\n"
        assert await python(jail, code, read_only()) == "refused\nrefused\n"
        assert await python(jail, code, read_only(network=True)) == "reached\nrefused\n"


async def test_the_flag_tells_whether_there_is_a_network(jail: Jail) -> None:
    script = "echo [$CODEX_SANDBOX_NETWORK_DISABLED]; ls /sys/class/net | wc -l"
    assert (await jail.run(script, read_only())).out.startswith("[1]\n")
    assert (await jail.run(script, read_only(network=True))).out.startswith("[]\n")


async def test_dangerous_system_calls_are_refused(jail: Jail) -> None:
    code = """
        import ctypes, os, platform
        libc = ctypes.CDLL(None, use_errno=True)
        x86 = platform.machine() == "x86_64"
        for name, number in (
            ("ptrace", 101 if x86 else 117), ("process_vm_readv", 310 if x86 else 270),
            ("io_uring_setup", 425), ("io_uring_enter", 426), ("io_uring_register", 427),
        ):
            ctypes.set_errno(0)
            result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
            print(name, result, ctypes.get_errno())
    """
    lines = (await python(jail, code, read_only())).splitlines()
    assert [line.split()[1:] for line in lines] == [["-1", "1"]] * 5


async def test_calls_of_the_other_table_kill_the_process(jail: Jail) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x32 calls exist on x86-64 only")
    code = """
        import ctypes
        ctypes.CDLL(None).syscall(0x40000000 + 39)
        print("alive")
    """
    script = jail.workspace / "program.py"
    script.write_text(textwrap.dedent(code))
    result = await jail.run(f"{sys.executable} -I -S {script}; echo $?", read_only())
    assert "alive" not in result.out
    assert result.out.splitlines()[-1] == str(128 + signal.SIGSYS)


@pytest.mark.parametrize("profile", [read_only(), read_only(network=True)], ids=["no network", "network"])
async def test_nothing_can_be_typed_into_the_terminal(jail: Jail, profile: PermissionProfile) -> None:
    code = """
        import fcntl
        for request in (0x5412, 0x541C, 0x100005412):
            try:
                fcntl.ioctl(0, request & 0xFFFFFFFF, b"x")
                print("typed")
            except OSError as error:
                print(error.errno)
    """
    assert (await python(jail, code, profile, tty=Size(24, 80))).split() == ["1", "1", "1"]


async def test_a_terminal_works_inside(jail: Jail) -> None:
    result = await jail.run(
        "stty size; test -t 0 && test -t 1 && test -t 2 && echo all", read_only(), tty=Size(31, 101)
    )
    assert result.out == "31 101\r\nall\r\n"


async def test_ctrl_c_in_the_terminal_reaches_the_command(jail: Jail) -> None:
    async with await jail.start(
        ["/bin/sh", "-c", "trap 'echo caught; exit 7' INT; echo up; sleep 60 & wait"], read_only(), tty=Size(24, 80)
    ) as process:
        seen = b""
        while b"up" not in seen:
            chunk = await process.read()
            assert chunk is not None
            seen += chunk[1]
        await process.write_stdin(b"\x03")
        async for _, data in process:
            seen += data
        assert b"caught" in seen
        assert await process.wait() == 7


async def test_exit_codes_and_signals_pass_through(jail: Jail) -> None:
    codes = [(await jail.run(script, read_only())).code for script in ("exit 200", "kill -9 $$", "kill -15 $$", "true")]
    assert codes == [200, 137, 143, 0]


@pytest.mark.parametrize("ending", ["terminated", "by itself", "cancelled"])
async def test_no_descendant_outlives_the_command(jail: Jail, ending: str) -> None:
    marker = f"1000.{os.getpid()}{abs(hash(ending)) % 1000}"
    script = f"setsid sleep {marker} & setsid setsid sleep {marker} & sleep {marker} & echo up; read x"
    with anyio.CancelScope() as scope:
        async with await jail.start(["/bin/sh", "-c", script], read_only(), stdin=True) as process:
            assert (await process.read()) == ("stdout", b"up\n")
            await until(lambda: len(sleeping(marker)) == 3)
            if ending == "terminated":
                await process.terminate()
            elif ending == "by itself":
                process.close_stdin()
                await process.wait()
            else:
                scope.cancel()
                await anyio.sleep_forever()
    assert sleeping(marker) == []


async def test_with_grace_the_command_is_asked_and_not_the_wrapper(jail: Jail) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    async with await jail.start(["/bin/sh", "-c", script], read_only()) as process:
        assert (await process.read()) == ("stdout", b"up\n")
        await process.terminate(grace=30)
        assert b"bye\n" in [data async for _, data in process]
        assert process.exit_code == 5


async def test_when_the_daemon_is_killed_the_sandbox_dies_with_it(jail: Jail) -> None:
    marker = f"1001.{os.getpid()}"
    daemon = f"""
        import os, sys
        from pathlib import Path
        import anyio
        from app_server.exec.reaper import Reaper
        from app_server.sandbox.permissions import read_only
        from app_server.sandbox.sandbox import choose_sandbox
        from tests.sandbox.conftest import Jail, sleeping, until

        async def main():
            async with Reaper() as reaper:
                jail = Jail(choose_sandbox(), reaper, Path("/"))
                script = "setsid sleep {marker} & echo up; sleep {marker}"
                async with await jail.start(["/bin/sh", "-c", script], read_only()) as process:
                    await process.read()
                    os.write(1, b"up\\n")
                    await anyio.sleep_forever()

        anyio.run(main)
    """
    async with await anyio.open_process([sys.executable, "-c", textwrap.dedent(daemon)], stderr=None) as process:
        try:
            assert process.stdout is not None
            assert await process.stdout.receive() == b"up\n"
            await until(lambda: len(sleeping(marker)) == 2)
        finally:
            process.kill()
        await process.wait()
        await until(lambda: not sleeping(marker))


@pytest.mark.parametrize("profile", [read_only(), workspace_write(["/tmp"])], ids=["read-only", "workspace"])
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-program"], "No such file or directory (os error 2)"),
        (["/no/such"], "No such file or directory (os error 2)"),
        (["/etc"], "Permission denied (os error 13)"),
        (["/etc/passwd"], "Permission denied (os error 13)"),
    ],
)
async def test_a_missing_program_is_an_error_and_no_output_of_the_wrapper(
    jail: Jail, argv: list[str], message: str, profile: PermissionProfile
) -> None:
    with pytest.raises(SpawnError) as caught:
        await jail.start(argv, profile)
    assert str(caught.value) == message


async def test_a_library_named_by_the_environment_is_loaded_only_inside(jail: Jail) -> None:
    result = await jail.run(
        "echo $LD_PRELOAD $LD_LIBRARY_PATH", read_only(), env={"LD_PRELOAD": "/no/such.so", "LD_LIBRARY_PATH": "/x"}
    )
    assert result.out == "/no/such.so /x\n"
    assert "bwrap" not in result.err
