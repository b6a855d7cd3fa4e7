"""exec_command and write_stdin: what they take, what the model reads, and what clients see."""

import os
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from app_server.approvals.approvals import Declined, TurnCancelled
from app_server.config.settings import CommandLimits, ShellEnvironmentPolicy
from app_server.exec.output import CAPTURE_LIMIT, DELTA_BYTES
from app_server.sandbox.permissions import FULL_ACCESS, read_only, workspace_write
from app_server.tools.arguments import Arguments
from app_server.tools.unified_exec import yield_seconds
from protocol.v2.permissions import AskForApproval, GranularApproval, GranularAskForApproval
from tests.unit.tools.command_bench import Bench, output_of, session_of

GRANULAR = GranularAskForApproval(granular=GranularApproval(sandbox_approval=True, rules=True, mcp_elicitations=True))


async def test_a_command_that_ends_reports_its_exit_code_and_output(commands: Bench) -> None:
    report = await commands.run("echo out; echo err >&2; exit 4")
    shape = r"Chunk ID: [0-9a-f]{6}\nWall time: \d+\.\d{4} seconds\nProcess exited with code 4\n"
    assert re.fullmatch(shape + r"Original token count: 2\nOutput:\n(out\nerr|err\nout)\n", report), report
    (begun,), (done,) = commands.clients.of("started"), commands.clients.of("completed")
    assert (begun.id, begun.status, begun.exit_code, begun.completed_at_ms) == ("call_1", "inProgress", None, None)
    assert (done.id, done.status, done.exit_code, done.source) == ("call_1", "failed", 4, "unifiedExecStartup")
    assert done.aggregated_output == commands.clients.printed
    assert begun.process_id == done.process_id
    assert 1_000 <= int(done.process_id) <= 99_999
    assert begun.command == "/bin/bash -c 'echo out; echo err >&2; exit 4'"
    assert commands.terminals.find("thread", int(done.process_id)) is None


async def test_a_command_without_output_has_none(commands: Bench) -> None:
    report = await commands.run("true")
    assert report.endswith("Process exited with code 0\nOriginal token count: 0\nOutput:\n")
    (done,) = commands.clients.of("completed")
    assert (done.status, done.aggregated_output) == ("completed", None)


async def test_no_input_is_the_end_of_input(commands: Bench) -> None:
    assert output_of(await commands.run("cat; tty; echo done")) == "not a tty\ndone\n"


async def test_the_folder_can_be_chosen_relative_to_the_workspace(commands: Bench) -> None:
    (commands.cwd / "below").mkdir()
    assert output_of(await commands.run("pwd", workdir="below")) == f"{commands.cwd}/below\n"
    assert output_of(await commands.run("pwd", workdir="/")) == "/\n"
    assert output_of(await commands.run("pwd", workdir="")) == f"{commands.cwd}\n"


async def test_a_missing_folder_is_told_to_the_model_and_the_item_fails(commands: Bench) -> None:
    report = await commands.run("pwd", workdir="/no/such/folder")
    assert report == "exec_command failed: the folder /no/such/folder does not exist"
    (begun,), (done,) = commands.clients.of("started"), commands.clients.of("completed")
    assert (begun.process_id, begun.source) == (None, "unifiedExecStartup")
    assert (done.status, done.exit_code) == ("failed", -1)
    assert done.aggregated_output == "the folder /no/such/folder does not exist"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("{", "unexpected end of data: line 1 column 2 (char 1)"),
        ("[]", "expected an object"),
        ("{}", "missing field `cmd`"),
        ('{"cmd": 1}', "`cmd` must be a string"),
        ('{"cmd": "true", "workdir": 1}', "`workdir` must be a string"),
        (r'{"cmd": "true", "workdir": "a\u0000"}', "`workdir` must not contain NUL characters"),
        ('{"cmd": "true", "tty": "yes"}', "`tty` must be true or false"),
        ('{"cmd": "true", "yield_time_ms": -1}', "`yield_time_ms` must be a number that is not negative"),
        ('{"cmd": "true", "max_output_tokens": 1.5}', "`max_output_tokens` must be a number that is not negative"),
        ('{"cmd": "true", "prefix_rule": "ls"}', "`prefix_rule` must be a list of strings"),
        (
            '{"cmd": "true", "sandbox_permissions": "all"}',
            "`sandbox_permissions` must be one of use_default, require_escalated, with_additional_permissions; "
            "got `all`",
        ),
    ],
)
async def test_wrong_arguments_are_explained(commands: Bench, arguments: str, wrong: str) -> None:
    output = await commands.call("exec_command", arguments)
    assert output.text == f"exec_command failed: failed to parse function arguments: {wrong}"
    assert not output.success
    assert commands.clients.told == []


