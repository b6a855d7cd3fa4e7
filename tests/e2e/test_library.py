"""The thread library: sections, projects, attachments, metadata and read states, and who is told of them."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from app_server.store.sections import PINNED
from tests.support.daemon import running_daemon
from tests.support.rpc_client import RpcClient
from tests.support.scripted_model import gate, partial, say, status
from tests.support.stage import Stage, begin, ended, item_started, run_turn, set_stage

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with set_stage(tmp_path_factory.mktemp("library")) as stage:
        yield stage


async def refusal(client: RpcClient, method: str, **params: Any) -> str:
    """The text of an error, which is one that says what was wrong with the request."""
    error = (await client.try_call(method, params))["error"]
    assert error["code"] == -32600
    return error["message"]


async def settled(client: RpcClient) -> None:
    """All that was told before is here: the answer comes after it."""
    await client.call("thread/loaded/list")


def told(client: RpcClient, method: str) -> list[Any]:
    return [message["params"] for message in client.notifications(method)]


async def test_every_client_is_told_where_a_thread_was_moved(shared: Stage) -> None:
    client, other = await shared.client(), await shared.client("other")
    thread = await shared.thread(client)
    section = (await client.call("threadSection/create", {"name": " Work ", "appearance": {"icon": "star"}}))["section"]
    assert section["name"] == "Work"
    assert section["appearance"] == {"icon": "star", "color": None}
    for wanted in (section["id"], None):
        assert await client.call("thread/section/move", {"threadId": thread, "sectionId": wanted}) == {}
    expected = [{"threadId": thread, "sectionId": section["id"]}, {"threadId": thread, "sectionId": None}]
    for one in (client, other):
        await settled(one)
        assert told(one, "thread/section/changed") == expected


async def test_a_thread_that_is_open_shows_its_section_as_it_is_now(shared: Stage) -> None:
    client = await shared.client()
    thread = await shared.thread(client)
    section = (await client.call("threadSection/create", {"name": "Before"}))["section"]["id"]
    await client.call("thread/section/move", {"threadId": thread, "sectionId": section})
    await client.call("threadSection/update", {"sectionId": section, "name": "After"})
    read = (await client.call("thread/read", {"threadId": thread}))["thread"]
    assert read["section"] == {"id": section, "name": "After", "appearance": None}
    assert read["sectionEnteredAt"] >= read["createdAt"]
    resumed = (await client.call("thread/resume", {"threadId": thread}))["thread"]
    assert resumed["section"] == read["section"]
    # It is shown where somebody has put it, although nothing was said in it.
    params = {"sectionId": section, "sortKey": "section_position"}
    assert [row["id"] for row in (await client.call("thread/list", params))["data"]] == [thread]
    await client.call("threadSection/delete", {"sectionId": section})
    read = (await client.call("thread/read", {"threadId": thread}))["thread"]
    assert (read["section"], read["sectionEnteredAt"]) == (None, None)


async def test_what_cannot_be_done_with_sections_is_refused_with_the_reason(shared: Stage) -> None:
    client = await shared.client()
    thread, ephemeral = await shared.thread(client), await shared.thread(client, ephemeral=True)
    move = "thread/section/move"
    assert await refusal(client, "threadSection/create", name="  ") == "section name must not be empty"
    renamed = await refusal(client, "threadSection/update", sectionId=PINNED, name="x")
    assert renamed == "the built-in pinned section cannot be renamed"
    deleted = await refusal(client, "threadSection/delete", sectionId=PINNED)
    assert deleted == "the built-in pinned section cannot be deleted"
    assert "does not exist" in await refusal(client, move, threadId=thread, sectionId="nope")
    assert await refusal(client, move, threadId=UNKNOWN, sectionId=PINNED) == f"thread not found: {UNKNOWN}"
    itself = await refusal(client, move, threadId=thread, sectionId=PINNED, beforeThreadId=thread)
    assert itself == f"thread {thread} cannot be moved before itself"
    elsewhere = await refusal(client, move, threadId=thread, sectionId=PINNED, beforeThreadId=UNKNOWN)
    assert elsewhere == f"before thread {UNKNOWN} is not in section {PINNED}"
    nowhere = await refusal(client, move, threadId=thread, sectionId=None, beforeThreadId=UNKNOWN)
    assert nowhere == "beforeThreadId requires a non-null sectionId"
    kept = await refusal(client, move, threadId=ephemeral, sectionId=PINNED)
    assert kept == f"ephemeral thread does not support section moves: {ephemeral}"
    unsorted = await refusal(client, "thread/list", sortKey="section_position")
    assert unsorted.startswith("section-position sorting requires a section filter")


async def test_lists_tell_threads_without_a_section_or_project_from_all(shared: Stage) -> None:
    client = await shared.client("lister")
    project = (await client.call("project/create", {"idempotencyKey": "lists", "name": "P", "roots": []}))["project"]
    ids: list[str] = []
    for params in ({}, {"projectId": project["id"]}, {}):
        ids.append(await shared.thread(client, **params))
        await run_turn(client, ids[-1])
    await client.call("thread/section/move", {"threadId": ids[2], "sectionId": PINNED})

    async def listed(**params: Any) -> set[str]:
        answer = await client.call("thread/list", {"originators": ["lister"], **params})
        assert answer["readStates"].keys() == {row["id"] for row in answer["data"]}
        return {row["id"] for row in answer["data"]}

    assert await listed() == set(ids)
    assert await listed(sectionId=None) == {ids[0], ids[1]}
    assert await listed(projectId=None) == {ids[0], ids[2]}
    assert await listed(projectId=project["id"]) == {ids[1]}
    assert await listed(sectionId=PINNED, projectId=None) == {ids[2]}
    assert await refusal(client, "thread/list", projectId="nope") == "project not found: nope"


async def test_every_client_is_told_of_projects_before_the_answer(shared: Stage) -> None:
    client, other = await shared.client(), await shared.client("other")
    thread = await shared.thread(client)
    params = {"idempotencyKey": "told", "name": "P", "roots": [{"path": "/a/../b/"}], "threads": [thread]}
    project = (await client.call("project/import", params))["project"]
    assert (project["roots"], project["metadata"]) == ([{"path": "/b"}], {})
    again = await client.call("project/create", {"idempotencyKey": "told", "name": "Q", "roots": []})
    assert again["project"]["id"] == project["id"]
    await client.call("project/update", {"projectId": project["id"], "metadata": {"a": "b"}})
    await client.call("project/move", {"projectId": project["id"]})
    await client.call("project/delete", {"projectId": project["id"]})
    await settled(other)
    for one in (client, other):
        kinds = [
            params["changeType"] for params in told(one, "project/changed") if params["projectId"] == project["id"]
        ]
        assert kinds == ["created", "updated", "updated", "deleted"]
        moves = [params for params in told(one, "thread/project/updated") if params["threadId"] == thread]
        assert [params["projectId"] for params in moves] == [project["id"], None]
    assert (await client.call("thread/read", {"threadId": thread}))["thread"]["projectId"] is None
    used = await refusal(client, "project/create", idempotencyKey="told", name="x", roots=[])
    assert used == "idempotency key refers to deleted project: told"


async def test_what_cannot_be_done_with_projects_is_refused_with_the_reason(shared: Stage) -> None:
    client = await shared.client()
    thread = await shared.thread(client)
    new: dict[str, Any] = {"idempotencyKey": "k", "name": "P", "roots": []}
    for change, reason in (
        ({"name": " "}, "project name must not be empty"),
        ({"idempotencyKey": ""}, "idempotencyKey must not be empty"),
        ({"roots": [{"path": "/a"}, {"path": "/a/"}]}, "duplicate project root: /a"),
        ({"threads": [thread, thread]}, f"duplicate thread id: {thread}"),
        ({"threads": [UNKNOWN]}, f"thread not found: {UNKNOWN}"),
    ):
        assert await refusal(client, "project/import", **(new | change)) == reason
    for method in ("project/read", "project/update", "project/move", "project/delete"):
        assert await refusal(client, method, projectId="nope") == "project not found: nope"
    assert await refusal(client, "project/list", sortDirection="asc") == "sortDirection requires sortKey"
    assert await refusal(client, "thread/start", projectId="nope") == "project not found: nope"


async def test_every_client_is_told_of_attachments_once(shared: Stage) -> None:
    client, other = await shared.client(), await shared.client("other")
    thread = await shared.thread(client)
    key = {"threadId": thread, "attachmentType": "pr", "identityKey": "1"}
    made = await client.call("thread/attachment/add", key | {"payload": {"n": [1, None]}})
    assert (made["outcome"], made["attachment"]["payload"]) == ("created", {"n": [1, None]})
    again = await client.call("thread/attachment/add", key | {"payload": 2})
    assert again == {"outcome": "existing", "attachment": made["attachment"]}
    owners = {"attachmentType": "pr", "identityKey": "1"}
    listed = await client.call("thread/attachmentOwner/list", owners)
    assert listed["data"] == [{"threadId": thread, "archived": False}]
    for _ in range(2):
        assert await client.call("thread/attachment/remove", key) == {}
    assert (await client.call("thread/attachment/list", {"threadId": thread}))["data"] == []
    await settled(other)
    for one in (client, other):
        news = told(one, "thread/attachment/updated")
        assert [(params["operation"], params["attachmentId"]) for params in news] == [
            ("created", made["attachment"]["id"]),
            ("deleted", made["attachment"]["id"]),
        ]
    add = "thread/attachment/add"
    assert await refusal(client, add, **(key | {"identityKey": "", "payload": 1})) == "identityKey must not be empty"
    long = await refusal(client, add, **(key | {"attachmentType": "t" * 257, "payload": 1}))
    assert long == "attachmentType must not exceed 256 bytes"
    big = await refusal(client, add, **(key | {"payload": "p" * 65_536}))
    assert big == "attachment payload must not exceed 65536 bytes"
    # By hand: the encoder of the test does not go that deep either.
    params = orjson.dumps(key | {"payload": 0})[:-2] + b"[" * 400 + b"]" * 400 + b"}"
    await client.send_raw(b'{"id":"deep","method":"%b","params":%b}' % (add.encode(), params))
    error = (await client.answer_to("deep"))["error"]
    assert error == {"code": -32600, "message": "attachment payload is nested too deeply"}


async def test_metadata_changes_what_is_given_and_keeps_the_rest(shared: Stage) -> None:
    client = await shared.client()
    thread = await shared.thread(client)

    async def update(**params: Any) -> Any:
        return (await client.call("thread/metadata/update", {"threadId": thread, **params}))["thread"]

    await update(gitInfo={"sha": None, "branch": None, "originUrl": None})
    assert (await update(gitInfo={"sha": "abc"}))["gitInfo"] == {"sha": "abc", "branch": None, "originUrl": None}
    changed = await update(gitInfo={"branch": " main ", "sha": None}, daybreakEnabled=True)
    assert changed["gitInfo"] == {"sha": None, "branch": "main", "originUrl": None}
    assert changed["daybreakEnabled"] is True
    assert (await update(gitInfo={"branch": None}))["gitInfo"] is None
    assert (await client.call("thread/read", {"threadId": thread}))["thread"]["daybreakEnabled"] is True
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "thread metadata update must include at least one field"),
        ({"gitInfo": {}}, "gitInfo must include at least one field"),
        ({"gitInfo": {"originUrl": " "}}, "gitInfo.originUrl must not be empty"),
        ({"projectId": "nope"}, "project not found: nope"),
    ]
    for params, reason in refused:
        assert await refusal(client, "thread/metadata/update", threadId=thread, **params) == reason
    ephemeral = await shared.thread(client, ephemeral=True)
    for method, params in (("metadata/update", {"daybreakEnabled": True}), ("memoryMode/set", {"mode": "disabled"})):
        reason = await refusal(client, f"thread/{method}", threadId=ephemeral, **params)
        assert reason == f"ephemeral thread does not support metadata updates: {ephemeral}"
    assert await client.call("thread/memoryMode/set", {"threadId": thread, "mode": "disabled"}) == {}


async def test_a_fork_keeps_the_project_and_not_the_section(shared: Stage) -> None:
    client = await shared.client()
    project = (await client.call("project/create", {"idempotencyKey": "fork", "name": "P", "roots": []}))["project"]
    thread = await shared.thread(client, projectId=project["id"], daybreakEnabled=True)
    await run_turn(client, thread)
    await client.call("thread/section/move", {"threadId": thread, "sectionId": PINNED})
    fork = (await client.call("thread/fork", {"threadId": thread}))["thread"]
    assert (fork["projectId"], fork["daybreakEnabled"], fork["section"]) == (project["id"], True, None)


async def test_an_ended_turn_is_unread_until_somebody_has_read_it(shared: Stage) -> None:
    client, other = await shared.client(), await shared.client("other")
    thread = await shared.thread(client)
    assert (await client.call("thread/read", {"threadId": thread}))["readState"] is None
    nothing = await refusal(
        client, "thread/readState/update", threadId=thread, operation={"type": "read"}, expectedRevision=""
    )
    assert nothing == "thread read state unavailable"
    turn = (await run_turn(client, thread))["id"]
    (first,) = told(client, "thread/readState/changed")
    assert first["readState"]["firstUnread"] == {"type": "turn", "turnId": turn}
    order = [message["method"] for message in client.received if "method" in message]
    assert order.index("thread/readState/changed") < order.index("turn/completed")
    listed = (await other.call("thread/list", {"limit": 1}))["readStates"]
    assert listed == {thread: first["readState"]}
    update = {"threadId": thread, "operation": {"type": "read"}, "expectedRevision": first["readState"]["revision"]}
    read = (await other.call("thread/readState/update", update))["readState"]
    assert read["firstUnread"] is None
    conflict = (await other.try_call("thread/readState/update", update))["error"]
    assert (conflict["code"], conflict["message"]) == (-32600, "read state changed")
    assert conflict["data"] == {"reason": "readStateConflict", "readState": read}
    update |= {"operation": {"type": "unread"}, "expectedRevision": read["revision"]}
    unread = (await client.call("thread/readState/update", update))["readState"]
    assert unread["firstUnread"] == {"type": "threadStart"}
    assert (await client.call("thread/read", {"threadId": thread}))["readState"] == unread
    await settled(other)
    # Followers are told, and who only asks is not.
    assert [params["readState"] for params in told(client, "thread/readState/changed")][1:] == [read, unread]
    assert told(other, "thread/readState/changed") == []


async def test_failed_turns_are_unread_too_and_interrupted_ones_and_the_user_s_own_commands_not(shared: Stage) -> None:
    client = await shared.client()
    thread = await shared.thread(client)
    held = anyio.Event()
    shared.model.script(partial("so"), gate(held), say("late"))
    running = await begin(client, thread)
    await item_started(client, running, "agentMessage")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": running})
    await ended(client, running)
    held.set()
    await client.call("thread/shellCommand", {"threadId": thread, "command": "true"})
    await client.until("turn/completed", lambda params: params["turn"]["id"] != running)
    assert told(client, "thread/readState/changed") == []
    shared.model.script(status(400))
    failed = await run_turn(client, thread)
    assert failed["status"] == "failed"
    (news,) = told(client, "thread/readState/changed")
    assert news["readState"]["firstUnread"] == {"type": "turn", "turnId": failed["id"]}


async def test_what_users_keep_survives_the_end_of_the_daemon(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        project = (await client.call("project/create", {"idempotencyKey": "k", "name": "P", "roots": []}))["project"]
        thread = await stage.thread(client, projectId=project["id"])
        await run_turn(client, thread)
        await client.call("thread/section/move", {"threadId": thread, "sectionId": PINNED})
        before = await client.call("thread/read", {"threadId": thread})
        stage.daemon.signal(signal.SIGKILL)
        async with running_daemon(stage.home, "ws://127.0.0.1:0") as daemon, daemon.client() as again:
            await again.initialize(experimental=True)
            after = await again.call("thread/read", {"threadId": thread})
            update = {"threadId": thread, "operation": {"type": "read"}}
            update |= {"expectedRevision": after["readState"]["revision"]}
            state = (await again.call("thread/readState/update", update))["readState"]
    assert state["firstUnread"] is None
    assert after["readState"] == before["readState"]
    for member in ("section", "sectionEnteredAt", "projectId"):
        assert after["thread"][member] == before["thread"][member] is not None
