"""Signing in with a key, out, and what clients are told of it."""

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.support.account import Office, new_thread, open_office, told
from tests.support.home import REPOSITORY
from tests.support.rpc_client import CallFailed, RpcClient
from tests.support.scripted_model import status
from tests.support.stage import run_turn

FIRST, SECOND, SHOWN_NOWHERE = "sk-first-0123456789", "sk-second-0123456789", "sk-secret-0123456789"
SIGNED_IN = [
    {
        "method": "account/login/completed",
        "success": True,
        "error": None,
        "loginId": None,
        "onboardingEntrypoint": None,
    },
    {"method": "account/updated", "authMode": "apikey", "planType": None},
]


@pytest.fixture(scope="module")
async def shared_office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    clouds = {name: "" for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))}
    async with open_office(tmp_path_factory.mktemp("office"), variables={"LOG_LEVEL": "debug", **clouds}) as office:
        yield office


@pytest.fixture
async def office(shared_office: Office) -> AsyncIterator[Office]:
    yield shared_office
    await shared_office.clear()


async def log_in(client: RpcClient, key: str) -> None:
    assert await client.call("account/login/start", {"type": "apiKey", "apiKey": key}) == {"type": "apiKey"}
    await client.until("account/updated")


async def test_a_key_is_kept_and_reaches_the_next_turn_of_threads_that_are_loaded(office: Office) -> None:
    client, other = await office.client(), await office.client()
    thread = await new_thread(client, office)
    turn = await run_turn(client, thread)
    assert turn["status"] == "failed"
    assert "Sign in, or set OPENAI_API_KEY" in turn["error"]["message"]
    assert office.sent == []
    for key in (FIRST, SECOND):
        await log_in(client, f" {key}\n")
        await other.until("account/updated")
        assert stat.S_IMODE(office.auth_file.stat().st_mode) == 0o600
        assert office.kept() == {"auth_mode": "apikey", "OPENAI_API_KEY": key}
        assert (await run_turn(client, thread))["status"] == "completed"
    assert office.sent == [(FIRST, None), (SECOND, None)]
    assert told(client) == told(other) == SIGNED_IN * 2
    account = await client.call("account/read", {})
    assert account == {
        "account": {"type": "apiKey"},
        "requiresOpenaiAuth": True,
        "userId": None,
        "workspaceRouting": None,
    }


async def test_the_answer_to_a_sign_in_comes_before_the_news_of_it(office: Office) -> None:
    client = await office.client()
    request = await client.post("account/login/start", {"type": "apiKey", "apiKey": FIRST})
    await client.until("account/updated")
    order = [message.get("method", message.get("id")) for message in client.received]
    assert order.index(request) < order.index("account/login/completed") < order.index("account/updated")