async def test_unknown_arguments_are_ignored_and_an_empty_command_runs(commands: Bench) -> None:
    assert "exited with code 0" in await commands.run("", colour="blue")


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 10), (0, 0.25), (249, 0.25), (251, 0.251), (30_000, 30), (30_001, 30), (5.0, 0.25)]
)
def test_the_wait_for_a_command_has_bounds(asked: float | None, seconds: float) -> None:
    assert yield_seconds(Arguments({"yield_time_ms": asked})) == seconds


async def test_a_login_shell_is_the_default_and_shown_as_one(commands: Bench) -> None:
    await commands.call("exec_command", {"cmd": "true", "shell": "bash"})
    await commands.run("true", shell="bash")
    assert [item.command for item in commands.clients.of("started")] == ["/bin/bash -lc true", "/bin/bash -c true"]


async def test_login_shells_can_be_switched_off(commands: Bench) -> None:
    commands.with_turn(allow_login_shell=False)
    await commands.call("exec_command", {"cmd": "true", "shell": "bash"})
    assert commands.clients.of("started")[0].command == "/bin/bash -c true"
    assert "`allow_login_shell`" in await commands.run("true", login=True)
    spec: Any = commands.exec.spec(commands.turn)
    assert "login" not in spec["parameters"]["properties"]


@pytest.mark.parametrize("shell", ["python3", "/nope", "./bash", "fish"])
async def test_only_shells_of_the_system_run_commands(commands: Bench, shell: str) -> None:
    (commands.cwd / "bash").symlink_to("/bin/bash")
    report = await commands.run("true", shell=shell)
    assert report == f"exec_command failed: `shell` must name one of the system's shells (bash, zsh, sh); got `{shell}`"
    planted = await commands.run("true", shell=f"{commands.cwd}/bash")
    assert "must name one of the system's shells" in planted
    assert commands.sandbox.profiles == []


async def test_a_terminal_has_a_size_and_a_type(commands: Bench) -> None:
    report = await commands.run("stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo terminal", tty=True)
    assert output_of(report) == "24 80\r\nxterm\r\nterminal\r\n"


# What runs on


async def test_a_command_that_runs_on_gets_a_session_that_can_be_polled(commands: Bench) -> None:
    fifo = commands.cwd / "go"
    os.mkfifo(fifo)
    report = await commands.run("echo a; read line < go; echo b; exit 3", yield_time_ms=250)
    session = session_of(report)
    assert output_of(report) == "a\n"
    assert commands.clients.of("detached") == ["call_1"]
    assert commands.clients.of("completed") == []
    await open_for(fifo)
    report = await commands.write(session)
    assert "Process exited with code 3\n" in report
    assert output_of(report) == "b\n"
    (done,) = commands.clients.of("completed")
    assert (done.aggregated_output, done.exit_code, done.process_id) == ("a\nb\n", 3, str(session))
    assert await commands.write(session) == f"write_stdin failed: Unknown process id {session}"


async def open_for(fifo: Path) -> None:
    await anyio.to_thread.run_sync(fifo.write_text, "go\n")


async def test_the_end_of_a_command_is_told_without_a_poll_and_its_output_waits_for_one(commands: Bench) -> None:
    os.mkfifo(commands.cwd / "go")
    session = session_of(await commands.run("read line < go; echo late", yield_time_ms=250))
    await open_for(commands.cwd / "go")
    await commands.clients.until(lambda: len(commands.clients.of("completed")) == 1)
    assert commands.terminals.running("thread") == []
    report = await commands.write(session)
    assert "Process exited with code 0" in report
    assert output_of(report) == "late\n"
    assert "Unknown process id" in await commands.write(session)


async def test_a_terminal_is_written_to(commands: Bench) -> None:
    session = session_of(await commands.run("read word; echo got $word; read more", tty=True, yield_time_ms=250))
    report = await commands.write(session, "hello\n")
    assert output_of(report) == "hello\r\ngot hello\r\n"
    (told,) = commands.clients.of("item/commandExecution/terminalInteraction")
    assert (told.item_id, told.process_id, told.stdin) == ("call_1", str(session), "hello\n")
    report = await commands.write(session, "\x04")
    assert "Process exited with code 1" in report


