"""`turnloom sandbox` as users run it, and what clients are told where commands are confined by less than the best."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest

from app_server.confine import STARTED_AGAIN
from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.landlock import Landlock
from app_server.sandbox.sandbox import TRIES, SandboxUnavailable, choose_sandbox
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
        done = await anyio.run_process([*PROGRAM, *words], input=stdin, env=self.env, cwd=self.cwd, check=False)
        # Other tests' repositories come and go in /tmp, and what they disturbed was started again.
        done.stderr = done.stderr.rpartition(f"turnloom: {STARTED_AGAIN}\n".encode())[2]
        return done


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


DISTURBED = """
import sys
from pathlib import Path
from app_server import cli, confine
from app_server.sandbox.sandbox import choose_sandbox

class Disturbed:
    def __init__(self, sandbox):
        self.sandbox, self.built = sandbox, 0

    async def wrap(self, *args, **options):
        command = await self.sandbox.wrap(*args, **options)
        if self.built < int(sys.argv[1]):
            Path(f"at{self.built}").rename(f"at{self.built + 1}")
        self.built += 1
        return command

confine.choose_sandbox = lambda *args: Disturbed(choose_sandbox(*args))
sys.exit(cli.main(["sandbox", "-P", ":workspace", "sh", "-c", "echo once >>ran; echo out; exit 5"]))
"""


@pytest.mark.parametrize("times", [0, 2, TRIES])
async def test_a_command_whose_sandbox_others_broke_is_started_again(tmp_path: Path, times: int) -> None:
    terminal = Terminal(tmp_path)
    try:
        await Bubblewrap().available()
    except SandboxUnavailable as error:
        pytest.skip(f"nothing is mounted for a command here: {error}")
    (terminal.cwd / "at0" / ".git" / "hooks").mkdir(parents=True)
    argv = [sys.executable, "-c", DISTURBED, str(times)]
    done = await anyio.run_process(argv, env=terminal.env, cwd=terminal.cwd, check=False)
    told = done.stderr.decode().splitlines()
    if times == TRIES:
        assert (done.returncode, done.stdout, (terminal.cwd / "ran").exists()) == (126, b"", False)
    else:
        assert (done.returncode, done.stdout, (terminal.cwd / "ran").read_text()) == (5, b"out\n", "once\n")
    assert told.count(f"turnloom: {STARTED_AGAIN}") >= min(times, TRIES - 1)


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


FETCH = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["x-proxy-error"])
"""


def managed(terminal: Terminal, more: str) -> None:
    """Commands have a network, by the proxy only."""
    (terminal.home / "config.toml").write_text(
        'sandbox_mode = "workspace-write"\nsandbox_workspace_write.network_access = true\n'
        f"[features.network_proxy]\nenabled = true\n{more}\n"
    )


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """The URL of a server of this machine that greets."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_managed_network_is_served_while_the_command_runs(terminal: Terminal, site: str) -> None:
    managed(terminal, 'domains = { "127.0.0.1" = "allow" }')
    words = ["sandbox", sys.executable, "-I", "-c", FETCH, site, "http://other.test/", "http://other.test/again"]
    done = await terminal.run(*words)
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == ["hello", *["403 blocked-by-allowlist"] * 2]
    assert done.stderr.decode().splitlines() == [
        'turnloom: Network access to "other.test" was blocked: domain is not on the allowlist for the current sandbox '
        'mode. To allow it, put this into a rules file: network_rule(host="other.test", protocol="http", '
        'decision="allow", justification="Allow http access to other.test")'
    ]


async def test_what_the_rules_refuse_is_told_and_the_exit_code_is_the_commands(terminal: Terminal, site: str) -> None:
    managed(terminal, 'domains = { "denied.test" = "deny" }')
    code = FETCH + "sys.exit(3)"
    done = await terminal.run("sandbox", sys.executable, "-I", "-c", code, site, "http://denied.test/")
    assert (done.returncode, done.stdout) == (3, b"403 blocked-by-allowlist\n403 blocked-by-denylist\n")
    assert done.stderr.decode().splitlines() == [
        'turnloom: Network access to "127.0.0.1" was blocked: local/private network addresses are blocked by the '
        "sandbox policy.",
        'turnloom: Network access to "denied.test" was blocked: domain is explicitly denied by policy and cannot be '
        "approved from this prompt.",
    ]


async def test_around_the_proxy_nothing_is_reached(terminal: Terminal, site: str) -> None:
    managed(terminal, 'domains = { "127.0.0.1" = "allow" }')
    code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
    port = site.rsplit(":", 1)[1].strip("/")
    done = await terminal.run("sandbox", sys.executable, "-I", "-S", "-c", code, port)
    assert (done.returncode, b"ConnectionRefusedError" in done.stderr) == (1, True)


async def test_learn_mode_ends_with_the_rules_that_would_have_been_needed(terminal: Terminal) -> None:
    managed(terminal, "learn = true")
    words = ["sandbox", sys.executable, "-I", "-c", FETCH, "http://one.invalid/", "http://two.invalid/"]
    done = await terminal.run(*words)
    assert done.stdout.decode().splitlines() == ["502 None"] * 2
    assert done.stderr.decode().splitlines() == [
        "turnloom: learn mode let this command reach hosts that no rule allows; rules that would allow them:",
        *(
            f'network_rule(host="{host}", protocol="http", decision="allow", '
            f'justification="Allow http access to {host}")'
            for host in ("one.invalid", "two.invalid")
        ),
    ]


async def test_a_rule_of_the_users_rules_files_opens_a_host(terminal: Terminal) -> None:
    managed(terminal, "")
    (terminal.home / "rules").mkdir(exist_ok=True)
    rule = 'network_rule(host="one.invalid", protocol="http", decision="allow", justification="of course")\n'
    (terminal.home / "rules" / "mine.rules").write_text(rule)
    done = await terminal.run("sandbox", sys.executable, "-I", "-c", FETCH, "http://one.invalid/")
    assert (done.stdout, done.stderr) == (b"502 None\n", b"")


@pytest.mark.parametrize("network", [False, True], ids=["no network", "managed network"])
async def test_signals_reach_a_confined_command_or_end_its_sandbox(terminal: Terminal, network: bool) -> None:
    if network:
        managed(terminal, "")
    async with await anyio.open_process(
        [*PROGRAM, "sandbox", "sh", "-c", "echo up; exec sleep 1000"], env=terminal.env, cwd=terminal.cwd
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.receive() == b"up\n"
        process.send_signal(signal.SIGINT)  # as of a terminal that has sent it to the command as well
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


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
