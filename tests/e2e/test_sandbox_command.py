"""`turnloom sandbox` as users run it, and what clients are told where commands are confined by less than the best."""

import os
import signal
import sys
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest

from app_server.sandbox.landlock import Landlock
from app_server.sandbox.sandbox import SandboxUnavailable, choose_sandbox
from tests.support.daemon import PROGRAM, running_daemon, stdio_daemon
from tests.support.home import environment, make_home


class Terminal:
    """Where `turnloom` is called: a folder, and a home with a configuration."""

    def __init__(self, folder: Path) -> None:
        self.cwd, self.home = folder / "project", make_home(folder / "home")
        self.cwd.mkdir()
        self.env = environment(self.home)

    async def run(self, *words: str, stdin: bytes = b"") -> CompletedProcess[bytes]:
        """`turnloom WORDS`."""
        return await anyio.run_process([*PROGRAM, *words], input=stdin, env=self.env, cwd=self.cwd, check=False)


@pytest.fixture(params=["bubblewrap", "Landlock"])
async def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Terminal:
    try:
        await (choose_sandbox() if request.param == "bubblewrap" else Landlock()).available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO {request.param.upper()} HERE, ITS TESTS DO NOT RUN: {error}")
    terminal = Terminal(tmp_path)
    if request.param == "Landlock":
        terminal.env["PATH"] = without_bubblewrap(tmp_path)
    return terminal


def without_bubblewrap(folder: Path) -> str:
    """A search path on which bubblewrap comes first as one that does not work."""
    place = folder / "bin"
    place.mkdir()
    program = place / "bwrap"
    program.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


async def test_a_command_reads_everything_writes_nothing_and_gets_the_terminals_streams(terminal: Terminal) -> None:
    done = await terminal.run("sandbox", "sh", "-c", "cat; echo $0 $# >&2; echo x > file; exit 7", "-x", stdin=b"typed")
    assert (done.returncode, done.stdout) == (7, b"typed")
    assert done.stderr.startswith(b"-x 0\n")
    assert b"file" in done.stderr
    assert list(terminal.cwd.iterdir()) == []


async def test_a_named_profile_opens_the_folder_in_which_the_command_runs(terminal: Terminal) -> None:
    (terminal.cwd / "inner" / ".git").mkdir(parents=True)
    script = "pwd; echo x > file && echo x > .git/config"
    done = await terminal.run("sandbox", "-P", ":workspace", "-c", "x=1", "-C", "inner", "--", "sh", "-c", script)
    assert done.stdout.decode() == f"{terminal.cwd}/inner\n"
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert sorted(os.listdir(terminal.cwd / "inner")) == [".git", "file"]
    assert os.listdir(terminal.cwd / "inner" / ".git") == []


async def test_the_configured_mode_applies_and_so_does_one_on_the_command_line(terminal: Terminal) -> None:
    (terminal.home / "config.toml").write_text(
        'sandbox_mode = "workspace-write"\nsandbox_workspace_write.exclude_slash_tmp = true\n'
    )
    assert (await terminal.run("sandbox", "touch", "one")).returncode == 0
    assert (await terminal.run("sandbox", "-c", "sandbox_mode=read-only", "touch", "two")).returncode == 1
    assert (await terminal.run("-c", 'sandbox_mode="danger-full-access"', "sandbox", "touch", "two")).returncode == 0
    assert sorted(os.listdir(terminal.cwd)) == ["one", "two"]


async def test_a_profile_of_the_configuration_can_be_named(terminal: Terminal) -> None:
    with (terminal.home / "config.toml").open("a") as file:
        file.write('[permissions.mine.filesystem]\n":root" = "read"\n":workspace_roots" = "write"\n')
    assert (await terminal.run("sandbox", "-P", "mine", "touch", "file")).returncode == 0
    done = await terminal.run("sandbox", "-P", "yours", "true")
    assert done.returncode == 1
    assert done.stderr.startswith(b"turnloom: error: unknown permission profile `yours`; known profiles: ")


async def test_without_network_nothing_is_reached(terminal: Terminal) -> None:
    code = "import socket; socket.socket()"
    done = await terminal.run("sandbox", sys.executable, "-I", "-S", "-c", code)
    assert b"PermissionError" in done.stderr
    done = await terminal.run("sandbox", "sh", "-c", "echo $CODEX_SANDBOX_NETWORK_DISABLED")
    assert done.stdout == b"1\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["sh", "-c", "kill -9 $$"], 137, b""),
        (["sh", "-c", "kill -TERM $$"], 143, b""),
        ([], 1, b"turnloom: error: sandbox command must not be empty\n"),
        (["--"], 1, b"turnloom: error: sandbox command must not be empty\n"),
        (["no-such-program"], 127, b"turnloom: error: no-such-program: No such file or directory (os error 2)\n"),
        (["/etc"], 126, b"turnloom: error: /etc: Permission denied (os error 13)\n"),
        (["-C", "nowhere", "true"], 1, b"turnloom: error: -C nowhere: there is no such directory\n"),
    ],
)
async def test_the_end_of_a_command_and_why_there_was_none(
    terminal: Terminal, words: list[str], code: int, text: bytes
) -> None:
    done = await terminal.run("sandbox", *words)
    assert (done.returncode, done.stderr) == (code, text)


async def test_a_request_to_end_reaches_the_command(terminal: Terminal) -> None:
    script = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    # With full access there is no wrapper that would take the command along.
    words = ["-c", "sandbox_mode=danger-full-access", "sandbox", "sh", "-c", script]
    async with await anyio.open_process([*PROGRAM, *words], env=terminal.env, cwd=terminal.cwd) as process:
        assert process.stdout is not None
        assert await process.stdout.receive() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert await process.stdout.receive() == b"told\n"
        assert await process.wait() == 5


async def test_clients_are_told_once_that_a_weaker_sandbox_is_in_force(tmp_path: Path) -> None:
    try:
        await Landlock().available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO LANDLOCK HERE, ITS TESTS DO NOT RUN: {error}")
    home = make_home(tmp_path / "home", "http://127.0.0.1:9/v1")
    async with running_daemon(home, PATH=without_bubblewrap(tmp_path)) as daemon:
        for _ in range(2):
            async with daemon.client() as client:
                await client.initialize()
                warning = (await client.until("configWarning"))["params"]
                assert warning["summary"] == (
                    "Commands are confined by Landlock, because bubblewrap cannot be used here."
                )
                assert "No permissions to create new namespace" in warning["details"]
                assert "kernel.unprivileged_userns_clone=1" in warning["details"]
                done = await client.call("command/exec", {"command": ["touch", "x"], "cwd": str(tmp_path)})
                assert done["exitCode"] == 1
                assert "Permission denied" in done["stderr"]


async def test_with_the_best_sandbox_there_is_nothing_to_tell(tmp_path: Path) -> None:
    report = await choose_sandbox().report()
    if report.summary is not None:
        pytest.skip(f"NO BUBBLEWRAP HERE, ITS TESTS DO NOT RUN: {report.details}")
    home = make_home(tmp_path / "home", "http://127.0.0.1:9/v1")
    async with stdio_daemon(home) as client:
        await client.initialize()
        await client.call("command/exec", {"command": ["true"]})
        assert client.notifications("configWarning") == []