async def test_a_python_prompt_is_talked_to(commands: Bench) -> None:
    report = await commands.run("python3 -q", tty=True, yield_time_ms=250)
    session = session_of(report)
    seen = output_of(report)
    for line in ("word = 'py' * 2", "print(word.upper())", "exit(7)"):
        report = await commands.write(session, f"{line}\n")
        seen += output_of(report)
    while "exited" not in report:
        report = await commands.write(session)
        seen += output_of(report)
    assert "Process exited with code 7" in report
    assert "\nPYPY\r\n" in seen
    assert commands.clients.of("completed")[0].aggregated_output == seen


async def test_without_a_terminal_there_is_no_input_but_an_interrupt(commands: Bench) -> None:
    session = session_of(await commands.run("sleep 86400", yield_time_ms=250))
    closed = "write_stdin failed: stdin is closed for this session; rerun exec_command with tty=true to keep stdin open"
    assert await commands.write(session, "hello\n") == closed
    assert await commands.write(session, "\x03\x03") == closed
    assert commands.terminals.running("thread") != []
    report = await commands.write(session, "\x03")
    assert "Process exited with code 130\n" in report
    assert commands.clients.of("completed")[0].exit_code == 130
    assert [told.stdin for told in commands.clients.of("item/commandExecution/terminalInteraction")] == ["\x03"]


async def test_a_poll_of_what_runs_on_is_told_and_the_next_is_not_answered_by_another(commands: Bench) -> None:
    commands.with_turn(background_terminal_max_timeout=5_000)
    session = session_of(await commands.run("read word; echo $word; sleep 86400", tty=True, yield_time_ms=250))
    reports: dict[str, str] = {}

    async def write(chars: str) -> None:
        reports[chars] = await commands.write(session, chars)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, "one\n")
        tasks.start_soon(write, "\x03")
    assert output_of(reports["one\n"]) == "one\r\none\r\n"
    assert output_of(reports["\x03"]) == "^C"


async def test_other_threads_do_not_see_a_session(commands: Bench) -> None:
    session = session_of(await commands.run("sleep 86400", yield_time_ms=250))
    commands.turn.thread_id = "other"
    assert await commands.write(session) == f"write_stdin failed: Unknown process id {session}"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "missing field `session_id`"),
        ({"session_id": "x"}, "`session_id` must be a number that is not negative"),
        ({"session_id": 5.5}, "`session_id` must be a number that is not negative"),
        ({"session_id": 5, "chars": 3}, "`chars` must be a string"),
    ],
)
async def test_wrong_arguments_of_write_stdin_are_explained(
    commands: Bench, arguments: dict[str, Any], wrong: str
) -> None:
    output = await commands.call("write_stdin", arguments)
    assert output.text == f"write_stdin failed: failed to parse function arguments: {wrong}"


async def test_a_character_that_is_cut_by_a_poll_comes_whole(commands: Bench) -> None:
    os.mkfifo(commands.cwd / "go")
    script = r"printf 'a\303'; read line < go; printf '\244\377'"
    report = await commands.run(script, yield_time_ms=250)
    assert output_of(report) == "a"
    await open_for(commands.cwd / "go")
    assert output_of(await commands.write(session_of(report))) == "ä\ufffd"
    assert commands.clients.printed == commands.clients.of("completed")[0].aggregated_output == "aä\ufffd"


# Much output


async def test_deltas_are_bounded_and_do_not_split_characters(commands: Bench) -> None:
    await commands.run("yes äöü | head -c 300000")
    sizes = [len(text.encode()) for _, text in commands.clients.of("delta")]
    assert max(sizes) <= DELTA_BYTES
    assert commands.clients.printed.startswith("äöü\näöü\n")
    assert commands.clients.printed == commands.clients.of("completed")[0].aggregated_output


async def test_long_output_is_cut_in_the_middle_for_the_model(commands: Bench) -> None:
    output = output_of(await commands.run("seq 100000", max_output_tokens=100))
    head = "".join(f"{number}\n" for number in range(1, 71))[:200]
    tail = "".join(f"{number}\n" for number in range(99_000, 100_001))[-200:]
    assert output == (
        "Warning: truncated output (original token count: 147224)\nTotal output lines: 100000\n\n"
        f"{head}…147124 tokens truncated…{tail}"
    )


