"""`command/exec` of the real program: policies, named profiles, the configured mode, and who may touch what."""

import base64
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.sandbox.conftest import Jail, sleeping, until
from tests.support.daemon import Daemon, running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, RpcClient

FULL: dict[str, object] = {"type": "dangerFullAccess"}
READ_ONLY: dict[str, object] = {"type": "readOnly"}
WORKSPACE: dict[str, object] = {"type": "workspaceWrite", "excludeSlashTmp": True, "excludeTmpdirEnvVar": True}


@pytest.fixture
async def daemon(jail: Jail, tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon whose own directory is its home, where the configured mode lets commands write."""
    del jail  # only for its skip
    more = "[sandbox_workspace_write]\nexclude_slash_tmp = true\nexclude_tmpdir_env_var = true"
    home = make_home(tmp_path / "home", settings={"sandbox_mode": "workspace-write"}, more=more)
    async with running_daemon(home) as daemon:
        yield daemon


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[RpcClient]:
    async with daemon.client() as client:
        await client.initialize()
        yield client


def shell(script: str, **params: Any) -> dict[str, Any]:
    return {"command": ["/bin/sh", "-c", script], **params}


async def test_policies_are_rooted_at_the_daemon_and_named_profiles_at_the_command(
    client: RpcClient, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = (
        f"for d in {tmp_path}/home {elsewhere} {tmp_path}; do (: >$d/x) 2>/dev/null && basename $d; rm -f $d/x; done"
    )
    written = {
        "configured": {},
        "full": {"sandboxPolicy": FULL},
        "external": {"sandboxPolicy": {"type": "externalSandbox"}},
        "read-only": {"sandboxPolicy": READ_ONLY},
        "workspace": {"sandboxPolicy": WORKSPACE},
        "roots": {"sandboxPolicy": {**WORKSPACE, "writableRoots": [str(elsewhere)]}},
        ":read-only": {"permissionProfile": ":read-only"},
        ":danger-full-access": {"permissionProfile": ":danger-full-access"},
    }
    results: dict[str, str] = {}
    for name, params in written.items():
        result = await client.call("command/exec", shell(script, cwd=str(elsewhere), **params))
        results[name] = " ".join(result["stdout"].split())
    everywhere = f"home elsewhere {tmp_path.name}"
    assert results == {
        "configured": "home",
        "full": everywhere,
        "external": everywhere,
        "read-only": "",
        "workspace": "home",
        "roots": "home elsewhere",
        ":read-only": "",
        ":danger-full-access": everywhere,
    }
    assert not any(name.startswith(".git") for name in os.listdir(tmp_path / "home"))


async def test_the_workspace_profile_opens_the_directory_of_the_command(client: RpcClient, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    params = shell("echo in >in; echo x >.git/x", cwd=str(elsewhere), permissionProfile=":workspace")
    result = await client.call("command/exec", params)
    assert "Read-only file system" in result["stderr"]
    assert os.listdir(elsewhere) == ["in"]


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"command": []}, -32600, "command must not be empty"),
        (
            {"command": ["true"], "sandboxPolicy": FULL, "permissionProfile": ":read-only"},
            -32600,
            "`permissionProfile` cannot be combined with `sandboxPolicy`",
        ),
        (
            {"command": ["true"], "permissionProfile": "nobody's"},
            -32600,
            "invalid permission profile: unknown permission profile `nobody's`; "
            "known profiles: `:read-only`, `:workspace`, `:danger-full-access`",
        ),
        (
            {"command": ["no-such-program"], "sandboxPolicy": READ_ONLY},
            -32603,
            "failed to spawn command: No such file or directory (os error 2)",
        ),
    ],
)
async def test_what_cannot_be_run_is_refused(
    client: RpcClient, params: dict[str, Any], code: int, message: str
) -> None:
    answer = await client.try_call("command/exec", params)
    assert (answer["error"]["code"], answer["error"]["message"]) == (code, message)


@pytest.mark.parametrize("policy", [FULL, READ_ONLY], ids=["in the open", "confined"])
async def test_a_terminal_command_is_written_resized_and_terminated(
    client: RpcClient, policy: dict[str, object]
) -> None:
    size = {"rows": 31, "cols": 101}
    script = "stty size; read line; echo got $line; stty size; sleep 1000"
    running = await client.post(
        "command/exec", shell(script, processId="t", tty=True, size=size, sandboxPolicy=policy, timeoutMs=60_000)
    )
    seen = b""

    async def read_until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            delta = (await client.until("command/exec/outputDelta"))["params"]
            assert (delta["processId"], delta["stream"], delta["capReached"]) == ("t", "stdout", False)
            seen += base64.b64decode(delta["deltaBase64"])

    await read_until(b"31 101")
    await client.call("command/exec/resize", {"processId": "t", "size": {"rows": 45, "cols": 132}})
    line = base64.b64encode(b"hello\n").decode()
    await client.call("command/exec/write", {"processId": "t", "deltaBase64": line})
    await read_until(b"got hello\r\n45 132\r\n")
    assert await client.call("command/exec/terminate", {"processId": "t"}) == {}
    answer = await client.answer_to(running)
    assert answer["result"] == {"exitCode": 1, "stdout": "", "stderr": ""}


@pytest.mark.parametrize("policy", [FULL, READ_ONLY, WORKSPACE], ids=["in the open", "read-only", "workspace"])
@pytest.mark.parametrize("end", ["client leaves", "daemon is killed", "daemon stops"])
async def test_no_command_outlives_its_client_or_the_daemon(
    daemon: Daemon, tmp_path: Path, policy: dict[str, object], end: str
) -> None:
    marker = f"1002.{os.getpid()}{abs(hash((end, str(policy)))) % 10_000}"
    script = f"setsid sleep {marker} & sleep {marker} & echo up; sleep {marker}"
    params = shell(script, processId="p", streamStdoutStderr=True, sandboxPolicy=policy, disableTimeout=True)
    async with daemon.client() as stays, daemon.client() as leaves:
        await stays.initialize()
        await leaves.initialize()
        await leaves.post("command/exec", params)
        await leaves.until("command/exec/outputDelta")
        await until(lambda: len(sleeping(marker)) == 3)
        with pytest.raises(CallFailed, match="no active command/exec"):
            await stays.call("command/exec/terminate", {"processId": "p"})
        if end == "daemon is killed":
            daemon.signal(signal.SIGKILL)
        elif end == "daemon stops":
            await daemon.stop()
    await until(lambda: not sleeping(marker))
    if end != "daemon is killed":
        await until(lambda: not any(name.startswith(".git") for name in os.listdir(tmp_path / "home")))


async def test_sixteen_confined_commands_at_once_all_answer(client: RpcClient) -> None:
    results: list[str] = []

    async def run(number: int) -> None:
        policy = (READ_ONLY, WORKSPACE, FULL)[number % 3]
        result = await client.call("command/exec", shell(f"echo {number}", sandboxPolicy=policy, timeoutMs=60_000))
        results.append(result["stdout"].strip())

    async with anyio.create_task_group() as group:
        for number in range(16):
            group.start_soon(run, number)
    assert sorted(results, key=int) == [str(number) for number in range(16)]
