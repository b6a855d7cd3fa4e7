"""Goals: a thread goes on with them turn after turn, and stops when it should."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel, gate, partial, say, status, tool_call, usage
from tests.support.stage import Stage, begin, ended, run_turn, set_stage

Goal = dict[str, Any]


@pytest.fixture(autouse=True)
async def stopped_afterwards(stage: Stage) -> AsyncIterator[None]:
    """No goal of one test goes on while the next one runs."""
    yield
    client = await stage.client()
    for thread in (await client.call("thread/loaded/list"))["data"]:
        await client.call("thread/delete", {"threadId": thread})


async def set_goal(client: RpcClient, thread: str, **params: Any) -> Goal:
    return (await client.call("thread/goal/set", {"threadId": thread, **params}))["goal"]


async def goal_of(client: RpcClient, thread: str) -> Goal | None:
    return (await client.call("thread/goal/get", {"threadId": thread}))["goal"]


async def until_goal_is(client: RpcClient, wanted: str) -> Goal:
    """Until clients are told that a goal has this status."""

    told = await client.until("thread/goal/updated", lambda params: params["goal"]["status"] == wanted)
    return told["params"]["goal"]


async def refusal(client: RpcClient, method: str, **params: Any) -> tuple[int, str]:
    error = (await client.try_call(method, params))["error"]
    return error["code"], error["message"]


async def test_a_goal_starts_turns_by_itself_until_the_model_says_that_it_is_complete(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    model = stage.model
    model.script(tool_call("update_plan", {"plan": []}))
    model.script(say("one"))
    model.script(tool_call("update_goal", {"status": "complete"}))
    model.script(say("done"))
    assert (await set_goal(client, thread, objective=" Build it "))["objective"] == "Build it"
    goal = await until_goal_is(client, "complete")
    await client.until("turn/completed")
    ends = [message["params"]["turn"]["status"] for message in client.notifications("turn/completed")]
    assert ends == ["completed", "completed"]
    assert goal["tokensUsed"] == 3 * 15
    assert "Build it" in str(model.requests[0]["input"][-1])
    assert model.requests[3]["input"][-1]["type"] == "function_call_output"
    listed = await client.call("thread/turns/list", {"threadId": thread, "itemsView": "full"})
    shown = [item["type"] for turn in listed["data"] for item in turn["items"]]
    assert "userMessage" not in shown
    read = await client.call("thread/read", {"threadId": thread})
    assert read["thread"]["preview"] == "Build it"


async def test_what_a_client_is_told_of_a_goal_comes_in_the_order_that_it_needs(stage: Stage) -> None:
    """The end of a goal is told before the end of its turn: clients stop listening at that."""
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("update_goal", {"status": "blocked"}))
    stage.model.script(say("what now?"))
    await set_goal(client, thread, objective="x")
    await client.until("turn/completed")
    told = [
        (message["method"], message["params"].get("goal", {}).get("status"))
        for message in client.notifications()
        if message["method"] in ("thread/goal/updated", "turn/started", "turn/completed")
    ]
    assert told == [
        ("thread/goal/updated", "active"),
        ("turn/started", None),
        ("thread/goal/updated", "active"),
        ("thread/goal/updated", "blocked"),
        ("turn/completed", None),
    ]
    turn_ids = [message["params"]["turnId"] for message in client.notifications("thread/goal/updated")]
    assert turn_ids[0] is None
    assert None not in turn_ids[1:]


async def test_a_goal_stops_when_its_budget_is_used_up_and_goes_on_when_that_is_raised(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    model = stage.model
    model.script(say("work"))
    model.script(tool_call("update_plan", {"plan": []}))
    model.script(say("summing up"))
    await set_goal(client, thread, objective="x", tokenBudget=20)
    await until_goal_is(client, "budgetLimited")
    await client.until("turn/completed")
    assert len(client.notifications("turn/completed")) == 2
    assert "token budget" in str(model.requests[2]["input"][-1])
    goal = await goal_of(client, thread)
    assert goal is not None
    assert (goal["status"], goal["tokensUsed"], goal["tokenBudget"]) == ("budgetLimited", 45, 20)
    assert (await set_goal(client, thread, status="active"))["status"] == "budgetLimited"
    assert (await set_goal(client, thread, tokenBudget=60))["status"] == "active"
    await until_goal_is(client, "budgetLimited")
    await client.until("turn/completed")
    assert len(model.requests) == 4


async def test_cached_input_is_not_on_a_goals_bill(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.usage = usage(input=1000, cached=990, output=7)
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    await set_goal(client, thread, objective="x")
    assert (await until_goal_is(client, "complete"))["tokensUsed"] == 17


async def test_tools_that_are_called_in_vain_are_no_progress_towards_a_goal(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    for _ in range(5):
        stage.model.script(tool_call("no_such_tool", {}))
        stage.model.script(say("that did not work"))
    await set_goal(client, thread, objective="x")
    await until_goal_is(client, "blocked")
    await client.until("warning")
    assert len(stage.model.requests) == 10


async def test_a_goal_on_which_the_model_only_talks_is_blocked_after_five_turns(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await set_goal(client, thread, objective="x")
    await until_goal_is(client, "blocked")
    await client.until("turn/completed")
    assert len(stage.model.requests) == 5
    warnings = [message["params"]["message"] for message in client.notifications("warning")]
    assert any("did nothing for it" in warning for warning in warnings)
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    await set_goal(client, thread, status="active")
    await until_goal_is(client, "complete")


async def test_an_interrupt_pauses_the_goal_and_nothing_follows_until_it_is_active_again(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("a"), gate(anyio.Event()))
    await set_goal(client, thread, objective="x")
    turn = (await client.until("turn/started"))["params"]["turn"]["id"]
    await stage.model.wait_for_requests(1)
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    await until_goal_is(client, "paused")
    assert (await ended(client, turn))["status"] == "interrupted"
    await run_turn(client, thread, "something else")
    assert len(stage.model.requests) == 2
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    assert (await set_goal(client, thread, status="active"))["status"] == "active"
    await until_goal_is(client, "complete")


async def test_pausing_in_mid_turn_lets_the_turn_end_and_starts_no_other(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("a", item_id="m"), gate(opening), say("ab", item_id="m"))
    await set_goal(client, thread, objective="x")
    turn = (await client.until("turn/started"))["params"]["turn"]["id"]
    await stage.model.wait_for_requests(1)
    await set_goal(client, thread, status="paused")
    opening.set()
    assert (await ended(client, turn))["status"] == "completed"
    await run_turn(client, thread)
    assert len(client.notifications("turn/started")) == 2


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (status(400, {"error": {"message": "no"}}), "blocked"),
        (status(429, {"error": {"type": "usage_limit_reached", "message": "no"}}), "usageLimited"),
    ],
)
async def test_a_goal_whose_turn_fails_stops_and_says_how(stage: Stage, answer: Any, wanted: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(answer)
    await set_goal(client, thread, objective="x")
    await until_goal_is(client, wanted)
    await client.until("turn/completed")
    assert len(stage.model.requests) == 1


async def test_a_message_of_the_user_joins_the_turn_of_a_goal(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(partial("a"), gate(anyio.Event()))
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    await set_goal(client, thread, objective="x")
    turn = (await client.until("turn/started"))["params"]["turn"]["id"]
    await stage.model.wait_for_requests(1)
    assert await begin(client, thread, "mind the tests") == turn
    await until_goal_is(client, "complete")
    assert "mind the tests" in str(stage.model.requests[1]["input"][-1])


async def test_the_model_sets_a_goal_and_cannot_replace_an_unfinished_one(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    model = stage.model
    model.script(tool_call("create_goal", {"objective": "from the model", "token_budget": 1000}))
    model.script(tool_call("create_goal", {"objective": "another"}))
    model.script(tool_call("get_goal", {}))
    model.script(tool_call("update_goal", {"status": "complete"}))
    await run_turn(client, thread, "make it a goal")
    outputs = [request["input"][-1]["output"] for request in model.requests[1:5]]
    assert '"tokenBudget":1000' in outputs[0]
    assert "unfinished goal" in outputs[1]
    assert '"remainingTokens":' in outputs[2]
    assert '"status":"complete"' in outputs[3]
    goal = await goal_of(client, thread)
    assert goal is not None
    assert (goal["objective"], goal["status"]) == ("from the model", "complete")


async def test_goals_rest_in_plan_mode_and_go_on_after_it(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    mode: Message = {"mode": "plan", "settings": {"model": "mock-model"}}
    await client.call("thread/settings/update", {"threadId": thread, "collaborationMode": mode})
    await set_goal(client, thread, objective="x")
    await run_turn(client, thread, "plan it")
    offered = {tool.get("name") for tool in stage.model.requests[0]["tools"]}
    assert not offered & {"get_goal", "create_goal", "update_goal"}
    assert len(stage.model.requests) == 1
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    await client.call("thread/settings/update", {"threadId": thread, "collaborationMode": {**mode, "mode": "default"}})
    goal = await until_goal_is(client, "complete")
    assert goal["tokensUsed"] == 15


async def test_goals_that_cannot_be_are_refused_with_the_reason(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    nothing = f"cannot update goal for thread {thread}: no goal exists"
    assert await refusal(client, "thread/goal/set", threadId=thread) == (-32600, nothing)
    assert await refusal(client, "thread/goal/set", threadId=thread, status="paused") == (-32600, nothing)
    empty = (-32600, "goal objective must not be empty")
    assert await refusal(client, "thread/goal/set", threadId=thread, objective=" ") == empty
    long = (-32600, "goal objective must be at most 4000 characters")
    assert await refusal(client, "thread/goal/set", threadId=thread, objective="x" * 4001) == long
    budget = (-32600, "goal budgets must be positive when provided")
    assert await refusal(client, "thread/goal/set", threadId=thread, objective="x", tokenBudget=0) == budget
    fleeting = await stage.thread(client, ephemeral=True)
    for method in ("get", "set", "clear"):
        params = {"threadId": fleeting, **({"objective": "x"} if method == "set" else {})}
        wanted = (-32600, f"ephemeral thread does not support goals: {fleeting}")
        assert await refusal(client, f"thread/goal/{method}", **params) == wanted
    assert await client.call("thread/goal/clear", {"threadId": thread}) == {"cleared": False}
    assert client.notifications("thread/goal/cleared") == []


async def test_a_cleared_goal_is_gone_for_everybody(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    await set_goal(client, thread, objective="x", status="paused")
    await other.until("thread/goal/updated")
    assert await client.call("thread/goal/clear", {"threadId": thread}) == {"cleared": True}
    assert (await other.until("thread/goal/cleared"))["params"] == {"threadId": thread}
    assert await goal_of(other, thread) is None


async def test_an_objective_after_a_complete_goal_begins_a_new_one(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("update_goal", {"status": "complete"}))
    await set_goal(client, thread, objective="first", tokenBudget=10)
    await until_goal_is(client, "complete")
    await client.until("turn/completed")
    goal = await set_goal(client, thread, objective="second", status="paused")
    assert (goal["objective"], goal["tokensUsed"], goal["tokenBudget"]) == ("second", 0, None)


async def test_a_fork_takes_the_goal_along_only_if_asked_and_waits_for_a_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread)
    hanging = [partial("a"), gate(anyio.Event())]
    stage.model.script(*hanging)
    await set_goal(client, thread, objective="x")
    await stage.model.wait_for_requests(2)
    plain = await client.call("thread/fork", {"threadId": thread, "excludeTurns": True})
    assert await goal_of(client, plain["thread"]["id"]) is None
    params = {"threadId": thread, "excludeTurns": True, "deferGoalContinuation": True}
    copy = (await client.call("thread/fork", params))["thread"]["id"]
    goal = await goal_of(client, copy)
    assert goal is not None
    assert (goal["objective"], goal["status"]) == ("x", "active")
    stage.model.script(say("asked"))
    stage.model.script(*hanging)
    await run_turn(client, copy)
    await stage.model.wait_for_requests(4)
    assert "<objective>" in str(stage.model.requests[3]["input"][-1])


async def test_a_drain_ends_with_the_turn_that_runs_though_a_goal_is_active(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        opening = anyio.Event()
        stage.model.script(partial("a", item_id="m"), gate(opening), say("ab", item_id="m"))
        await set_goal(client, thread, objective="x")
        await stage.model.wait_for_requests(1)
        stage.daemon.signal(signal.SIGTERM)
        while "error" not in await client.try_call("thread/start", {"cwd": str(stage.cwd)}):
            pass
        opening.set()
        await client.until("turn/completed")
        assert await stage.daemon.process.wait() == 0
        assert len(stage.model.requests) == 1


async def test_a_goal_survives_a_kill_and_goes_on_once_somebody_who_may_drive_it_resumes(tmp_path: Path) -> None:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        model.script(tool_call("update_plan", {"plan": []}))
        model.script(partial("a"), gate(anyio.Event()))
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            thread = (await client.call("thread/start", {"cwd": str(tmp_path)}))["thread"]["id"]
            await set_goal(client, thread, objective="x", tokenBudget=5000)
            await model.wait_for_requests(2)
            daemon.signal(signal.SIGKILL)
            await client.closed.wait()
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize()
            goal = await goal_of(client, thread)
            assert goal is not None
            assert (goal["status"], goal["tokensUsed"], goal["tokenBudget"]) == ("active", 15, 5000)
            model.script(tool_call("update_goal", {"status": "complete"}))
            await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
            first = (await client.until("thread/goal/updated"))["params"]
            assert (first["turnId"], first["goal"]["status"]) == (None, "active")
            assert (await until_goal_is(client, "complete"))["tokensUsed"] == 30
            await client.until("turn/completed")
