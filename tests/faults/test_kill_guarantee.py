"""When a command expires nothing of it lives on: 200 hostile trees, and not one survivor."""

import itertools
import os
import shutil
import statistics
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from app_server.exec import proctree
from app_server.exec.expiration import Expiration
from app_server.exec.launch import launch
from app_server.exec.pty import DEFAULT_SIZE
from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, workspace_write
from app_server.sandbox.sandbox import Confinement, Sandbox, SandboxUnavailable
from tests.faults.hostile_trees import SHAPES, tree
from tests.sandbox.attempts import end_marked, marked
from tests.sandbox.backends import BACKENDS, backend_named

EXPIRATIONS = 100
"""In each way of running commands; there are at least two."""

TREES = 105
"""A few more, since confined one kind of tree ends with its first process and so by itself."""

TOGETHER = 3
"""Trees at the same time, so that the orphans of one must be told from those of the others."""


@dataclass
class Tally:
    """What became of the trees."""

    expired: int = 0
    survivors: list[str] = field(default_factory=list[str])
    output_lost: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])

    def __str__(self) -> str:
        slowest, middle = max(self.seconds), statistics.median(self.seconds)
        return (
            f"{self.expired} expirations, {len(self.survivors)} survivors; from expiry to the end of the tree "
            f"{middle * 1000:.0f} ms in the middle, {slowest * 1000:.0f} ms at most"
        )


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    async with Reaper() as reaper:
        yield reaper


async def expire(
    shape: str, number: int, place: Path, sandbox: Sandbox, profile: PermissionProfile, reaper: Reaper, tally: Tally
) -> None:
    """Grow one tree, let its time run out, and look for survivors when the program says that it is gone."""
    mark = f"hostile-{os.getpid()}-{number}"
    fifo = place / "held" / str(number)
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    env: Mapping[str, str] = {**os.environ, "HOME": str(place)}
    tty = DEFAULT_SIZE if number % 4 == 3 else None
    try:
        argv, output = tree(shape, mark, str(fifo)), b""
        async with await launch(
            sandbox, argv, cwd=str(place), env=env, profile=profile, reaper=reaper, tty=tty
        ) as process:
            while b"ready" not in output and (chunk := await process.read()) is not None:
                output += chunk[1]
            assert b"ready" in output, f"{shape}: {output.decode()}"
            assert marked(mark) or profile is not FULL_ACCESS, f"{shape}: there is no tree"
            with Expiration(0.01) as expiration:
                while await process.read() is not None:
                    pass
                await process.wait()
            began = anyio.current_time()
            await process.terminate()
            tally.seconds.append(anyio.current_time() - began)
            held, alive = is_held(reader), marked(mark)
            tally.expired += expiration.timed_out
            while (chunk := await process.read()) is not None:
                output = output[:4096] + chunk[1]
        if alive or held:
            tally.survivors.append(f"{shape} ({len(alive)})")
        if not output.lstrip(b"\r\n").startswith(b"so far"):
            tally.output_lost.append(shape)
    finally:
        os.close(reader)
        await anyio.to_thread.run_sync(end_marked, mark)


def is_held(reader: int) -> bool:
    """Whether any process has the other side of the pipe open, however well it hides."""
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["unconfined", *BACKENDS])
async def test_no_process_of_an_expired_command_survives(how: str, tmp_path: Path, reaper: Reaper) -> None:
    place = tmp_path / "place"
    (place / "held").mkdir(parents=True)
    profile = FULL_ACCESS if how == "unconfined" else workspace_write([str(place)], slash_tmp=False)
    backend = backend_named("bubblewrap" if how == "unconfined" else how)
    sandbox = Confinement(backend)
    if how != "unconfined":
        try:
            await sandbox.available()
        except SandboxUnavailable as error:
            pytest.skip(f"NO {how.upper()} HERE, ITS TESTS DO NOT RUN: {error}")
    # Left by other tests in this process, whose orphans it adopts.
    dead_before = set(dead_children())
    tally = Tally()
    shapes = itertools.islice(itertools.cycle(SHAPES), TREES)
    limit = anyio.CapacityLimiter(TOGETHER)

    async def one(shape: str, number: int) -> None:
        async with limit:
            await expire(shape, number, place, sandbox, profile, reaper, tally)

    async with anyio.create_task_group() as group:
        for number, shape in enumerate(shapes):
            group.start_soon(one, shape, number)
    print(f"{how}: {tally}")
    assert (tally.survivors, tally.output_lost) == ([], [])
    assert tally.expired >= EXPIRATIONS
    assert set(dead_children()) <= dead_before
    await anyio.to_thread.run_sync(partial(shutil.rmtree, tmp_path, ignore_errors=True))


def dead_children() -> list[int]:
    """Children of this process that have ended and were not waited for."""
    found = [proctree.stat(pid) for pid in proctree.children(os.getpid())]
    return [process.pid for process in found if process is not None and process.is_dead]


DAEMON = """
import os, sys
from pathlib import Path

import anyio

from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from app_server.sandbox.sandbox import SandboxedCommand

async def main() -> None:
    async with Reaper() as reaper:
        command = SandboxedCommand(sys.argv[1:], dict(os.environ))
        async with Process.spawn(command, cwd="/", reaper=reaper) as process:
            while (chunk := await process.read()) is not None:
                os.write(1, chunk[1])
            await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.parametrize("shape", ["forks twice", "ignores every signal", "wipes its environment", "closes everything"])
async def test_when_the_daemon_is_killed_a_hostile_tree_dies_too(shape: str, tmp_path: Path) -> None:
    mark, fifo = f"orphaned-{os.getpid()}-{abs(hash(shape)) % 10**6}", tmp_path / "held"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        argv = [sys.executable, "-c", DAEMON, *tree(shape, mark, str(fifo))]
        async with await anyio.open_process(argv, stdin=None, stderr=None) as daemon:
            assert daemon.stdout is not None
            try:
                seen = b""
                while b"ready" not in seen:
                    seen += await daemon.stdout.receive()
                assert len(marked(mark)) >= 2
            finally:
                daemon.kill()
            await daemon.wait()
        with anyio.fail_after(10):
            while is_held(reader) or marked(mark):  # noqa: ASYNC110  # they are no children of ours
                await anyio.sleep(0.01)
    finally:
        os.close(reader)
        await anyio.to_thread.run_sync(end_marked, mark)