async def test_an_acknowledged_sign_in_outlives_a_killed_daemon(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        client = await office.client()
        assert await client.call("account/login/start", {"type": "apiKey", "apiKey": FIRST}) == {"type": "apiKey"}
        office.daemon.signal(signal.SIGKILL)
        await office.start()
        client = await office.client()
        await run_turn(client, await new_thread(client, office))
        assert office.sent == [(FIRST, None)]


async def test_signing_out_forgets_the_key_and_can_be_repeated(office: Office) -> None:
    client = await office.client()
    await log_in(client, FIRST)
    thread = await new_thread(client, office)
    for _ in range(2):
        assert await client.call("account/logout") == {}
        await client.until("account/updated", lambda params: params == {"authMode": None, "planType": None})
        assert not office.auth_file.exists()
        assert (await client.call("account/read", {}))["account"] is None
    assert (await run_turn(client, thread))["status"] == "failed"
    assert office.sent == []


async def test_a_key_that_may_no_longer_be_used_counts_as_none_and_stays_where_it_is(tmp_path: Path) -> None:
    async with open_office(tmp_path, variables={"OPENAI_API_KEY": SECOND}) as office:
        client = await office.client()
        await log_in(client, FIRST)
        thread = await new_thread(client, office)
        only = {"keyPath": "forced_login_method", "value": "chatgpt", "mergeStrategy": "replace"}
        assert (await client.call("config/value/write", only))["status"] == "ok"
        assert (await client.call("account/read", {}))["account"] is None
        turn = await run_turn(client, thread)
        assert turn["status"] == "failed"
        assert "Sign in with ChatGPT; `forced_login_method`" in turn["error"]["message"]
        assert office.sent == []
        assert office.kept()["OPENAI_API_KEY"] == FIRST
        await client.call("config/value/write", {**only, "value": None})
        assert (await run_turn(client, thread))["status"] == "completed"
        assert office.sent == [(FIRST, None)]


async def test_what_another_program_signs_in_with_is_used_at_once(office: Office) -> None:
    client = await office.client()
    thread = await new_thread(client, office)
    office.keep(OPENAI_API_KEY=FIRST)
    assert (await run_turn(client, thread))["status"] == "completed"
    office.keep(OPENAI_API_KEY=SECOND)
    assert (await run_turn(client, thread))["status"] == "completed"
    assert office.sent == [(FIRST, None), (SECOND, None)]
    office.auth_file.unlink()
    assert (await client.call("account/read", {}))["account"] is None
    assert told(client, "account/updated")[-1]["authMode"] is None


@pytest.mark.parametrize("key", ["", "  ", "two words", "sk-\nx", "sk-ü"])
async def test_what_can_be_no_key_is_refused(office: Office, key: str) -> None:
    client = await office.client()
    with pytest.raises(CallFailed, match="-32600: apiKey must be a key"):
        await client.call("account/login/start", {"type": "apiKey", "apiKey": key})
    assert not office.auth_file.exists()
    assert told(client) == []


async def test_a_key_that_cannot_be_kept_is_refused_and_not_used(office: Office) -> None:
    client = await office.client()
    thread = await new_thread(client, office)
    office.auth_file.mkdir()
    (office.auth_file / "inside").touch()
    with pytest.raises(CallFailed, match=r"-32600: the sign-in could not be kept: .*auth\.json cannot be written"):
        await client.call("account/login/start", {"type": "apiKey", "apiKey": FIRST})
    assert (await run_turn(client, thread))["status"] == "failed"
    assert office.sent == []
    assert told(client) == []


async def test_no_answer_and_no_log_tells_a_key(office: Office) -> None:
    client = await office.client()
    await log_in(client, SHOWN_NOWHERE)
    thread = await new_thread(client, office)
    await run_turn(client, thread)
    reason = {"error": {"message": f"the key {SHOWN_NOWHERE} is no good"}}
    office.model.script(status(401, reason))
    failed = await run_turn(client, thread)
    assert "the key [redacted] is no good" in failed["error"]["message"]
    for method in ("account/read", "accountSession/list", "modelProvider/list", "model/list"):
        await client.call(method, {})
    await client.try_call("config/read", {"includeLayers": True})
    await client.try_call("server/diagnostics", {})
    assert office.sent[-1] == (SHOWN_NOWHERE, None)
    said = office.daemon.stderr + "".join(map(str, client.received))
    assert SHOWN_NOWHERE not in said
    stored = [path for path in office.home.rglob("*") if path.is_file() and path != office.auth_file]
    assert stored
    assert [path for path in stored if SHOWN_NOWHERE.encode() in path.read_bytes()] == []


async def test_a_variable_serves_until_somebody_signs_in(tmp_path: Path) -> None:
    async with open_office(tmp_path, variables={"OPENAI_API_KEY": "sk-of-the-environment"}) as office:
        client = await office.client()
        assert (await client.call("account/read", {}))["account"] == {"type": "apiKey"}
        thread = await new_thread(client, office)
        await run_turn(client, thread)
        await log_in(client, FIRST)
        await run_turn(client, thread)
        assert office.sent == [("sk-of-the-environment", None), (FIRST, None)]


async def test_the_keyring_keeps_what_the_file_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keyring", reason="THE PACKAGE keyring IS NOT INSTALLED, ITS TESTS DO NOT RUN")
    variables = {
        "PYTHON_KEYRING_BACKEND": "tests.support.file_keyring.FileKeyring",
        "KEYRING_FILE": str(tmp_path / "keyring.json"),
    }
    home = tmp_path / "home"
    home.mkdir()
    code = "from app_server.auth.storage import *; from pathlib import Path; "
    code += f"choose_store('keyring', Path({str(home)!r})).save(decode(b'{{\"OPENAI_API_KEY\": \"{FIRST}\"}}'))"
    await anyio.run_process([sys.executable, "-c", code], env={**os.environ, **variables}, cwd=REPOSITORY)
    settings: dict[str, object] = {"cli_auth_credentials_store": "keyring"}
    async with open_office(tmp_path, settings=settings, without=["model_provider"], variables=variables) as office:
        client = await office.client()
        thread = await new_thread(client, office)
        await run_turn(client, thread)
        await log_in(client, SECOND)
        await run_turn(client, thread)
        assert office.sent == [(FIRST, None), (SECOND, None)]
        assert not office.auth_file.exists()
        assert SECOND in (tmp_path / "keyring.json").read_text()
        await client.call("account/logout")
        assert (tmp_path / "keyring.json").read_text() == "{}"


async def test_an_ephemeral_sign_in_is_written_nowhere(tmp_path: Path) -> None:
    settings: dict[str, object] = {"cli_auth_credentials_store": "ephemeral"}
    async with open_office(tmp_path, settings=settings) as office:
        client = await office.client()
        await log_in(client, FIRST)
        await run_turn(client, await new_thread(client, office))
        assert office.sent == [(FIRST, None)]
        files = [path for path in office.home.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if FIRST.encode() in path.read_bytes()] == []


async def test_signing_in_makes_openai_the_provider_of_who_has_chosen_none(tmp_path: Path) -> None:
    async with open_office(tmp_path, without=["model_provider", "model"]) as office:
        client = await office.client()
        started = await client.call("thread/start", {"cwd": str(office.home)})
        assert started["modelProvider"] == "demo"
        assert (await client.call("account/read", {}))["requiresOpenaiAuth"] is False
        await log_in(client, FIRST)
        assert (await client.call("account/read", {}))["account"] == {"type": "apiKey"}
        started = await client.call("thread/start", {"cwd": str(office.home)})
        assert started["modelProvider"] == "openai"
        assert (await client.call("model/list", {}))["data"][0]["id"] == started["model"]
        await run_turn(client, started["thread"]["id"])
        assert office.sent == [(FIRST, None)]
        await client.call("account/logout")
        started = await client.call("thread/start", {"cwd": str(office.home)})
        assert started["modelProvider"] == "demo"


async def test_a_provider_that_wants_no_account_is_not_sent_one(office: Office) -> None:
    client = await office.client()
    await log_in(client, FIRST)
    await run_turn(client, await new_thread(client, office, modelProvider="own"))
    assert office.sent == [(None, None)]


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("account/rateLimits/read", None, "codex account authentication required to read rate limits"),
        ("account/usage/read", {}, "codex account authentication required to read token usage"),
        ("account/usage/read", {"threadId": "x"}, "invalid thread id: `x`"),
        ("account/workspaceMessages/read", None, "codex account authentication required to read workspace messages"),
        (
            "account/rateLimitResetCredit/consume",
            {"idempotencyKey": "k"},
            "codex account authentication required for rate limit reset credits",
        ),
        ("account/rateLimitResetCredit/consume", {"idempotencyKey": ""}, "idempotencyKey must not be empty"),
        (
            "account/sendAddCreditsNudgeEmail",
            {"creditType": "credits"},
            "codex account authentication required to notify workspace owner",
        ),
        (
            "accountSession/switch",
            {"accountId": "a", "sessionId": "s"},
            "Workspace switching requires a managed ChatGPT login",
        ),
        ("account/login/cancel", {"loginId": "x"}, "invalid login id: x"),
        ("account/gatewayOAuth/login", {}, "The selected provider does not use gateway OAuth"),
        ("account/gatewayOAuth/read", {"modelProvider": "x"}, "model provider `x` not found"),
        (
            "account/login/start",
            {"type": "amazonBedrock", "apiKey": "", "region": "us-east-1"},
            "Amazon Bedrock API key must not be empty.",
        ),
        (
            "account/login/start",
            {"type": "amazonBedrock", "apiKey": "k", "region": "x"},
            "Amazon Bedrock does not support region `x`",
        ),
        (
            "account/login/start",
            {"type": "amazonBedrock", "apiKey": "k", "region": "us-east-1"},
            "turnloom cannot ask models through Amazon Bedrock yet",
        ),
        (
            "account/login/start",
            {"type": "chatgptAuthTokens", "accessToken": "x", "chatgptAccountId": "a"},
            "accessToken is not a JSON web token",
        ),
    ],
)
async def test_what_needs_more_is_refused_with_what_it_needs(
    office: Office, method: str, params: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(CallFailed) as refused:
        await (await office.client()).call(method, params)
    assert refused.value.code == -32600
    assert refused.value.message.startswith(message)


async def test_an_api_key_is_no_way_to_what_is_kept_for_chatgpt(office: Office) -> None:
    client = await office.client()
    await log_in(client, FIRST)
    with pytest.raises(CallFailed, match="-32600: chatgpt authentication required to read rate limits"):
        await client.call("account/rateLimits/read")
    with pytest.raises(CallFailed, match="remote plugin catalog; api key auth is not supported"):
        await client.call("plugin/share/list", {})


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        ("account/securitySetup/read", None, {"notice": None}),
        ("accountSession/list", {}, {"sessions": [], "activeSessionId": None}),
        (
            "account/login/cancel",
            {"loginId": "0199c1a0-0000-7000-8000-000000000000"},
            {"status": "notFound"},
        ),
        ("account/bedrock/discover", {}, {"profiles": [], "environmentCredentials": []}),
        ("account/bedrock/checkGovCloudRequirements", {}, {"isGovCloud": False, "shouldWarn": False}),
        ("account/gatewayOAuth/cancel", None, {}),
        (
            "account/gatewayOAuth/read",
            {},
            {
                "providerId": "openai",
                "providerName": "OpenAI",
                "required": False,
                "supportsDeviceAuth": False,
                "status": None,
                "error": None,
            },
        ),
        ("modelProvider/capabilities/read", {}, {"imageGeneration": False, "webSearch": False}),
    ],
)
async def test_what_needs_nothing_is_answered(
    office: Office, method: str, params: dict[str, str] | None, answer: dict[str, object]
) -> None:
    assert await (await office.client()).call(method, params) == answer