async def test_a_budget_of_nothing_leaves_the_count(commands: Bench) -> None:
    output = output_of(await commands.run("seq 100", max_output_tokens=0))
    expected = "Warning: truncated output (original token count: 73)\nTotal output lines: 100\n\n…73 tokens truncated…"
    assert output == expected


async def test_the_budget_has_an_upper_bound_in_the_settings(commands: Bench) -> None:
    commands.with_turn(tool_output_token_limit=10)
    assert "…63 tokens truncated…" in await commands.run("seq 100", max_output_tokens=1_000)


async def test_of_very_much_output_both_ends_are_kept(commands: Bench) -> None:
    report = await commands.run("echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo end", max_output_tokens=10)
    assert "Original token count: 750003\n" in report
    kept = commands.clients.of("completed")[0].aggregated_output
    assert kept.startswith("begin\nxxx")
    assert kept.endswith("xxxend\n")
    assert f"\n... {3000010 - CAPTURE_LIMIT} bytes omitted ...\n" in kept


# The end of the turn


async def test_an_interrupt_ends_the_wait_and_not_the_command(commands: Bench) -> None:
    reports: list[str] = []

    async def run() -> None:
        reports.append(await commands.run("echo begun; read line; exit 5", tty=True, yield_time_ms=30_000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await commands.clients.until(lambda: "begun" in commands.clients.printed)
        commands.interrupt()
    (report,) = reports
    session = session_of(report)
    assert re.fullmatch(
        rf"Wall time: \d+\.\d seconds\naborted by user\nProcess running with session ID {session}", report
    )
    assert commands.clients.of("detached") == ["call_1"]
    assert commands.turn.running == set()
    commands.interrupted = False
    report = await commands.write(session, "\n")
    assert "begun\r\n" in output_of(report)
    assert "exited with code 5" in report


async def test_a_slow_profile_does_not_hold_up_an_interrupt(commands: Bench) -> None:
    os.mkfifo(commands.cwd / "go")
    (commands.cwd / ".bash_profile").write_text(f"echo > {commands.cwd}/go\nsleep 86400\n")
    commands.with_turn(shell_environment_policy=ShellEnvironmentPolicy(set={"HOME": str(commands.cwd)}))
    reports: list[str] = []

    async def run() -> None:
        reports.append((await commands.call("exec_command", {"cmd": "true", "shell": "bash"})).text)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.to_thread.run_sync((commands.cwd / "go").read_text)
        commands.interrupt()
    assert "aborted by user" in reports[0]


async def test_a_command_of_an_interrupted_turn_does_not_start(commands: Bench) -> None:
    commands.interrupted = True
    assert "aborted by user" in await commands.run("touch ran")
    assert not (commands.cwd / "ran").exists()
    assert commands.clients.told == []


async def test_a_call_that_is_cancelled_leaves_its_command_to_the_thread(commands: Bench) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commands.run, "echo begun; sleep 86400")
        await commands.clients.until(lambda: "begun" in commands.clients.printed)
        tasks.cancel_scope.cancel()
    assert commands.clients.of("detached") == ["call_1"]
    await commands.terminals.close("thread")
    (done,) = commands.clients.of("completed")
    assert (done.status, done.exit_code, done.aggregated_output) == ("failed", -1, "begun\n")


async def test_a_child_that_holds_the_output_is_ended_with_its_command(commands: Bench) -> None:
    report = await commands.run("sleep 86400 & echo $!")
    pid = int(output_of(report))
    assert "exited with code 0" in report
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (done,) = commands.clients.of("completed")
    assert done.duration_ms < 5_000


async def test_a_limit_that_ends_a_command_is_told(commands: Bench) -> None:
    commands.with_turn(command_limits=CommandLimits(memory_mb=None, processes=None, cpu_seconds=1))
    report = await commands.run("while :; do :; done", yield_time_ms=30_000)
    assert "exited with code 137" in report
    assert "cpu_seconds" in output_of(report)
    assert commands.clients.of("completed")[0].aggregated_output == output_of(report) == commands.clients.printed


# Who is asked


async def test_a_command_that_was_asked_about_is_told_before_and_goes_on_as_the_same_item(commands: Bench) -> None:
    commands.with_turn("untrusted")
    report = await commands.run("touch ran")
    assert "exited with code 0" in report
    assert [kind for kind, _ in commands.clients.told] == ["started", "asked", "changed", "completed"]
    (begun,), (done,) = commands.clients.of("started"), commands.clients.of("completed")
    assert (begun.source, begun.process_id) == ("agent", None)
    assert (done.id, done.source, done.started_at_ms) == (begun.id, "unifiedExecStartup", begun.started_at_ms)
    assert done.process_id is not None


async def test_what_was_allowed_for_the_session_begins_like_a_command_that_needs_no_question(commands: Bench) -> None:
    commands.with_turn("untrusted")
    await commands.run("true")
    commands.clients.allowed.add(commands.clients.asked[0].key)
    commands.clients.told.clear()
    await commands.run("true")
    assert commands.clients.told[0][0] == "started"
    assert commands.clients.told[0][1].source == "unifiedExecStartup"
    assert commands.clients.told[0][1].process_id is not None


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (Declined("rejected by user"), "declined", "exec_command failed: rejected by user"),
        (Declined("approval request failed", by_user=False), "failed", "exec_command failed: approval request failed"),
    ],
)
async def test_a_no_is_told_to_the_model_and_completes_the_item(
    commands: Bench, answer: Declined, status: str, text: str
) -> None:
    commands.with_turn("untrusted")
    commands.clients.answers = [answer]
    assert await commands.run("touch ran") == text
    (done,) = commands.clients.of("completed")
    assert (done.status, done.source, done.exit_code, done.aggregated_output) == (status, "agent", None, None)
    assert not (commands.cwd / "ran").exists()


