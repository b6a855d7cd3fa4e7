"""Commands that run on in the background, and commands that the user runs, as clients see them."""

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import Part, say, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    item_started,
    methods_of,
    run_turn,
    text,
)

LIST, TERMINATE, CLEAN = (f"thread/backgroundTerminals/{name}" for name in ("list", "terminate", "clean"))
QUICK = {"yield_time_ms": 250}
SANDBOXES = ["danger-full-access", "workspace-write"]


def command(cmd: str, call_id: str = "call_c", **arguments: Any) -> Part:
    """A call of exec_command that waits only shortly."""
    return tool_call("exec_command", {"cmd": cmd, "login": False, **QUICK, **arguments}, call_id)


def typing(session: str, chars: str = "", call_id: str = "call_w", **arguments: Any) -> Part:
    return tool_call("write_stdin", {"session_id": int(session), "chars": chars, **arguments}, call_id)


def outputs(request: Message) -> dict[str, str]:
    """The outputs of calls in a request to the model, by call."""
    return {entry["call_id"]: entry["output"] for entry in request["input"] if entry["type"] == "function_call_output"}


async def start(
    stage: Stage, client: RpcClient, cmd: str, sandbox: str = "danger-full-access", **arguments: Any
) -> Any:
    """A thread with one command in the background: the thread, its turn, and the command's number."""
    thread = await stage.thread(client, sandbox=sandbox)
    stage.model.script(command(cmd, **arguments))
    turn = await run_turn(client, thread)
    item = await item_started(client, turn["id"], "commandExecution")
    return thread, turn["id"], item["processId"]


async def running(client: RpcClient, thread: str) -> list[Message]:
    return (await client.call(LIST, {"threadId": thread}))["data"]


