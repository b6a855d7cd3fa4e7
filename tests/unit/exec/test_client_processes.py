"""process/* by connection and handle: what they share with command/exec is tested there."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from app_server.config.settings import CommandLimits
from app_server.exec.client_commands import COMMANDS, PROCESSES, CommandRequest, CommandResult, Family
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.exec.sessions import CommandSessions
from app_server.sandbox.permissions import FULL_ACCESS
from app_server.sandbox.sandbox import Confinement, Unsupported
from protocol.jsonrpc import RpcError
from protocol.v2.process import ProcessOutputDeltaNotification
from tests.unit.exec.conftest import is_alive

TOO_MANY = (
    "the command was stopped: it and what it started ran more than 3 processes and threads at once "
    "(command_limits.processes)"
)
THREE = CommandLimits(None, 3, None)
MANY = "for i in 1 2 3 4; do sleep 1000 & done; wait"


class Client:
    """One connection that starts processes: what it is sent, and how they ended, in one order."""

    def __init__(self, sessions: CommandSessions, tasks: TaskGroup, connection_id: int = 1) -> None:
        self.sessions, self.tasks, self.id = sessions, tasks, connection_id
        self.news: list[dict[str, Any] | CommandResult] = []
        self._told = anyio.Event()

    async def spawn(self, script: str, handle: str = "p", **options: Any) -> None:
        wanted = request("/bin/sh", "-c", script, process_id=handle, **options)
        await self.sessions.spawn(self.id, self, wanted, self.look_after, self._tell)

    def look_after(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.tasks.start_soon(function)

    def push_bytes(self, method: str | None, body: bytes) -> None:
        message = json.loads(body)
        assert method == message["method"] == "process/outputDelta"
        ProcessOutputDeltaNotification.model_validate(message["params"])
        self._tell(message["params"])

    async def drained(self) -> None:
        pass

    def _tell(self, news: dict[str, Any] | CommandResult) -> None:
        self.news.append(news)
        self._told.set()
        self._told = anyio.Event()

    def output(self, stream: str = "stdout") -> bytes:
        deltas = [each for each in self.news if isinstance(each, dict)]
        return b"".join(base64.b64decode(each["deltaBase64"]) for each in deltas if each["stream"] == stream)

    async def until(self, text: bytes) -> None:
        while text not in self.output():
            await self._told.wait()

    async def end(self) -> CommandResult:
        """How the process ended that is the next to end."""
        while True:
            for each in self.news:
                if isinstance(each, CommandResult):
                    self.news.remove(each)
                    return each
            await self._told.wait()


@pytest.fixture
async def sessions(reaper: Reaper) -> AsyncIterator[CommandSessions]:
    sessions = CommandSessions(Confinement(Unsupported("no sandbox in these tests")), reaper)
    yield sessions
    await sessions.shutdown()


@pytest.fixture
async def client(sessions: CommandSessions) -> AsyncIterator[Client]:
    async with anyio.create_task_group() as tasks:
        yield Client(sessions, tasks)
        tasks.cancel_scope.cancel()


def request(*command: str, **options: Any) -> CommandRequest:
    return CommandRequest(command=command, profile=FULL_ACCESS, family=PROCESSES, **options)


async def test_a_process_runs_on_after_its_request_and_tells_its_end(client: Client) -> None:
    await client.spawn("echo out; echo err >&2; exit 3")
    assert await client.end() == CommandResult(3, "out\n", "err\n")


async def test_streamed_output_comes_before_the_end_and_is_not_repeated(client: Client) -> None:
    await client.spawn("printf out; printf err >&2", 'a "quoted" handle', stream_output=True)
    end = await client.end()
    assert end == CommandResult(0, "", "")
    assert (client.output(), client.output("stderr")) == (b"out", b"err")
    assert {each["processHandle"] for each in client.news if isinstance(each, dict)} == {'a "quoted" handle'}


async def test_a_handle_is_free_when_the_end_is_told(client: Client) -> None:
    for _ in range(3):
        await client.spawn("true")
        await client.end()


async def test_processes_and_commands_have_names_of_their_own(client: Client) -> None:
    await client.spawn("read line; exit 5", "same", stream_stdin=True)
    with pytest.raises(RpcError, match='no active command/exec for process id "same"'):
        client.sessions.terminate(client.id, "same")
    done = await client.sessions.run(
        client.id, client, CommandRequest(command=["/bin/true"], profile=FULL_ACCESS, process_id="same")
    )
    assert done.exit_code == 0
    await client.sessions.write(client.id, "same", "Cg==", close_stdin=False, family=PROCESSES)
    assert (await client.end()).exit_code == 5


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (request(process_id="p"), -32600, "command must not be empty"),
        (request("x", process_id=""), -32600, "processHandle must not be empty"),
        (request("x", process_id="p", size=Size(1, 1)), -32602, "process/spawn size requires tty: true"),
        (
            request("x", process_id="p", tty=True, size=Size(0, 1)),
            -32602,
            "process size rows and cols must be greater than 0",
        ),
        (
            request("x", process_id="p", timeout_ms=-1),
            -32602,
            "process/spawn timeoutMs must be non-negative, got -1",
        ),
        (request("", process_id="p"), -32603, "failed to spawn process: missing program for pipe spawn"),
        (
            request("/no/such", process_id="p"),
            -32603,
            "failed to spawn process: No such file or directory (os error 2)",
        ),
    ],
)
async def test_a_process_that_cannot_start_is_refused_in_words_that_clients_know(
    client: Client, wanted: CommandRequest, code: int, message: str
) -> None:
    for _ in range(2):  # and its handle is free afterwards
        with pytest.raises(RpcError) as caught:
            await client.sessions.spawn(client.id, client, wanted, client.look_after, client.news.append)
        assert (caught.value.code, caught.value.message) == (code, message)


async def test_what_cannot_be_done_to_a_process_is_refused_in_words_that_clients_know(client: Client) -> None:
    sessions = client.sessions
    await client.spawn("sleep 1000", "s")
    with pytest.raises(RpcError, match='duplicate active process handle: "s"'):
        await client.spawn("true", "s")
    refusals = [
        ("s", None, False, -32602, "process/writeStdin requires deltaBase64 or closeStdin"),
        ("s", "%%%", False, -32602, "invalid deltaBase64: Invalid symbol 37, offset 0."),
        ("s", "eA==", False, -32600, "stdin streaming is not enabled for this process"),
        ("zz", None, True, -32600, 'no active process for process handle "zz"'),
    ]
    for handle, delta, close, code, message in refusals:
        with pytest.raises(RpcError) as caught:
            await sessions.write(client.id, handle, delta, close_stdin=close, family=PROCESSES)
        assert (caught.value.code, caught.value.message) == (code, message)
    with pytest.raises(RpcError, match="failed to resize PTY: process is not attached to a PTY"):
        await sessions.resize(client.id, "s", Size(1, 1), PROCESSES)
    with pytest.raises(RpcError, match="process size rows and cols must be greater than 0"):
        await sessions.resize(client.id, "zz", Size(0, 1), PROCESSES)
    sessions.terminate(client.id, "s", PROCESSES)
    with pytest.raises(RpcError, match='no active process for process handle "s"'):
        sessions.terminate(client.id, "s", PROCESSES)
    assert (await client.end()).exit_code == 137


async def test_a_kill_that_comes_right_behind_finds_the_process(client: Client) -> None:
    await client.spawn("trap '' TERM INT; while :; do sleep 0.1; done")
    client.sessions.terminate(client.id, "p", PROCESSES)
    assert (await client.end()).exit_code == 137


async def test_output_that_something_holds_open_is_not_waited_for_and_the_end_says_so(client: Client) -> None:
    await client.spawn("sleep 1000 & echo $!")
    end = await client.end()
    assert (end.exit_code, end.drain_timed_out) == (0, True)
    assert not is_alive(int(end.stdout))


async def test_the_end_tells_which_stream_was_cut(client: Client) -> None:
    await client.spawn("printf abcdef; printf abc >&2", output_bytes_cap=3)
    assert await client.end() == CommandResult(0, "abc", "abc", stdout_cut=True)


async def test_a_connection_that_ends_takes_its_processes_along_and_no_others(
    client: Client, sessions: CommandSessions
) -> None:
    other = Client(sessions, client.tasks, connection_id=2)
    await other.spawn("cat", stream_stdin=True)
    tasks = anyio.create_task_group()
    leaving = Client(sessions, tasks, connection_id=3)
    async with tasks:
        await leaving.spawn("setsid sleep 1000 & echo $!; wait", stream_output=True)
        await leaving.until(b"\n")
        tasks.cancel_scope.cancel()
    assert not is_alive(int(leaving.output()))
    await sessions.write(2, "p", None, close_stdin=True, family=PROCESSES)
    assert (await other.end()).exit_code == 0


@pytest.mark.parametrize("family", [COMMANDS, PROCESSES])
async def test_a_limit_that_was_hit_is_told_on_stderr(client: Client, family: Family) -> None:
    wanted = CommandRequest(
        command=["/bin/sh", "-c", f"printf whole >&2; {MANY}"],
        profile=FULL_ACCESS,
        limits=THREE,
        family=family,
        process_id="p",
        output_bytes_cap=5,
    )
    result = await client.sessions.run(client.id, client, wanted)
    assert result == CommandResult(137, "", f"whole\n{TOO_MANY}\n")


async def test_a_limit_that_was_hit_is_told_where_streamed_output_goes(client: Client) -> None:
    await client.spawn(MANY, stream_output=True, limits=THREE)
    assert await client.end() == CommandResult(137, "", "")
    assert client.output("stderr").decode() == f"{TOO_MANY}\n"


async def test_a_limit_that_was_hit_is_told_in_the_terminal(client: Client) -> None:
    await client.spawn(MANY, tty=True, limits=THREE)
    assert await client.end() == CommandResult(137, "", "")
    assert client.output().decode().endswith(f"{TOO_MANY}\r\n")


async def test_a_limit_that_was_hit_is_told_at_the_end_where_no_more_output_may_be_sent(client: Client) -> None:
    await client.spawn(f"printf abc >&2; {MANY}", stream_output=True, output_bytes_cap=2, limits=THREE)
    assert await client.end() == CommandResult(137, "", f"{TOO_MANY}\n", stderr_cut=True)
    assert client.output("stderr") == b"ab"