async def test_a_no_that_ends_the_turn_completes_the_item_first(commands: Bench) -> None:
    commands.with_turn("untrusted")
    commands.clients.answers = [TurnCancelled()]
    with pytest.raises(TurnCancelled):
        await commands.run("touch ran")
    assert commands.clients.of("completed")[0].status == "declined"
    assert not (commands.cwd / "ran").exists()


async def test_an_interrupt_while_a_question_is_open_declines_the_command(commands: Bench) -> None:
    commands.with_turn("untrusted")
    commands.clients.before_answer = commands.interrupt
    commands.clients.answers = [Declined("approval request failed", by_user=False)]
    assert re.fullmatch(r"Wall time: \d+\.\d seconds\naborted by user", await commands.run("touch ran"))
    assert commands.clients.of("completed")[0].status == "declined"


async def test_an_interrupt_right_before_a_yes_starts_nothing(commands: Bench) -> None:
    commands.with_turn("untrusted")
    commands.clients.before_answer = commands.interrupt
    assert "aborted by user" in await commands.run("touch ran")
    assert commands.clients.of("completed")[0].status == "declined"
    assert not (commands.cwd / "ran").exists()


async def test_what_is_forbidden_is_no_item(commands: Bench) -> None:
    commands.with_turn("never", read_only())
    report = await commands.run("true", sandbox_permissions="require_escalated", justification="Please?")
    assert report.startswith("exec_command failed: ")
    assert commands.clients.told == []


async def test_escalation_runs_outside_of_the_sandbox_once_allowed(commands: Bench) -> None:
    commands.with_turn("on-request", read_only())
    await commands.run("true", sandbox_permissions="require_escalated", justification="Please?")
    (question,) = commands.clients.asked
    assert (question.kind, question.reason, question.item_id) == ("command", "Please?", "call_1")
    assert commands.sandbox.profiles == [FULL_ACCESS]


async def test_additional_permissions_need_their_feature(commands: Bench) -> None:
    commands.with_turn("on-request", read_only())
    wanted = {"file_system": {"write": ["sub"]}, "network": {"enabled": True}}
    report = await commands.run(
        "true", sandbox_permissions="with_additional_permissions", additional_permissions=wanted
    )
    assert "enable `features.exec_permission_approvals`" in report
    commands.with_turn("on-request", read_only(), features={"exec_permission_approvals": True})
    report = await commands.run(
        "true", sandbox_permissions="with_additional_permissions", additional_permissions=wanted
    )
    assert "exited with code 0" in report
    (question,) = commands.clients.asked
    asked = question.additional_permissions
    assert asked is not None
    assert asked.file_system is not None
    assert asked.file_system.write == [f"{commands.cwd}/sub"]
    (profile,) = commands.sandbox.profiles
    assert profile.kind == "restricted"
    assert profile.network
    assert f"{commands.cwd}/sub" in profile.writable_roots


