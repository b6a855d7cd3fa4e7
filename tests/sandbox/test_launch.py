"""Starting a confined command beside others who make, move and delete folders."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from app_server.exec.launch import launch
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.network.policy import NetworkProxySettings
from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import TRIES, Sandbox, SandboxedCommand, SandboxUnavailable
from tests.sandbox.conftest import Jail, Ran, until


class Disturbed:
    """A sandbox beside which something happens whenever it is known what to protect, and nothing is protected yet."""

    def __init__(self, jail: Jail, disturb: Callable[[int], object]) -> None:
        self._sandbox: Sandbox = jail.sandbox
        self._disturb = disturb
        self.bridges: list[socket.socket] = []
        self.built = 0

    async def available(self) -> None:
        await self._sandbox.available()

    async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
        command = await self._sandbox.wrap(*args, **options)
        if command.bridge is not None:
            self.bridges.append(command.bridge)
        self.built += 1
        await anyio.to_thread.run_sync(self._disturb, self.built)
        return command


class Waiting(Disturbed):
    """Its sandboxes are built only when they are told to go on (SIGCONT)."""

    async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
        command = await super().wrap(*args, **options)
        return replace(command, argv=["/bin/sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *command.argv])


def moved(jail: Jail, times: int) -> Callable[[int], None]:
    """A repository that is moved beside the first sandboxes: what was to be protected is elsewhere then."""
    (jail.workspace / "at0" / ".git" / "hooks").mkdir(parents=True)

    def move(number: int) -> None:
        if number <= times:
            (jail.workspace / f"at{number - 1}").rename(jail.workspace / f"at{number}")

    return move


def only(jail: Jail) -> PermissionProfile:
    return workspace_write([str(jail.workspace)], slash_tmp=False)


async def start(jail: Jail, sandbox: Sandbox, script: str, **options: Any) -> Process:
    chosen: dict[str, Any] = {"profile": only(jail), "env": os.environ, **options}
    return await launch(sandbox, ["/bin/sh", "-c", script], cwd=str(jail.workspace), reaper=jail.reaper, **chosen)


@pytest.fixture(autouse=True)
async def _mounts() -> None:
    try:
        await Bubblewrap().available()
    except SandboxUnavailable as error:
        pytest.skip(f"nothing is mounted for a command here: {error}")


@pytest.mark.parametrize("tty", [None, Size(24, 80)])
async def test_a_command_whose_sandbox_was_disturbed_is_started_again_and_runs_once(
    jail: Jail, tty: Size | None
) -> None:
    sandbox = Disturbed(jail, moved(jail, TRIES - 1))
    async with await start(jail, sandbox, "echo once >>ran; echo out", tty=tty) as process:
        ran = await jail.ended(process)
    assert (ran.code, ran.out.split(), ran.err) == (0, ["out"], "")
    assert (jail.workspace / "ran").read_text() == "once\n"
    assert sandbox.built == TRIES


async def test_its_input_is_not_lost(jail: Jail) -> None:
    sandbox = Disturbed(jail, moved(jail, 2))
    async with await start(jail, sandbox, "cat", stdin=True) as process:
        process.feed_stdin(b"said")
        process.close_stdin()
        assert await jail.ended(process) == Ran(0, "said", "")
    assert sandbox.built == 3


async def test_a_command_that_is_disturbed_every_time_says_so_and_has_done_nothing(jail: Jail) -> None:
    sandbox = Disturbed(jail, moved(jail, TRIES))
    before = len(os.listdir("/proc/self/fd"))
    async with await start(jail, sandbox, "echo x >ran") as process:
        ran = await jail.ended(process)
    assert (ran.code, ran.out) == (126, "")
    assert "run it again" in ran.err
    assert not (jail.workspace / "ran").exists()
    assert sandbox.built == TRIES
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("end", ["exit 1", "exit 126", "exit 127", "kill -9 $$"])
async def test_a_command_that_failed_by_itself_is_not_started_again(jail: Jail, end: str) -> None:
    sandbox = Disturbed(jail, lambda _: None)
    async with await start(jail, sandbox, f"echo once >>ran; {end}") as process:
        ran = await jail.ended(process)
    assert ran.code != 0
    assert (jail.workspace / "ran").read_text() == "once\n"
    assert sandbox.built == 1


async def test_a_program_that_the_sandbox_does_not_show_is_looked_for_once(jail: Jail) -> None:
    class Unchecked(Disturbed):
        async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
            return replace(await super().wrap(*args, **options), program=None)

    sandbox, cwd = Unchecked(jail, lambda _: None), str(jail.workspace)
    async with await launch(
        sandbox, [f"{cwd}/program"], cwd=cwd, env=os.environ, profile=read_only(), reaper=jail.reaper
    ) as process:
        ran = await jail.ended(process)
    assert (ran.code, sandbox.built) == (127, 1)
    assert "no such program" in ran.err


async def test_only_the_sandbox_that_holds_gets_a_proxy(jail: Jail) -> None:
    sandbox = Disturbed(jail, moved(jail, 2))
    served: list[socket.socket] = []
    profile = PermissionProfile(
        "restricted", network=False, writable_roots=(str(jail.workspace),), proxy=NetworkProxySettings()
    )
    async with await start(jail, sandbox, "echo up", profile=profile, proxy_port=8080, serve=served.append) as process:
        assert (await jail.ended(process)).out == "up\n"
    assert served == sandbox.bridges[2:]
    assert [bridge.fileno() for bridge in sandbox.bridges[:2]] == [-1, -1]
    with served[0]:
        message, fds, _, _ = socket.recv_fds(served[0], 16, 4, socket.MSG_CMSG_CLOEXEC)
        for fd in fds:
            os.close(fd)
        assert (message, len(fds)) == (b"x", 1)


async def test_whoever_is_cancelled_while_a_sandbox_is_built_leaves_nothing(jail: Jail) -> None:
    before = len(os.listdir("/proc/self/fd"))
    begun: list[int] = []
    wrapped = anyio.Event()

    async def begin(sandbox: Sandbox) -> None:
        async with await start(jail, sandbox, "true") as process:
            begun.append(process.pid)

    class Stopped(Waiting):
        async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
            command = await super().wrap(*args, **options)
            wrapped.set()
            return command

    sandbox = Stopped(jail, lambda _: None)
    async with anyio.create_task_group() as group:
        group.start_soon(begin, sandbox)
        await wrapped.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (sandbox.built, begun) == (1, [])
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_sandbox_that_takes_long_is_handed_over_as_it_is(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_server.exec.process.BEGIN_S", 0.01)

    sandbox = Waiting(jail, lambda _: None)
    async with await start(jail, sandbox, "echo out") as process:
        await until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        os.kill(process.pid, signal.SIGCONT)
        assert await jail.ended(process) == Ran(0, "out\n", "")
    assert sandbox.built == 1


async def test_a_command_without_a_sandbox_is_there_at_once(jail: Jail) -> None:
    async with await start(jail, jail.sandbox, "exit 126", profile=FULL_ACCESS) as process:
        assert await process.begins()
        assert (await jail.ended(process)).code == 126


async def test_what_cannot_be_confined_is_refused_once(jail: Jail) -> None:
    sandbox = Disturbed(jail, lambda _: None)
    (jail.workspace / ".git").symlink_to("/")
    with pytest.raises(SandboxUnavailable, match="symbolic link"):
        await start(jail, sandbox, "true")
    assert sandbox.built == 0
