"""Searches through all that was said, timelines, and single items."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from protocol.v2.thread_search import ThreadItemsReadResponse, ThreadTimelineListResponse
from tests.support.rpc_client import RpcClient
from tests.support.scripted_model import say, tool_call
from tests.support.stage import Stage, run_turn, set_stage

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@dataclass
class Said:
    """Three threads: a talk about zebras, a command, and one in other scripts."""

    client: RpcClient
    stage: Stage
    zebras: str
    command: str
    scripts: str

    async def found(self, term: str, **params: Any) -> list[str]:
        answer = await self.client.call("thread/search", {"searchTerm": term, **params})
        return [hit["thread"]["id"] for hit in answer["data"]]

    async def refusal(self, method: str, **params: Any) -> str:
        error = (await self.client.try_call(method, params))["error"]
        assert error["code"] == -32600
        return error["message"]


@pytest.fixture(scope="module")
async def said(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Said]:
    async with set_stage(tmp_path_factory.mktemp("search"), settings={"sandbox_mode": "danger-full-access"}) as stage:
        client = await stage.client()
        zebras, command, scripts = [await stage.thread(client) for _ in range(3)]
        stage.model.script(say("The zebra answer: stripes. Zebra!"))
        await run_turn(client, zebras, "alpha question about\nZebra crossings")
        stage.model.script(say("lions"))
        await run_turn(client, zebras, "and what else")
        stage.model.script(tool_call("exec_command", {"cmd": "echo needle-in-$((20 + 1))"}))
        stage.model.script(say("ran it"))
        await run_turn(client, command, "run something")
        stage.model.script(say("Größe 日本語 😀 quokka"))
        await run_turn(client, scripts, "and now")
        yield Said(client, stage, zebras, command, scripts)


@pytest.mark.parametrize("term", ["zebra", "ebra answer", "question ABOUT zebra", "  lions "])
async def test_what_the_user_and_the_model_said_is_found_at_once(said: Said, term: str) -> None:
    assert await said.found(term) == [said.zebras]


async def test_commands_and_their_outputs_are_found_too(said: Said) -> None:
    assert await said.found("needle-in-21") == [said.command]
    assert await said.found("echo needle") == [said.command]
    assert await said.found("GRÖSSE 日本") == [said.scripts]


async def test_a_result_shows_the_thread_and_the_words_around(said: Said) -> None:
    answer = await said.client.call("thread/search", {"searchTerm": "stripes"})
    (hit,) = answer["data"]
    assert hit["snippet"] == "The zebra answer: stripes. Zebra!"
    read = (await said.client.call("thread/read", {"threadId": said.zebras}))["thread"]
    assert hit["thread"] == read


async def test_archived_threads_are_found_when_they_are_asked_for(said: Said) -> None:
    thread = await said.stage.thread(said.client)
    said.stage.model.script(say("put away"))
    await run_turn(said.client, thread, "x")
    await said.client.call("thread/archive", {"threadId": thread})
    assert await said.found("put away") == []
    assert await said.found("put away", archived=True) == [thread]
    await said.client.call("thread/delete", {"threadId": thread})
    assert await said.found("put away", archived=True) == []


async def test_occurrences_lead_to_their_turns(said: Said) -> None:
    params = {"threadId": said.zebras, "searchTerm": "zebra", "limit": 2}
    first = await said.client.call("thread/searchOccurrences", params)
    rest = await said.client.call("thread/searchOccurrences", params | {"cursor": first["nextCursor"]})
    assert rest["nextCursor"] is None
    found = [*first["data"], *rest["data"]]
    assert [one["snippetMatchRange"] for one in found] == [
        {"start": 21, "end": 26},
        {"start": 4, "end": 9},
        {"start": 27, "end": 32},
    ]
    for one in found:
        cursor = {"threadId": said.zebras, "cursor": one["turnCursor"], "limit": 1, "itemsView": "full"}
        (turn,) = (await said.client.call("thread/turns/list", cursor))["data"]
        assert turn["id"] == one["turnId"]
        assert one["itemId"] in [item["id"] for item in turn["items"]]


async def test_the_timeline_holds_all_that_happened_newest_page_first(said: Said) -> None:
    entries: list[dict[str, Any]] = []
    params: dict[str, Any] = {"threadId": said.zebras, "limit": 3}
    while True:
        page = await said.client.call("thread/timeline/list", params)
        ThreadTimelineListResponse.model_validate(page)
        entries = [*page["data"], *entries]
        if page["nextCursor"] is None:
            break
        params["cursor"] = page["nextCursor"]
    turn = ["turnStarted", "userMessage", "agentMessage", "turnCompleted"]
    assert [entry.get("item", entry)["type"] for entry in entries] == turn * 2
    assert [entry["position"] for entry in entries] == list(range(8))
    listed = (await said.client.call("thread/turns/list", {"threadId": said.zebras, "sortDirection": "asc"}))["data"]
    for entry, end in ((entries[0], entries[3]), (entries[4], entries[7])):
        shown = listed.pop(0)
        for name, value in (("turnId", shown["id"]), ("turn_id", shown["id"]), ("startedAt", shown["startedAt"])):
            assert entry[name] == end[name] == value
        assert (end["status"], end["completedAt"], end["duration_ms"]) == (
            "completed",
            shown["completedAt"],
            shown["durationMs"],
        )


async def test_single_items_are_read_in_the_order_of_their_turn(said: Said) -> None:
    listed = (await said.client.call("thread/items/list", {"threadId": said.command, "sortDirection": "asc"}))["data"]
    ids = [entry["item"]["id"] for entry in listed]
    params = {"threadId": said.command, "turnId": listed[0]["turnId"], "itemIds": [*ids[::-1], "nope", ids[0]]}
    answer = await said.client.call("thread/items/read", params)
    ThreadItemsReadResponse.model_validate(answer)
    assert answer["data"] == listed
    assert (await said.client.call("thread/items/read", params | {"turnId": "nope"}))["data"] == []


async def test_what_cannot_be_searched_is_refused_with_the_reason(said: Said) -> None:
    ephemeral = await said.stage.thread(said.client, ephemeral=True)
    assert await said.refusal("thread/search", searchTerm=" ") == "thread/search requires a non-empty searchTerm"
    assert await said.refusal("thread/search", searchTerm="x", cursor="junk") == "invalid cursor: junk"
    for method, params in (
        ("thread/searchOccurrences", {"searchTerm": "x"}),
        ("thread/timeline/list", {}),
        ("thread/items/read", {"turnId": "t", "itemIds": ["i"]}),
    ):
        assert await said.refusal(method, threadId=UNKNOWN, **params) == f"thread not found: {UNKNOWN}"
        assert "ephemeral thread does not support" in await said.refusal(method, threadId=ephemeral, **params)
        if method != "thread/items/read":
            junk = await said.refusal(method, threadId=said.zebras, cursor="junk", **params)
            assert junk == "invalid cursor: junk"
    for count in (0, 101):
        reason = await said.refusal("thread/items/read", threadId=said.zebras, turnId="t", itemIds=["i"] * count)
        assert reason == "itemIds must contain 1 to 100 IDs"
