"""Patches of the model over the wire: what is asked, in which order it is told, and what is on the disk afterwards."""

import os
from typing import Any

import anyio
import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, event, gate, say, tool_call
from tests.support.stage import Stage, assert_balanced, begin, ended, run_turn

WORKSPACE: Message = {
    "type": "workspaceWrite",
    "writableRoots": [],
    "networkAccess": False,
    "excludeTmpdirEnvVar": True,
    "excludeSlashTmp": True,
}
"""The folder of the thread and nothing else, for tests live in the temporary folder."""

OUTSIDE = "*** Add File: ../outside\n+x\n"


def patch(body: str) -> str:
    return f"*** Begin Patch\n{body}*** End Patch"


def custom_call(text: str, call_id: str = "the-patch") -> Part:
    """A freeform call of apply_patch."""
    item = {"type": "custom_tool_call", "call_id": call_id, "name": "apply_patch", "input": text}
    return event("response.output_item.done", output_index=0, item=item)


async def begin_patch(stage: Stage, client: RpcClient, thread: str, body: str, policy: Any = "on-request") -> str:
    """Let the model apply a patch in the workspace; the turn's id."""
    stage.model.script(custom_call(patch(body)))
    stage.model.script(say("done"))
    return await begin(client, thread, sandboxPolicy=WORKSPACE, approvalPolicy=policy)


async def answered(client: RpcClient, decision: Any) -> Message:
    """Answer the next question about files; its params."""
    asked = await client.until("item/fileChange/requestApproval")
    await client.respond(asked, decision if isinstance(decision, dict) else {"decision": decision})
    return asked["params"]


def output(stage: Stage) -> Message:
    """What the model was told of its call."""
    return next(
        entry for entry in reversed(stage.model.requests[-1]["input"]) if entry["type"].endswith("_call_output")
    )


def told(client: RpcClient) -> list[str]:
    """What the client was told and asked about patches, in order."""
    kinds: list[str] = []
    for message in client.received:
        params: Message = message.get("params") or {}
        item: Message = params.get("item") or {}
        if item.get("type") == "fileChange":
            kinds.append(f"{message['method']} {item['status']}")
        elif message.get("method") in (
            "item/fileChange/requestApproval",
            "item/fileChange/patchUpdated",
            "serverRequest/resolved",
            "turn/diff/updated",
        ):
            kinds.append(message["method"])
    return kinds


async def test_a_patch_in_the_workspace_is_applied_and_shown(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    (stage.cwd / "windows.txt").write_bytes(b"one\r\ntwo\r\nthree")
    (stage.cwd / "old.txt").write_text("a\nb\n")
    body = (
        "*** Add File: src/new.txt\n+hello\n*** Update File: windows.txt\n@@\n one\n-two\n+2\n"
        "*** Update File: old.txt\n*** Move to: src/moved.txt\n@@\n-b\n+B\n"
    )
    turn = await begin_patch(stage, client, thread, body, "never")
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    assert told(client) == ["item/started inProgress", "item/completed completed", "turn/diff/updated"]
    (item,) = [message["params"]["item"] for message in client.notifications("item/completed") if is_change(message)]
    moved = f"{stage.cwd}/src/moved.txt"
    assert item["id"] == "the-patch"
    assert item["changes"] == [
        {
            "path": f"{stage.cwd}/old.txt",
            "kind": {"type": "update", "move_path": moved},
            "diff": f"@@ -1,2 +1,2 @@\n a\n-b\n+B\n\n\nMoved to: {moved}",
        },
        {"path": f"{stage.cwd}/src/new.txt", "kind": {"type": "add"}, "diff": "hello\n"},
        {
            "path": f"{stage.cwd}/windows.txt",
            "kind": {"type": "update", "move_path": None},
            "diff": "@@ -1,3 +1,3 @@\n one\r\n-two\r\n+2\r\n three\n\\ No newline at end of file\n",
        },
    ]
    (diff,) = [message["params"] for message in client.notifications("turn/diff/updated")]
    assert (diff["threadId"], diff["turnId"]) == (thread, turn)
    assert diff["diff"].count("diff --git ") == 3
    assert (stage.cwd / "windows.txt").read_bytes() == b"one\r\n2\r\nthree"
    assert (stage.cwd / "src" / "new.txt").read_text() == "hello\n"
    assert sorted(path.name for path in stage.cwd.rglob("*")) == ["moved.txt", "new.txt", "src", "windows.txt"]
    assert output(stage)["type"] == "custom_tool_call_output"
    assert output(stage)["output"].startswith("Exit code: 0\nWall time: ")
    assert output(stage)["output"].endswith(
        "Success. Updated the following files:\nA src/new.txt\nM windows.txt\nM src/moved.txt\n"
    )
    read = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
    assert item in read["thread"]["turns"][0]["items"]


def is_change(message: Message) -> bool:
    return message["params"]["item"]["type"] == "fileChange"


async def test_a_patch_outside_is_asked_about_and_applied_after_a_yes(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, OUTSIDE)
    outside = stage.cwd.parent / "outside"
    asked = await client.until("item/fileChange/requestApproval")
    assert not outside.exists()
    params = asked["params"]
    assert (params["threadId"], params["turnId"], params["itemId"]) == (thread, turn, "the-patch")
    assert params["reason"] == f"{outside}: it is outside of the writable folders"
    assert params["grantRoot"] is None
    assert isinstance(params["startedAtMs"], int)
    await client.respond(asked, {"decision": "accept"})
    await ended(client, turn)
    assert outside.read_text() == "x\n"
    assert told(client) == [
        "item/started inProgress",
        "item/fileChange/requestApproval",
        "serverRequest/resolved",
        "item/completed completed",
        "turn/diff/updated",
    ]


async def test_a_yes_for_the_session_covers_the_file_and_no_other(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, OUTSIDE)
    await answered(client, "acceptForSession")
    await ended(client, turn)
    turn = await begin_patch(stage, client, thread, "*** Update File: ../outside\n-x\n+y\n")
    await ended(client, turn)
    assert (stage.cwd.parent / "outside").read_text() == "y\n"
    turn = await begin_patch(stage, client, thread, "*** Add File: ../other\n+x\n")
    assert (await answered(client, "decline"))["turnId"] == turn
    await ended(client, turn)
    assert not (stage.cwd.parent / "other").exists()


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ("decline", "patch rejected by user"),
        ({}, "approval request failed"),
        ({"decision": "perhaps"}, "approval request failed"),
    ],
)
async def test_a_no_declines_the_patch_and_the_turn_goes_on(stage: Stage, decision: Any, text: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, "*** Add File: inside\n+x\n" + OUTSIDE)
    await answered(client, decision)
    assert (await ended(client, turn))["status"] == "completed"
    assert_balanced(client, turn)
    assert told(client)[-1] == "item/completed declined"
    assert output(stage)["output"] == text
    assert sorted(path.name for path in stage.cwd.parent.rglob("*")) == ["project"]


