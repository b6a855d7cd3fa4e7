"""Several clients of one daemon: who is told what, and what one of them can do to another."""

from typing import Any

import anyio
import pytest

from app_server.handlers.registry import load_handlers
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import gate, partial, reasoning, say, tool_call
from tests.support.stage import Stage, begin, ended, item_started, of_turn, run_turn

network = pytest.mark.parametrize("transport", ["unix", "ws"])

THREAD_NEWS = {
    "thread/started",
    "thread/status/changed",
    "thread/name/updated",
    "thread/archived",
    "thread/unarchived",
    "thread/deleted",
    "thread/closed",
}


def of_thread(client: RpcClient, thread: str) -> list[Message]:
    """What the client was told of a thread, without what is in front of it by accident: when it was sent."""
    return [
        {"method": message["method"], "params": message["params"]}
        for message in client.notifications()
        if message["params"].get("threadId") == thread or message["params"].get("thread", {}).get("id") == thread
    ]


@network
async def test_all_subscribers_get_the_same_events_in_the_same_order(stage: Stage) -> None:
    clients = [await stage.client(f"client {number}") for number in range(8)]
    thread = await stage.thread(clients[0])
    for client in clients[1:]:
        await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
    script = "for i in 1 2 3 4 5; do echo $i; done"
    stage.model.script(reasoning("hm", content="raw"), tool_call("exec_command", {"cmd": script}))
    stage.model.script(say("a long answer in many pieces", deltas=20))
    turn_id = await begin(clients[3], thread, model="other")
    for client in clients:
        await ended(client, turn_id)
    whole = [message for message in of_thread(clients[0], thread) if message["method"] != "thread/started"]
    assert len(whole) >= 30
    for client in clients[1:]:
        assert [message for message in of_thread(client, thread) if message["method"] != "thread/started"] == whole


async def test_every_event_says_when_it_was_emitted_once_for_all(stage: Stage) -> None:
    first, second = await stage.client(), await stage.client()
    thread = await stage.thread(first)
    await second.call("thread/resume", {"threadId": thread})
    turn_id = await begin(first, thread)
    await ended(first, turn_id)
    await ended(second, turn_id)
    stamps = [
        [m["emittedAtMs"] for m in client.notifications() if m["params"].get("turnId") == turn_id]
        for client in (first, second)
    ]
    assert stamps[0] == stamps[1] == sorted(stamps[0])


@network
async def test_clients_that_do_not_follow_get_thread_news_and_nothing_else(stage: Stage) -> None:
    client, bystander = await stage.client(), await stage.client("bystander")
    thread = await stage.thread(client)
    await client.call("turn/start", {"threadId": thread, "input": [{"type": "text", "text": "a"}], "model": "other"})
    await client.until("turn/completed")
    await client.call("thread/name/set", {"threadId": thread, "name": "Named"})
    await client.call("thread/archive", {"threadId": thread})
    await client.call("thread/unarchive", {"threadId": thread})
    await client.call("thread/delete", {"threadId": thread})
    await bystander.until("thread/deleted")
    told = [
        (message["method"], message["params"].get("status", {}).get("type")) for message in of_thread(bystander, thread)
    ]
    assert told == [
        ("thread/started", None),
        ("thread/status/changed", "active"),
        ("thread/status/changed", "idle"),
        ("thread/name/updated", None),
        ("thread/status/changed", "notLoaded"),
        ("thread/archived", None),
        ("thread/unarchived", None),
        ("thread/deleted", None),
    ]
    assert {message["method"] for message in of_thread(bystander, thread)} <= THREAD_NEWS
    followed = [m for m in of_thread(client, thread) if m["method"] in THREAD_NEWS]
    assert followed == of_thread(bystander, thread)


async def test_a_client_that_has_not_initialized_is_told_nothing(stage: Stage) -> None:
    silent, client = await stage.connect(), await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread)
    answer = await silent.try_call("thread/list", {})
    assert answer["error"] == {"code": -32600, "message": "Not initialized"}
    assert silent.received == [answer]


