"""Running a command: what it gets, what it gives, how it ends."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from app_server.exec.process import CHUNK_BYTES, DRAIN_S, Process
from app_server.exec.pty import Size
from app_server.exec.reaper import MARKER, Reaper
from app_server.exec.spawn import SpawnError
from app_server.sandbox.sandbox import SandboxedCommand
from tests.unit.exec.conftest import Runner, collect, descriptors, is_alive, pids, read_until


async def test_both_streams_and_the_exit_code_are_told_apart(runner: Runner) -> None:
    assert await runner.output("/bin/sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


async def test_death_by_a_signal_is_128_and_its_number(runner: Runner) -> None:
    assert (await runner.output("/bin/sh", "-c", "kill -9 $$"))[0] == 137
    assert (await runner.output("/bin/sh", "-c", "kill -15 $$"))[0] == 143


async def test_a_command_runs_in_its_directory_and_a_session_of_its_own(runner: Runner) -> None:
    _, out, _ = await runner.output("/bin/sh", "-c", 'pwd; cut -d" " -f6 /proc/$$/stat; echo $$')
    directory, session, own = out.decode().split()
    assert directory == str(runner.cwd)
    assert session == own


async def test_a_command_reads_nothing_unless_it_is_given_input(runner: Runner) -> None:
    assert await runner.output("/bin/cat") == (0, b"", b"")


async def test_a_command_has_no_descriptor_of_ours(runner: Runner, tmp_path: Path) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    try:
        _, out, _ = await runner.output("/bin/ls", "/proc/self/fd")
    finally:
        os.close(inherited)
    assert out.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing's own


async def test_a_descriptor_that_was_inherited_by_the_daemon_goes_no_further(tmp_path: Path) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        async with Reaper() as reaper:
            _, out, _ = await Runner(reaper, tmp_path).output("/bin/ls", "/proc/self/fd")
    finally:
        os.close(inherited)
    assert out.split() == [b"0", b"1", b"2", b"3"]


async def test_signals_that_the_daemon_ignores_have_their_usual_effect_on_a_command(runner: Runner) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, _, _ = await runner.output("/bin/sh", "-c", "kill -HUP $$; sleep 60")
        assert code == 128 + signal.SIGHUP
        code, _, _ = await runner.output("/bin/sh", "-c", "kill -PIPE $$; sleep 60")
        assert code == 128 + signal.SIGPIPE
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_the_program_is_found_on_the_path_of_the_child(runner: Runner) -> None:
    tools = runner.cwd / "tools"
    tools.mkdir()
    (tools / "mytool").write_text("#!/bin/sh\necho found $0\n")
    (tools / "mytool").chmod(0o755)
    assert (await runner.output("mytool", env={"PATH": "tools"}))[1] == b"found tools/mytool\n"
    assert (await runner.output("mytool", env={"PATH": f"/nonexistent:{tools}"}))[1].startswith(b"found ")
    assert (await runner.output("sh", "-c", "echo ok", env={}))[1] == b"ok\n"


@pytest.mark.parametrize("terminal", [None, Size(24, 80)])
@pytest.mark.parametrize(
    ("argv", "cwd", "message"),
    [
        (["/no/such"], "/", "No such file or directory (os error 2)"),
        (["no-such-program"], "/", "No such file or directory (os error 2)"),
        (["/etc"], "/", "Permission denied (os error 13)"),
        (["/etc/passwd"], "/", "Permission denied (os error 13)"),
        (["/bin/true"], "/no/such", "No such file or directory (os error 2)"),
        (["true"], "/no/such", "No such file or directory (os error 2)"),
        (["/bin/true"], "/etc/passwd", "Not a directory (os error 20)"),
        (["true"], "/etc/passwd", "Not a directory (os error 20)"),
        (["echo", "a\0b"], "/", "nul byte found in provided data"),
    ],
)
async def test_a_command_that_cannot_start_says_why_and_leaves_nothing_open(
    reaper: Reaper, argv: list[str], cwd: str, message: str, terminal: Size | None
) -> None:
    reaper.new_mark()
    before = descriptors()
    cleaned: list[bool] = []
    with pytest.raises(SpawnError) as caught:
        Process.spawn(
            SandboxedCommand(argv=argv, env=os.environ, cleanup=lambda: cleaned.append(True)),
            cwd=cwd,
            reaper=reaper,
            tty=terminal,
        )
    assert str(caught.value) == message
    assert cleaned == [True]
    assert descriptors() == before


async def test_a_file_that_is_no_program_is_an_exec_format_error(runner: Runner) -> None:
    junk = runner.cwd / "junk"
    junk.write_bytes(b"\x00\x01\x02\x03")
    junk.chmod(0o755)
    with pytest.raises(SpawnError, match=r"Exec format error \(os error 8\)"):
        runner.start(str(junk))


async def test_large_output_arrives_whole_in_bounded_chunks(runner: Runner) -> None:
    total, longest = 0, 0
    async with runner.shell("head -c 5000000 /dev/zero") as process:
        async for stream, data in process:
            assert stream == "stdout"
            total += len(data)
            longest = max(longest, len(data))
    assert total == 5_000_000
    assert longest <= CHUNK_BYTES


async def test_a_consumer_that_does_not_read_makes_the_command_wait(runner: Runner) -> None:
    async with runner.shell("head -c 3000000 /dev/zero; echo done >&2") as process:
        await process.read()
        await anyio.wait_all_tasks_blocked()
        assert process.exit_code is None
        out = await collect(process)
    assert out["stderr"] == b"done\n"


async def test_cancelling_a_read_loses_nothing(runner: Runner) -> None:
    async with runner.shell("for i in 1 2 3 4 5 6 7 8 9; do echo $i; done; read x; echo $x", stdin=True) as process:
        seen = b""
        for _ in range(20):
            with anyio.move_on_after(0):
                chunk = await process.read()
                assert chunk is not None
                seen += chunk[1]
        await process.write_stdin(b"end\n")
        seen += (await collect(process))["stdout"]
    assert seen == b"1\n2\n3\n4\n5\n6\n7\n8\n9\nend\n"


async def test_input_of_any_size_arrives_in_order(runner: Runner) -> None:
    data = bytes(range(256)) * 4000
    async with runner.start("/bin/cat", stdin=True) as process, anyio.create_task_group() as group:

        async def write() -> None:
            for start in range(0, len(data), 100_000):
                await process.write_stdin(data[start : start + 100_000])
            process.close_stdin()

        group.start_soon(write)
        assert (await collect(process))["stdout"] == data
        assert await process.wait() == 0


async def test_input_that_nobody_reads_is_lost_without_an_error(runner: Runner) -> None:
    async with runner.shell("exec <&-; echo closed; sleep 60", stdin=True) as process:
        await read_until(process, b"closed\n")
        await process.write_stdin(b"x" * 1_000_000)
        process.close_stdin()
        process.close_stdin()
        with pytest.raises(BrokenPipeError):
            await process.write_stdin(b"more")


async def test_a_writer_waits_for_a_command_that_does_not_read_until_the_command_ends(runner: Runner) -> None:
    async with runner.shell("echo ready; sleep 60", stdin=True) as process:
        await read_until(process, b"ready\n")
        with anyio.move_on_after(0.01) as scope:
            await process.write_stdin(b"x" * 1_000_000)
        assert scope.cancelled_caught
        await process.terminate()
        await process.write_stdin(b"y")


async def test_a_terminal_has_the_size_it_was_given_and_takes_another(runner: Runner) -> None:
    async with runner.shell("stty size; read x; echo got $x; stty size", tty=Size(31, 101)) as process:
        await read_until(process, b"31 101\r\n")
        process.resize(Size(45, 132))
        await process.write_stdin(b"line\n")
        out = await collect(process)
    assert out["stdout"].endswith(b"got line\r\n45 132\r\n")
    assert out["stderr"] == b""


async def test_a_terminal_is_the_controlling_one_and_ctrl_c_interrupts(runner: Runner) -> None:
    async with runner.shell("echo ready >/dev/tty; exec cat", tty=Size(24, 80)) as process:
        await read_until(process, b"ready\r\n")
        await process.write_stdin(b"x\n")
        await read_until(process, b"x\r\nx\r\n")  # the echo, and cat's answer: it is cat that is interrupted
        await process.write_stdin(b"\x03")
        await collect(process)
        assert await process.wait() == 128 + signal.SIGINT


@pytest.mark.parametrize("text", [b"", b"whole line\n", b"part of a line"])
async def test_closing_the_input_of_a_terminal_is_read_as_its_end(runner: Runner, text: bytes) -> None:
    async with runner.shell("stty -echo; echo ready; cat; echo end", tty=Size(24, 80)) as process:
        await read_until(process, b"ready\r\n")
        await process.write_stdin(text)
        process.close_stdin()
        out = (await collect(process))["stdout"]
    assert out == text.replace(b"\n", b"\r\n") + b"end\r\n"


async def test_a_command_without_a_terminal_cannot_be_resized(runner: Runner) -> None:
    async with runner.start("/bin/sleep", "60") as process:
        with pytest.raises(OSError, match="not attached to a PTY"):
            process.resize(Size(1, 1))


async def test_the_output_is_over_when_whoever_holds_the_pipe_has_held_it_for_two_seconds(runner: Runner) -> None:
    async with runner.shell("(sleep 0.2; echo late) & setsid sleep 60 & echo $!; echo now") as process:
        started = anyio.current_time()
        out = (await collect(process))["stdout"]
        assert anyio.current_time() - started >= DRAIN_S - 0.05
        held = int(out.split()[0])
        assert out.split()[1:] == [b"now", b"late"]
    assert not is_alive(held)


async def test_output_that_was_written_before_the_end_is_read_however_slow_the_reader(runner: Runner) -> None:
    async with runner.shell("sleep 60 & head -c 50000 /dev/zero; head -c 10000 /dev/zero >&2") as process:
        await process.wait()
        await anyio.sleep(DRAIN_S + 0.1)  # past the time that a held pipe is given
        assert {stream: len(data) for stream, data in (await collect(process)).items()} == {
            "stdout": 50_000,
            "stderr": 10_000,
        }


SURVIVORS = {
    "same session": "sleep 1000 & echo $!",
    "own session": "setsid sleep 1000 & echo $!",
    "twice removed": "(setsid sh -c 'sleep 1000 & echo $!')",
    "orphan of its own": "setsid sh -c 'setsid sh -c \"sleep 1000 & echo \\$!\" &' ",
    "without environment": "setsid env -i sh -c 'sleep 1000 & echo $!'",
    "deaf to signals": "setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec sleep 1000' &",
}


@pytest.mark.parametrize("script", SURVIVORS.values(), ids=SURVIVORS.keys())
@pytest.mark.parametrize("ending", ["terminated", "by itself"])
async def test_no_descendant_outlives_a_command_wherever_it_hid(runner: Runner, script: str, ending: str) -> None:
    listing = runner.cwd / "pids"
    wait = f"until [ -s {listing} ]; do sleep 0.01; done; echo ready"
    rest = "exec sleep 1000" if ending == "terminated" else "read x"
    async with runner.shell(f"({script}) >{listing} 2>&1 </dev/null; {wait}; {rest}", stdin=True) as process:
        await read_until(process, b"ready\n")
        (hidden,) = pids(listing.read_bytes(), 1)
        assert is_alive(hidden)
        if ending == "terminated":
            await process.terminate()
            assert process.exit_code == 137
        else:
            process.close_stdin()
            await collect(process)
            assert await process.wait() == 1
    assert not is_alive(hidden)


async def test_the_end_of_one_command_spares_the_others(runner: Runner) -> None:
    async with runner.shell("setsid sleep 1000 & echo $!; exec sleep 1000") as other:
        (child,) = pids(await read_until(other, b"\n"), 1)
        async with runner.shell("setsid env -i sleep 1000 & echo ready; exec sleep 1000") as process:
            await read_until(process, b"ready\n")
            await process.terminate()
        await runner.output("/bin/true")
        assert is_alive(child)
        assert other.exit_code is None
    assert not is_alive(child)


async def test_with_grace_a_command_may_end_by_its_own_hand(runner: Runner) -> None:
    async with runner.shell("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done") as process:
        await read_until(process, b"ready\n")
        await process.terminate(grace=30)
        assert (await collect(process))["stdout"] == b"bye\n"
        assert process.exit_code == 5


async def test_without_grace_a_trap_does_not_run(runner: Runner) -> None:
    async with runner.shell("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done") as process:
        await read_until(process, b"ready\n")
        await process.terminate()
        assert (await collect(process))["stdout"] == b""
        assert process.exit_code == 137


async def test_a_stopped_process_is_ended_too(runner: Runner) -> None:
    async with runner.shell("echo ready; kill -STOP $$; echo never") as process:
        await read_until(process, b"ready\n")
        await process.terminate()
        assert process.exit_code == 137


async def test_cancelling_the_owner_ends_the_command(runner: Runner) -> None:
    seen: list[int] = []
    async with anyio.create_task_group() as group:

        async def own() -> None:
            async with runner.shell("setsid sleep 1000 & echo $$ $!; sleep 1000") as process:
                seen.extend(pids(await read_until(process, b"\n"), 2))
                group.cancel_scope.cancel()
                await process.wait()

        group.start_soon(own)
    assert [is_alive(pid) for pid in seen] == [False, False]


async def test_only_commands_in_the_open_carry_a_mark(reaper: Reaper, tmp_path: Path) -> None:
    for contained, expected in ((False, True), (True, False)):
        command = SandboxedCommand(argv=["/usr/bin/env"], env={}, contained=contained)
        async with Process.spawn(command, cwd=str(tmp_path), reaper=reaper) as process:
            assert (MARKER.encode() in (await collect(process))["stdout"]) is expected


async def test_a_chain_of_orphans_that_renews_itself_is_broken(runner: Runner) -> None:
    script = runner.cwd / "chain.sh"
    count = runner.cwd / "count"
    script.write_text(f"echo >>{count}\nsetsid sh {script} </dev/null >/dev/null 2>&1 &\n")
    async with runner.shell(f"sh {script}; until [ -s {count} ]; do :; done; echo ready; sleep 1000") as process:
        await read_until(process, b"ready\n")
        await process.terminate()
    before = count.stat().st_size
    await runner.output("/bin/sleep", "0.1")
    assert count.stat().st_size == before
