"""process/*: programs that a client starts and keeps, over real connections."""

import os
import signal
from base64 import b64decode, b64encode
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import gate, partial, say
from tests.support.stage import Stage, begin, ended, set_stage

every_transport = pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])


def shell(stage: Stage, script: str, handle: str = "p", **more: Any) -> Message:
    return {"command": ["/bin/sh", "-c", script], "cwd": str(stage.cwd), "processHandle": handle, **more}


async def exited(client: RpcClient, handle: str = "p") -> Message:
    def is_end(message: Message) -> bool:
        return message.get("method") == "process/exited" and message["params"]["processHandle"] == handle

    return (await client.wait_for(is_end))["params"]


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def output(client: RpcClient, handle: str = "p", stream: str = "stdout") -> str:
    told = [message["params"] for message in client.notifications("process/outputDelta")]
    return b"".join(
        b64decode(each["deltaBase64"]) for each in told if (each["processHandle"], each["stream"]) == (handle, stream)
    ).decode()


async def shows(client: RpcClient, text: str) -> None:
    """Wait until the process has printed `text`."""
    while text not in output(client):
        await client.until("process/outputDelta")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@every_transport
async def test_a_process_is_answered_before_it_ends_and_its_end_tells_what_it_printed(stage: Stage) -> None:
    client = await stage.client()
    assert await client.call("process/spawn", shell(stage, "pwd; echo err >&2; exit 3")) == {}
    assert await exited(client) == {
        "processHandle": "p",
        "exitCode": 3,
        "stdout": f"{stage.cwd}\n",
        "stdoutCapReached": False,
        "stderr": "err\n",
        "stderrCapReached": False,
        "outputDrainTimedOut": False,
    }
    told = [message for message in client.received if message.get("method") != "configWarning"]
    assert [message.get("method", "answer") for message in told[-2:]] == ["answer", "process/exited"]


@every_transport
async def test_input_goes_in_and_output_comes_out_while_it_runs(stage: Stage) -> None:
    client = await stage.client()
    script = "while read l; do echo got $l; done; echo end >&2"
    await client.call("process/spawn", shell(stage, script, streamStdin=True, streamStdoutStderr=True))
    await client.call("process/writeStdin", {"processHandle": "p", "deltaBase64": encoded("one\n")})
    await shows(client, "got one\n")
    await client.call("process/writeStdin", {"processHandle": "p", "deltaBase64": encoded("two\n"), "closeStdin": True})
    end = await exited(client)
    assert (end["exitCode"], end["stdout"], end["stderr"]) == (0, "", "")
    assert (output(client), output(client, stream="stderr")) == ("got one\ngot two\n", "end\n")


@every_transport
async def test_a_terminal_has_the_size_that_it_is_given(stage: Stage) -> None:
    client = await stage.client()
    script = "stty size; read line; stty size; read line"
    await client.call("process/spawn", shell(stage, script, tty=True, size={"rows": 31, "cols": 101}))
    await shows(client, "31 101\r\n")
    await client.call("process/resizePty", {"processHandle": "p", "size": {"rows": 45, "cols": 132}})
    await client.call("process/writeStdin", {"processHandle": "p", "deltaBase64": encoded("\n")})
    await shows(client, "45 132\r\n")
    assert await client.call("process/kill", {"processHandle": "p"}) == {}
    assert (await exited(client))["exitCode"] == 1


async def test_a_kill_takes_the_whole_tree(stage: Stage) -> None:
    client = await stage.client()
    script = "trap '' TERM; setsid sleep 1000 & echo $!; wait"
    await client.call("process/spawn", shell(stage, script, streamStdoutStderr=True))
    await shows(client, "\n")
    await client.call("process/kill", {"processHandle": "p"})
    assert (await exited(client))["exitCode"] == 137
    assert not is_alive(int(output(client)))


async def test_no_timeout_and_no_cap_are_asked_for_by_null(stage: Stage) -> None:
    client = await stage.client()
    large = "head -c 1500000 /dev/zero | tr '\\0' x"
    await client.call("process/spawn", shell(stage, large))
    await client.call("process/spawn", shell(stage, large, "uncapped", outputBytesCap=None))
    await client.call("process/spawn", shell(stage, "sleep 1000", "late", timeoutMs=1))
    capped, uncapped = await exited(client), await exited(client, "uncapped")
    assert (len(capped["stdout"]), capped["stdoutCapReached"]) == (1 << 20, True)
    assert (len(uncapped["stdout"]), uncapped["stdoutCapReached"]) == (1_500_000, False)
    assert (await exited(client, "late"))["exitCode"] == 124