async def test_a_forked_thread_is_followed_by_who_forked_it(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    source = await stage.thread(client)
    await run_turn(client, source)
    fork = (await other.call("thread/fork", {"threadId": source}))["thread"]["id"]
    turn = await run_turn(other, fork)
    assert of_turn(other, turn["id"])
    await client.call("thread/loaded/list")
    assert of_turn(client, turn["id"]) == []


async def test_who_unsubscribes_gets_no_further_items(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    await other.call("thread/resume", {"threadId": thread})
    assert await other.call("thread/unsubscribe", {"threadId": thread}) == {"status": "unsubscribed"}
    assert await other.call("thread/unsubscribe", {"threadId": thread}) == {"status": "notSubscribed"}
    turn = await run_turn(client, thread)
    await other.call("thread/loaded/list")
    assert of_turn(other, turn["id"]) == []
    assert [m["params"]["status"]["type"] for m in other.notifications("thread/status/changed")][-2:] == [
        "active",
        "idle",
    ]


async def test_unsubscribing_from_a_thread_that_is_not_loaded_says_so(stage: Stage) -> None:
    client = await stage.client()
    answer = await client.call("thread/unsubscribe", {"threadId": "00000000-0000-7000-8000-000000000000"})
    assert answer == {"status": "notLoaded"}
    with pytest.raises(CallFailed, match="invalid thread id"):
        await client.call("thread/unsubscribe", {"threadId": "x"})


async def test_a_turn_goes_on_when_who_started_it_unsubscribes(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(partial("a"), gate(opening), say("whole"))
    turn_id = await begin(client, thread)
    await item_started(client, turn_id, "agentMessage")
    await client.call("thread/unsubscribe", {"threadId": thread})
    opening.set()
    await client.until("thread/status/changed", lambda p: p["status"]["type"] == "idle")
    page = await client.call("thread/turns/list", {"threadId": thread})
    assert page["data"][0]["status"] == "completed"
    assert client.notifications("turn/completed") == []


@network
async def test_methods_that_a_client_opted_out_of_are_not_sent_to_it(stage: Stage) -> None:
    unwanted = ["item/agentMessage/delta", "thread/started", "thread/tokenUsage/updated"]
    quiet, client = await stage.client("quiet", opt_out=unwanted), await stage.client()
    thread = await stage.thread(quiet)
    await client.call("thread/resume", {"threadId": thread})
    stage.model.script(say("some words", deltas=4))
    turn_id = await begin(quiet, thread)
    await ended(quiet, turn_id)
    await ended(client, turn_id)
    assert quiet.notifications(*unwanted) == []
    whole = [message for message in of_turn(client, turn_id) if message["method"] not in unwanted]
    assert of_turn(quiet, turn_id) == whole
    assert client.notifications("item/agentMessage/delta")


EXPERIMENTAL_PARAMS: list[tuple[str, dict[str, Any], str]] = [
    ("thread/start", {"environments": []}, "thread/start.environments"),
    ("thread/start", {"dynamicTools": []}, "thread/start.dynamicTools"),
    ("thread/start", {"historyMode": "paginated"}, "thread/start.historyMode"),
    ("thread/resume", {"initialTurnsPage": {}}, "thread/resume.initialTurnsPage"),
    ("thread/resume", {"path": "/x"}, "thread/resume.path"),
    ("thread/fork", {"beforeTurnId": "x"}, "thread/fork.beforeTurnId"),
    ("thread/list", {"parentThreadId": "x"}, "thread/list.parentThreadId"),
    ("turn/start", {"additionalContext": {}, "input": []}, "turn/start.additionalContext"),
    ("turn/start", {"permissions": ":workspace", "input": []}, "turn/start.permissions"),
]


@pytest.mark.parametrize(("method", "params", "reason"), EXPERIMENTAL_PARAMS)
async def test_experimental_fields_need_the_capability(
    stage: Stage, method: str, params: dict[str, Any], reason: str
) -> None:
    client = await stage.client(experimental=False)
    thread = await stage.thread(client)
    answer = await client.try_call(method, {"threadId": thread, **params})
    assert answer["error"] == {"code": -32600, "message": f"{reason} requires experimentalApi capability"}


async def test_experimental_methods_need_the_capability(stage: Stage) -> None:
    methods = {endpoint.descriptor.method: endpoint.descriptor.experimental for endpoint in load_handlers().values()}
    experimental = {method: reason for method, reason in methods.items() if reason is not None}
    stable = await stage.client(experimental=False)
    assert "thread/settings/update" in experimental
    for method, reason in experimental.items():
        answer = await stable.try_call(method, {})
        message = f"{reason} requires experimentalApi capability"
        assert answer["error"] == {"code": -32600, "message": message}, method
    for method in methods.keys() - experimental.keys():
        answer = await stable.try_call(method, {"threadId": 5})
        assert "requires experimentalApi" not in str(answer), method


async def test_experimental_members_reach_only_clients_with_the_capability(stage: Stage) -> None:
    stable, client = await stage.client("stable", experimental=False), await stage.client("experimental")
    thread = await stage.thread(client)
    answers = [
        await each.call("thread/resume", {"threadId": thread, "excludeTurns": True}) for each in (client, stable)
    ]
    await run_turn(client, thread, model="other")
    await stable.until("turn/completed")
    for each in (client, stable):
        answers.append(await each.call("thread/read", {"threadId": thread, "includeTurns": True}))
    for each in (client, stable):
        answers.append((await each.call("thread/list", {}))["data"][0])
    for each in (client, stable):
        answers.append(await each.call("thread/fork", {"threadId": thread}))
    started = client.notifications("thread/started")[0]["params"], stable.notifications("thread/started")[0]["params"]
    changed = (
        client.notifications("thread/settings/updated")[0]["params"],
        stable.notifications("thread/settings/updated")[0]["params"],
    )
    members = {"attachedToThreadId", "canAcceptDirectInput", "daybreakEnabled", "environments", "extra"}
    for with_all, without in [(answers[0], answers[1]), (answers[2], answers[3]), (answers[6], answers[7]), started]:
        assert members <= with_all["thread"].keys()
        assert members.isdisjoint(without["thread"])
        if with_all["thread"]["id"] == without["thread"]["id"]:
            shared = {key: value for key, value in with_all["thread"].items() if key not in members}
            assert without["thread"] == shared
    assert members.isdisjoint(answers[5])
    assert members <= answers[4].keys()
    for member in ("multiAgentMode", "runtimeWorkspaceRoots", "activePermissionProfile"):
        assert member in answers[0]
        assert member not in answers[1]
    for member in ("environments", "multiAgentMode"):
        assert member in changed[0]["threadSettings"]
        assert member not in changed[1]["threadSettings"]
    kept = {k: v for k, v in changed[0]["threadSettings"].items() if k not in ("environments", "multiAgentMode")}
    assert changed[1]["threadSettings"] == kept


async def test_each_clients_user_agent_names_itself(stage: Stage) -> None:
    one, two = await stage.connect(), await stage.connect()
    answers = [await one.initialize("first-client"), await two.initialize("second-client")]
    assert [answer["userAgent"].split("/")[0] for answer in answers] == ["first-client", "second-client"]
    assert all("serverInfo" not in answer for answer in answers)


async def test_process_ids_of_one_connection_are_out_of_reach_of_another(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    running = await client.post(
        "command/exec", {"command": ["sleep", "86400"], "processId": "mine", "streamStdoutStderr": True}
    )
    answer = await other.try_call("command/exec/terminate", {"processId": "mine"})
    assert answer["error"] == {"code": -32600, "message": 'no active command/exec for process id "mine"'}
    # Asked until the command has started: the two requests may overtake each other.
    while "error" in await client.try_call("command/exec/terminate", {"processId": "mine"}):
        pass
    assert (await client.answer_to(running))["result"]["exitCode"] == 137


async def test_two_turns_run_at_once_on_one_connection(stage: Stage) -> None:
    client = await stage.client()
    one, two = await stage.thread(client), await stage.thread(client)
    opening = anyio.Event()
    stage.model.script(gate(opening), say("first to begin"))
    slow = await begin(client, one)
    await stage.model.wait_for_requests(1)
    quick = await run_turn(client, two)
    assert quick["status"] == "completed"
    opening.set()
    assert (await ended(client, slow))["status"] == "completed"
