"""Threads from start to deletion: start, resume, fork, name, archive, delete, ephemeral ones."""

from typing import Any

import anyio
import pytest

from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import gate, partial, say, tool_call
from tests.support.stage import Stage, assert_balanced, begin, completed_items, ended, item_started, of_turn, run_turn

every_transport = pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])

UNKNOWN = "00000000-0000-7000-8000-000000000000"


async def read(client: RpcClient, thread: str) -> dict[str, Any]:
    return (await client.call("thread/read", {"threadId": thread, "includeTurns": True}))["thread"]


@every_transport
async def test_a_new_thread_is_idle_and_empty_and_told_to_all(stage: Stage) -> None:
    client = await stage.client("a-client")
    answer = await client.call("thread/start", {"cwd": str(stage.cwd), "threadSource": "user"})
    thread = answer["thread"]
    assert thread["sessionId"] == thread["id"]
    assert (thread["status"], thread["turns"], thread["preview"], thread["ephemeral"]) == (
        {"type": "idle"},
        [],
        "",
        False,
    )
    assert (thread["cwd"], thread["model"], thread["modelProvider"]) == (str(stage.cwd), "mock-model", "scripted")
    assert (thread["source"], thread["threadSource"], thread["originator"]) == ("vscode", "user", "a-client")
    assert (thread["forkedFromId"], thread["historyMode"], thread["cliVersion"]) == (None, "paginated", "0.169.0")
    assert thread["createdAt"] == thread["updatedAt"] == thread["recencyAt"]
    assert (answer["approvalPolicy"], answer["sandbox"]) == ("never", {"type": "readOnly", "networkAccess": False})
    assert (await client.until("thread/started"))["params"] == {"thread": thread}
    assert (await client.call("thread/loaded/list"))["data"][-1] == thread["id"]


async def test_overrides_of_thread_start_are_shown_and_kept(stage: Stage) -> None:
    client = await stage.client()
    answer = await client.call(
        "thread/start",
        {
            "cwd": str(stage.cwd),
            "model": "m2",
            "approvalPolicy": "on-request",
            "sandbox": "workspace-write",
            "config": {"model_reasoning_effort": "high"},
            "serviceTier": "flex",
        },
    )
    for shown in (answer, await client.call("thread/resume", {"threadId": answer["thread"]["id"]})):
        assert (shown["model"], shown["approvalPolicy"], shown["serviceTier"]) == ("m2", "on-request", "flex")
        assert shown["sandbox"]["type"] == "workspaceWrite"
        assert shown["reasoningEffort"] == "high"