async def test_a_process_belongs_to_its_connection_and_ends_with_it(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    async with stage.daemon.client() as leaving:
        await leaving.initialize()
        script = "setsid sleep 1000 & echo $!; wait"
        await leaving.call("process/spawn", shell(stage, script, streamStdoutStderr=True, timeoutMs=None))
        await shows(leaving, "\n")
        pid = int(output(leaving))
        with pytest.raises(CallFailed, match='no active process for process handle "p"'):
            await client.call("process/kill", {"processHandle": "p"})
        await client.call("process/spawn", shell(stage, f"while kill -0 {pid}; do sleep 0.05; done 2>/dev/null"))
    await exited(client)
    assert not is_alive(pid)
    assert other.notifications("process/exited", "process/outputDelta") == []


async def test_many_long_processes_leave_room_for_requests(stage: Stage) -> None:
    client = await stage.client()
    for number in range(140):
        await client.call("process/spawn", shell(stage, "exec cat", str(number), streamStdin=True, timeoutMs=None))
    assert (await client.call("command/exec", {"command": ["/bin/echo", "hi"]}))["stdout"] == "hi\n"
    for number in range(140):
        await client.call("process/writeStdin", {"processHandle": str(number), "closeStdin": True})
    for number in range(140):
        await client.wait_for(
            lambda message, handle=str(number): (
                message.get("method") == "process/exited" and message["params"]["processHandle"] == handle
            )
        )


async def test_processes_are_for_clients_that_asked_for_the_experimental_api(stage: Stage) -> None:
    client = await stage.client(experimental=False)
    for method in ("process/spawn", "process/writeStdin", "process/kill", "process/resizePty"):
        with pytest.raises(CallFailed, match=f"^-32600: {method} requires experimentalApi capability$"):
            await client.call(method, {})


async def test_a_process_inherits_all_but_the_secrets_and_gets_what_the_client_gives(tmp_path: Path) -> None:
    home = make_home(
        tmp_path / "home",
        "http://127.0.0.1:9/v1",
        more='env_key = "MY_PROVIDER"\n[shell_environment_policy]\ninherit = "none"\nset = { MINE = "set" }',
    )
    variables = {"MY_PROVIDER": "k1", "GITHUB_TOKEN": "t1", "TURNLOOM_X": "x1", "PLAIN": "p1", "GONE": "g1"}
    async with running_daemon(home, **variables) as daemon, daemon.client() as client:
        await client.initialize()
        params = {
            "command": ["/usr/bin/env"],
            "cwd": "/",
            "processHandle": "p",
            "env": {"MY_TOKEN": "m1", "GONE": None},
        }
        await client.call("process/spawn", params)
        process = dict(line.split("=", 1) for line in (await exited(client))["stdout"].splitlines())
        assert {"PLAIN": "p1", "MY_TOKEN": "m1", "PATH": os.environ["PATH"]}.items() <= process.items()
        assert not {"MY_PROVIDER", "GITHUB_TOKEN", "TURNLOOM_X", "GONE", "MINE"} & set(process)

        params = {"command": ["/usr/bin/env"], "sandboxPolicy": {"type": "dangerFullAccess"}, "env": {"MY_TOKEN": "m1"}}
        answer = await client.call("command/exec", params)
        command = dict(line.split("=", 1) for line in answer["stdout"].splitlines())
        command.pop("TURNLOOM_EXECUTION_ID")
        assert command == {"MINE": "set", "MY_TOKEN": "m1"}


async def test_a_daemon_that_drains_starts_no_process_and_takes_those_along_that_run(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        opening = anyio.Event()
        stage.model.script(partial("half", item_id="msg"), gate(opening), say("half and half", item_id="msg"))
        turn_id = await begin(client, await stage.thread(client))
        await client.until("item/agentMessage/delta")
        script = "echo $$; sleep 1000"
        await client.call("process/spawn", shell(stage, script, streamStdoutStderr=True, timeoutMs=None))
        await shows(client, "\n")
        stage.daemon.signal(signal.SIGTERM)
        numbers = count()
        while "error" not in (
            answer := await client.try_call("process/spawn", shell(stage, "true", str(next(numbers))))
        ):
            pass
        assert answer["error"]["message"] == "Server is draining; retry after reconnecting"
        assert is_alive(int(output(client)))
        opening.set()
        await ended(client, turn_id)
        await client.closed.wait()
        assert not is_alive(int(output(client)))
