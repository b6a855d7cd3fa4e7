"""Limits on what a command and everything it starts may use together."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from app_server.config.settings import CommandLimits
from app_server.exec import limits as limits_module
from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from tests.sandbox.conftest import sleeping
from tests.unit.exec.conftest import Runner, collect, read_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are measured in /proc")

STOPPED = "the command was stopped: it and what it started "
KILLED = 137


def only(**limits: int) -> CommandLimits:
    return CommandLimits(limits.get("memory_mb"), limits.get("processes"), limits.get("cpu_seconds"))


async def end(process: Process) -> tuple[int, str | None, bytes]:
    """Exit code, the limit that was hit and the output of a command run to its end."""
    async with process:
        output = await collect(process)
        code = await process.wait()
    return code, process.limit_hit, output["stdout"]


def python(script: str) -> Sequence[str]:
    return (sys.executable, "-S", "-c", script)


async def test_a_command_that_takes_too_much_memory_is_stopped_and_its_output_kept(runner: Runner) -> None:
    script = "echo before; head -c 300000000 /dev/zero | tail | sleep 1000; echo after"
    ended = await end(runner.start("/bin/sh", "-c", script, limits=only(memory_mb=100)))
    assert ended == (KILLED, STOPPED + "used more than 100 MB of memory (command_limits.memory_mb)", b"before\n")


async def test_the_memory_of_all_processes_counts_together(runner: Runner) -> None:
    script = (
        "for i in 1 2 3 4; do head -c 50000000 /dev/zero | { tail -c 50000000; sleep 100; } >/dev/null & done; wait"
    )
    hold = "import time; held = bytearray(50_000_000); time.sleep(100)"
    script = f"for i in 1 2 3 4; do '{sys.executable}' -S -c '{hold}' & done; wait"
    code, hit, _ = await end(runner.start("/bin/sh", "-c", script, limits=only(memory_mb=120)))
    assert (code, hit) == (KILLED, STOPPED + "used more than 120 MB of memory (command_limits.memory_mb)")


async def test_memory_that_forked_processes_share_counts_once(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    share = limits_module.memory_share

    def counting(pid: int) -> int:
        looked.release()
        return share(pid)

    monkeypatch.setattr(limits_module, "memory_share", counting)
    script = """
import os, sys
held = bytearray(100_000_000)
for _ in range(4):
    if os.fork() == 0:
        break
sys.stdin.read()
"""
    process = runner.start(*python(script), stdin=True, limits=only(memory_mb=250))
    async with process:
        # Twenty looks at a process are at least four at the whole tree, each with a sum that is over the limit.
        for _ in range(20):
            await anyio.to_thread.run_sync(looked.acquire)
        process.close_stdin()
        await collect(process)
        assert await process.wait() == 0
    assert process.limit_hit is None


async def test_processor_time_of_all_processes_counts_together(runner: Runner) -> None:
    began = anyio.current_time()
    script = "for i in 1 2; do { while :; do :; done; } & done; wait"
    code, hit, _ = await end(runner.start("/bin/sh", "-c", script, limits=only(cpu_seconds=1)))
    assert (code, hit) == (KILLED, STOPPED + "used more than 1 s of processor time (command_limits.cpu_seconds)")
    assert anyio.current_time() - began >= 0.5


async def test_processor_time_of_children_that_nobody_waits_for_counts(runner: Runner) -> None:
    script = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            pass
        os._exit(0)
    time.sleep(0.16)
"""
    code, hit, _ = await end(runner.start(*python(script), limits=only(cpu_seconds=1)))
    assert (code, hit) == (KILLED, STOPPED + "used more than 1 s of processor time (command_limits.cpu_seconds)")


async def test_more_processes_than_allowed_end_the_whole_tree(runner: Runner) -> None:
    script = "for i in 1 2 3 4 5; do setsid sleep 5432.1 & done; wait"
    code, hit, _ = await end(runner.start("/bin/sh", "-c", script, limits=only(processes=5)))
    assert hit == STOPPED + "ran more than 5 processes and threads at once (command_limits.processes)"
    assert code == KILLED
    assert sleeping("5432.1") == []


async def test_orphans_of_a_command_count_and_go(runner: Runner) -> None:
    script = "for i in 1 2 3 4 5; do (setsid sleep 5432.1 &); done; sleep 1000"
    code, hit, _ = await end(runner.start("/bin/sh", "-c", script, limits=only(processes=5)))
    assert hit == STOPPED + "ran more than 5 processes and threads at once (command_limits.processes)"
    assert code == KILLED
    assert sleeping("5432.1") == []


async def test_threads_count_as_processes(runner: Runner) -> None:
    script = "import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=(1000,)).start()"
    code, hit, _ = await end(runner.start(*python(script), limits=only(processes=5)))
    assert hit == STOPPED + "ran more than 5 processes and threads at once (command_limits.processes)"
    assert code == KILLED


async def test_a_command_within_its_limits_is_left_alone(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    cpu_times = limits_module.cpu_times

    def counting(pid: int) -> tuple[int, int, int] | None:
        looked.release()
        return cpu_times(pid)

    monkeypatch.setattr(limits_module, "cpu_times", counting)
    process = runner.start(
        "/bin/sh", "-c", "cat & cat; wait; exit 3", stdin=True, limits=CommandLimits(500, 5, cpu_seconds=60)
    )
    async with process:
        for _ in range(10):
            await anyio.to_thread.run_sync(looked.acquire)
        process.close_stdin()
        await collect(process)
        assert (await process.wait(), process.limit_hit) == (3, None)


async def test_a_bomb_of_a_plain_user_is_bounded_by_the_kernel_until_it_is_noticed(runner: Runner) -> None:
    process = runner.start("/bin/sh", "-c", "echo ready; sleep 1000", limits=only(processes=10))
    async with process:
        await read_until(process, b"ready\n")
        soft, hard = process_bounds(process.pid)
        assert soft == hard
        assert 10 < soft <= limits_module.system_tasks() + 10 + limits_module.SLACK + 1000


async def test_without_a_limit_nothing_is_watched(runner: Runner) -> None:
    for none in (None, CommandLimits(None, None, None)):
        async with runner.start("/bin/sh", "-c", "true", limits=none) as process:
            await process.wait()
    assert not watching()


async def test_the_watch_ends_with_its_reaper(tmp_path: Path) -> None:
    async with Reaper() as reaper:
        runner = Runner(reaper, tmp_path)
        async with runner.start("/bin/sh", "-c", "true", limits=CommandLimits()) as process:
            await process.wait()
        assert watching()
    assert not watching()


async def test_a_sandbox_that_is_not_built_yet_is_not_taken_to_hold_what_the_host_runs(runner: Runner) -> None:
    process = runner.start("/bin/sh", "-c", "sleep 1000 & echo ready; wait")
    async with process:
        await read_until(process, b"ready\n")
        assert limits_module.processes_inside(process.pid) == 0


def watching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "command limits"]


def process_bounds(pid: int) -> tuple[int, int]:
    """RLIMIT_NPROC of a process: soft and hard."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in lines if line.startswith("Max processes")).split()[2:4]
    return int(soft), int(hard)
