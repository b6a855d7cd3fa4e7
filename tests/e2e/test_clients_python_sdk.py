"""The official Python SDK, which we did not write, drives the real program over stdio.

Nothing here installs it, because its package depends on a large binary: `pip install --no-deps openai-codex packaging`
into the environment of the tests is enough.
"""

import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.support.home import environment
from tests.support.reviews import Roles, allow, deny
from tests.support.scripted_model import gate, partial, say, status, tool_call
from tests.support.stage import Stage

sdk: Any = pytest.importorskip(
    "openai_codex", reason="the official SDK is not installed: pip install --no-deps openai-codex packaging"
)

# The SDK leaves the pipes of the process that it ended to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def transport() -> str:
    return "stdio"


@pytest.fixture
def config(stage: Stage) -> Any:
    """What the SDK is told: a path of ours where it would start its own binary."""
    program = stage.cwd / "turnloom"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m app_server "$@"\n')
    program.chmod(0o755)
    return sdk.CodexConfig(codex_bin=str(program), cwd=str(stage.cwd), env=environment(stage.home))


@asynccontextmanager
async def started(config: Any, **params: Any) -> AsyncGenerator[tuple[Any, Any]]:
    """The SDK's client with a new thread, without approvals."""
    async with sdk.AsyncCodex(config) as codex:
        yield codex, await codex.thread_start(approval_mode=sdk.ApprovalMode.deny_all, cwd=config.cwd, **params)


async def test_the_sdk_runs_turns_and_commands(stage: Stage, config: Any) -> None:
    stage.model.script(tool_call("exec_command", {"cmd": "echo from-a-command"}))
    stage.model.script(say("All done."))
    async with started(config) as (codex, thread):
        assert codex.metadata.userAgent.startswith("codex_python_sdk/0.169.0 ")
        result = await thread.run("Run it.")
        assert (result.final_response, result.status.value, result.error) == ("All done.", "completed", None)
        user, command, answer = [item.root for item in result.items]
        assert (user.type, command.type, answer.type) == ("userMessage", "commandExecution", "agentMessage")
        assert (command.aggregated_output, command.exit_code) == ("from-a-command\n", 0)
        assert (result.usage.total.input_tokens, result.usage.last.input_tokens) == (20, 10)
        assert result.started_at <= result.completed_at


async def test_the_sdk_in_its_default_mode_has_commands_reviewed(stage: Stage, config: Any) -> None:
    roles = Roles(stage.model)
    for name in ("allowed", "denied"):
        wanted = {"cmd": f"echo > {name}", "sandbox_permissions": "require_escalated", "justification": "May I?"}
        roles.agent(tool_call("exec_command", wanted))
    roles.reviewer(allow())
    roles.reviewer(deny("Nobody asked for it."))
    async with sdk.AsyncCodex(config) as codex:
        thread = await codex.thread_start(cwd=config.cwd)
        events = [event async for event in (await thread.turn("Make the files.")).stream()]
    ended = [event.payload.item.root for event in events if event.method == "item/completed"]
    commands = [item.status.value for item in ended if item.type == "commandExecution"]
    assert commands == ["completed", "declined"]
    assert ((stage.cwd / "allowed").exists(), (stage.cwd / "denied").exists()) == (True, False)
    told = [event.payload for event in events if event.method == "item/autoApprovalReview/completed"]
    assert [payload.review.status.value for payload in told] == ["approved", "denied"]
    assert told[1].review.rationale == "Nobody asked for it."
    assert [event.method for event in events if "Unknown" in type(event.payload).__name__] == []
    assert len(roles.reviews) == 2


