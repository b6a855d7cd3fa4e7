"""Skills, and what else extends the agent, through the real program."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.stage import Stage, ended, run_turn, set_stage, text


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Stage]:
    """A daemon for one test, which changes what all threads of a home have."""
    async with set_stage(tmp_path) as stage:
        yield stage


def add_skill(folder: Path, name: str, description: str = "About it.") -> Path:
    path = folder / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(f"---\nname: {name}\ndescription: {description}\n---\n\nDo {name}.\n")
    return path


async def listed(client: RpcClient, cwd: Path) -> dict[str, Message]:
    """The skills of a folder by name, without those of this machine."""
    (entry,) = (await client.call("skills/list", {"cwds": [str(cwd)]}))["data"]
    assert entry["cwd"] == str(cwd)
    return {skill["name"]: skill for skill in entry["skills"] if skill["scope"] in ("user", "repo")}


def shown(request: Message, start: str) -> list[str]:
    """The texts of a request to the model that begin so."""
    parts: list[Message] = [part for entry in request["input"] for part in entry.get("content") or ()]
    return [part["text"] for part in parts if str(part.get("text")).startswith(start)]


async def test_skills_are_listed_with_their_scope_and_errors(alone: Stage) -> None:
    client = await alone.client()
    own = add_skill(alone.home / "skills", "fly")
    project = add_skill(alone.cwd / ".agents" / "skills", "swim", "first: second")
    broken = alone.home / "skills" / "broken" / "SKILL.md"
    broken.parent.mkdir()
    broken.write_text("nothing")
    (entry,) = (await client.call("skills/list", {"cwds": [str(alone.cwd)], "forceReload": True}))["data"]
    found = [skill for skill in entry["skills"] if skill["scope"] in ("user", "repo")]
    assert [(skill["name"], skill["path"], skill["scope"], skill["enabled"]) for skill in found] == [
        ("swim", str(project), "repo", True),
        ("fly", str(own), "user", True),
    ]
    assert found[0]["description"] == "first: second"
    assert entry["errors"] == [{"path": str(broken), "message": "missing YAML frontmatter delimited by ---"}]


async def test_clients_hear_of_every_change_of_skills_that_somebody_has_asked_for(stage: Stage) -> None:
    one, other = await stage.client(), await stage.client()
    folder = stage.cwd / ".agents" / "skills"
    assert await listed(one, stage.cwd) == {}
    path = add_skill(folder, "fly")
    for client in (one, other):
        await client.until("skills/changed")
    assert list(await listed(one, stage.cwd)) == ["fly"]
    path.write_text(path.read_text().replace("About it.", "About flying."))
    await other.until("skills/changed")
    assert (await listed(other, stage.cwd))["fly"]["description"] == "About flying."
    path.unlink()
    await other.until("skills/changed")
    assert await listed(other, stage.cwd) == {}


async def test_a_skill_is_switched_off_and_on_in_the_users_configuration(alone: Stage) -> None:
    client, other = await alone.client(), await alone.client()
    path = add_skill(alone.home / "skills", "fly")
    assert (await listed(client, alone.cwd))["fly"]["enabled"]
    before = (alone.home / "config.toml").read_text()

    async def switch(**params: Any) -> bool:
        answer = await client.call("skills/config/write", params)
        await other.until("skills/changed")
        assert (await listed(client, alone.cwd))["fly"]["enabled"] == answer["effectiveEnabled"]
        return answer["effectiveEnabled"]

    assert not await switch(name="fly", enabled=False)
    assert await switch(path=str(path.parent), enabled=True)
    assert await switch(name="fly", enabled=True)
    assert not await switch(path=str(path), enabled=False)
    assert (alone.home / "config.toml").read_text().startswith(before.rstrip())


@pytest.mark.parametrize(
    "params",
    [
        {"enabled": True},
        {"enabled": True, "name": "a", "path": "/a"},
        {"enabled": False, "name": "never seen"},
        {"enabled": False, "path": "/never/seen"},
        {"enabled": True, "path": "relative"},
        {"name": "a"},
    ],
)
async def test_a_write_about_no_skill_or_several_is_refused(stage: Stage, params: Message) -> None:
    client = await stage.client()
    with pytest.raises(CallFailed) as failed:
        await client.call("skills/config/write", params)
    assert failed.value.code in (-32600, -32602)


async def test_skills_of_further_folders_count_until_others_are_named(stage: Stage, tmp_path: Path) -> None:
    client, other = await stage.client(), await stage.client()
    add_skill(tmp_path / "more", "fly")
    await client.call("skills/extraRoots/set", {"extraRoots": [str(tmp_path / "more"), "/nowhere"]})
    await other.until("skills/changed")
    assert (await listed(client, stage.cwd))["fly"]["scope"] == "user"
    await client.call("skills/extraRoots/set", {"extraRoots": []})
    assert await listed(client, stage.cwd) == {}


async def test_the_model_is_told_of_skills_once_and_again_when_they_change(stage: Stage) -> None:
    client = await stage.client()
    folder = stage.cwd / ".agents" / "skills"
    path = add_skill(folder, "fly", "Up in the air.")
    thread = await stage.thread(client)
    for _ in range(2):
        await run_turn(client, thread)
    (told,) = shown(stage.model.requests[1], "<skills_instructions>")
    assert "- fly: Up in the air. (file: fly/SKILL.md)" in told
    assert str(folder) in told
    add_skill(folder, "swim")
    await run_turn(client, thread)
    assert "- swim:" in shown(stage.model.requests[2], "<skills_instructions>")[1]
    path.unlink()
    (folder / "swim" / "SKILL.md").unlink()
    await run_turn(client, thread)
    assert "No skills" in shown(stage.model.requests[3], "<skills_instructions>")[2]


async def test_the_text_of_a_named_skill_follows_the_message_and_is_no_part_of_its_item(stage: Stage) -> None:
    client = await stage.client()
    path = add_skill(stage.cwd / ".agents" / "skills", "fly")
    thread = await stage.thread(client)
    turn = await run_turn(client, thread, "please $fly")
    assert turn["status"] == "completed"
    *_, message, skill = stage.model.requests[0]["input"]
    assert [part["text"] for part in message["content"]] == ["please $fly"]
    assert skill["role"] == "user"
    assert (
        skill["content"][0]["text"] == f"<skill>\n<name>fly</name>\n<path>{path}</path>\n{path.read_text()}\n</skill>"
    )
    thread_read = await client.call("thread/read", {"threadId": thread, "includeTurns": True})
    item = thread_read["thread"]["turns"][0]["items"][0]
    assert [part["text"] for part in item["content"]] == ["please $fly"]


async def test_a_skill_item_gives_its_text_and_a_stale_one_warns_without_stopping_the_turn(stage: Stage) -> None:
    client = await stage.client()
    path = add_skill(stage.cwd / ".agents" / "skills", "fly")
    thread = await stage.thread(client)
    gone = {"type": "skill", "name": "gone", "path": str(path.parent.parent / "gone" / "SKILL.md")}
    given = [*text("go"), {"type": "skill", "name": "fly", "path": str(path)}, gone]
    answer = await client.call("turn/start", {"threadId": thread, "input": given})
    warning = await client.until("warning", lambda params: params["threadId"] == thread)
    assert "There is no skill `gone`" in warning["params"]["message"]
    assert (await ended(client, answer["turn"]["id"]))["status"] == "completed"
    assert len(shown(stage.model.requests[0], "<skill>")) == 1


async def test_what_is_configured_is_answered_without_being_started(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    hooks = (await client.call("hooks/list", {"threadId": thread}))["data"]
    assert [(entry["cwd"], entry["hooks"], entry["errors"]) for entry in hooks] == [(str(stage.cwd), [], [])]
    assert (await client.call("mcpServerStatus/list", {"threadId": thread}))["data"] == []
    assert await client.call("config/mcpServer/reload") == {}
    assert await client.call("app/list", {}) == {"data": [], "nextCursor": None}
    assert await client.call("app/read", {"appIds": ["a", "a"]}) == {"apps": [], "missingAppIds": ["a"]}
    assert await client.call("app/installed", {"threadId": thread}) == {"apps": []}
    plugins = await client.call("plugin/list", {"cwds": [str(stage.cwd)]})
    assert plugins == {"marketplaces": [], "marketplaceLoadErrors": [], "featuredPluginIds": []}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("plugin/list", {"marketplaceKinds": ["shared-with-me"]}),
        ("plugin/read", {"pluginName": "p", "remoteMarketplaceName": "r"}),
        ("plugin/skill/read", {"remoteMarketplaceName": "r", "remotePluginId": "p", "skillName": "s"}),
        ("plugin/share/list", {}),
        ("plugin/share/save", {"pluginPath": "/p"}),
        ("plugin/share/delete", {"remotePluginId": "p"}),
        ("plugin/share/checkout", {"remotePluginId": "p"}),
        ("plugin/share/updateTargets", {"remotePluginId": "p", "discoverability": "PRIVATE", "shareTargets": []}),
    ],
)
async def test_what_wants_an_account_says_so(stage: Stage, method: str, params: Message) -> None:
    client = await stage.client()
    with pytest.raises(CallFailed, match="chatgpt authentication required") as failed:
        await client.call(method, params)
    assert failed.value.code == -32600


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("hooks/list", {"threadId": "x", "cwds": ["/"]}, "either threadId or cwds"),
        ("hooks/list", {"threadId": "01a2061b-5bf3-7ff0-9490-9222a178125b"}, "thread not found"),
        ("app/list", {"threadId": "01a2061b-5bf3-7ff0-9490-9222a178125b"}, "thread not found"),
        ("mcpServerStatus/list", {"cursor": "7"}, "exceeds total MCP servers"),
        ("plugin/read", {"pluginName": "p"}, "exactly one of"),
        ("plugin/read", {"pluginName": "p", "marketplacePath": "/no/.agents/plugins/marketplace.json"}, "not exist"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    stage: Stage, method: str, params: Message, words: str
) -> None:
    client = await stage.client()
    with pytest.raises(CallFailed, match=words) as failed:
        await client.call(method, params)
    assert failed.value.code == -32600


async def test_hooks_of_a_project_are_listed_once_it_is_trusted(alone: Stage) -> None:
    client = await alone.client()
    group = {"hooks": [{"type": "command", "command": "x"}]}
    for folder in (alone.cwd / ".codex", alone.cwd / ".git"):
        folder.mkdir()
    (alone.cwd / ".codex" / "hooks.json").write_bytes(orjson.dumps({"hooks": {"Stop": [group]}}))

    async def hooks() -> list[tuple[str, str]]:
        (entry,) = (await client.call("hooks/list", {"cwds": [str(alone.cwd)]}))["data"]
        return [(hook["source"], hook["trustStatus"]) for hook in entry["hooks"]]

    async def write(key_path: str, value: Any) -> None:
        params = {"keyPath": key_path, "value": value, "mergeStrategy": "upsert"}
        await client.call("config/value/write", params)

    assert await hooks() == []
    await write(f'projects."{alone.cwd}".trust_level', "trusted")
    assert await hooks() == [("project", "untrusted")]
    (entry,) = (await client.call("hooks/list", {"cwds": [str(alone.cwd)]}))["data"]
    (hook,) = entry["hooks"]
    await write("hooks.state", {hook["key"]: {"trusted_hash": hook["currentHash"]}})
    assert await hooks() == [("project", "trusted")]


async def test_the_history_of_imports_outlives_the_daemon(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    success = {"itemType": "SKILLS", "source": "a", "target": "b", "cwd": None, "title": None}
    failure = {"itemType": "PLUGINS", "failureStage": "fetch", "message": "no network", "cwd": None, "source": "p"}
    results = [{"itemType": "SKILLS", "successes": [success], "failures": [failure]}]
    ids: list[str] = []
    for provider in ("one", "two"):
        async with running_daemon(home) as daemon, daemon.client() as client:
            await client.initialize("tester")
            params = {"providerId": provider, "itemTypeResults": results}
            ids.append((await client.call("externalAgentConfig/import/recordHistory", params))["importId"])
            answer = await client.call("externalAgentConfig/import/readHistories")
    assert answer["connectors"] == []
    assert [(one["importId"], one["providerId"]) for one in answer["data"]] == [(ids[1], "two"), (ids[0], "one")]
    assert answer["data"][0]["successes"] == [success]
    assert answer["data"][0]["failures"] == [{**failure, "errorType": None, "subErrorType": None}]
    assert answer["data"][0]["completedAtMs"] >= answer["data"][1]["completedAtMs"]
