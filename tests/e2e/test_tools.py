"""The model's small tools over the wire: plans, images, questions to the user, permissions, tools of the client."""

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import Part, event, say, tool_call
from tests.support.stage import (
    Stage,
    assert_balanced,
    begin,
    completed_items,
    ended,
    methods_of,
    of_turn,
    run_turn,
    set_stage,
)

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PLAN_MODE = {"mode": "plan", "settings": {"model": "mock-model", "reasoning_effort": None}}
QUESTION = {
    "id": "colour",
    "header": "Colour",
    "question": "Which colour?",
    "options": [{"label": "Red", "description": "Warm"}, {"label": "Blue", "description": "Cold"}],
}


def outputs(request: Message) -> dict[str, Any]:
    """What the model was given for each of its calls."""
    kinds = ("function_call_output", "custom_tool_call_output")
    return {entry["call_id"]: entry["output"] for entry in request["input"] if entry["type"] in kinds}


async def call(stage: Stage, client: RpcClient, thread: str, name: str, arguments: Any, **params: Any) -> Any:
    """Let the model make one call; what it is given for it, and the turn's id."""
    stage.model.script(tool_call(name, arguments, "the-call"))
    stage.model.script(say("done"))
    turn = await run_turn(client, thread, **params)
    assert turn["status"] == "completed"
    assert_balanced(client, turn["id"])
    return outputs(stage.model.requests[-1])["the-call"], turn["id"]


def offered(stage: Stage) -> list[str]:
    """The names of the tools in the newest request."""
    return [tool["name"] for tool in stage.model.requests[-1]["tools"]]


async def answer(client: RpcClient, method: str, result: Any) -> Message:
    """Answer the next request of the server."""
    asked = await client.until(method)
    await client.respond(asked, result)
    return asked


