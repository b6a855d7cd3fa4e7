"""Real processes, without a sandbox unless a test asks for one."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from app_server.config.settings import CommandLimits
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.sandbox.sandbox import SandboxedCommand


class Runner:
    """Starts plain commands in a directory of their own."""

    def __init__(self, reaper: Reaper, cwd: Path) -> None:
        self.reaper, self.cwd = reaper, cwd

    def start(
        self,
        *argv: str,
        stdin: bool = False,
        tty: Size | None = None,
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
    ) -> Process:
        """A running command."""
        command = SandboxedCommand(argv=argv, env=os.environ if env is None else env)
        return Process.spawn(command, cwd=str(self.cwd), reaper=self.reaper, stdin=stdin, tty=tty, limits=limits)

    def shell(self, script: str, *, stdin: bool = False, tty: Size | None = None) -> Process:
        """A running shell script."""
        return self.start("/bin/sh", "-c", script, stdin=stdin, tty=tty)

    async def output(self, *argv: str, env: Mapping[str, str] | None = None) -> tuple[int, bytes, bytes]:
        """Exit code, standard output and standard error of a command run to its end."""
        async with self.start(*argv, env=env) as process:
            streams = await collect(process)
            return await process.wait(), streams["stdout"], streams["stderr"]


async def collect(process: Process) -> dict[str, bytes]:
    """All output up to its end, by stream."""
    streams = {"stdout": b"", "stderr": b""}
    async for stream, data in process:
        streams[stream] += data
    return streams


async def read_until(process: Process, marker: bytes) -> bytes:
    """Standard output up to and including a chunk that ends the text with `marker`."""
    seen = b""
    while marker not in seen:
        chunk = await process.read()
        assert chunk is not None, f"the output ended without {marker!r}: {seen!r}"
        seen += chunk[1]
    return seen


def descriptors() -> set[str]:
    """What this process has open, by number."""
    found: set[str] = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{entry} {os.readlink(f'/proc/self/fd/{entry}')}")
        except FileNotFoundError:
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def pids(text: bytes, count: int) -> Sequence[int]:
    """The process ids that a script printed."""
    found = [int(word) for word in text.split() if word.isdigit()]
    assert len(found) == count, text
    return found


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    async with Reaper() as reaper:
        yield reaper


@pytest.fixture
def runner(reaper: Reaper, tmp_path: Path) -> Runner:
    return Runner(reaper, tmp_path)