async def let_go(stage: Stage) -> None:
    """Open the fifo that the command reads."""
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "go\n")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize("sandbox", SANDBOXES)
async def test_a_command_outlives_its_turn_and_its_end_is_told_late(stage: Stage, sandbox: str) -> None:
    client, other = await stage.client(), await stage.client()
    os.mkfifo(stage.cwd / "go")
    thread, turn, number = await start(stage, client, "echo early; read line < go; echo late; exit 3", sandbox)
    await other.call("thread/resume", {"threadId": thread})
    assert methods_of(client, turn)[-1] == "turn/completed"
    (stored,) = (await client.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
    (item,) = [item for item in stored["items"] if item["type"] == "commandExecution"]
    assert (stored["status"], item["status"], item["completedAtMs"]) == ("completed", "inProgress", None)
    (shown,) = await running(client, thread)
    assert (shown["itemId"], shown["processId"], shown["cwd"]) == ("call_c", number, str(stage.cwd))
    assert shown["command"] == "echo early; read line < go; echo late; exit 3"
    assert shown["osPid"] > 1
    assert shown["rssKb"] > 0
    assert shown["cpuPercent"] >= 0
    await let_go(stage)
    for each in (client, other):
        done = (await each.until("item/completed", lambda params: params["item"]["type"] == "commandExecution"))[
            "params"
        ]
        assert (done["turnId"], done["item"]["status"], done["item"]["exitCode"]) == (turn, "failed", 3)
        assert done["item"]["aggregatedOutput"] == "early\nlate\n"
    deltas = other.notifications("item/commandExecution/outputDelta")
    assert [message["params"]["delta"] for message in deltas] == ["late\n"]
    assert await running(client, thread) == []
    (stored,) = (await client.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]["turns"]
    assert [item for item in stored["items"] if item["id"] == "call_c"] == [done["item"]]
    stage.model.script(typing(number))
    await run_turn(client, thread)
    report = outputs(stage.model.requests[-1])["call_w"]
    assert "Process exited with code 3\n" in report
    assert report.endswith("Output:\nlate\n")


@pytest.mark.parametrize("sandbox", SANDBOXES)
async def test_a_terminal_is_used_over_several_turns(stage: Stage, sandbox: str) -> None:
    client = await stage.client()
    thread, first, number = await start(stage, client, "cat", sandbox, tty=True)
    stage.model.script(typing(number, "hello\n"))
    second = await run_turn(client, thread)
    told = (await client.until("item/commandExecution/terminalInteraction"))["params"]
    assert told == {
        "threadId": thread,
        "turnId": second["id"],
        "itemId": "call_c",
        "processId": number,
        "stdin": "hello\n",
    }
    assert outputs(stage.model.requests[-1])["call_w"].endswith("Output:\nhello\r\nhello\r\n")
    stage.model.script(typing(number, "\x04", "call_e", yield_time_ms=30_000))
    third = await run_turn(client, thread)
    assert "Process exited with code 0" in outputs(stage.model.requests[-1])["call_e"]
    ends = client.notifications("item/completed", "turn/completed")
    (at,) = [at for at, end in enumerate(ends) if end["params"].get("item", {}).get("id") == "call_c"]
    assert ends[at]["params"]["turnId"] == first
    assert ends[-1]["params"]["turn"]["id"] == third["id"], "the process was gone before its turn ended"
    assert [path.name for path in stage.cwd.iterdir()] == []


@pytest.mark.parametrize("sandbox", SANDBOXES)
async def test_a_command_without_a_terminal_can_be_interrupted(stage: Stage, sandbox: str) -> None:
    client = await stage.client()
    script = "trap 'echo asked; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    thread, _, number = await start(stage, client, script, sandbox)
    stage.model.script(typing(number, "\x03", yield_time_ms=30_000))
    await run_turn(client, thread)
    report = outputs(stage.model.requests[-1])["call_w"]
    assert "Process exited with code 9\n" in report
    assert report.endswith("asked\n")


async def test_terminals_are_listed_by_page_and_ended_one_by_one_and_all_at_once(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    stage.model.script(*(command(f"sleep 8640{count}", f"call_{count}") for count in range(5)))
    turn = await run_turn(client, thread)
    first = await client.call(LIST, {"threadId": thread, "limit": 2})
    second = await client.call(LIST, {"threadId": thread, "limit": 2, "cursor": first["nextCursor"]})
    third = await client.call(LIST, {"threadId": thread, "limit": 2, "cursor": second["nextCursor"]})
    assert [len(page["data"]) for page in (first, second, third)] == [2, 2, 1]
    assert third["nextCursor"] is None
    every = [*first["data"], *second["data"], *third["data"]]
    assert {terminal["itemId"] for terminal in every} == {f"call_{count}" for count in range(5)}
    assert every == [{**each, **usage(seen)} for each, seen in zip(await running(client, thread), every, strict=True)]
    number = every[0]["processId"]
    assert await client.call(TERMINATE, {"threadId": thread, "processId": number}) == {"terminated": True}
    done = (await client.until("item/completed", lambda params: params["item"]["id"] == every[0]["itemId"]))["params"]
    assert (done["turnId"], done["item"]["status"], done["item"]["exitCode"]) == (turn["id"], "failed", -1)
    assert await client.call(TERMINATE, {"threadId": thread, "processId": number}) == {"terminated": False}
    assert await client.call(CLEAN, {"threadId": thread}) == {}
    for terminal in every[1:]:
        await client.wait_for(lambda message, terminal=terminal: is_completed(message, terminal["itemId"]))
    assert await running(client, thread) == []
    assert [terminal["osPid"] for terminal in every if not is_gone(terminal["osPid"])] == []


def usage(terminal: Message) -> Message:
    return {name: terminal[name] for name in ("cpuPercent", "rssKb")}


def is_completed(message: Message, item_id: str) -> bool:
    return message.get("method") == "item/completed" and message["params"]["item"]["id"] == item_id


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (LIST, {"cursor": "x"}, "invalid cursor: `x` is no number"),
        (TERMINATE, {"processId": "x"}, "invalid background terminal process id: `x` is no number"),
        (LIST, {"threadId": "01a20480-fe84-7c91-8a77-f909d3bb9553"}, "thread not found"),
        (CLEAN, {"threadId": "x"}, "invalid thread id: `x` is no UUID"),
    ],
)
async def test_what_cannot_be_found_is_refused(stage: Stage, method: str, params: dict[str, Any], message: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    with pytest.raises(CallFailed, match=message):
        await client.call(method, {"threadId": thread, **params})


@pytest.mark.parametrize("method", ["thread/archive", "thread/delete"])
async def test_a_thread_that_is_put_away_ends_its_commands_first(stage: Stage, method: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="danger-full-access")
    stage.model.script(command("sleep 86400", "call_1"), command("sleep 86400", "call_2", tty=True))
    await run_turn(client, thread)
    pids = [terminal["osPid"] for terminal in await running(client, thread)]
    stage.model.script(tool_call("exec_command", {"cmd": "echo ready; sleep 86400"}, "call_3"))
    turn = await begin(client, thread)
    await client.until("item/commandExecution/outputDelta", lambda params: params["itemId"] == "call_3")
    await client.call(method, {"threadId": thread})
    done = {item["id"]: item for item in completed_items(client) if item["type"] == "commandExecution"}
    assert {(item["status"], item["exitCode"]) for item in done.values()} == {("failed", -1)}
    assert set(done) == {"call_1", "call_2", "call_3"}
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    assert [pid for pid in pids if not is_gone(pid)] == []


async def test_a_session_is_unknown_to_other_threads(stage: Stage) -> None:
    client = await stage.client()
    _, _, number = await start(stage, client, "cat", tty=True)
    other = await stage.thread(client)
    stage.model.script(typing(number, "hello\n"))
    await run_turn(client, other)
    assert outputs(stage.model.requests[-1])["call_w"] == f"write_stdin failed: Unknown process id {number}"


async def test_a_message_of_the_user_does_not_cut_the_wait_for_a_command(stage: Stage) -> None:
    client = await stage.client()
    os.mkfifo(stage.cwd / "go")
    thread = await stage.thread(client, sandbox="danger-full-access")
    stage.model.script(tool_call("exec_command", {"cmd": "echo ready; read line < go", "login": False}, "call_c"))
    turn = await begin(client, thread)
    await client.until("item/commandExecution/outputDelta")
    params = {"threadId": thread, "expectedTurnId": turn, "input": text("and this")}
    await client.call("turn/steer", params)
    await let_go(stage)
    await ended(client, turn)
    assert "Process exited with code 0" in outputs(stage.model.requests[1])["call_c"]
    assert stage.model.requests[1]["input"][-1]["content"][0]["text"] == "and this"


@pytest.mark.parametrize("sandbox", SANDBOXES)
async def test_a_profile_counts_for_commands_and_can_do_nothing_itself(stage: Stage, sandbox: str) -> None:
    client = await stage.client()
    mine = f"{stage.cwd}/touched-{sandbox}"
    profile = stage.home / "user" / ".bash_profile"
    profile.write_text(f"echo noise\ntouch {mine}\nexport GREETING=hello SOME_API_KEY=1 PAGER=less\n")
    try:
        thread = await stage.thread(client, sandbox=sandbox)
        script = 'echo "$GREETING $SOME_API_KEY $PAGER"; shopt login_shell'
        stage.model.script(tool_call("exec_command", {"cmd": script, "shell": "bash"}, "call_c"))
        await run_turn(client, thread)
        report = outputs(stage.model.requests[-1])["call_c"]
        assert report.endswith("Output:\nhello  cat\nlogin_shell    \toff\n")
        assert not await anyio.Path(mine).exists()
    finally:
        profile.unlink()


# The user's own commands


async def shell(client: RpcClient, thread: str, script: str, **params: Any) -> Message:
    """The item of a command of the user, once it has ended."""
    assert await client.call("thread/shellCommand", {"threadId": thread, "command": script, **params}) == {}
    done = await client.until("item/completed", lambda params: params["item"].get("source") == "userShell")
    return done["params"]["item"]


async def test_a_command_of_the_user_runs_in_a_turn_of_its_own_outside_the_sandbox(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, sandbox="read-only")
    item = await shell(client, thread, "echo hi; touch made; exit 2")
    assert item["command"].endswith("-lc 'echo hi; touch made; exit 2'")
    assert (item["status"], item["exitCode"], item["aggregatedOutput"]) == ("failed", 2, "hi\n")
    assert item["processId"] is None
    assert (stage.cwd / "made").exists()
    turn = (await client.until("turn/completed"))["params"]["turn"]
    assert turn["status"] == "completed"
    assert_balanced(client, turn["id"])
    assert stage.model.requests == []
    await run_turn(client, thread)
    (said,) = [
        part["text"]
        for entry in stage.model.requests[0]["input"]
        if entry["type"] == "message"
        for part in entry["content"]
        if "user_shell_command" in part["text"]
    ]
    assert "echo hi; touch made; exit 2\n\nExit code: 2\n" in said


async def test_a_command_of_the_user_during_a_turn_is_part_of_it(stage: Stage) -> None:
    client = await stage.client()
    os.mkfifo(stage.cwd / "go")
    thread = await stage.thread(client, sandbox="danger-full-access")
    stage.model.script(tool_call("exec_command", {"cmd": "echo ready; read line < go", "login": False}, "call_c"))
    stage.model.script(say("done"))
    turn = await begin(client, thread)
    await client.until("item/commandExecution/outputDelta")
    item = await shell(client, thread, "echo mine")
    assert item["aggregatedOutput"] == "mine\n"
    await let_go(stage)
    await ended(client, turn)
    assert_balanced(client, turn)
    assert {each["id"] for each in completed_items(client, turn)} >= {"call_c", item["id"]}


async def test_a_command_of_the_user_may_have_a_time_and_is_ended_by_an_interrupt(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    item = await shell(client, thread, "echo begun; sleep 86400", timeoutMs=300)
    assert (item["status"], item["exitCode"], item["aggregatedOutput"]) == ("failed", 124, "begun\n")
    await client.until("turn/completed")
    await client.call("thread/shellCommand", {"threadId": thread, "command": "echo $$; sleep 86400"})
    delta = await client.until("item/commandExecution/outputDelta")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": delta["params"]["turnId"]})
    assert (await ended(client, delta["params"]["turnId"]))["status"] == "interrupted"
    assert is_gone(int(delta["params"]["delta"]))


async def test_an_empty_command_of_the_user_is_refused(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    with pytest.raises(CallFailed, match="command must not be empty"):
        await client.call("thread/shellCommand", {"threadId": thread, "command": " "})
