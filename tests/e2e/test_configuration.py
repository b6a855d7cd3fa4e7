"""Configuration on the wire: read for a folder, written, read again while threads run, trusted, demanded, refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.daemon import PROGRAM, running_daemon
from tests.support.home import environment, make_home
from tests.support.managed import managed_program
from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import ScriptedModel, gate, say
from tests.support.stage import Stage, run_turn, set_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with set_stage(tmp_path, settings={"model_verbosity": "low"}) as stage:
        yield stage


def edit(key_path: str, value: Any, strategy: str = "replace") -> dict[str, Any]:
    return {"keyPath": key_path, "value": value, "mergeStrategy": strategy}


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "text_elements": []}]


def change_file(stage: Stage, old: str, new: str) -> None:
    """Change config.toml as an editor does: by another file in its place."""
    file = stage.home / "config.toml"
    text = file.read_text()
    assert old in text
    (stage.home / "new.toml").write_text(text.replace(old, new))
    (stage.home / "new.toml").rename(file)


async def test_a_value_is_written_and_read_with_its_origin(stage: Stage) -> None:
    client = await stage.client()
    file = str(stage.home / "config.toml")
    before = await client.call("config/read", {"includeLayers": True})
    version = next(layer["version"] for layer in before["layers"] if layer["name"]["type"] == "user")
    written = await client.call("config/value/write", {**edit("model", "other"), "expectedVersion": version})
    assert {**written, "version": None} == {
        "status": "ok",
        "version": None,
        "filePath": file,
        "overriddenMetadata": None,
    }
    read = await client.call("config/read", {})
    assert read["config"]["model"] == "other"
    assert read["config"]["file_opener"] == "vscode"
    assert read["layers"] is None
    assert read["origins"]["model"] == {
        "name": {"type": "user", "file": file, "profile": None},
        "version": written["version"],
    }
    with pytest.raises(CallFailed) as conflict:
        await client.call("config/batchWrite", {"edits": [edit("model", "late")], "expectedVersion": version})
    assert conflict.value.code == -32600
    assert conflict.value.data == {"config_write_error_code": "configVersionConflict"}
    assert (await client.call("thread/start", {"cwd": str(stage.cwd)}))["model"] == "other"


async def test_a_write_that_makes_no_sense_is_refused_and_changes_nothing(stage: Stage) -> None:
    client = await stage.client()
    before = (stage.home / "config.toml").read_bytes()
    with pytest.raises(CallFailed, match="Model provider `nobody` not found; known providers") as refused:
        await client.call("config/batchWrite", {"edits": [edit("model", "x"), edit("model_provider", "nobody")]})
    assert refused.value.data == {"config_write_error_code": "configValidationError"}
    assert (stage.home / "config.toml").read_bytes() == before
    with pytest.raises(CallFailed, match="cwd") as failed:
        await client.call("config/read", {"cwd": 5})
    assert failed.value.code == -32600


async def test_trusting_a_folder_puts_its_configuration_in_force(stage: Stage) -> None:
    client = await stage.client()
    folder = stage.cwd / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        'model = "of-project"\nmodel_provider = "demo"\n[permissions.mine]\nextends = ":workspace"\n'
    )
    params = {"cwd": str(stage.cwd), "includeLayers": True}

    async def layer() -> dict[str, Any]:
        layers = (await client.call("config/read", params))["layers"]
        return next(layer for layer in layers if layer["name"]["type"] == "project")

    assert str(stage.cwd) in (await layer())["disabledReason"]
    assert (await client.call("config/read", params))["config"]["projects"] is None
    assert (await client.call("thread/start", {"cwd": str(stage.cwd)}))["model"] == "mock-model"
    warned = await client.until("configWarning", lambda told: told["path"] == str(folder / "config.toml"))
    assert "not trusted" in warned["params"]["summary"]

    trust = edit(f'projects."{stage.cwd}".trust_level', "trusted")
    answer = await client.call("config/batchWrite", {"edits": [trust], "reloadUserConfig": True})
    assert answer["status"] == "ok"
    assert (await layer())["disabledReason"] is None
    assert (await layer())["config"]["model"] == "of-project"
    read = await client.call("config/read", {"cwd": str(stage.cwd)})
    assert read["config"]["projects"] == {str(stage.cwd): {"trust_level": "trusted"}}
    assert read["origins"]["model"]["name"] == {"type": "project", "dotCodexFolder": str(folder)}
    assert (await client.call("config/read", {}))["config"]["model"] == "mock-model"
    started = await client.call("thread/start", {"cwd": str(stage.cwd), "permissions": "mine"})
    assert (started["model"], started["modelProvider"]) == ("of-project", "scripted")
    listed = await client.call("permissionProfile/list", {"cwd": str(stage.cwd)})
    assert listed["data"][-1] == {"id": "mine", "description": None, "allowed": True}
    assert len((await client.call("permissionProfile/list", {}))["data"]) == 3


async def test_a_relative_folder_is_one_where_the_daemon_works(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:9/v1")
    folder = home / "inner"
    (folder / ".codex").mkdir(parents=True)
    (folder / ".codex" / "config.toml").write_text('model = "inner"\n')
    with (home / "config.toml").open("a") as file:
        file.write(f'[projects."{folder}"]\ntrust_level = "trusted"\n')
    async with running_daemon(home) as daemon, daemon.client() as client:
        await client.initialize()
        for cwd, model in (("inner", "inner"), ("inner/../inner", "inner"), (".", "mock-model"), ("", "mock-model")):
            assert (await client.call("config/read", {"cwd": cwd}))["config"]["model"] == model
        assert (await client.call("thread/start", {"cwd": "inner"}))["cwd"] == str(folder)
        assert len((await client.call("permissionProfile/list", {"cwd": "."}))["data"]) == 3
        with pytest.raises(CallFailed, match=f"no folder: {home}/missing"):
            await client.call("thread/start", {"cwd": "missing"})


async def test_a_loaded_thread_goes_on_with_what_was_written_and_keeps_its_model(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    await run_turn(client, thread, "one")
    edits = [edit("model_verbosity", "high"), edit("model", "other")]
    await client.call("config/batchWrite", {"edits": edits, "reloadUserConfig": True})
    await run_turn(client, thread, "two")
    first, second = stage.model.requests
    assert [request["text"]["verbosity"] for request in (first, second)] == ["low", "high"]
    assert [request["model"] for request in (first, second)] == ["mock-model", "mock-model"]


async def test_a_turn_keeps_the_configuration_that_it_began_with(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    opens = anyio.Event()
    stage.model.script(gate(opens), say("one"))
    stage.model.script(say("two"))
    await client.call("turn/start", {"threadId": thread, "input": said("go")})
    await stage.model.wait_for_requests(1)
    await client.call("config/value/write", edit("model_verbosity", "high"))
    steer = {"threadId": thread, "input": said("more")}
    turn = (await client.until("turn/started"))["params"]["turn"]["id"]
    await client.call("turn/steer", {**steer, "expectedTurnId": turn})
    opens.set()
    await client.until("turn/completed")
    assert {request["text"]["verbosity"] for request in stage.model.requests} == {"low"}
    assert len(stage.model.requests) > 1


async def test_a_file_changed_by_somebody_else_reaches_clients_and_loaded_threads(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    change_file(stage, 'model_verbosity = "low"', 'model_verbosity = "high"\nmodle = "typo"')
    warned = await client.until("configWarning", lambda told: "modle" in (told["details"] or ""))
    assert "Did you mean `model`?" in warned["params"]["details"]
    assert warned["params"]["range"]["start"]["line"] == 6
    await run_turn(client, thread, "go")
    assert stage.model.requests[-1]["text"]["verbosity"] == "high"


async def test_a_projects_file_that_changes_reaches_its_loaded_threads(stage: Stage) -> None:
    client = await stage.client()
    await client.call("config/value/write", edit(f'projects."{stage.cwd}".trust_level', "trusted"))
    thread = await stage.thread(client)
    (stage.cwd / ".codex").mkdir()
    (stage.cwd / ".codex" / "config.toml").write_text('model_verbosity = "high"\nmodle = "typo"\n')
    await client.until("configWarning", lambda told: "modle" in (told["details"] or ""))
    await run_turn(client, thread, "go")
    assert stage.model.requests[-1]["text"]["verbosity"] == "high"


async def test_while_a_file_is_broken_loaded_threads_go_on_and_new_ones_say_where(stage: Stage) -> None:
    client = await stage.client()
    thread = await stage.thread(client)
    change_file(stage, 'model_verbosity = "low"', "model_verbosity = ")
    with pytest.raises(CallFailed, match=r"config\.toml:\d+:\d+"):
        await stage.thread(client)
    warned = await client.until("configWarning", lambda told: told["path"] == str(stage.home / "config.toml"))
    assert "threads cannot start" in warned["params"]["summary"]
    with pytest.raises(CallFailed, match="correct it first"):
        await client.call("config/value/write", edit("model", "x"))
    assert (await client.call("config/read", {}))["config"]["model"] is None
    await run_turn(client, thread, "go")
    assert stage.model.requests[-1]["text"]["verbosity"] == "low"
    change_file(stage, "model_verbosity = ", 'model_verbosity = "medium"')
    await stage.thread(client)


async def test_features_are_listed_in_pages_and_switched(stage: Stage) -> None:
    client = await stage.client()
    every = (await client.call("experimentalFeature/list", {}))["data"]
    page = await client.call("experimentalFeature/list", {"cursor": "2", "limit": 2})
    assert (page["data"], page["nextCursor"]) == (every[2:4], "4")
    thread = await stage.thread(client)

    async def goals(**params: Any) -> tuple[bool, bool]:
        listed = (await client.call("experimentalFeature/list", params))["data"]
        (feature,) = [feature for feature in listed if feature["name"] == "goals"]
        return feature["enabled"], feature["defaultEnabled"]

    assert await goals() == (True, True)
    await client.call("config/value/write", edit("features.goals", False))
    assert await goals() == (False, True)
    assert await goals(threadId=thread) == (False, True)
    answer = await client.call(
        "experimentalFeature/enablement/set", {"enablement": {"memories": True, "goals": True, "nobody": True}}
    )
    assert answer == {"enablement": {"memories": True}}
    listed = (await client.call("experimentalFeature/list", {}))["data"]
    assert next(feature for feature in listed if feature["name"] == "memories")["enabled"] is True
    for wrong in ({"cursor": "x"}, {"cursor": "9999"}, {"threadId": "x"}):
        with pytest.raises(CallFailed) as failed:
            await client.call("experimentalFeature/list", wrong)
        assert failed.value.code == -32600


DEMANDS = """
allowed_approval_policies = ["never"]
allowed_sandbox_modes = ["read-only"]
additional_developer_instructions = "Speak of ships."
"""


async def test_demands_hold_for_whatever_clients_choose(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "requirements.toml").write_text(DEMANDS)
    program = managed_program(tmp_path / "etc")
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url, settings={"sandbox_mode": "workspace-write"})
        async with running_daemon(home, program=program) as daemon, daemon.client() as client:
            await client.initialize()
            await client.until("configWarning", lambda told: "sandbox_mode" in told["summary"])
            read = await client.call("configRequirements/read")
            assert read["requirements"]["allowedSandboxModes"] == ["read-only"]
            asked = {"cwd": str(home), "approvalPolicy": "on-request", "sandbox": "workspace-write"}
            started = await client.call("thread/start", asked)
            assert (started["approvalPolicy"], started["sandbox"]["type"]) == ("never", "readOnly")
            thread = started["thread"]["id"]
            warned = await client.until("warning", lambda told: told["threadId"] == thread)
            assert "`on-request` is not in the allowed set [never]" in warned["params"]["message"]
            await _refused(client, "thread/settings/update", {"threadId": thread, "approvalPolicy": "on-request"})
            full = {"sandboxPolicy": {"type": "dangerFullAccess"}}
            await _refused(client, "turn/start", {"threadId": thread, "input": said("x"), **full})
            await _refused(client, "command/exec", {"command": ["true"], **full})
            await _refused(client, "command/exec", {"command": ["true"], "permissionProfile": ":workspace"})
            await _refused(client, "config/value/write", edit("sandbox_mode", "danger-full-access"))
            config = {"config": {"sandbox_mode": "danger-full-access"}}
            await _refused(client, "thread/start", {"cwd": str(home), **config})
            await run_turn(client, thread, "go")
            assert "Speak of ships." in str(model.requests[-1]["input"])


async def _refused(client: RpcClient, method: str, params: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match="is not in the allowed set") as refused:
        await client.call(method, params)
    assert refused.value.code == -32600


async def test_a_profile_file_goes_before_the_users_own(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:9/v1")
    (home / "work.config.toml").write_text('model = "work"\n')
    async with running_daemon(home, options=["--profile", "work"]) as daemon, daemon.client() as client:
        await client.initialize()
        assert (await client.call("thread/start", {"cwd": str(home)}))["model"] == "work"
        answer = await client.call("config/value/write", edit("model", "mine"))
        assert answer["status"] == "okOverridden"
        overridden = answer["overriddenMetadata"]
        assert overridden["effectiveValue"] == "work"
        assert overridden["overridingLayer"]["name"] == {
            "type": "user",
            "file": str(home / "work.config.toml"),
            "profile": "work",
        }


@pytest.mark.parametrize(
    ("options", "config", "reason"),
    [
        (["--strict-config"], 'model = "x"\nmodle = "y"\n', "config.toml:2: unknown configuration field `modle`"),
        (["--strict-config"], "[tui]\nthem = 1\n", "unknown configuration field `tui.them`. Did you mean `theme`?"),
        (["--strict-config", "-c", "modle=1"], "", "unknown configuration field `modle` in -c/--config override"),
        (["--strict-config"], "model = \n", "config.toml:1:9"),
        (["--strict-config"], "[tui]\ntheme = 5\n", "config.toml:2: must be a string, got the number 5"),
        (["-c", "web_search=zz"], "", "-c web_search: must be one of `disabled`"),
        (["--profile", "nobody"], "", "nobody.config.toml"),
        (["-p", "../x"], "", "a profile's name consists of"),
    ],
)
async def test_what_must_not_start_says_why(tmp_path: Path, options: list[str], config: str, reason: str) -> None:
    (tmp_path / "config.toml").write_text(config)
    argv = [*PROGRAM, "app-server", "--listen", "off", *options]
    done = await anyio.run_process(argv, env=environment(tmp_path), cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert reason in done.stderr.decode()


async def test_a_daemon_on_stdio_that_must_not_start_says_so_though_nobody_asks_it_anything(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("modle = 1\n")
    argv = [*PROGRAM, "app-server", "--strict-config"]
    done = await anyio.run_process(argv, env=environment(tmp_path), cwd=tmp_path, check=False, input=b"")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "config.toml:1: unknown configuration field `modle`" in done.stderr.decode()
