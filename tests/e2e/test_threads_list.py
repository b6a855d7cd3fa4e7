"""Lists: of threads, of turns, of items, and of what is loaded."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import gate, partial, reasoning, say, tool_call
from tests.support.stage import Stage, begin, completed_items, ended, item_started, run_turn, set_stage


@dataclass
class Library:
    """Seven threads, oldest first, in two folders and by two clients."""

    stage: Stage
    client: RpcClient
    ids: list[str]

    async def list(self, **params: Any) -> list[str]:
        return [row["id"] for row in (await self.client.call("thread/list", params))["data"]]


@pytest.fixture(scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Library]:
    async with set_stage(tmp_path_factory.mktemp("library")) as stage:
        first, second = await stage.client("first-client"), await stage.client("second-client")
        ids: list[str] = []
        for number in range(7):
            cwd = stage.cwd / ("even" if number % 2 == 0 else "odd")
            cwd.mkdir(exist_ok=True)
            client = second if number == 6 else first
            provider = {"modelProvider": "demo"} if number == 5 else {}
            answer = await client.call("thread/start", {"cwd": str(cwd), **provider})
            ids.append(answer["thread"]["id"])
            await run_turn(client, ids[-1], f"Question number {number}")
        await first.call("thread/name/set", {"threadId": ids[2], "name": "Straße der ÄPFEL"})
        await stage.thread(first)
        yield Library(stage, first, ids)


async def test_threads_are_listed_newest_first_and_empty_ones_not_at_all(library: Library) -> None:
    assert await library.list() == library.ids[::-1]
    assert await library.list(sortDirection="asc") == library.ids


async def test_a_list_is_paged_in_both_directions(library: Library) -> None:
    seen: list[str] = []
    cursor = None
    pages: list[dict[str, Any]] = []
    while True:
        page = await library.client.call("thread/list", {"limit": 3, "cursor": cursor})
        pages.append(page)
        seen += [row["id"] for row in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert [len(page["data"]) for page in pages] == [3, 3, 1]
    assert seen == library.ids[::-1]
    back = {"limit": 100, "cursor": pages[1]["backwardsCursor"], "sortDirection": "asc"}
    assert await library.list(**back) == library.ids[3:]


async def test_a_cursor_of_another_list_or_of_nothing_is_refused(library: Library) -> None:
    page = await library.client.call("thread/list", {"limit": 1})
    turns = await library.client.call("thread/turns/list", {"threadId": library.ids[0]})
    for cursor in ("nonsense", "", turns["backwardsCursor"]):
        with pytest.raises(CallFailed) as failure:
            await library.client.call("thread/list", {"cursor": cursor})
        assert failure.value.code == -32600
    with pytest.raises(CallFailed) as failure:
        await library.client.call("thread/list", {"cursor": page["nextCursor"], "sortKey": "updated_at"})
    assert failure.value.code == -32600


async def test_threads_are_sorted_by_the_time_of_their_last_turn(library: Library) -> None:
    moved = library.ids[1]
    await run_turn(library.client, moved, "again")
    rest = [thread for thread in library.ids[::-1] if thread != moved]
    for key in ("updated_at", "recency_at"):
        assert await library.list(sortKey=key) == [moved, *rest]
    assert await library.list(sortKey="created_at") == library.ids[::-1]


async def test_threads_are_filtered(library: Library) -> None:
    ids = library.ids
    even, odd = str(library.stage.cwd / "even"), str(library.stage.cwd / "odd")
    assert await library.list(cwd=even, sortDirection="asc") == ids[::2]
    assert await library.list(cwd=[even, odd], sortDirection="asc") == ids
    assert await library.list(cwd=[]) == []
    assert await library.list(modelProviders=["demo"]) == [ids[5]]
    assert await library.list(modelProviders=[], sortDirection="asc") == ids
    assert await library.list(originators=["second-client"]) == [ids[6]]
    assert await library.list(sourceKinds=["cli", "vscode"], sortDirection="asc") == ids
    assert await library.list(sourceKinds=["exec"]) == []
    assert await library.list(excludedThreadIds=ids[1:]) == ids[:1]
    assert await library.list(archived=True) == []


@pytest.mark.parametrize("term", ["strasse", "STRASSE", "äpfel", "der Ä"])
async def test_a_search_ignores_case_in_names(library: Library, term: str) -> None:
    assert await library.list(searchTerm=term) == [library.ids[2]]


async def test_a_search_looks_into_first_messages_too(library: Library) -> None:
    assert await library.list(searchTerm="QUESTION number 4") == [library.ids[4]]
    assert await library.list(searchTerm="100%_") == []


async def test_limits_are_kept_within_reason(library: Library) -> None:
    assert len(await library.list(limit=0)) == 1
    assert len(await library.list(limit=1_000_000)) == 7


async def test_the_rows_are_the_threads_without_turns(library: Library) -> None:
    row = (await library.client.call("thread/list", {"limit": 1}))["data"][0]
    read = await library.client.call("thread/read", {"threadId": row["id"]})
    assert row == read["thread"]
    assert row["turns"] == []
    assert row["preview"] == "Question number 6"


async def test_loaded_threads_are_listed_in_pages(library: Library) -> None:
    whole = (await library.client.call("thread/loaded/list"))["data"]
    assert set(library.ids) < set(whole)
    seen: list[str] = []
    cursor = None
    while True:
        page = await library.client.call("thread/loaded/list", {"limit": 3, "cursor": cursor})
        seen += page["data"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == whole


async def eventful(stage: Stage, client: RpcClient) -> tuple[str, list[str]]:
    """A thread of three turns with items of all kinds."""
    thread = await stage.thread(client)
    turns: list[str] = []
    for number in range(3):
        stage.model.script(reasoning("hm"), say("first I look"), tool_call("exec_command", {"cmd": "echo hi"}))
        stage.model.script(say(f"answer {number}"))
        turns.append((await run_turn(client, thread, f"question {number}"))["id"])
    return thread, turns


async def test_turns_are_listed_newest_first_in_pages_both_ways(stage: Stage) -> None:
    client = await stage.client()
    thread, ids = await eventful(stage, client)

    async def page(**params: Any) -> dict[str, Any]:
        return await client.call("thread/turns/list", {"threadId": thread, **params})

    first = await page(limit=2)
    assert [turn["id"] for turn in first["data"]] == [ids[2], ids[1]]
    second = await page(limit=2, cursor=first["nextCursor"])
    assert ([turn["id"] for turn in second["data"]], second["nextCursor"]) == ([ids[0]], None)
    back = await page(cursor=second["backwardsCursor"], sortDirection="asc")
    assert [turn["id"] for turn in back["data"]] == ids
    assert [turn["id"] for turn in (await page(sortDirection="asc"))["data"]] == ids


async def test_a_turns_list_shows_as_much_of_the_items_as_asked_for(stage: Stage) -> None:
    client = await stage.client()
    thread, ids = await eventful(stage, client)
    views: dict[str, Any] = {}
    for view in ("notLoaded", "summary", "full"):
        answer = await client.call("thread/turns/list", {"threadId": thread, "itemsView": view})
        views[view] = answer["data"][0]
        assert views[view]["itemsView"] == view
    default = await client.call("thread/turns/list", {"threadId": thread})
    whole = completed_items(client, ids[2])
    assert views["notLoaded"]["items"] == []
    assert views["summary"]["items"] == [whole[0], whole[-1]]
    assert views["full"]["items"] == whole
    assert [item["type"] for item in whole] == [
        "userMessage",
        "reasoning",
        "agentMessage",
        "commandExecution",
        "agentMessage",
    ]
    assert default["data"][0] == views["summary"]


async def test_items_are_listed_oldest_first_in_pages_both_ways(stage: Stage) -> None:
    client = await stage.client()
    thread, ids = await eventful(stage, client)
    whole = completed_items(client)

    async def page(**params: Any) -> dict[str, Any]:
        return await client.call("thread/items/list", {"threadId": thread, **params})

    seen: list[Any] = []
    cursor, pages = None, 0
    while True:
        answer = await page(limit=4, cursor=cursor)
        seen += [entry["item"] for entry in answer["data"]]
        pages += 1
        cursor = answer["nextCursor"]
        if cursor is None:
            break
    assert (seen, pages) == (whole, 4)
    newest = await page(limit=3, sortDirection="desc")
    assert [entry["item"] for entry in newest["data"]] == whole[:-4:-1]
    forward = await page(cursor=newest["backwardsCursor"])
    assert [entry["item"] for entry in forward["data"]] == whole[-1:]
    one = await page(turnId=ids[1])
    assert [entry["item"] for entry in one["data"]] == completed_items(client, ids[1])
    assert {entry["turnId"] for entry in one["data"]} == {ids[1]}
    assert (await page(turnId="unknown"))["data"] == []
    anchored = await page(cursor={"itemId": whole[6]["id"]}, limit=2)
    assert [entry["item"] for entry in anchored["data"]] == whole[6:8]


async def test_an_unknown_item_as_cursor_is_refused(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    with pytest.raises(CallFailed, match="item not found") as failure:
        await client.call("thread/items/list", {"threadId": thread, "cursor": {"itemId": "none"}})
    assert failure.value.code == -32600


async def test_lists_can_be_read_while_a_turn_runs(stage: Stage) -> None:
    client, other = await stage.client(), await stage.client()
    thread = await stage.thread(client)
    stage.model.script(say("done with this"), partial("half", item_id="msg_l"), gate(anyio.Event()))
    turn_id = await begin(client, thread)
    await item_started(client, turn_id, "agentMessage", nth=1)
    items = await other.call("thread/items/list", {"threadId": thread})
    assert [entry["item"] for entry in items["data"]] == completed_items(client, turn_id)
    summary = (await other.call("thread/turns/list", {"threadId": thread}))["data"][0]
    assert (summary["status"], summary["completedAt"]) == ("inProgress", None)
    listed = await other.call("thread/list", {"cwd": str(stage.cwd)})
    assert listed["data"][0]["status"] == {"type": "active", "activeFlags": []}
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn_id})
    await ended(client, turn_id)