async def test_a_plan_is_told_step_by_step(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    steps = [{"step": "look", "status": "completed"}, {"step": "act", "status": "in_progress"}]
    output, turn = await call(stage, client, thread, "update_plan", {"explanation": "seen", "plan": steps})
    assert output == "Plan updated"
    (told,) = [message["params"] for message in of_turn(client, turn) if message["method"] == "turn/plan/updated"]
    assert told == {
        "threadId": thread,
        "turnId": turn,
        "explanation": "seen",
        "plan": [{"step": "look", "status": "completed"}, {"step": "act", "status": "inProgress"}],
    }


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("{bad", "failed to parse function arguments"),
        ("[]", "expected an object"),
        ({}, "missing field `plan`"),
        ({"plan": "x"}, "`plan` must be a list of objects"),
        ({"plan": [1]}, "`plan[0]` must be an object"),
        ({"plan": [{"step": 1, "status": "pending"}]}, "`plan[0].step` must be a string"),
        (
            {"plan": [{"step": "a", "status": "soon"}]},
            "`plan[0].status` must be one of pending, in_progress",
        ),
    ],
)
async def test_a_plan_that_cannot_be_read_is_explained_to_the_model(stage: Stage, arguments: Any, fault: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    output, turn = await call(stage, client, thread, "update_plan", arguments)
    assert fault in output
    assert "turn/plan/updated" not in methods_of(client, turn)


async def test_an_image_is_shown_to_the_model_and_to_the_user(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    (stage.cwd / "pixel.png").write_bytes(PIXEL)
    output, turn = await call(stage, client, thread, "view_image", {"path": "pixel.png"})
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert output == [{"type": "input_image", "image_url": url, "detail": "high"}]
    (item,) = [item for item in completed_items(client, turn) if item["type"] == "imageView"]
    assert item["path"] == str(stage.cwd / "pixel.png")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("words.txt", "it is no PNG, JPEG, GIF or WebP file"),
        ("missing.png", "unable to locate image at"),
        (".", "unable to"),
    ],
)
async def test_what_is_no_image_is_explained_to_the_model(stage: Stage, name: str, fault: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    (stage.cwd / "words.txt").write_text("no image")
    output, turn = await call(stage, client, thread, "view_image", {"path": name})
    assert fault in output
    assert all(item["type"] != "imageView" for item in completed_items(client, turn))


async def test_an_unknown_tool_is_named(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    output, _ = await call(stage, client, thread, "teleport", {})
    assert output == "unsupported call: teleport"


async def test_a_web_search_of_the_provider_is_an_item(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(
        *_web_search("ws1", {"type": "search", "query": "rain"}),
        *_web_search("ws2", {"type": "open_page", "url": "https://example.org/"}),
        say("done"),
    )
    turn = await run_turn(client, thread)
    assert_balanced(client, turn["id"])
    searches = [item for item in completed_items(client, turn["id"]) if item["type"] == "webSearch"]
    assert [(item["query"], item["action"]["type"]) for item in searches] == [
        ("rain", "search"),
        ("https://example.org/", "openPage"),
    ]
    stage.model.script(say("again"))
    await run_turn(client, thread)
    kinds = [entry["type"] for entry in stage.model.requests[-1]["input"]]
    assert kinds.count("web_search_call") == 2


def _web_search(item_id: str, action: Mapping[str, str]) -> list[Part]:
    item = {"type": "web_search_call", "id": item_id, "action": action}
    return [
        event("response.output_item.added", item=item | {"status": "in_progress"}),
        event("response.output_item.done", item=item | {"status": "completed"}),
    ]


# Questions to the user


async def test_the_model_asks_the_user_in_plan_mode(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("request_user_input", {"questions": [QUESTION]}, "ask"))
    stage.model.script(say("done"))
    turn = await begin(client, thread, collaborationMode=PLAN_MODE)
    asked = await answer(client, "item/tool/requestUserInput", {"answers": {"colour": {"answers": ["Red"]}}})
    await ended(client, turn)
    assert asked["params"] == {
        "threadId": thread,
        "turnId": turn,
        "itemId": "ask",
        "isBlocking": True,
        "autoResolutionMs": None,
        "questions": [QUESTION | {"isOther": True, "isSecret": False}],
    }
    assert orjson.loads(outputs(stage.model.requests[-1])["ask"]) == {"answers": {"colour": {"answers": ["Red"]}}}
    assert "request_user_input" in offered(stage)
    flags = [
        message["params"]["status"]["activeFlags"]
        for message in client.notifications("thread/status/changed")
        if message["params"]["status"]["type"] == "active"
    ]
    assert flags == [[], ["waitingOnUserInput"], []]


@pytest.mark.parametrize("garbage", [{}, {"answers": []}, "yes", None])
async def test_no_answer_to_a_question_is_an_empty_one(stage: Stage, garbage: Any) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("request_user_input", {"questions": [QUESTION]}, "ask"))
    stage.model.script(say("done"))
    turn = await begin(client, thread, collaborationMode=PLAN_MODE)
    await answer(client, "item/tool/requestUserInput", garbage)
    assert (await ended(client, turn))["status"] == "completed"
    assert orjson.loads(outputs(stage.model.requests[-1])["ask"]) == {"answers": {}}


async def test_outside_of_plan_mode_nobody_is_asked(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    output, _ = await call(stage, client, thread, "request_user_input", {"questions": [QUESTION]})
    assert "request_user_input is unavailable in Default mode" in output
    assert "request_user_input" not in offered(stage)


async def test_plan_mode_gives_its_own_instructions_and_takes_them_back(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    modes: list[int] = []
    for mode in ("default", "plan", "plan", "default"):
        stage.model.script(say("done"))
        chosen = {"mode": mode, "settings": {"model": "mock-model", "reasoning_effort": None}}
        await run_turn(client, thread, collaborationMode=chosen)
        sent = [orjson.dumps(entry) for entry in stage.model.requests[-1]["input"]]
        modes.append(sum(b"<collaboration_mode>" in entry for entry in sent))
    assert modes == [0, 1, 1, 2]


async def test_a_proposed_plan_is_an_item_of_its_own(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    words = "Before\n<proposed_plan>\n# Plan\n- x\n</proposed_plan>\nAfter"
    stage.model.script(say(words, deltas=7))
    turn = await run_turn(client, thread, collaborationMode=PLAN_MODE)
    assert_balanced(client, turn["id"])
    items = {item["type"]: item for item in completed_items(client, turn["id"])}
    assert items["plan"]["text"] == "# Plan\n- x\n"
    assert items["agentMessage"]["text"] == "Before\nAfter"
    streamed = [message["params"] for message in client.notifications("item/plan/delta")]
    assert "".join(params["delta"] for params in streamed) == "# Plan\n- x\n"
    stage.model.script(say("done"))
    await run_turn(client, thread)
    assert words in orjson.dumps(stage.model.requests[-1]["input"]).decode().replace("\\n", "\n")


async def test_outside_of_plan_mode_a_message_is_left_as_it_is(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    words = "<proposed_plan>\nx\n</proposed_plan>\n"
    stage.model.script(say(words))
    turn = await run_turn(client, thread)
    assert [item["text"] for item in completed_items(client, turn["id"]) if item["type"] == "agentMessage"] == [words]


# Permissions


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Stage]:
    """A daemon whose model may ask for permissions, in a workspace that can be written."""
    settings: dict[str, object] = {"approval_policy": "on-request", "sandbox_mode": "workspace-write"}
    more = "[features]\nrequest_permissions_tool = true\n"
    async with set_stage(tmp_path, settings=settings, more=lambda _: more) as stage:
        yield stage


async def _ask_for_write(stage: Stage, client: RpcClient, thread: str, folder: Path, granted: Any, scope: str) -> Any:
    wanted = {"permissions": {"file_system": {"write": [str(folder)]}}, "reason": "to build"}
    stage.model.script(tool_call("request_permissions", wanted, "ask"))
    stage.model.script(tool_call("exec_command", {"cmd": f"echo granted > {folder}/file"}, "write"))
    stage.model.script(say("done"))
    turn = await begin(client, thread)
    asked = await answer(client, "item/permissions/requestApproval", {"permissions": granted, "scope": scope})
    await ended(client, turn)
    return asked["params"], outputs(stage.model.requests[-1])


async def test_a_grant_for_the_turn_opens_the_folder_for_its_commands_only(asking: Stage, tmp_path: Path) -> None:
    folder = Path.home() / f"turnloom-test-{tmp_path.name}-{tmp_path.parent.name}"
    folder.mkdir()
    try:
        client = await asking.client()
        thread = await asking.thread(client)
        grant = {"fileSystem": {"write": [str(folder)]}}
        asked, given = await _ask_for_write(asking, client, thread, folder, grant, "turn")
        assert asked["reason"] == "to build"
        assert asked["permissions"]["fileSystem"]["write"] == [str(folder)]
        assert (folder / "file").read_text() == "granted\n"
        assert orjson.loads(given["ask"]) == {
            "permissions": {"network": None, "file_system": {"write": [str(folder)]}},
            "scope": "turn",
        }
        (folder / "file").unlink()
        asking.model.script(tool_call("exec_command", {"cmd": f"echo later > {folder}/file"}, "later"))
        asking.model.script(say("done"))
        await run_turn(client, thread)
        assert not (folder / "file").exists()
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def test_a_grant_for_the_session_holds_in_later_turns(asking: Stage, tmp_path: Path) -> None:
    folder = Path.home() / f"turnloom-test-{tmp_path.name}-{tmp_path.parent.name}"
    folder.mkdir()
    try:
        client = await asking.client()
        thread = await asking.thread(client)
        grant = {"fileSystem": {"write": [str(folder)]}}
        await _ask_for_write(asking, client, thread, folder, grant, "session")
        asking.model.script(tool_call("exec_command", {"cmd": f"echo later > {folder}/file"}, "later"))
        asking.model.script(say("done"))
        await run_turn(client, thread)
        assert (folder / "file").read_text() == "later\n"
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.parametrize(
    "granted",
    [{}, {"fileSystem": None}, {"network": {"enabled": True}}, {"fileSystem": {"write": ["/"]}}],
    ids=["nothing", "null", "another thing", "more than was asked for"],
)
async def test_only_what_was_asked_for_can_be_granted(asking: Stage, tmp_path: Path, granted: Any) -> None:
    folder = Path.home() / f"turnloom-test-{tmp_path.name}-{tmp_path.parent.name}"
    folder.mkdir()
    try:
        client = await asking.client()
        thread = await asking.thread(client)
        _, given = await _ask_for_write(asking, client, thread, folder, granted, "session")
        assert orjson.loads(given["ask"])["permissions"] == {"network": None, "file_system": None}
        assert not (folder / "file").exists()
    finally:
        folder.rmdir()


@pytest.mark.parametrize("refusal", [{"decision": "decline"}, None, "no"])
async def test_no_usable_answer_is_no_grant(asking: Stage, refusal: Any) -> None:
    client = await asking.client()
    thread = await asking.thread(client)
    asking.model.script(tool_call("request_permissions", {"permissions": {"network": {"enabled": True}}}, "ask"))
    asking.model.script(say("done"))
    turn = await begin(client, thread)
    await answer(client, "item/permissions/requestApproval", refusal)
    assert (await ended(client, turn))["status"] == "completed"
    assert outputs(asking.model.requests[-1])["ask"] == "request_permissions failed: approval request failed"


async def test_where_nobody_may_be_asked_permissions_are_refused(asking: Stage) -> None:
    client = await asking.client()
    thread = await asking.thread(client, approvalPolicy="never")
    wanted = {"permissions": {"network": {"enabled": True}}}
    output, _ = await call(asking, client, thread, "request_permissions", wanted)
    assert "the approval policy does not allow asking" in output
    assert "request_permissions" not in offered(asking)


# Tools of the client

LOOKUP = {"type": "function", "name": "lookup", "description": "Looks up.", "inputSchema": {"type": "object"}}
SPACE = {
    "type": "namespace",
    "name": "space",
    "description": "A space.",
    "tools": [
        {"type": "function", "name": "now", "description": "At once.", "inputSchema": {"type": "object"}},
        {
            "type": "function",
            "name": "weather",
            "description": "Tells the weather.",
            "inputSchema": {"type": "object"},
            "deferLoading": True,
        },
    ],
}


async def test_a_tool_of_the_client_is_run_by_the_client(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, dynamicTools=[LOOKUP])
    stage.model.script(tool_call("lookup", {"q": "x"}, "look"))
    stage.model.script(say("done"))
    turn = await begin(client, thread)
    found = {"contentItems": [{"type": "inputText", "text": "found"}], "success": True}
    asked = await answer(client, "item/tool/call", found)
    await ended(client, turn)
    assert_balanced(client, turn)
    assert asked["params"] == {
        "threadId": thread,
        "turnId": turn,
        "callId": "look",
        "namespace": None,
        "tool": "lookup",
        "arguments": {"q": "x"},
    }
    assert outputs(stage.model.requests[-1])["look"] == "found"
    (item,) = [item for item in completed_items(client, turn) if item["type"] == "dynamicToolCall"]
    assert (item["status"], item["success"], item["contentItems"]) == ("completed", True, found["contentItems"])


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"contentItems": [{"type": "inputText", "text": "no such word"}], "success": False}, "no such word"),
        ({"zzz": 1}, "dynamic tool response was invalid"),
        (None, "dynamic tool response was invalid"),
    ],
)
async def test_a_tool_of_the_client_can_fail(stage: Stage, result: Any, text: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client, dynamicTools=[LOOKUP])
    stage.model.script(tool_call("lookup", {}, "look"))
    stage.model.script(say("done"))
    turn = await begin(client, thread)
    await answer(client, "item/tool/call", result)
    assert (await ended(client, turn))["status"] == "completed"
    assert outputs(stage.model.requests[-1])["look"] == text
    (item,) = [item for item in completed_items(client, turn) if item["type"] == "dynamicToolCall"]
    assert (item["status"], item["success"]) == ("failed", False)


async def test_a_client_that_does_not_know_a_tool_leaves_it_to_the_one_that_does(stage: Stage) -> None:
    owner, other = await stage.client("owner"), await stage.client("other")
    thread = await stage.thread(owner, dynamicTools=[LOOKUP])
    stage.model.script(say("hello"))
    await run_turn(owner, thread)
    await other.call("thread/resume", {"threadId": thread})
    stage.model.script(tool_call("lookup", {}, "look"))
    stage.model.script(say("done"))
    turn = await begin(owner, thread)
    asked = await other.until("item/tool/call")
    await other.send({"id": asked["id"], "error": {"code": -32601, "message": "no such method"}})
    # Its next request is answered, so the refusal has been taken.
    await other.call("thread/loaded/list", {})
    await answer(owner, "item/tool/call", {"contentItems": [{"type": "inputText", "text": "here"}], "success": True})
    await ended(owner, turn)
    assert outputs(stage.model.requests[-1])["look"] == "here"


async def test_a_deferred_tool_is_offered_once_it_was_found(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, dynamicTools=[SPACE])
    stage.model.script(tool_call("tool_search", {"query": "weather tomorrow"}, "search"))
    stage.model.script(say("done"))
    await run_turn(client, thread)
    before, after = (_space(request) for request in stage.model.requests[-2:])
    assert (before, after) == (["now"], ["now", "weather"])
    (found,) = orjson.loads(outputs(stage.model.requests[-1])["search"])
    assert found["name"] == "space.weather"


def _space(request: Message) -> list[str]:
    (space,) = [tool for tool in request["tools"] if tool["name"] == "space"]
    return [tool["name"] for tool in space["tools"]]


async def test_tools_of_the_client_are_there_after_a_resume(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, dynamicTools=[LOOKUP])
    stage.model.script(say("done"))
    await run_turn(client, thread)
    await client.call("thread/archive", {"threadId": thread})
    await client.call("thread/unarchive", {"threadId": thread})
    await client.call("thread/resume", {"threadId": thread})
    stage.model.script(say("done"))
    await run_turn(client, thread)
    assert "lookup" in offered(stage)


@pytest.mark.parametrize(
    ("tools", "fault"),
    [
        ([LOOKUP, LOOKUP], "`lookup` more than once"),
        ([LOOKUP | {"name": "a b"}], "a name is 1 to 128 letters"),
        ([LOOKUP | {"deferLoading": True}], "deferred dynamic tool must include a namespace: lookup"),
    ],
)
async def test_tools_that_cannot_be_used_are_refused(stage: Stage, tools: list[Any], fault: str) -> None:
    client = await stage.client()
    with pytest.raises(CallFailed, match=fault) as failed:
        await stage.thread(client, dynamicTools=tools)
    assert failed.value.code == -32600


async def test_calls_that_may_run_beside_each_other_do(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, dynamicTools=[LOOKUP])
    stage.model.script(tool_call("lookup", {"n": 1}, "one"), tool_call("lookup", {"n": 2}, "two"))
    stage.model.script(say("done"))
    turn = await begin(client, thread)
    first = await client.until("item/tool/call")
    second = await client.until("item/tool/call")
    for asked in (second, first):
        part = {"type": "inputText", "text": str(asked["params"]["arguments"]["n"])}
        await client.respond(asked, {"contentItems": [part], "success": True})
    await ended(client, turn)
    assert outputs(stage.model.requests[-1]) == {"one": "1", "two": "2"}
    sent = [entry["call_id"] for entry in stage.model.requests[-1]["input"] if entry["type"] == "function_call_output"]
    assert sent == ["one", "two"]
