"""How the daemon ends, and two daemons on one home."""

import signal
from base64 import b64decode
from pathlib import Path

import anyio
import pytest

from tests.support.daemon import running_daemon, stdio_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, ConnectionClosed, Message, RpcClient
from tests.support.scripted_model import ScriptedModel, gate, partial, say, tool_call
from tests.support.stage import (
    Stage,
    Transport,
    assert_balanced,
    begin,
    completed_items,
    ended,
    item_started,
    listen_on,
    run_turn,
    set_stage,
    text,
)

network = pytest.mark.parametrize("transport", ["unix", "ws"])
SHUTTING_DOWN = {
    "code": -32600,
    "message": "Server is draining; retry after reconnecting",
    "data": {"reason": "serverShuttingDown"},
}


async def half_said(stage: Stage, client: RpcClient) -> tuple[str, str, anyio.Event]:
    """A thread, its turn that has said half of its answer, and what lets it say the rest."""
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("half", item_id="msg_d"), gate(opening), say("half and half", item_id="msg_d"))
    turn_id = await begin(client, thread)
    await client.until("item/agentMessage/delta")
    return thread, turn_id, opening


@pytest.mark.parametrize(
    ("transport", "number"),
    [("ws", signal.SIGTERM), ("unix", signal.SIGTERM), ("ws", signal.SIGINT), ("unix", signal.SIGHUP)],
)
async def test_the_first_signal_lets_running_turns_end(
    tmp_path: Path, transport: Transport, number: signal.Signals
) -> None:
    async with set_stage(tmp_path, transport) as stage:
        client, other = await stage.client(), await stage.client()
        done = await stage.thread(client)
        await run_turn(client, done)
        thread, turn_id, opening = await half_said(stage, client)
        stage.daemon.signal(number)
        await refused(client, done)

        for method in ("turn/start", "thread/start", "thread/fork", "thread/shellCommand", "command/exec"):
            params = {"threadId": done, "input": text("x"), "command": "true"}
            assert (await client.try_call(method, params))["error"] == SHUTTING_DOWN, method
        assert len((await other.call("thread/list"))["data"]) == 2
        assert (await other.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
        assert await client.call("thread/name/set", {"threadId": done, "name": "still works"}) == {}
        late = await stage.client("late")
        assert len((await late.call("thread/list"))["data"]) == 2
        answer = await late.call("thread/resume", {"threadId": thread})
        assert answer["thread"]["turns"][0]["items"][-1]["text"] == "half"

        opening.set()
        turn = await ended(client, turn_id)
        assert turn["status"] == "completed"
        assert_balanced(client, turn_id)
        for each in (client, other, late):
            await each.closed.wait()
            assert each.notifications("thread/status/changed")[-1]["params"]["status"] == {"type": "idle"}
        assert (await ended(late, turn_id)) == turn
        assert await stage.daemon.process.wait() == 0


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def refused(client: RpcClient, thread: str) -> None:
    """Ask until new work is refused: the signal may arrive after the first questions."""
    while "error" not in await client.try_call(
        "thread/fork", {"threadId": thread, "ephemeral": True, "excludeTurns": True}
    ):
        pass


@network
async def test_an_idle_daemon_ends_at_the_first_signal(tmp_path: Path, transport: Transport) -> None:
    async with set_stage(tmp_path, transport) as stage:
        client = await stage.client()
        await run_turn(client, await stage.thread(client))
        stage.daemon.signal(signal.SIGTERM)
        assert await stage.daemon.process.wait() == 0
        await client.closed.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_interrupts_what_runs(tmp_path: Path, number: signal.Signals) -> None:
    async with set_stage(tmp_path) as stage:
        client, other = await stage.client(), await stage.client()
        empty = await stage.thread(client)
        thread = await stage.thread(client, sandbox="danger-full-access")
        await other.call("thread/resume", {"threadId": thread})
        stage.model.script(tool_call("exec_command", {"cmd": "echo $$; sleep 86400"}, "call_k"))
        turn_id = await begin(client, thread)
        pid = int((await client.until("item/commandExecution/outputDelta"))["params"]["delta"])
        stage.daemon.signal(number)
        await refused(client, empty)
        stage.daemon.signal(signal.SIGHUP)
        assert (await client.call("thread/read", {"threadId": thread}))["thread"]["status"]["type"] == "active"
        stage.daemon.signal(number)
        for each in (client, other):
            await each.closed.wait()
            assert (await ended(each, turn_id))["status"] == "interrupted"
            assert_balanced(each, turn_id)
        assert await stage.daemon.process.wait() == 0
        assert not is_running(pid)
        command = completed_items(client, turn_id)[-1]
        async with running_daemon(stage.home) as daemon, daemon.client() as again:
            await again.initialize()
            (turn,) = (await again.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
            assert (turn["id"], turn["status"]) == (turn_id, "interrupted")
            assert turn["items"][-1] == command


async def test_stdio_answers_what_was_read_when_its_input_ends(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    async with stdio_daemon(home) as client:
        await client.post("initialize", {"clientInfo": {"name": "pipe", "version": "1"}})
        requests = [await client.post("thread/start", {"cwd": str(tmp_path)})]
        requests += [await client.post("thread/list", {}) for _ in range(50)]
        requests.append(await client.post("command/exec", {"command": ["echo", "hi"]}))
        assert await client.finish() == 0
        answers = [await client.answer_to(request) for request in requests]
        assert all("result" in answer for answer in answers)
        assert answers[-1]["result"]["stdout"] == "hi\n"


@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGINT", "SIGHUP"])
async def test_stdio_interrupts_and_says_so_when_it_is_told_to_end(tmp_path: Path, how: str) -> None:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        model.script(partial("half"), gate(anyio.Event()))
        async with stdio_daemon(home) as client:
            await client.initialize()
            thread = (await client.call("thread/start", {"cwd": str(tmp_path)}))["thread"]["id"]
            turn_id = await begin(client, thread)
            await item_started(client, turn_id, "agentMessage")
            if how != "end of input":
                client.process.send_signal(signal.Signals[how])
            assert await client.finish() == 0
            assert (await ended(client, turn_id))["status"] == "interrupted"
            assert_balanced(client, turn_id)
        async with stdio_daemon(home) as again:
            await again.initialize()
            answer = await again.call("thread/resume", {"threadId": thread})
            (turn,) = answer["thread"]["turns"]
            assert (turn["status"], turn["items"]) == ("interrupted", completed_items(client, turn_id))
            assert (await run_turn(again, thread))["status"] == "completed"


async def test_a_command_that_runs_when_the_input_ends_is_stopped_and_answered(tmp_path: Path) -> None:
    async with stdio_daemon(make_home(tmp_path / "home")) as client:
        await client.initialize()
        command: Message = {"command": ["sh", "-c", "echo $$; exec sleep 86400"], "disableTimeout": True}
        command["sandboxPolicy"] = {"type": "dangerFullAccess"}
        running = await client.post("command/exec", {**command, "processId": "p", "streamStdoutStderr": True})
        told = await client.until("command/exec/outputDelta")
        assert await client.finish() == 0
        assert "result" in await client.answer_to(running)
        assert not is_running(int(b64decode(told["params"]["deltaBase64"])))


async def test_a_second_daemon_reads_what_the_first_writes_and_does_not_write_it(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        await run_turn(client, thread, "one")
        async with running_daemon(stage.home) as second, second.client() as reader:
            await reader.initialize()
            assert f"another turnloom (pid {stage.daemon.pid}" in second.stderr
            _, turn_id, opening = await half_said(stage, client)
            listed = await reader.call("thread/list", {})
            assert thread in [row["id"] for row in listed["data"]]
            shown = await reader.call("thread/read", {"threadId": thread, "includeTurns": True})
            ours = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
            assert shown["thread"]["turns"] == ours["thread"]["turns"]
            assert shown["thread"]["status"] == {"type": "notLoaded"}
            for method in ("thread/resume", "thread/archive", "thread/delete", "thread/name/set"):
                with pytest.raises(CallFailed) as failure:
                    await reader.call(method, {"threadId": thread, "name": "mine"})
                assert failure.value.code == -32600
                assert str(stage.daemon.pid) in failure.value.message
            fork = (await reader.call("thread/fork", {"threadId": thread}))["thread"]
            assert fork["turns"] == ours["thread"]["turns"]
            opening.set()
            assert (await ended(client, turn_id))["status"] == "completed"
            assert (await run_turn(reader, fork["id"], "elsewhere"))["status"] == "completed"
            assert (await run_turn(client, thread, "two"))["status"] == "completed"


async def test_a_second_daemon_takes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage, running_daemon(stage.home) as second, second.client() as heir:
        await heir.initialize()
        async with running_daemon(stage.home) as first, first.client() as client:
            await client.initialize()
            thread, turn_id, _ = await half_said(stage, client)
            first.signal(signal.SIGKILL)
            await client.closed.wait()
            await first.process.wait()
        answer = await heir.call("thread/resume", {"threadId": thread})
        (turn,) = answer["thread"]["turns"]
        assert (turn["id"], turn["status"]) == (turn_id, "interrupted")
        assert turn["items"] == completed_items(client, turn_id)
        assert (await run_turn(heir, thread, "go on"))["status"] == "completed"
        assert "hello" in str(stage.model.requests[-1]["input"])


async def test_a_thread_that_was_unloaded_elsewhere_can_be_taken(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        await run_turn(client, thread)
        async with running_daemon(stage.home) as second, second.client() as other:
            await other.initialize()
            await client.call("thread/archive", {"threadId": thread})
            await other.call("thread/unarchive", {"threadId": thread})
            await other.call("thread/resume", {"threadId": thread})
            assert (await run_turn(other, thread))["status"] == "completed"
            with pytest.raises(CallFailed, match=str(second.pid)):
                await client.call("thread/resume", {"threadId": thread})


async def test_a_client_that_waits_when_the_daemon_is_killed_is_cut_off(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        _, turn_id, _ = await half_said(stage, client)
        stage.daemon.signal(signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            await ended(client, turn_id)


async def test_a_new_daemon_takes_the_socket_of_a_killed_one(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    listen = listen_on("unix", home)
    async with running_daemon(home, listen) as daemon:
        daemon.signal(signal.SIGKILL)
        await daemon.process.wait()
    async with running_daemon(home, listen) as daemon, daemon.client() as client:
        await client.initialize()
        assert (await client.call("thread/list"))["data"] == []
