"""command/exec by connection and process id: results, streams and every refusal."""

import base64
import json
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from app_server.exec.client_commands import CommandRequest, CommandResult, decode_base64
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.exec.sessions import CommandSessions
from app_server.sandbox.permissions import FULL_ACCESS, external, read_only
from app_server.sandbox.sandbox import (
    Confinement,
    SandboxedCommand,
    SandboxUnavailable,
    Unsandboxed,
    Unsupported,
)
from protocol.jsonrpc import RpcError
from protocol.v2.command_exec import CommandExecOutputDeltaNotification
from tests.unit.exec.conftest import is_alive


class Sink:
    """Keeps what one client is sent; can be made slow."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.pushed = anyio.Event()
        self.low = anyio.Event()
        self.low.set()

    def push_bytes(self, method: str | None, body: bytes) -> None:
        message = json.loads(body)
        assert method == message["method"] == "command/exec/outputDelta"
        assert isinstance(message["emittedAtMs"], int)
        assert set(message) == {"method", "params", "emittedAtMs"}
        CommandExecOutputDeltaNotification.model_validate(message["params"])
        self.messages.append(message["params"])
        self.pushed.set()
        self.pushed = anyio.Event()

    async def drained(self) -> None:
        await self.low.wait()

    def stream(self, name: str) -> bytes:
        return b"".join(base64.b64decode(m["deltaBase64"]) for m in self.messages if m["stream"] == name)

    async def until(self, text: bytes) -> None:
        while text not in self.stream("stdout"):
            await self.pushed.wait()


@pytest.fixture
async def sessions(reaper: Reaper) -> AsyncIterator[CommandSessions]:
    sessions = CommandSessions(Confinement(Unsupported("no sandbox in these tests")), reaper)
    yield sessions
    await sessions.shutdown()


def request(*command: str, **options: Any) -> CommandRequest:
    return CommandRequest(command=command, profile=options.pop("profile", FULL_ACCESS), **options)


def shell(script: str, **options: Any) -> CommandRequest:
    return request("/bin/sh", "-c", script, **options)


async def refusal(sessions: CommandSessions, wanted: CommandRequest) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await sessions.run(1, Sink(), wanted)
    return caught.value.code, caught.value.message


async def test_a_buffered_command_answers_with_code_and_both_streams(sessions: CommandSessions) -> None:
    sink = Sink()
    result = await sessions.run(1, sink, shell("echo out; echo err >&2; exit 3"))
    assert result == CommandResult(3, "out\n", "err\n")
    assert sink.messages == []


async def test_a_timeout_is_124_with_the_output_so_far(sessions: CommandSessions) -> None:
    assert await sessions.run(1, Sink(), shell("echo a; sleep 60", timeout_ms=300)) == CommandResult(124, "a\n", "")


@pytest.mark.parametrize("tty", [False, True])
async def test_a_timeout_of_zero_is_124_at_once(sessions: CommandSessions, tty: bool) -> None:
    result = await sessions.run(1, Sink(), shell("sleep 60", timeout_ms=0, tty=tty, process_id="p"))
    assert result.exit_code == 124


async def test_a_command_that_catches_the_signal_still_ends_at_its_timeout(sessions: CommandSessions) -> None:
    script = "trap '' TERM INT HUP; setsid sleep 1000 & echo $!; while :; do sleep 0.05; done"
    result = await sessions.run(1, Sink(), shell(script, timeout_ms=300))
    assert result.exit_code == 124
    assert not is_alive(int(result.stdout))


async def test_a_terminal_that_times_out_is_124_too(sessions: CommandSessions) -> None:
    sink = Sink()
    result = await sessions.run(1, sink, shell("echo a; sleep 60", timeout_ms=300, tty=True, process_id="t"))
    assert (result.exit_code, sink.stream("stdout")) == (124, b"a\r\n")


async def test_output_is_capped_for_each_stream(sessions: CommandSessions) -> None:
    script = "printf abcdefgh; printf 123456789 >&2"
    assert await sessions.run(1, Sink(), shell(script, output_bytes_cap=5)) == CommandResult(
        0, "abcde", "12345", stdout_cut=True, stderr_cut=True
    )
    assert await sessions.run(1, Sink(), shell(script, output_bytes_cap=0)) == CommandResult(
        0, "", "", stdout_cut=True, stderr_cut=True
    )


async def test_a_mebibyte_of_each_stream_is_kept_unless_the_cap_is_off(sessions: CommandSessions) -> None:
    script = "head -c 1500000 /dev/zero"
    assert len((await sessions.run(1, Sink(), shell(script))).stdout) == 1 << 20
    assert len((await sessions.run(1, Sink(), shell(script, disable_output_cap=True))).stdout) == 1_500_000


async def test_streamed_output_comes_as_notifications_and_not_in_the_result(sessions: CommandSessions) -> None:
    sink = Sink()
    wanted = shell('printf out; printf err >&2; printf "\\377"', process_id='id "quoted"', stream_output=True)
    assert await sessions.run(1, sink, wanted) == CommandResult(0, "", "")
    assert (sink.stream("stdout"), sink.stream("stderr")) == (b"out\xff", b"err")
    assert {m["processId"] for m in sink.messages} == {'id "quoted"'}
    assert not any(m["capReached"] for m in sink.messages)


@pytest.mark.parametrize(("text", "cut"), [("abcde", False), ("abcdef", True)])
async def test_the_cap_is_reported_only_when_something_was_cut(sessions: CommandSessions, text: str, cut: bool) -> None:
    sink = Sink()
    wanted = shell(f"printf {text}; printf e >&2", process_id="p", stream_output=True, output_bytes_cap=5)
    await sessions.run(1, sink, wanted)
    assert (sink.stream("stdout"), sink.stream("stderr")) == (b"abcde", b"e")
    assert [m["capReached"] for m in sink.messages if m["stream"] == "stdout"] == [cut]


async def test_after_a_reported_cap_nothing_of_that_stream_follows(sessions: CommandSessions) -> None:
    sink = Sink()
    script = "printf abcdefgh; sleep 0.05; printf more; printf e >&2"
    await sessions.run(1, sink, shell(script, process_id="p", stream_output=True, output_bytes_cap=5))
    assert [m["capReached"] for m in sink.messages if m["stream"] == "stdout"] == [True]
    assert sink.stream("stderr") == b"e"


async def test_a_slow_client_makes_only_its_own_command_wait(sessions: CommandSessions) -> None:
    slow = Sink()
    slow.low = anyio.Event()
    results: list[int] = []

    async def flood() -> None:
        wanted = shell("head -c 3000000 /dev/zero", process_id="p", stream_output=True, disable_output_cap=True)
        results.append((await sessions.run(1, slow, wanted)).exit_code)

    async with anyio.create_task_group() as group:
        group.start_soon(flood)
        assert (await sessions.run(2, Sink(), shell("echo quick"))).stdout == "quick\n"
        await slow.until(b"\0")
        assert len(slow.messages) == 1
        slow.low.set()
    assert results == [0]
    assert len(slow.stream("stdout")) == 3_000_000


async def test_input_is_written_and_closed(sessions: CommandSessions) -> None:
    sink = Sink()
    async with anyio.create_task_group() as group:

        async def talk() -> None:
            await sink.until(b"ready")
            await sessions.write(1, "p", encode("hello "), close_stdin=False)
            await sessions.write(1, "p", encode("world"), close_stdin=True)

        group.start_soon(talk)
        wanted = shell("printf ready; cat", process_id="p", stream_stdin=True, stream_output=True)
        assert await sessions.run(1, sink, wanted) == CommandResult(0, "", "")
    assert sink.stream("stdout") == b"readyhello world"


async def test_a_terminal_streams_takes_input_and_is_resized(sessions: CommandSessions) -> None:
    sink = Sink()
    async with anyio.create_task_group() as group:

        async def talk() -> None:
            await sink.until(b"31 101")
            await sessions.resize(1, "t", Size(45, 132))
            await sessions.write(1, "t", encode("line\n"), close_stdin=False)

        group.start_soon(talk)
        script = "stty size; read x; echo $x; stty size; echo $TERM"
        wanted = shell(script, process_id="t", tty=True, size=Size(31, 101), env={"TERM": "vt100"})
        assert await sessions.run(1, sink, wanted) == CommandResult(0, "", "")
    assert sink.stream("stdout") == b"31 101\r\nline\r\nline\r\n45 132\r\nvt100\r\n"


@pytest.mark.parametrize(("tty", "code"), [(False, 137), (True, 1)])
async def test_terminate_ends_the_tree_and_the_command_answers_afterwards(
    sessions: CommandSessions, tty: bool, code: int
) -> None:
    sink = Sink()
    order: list[str] = []
    result: CommandResult | None = None
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await sink.until(b"\n")
            sessions.terminate(1, "p")
            order.append("told")

        group.start_soon(stop)
        script = "trap 'echo trapped; exit 5' TERM; setsid sleep 1000 & echo $!; while :; do sleep 0.05; done"
        result = await sessions.run(1, sink, shell(script, process_id="p", tty=tty, stream_output=True))
        order.append("answered")
    assert (order, result) == (["told", "answered"], CommandResult(code, "", ""))
    assert b"trapped" not in sink.stream("stdout")
    assert not is_alive(int(sink.stream("stdout").split()[0]))


async def test_a_command_whose_sandbox_is_still_being_prepared_takes_input_and_can_be_terminated(
    reaper: Reaper,
) -> None:
    class Slow(Unsandboxed):
        prepared = anyio.Event()

        async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
            await self.prepared.wait()
            return await super().wrap(*args, **options)

    sandbox, sink = Slow(), Sink()
    sessions = CommandSessions(sandbox, reaper)
    results: dict[str, CommandResult] = {}

    async def run(process_id: str) -> None:
        wanted = shell("cat", process_id=process_id, stream_stdin=True)
        results[process_id] = await sessions.run(1, sink, wanted)

    async with anyio.create_task_group() as group:
        group.start_soon(run, "write")
        group.start_soon(run, "stop")
        await anyio.wait_all_tasks_blocked()
        for part in ("one ", "two "):
            group.start_soon(partial(sessions.write, 1, "write", encode(part), close_stdin=False))
        group.start_soon(partial(sessions.write, 1, "write", encode("three"), close_stdin=True))
        sessions.terminate(1, "stop")
        await anyio.wait_all_tasks_blocked()
        sandbox.prepared.set()
    assert results == {"write": CommandResult(0, "one two three", ""), "stop": CommandResult(137, "", "")}


async def test_input_for_a_command_that_fails_to_start_is_refused(reaper: Reaper) -> None:
    class Failing(Unsandboxed):
        async def wrap(self, *args: Any, **options: Any) -> SandboxedCommand:
            await anyio.wait_all_tasks_blocked()
            raise SandboxUnavailable("cannot")

    sessions = CommandSessions(Failing(), reaper)
    refused: list[str] = []

    async def write() -> None:
        with pytest.raises(RpcError) as caught:
            await sessions.write(1, "p", encode("x"), close_stdin=False)
        refused.append(caught.value.message)

    async with anyio.create_task_group() as group:
        group.start_soon(refusal, sessions, shell("cat", process_id="p", stream_stdin=True))
        group.start_soon(write)
    assert refused == ['no active command/exec for process id "p"']


async def test_a_process_id_belongs_to_its_connection_and_is_free_again_afterwards(sessions: CommandSessions) -> None:
    first, second = Sink(), Sink()
    async with anyio.create_task_group() as group:
        waiting = shell("echo up; cat", process_id="p", stream_stdin=True, stream_output=True)
        group.start_soon(sessions.run, 1, first, waiting)
        await first.until(b"up")
        assert await refusal(sessions, waiting) == (-32600, 'duplicate active command/exec process id: "p"')
        with pytest.raises(RpcError, match='no active command/exec for process id "p"'):
            sessions.terminate(2, "p")
        group.start_soon(sessions.run, 2, second, waiting)
        await second.until(b"up")
        await sessions.write(1, "p", None, close_stdin=True)
        await sessions.write(2, "p", None, close_stdin=True)
    assert await sessions.run(1, Sink(), request("/bin/true", process_id="p")) == CommandResult(0, "", "")
    assert await sessions.run(1, Sink(), request("/bin/true", process_id="")) == CommandResult(0, "", "")


async def test_a_connection_that_goes_takes_its_commands_with_it_and_no_others(sessions: CommandSessions) -> None:
    gone, other = Sink(), Sink()
    wanted = shell("setsid sleep 1000 & echo $!; sleep 1000", process_id="p", stream_output=True, timeout_ms=60_000)
    results: dict[int, CommandResult] = {}

    async def run(connection: int, sink: Sink) -> None:
        results[connection] = await sessions.run(connection, sink, wanted)

    async with anyio.create_task_group() as group:
        group.start_soon(run, 1, gone)
        group.start_soon(run, 2, other)
        await gone.until(b"\n")
        await other.until(b"\n")
        await sessions.close_connection(1)
        assert not is_alive(int(gone.stream("stdout")))
        assert is_alive(int(other.stream("stdout")))
        assert list(results) == [1]
        await sessions.shutdown()
        assert not is_alive(int(other.stream("stdout")))
    assert await refusal(sessions, wanted) == (-32600, "the server is shutting down")


async def test_closing_a_connection_without_commands_is_nothing(sessions: CommandSessions) -> None:
    await sessions.close_connection(7)


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (request(), -32600, "command must not be empty"),
        (request("x", timeout_ms=-1), -32602, "command/exec timeoutMs must be non-negative, got -1"),
        (
            request("x", timeout_ms=1, disable_timeout=True),
            -32602,
            "command/exec cannot set both timeoutMs and disableTimeout",
        ),
        (
            request("x", output_bytes_cap=1, disable_output_cap=True),
            -32602,
            "command/exec cannot set both outputBytesCap and disableOutputCap",
        ),
        (request("x", size=Size(1, 1), process_id="p"), -32602, "command/exec size requires tty: true"),
        (
            request("x", size=Size(0, 1), tty=True, process_id="p"),
            -32602,
            "command/exec size rows and cols must be greater than 0",
        ),
        *(
            (
                request("x", **{option: True}),
                -32600,
                "command/exec tty or streaming requires a client-supplied processId",
            )
            for option in ("tty", "stream_stdin", "stream_output")
        ),
        (request(""), -32603, "failed to spawn command: missing program for pipe spawn"),
        (request("", tty=True, process_id="p"), -32603, "failed to spawn command: missing program for PTY spawn"),
        (request("/no/such"), -32603, "failed to spawn command: No such file or directory (os error 2)"),
        (request("true", cwd="/no/such"), -32603, "failed to spawn command: No such file or directory (os error 2)"),
        (request("/etc"), -32603, "failed to spawn command: Permission denied (os error 13)"),
        (request("x\0"), -32603, "failed to spawn command: nul byte found in provided data"),
        (request("true", profile=read_only()), -32603, "failed to spawn command: no sandbox in these tests"),
    ],
)
async def test_a_request_that_cannot_be_met_is_refused_in_words_that_clients_know(
    sessions: CommandSessions, wanted: CommandRequest, code: int, message: str
) -> None:
    assert await refusal(sessions, wanted) == (code, message)
    # Nothing of it stays behind.
    if wanted.process_id is not None:
        assert await refusal(sessions, wanted) == (code, message)


async def test_what_is_wrong_is_told_in_the_order_that_clients_know(sessions: CommandSessions) -> None:
    everything: dict[str, Any] = {
        "size": Size(0, 0),
        "output_bytes_cap": 1,
        "disable_output_cap": True,
        "timeout_ms": -1,
        "disable_timeout": True,
        "stream_stdin": True,
    }
    wanted = request("x", **everything)
    seen: list[str] = []
    for repair in (
        {"size": None},
        {"disable_output_cap": False},
        {"disable_timeout": False},
        {"timeout_ms": None},
        {"stream_stdin": False},
    ):
        seen.append((await refusal(sessions, wanted))[1])
        wanted = replace(wanted, **repair)
    assert [text.removeprefix("command/exec ").split()[0] for text in seen] == [
        "size",
        "cannot",
        "cannot",
        "timeoutMs",
        "tty",
    ]


@pytest.mark.parametrize(
    ("delta", "close", "code", "message"),
    [
        (None, False, -32602, "command/exec/write requires deltaBase64 or closeStdin"),
        ("!!", False, -32602, "invalid deltaBase64: Invalid symbol 33, offset 0."),
        ("YQ==", False, -32600, 'no active command/exec for process id "zz"'),
        (None, True, -32600, 'no active command/exec for process id "zz"'),
    ],
)
async def test_writing_to_nothing_is_refused(
    sessions: CommandSessions, delta: str | None, close: bool, code: int, message: str
) -> None:
    with pytest.raises(RpcError) as caught:
        await sessions.write(1, "zz", delta, close_stdin=close)
    assert (caught.value.code, caught.value.message) == (code, message)


async def test_size_is_checked_before_the_process_id(sessions: CommandSessions) -> None:
    with pytest.raises(RpcError, match="rows and cols must be greater than 0"):
        await sessions.resize(1, "zz", Size(0, 1))
    with pytest.raises(RpcError, match='no active command/exec for process id "zz"'):
        await sessions.resize(1, "zz", Size(1, 1))


async def test_what_a_running_command_does_not_offer_is_refused(sessions: CommandSessions) -> None:
    sink = Sink()
    async with anyio.create_task_group() as group:
        wanted = shell("echo up; sleep 1000", process_id="p", stream_output=True)
        group.start_soon(sessions.run, 1, sink, wanted)
        await sink.until(b"up")
        with pytest.raises(RpcError, match="stdin streaming is not enabled for this command/exec"):
            await sessions.write(1, "p", encode("x"), close_stdin=False)
        with pytest.raises(RpcError, match="failed to resize PTY: process is not attached to a PTY"):
            await sessions.resize(1, "p", Size(1, 1))
        sessions.terminate(1, "p")
        with pytest.raises(RpcError, match='command/exec "p" is no longer running'):
            sessions.terminate(1, "p")


async def test_after_the_input_was_closed_only_closing_is_allowed(sessions: CommandSessions) -> None:
    sink = Sink()
    async with anyio.create_task_group() as group:
        wanted = shell("echo up; cat; sleep 1000", process_id="p", stream_stdin=True, stream_output=True)
        group.start_soon(sessions.run, 1, sink, wanted)
        await sink.until(b"up")
        await sessions.write(1, "p", None, close_stdin=True)
        with pytest.raises(RpcError, match="stdin is already closed"):
            await sessions.write(1, "p", encode("x"), close_stdin=False)
        await sessions.write(1, "p", None, close_stdin=True)
        sessions.terminate(1, "p")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("YQ", "Invalid padding"),
        ("YQ=", "Invalid padding"),
        ("YQ=== ", "Invalid symbol 61, offset 2."),
        ("YQ===", "Invalid symbol 61, offset 2."),
        ("YQ==YQ==", "Invalid symbol 61, offset 2."),
        ("YR==", "Invalid last symbol 82, offset 1."),
        ("a", "Invalid input length: 1"),
        ("abcde", "Invalid input length: 5"),
        ("ab\ncd", "Invalid symbol 10, offset 2."),
        ("abc-", "Invalid symbol 45, offset 3."),
        ("ab==", "Invalid last symbol 98, offset 1."),
        ("a=bc", "Invalid symbol 61, offset 1."),
        ("a===", "Invalid symbol 61, offset 1."),
        ("é", "Invalid symbol 195, offset 0."),
    ],
)
def test_base64_is_taken_strictly(text: str, fault: str) -> None:
    with pytest.raises(RpcError) as caught:
        decode_base64(text)
    assert (caught.value.code, caught.value.message) == (-32602, f"invalid deltaBase64: {fault}")


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_good_base64_is_decoded(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


async def test_an_external_sandbox_only_sets_the_flag(sessions: CommandSessions) -> None:
    script = "echo [$CODEX_SANDBOX_NETWORK_DISABLED]"
    results = [
        (await sessions.run(1, Sink(), shell(script, profile=profile))).stdout
        for profile in (external(), external(network=True), FULL_ACCESS)
    ]
    assert results == ["[1]\n", "[]\n", "[]\n"]


async def test_a_restricted_command_never_runs_without_a_sandbox(reaper: Reaper, tmp_path: Path) -> None:
    sessions = CommandSessions(Unsandboxed(), reaper)
    code, message = await refusal(sessions, shell(f"touch {tmp_path}/written", profile=read_only()))
    assert (code, "restricts this command" in message) == (-32603, True)
    assert os.listdir(tmp_path) == []


async def test_environment_and_directory_are_those_asked_for(sessions: CommandSessions, tmp_path: Path) -> None:
    wanted = shell('echo "[$A] [$HOME] $(pwd)"', env={"A": "x", "HOME": None}, cwd=str(tmp_path))
    assert (await sessions.run(1, Sink(), wanted)).stdout == f"[x] [] {tmp_path}\n"


async def test_a_relative_directory_is_meant_from_the_daemons_own(
    sessions: CommandSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    outputs: list[str] = [
        (await sessions.run(1, Sink(), request("pwd", cwd=cwd))).stdout for cwd in (None, "", ".", "sub")
    ]
    assert outputs == [f"{tmp_path}\n"] * 3 + [f"{tmp_path}/sub\n"]


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_a_daemon_whose_own_directory_is_gone_still_runs_commands_elsewhere(
    sessions: CommandSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert (await refusal(sessions, request("pwd")))[1] == (
        "failed to spawn command: No such file or directory (os error 2)"
    )
    assert (await sessions.run(1, Sink(), request("pwd", cwd="/"))).stdout == "/\n"
