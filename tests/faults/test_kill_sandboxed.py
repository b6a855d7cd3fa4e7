"""kill -9 while a sandboxed command runs: the command dies, nothing of the sandbox stays, git obeys nothing of it."""

import os
import signal
from base64 import b64decode
from contextlib import suppress
from pathlib import Path

import anyio

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import ConnectionClosed, Message

NAMES = {".git", ".agents", ".codex", ".aws"}
REPOSITORY = {"HEAD", "objects", "refs"}


async def test_the_next_start_puts_the_folder_of_a_killed_command_in_order(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:9")
    folder = tmp_path / "folder"
    folder.mkdir()
    policy = {
        "type": "workspaceWrite",
        "writableRoots": [str(folder)],
        "excludeSlashTmp": True,
        "excludeTmpdirEnvVar": True,
    }
    command = {
        "command": ["sh", "-c", "mkdir objects refs; echo ref: refs/heads/main >HEAD; echo running; exec sleep 1000"],
        "processId": "p",
        "streamStdoutStderr": True,
        "disableTimeout": True,
        "sandboxPolicy": policy,
        "cwd": str(folder),
    }
    async with running_daemon(home) as daemon, daemon.client() as client, anyio.create_task_group() as tasks:
        await client.initialize()

        async def run() -> None:
            with suppress(ConnectionClosed):
                await client.try_call("command/exec", command)

        def is_running(message: Message) -> bool:
            return message.get("method") == "command/exec/outputDelta" and b"running" in b64decode(
                message["params"]["deltaBase64"]
            )

        tasks.start_soon(run)
        await client.wait_for(is_running)
        assert set(os.listdir(folder)) == NAMES | REPOSITORY
        daemon.signal(signal.SIGKILL)
        await client.closed.wait()
    assert set(os.listdir(folder)) == NAMES | REPOSITORY
    async with running_daemon(home):
        left = sorted(os.listdir(folder))
        assert left[0].startswith("HEAD.disabled-")
        assert left[1:] == ["objects", "refs"]
        assert NAMES.isdisjoint(os.listdir(home))