async def test_a_cancel_ends_the_turn(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, OUTSIDE)
    await answered(client, "cancel")
    assert (await ended(client, turn))["status"] == "interrupted"
    assert_balanced(client, turn)
    assert told(client)[-1] == "item/completed declined"
    assert len(stage.model.requests) == 1
    assert not (stage.cwd.parent / "outside").exists()


async def test_an_interrupt_closes_the_question_with_a_no(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, OUTSIDE)
    asked = await client.until("item/fileChange/requestApproval")
    await client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert (await ended(client, turn))["status"] == "interrupted"
    assert told(client)[-2:] == ["serverRequest/resolved", "item/completed declined"]
    # An answer that comes too late changes nothing.
    await client.respond(asked, {"decision": "accept"})
    await run_turn(client, thread)
    assert not (stage.cwd.parent / "outside").exists()


@pytest.mark.parametrize(
    "path", ["../outside", ".git/hooks/pre-commit", "deep/.git/config", "link/outside", "/outside"]
)
async def test_where_nobody_may_be_asked_nothing_is_written_outside(stage: Stage, path: str) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    (stage.cwd / "link").symlink_to(stage.cwd.parent)
    turn = await begin_patch(stage, client, thread, f"*** Add File: {path}\n+x\n", "never")
    assert (await ended(client, turn))["status"] == "completed"
    assert told(client) == []
    assert output(stage)["output"].startswith("patch rejected: ")
    assert sorted(path.name for path in stage.cwd.parent.rglob("*")) == ["link", "project"]
    assert "outside" not in os.listdir("/")


