"""exec_command: what it takes, what it reports, and what clients see of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import profile_for
from app_server.sandbox.sandbox import choose_sandbox
from app_server.tools.context import ToolCall, TurnContext
from app_server.tools.orchestrator import ToolOrchestrator
from app_server.tools.registry import ToolRegistry
from app_server.tools.shell import ShellTool, cut_middle
from protocol.v2.permissions import DangerFullAccessSandboxPolicy


class Sink:
    """Keeps what a tool tells of its item."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.done: list[Any] = []
        self.text = ""
        self.printed = anyio.Event()

    async def started(self, item: Any) -> None:
        self.begun.append(item)

    def output_delta(self, item_id: str, text: str) -> None:
        assert item_id == self.begun[-1].id
        self.text += text
        self.printed.set()

    async def congestion(self) -> None:
        pass

    async def completed(self, item: Any) -> None:
        self.done.append(item)


class Bench:
    """The tool with a turn to run in."""

    def __init__(self, tools: ToolRegistry, cwd: Path) -> None:
        self._tools, self._cwd = tools, cwd
        self.sink = Sink()
        self.interrupted = False
        self.context = self.turn("never")

    def turn(self, policy: str) -> TurnContext:
        """A turn under an approval policy, without a sandbox."""
        return TurnContext(
            thread_id="t",
            turn_id="u",
            cwd=str(self._cwd),
            profile=profile_for(DangerFullAccessSandboxPolicy(), roots=(str(self._cwd),)),
            approval_policy=policy,
            items=self.sink,
            interrupted=lambda: self.interrupted,
        )

    async def call(self, arguments: dict[str, Any] | str, name: str = "exec_command") -> str:
        """What the model reads."""
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        return (await self._tools.dispatch(ToolCall("call_1", name, text), self.context)).text


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Reaper() as reaper:
        shell = ShellTool(ToolOrchestrator(choose_sandbox(), reaper, lambda: {"PATH": "/usr/bin:/bin"}))
        yield Bench(ToolRegistry([shell]), tmp_path)


async def test_a_command_reports_its_exit_code_and_output(bench: Bench) -> None:
    report = await bench.call({"cmd": "echo out; echo err >&2; exit 4"})
    assert "Process exited with code 4\nOutput:\n" in report
    assert sorted(report.splitlines()[-2:]) == ["err", "out"]
    (begun,), (done,) = bench.sink.begun, bench.sink.done
    assert (begun.status, begun.exit_code, begun.completed_at_ms) == ("inProgress", None, None)
    assert (done.id, done.status, done.exit_code, done.source) == ("call_1", "failed", 4, "unifiedExecStartup")
    assert done.aggregated_output == bench.sink.text
    assert begun.command_actions[0].command == "echo out; echo err >&2; exit 4"


async def test_a_command_without_output_has_none(bench: Bench) -> None:
    await bench.call({"cmd": "true"})
    assert (bench.sink.done[0].status, bench.sink.done[0].aggregated_output) == ("completed", None)


async def test_characters_that_are_split_between_reads_come_whole(bench: Bench) -> None:
    await bench.call({"cmd": "printf '\\303'; sleep 0.05; printf '\\244\\377'"})
    assert bench.sink.text == bench.sink.done[0].aggregated_output == "ä\ufffd"


async def test_the_folder_can_be_chosen_relative_to_the_workspace(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert str(tmp_path / "below") in await bench.call({"cmd": "pwd", "workdir": "below"})
    assert (await bench.call({"cmd": "pwd", "workdir": "/"})).endswith("Output:\n/\n")


async def test_a_missing_folder_is_told_to_the_model(bench: Bench) -> None:
    report = await bench.call({"cmd": "pwd", "workdir": "/no/such/folder"})
    assert report.startswith("exec_command failed: ")
    assert bench.sink.done[0].status == "failed"


async def test_a_timeout_keeps_the_output_and_says_so(bench: Bench) -> None:
    report = await bench.call({"cmd": "echo begun; sleep 86400", "timeout_ms": 200})
    assert "Process timed out after" in report
    assert "begun" in report
    assert (bench.sink.done[0].exit_code, bench.sink.done[0].aggregated_output) == (124, "begun\n")


async def test_an_interrupt_stops_the_command_and_keeps_its_output(bench: Bench) -> None:
    reports: list[str] = []

    async def run() -> None:
        reports.append(await bench.call({"cmd": "echo begun; sleep 86400"}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await bench.sink.printed.wait()
        for expiration in list(bench.context.running):
            expiration.cancel("interrupted")
    assert "aborted by user" in reports[0]
    assert bench.sink.done[0].aggregated_output == "begun\n"
    assert bench.context.running == set()


async def test_a_command_of_an_interrupted_turn_is_stopped_at_once(bench: Bench) -> None:
    bench.interrupted = True
    assert "aborted by user" in await bench.call({"cmd": "sleep 86400"})


async def test_long_output_is_cut_in_the_middle_for_the_model(bench: Bench) -> None:
    report = await bench.call({"cmd": "seq 100000", "max_output_tokens": 100})
    assert "characters cut" in report
    assert "\n1\n2\n" in report
    assert report.endswith("\n99999\n100000\n")
    assert len(report) < 700


@pytest.mark.parametrize("policy", ["untrusted", "on-request", "never"])
async def test_what_would_need_an_approval_does_not_run(bench: Bench, tmp_path: Path, policy: str) -> None:
    bench.context = bench.turn(policy)
    escalated = {} if policy == "untrusted" else {"sandbox_permissions": "require_escalated"}
    report = await bench.call({"cmd": "touch ran", **escalated})
    assert report.startswith("exec_command failed: rejected: ")
    assert not (tmp_path / "ran").exists()
    assert bench.sink.begun == []


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "{}", '{"cmd": 1}', '{"cmd": "true", "workdir": 1}', '{"cmd": "true", "timeout_ms": true}']
)
async def test_wrong_arguments_are_explained(bench: Bench, arguments: str) -> None:
    report = await bench.call(arguments)
    assert report.startswith("exec_command failed: failed to parse function arguments: ")
    assert bench.sink.begun == []


async def test_an_unknown_tool_is_named(bench: Bench) -> None:
    assert await bench.call({}, name="nothing") == "unsupported call: nothing"


@given(st.text(max_size=300), st.integers(min_value=0, max_value=300))
def test_cutting_keeps_both_ends(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    if len(text) <= limit:
        assert cut == text
    else:
        head, tail = limit // 2, limit - limit // 2
        assert cut.startswith(text[:head])
        assert cut.endswith(text[len(text) - tail :])
        assert f"{len(text) - limit} characters" in cut