async def test_a_loaded_and_still_empty_thread_can_be_resumed_read_and_listed(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    answer = await other.call("thread/resume", {"threadId": thread})
    assert (answer["thread"]["id"], answer["thread"]["turns"]) == (thread, [])
    assert (await read(client, thread))["turns"] == []
    for method in ("thread/turns/list", "thread/items/list"):
        page = await client.call(method, {"threadId": thread})
        assert (page["data"], page["nextCursor"]) == ([], None)
    turn = await run_turn(client, thread)
    await ended(other, turn["id"])
    assert_balanced(other, turn["id"])


async def test_resuming_twice_follows_once(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await client.call("thread/resume", {"threadId": thread})
    await client.call("thread/resume", {"threadId": thread})
    turn = await run_turn(client, thread)
    assert_balanced(client, turn["id"])


async def test_resume_shows_the_turns_and_keeps_all_ids(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("exec_command", {"cmd": "echo hi"}))
    one = await run_turn(client, thread, "one")
    two = await run_turn(client, thread, "two")
    answer = await other.call("thread/resume", {"threadId": thread})
    turns = answer["thread"]["turns"]
    assert [turn["id"] for turn in turns] == [one["id"], two["id"]]
    assert [turn["items"] for turn in turns] == [completed_items(client, turn["id"]) for turn in (one, two)]
    assert {turn["itemsView"] for turn in turns} == {"full"}
    assert turns == (await read(client, thread))["turns"]
    assert answer["thread"]["preview"] == "one"


async def test_resume_without_turns_gives_cursors_that_begin_at_the_newest(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    ids = [(await run_turn(client, thread, f"turn {number}"))["id"] for number in range(4)]
    answer = await other.call(
        "thread/resume",
        {"threadId": thread, "excludeTurns": True, "initialTurnsPage": {"limit": 2, "itemsView": "full"}},
    )
    assert answer["thread"]["turns"] == []
    page = answer["initialTurnsPage"]
    assert [turn["id"] for turn in page["data"]] == [ids[3], ids[2]]
    rest = await other.call("thread/turns/list", {"threadId": thread, "cursor": page["nextCursor"]})
    assert [turn["id"] for turn in rest["data"]] == [ids[1], ids[0]]
    newest = {"threadId": thread, "cursor": answer["turnsBackwardsCursor"], "sortDirection": "asc"}
    assert [turn["id"] for turn in (await other.call("thread/turns/list", newest))["data"]] == [ids[3]]
    newest = {"threadId": thread, "cursor": answer["itemsBackwardsCursor"], "sortDirection": "asc"}
    items = (await other.call("thread/items/list", newest))["data"]
    assert [entry["item"] for entry in items] == completed_items(client)[-1:]


async def test_resume_with_overrides_applies_them_when_it_loads_the_thread(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await client.call("thread/archive", {"threadId": thread})
    await client.call("thread/unarchive", {"threadId": thread})
    answer = await client.call("thread/resume", {"threadId": thread, "model": "m3", "sandbox": "danger-full-access"})
    assert (answer["model"], answer["sandbox"]) == ("m3", {"type": "dangerFullAccess"})


async def test_whoever_joins_a_loaded_thread_does_not_change_its_settings(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    answer = await other.call("thread/resume", {"threadId": thread, "model": "m3", "sandbox": "danger-full-access"})
    assert (answer["model"], answer["sandbox"]["type"]) == ("mock-model", "readOnly")


async def test_a_fork_goes_on_counting_the_tokens_of_its_source(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread)
    before = client.notifications("thread/tokenUsage/updated")[-1]["params"]["tokenUsage"]["total"]
    fork = (await client.call("thread/fork", {"threadId": thread}))["thread"]["id"]
    await run_turn(client, fork)
    after = client.notifications("thread/tokenUsage/updated")[-1]["params"]
    assert after["threadId"] == fork
    assert after["tokenUsage"]["total"]["totalTokens"] == 2 * before["totalTokens"]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("thread/read", "thread not found: "),
        ("thread/resume", "no rollout found for thread id "),
        ("thread/fork", "thread not found: "),
        ("thread/archive", "thread not found: "),
        ("thread/unarchive", "thread not found: "),
        ("thread/delete", "thread not found: "),
        ("thread/name/set", "thread not found: "),
        ("thread/turns/list", "thread not found: "),
        ("thread/items/list", "thread not found: "),
        ("thread/settings/update", "thread not found: "),
        ("thread/compact/start", "thread not found: "),
    ],
)
async def test_unknown_ids_are_refused_in_words_and_malformed_ones_too(
    stage: Stage, method: str, expected: str
) -> None:
    client = await stage.client()
    answer = await client.try_call(method, {"threadId": UNKNOWN, "name": "n"})
    assert answer["error"] == {"code": -32600, "message": expected + UNKNOWN}
    for malformed in ("zz", "", "../x"):
        answer = await client.try_call(method, {"threadId": malformed, "name": "n"})
        assert answer["error"]["code"] == -32600
        assert answer["error"]["message"].startswith("invalid thread id")


# Forks


async def test_a_fork_keeps_ids_and_goes_its_own_way(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    source = await stage.thread(client)
    stage.model.script(tool_call("exec_command", {"cmd": "echo hi"}))
    await run_turn(client, source, "one")
    await run_turn(client, source, "two")
    before = await read(client, source)
    answer = await client.call("thread/fork", {"threadId": source})
    fork = answer["thread"]
    assert fork["id"] != source
    assert fork["forkedFromId"] == source
    assert fork["turns"] == before["turns"]
    started = await other.until("thread/started", lambda p: p["thread"]["id"] == fork["id"])
    assert started["params"]["thread"]["turns"] == []
    sent = stage.model.requests[-1]["input"]
    await run_turn(client, fork["id"], "three")
    assert stage.model.requests[-1]["input"][: len(sent)] == sent
    assert await read(client, source) == before
    assert (await read(client, fork["id"]))["turns"][:2] == before["turns"]
    listed = {row["id"]: row for row in (await client.call("thread/list", {"limit": 100}))["data"]}
    assert listed[fork["id"]]["forkedFromId"] == source


async def test_a_fork_ends_where_it_is_told_to(stage: Stage) -> None:
    client = await stage.client()
    source = await stage.thread(client)
    ids = [(await run_turn(client, source, f"turn {number}"))["id"] for number in range(4)]
    through = await client.call("thread/fork", {"threadId": source, "lastTurnId": ids[1]})
    before = await client.call("thread/fork", {"threadId": source, "beforeTurnId": ids[1]})
    assert [turn["id"] for turn in through["thread"]["turns"]] == ids[:2]
    assert [turn["id"] for turn in before["thread"]["turns"]] == ids[:1]
    await run_turn(client, through["thread"]["id"], "next")
    words = [
        part["text"]
        for entry in stage.model.requests[-1]["input"]
        if entry.get("role") == "user"
        for part in entry["content"]
    ]
    assert words[1:] == ["turn 0", "turn 1", "next"]
    for field in ("lastTurnId", "beforeTurnId"):
        with pytest.raises(CallFailed, match="turn not found") as failure:
            await client.call("thread/fork", {"threadId": source, field: UNKNOWN})
        assert failure.value.code == -32600


async def test_a_fork_of_a_fork_outlives_its_sources(stage: Stage) -> None:
    client = await stage.client()
    source = await stage.thread(client)
    one = await run_turn(client, source, "one")
    first = (await client.call("thread/fork", {"threadId": source}))["thread"]["id"]
    two = await run_turn(client, first, "two")
    second = (await client.call("thread/fork", {"threadId": first}))["thread"]["id"]
    for gone in (source, first):
        await client.call("thread/delete", {"threadId": gone})
    kept = await read(client, second)
    assert [turn["id"] for turn in kept["turns"]] == [one["id"], two["id"]]
    assert [turn["items"] for turn in kept["turns"]] == [completed_items(client, turn["id"]) for turn in (one, two)]
    assert (await run_turn(client, second, "three"))["status"] == "completed"


async def test_a_fork_in_the_middle_of_a_turn_shows_it_as_interrupted(stage: Stage) -> None:
    client = await stage.client()
    source = await stage.thread(client)
    await anyio.run_process(["mkfifo", str(stage.cwd / "go")])
    stage.model.script(say("I run"), tool_call("exec_command", {"cmd": "echo begun; read x < go"}, "call_f"))
    turn_id = await begin(client, source)
    await client.until("item/commandExecution/outputDelta")
    fork = (await client.call("thread/fork", {"threadId": source}))["thread"]
    whole = (await client.call("thread/fork", {"threadId": source, "ephemeral": True, "excludeTurns": True}))["thread"]
    await anyio.to_thread.run_sync((stage.cwd / "go").write_text, "x\n")
    assert (await ended(client, turn_id))["status"] == "completed"
    assert [(turn["id"], turn["status"]) for turn in fork["turns"]] == [(turn_id, "interrupted")]
    assert (await read(client, fork["id"]))["turns"] == fork["turns"]
    for copy in (fork, whole):
        assert copy["status"] == {"type": "idle"}
        assert (await run_turn(client, copy["id"], "go on"))["status"] == "completed"
        entries = stage.model.requests[-1]["input"]
        calls = [entry["call_id"] for entry in entries if entry["type"] == "function_call"]
        outputs = [entry["call_id"] for entry in entries if entry["type"] == "function_call_output"]
        assert calls == outputs == ["call_f"]


async def test_an_archived_thread_can_be_forked_and_archived_again(stage: Stage) -> None:
    client = await stage.client()
    source = await stage.thread(client)
    turn = await run_turn(client, source, "one")
    for _ in range(2):
        assert await client.call("thread/archive", {"threadId": source}) == {}
    fork = (await client.call("thread/fork", {"threadId": source}))["thread"]
    assert [shown["id"] for shown in fork["turns"]] == [turn["id"]]
    assert (await run_turn(client, fork["id"], "two"))["status"] == "completed"
    listed = await client.call("thread/list", {"cwd": str(stage.cwd)})
    assert [row["id"] for row in listed["data"]] == [fork["id"]]


async def test_an_ephemeral_fork_needs_exclude_turns(stage: Stage) -> None:
    client = await stage.client()
    source = await stage.thread(client)
    await run_turn(client, source)
    with pytest.raises(CallFailed, match="excludeTurns"):
        await client.call("thread/fork", {"threadId": source, "ephemeral": True})


# Ephemeral threads


async def test_an_ephemeral_thread_works_and_leaves_nothing_in_the_store(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    marker = f"very unusual words in {stage.cwd.parent.name}"
    answer = await client.call("thread/start", {"cwd": str(stage.cwd), "ephemeral": True})
    thread = answer["thread"]["id"]
    assert answer["thread"]["ephemeral"] is True
    stage.model.script(say(f"answer to {marker}"))
    turn = await run_turn(client, thread, marker)
    assert_balanced(client, turn["id"])
    await run_turn(client, thread, "more")
    assert marker in str(stage.model.requests[-1]["input"])
    assert thread in (await client.call("thread/loaded/list"))["data"]
    assert (await other.call("thread/resume", {"threadId": thread, "excludeTurns": True}))["thread"]["id"] == thread
    everything = await client.call("thread/list", {"limit": 100, "searchTerm": "unusual words"})
    assert everything["data"] == []
    for method in ("thread/archive", "thread/turns/list", "thread/items/list"):
        with pytest.raises(CallFailed, match="ephemeral") as failure:
            await client.call(method, {"threadId": thread})
        assert failure.value.code == -32600
    assert await client.call("thread/delete", {"threadId": thread}) == {}
    with pytest.raises(CallFailed, match="thread not found"):
        await client.call("thread/read", {"threadId": thread})
    stored = b"".join(path.read_bytes() for path in (stage.home / "turnloom").rglob("*") if path.is_file())
    assert b"very unusual words" not in stored
    assert thread.encode() not in stored


# Names


async def test_a_name_is_kept_trimmed_and_told(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    request = await client.post("thread/name/set", {"threadId": thread, "name": "  A Name  "})
    assert (await client.answer_to(request))["result"] == {}
    told = await other.until("thread/name/updated")
    assert told["params"] == {"threadId": thread, "threadName": "A Name"}
    assert (await read(client, thread))["name"] == "A Name"


@pytest.mark.parametrize("name", ["", "   ", "\n"])
async def test_an_empty_name_is_refused(stage: Stage, name: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    answer = await client.try_call("thread/name/set", {"threadId": thread, "name": name})
    assert answer["error"] == {"code": -32600, "message": "thread name must not be empty"}


# Archiving and deleting


async def test_an_archived_thread_is_unloaded_hidden_and_comes_back(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread, "keep me")
    before = (await read(client, thread))["turns"]
    assert await client.call("thread/archive", {"threadId": thread}) == {}
    assert (await client.until("thread/archived"))["params"] == {"threadId": thread}
    assert thread not in (await client.call("thread/loaded/list"))["data"]
    for archived, expected in ((False, []), (True, [thread])):
        page = await client.call("thread/list", {"archived": archived, "cwd": str(stage.cwd)})
        assert [row["id"] for row in page["data"]] == expected
    assert (await read(client, thread))["turns"] == before
    with pytest.raises(CallFailed, match="archived"):
        await client.call("thread/resume", {"threadId": thread})
    with pytest.raises(CallFailed, match="thread not found"):
        await begin(client, thread)
    answer = await client.call("thread/unarchive", {"threadId": thread})
    assert (answer["thread"]["id"], answer["thread"]["status"]) == (thread, {"type": "notLoaded"})
    assert (await client.until("thread/unarchived"))["params"] == {"threadId": thread}
    with pytest.raises(CallFailed, match="not archived"):
        await client.call("thread/unarchive", {"threadId": thread})
    assert (await client.call("thread/resume", {"threadId": thread}))["thread"]["turns"] == before
    assert (await run_turn(client, thread))["status"] == "completed"


@pytest.mark.parametrize("method", ["thread/archive", "thread/delete"])
async def test_a_running_turn_is_interrupted_before_its_thread_goes(stage: Stage, method: str) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    await other.call("thread/resume", {"threadId": thread})
    stage.model.script(partial("half"), gate(anyio.Event()))
    turn_id = await begin(client, thread)
    await item_started(client, turn_id, "agentMessage")
    assert await client.call(method, {"threadId": thread}) == {}
    news = "thread/archived" if method == "thread/archive" else "thread/deleted"
    for each in (client, other):
        gone = await each.until(news)
        turn = await ended(each, turn_id)
        assert turn["status"] == "interrupted"
        assert_balanced(each, turn_id)
        end = next(m for m in each.received if m.get("method") == "turn/completed")
        assert each.received.index(end) < each.received.index(gone)
    await stage.model.wait_for_hangups(1)


async def test_a_deleted_thread_is_gone(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    turn = await run_turn(client, thread, "forget the elephants")
    assert of_turn(client, turn["id"])
    assert await client.call("thread/delete", {"threadId": thread}) == {}
    assert (await client.until("thread/deleted"))["params"] == {"threadId": thread}
    for method in ("thread/read", "thread/resume", "thread/delete"):
        with pytest.raises(CallFailed) as failure:
            await client.call(method, {"threadId": thread})
        assert failure.value.code == -32600
    assert (await client.call("thread/list", {"searchTerm": "elephants"}))["data"] == []


@pytest.mark.parametrize("archived", [False, True])
async def test_a_thread_that_is_not_loaded_can_be_deleted(stage: Stage, archived: bool) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread)
    await client.call("thread/archive", {"threadId": thread})
    if not archived:
        await client.call("thread/unarchive", {"threadId": thread})
    assert await client.call("thread/delete", {"threadId": thread}) == {}
    assert (await client.call("thread/list", {"cwd": str(stage.cwd), "archived": archived}))["data"] == []


# Requests that stand for a turn


@pytest.mark.parametrize("method", ["thread/compact/start", "review/start"])
async def test_what_is_missing_is_said_inside_a_turn(stage: Stage, method: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    answer = await client.call(method, {"threadId": thread, "target": {"type": "uncommittedChanges"}})
    turn_id = (await client.until("turn/started"))["params"]["turn"]["id"]
    turn = await ended(client, turn_id)
    assert turn["status"] == "failed"
    assert "not available in this version" in turn["error"]["message"]
    if method == "review/start":
        assert (answer["turn"]["id"], answer["reviewThreadId"]) == (turn_id, thread)
    assert (await run_turn(client, thread))["status"] == "completed"
