"""Real sandboxes. Skipped, with the reason, where the machine cannot build one."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from app_server.exec.launch import launch
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable, choose_sandbox


@dataclass(frozen=True)
class Ran:
    """How a confined command ended."""

    code: int
    out: str
    err: str


class Jail:
    """Runs commands confined, in a workspace of their own."""

    def __init__(self, sandbox: Sandbox, reaper: Reaper, workspace: Path) -> None:
        self.sandbox, self.reaper, self.workspace = sandbox, reaper, workspace

    async def start(
        self,
        argv: Sequence[str],
        profile: PermissionProfile,
        *,
        tty: Size | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        meanwhile: Callable[[], object] | None = None,
    ) -> Process:
        """A running command. `meanwhile` is done when it is known what to protect, and nothing is protected yet.

        With it the command is started once, whatever comes of it.
        """
        cwd, environment = str(self.workspace), {**os.environ, **(env or {})}
        if meanwhile is None:
            return await launch(
                self.sandbox, argv, cwd=cwd, env=environment, profile=profile, reaper=self.reaper, tty=tty, stdin=stdin
            )
        command = await self.sandbox.wrap(argv, cwd=cwd, env=environment, profile=profile, terminal=tty is not None)
        await anyio.to_thread.run_sync(meanwhile)
        return Process.spawn(command, cwd=cwd, reaper=self.reaper, tty=tty, stdin=stdin)

    async def run(
        self, script: str, profile: PermissionProfile, *, tty: Size | None = None, env: Mapping[str, str] | None = None
    ) -> Ran:
        """A shell script run to its end."""
        async with await self.start(["/bin/sh", "-c", script], profile, tty=tty, env=env) as process:
            return await self.ended(process)

    async def ended(self, process: Process) -> Ran:
        """What a running command gave when it has ended."""
        streams = {"stdout": b"", "stderr": b""}
        async for stream, data in process:
            streams[stream] += data
        code = await process.wait()
        return Ran(code, streams["stdout"].decode(), streams["stderr"].decode())


@pytest.fixture
async def jail(tmp_path: Path) -> AsyncIterator[Jail]:
    sandbox = choose_sandbox()
    try:
        await sandbox.available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO SANDBOX HERE, ITS TESTS DO NOT RUN: {error}")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    async with Reaper() as reaper:
        yield Jail(sandbox, reaper, workspace)
    # pytest keeps its folders, and every repository in /tmp is one more to protect for each command to come.
    await anyio.to_thread.run_sync(partial(shutil.rmtree, tmp_path, ignore_errors=True))


def sleeping(marker: str) -> list[int]:
    """The processes that sleep for `marker` seconds, wherever they are."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(int(entry))
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what other processes do, which nobody tells us."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # there is no event to wait for
            await anyio.sleep(0.01)