async def test_the_sdk_streams_an_answer_whole(stage: Stage, config: Any) -> None:
    stage.model.script(say("one two three", deltas=3))
    async with started(config) as (_codex, thread):
        events = [event async for event in (await thread.turn("Count.")).stream()]
    assert [event.method for event in (events[0], events[-1])] == ["turn/started", "turn/completed"]
    deltas = [event.payload.delta for event in events if event.method == "item/agentMessage/delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == "one two three"
    # What the SDK cannot decode it passes on as a type that says so.
    assert [event.method for event in events if "Unknown" in type(event.payload).__name__] == []


async def test_the_sdk_resumes_in_the_same_process_and_after_a_restart(stage: Stage, config: Any) -> None:
    async with started(config) as (codex, thread):
        await thread.run("the first message")
        await (await codex.thread_resume(thread.id)).run("the second message")
    stage.model.script(say("I remember."))
    async with sdk.AsyncCodex(config) as codex:
        resumed = await codex.thread_resume(thread.id)
        assert (await resumed.run("the third message")).final_response == "I remember."
        assert len((await resumed.read(include_turns=True)).thread.turns) == 3
    sent = str(stage.model.requests[-1]["input"])
    places = [sent.index(f"the {order} message") for order in ("first", "second", "third")]
    assert places == sorted(places)


async def test_the_sdk_interrupts_and_the_thread_goes_on(stage: Stage, config: Any) -> None:
    stage.model.script(partial("So far"), gate(anyio.Event()))
    async with started(config) as (_codex, thread):
        turn = await thread.turn("Go on for ever.")
        ended: list[str] = []
        async for event in turn.stream():
            if event.method == "item/agentMessage/delta":
                await turn.interrupt()
            elif event.method == "turn/completed":
                ended.append(event.payload.turn.status.value)
        assert ended == ["interrupted"]
        with pytest.raises(sdk.InvalidRequestError, match="no active turn to interrupt"):
            await turn.interrupt()
        assert (await thread.run("And now?")).status.value == "completed"


async def test_the_sdk_steers_a_running_turn(stage: Stage, config: Any) -> None:
    stage.model.script(partial("Going straight"), gate(anyio.Event()))
    stage.model.script(say("Turned."))
    async with started(config) as (_codex, thread):
        turn = await thread.turn("Drive.")
        ended: list[str] = []
        async for event in turn.stream():
            if event.method == "turn/completed":
                ended.append(event.payload.turn.status.value)
            elif event.method == "item/agentMessage/delta" and len(stage.model.requests) == 1:
                assert (await turn.steer("Turn left.")).turn_id == turn.id
                await stage.model.wait_for_requests(2)
        assert ended == ["completed"]
    assert "Turn left." in str(stage.model.requests[-1]["input"])


async def test_the_sdk_raises_the_text_of_a_failed_turn(stage: Stage, config: Any) -> None:
    stage.model.script(status(400, {"error": {"message": "the model says no"}}))
    async with started(config) as (_codex, thread):
        with pytest.raises(RuntimeError, match="the model says no"):
            await thread.run("Fail.")


async def test_the_sdk_forks_names_lists_and_archives(stage: Stage, config: Any) -> None:
    async with started(config) as (codex, thread):
        await thread.run("the origin")
        fork = await codex.thread_fork(thread.id)
        read = (await fork.read(include_turns=True)).thread
        assert (read.forked_from_id, len(read.turns)) == (thread.id, 1)
        await fork.set_name("a branch")
        assert (await fork.read()).thread.name == "a branch"

        async def listed(**more: Any) -> list[str]:
            page = await codex.thread_list(cwd=config.cwd, **more)
            return [one.id for one in page.data]

        assert sorted(await listed()) == sorted([thread.id, fork.id])
        assert await listed(search_term="branch") == [fork.id]
        await codex.thread_archive(thread.id)
        assert (await listed(), await listed(archived=True)) == ([fork.id], [thread.id])
        assert (await codex.thread_unarchive(thread.id)).id == thread.id
        assert sorted(await listed()) == sorted([thread.id, fork.id])
        with pytest.raises(sdk.InvalidRequestError, match="no rollout found"):
            await codex.thread_resume("00000000-0000-7000-8000-000000000000")


async def test_the_sdk_sends_pictures_and_an_output_schema(stage: Stage, config: Any) -> None:
    picture = anyio.Path(config.cwd, "dot.gif")
    await picture.write_bytes(
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    )
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    stage.model.script(say("{}"))
    async with started(config) as (_codex, thread):
        inputs = [
            sdk.TextInput("look"),
            sdk.ImageInput("data:image/gif;base64,R0lG"),
            sdk.LocalImageInput(str(picture)),
        ]
        assert (await thread.run(inputs, output_schema=schema)).final_response == "{}"
    request = stage.model.requests[-1]
    assert request["text"]["format"]["schema"] == schema
    kinds = [part["type"] for part in request["input"][-1]["content"]]
    assert kinds.count("input_image") == 2


async def test_the_sdk_reads_models_and_the_account(config: Any) -> None:
    async with sdk.AsyncCodex(config) as codex:
        models = (await codex.models()).data
        assert [model.model for model in models if model.is_default] == [models[0].model]
        account = await codex.account()
        assert (account.account, account.requires_openai_auth) == (None, False)


async def test_the_blocking_client_runs_a_turn_of_the_demo_model(config: Any, stage: Stage) -> None:
    def run() -> Any:
        demo = sdk.CodexConfig(
            codex_bin=config.codex_bin, cwd=config.cwd, env=config.env, config_overrides=('model_provider="demo"',)
        )
        with sdk.Codex(demo) as codex:
            thread = codex.thread_start(approval_mode=sdk.ApprovalMode.deny_all, sandbox=sdk.Sandbox.read_only)
            return thread.run("run: echo seen-by-the-demo")

    result = await to_thread.run_sync(run)
    commands = [item.root for item in result.items if item.root.type == "commandExecution"]
    assert [command.aggregated_output for command in commands] == ["seen-by-the-demo\n"]
    assert stage.model.requests == []


@pytest.mark.parametrize(
    ("decision", "item_status", "turn_status"),
    [("accept", "completed", "completed"), ("decline", "declined", "completed"), ("cancel", "declined", "interrupted")],
)
async def test_the_sdk_answers_for_its_user(
    stage: Stage, config: Any, decision: str, item_status: str, turn_status: str
) -> None:
    asked: list[tuple[str, Any]] = []
    note = stage.cwd / "note"

    def handle(method: str, params: Any) -> dict[str, Any]:
        asked.append((method, params))
        return {"decision": decision}

    def drive() -> tuple[Any, list[Any]]:
        with sdk.client.CodexClient(config, approval_handler=handle) as client:
            client.initialize()
            thread = client.thread_start({"cwd": config.cwd, "approvalPolicy": "on-request", "sandbox": "read-only"})
            turn = client.turn_start(thread.thread.id, "Write a note.")
            ended = client.wait_for_turn_completed(turn.turn.id)
            items = client._request_raw("thread/items/list", {"threadId": thread.thread.id})["data"]
            return ended.turn, [entry["item"] for entry in items]

    wanted = {"cmd": f"echo written > {note}", "sandbox_permissions": "require_escalated", "justification": "May I?"}
    stage.model.script(tool_call("exec_command", wanted))
    stage.model.script(say("done"))
    turn, items = await to_thread.run_sync(drive)
    ((method, params),) = asked
    assert (method, params["reason"]) == ("item/commandExecution/requestApproval", "May I?")
    assert turn.status.value == turn_status
    assert [item["status"] for item in items if item["type"] == "commandExecution"] == [item_status]
    assert note.exists() == (decision == "accept")


async def test_the_sdk_drives_a_goal_over_several_turns(stage: Stage, config: Any) -> None:
    """To the SDK all turns of a goal are one, which ends when the goal does."""
    goals: Any = pytest.importorskip("openai_codex._goal")

    def drive() -> tuple[list[str], Any]:
        with sdk.client.CodexClient(config) as client:
            client.initialize()
            thread = client.thread_start({"cwd": config.cwd, "approvalPolicy": "never"}).thread.id
            state, turn_id = client.start_goal_operation(thread, "Reach it.")
            stream = goals._GoalNotificationStream(
                state=state,
                next_notification=lambda: client.next_goal_notification(state),
                unregister=lambda: client.unregister_goal_operation(state),
                cancel_goal=lambda: client.cancel_goal_operation(state),
            )
            told = list(stream)
            assert {note.payload.turn.id for note in told if hasattr(note.payload, "turn")} == {turn_id}
            return [note.method for note in told], client._request_raw("thread/goal/get", {"threadId": thread})

    stage.model.script(tool_call("update_plan", {"plan": []}))
    stage.model.script(say("one"))
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    stage.model.script(say("two"))
    methods, found = await to_thread.run_sync(drive)
    assert (methods.count("turn/started"), methods.count("turn/completed")) == (1, 1)
    assert methods[-1] == "turn/completed"
    assert (found["goal"]["status"], found["goal"]["objective"]) == ("complete", "Reach it.")


async def test_the_sdk_delivers_what_another_program_says(stage: Stage, config: Any) -> None:
    stage.model.script(say("I have read it."))
    async with started(config) as (_, thread):
        result = await thread.run(sdk.ExternalMessage(tool_name="mail", content="You have mail", namespace="inbox"))
    assert (result.final_response, result.status.value) == ("I have read it.", "completed")
    assert stage.model.requests[0]["input"][-1] == {
        "type": "function_call_output",
        "name": "mail",
        "namespace": "inbox",
        "output": "You have mail",
    }
