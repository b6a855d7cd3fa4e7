"""Named permission profiles on the wire: listed, chosen, enforced, and gone after a restart."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import ScriptedModel, tool_call
from tests.support.stage import Stage, run_turn, set_stage

PROFILES = """
[permissions.dev]
description = "Work on the project."
extends = ":workspace"
[permissions.dev.filesystem]
"EXTRA" = "write"
":slash_tmp" = "read"
":tmpdir" = "read"
":workspace_roots" = { "keys" = "deny", "docs" = "read", "**/*.env" = "deny" }
[permissions.narrow.filesystem]
":workspace_roots" = "read"
[permissions.broken]
extends = "nowhere"
"""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    def profiles(_: str) -> str:
        return PROFILES.replace("EXTRA", str(tmp_path / "extra"))

    settings: dict[str, object] = {"approval_policy": "on-request"}
    async with set_stage(tmp_path, more=profiles, settings=settings) as stage:
        for folder in ("keys", "docs", "sub"):
            (stage.cwd / folder).mkdir()
        for name in ("keys/one", "docs/one", "sub/one", "sub/a.env", "a.env"):
            (stage.cwd / name).write_text("secret")
        (tmp_path / "extra").mkdir()
        (tmp_path / "outside").write_text("secret")
        yield stage


async def _runs(client: RpcClient, stage: Stage, profile: str, command: str) -> bool:
    params = {"command": ["sh", "-c", command], "permissionProfile": profile, "cwd": str(stage.cwd)}
    return (await client.call("command/exec", params))["exitCode"] == 0


async def test_profiles_are_listed_and_what_cannot_be_used_is_marked(stage: Stage) -> None:
    client = await stage.client(experimental=False)
    answer = await client.call("permissionProfile/list", {"cwd": str(stage.cwd)})
    assert answer == {
        "data": [
            {"id": ":read-only", "description": None, "allowed": True},
            {"id": ":workspace", "description": None, "allowed": True},
            {"id": ":danger-full-access", "description": None, "allowed": True},
            {"id": "broken", "description": None, "allowed": False},
            {"id": "dev", "description": "Work on the project.", "allowed": True},
            {"id": "narrow", "description": None, "allowed": True},
        ],
        "nextCursor": None,
    }
    warnings = [message["params"] for message in client.notifications("configWarning")]
    assert any("nowhere" in (warning["details"] or "") for warning in warnings)


async def test_profiles_are_listed_page_by_page(stage: Stage) -> None:
    client = await stage.client()
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.call("permissionProfile/list", {"limit": 4, "cursor": cursor})
        names += [profile["id"] for profile in page["data"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert names == [":read-only", ":workspace", ":danger-full-access", "broken", "dev", "narrow"]
    assert len((await client.call("permissionProfile/list", {"limit": 0}))["data"]) == 1
    for bad in ("x", "-1", "99", "9" * 5000, ""):
        with pytest.raises(CallFailed, match=r"invalid cursor|cursor 99 exceeds total permission profiles 6"):
            await client.call("permissionProfile/list", {"cursor": bad})


async def test_a_profile_is_enforced(stage: Stage) -> None:
    client = await stage.client()
    commands = {
        "touch made": True,
        "touch ../extra/made": True,
        "touch ../made": False,
        "touch /tmp/.": False,
        "cat ../outside": True,
        "cat docs/one": True,
        "touch docs/made": False,
        "cat keys/one": False,
        "cat a.env": False,
        "cat sub/a.env": False,
        "cat sub/one": True,
    }
    for command, allowed in commands.items():
        assert await _runs(client, stage, "dev", command) is allowed, command
        assert await _runs(client, stage, ":danger-full-access", command), command


async def test_what_appears_between_two_commands_is_denied_by_its_pattern(stage: Stage) -> None:
    client = await stage.client()
    assert await _runs(client, stage, "dev", "cat sub/one")
    (stage.cwd / "sub" / "new.env").write_text("secret")
    assert not await _runs(client, stage, "dev", "cat sub/new.env")


async def test_a_profile_can_leave_only_the_workspace_readable(stage: Stage) -> None:
    client = await stage.client()
    for command, allowed in {"cat sub/one": True, "cat ../outside": False, "touch sub/made": False}.items():
        assert await _runs(client, stage, "narrow", command) is allowed, command


async def test_a_profile_that_cannot_be_had_is_refused(stage: Stage) -> None:
    client = await stage.client()
    for name, told in (("gone", "unknown permission profile `gone`"), ("broken", "extends `nowhere`")):
        with pytest.raises(CallFailed, match=told):
            await _runs(client, stage, name, "true")
        with pytest.raises(CallFailed, match=told):
            await stage.thread(client, permissions=name)


async def test_a_thread_works_under_its_profile_and_tells_it(stage: Stage) -> None:
    client = await stage.client()
    answer = await client.call("thread/start", {"cwd": str(stage.cwd), "permissions": "dev"})
    active = {"id": "dev", "extends": ":workspace"}
    shown = {
        "type": "workspaceWrite",
        "writableRoots": [str(stage.cwd.parent / "extra")],
        "networkAccess": False,
        "excludeSlashTmp": True,
        "excludeTmpdirEnvVar": "TMPDIR" in os.environ,
    }
    assert (answer["activePermissionProfile"], answer["sandbox"]) == (active, shown)
    thread = answer["thread"]["id"]
    stage.model.script(
        tool_call("exec_command", {"cmd": "cat keys/one a.env docs/one; echo in > made; echo in > docs/made"})
    )
    assert (await run_turn(client, thread))["status"] == "completed"
    assert (stage.cwd / "made").exists()
    assert not (stage.cwd / "docs" / "made").exists()
    (item,) = [
        message["params"]["item"]
        for message in client.notifications("item/completed")
        if message["params"]["item"]["type"] == "commandExecution"
    ]
    assert item["aggregatedOutput"].count("secret") == 1
    await client.call("thread/settings/update", {"threadId": thread, "permissions": ":read-only"})
    told = (await client.until("thread/settings/updated"))["params"]["threadSettings"]
    assert told["activePermissionProfile"] == {"id": ":read-only", "extends": None}
    assert told["sandboxPolicy"] == {"type": "readOnly", "networkAccess": False}


async def test_a_profile_is_in_force_after_a_restart_and_one_that_is_gone_leaves_read_only(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    async with ScriptedModel() as model:

        async def resumed(more: str, thread: str | None) -> tuple[dict[str, Any], list[str]]:
            home = make_home(tmp_path / "home", model.url, more=more)
            async with running_daemon(home) as daemon, daemon.client() as client:
                await client.initialize()
                if thread is None:
                    answer = await client.call("thread/start", {"cwd": str(project), "permissions": "dev"})
                    await run_turn(client, answer["thread"]["id"])
                    return answer, []
                answer = await client.call("thread/resume", {"threadId": thread})
                await client.call("thread/loaded/list", {})
                return answer, [note["params"]["message"] for note in client.notifications("warning")]

        dev = '[permissions.dev]\nextends = ":workspace"\n'
        started, _ = await resumed(dev, None)
        again, warnings = await resumed(dev, started["thread"]["id"])
        assert again["activePermissionProfile"] == {"id": "dev", "extends": ":workspace"}
        assert again["sandbox"]["type"] == "workspaceWrite"
        assert warnings == []
        gone, (warning,) = await resumed("", started["thread"]["id"])
        assert gone["activePermissionProfile"] == {"id": ":read-only", "extends": None}
        assert gone["sandbox"] == {"type": "readOnly", "networkAccess": False}
        assert "`dev`" in warning


async def test_a_granular_policy_needs_the_experimental_capability(stage: Stage) -> None:
    granular = {"granular": {"mcp_elicitations": True, "rules": True, "sandbox_approval": True}}
    stable, experimental = await stage.client(experimental=False), await stage.client()
    with pytest.raises(CallFailed, match=r"askForApproval\.granular requires experimentalApi capability") as refusal:
        await stable.call("thread/start", {"approvalPolicy": granular})
    assert refusal.value.code == -32600
    thread = await stage.thread(experimental, approvalPolicy=granular)
    shown = (await stable.call("thread/resume", {"threadId": thread}))["approvalPolicy"]
    assert shown["granular"]["rules"] is True