async def test_under_untrusted_every_patch_is_asked_about(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    turn = await begin_patch(stage, client, thread, "*** Add File: inside\n+x\n", "untrusted")
    assert (await answered(client, "accept"))["reason"] is None
    await ended(client, turn)
    assert (stage.cwd / "inside").read_text() == "x\n"


async def test_a_hunk_that_fails_changes_nothing_and_is_named(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    (stage.cwd / "a").write_text("1\n2\n")
    body = "*** Add File: new\n+x\n*** Update File: a\n@@\n-1\n+one\n@@\n-3\n+three\n"
    turn = await begin_patch(stage, client, thread, body)
    assert (await ended(client, turn))["status"] == "completed"
    assert told(client) == []
    assert output(stage)["output"] == (
        f"apply_patch verification failed: {stage.cwd}/a: hunk 2 (line 8 of the patch): these lines were not found. "
        "Sought:\n3"
    )
    assert {path.name: path.read_text() for path in stage.cwd.iterdir()} == {"a": "1\n2\n"}


async def test_a_patch_is_shown_while_it_is_written(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    text = patch("*** Add File: a\n+one\n+two\n*** Delete File: b\n")
    (stage.cwd / "b").write_text("bye\n")
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "the-patch", "name": "apply_patch", "input": ""}
    seen = anyio.Event()
    stage.model.script(
        event("response.output_item.added", output_index=0, item=item),
        event("response.custom_tool_call_input.delta", item_id="ctc_1", output_index=0, delta=text[:40]),
        gate(seen),
        event("response.custom_tool_call_input.delta", item_id="ctc_1", output_index=0, delta=text[40:]),
        event("response.output_item.done", output_index=0, item=item | {"input": text}),
    )
    stage.model.script(say("done"))
    turn = await begin(client, thread, sandboxPolicy=WORKSPACE)
    first = (await client.until("item/fileChange/patchUpdated"))["params"]
    seen.set()
    await ended(client, turn)
    place = {"threadId": thread, "turnId": turn, "itemId": "the-patch"}
    added = {"path": f"{stage.cwd}/a", "kind": {"type": "add"}}
    removed = {"path": f"{stage.cwd}/b", "kind": {"type": "delete"}, "diff": ""}
    assert first == {**place, "changes": [{**added, "diff": "one\n"}]}
    updates = [message["params"] for message in client.notifications("item/fileChange/patchUpdated")]
    assert updates[-1] == {**place, "changes": [{**added, "diff": "one\ntwo\n"}, removed]}
    kinds = told(client)
    assert kinds[-3:] == ["item/started inProgress", "item/completed completed", "turn/diff/updated"]
    assert set(kinds[:-3]) == {"item/fileChange/patchUpdated"}


async def test_the_diff_of_a_turn_grows_and_shrinks_with_its_patches(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client, model="gpt-5.5")
    bodies = ["*** Add File: a\n+1\n", "*** Add File: b\n+2\n", "*** Delete File: a\n", "*** Delete File: b\n"]
    for body in bodies:
        stage.model.script(custom_call(patch(body)))
    await run_turn(client, thread, sandboxPolicy=WORKSPACE)
    diffs = [message["params"]["diff"] for message in client.notifications("turn/diff/updated")]
    assert [diff.count("diff --git ") for diff in diffs] == [1, 2, 1, 0]
    assert diffs[-1] == ""
    # The next turn begins anew.
    stage.model.script(custom_call(patch("*** Add File: c\n+3\n")))
    await run_turn(client, thread, sandboxPolicy=WORKSPACE)
    assert client.notifications("turn/diff/updated")[-1]["params"]["diff"].startswith("diff --git a/c b/c\n")


async def test_a_model_without_freeform_tools_has_a_function(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    stage.model.script(tool_call("apply_patch", {"input": patch("*** Add File: a\n+1\n")}, "the-patch"))
    await run_turn(client, thread, sandboxPolicy=WORKSPACE)
    (spec,) = [tool for tool in stage.model.requests[0]["tools"] if tool["name"] == "apply_patch"]
    assert spec["type"] == "function"
    assert output(stage)["type"] == "function_call_output"
    assert (stage.cwd / "a").read_text() == "1\n"


async def test_the_servers_credentials_cannot_be_patched(stage: Stage) -> None:
    client = await stage.client()
    (stage.home / "auth.json").write_text('{"key": "secret"}\n')
    thread = await stage.thread(client, model="gpt-5.5", cwd=str(stage.home))
    turn = await begin_patch(stage, client, thread, "*** Update File: auth.json\n@@\n+x\n", "untrusted")
    await ended(client, turn)
    (stage.home / "auth.json").unlink()
    assert told(client) == []
    assert output(stage)["output"].startswith("patch rejected: ")
    assert "secret of the server" in output(stage)["output"]


async def test_a_patch_in_a_command_is_a_patch(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    (stage.cwd / "sub").mkdir()
    text = patch("*** Add File: a\n+1\n")
    script = f"cd sub && apply_patch <<'EOF'\n{text}\nEOF\n"
    stage.model.script(tool_call("exec_command", {"cmd": script}, "the-patch"))
    turn = await run_turn(client, thread, sandboxPolicy=WORKSPACE)
    assert_balanced(client, turn["id"])
    assert told(client) == ["item/started inProgress", "item/completed completed", "turn/diff/updated"]
    assert (stage.cwd / "sub" / "a").read_text() == "1\n"
    assert output(stage)["output"].endswith("Success. Updated the following files:\nA a\n")
