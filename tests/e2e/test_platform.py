"""What the machine and the program themselves are asked, through the real program."""

import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import say
from tests.support.stage import Stage, begin, ended, run_turn, set_stage, text

NOBODY = "019aaaaa-aaaa-7aaa-8aaa-aaaaaaaaaaaa"


async def refusal(client: RpcClient, method: str, params: Any) -> str:
    """The message of the refusal (-32600)."""
    with pytest.raises(CallFailed) as refused:
        await client.call(method, params)
    assert refused.value.code == -32600
    return refused.value.message


async def test_this_machine_is_an_environment_and_others_are_only_known_by_name(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        info = await client.call("environment/info", {"environmentId": "local"})
        assert info["cwd"] == stage.home.as_uri()
        assert Path(info["shell"]["path"]).name == info["shell"]["name"]
        assert await client.call("environment/status", {"environmentId": "local"}) == {"status": "ready", "error": None}
        unknown = {"status": "unknown", "error": "unknown environment id `far`"}
        assert await client.call("environment/status", {"environmentId": "far"}) == unknown
        assert await refusal(client, "environment/info", {"environmentId": "far"}) == "unknown environment id `far`"

        far: dict[str, Any] = {"environmentId": "far", "execServerUrl": "ws://127.0.0.1:9/exec"}
        assert await client.call("environment/add", far) == {}
        status = await client.call("environment/status", {"environmentId": "far"})
        assert status["status"] == "disconnected"
        assert "on its own machine only" in status["error"]
        assert status["error"] in await refusal(client, "environment/info", {"environmentId": "far"})
        for wrong in ({"environmentId": ""}, {"environmentId": "local"}, {"execServerUrl": ""}):
            await refusal(client, "environment/add", {**far, **wrong})

        # A command meant for elsewhere must not run here.
        thread = await stage.thread(client, environments=[{"environmentId": "local", "cwd": str(stage.cwd)}])
        there = {"environments": [{"environmentId": "far", "cwd": "/"}]}
        requests: dict[str, dict[str, Any]] = {
            "thread/start": {},
            "turn/start": {"threadId": thread, "input": text("hello")},
            "thread/settings/update": {"threadId": thread},
        }
        for method, params in requests.items():
            assert "`far`" in await refusal(client, method, {**params, **there})
        nowhere = {"environments": [{"environmentId": "nope", "cwd": "/"}]}
        assert await refusal(client, "thread/start", nowhere) == "unknown turn environment id `nope`"


async def test_diagnostics_count_what_is_there(tmp_path: Path) -> None:
    async def gauges() -> dict[str, int]:
        answer = await client.call("server/diagnostics", {})
        assert answer["process"]["id"] == stage.daemon.pid
        assert answer["process"]["residentMemoryBytes"] > 1 << 20
        return {gauge["name"]: gauge["value"] for gauge in answer["gauges"]}

    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        before = await gauges()
        assert before["app.requests.in_flight"] == before["app.connections.open"] == 1
        assert before["core.threads.live"] == before["core.turns.active"] == before["app.requests.queued"] == 0
        assert before["store.bytes"] > 0
        other = await stage.client()
        command = {"command": ["sleep", "86400"], "processId": "p", "disableTimeout": True}
        running = await other.post("command/exec", command)
        stage.model.script(say("done"))
        thread = await stage.thread(client)
        await run_turn(client, thread)
        now = await gauges()
        assert now["app.connections.open"] == 2
        assert now["app.requests.in_flight"] == 2
        assert now["core.threads.live"] == now["core.commands.running"] == 1
        assert now["store.bytes"] > before["store.bytes"]
        assert now["process.open_files"] > before["process.open_files"]
        assert 0 <= now["app.event_loop.lag_us"] < 60_000_000
        await other.call("command/exec/terminate", {"processId": "p"})
        await other.answer_to(running)
        assert (await gauges())["core.commands.running"] == 0


def bundle(path: Path) -> dict[str, str]:
    """The texts of a bundle by the name of the file, without the folder of each."""
    with zipfile.ZipFile(path) as archive:
        return {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()}


async def test_a_report_holds_what_helps_and_no_secret(tmp_path: Path) -> None:
    more = '[model_providers.other]\nname = "o"\nbase_url = "http://h"\nexperimental_bearer_token = "bearer-of-config"'
    async with set_stage(tmp_path, more=lambda url: more) as stage:
        client = await stage.client("reporter")
        stage.model.script(say("the key is bearer-of-config, and sk-proj-abcdefghijklmnop"))
        thread = await stage.thread(client)
        await run_turn(client, thread, "why did it break?")
        notes, path = tmp_path / "notes.txt", tmp_path / "report.zip"
        notes.write_text("PASSWORD=swordfish")
        request: dict[str, Any] = {
            "classification": "bug",
            "reason": "it broke",
            "tags": {"where": "here"},
            "threadId": thread,
            "includeLogs": True,
            "extraLogFiles": [str(notes)],
            "savePath": str(path),
        }
        answer = await client.call("feedback/save", request)
        assert (answer["savedPath"], answer["threadId"]) == (str(path), thread)
        assert len(answer["promptHash"]) == 64
        texts = bundle(path)
        assert set(texts) == {
            *("report.json", "manifest.json", "config.json", "turnloom.log", "doctor.json", "thread.jsonl", "notes.txt")
        }
        report = orjson.loads(texts["report.json"])
        assert {"classification": "bug", "reason": "it broke", "tags": {"where": "here"}}.items() <= report.items()
        assert report["client"] == {"name": "reporter", "version": "0.1.0"}
        assert orjson.loads(texts["config.json"])["model"] == "mock-model"
        assert "checks" in orjson.loads(texts["doctor.json"])
        about, turn = map(orjson.loads, texts["thread.jsonl"].splitlines())
        assert (about["id"], turn["status"]) == (thread, "completed")
        assert "why did it break?" in texts["thread.jsonl"]
        everything = "".join(texts.values())
        for secret in ("bearer-of-config", "sk-proj-abcdefghijklmnop", "swordfish"):
            assert secret not in everything
        assert "already exists" in await refusal(client, "feedback/save", request)


async def test_a_report_without_logs_says_only_what_the_user_said(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        for number, about in enumerate((thread, NOBODY, None)):
            path = tmp_path / f"report{number}"
            params = {"classification": "good_result", "savePath": str(path), "threadId": about}
            answer = await client.call("feedback/save", params)
            assert (answer["threadId"] == about) is (about is not None)
            assert (answer["promptHash"] is None) is (about != thread)
            assert set(bundle(path)) == {"report.json", "manifest.json"}
        wrong = {"classification": "bug", "savePath": f"{tmp_path}/x", "extraLogFiles": ["/nowhere/y"]}
        assert "/nowhere/y" in await refusal(client, "feedback/save", wrong)
        assert "feedback/save" in await refusal(client, "feedback/upload", {"classification": "bug"})
        assert "is no UUID" in await refusal(client, "feedback/upload", {"classification": "bug", "threadId": "x"})


async def test_remote_control_is_told_to_every_client_and_needs_an_account(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client, other = await stage.client(), await stage.client(experimental=False)
        told = [(await each.until("remoteControl/status/changed"))["params"] for each in (client, other)]
        assert told[0] == told[1] == await client.call("remoteControl/status/read")
        assert (told[0]["status"], told[0]["environmentId"]) == ("disabled", None)
        assert str(UUID(told[0]["installationId"])) == (stage.home / "installation_id").read_text()

        needed = "remote control requires ChatGPT authentication"
        device = {"environmentId": "e", "clientId": "c"}
        assert await refusal(client, "remoteControl/enable", {}) == needed
        assert await refusal(client, "remoteControl/disable", {}) == needed
        assert await refusal(client, "remoteControl/client/list", device) == needed
        assert await refusal(client, "remoteControl/client/revoke", device) == needed
        assert "between 1 and 100" in await refusal(client, "remoteControl/client/list", {**device, "limit": 101})
        assert "to be enabled" in await refusal(client, "remoteControl/pairing/start", {})
        assert "requires pairingCode" in await refusal(client, "remoteControl/pairing/status", {})
        both = {"pairingCode": "a", "manualPairingCode": "b"}
        assert "not both" in await refusal(client, "remoteControl/pairing/status", both)

        assert (await client.call("remoteControl/enable", {"ephemeral": True}))["status"] == "connecting"
        for each in (client, other):
            for status in ("connecting", "errored"):
                assert (await each.until("remoteControl/status/changed"))["params"]["status"] == status
        late = await stage.client()
        assert (await late.until("remoteControl/status/changed"))["params"]["status"] == "errored"
        assert "until enrollment" in await refusal(client, "remoteControl/pairing/start", {})
        assert (await client.call("remoteControl/disable", {"ephemeral": True}))["status"] == "disabled"
        assert (await other.until("remoteControl/status/changed"))["params"]["status"] == "disabled"


async def test_realtime_names_its_voices_and_says_that_it_is_not_there(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client, other = await stage.client(), await stage.client()
        voices = (await client.call("thread/realtime/listVoices", {}))["voices"]
        assert (voices["defaultV1"] in voices["v1"], voices["defaultV2"] in voices["v2"]) == (True, True)
        thread = await stage.thread(client)
        await run_turn(client, thread)
        await other.call("thread/resume", {"threadId": thread})
        assert await client.call("thread/realtime/start", {"threadId": thread, "outputModality": "text"}) == {}
        for each in (client, other):
            error = (await each.until("thread/realtime/error"))["params"]
            assert error["threadId"] == thread
            assert "not supported yet" in error["message"]
        audio = {"data": "AAAA", "numChannels": 1, "sampleRate": 24000}
        for method, params in {"Text": {"text": "hi"}, "Speech": {"text": "hi"}, "Audio": {"audio": audio}}.items():
            name = f"thread/realtime/append{method}"
            assert await refusal(client, name, {"threadId": thread, **params}) == "conversation is not running"
            assert await refusal(client, name, {"threadId": NOBODY, **params}) == f"thread not found: {NOBODY}"
        assert await client.call("thread/realtime/stop", {"threadId": thread}) == {}
        closed = (await other.until("thread/realtime/closed"))["params"]
        assert closed == {"threadId": thread, "reason": "requested"}
        # The thread goes on as if nothing had been.
        turn = await ended(client, await begin(client, thread))
        assert turn["status"] == "completed"


async def small_answers(stage: Stage, client: RpcClient) -> None:
    """Methods with one answer on this machine."""
    unavailable = "User verification is not available in this build or account."
    assert await client.call("userVerification/status", {}) == {
        "credentialId": None,
        "unavailableMessage": unavailable,
        "unavailableReason": "providerUnavailable",
    }
    for method in ("enroll", "delete"):
        answer = await client.try_call(f"userVerification/{method}", {})
        assert answer["error"] == {
            "code": -32600,
            "message": unavailable,
            "data": {"type": "unavailable", "reason": "providerUnavailable"},
        }
    assert "unknown" in await refusal(client, "userVerification/status", {"unknown": 1})
    assert await client.call("userVerification/cancel", {"requestId": "any"}) == {}
    assert await client.call("windowsSandbox/readiness") == {"status": "notConfigured"}
    assert await client.call("mock/experimentalMethod", {"value": "v"}) == {"echoed": "v"}
    assert await client.call("mock/experimentalMethod", {}) == {"echoed": None}
    assert await client.call("rollout/compress") == {}
    thread = await stage.thread(client)
    assert await client.call("thread/memory/read", {"threadId": thread}) == {"summary": None}
    assert await refusal(client, "thread/memory/read", {"threadId": NOBODY}) == f"thread not found: {NOBODY}"
    nothing = {"v2ConsolidatedThreads": 0, "v2Ready": False}
    assert await client.call("memory/status", {"minConsolidatedThreads": 4096}) == nothing
    for count in (0, 4097):
        error = (await client.try_call("memory/status", {"minConsolidatedThreads": count}))["error"]
        assert (error["code"], "between 1 and 4096" in error["message"]) == (-32602, True)
    (stage.home / "memories").mkdir()
    (stage.home / "memories" / "old.md").write_text("x")
    assert await client.call("memory/reset") == {}
    assert list((stage.home / "memories").iterdir()) == []


async def test_what_has_one_answer_on_this_machine(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client, other = await stage.client(), await stage.client()
        await small_answers(stage, client)
        for mode in ("elevated", "unelevated"):
            assert await client.call("windowsSandbox/setupStart", {"mode": mode}) == {"started": True}
            done = (await client.until("windowsSandbox/setupCompleted"))["params"]
            assert (done["mode"], done["success"], "Windows" in done["error"]) == (mode, False, True)
        await other.call("windowsSandbox/readiness")
        assert other.notifications("windowsSandbox/setupCompleted") == []