async def test_input_for_a_session_outside_the_sandbox_is_asked_about_each_time(commands: Bench) -> None:
    commands.with_turn("on-request", read_only())
    escalated: dict[str, Any] = {
        "sandbox_permissions": "require_escalated",
        "justification": "?",
        "tty": True,
        "yield_time_ms": 250,
    }
    session = session_of(await commands.run("cat", **escalated))
    commands.clients.asked.clear()
    assert output_of(await commands.write(session, "one\n")) == "one\r\none\r\n"
    commands.clients.answers = [Declined("rejected by user")]
    assert await commands.write(session, "two\n") == "write_stdin rejected: rejected by user"
    first, second = commands.clients.asked
    assert (first.kind, first.item_id, first.approval_id, first.proposed_amendment) == (
        "writeStdin",
        "call_1",
        "call_2",
        None,
    )
    assert first.command == f"write_stdin --session-id {session} 'one\n'"
    assert first.key != second.key
    commands.clients.answers = [TurnCancelled()]
    with pytest.raises(TurnCancelled):
        await commands.write(session, "three\n")
    commands.with_turn("never", read_only())
    assert "does not let anybody be asked" in await commands.write(session, "four\n")
    await commands.terminals.close("thread")
    assert commands.clients.of("completed")[0].aggregated_output == "one\r\none\r\n"


async def test_input_for_a_session_inside_the_sandbox_is_not_asked_about(commands: Bench) -> None:
    commands.with_turn("on-request", read_only())
    session = session_of(await commands.run("cat", tty=True, yield_time_ms=250))
    await commands.write(session, "one\n")
    assert commands.clients.asked == []


DENIED = "test -e allowed && echo outside && exit 0; touch allowed; echo 'x: Permission denied' >&2; exit 1"


@pytest.mark.parametrize("policy", ["untrusted", GRANULAR])
async def test_a_command_that_the_sandbox_stopped_may_be_run_again_outside(
    commands: Bench, policy: AskForApproval
) -> None:
    commands.with_turn(policy, workspace_write([str(commands.cwd)]))
    report = await commands.run(DENIED)
    assert "exited with code 0" in report
    assert output_of(report) == "outside\n"
    question = commands.clients.asked[-1]
    assert question.reason == "The sandbox stopped this command. Run it again outside the sandbox?"
    assert [profile.kind for profile in commands.sandbox.profiles] == ["restricted", FULL_ACCESS.kind]
    assert len(commands.clients.of("started")) == 1
    (done,) = commands.clients.of("completed")
    assert (done.status, done.exit_code) == ("completed", 0)
    assert done.aggregated_output == commands.clients.printed == "x: Permission denied\noutside\n"


async def test_a_no_to_running_again_outside_leaves_what_there_is(commands: Bench) -> None:
    commands.with_turn(GRANULAR, workspace_write([str(commands.cwd)]))
    commands.clients.answers = [Declined("rejected by user")]
    report = await commands.run(DENIED)
    assert "exited with code 1" in report
    assert output_of(report) == (
        "x: Permission denied\n\nThe sandbox stopped this command, and it did not run again outside: rejected by user"
    )
    (done,) = commands.clients.of("completed")
    assert (done.status, done.exit_code, done.aggregated_output) == ("failed", 1, "x: Permission denied\n")


@pytest.mark.parametrize("policy", ["on-request", "never"])
async def test_otherwise_the_model_reads_that_the_sandbox_stopped_it(commands: Bench, policy: AskForApproval) -> None:
    commands.with_turn(policy, workspace_write([str(commands.cwd)]))
    report = await commands.run(DENIED)
    assert "exited with code 1" in report
    assert commands.clients.asked == []


async def test_a_patch_written_as_a_command_is_a_change_of_files(commands: Bench) -> None:
    patch = "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: new\n+x\n*** End Patch\nEOF"
    report = await commands.run(patch)
    assert "Success" in report
    assert (commands.cwd / "new").read_text() == "x\n"
    assert [item.type for item in commands.clients.of("started")] == ["fileChange"]
    assert commands.sandbox.profiles == []


async def test_the_definitions_do_not_depend_on_the_approval_policy(commands: Bench) -> None:
    specs = [commands.tools.specs(commands.with_turn(policy)) for policy in ("never", "on-request", "untrusted")]
    assert specs[0] == specs[1] == specs[2]
    assert [spec["name"] for spec in specs[0]] == ["exec_command", "write_stdin"]
    properties: Any = specs[0][0]["parameters"]["properties"]
    assert properties["sandbox_permissions"]["enum"] == ["use_default", "require_escalated"]
    assert "additional_permissions" not in properties
