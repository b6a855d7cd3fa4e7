"""Sessions of the reference with the real program: listed, read, gone on with and forked, their files left alone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import say
from tests.support.session_files import (
    THREAD,
    append,
    context,
    event,
    name_thread,
    old_turn,
    spoken_turn,
    write_session,
)
from tests.support.stage import Stage, run_turn, set_stage

ARCHIVED = "01a20000-0000-7000-8000-000000000002"
OF_A_SCRIPT = "01a20000-0000-7000-8000-000000000003"
OLD = "01a20000-0000-7000-8000-000000000004"

COUNTS = {"input_tokens": 30, "cached_input_tokens": 0, "output_tokens": 5, "total_tokens": 35}


@dataclass
class Sessions:
    """A home with four sessions of the reference, and a daemon on it."""

    stage: Stage
    client: RpcClient
    files: dict[str, Path]

    async def list(self, **params: Any) -> list[str]:
        return [row["id"] for row in (await self.client.call("thread/list", params))["data"]]

    async def read(self, thread_id: str) -> dict[str, Any]:
        return (await self.client.call("thread/read", {"threadId": thread_id, "includeTurns": True}))["thread"]


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    async with set_stage(tmp_path) as stage:
        ran = context(cwd=str(stage.cwd), approval_policy="untrusted", sandbox_policy={"type": "workspace-write"})
        used = event("token_count", info={"total_token_usage": COUNTS, "last_token_usage": COUNTS})
        turns = [ran, *spoken_turn("t1", "What is it?", "A file."), *spoken_turn("t2", "And now?", "Still."), used]
        place: dict[str, Any] = {"cwd": str(stage.cwd)}
        files = {
            THREAD: write_session(stage.home, turns, **place),
            ARCHIVED: write_session(stage.home, turns, thread_id=ARCHIVED, archived=True, **place),
            OF_A_SCRIPT: write_session(stage.home, turns, thread_id=OF_A_SCRIPT, source="exec", **place),
            OLD: write_session(
                stage.home,
                old_turn("o1", "Old?", "Yes."),
                thread_id=OLD,
                paginated=False,
                day="2025/10/04",
                timestamp="2025-10-04T01:02:03.000Z",
                **place,
            ),
        }
        name_thread(stage.home, THREAD, "The file")
        yield Sessions(stage, await stage.client(), files)


@pytest.fixture(autouse=True)
async def untouched(sessions: Sessions) -> AsyncIterator[None]:
    """Whatever a test does, the daemon leaves the files and their folders as they are."""
    home = sessions.stage.home
    folders = home / "sessions", home / "archived_sessions"
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*.jsonl")}
    yield
    after = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert all(content.startswith(before[path]) for path, content in after.items())


async def test_they_are_listed_with_our_own_by_source_name_and_archive(sessions: Sessions) -> None:
    ours = await sessions.stage.thread(sessions.client)
    await run_turn(sessions.client, ours, "Ours")

    assert await sessions.list() == [ours, THREAD, OLD]
    assert await sessions.list(sourceKinds=["exec"]) == [OF_A_SCRIPT]
    assert await sessions.list(archived=True) == [ARCHIVED]
    assert await sessions.list(searchTerm="the FILE") == [THREAD]
    assert await sessions.list(cwd=str(sessions.stage.cwd), limit=2, sortKey="created_at") == [ours, THREAD]
    row = (await sessions.client.call("thread/list", {"searchTerm": "The file"}))["data"][0]
    shown = ("name", "preview", "source", "model", "modelProvider", "cliVersion", "status")
    assert {name: row[name] for name in shown} == {
        "name": "The file",
        "preview": "What is it?",
        "source": "cli",
        "model": "session-model",
        "modelProvider": "scripted",
        "cliVersion": "0.169.0",
        "status": {"type": "notLoaded"},
    }


async def test_one_of_a_sub_agent_says_whose_it_is(sessions: Sessions) -> None:
    spawned = {"parent_thread_id": THREAD, "depth": 1, "agent_nickname": "Ada", "agent_role": "explorer"}
    child = "01a20000-0000-7000-8000-000000000005"
    source = {"subagent": {"thread_spawn": spawned}}
    path = write_session(sessions.stage.home, spoken_turn("c1", "Look", "Seen"), thread_id=child, source=source)

    row = (await sessions.client.call("thread/list", {"parentThreadId": THREAD}))["data"][0]
    path.unlink()
    assert (row["id"], row["agentNickname"], row["agentRole"]) == (child, "Ada", "explorer")
    assert await sessions.list(sourceKinds=["subAgentThreadSpawn"]) == [child]


async def test_they_are_read_whole_and_page_by_page(sessions: Sessions) -> None:
    turns = (await sessions.read(THREAD))["turns"]
    assert [(turn["id"], turn["status"], [item["type"] for item in turn["items"]]) for turn in turns] == [
        ("t1", "completed", ["userMessage", "agentMessage"]),
        ("t2", "completed", ["userMessage", "agentMessage"]),
    ]
    assert turns[1]["items"][1]["text"] == "Still."
    page = await sessions.client.call("thread/turns/list", {"threadId": THREAD, "limit": 1})
    assert [turn["id"] for turn in page["data"]] == ["t2"]
    rest = await sessions.client.call("thread/turns/list", {"threadId": THREAD, "cursor": page["nextCursor"]})
    assert [turn["id"] for turn in rest["data"]] == ["t1"]
    items = await sessions.client.call("thread/items/list", {"threadId": OLD})
    assert [entry["item"]["id"] for entry in items["data"]] == ["item-1", "item-2"]


async def test_one_that_is_resumed_goes_on_where_it_stood(sessions: Sessions) -> None:
    answer = await sessions.client.call("thread/resume", {"threadId": THREAD})
    assert (answer["model"], answer["cwd"], answer["approvalPolicy"]) == (
        "session-model",
        str(sessions.stage.cwd),
        "untrusted",
    )
    assert answer["sandbox"]["type"] == "workspaceWrite"
    assert [turn["id"] for turn in answer["thread"]["turns"]] == ["t1", "t2"]
    usage = await sessions.client.until("thread/tokenUsage/updated")
    assert usage["params"]["tokenUsage"]["total"]["totalTokens"] == 35

    sessions.stage.model.script(say("Gone on."))
    turn = await run_turn(sessions.client, THREAD, "Go on")
    assert turn["status"] == "completed"
    asked = sessions.stage.model.requests[-1]["input"]
    said = [entry["content"][0]["text"] for entry in asked if entry["role"] in ("user", "assistant")]
    assert said[:4] == ["What is it?", "A file.", "And now?", "Still."]
    assert said[-1] == "Go on"
    assert [turn["id"] for turn in (await sessions.read(THREAD))["turns"]] == ["t1", "t2", turn["id"]]
    assert (await sessions.list())[0] == THREAD or (await sessions.list(sortKey="updated_at"))[0] == THREAD


async def test_one_that_went_on_in_both_places_is_ours_and_who_resumes_it_is_warned(sessions: Sessions) -> None:
    await sessions.client.call("thread/resume", {"threadId": THREAD})
    turn = await run_turn(sessions.client, THREAD, "Go on")
    await sessions.client.call("thread/archive", {"threadId": THREAD})
    await sessions.client.call("thread/unarchive", {"threadId": THREAD})
    append(sessions.files[THREAD], spoken_turn("t3", "And there?", "Too."))

    answer = await sessions.client.call("thread/resume", {"threadId": THREAD})
    assert [turn["id"] for turn in answer["thread"]["turns"]] == ["t1", "t2", turn["id"]]
    warning = await sessions.client.until("warning")
    assert warning["params"]["threadId"] == THREAD
    assert str(sessions.files[THREAD]) in warning["params"]["message"]


async def test_one_is_forked_up_to_a_turn(sessions: Sessions) -> None:
    answer = await sessions.client.call("thread/fork", {"threadId": THREAD, "lastTurnId": "t1"})

    thread = answer["thread"]
    assert thread["forkedFromId"] == THREAD
    assert [turn["id"] for turn in thread["turns"]] == ["t1"]
    await run_turn(sessions.client, thread["id"], "In the fork")
    said = [
        entry["content"][0]["text"]
        for entry in sessions.stage.model.requests[-1]["input"]
        if entry["role"] != "developer"
    ]
    assert said[:2] == ["What is it?", "A file."]
    assert "And now?" not in said
    assert [turn["id"] for turn in (await sessions.read(THREAD))["turns"]] == ["t1", "t2"]


async def test_name_and_archive_are_ours_alone(sessions: Sessions) -> None:
    await sessions.client.call("thread/name/set", {"threadId": THREAD, "name": "Another"})
    await sessions.client.call("thread/unarchive", {"threadId": ARCHIVED})
    await sessions.client.call("thread/archive", {"threadId": OLD})

    assert set(await sessions.list()) == {THREAD, ARCHIVED}
    assert await sessions.list(archived=True) == [OLD]
    assert (await sessions.read(THREAD))["name"] == "Another"
    with pytest.raises(CallFailed, match="is archived"):
        await sessions.client.call("thread/resume", {"threadId": OLD})


async def test_one_that_is_deleted_is_not_shown_again(sessions: Sessions) -> None:
    await sessions.client.call("thread/resume", {"threadId": THREAD})
    await sessions.client.call("thread/delete", {"threadId": THREAD})

    assert await sessions.list() == [OLD]
    with pytest.raises(CallFailed, match="no rollout found"):
        await sessions.client.call("thread/resume", {"threadId": THREAD})
    with pytest.raises(CallFailed, match="thread not found"):
        await sessions.read(THREAD)


async def test_their_text_is_found_before_and_after_somebody_opens_them(sessions: Sessions) -> None:
    async def found(term: str, **params: Any) -> list[tuple[str, str]]:
        answer = await sessions.client.call("thread/search", {"searchTerm": term, **params})
        return [(hit["thread"]["id"], hit["snippet"]) for hit in answer["data"]]

    ours = await sessions.stage.thread(sessions.client)
    sessions.stage.model.script(say("A file. Still?"))
    await run_turn(sessions.client, ours, "Ours")
    for _ in range(2):
        assert await found("a FILE") == [(ours, "A file. Still?"), (THREAD, "A file.")]
        assert await found("old?") == [(OLD, "Old?")]
        assert await found("still.", archived=True) == [(ARCHIVED, "Still.")]
        assert await found("still.", sourceKinds=["exec"]) == [(OF_A_SCRIPT, "Still.")]
        assert await found("session-model") == []
        places = await sessions.client.call("thread/searchOccurrences", {"threadId": THREAD, "searchTerm": "file"})
        assert [one["turnId"] for one in places["data"]] == ["t1"]
        for thread_id in (THREAD, OLD, ARCHIVED, OF_A_SCRIPT):
            await sessions.read(thread_id)
