"""Signing in to ChatGPT in a browser, by a code and with a client's own tokens, and the renewal of tokens."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from app_server.auth.storage import try_lock
from tests.support.account import Office, new_thread, open_office, told
from tests.support.oauth import browse, token
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.scripted_model import say, status
from tests.support.stage import begin, ended, run_turn

BROWSER, DEVICE = {"type": "chatgpt"}, {"type": "chatgptDeviceCode"}
CHATGPT = {"type": "chatgpt", "email": "ada@example.org", "planType": "pro", "workspaceName": None}
UPDATED = {"method": "account/updated", "authMode": "chatgpt", "planType": "pro"}


@pytest.fixture(scope="module")
async def shared_office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    async with open_office(tmp_path_factory.mktemp("office"), variables={"LOG_LEVEL": "debug"}) as office:
        yield office


@pytest.fixture
async def office(shared_office: Office) -> AsyncIterator[Office]:
    yield shared_office
    granted = [*shared_office.issuer.granted]
    await shared_office.clear()
    assert [secret for secret in granted if secret in shared_office.daemon.stderr] == []


def outcome(login_id: str, error: str | None = None) -> Message:
    return {
        "method": "account/login/completed",
        "success": error is None,
        "error": error,
        "loginId": login_id,
        "onboardingEntrypoint": None,
    }


async def over(client: RpcClient, login_id: str) -> None:
    """Wait until the client was told of the end of the login."""
    await client.until("account/login/completed", lambda params: params["loginId"] == login_id)


async def signed_in(office: Office, client: RpcClient) -> None:
    """Sign in by a browser."""
    login = await client.call("account/login/start", BROWSER)
    assert (await browse(office.issuer.consent(login["authUrl"])))[0] == 200
    await over(client, login["loginId"])


async def test_a_browser_signs_in_and_requests_carry_the_account(office: Office) -> None:
    client, other = await office.client("my-editor"), await office.client()
    login = await client.call("account/login/start", BROWSER)
    auth_url: str = login["authUrl"]
    query = parse_qs(urlsplit(auth_url).query)
    assert auth_url.partition("?")[0] == f"{office.issuer.url}/oauth/authorize"
    assert query["originator"] == ["my-editor"]
    assert query["scope"] == ["openid profile email offline_access api.connectors.read api.connectors.invoke"]
    shown, text = await browse(office.issuer.consent(login["authUrl"]))
    assert (shown, "You are signed in" in text) == (200, True)
    await over(client, login["loginId"])
    for connection in (client, other):
        await connection.until("account/updated")
    assert told(client) == told(other) == [outcome(login["loginId"]), UPDATED]
    account = await client.call("account/read", {})
    assert account == {
        "account": CHATGPT,
        "requiresOpenaiAuth": True,
        "userId": "user-1",
        "workspaceRouting": None,
    }
    kept = office.kept()
    assert (kept["auth_mode"], kept["OPENAI_API_KEY"], kept["tokens"]["account_id"]) == ("chatgpt", None, "acct-1")
    assert office.auth_file.stat().st_mode & 0o777 == 0o600
    await run_turn(client, await new_thread(client, office))
    assert office.sent == [(kept["tokens"]["access_token"], "acct-1")]
    assert [secret for secret in office.issuer.granted if secret in str(client.received + other.received)] == []


async def test_the_session_that_is_signed_in_is_listed(office: Office) -> None:
    client = await office.client()
    await signed_in(office, client)
    answer = await client.call("accountSession/list", {})
    (session,) = answer["sessions"]
    assert answer["activeSessionId"] == session["sessionId"]
    assert (session["email"], session["userId"], session["isActive"]) == ("ada@example.org", "user-1", True)
    assert [workspace["accountId"] for workspace in session["workspaces"]] == ["acct-1"]
    here = {"sessionId": session["sessionId"], "accountId": "acct-1"}
    assert (await client.call("accountSession/switch", here))["sessions"] == [session]
    for other in ({"sessionId": "x"}, {"accountId": "acct-2"}):
        with pytest.raises(CallFailed, match=r"-32600: (no session has the id|.*sign in to it)"):
            await client.call("accountSession/switch", here | other)


async def test_only_the_browser_that_was_sent_out_ends_the_login(office: Office) -> None:
    client = await office.client()
    login = await client.call("account/login/start", BROWSER)
    back = office.issuer.consent(login["authUrl"])
    place = back.partition("?")[0]
    for stranger in ("", "?code=x", "?code=x&state=guessed", "?error=access_denied&state="):
        shown, text = await browse(place + stranger)
        assert (shown, "another sign-in" in text) == (400, True)
    assert (await browse(place.replace("/auth/callback", "/")))[0] == 404
    assert office.issuer.requests == []
    assert (await browse(back))[0] == 200
    await over(client, login["loginId"])
    assert told(client, "account/login/completed") == [outcome(login["loginId"])]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("error=access_denied&error_description=<b>No</b>", "Sign-in failed: access_denied <b>No</b>"),
        ("code=", "Sign-in failed: no code came back"),
        ("code=wrong-secret", "the sign-in service answered with status 400: no"),
    ],
)
async def test_a_refused_person_reads_why_and_the_client_too(office: Office, more: str, error: str) -> None:
    client = await office.client()
    login = await client.call("account/login/start", BROWSER)
    back = urlsplit(office.issuer.consent(login["authUrl"]))
    state = parse_qs(back.query)["state"][0]
    shown, text = await browse(f"http://{back.netloc}{back.path}?state={state}&{more}")
    assert (shown, "Signing in failed" in text, "<b>" in text) == (200, True, False)
    await over(client, login["loginId"])
    assert told(client) == [outcome(login["loginId"], error)]
    assert not office.auth_file.exists()


@pytest.mark.parametrize("how", [BROWSER, DEVICE])
async def test_a_login_can_be_cancelled(office: Office, how: dict[str, str]) -> None:
    office.issuer.pending = 1 << 30
    client = await office.client()
    login = await client.call("account/login/start", how)
    assert await client.call("account/login/cancel", {"loginId": login["loginId"]}) == {"status": "canceled"}
    await over(client, login["loginId"])
    assert told(client) == [outcome(login["loginId"], "Login was not completed")]
    assert await client.call("account/login/cancel", {"loginId": login["loginId"]}) == {"status": "notFound"}
    if how is BROWSER:
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await browse(office.issuer.consent(login["authUrl"]))


async def test_a_new_login_takes_the_place_of_the_one_that_waits(office: Office) -> None:
    office.issuer.pending = 1 << 30
    client = await office.client()
    ways: list[dict[str, str]] = [BROWSER, DEVICE, BROWSER, {"type": "apiKey", "apiKey": "sk-1"}]
    ids: list[str] = []
    for way in ways:
        login = await client.call("account/login/start", way)
        if ids:
            # The end of the one before was told before this answer.
            assert told(client)[len(ids) - 1] == outcome(ids[-1], "Login was not completed")
        ids.append(login.get("loginId"))
    assert office.kept() == {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"}


async def test_a_taken_port_is_no_obstacle_to_a_service_of_ones_own(office: Office) -> None:
    client = await office.client()
    with_port = [await anyio.create_tcp_listener(local_host="127.0.0.1")]
    for port in (1455, 1457):
        try:
            with_port.append(await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port))
        except OSError:
            continue
    await signed_in(office, client)
    for listener in with_port:
        await listener.aclose()
    assert (await client.call("account/read", {}))["account"] == CHATGPT


async def test_a_code_that_is_typed_elsewhere_signs_in(office: Office) -> None:
    office.issuer.pending = 2
    client = await office.client()
    login = await client.call("account/login/start", DEVICE)
    assert login == {
        "type": "chatgptDeviceCode",
        "loginId": login["loginId"],
        "userCode": "ABCD-1234",
        "verificationUrl": f"{office.issuer.url}/codex/device",
    }
    await over(client, login["loginId"])
    await client.until("account/updated")
    assert told(client) == [outcome(login["loginId"]), UPDATED]
    assert len(office.issuer.asked("/api/accounts/deviceauth/token")) == 3
    await run_turn(client, await new_thread(client, office))
    assert office.sent == [(office.kept()["tokens"]["access_token"], "acct-1")]


async def test_a_service_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    async with open_office(tmp_path, settings={"forced_login_method": "chatgpt"}) as office:
        client = await office.client()
        with pytest.raises(CallFailed, match=r"API key login is disabled\. Use ChatGPT login instead\."):
            await client.call("account/login/start", {"type": "apiKey", "apiKey": "sk-1"})
        await office.issuer.__aexit__(None, None, None)
        with pytest.raises(CallFailed, match="-32600: cannot reach the sign-in service"):
            await client.call("account/login/start", DEVICE)
        assert told(client) == []


async def test_signing_out_makes_the_tokens_worthless(office: Office) -> None:
    client = await office.client()
    await signed_in(office, client)
    refresh = office.kept()["tokens"]["refresh_token"]
    await client.call("account/logout")
    assert not office.auth_file.exists()
    await office.issuer.wait_for("/oauth/revoke")
    assert office.issuer.asked("/oauth/revoke")[0]["token"] == refresh
    assert (await client.call("accountSession/list", {}))["sessions"] == []


# Renewal


def signed_in_before(office: Office, **claims: Any) -> str:
    """Keep tokens as another program would; gives the access token."""
    tokens = office.issuer.signed_in(**claims)
    office.keep(auth_mode="chatgpt", OPENAI_API_KEY=None, tokens=tokens, last_refresh="2026-11-01T00:00:00Z")
    return tokens["access_token"]


async def test_a_refused_token_is_renewed_and_the_request_repeated(office: Office) -> None:
    old = signed_in_before(office)
    client = await office.client()
    thread = await new_thread(client, office)
    office.model.script(status(401))
    assert (await run_turn(client, thread))["status"] == "completed"
    new = office.kept()["tokens"]
    assert office.sent == [(old, "acct-1"), (new["access_token"], "acct-1")]
    assert len(office.issuer.asked("/oauth/token")) == 1
    office.model.script(status(401))
    office.model.script(status(401))
    turn = await run_turn(client, thread)
    assert (turn["status"], turn["error"]["codexErrorInfo"]) == ("failed", "unauthorized")
    assert [one for one in told(client, "error") if one["willRetry"]] == []
    assert told(client) == [UPDATED]


async def test_a_token_that_ends_soon_is_renewed_before_it_is_sent(office: Office) -> None:
    signed_in_before(office, lives_s=100)
    client = await office.client()
    await run_turn(client, await new_thread(client, office))
    assert office.sent == [(office.kept()["tokens"]["access_token"], "acct-1")]
    assert office.issuer.asked("/oauth/token")[0]["grant_type"] == "refresh_token"


async def test_many_requests_renew_a_token_once(office: Office) -> None:
    signed_in_before(office, lives_s=100)
    office.issuer.held = anyio.Event()
    client = await office.client()
    threads = [await new_thread(client, office) for _ in range(5)]
    turns = [await begin(client, thread) for thread in threads]
    await office.issuer.wait_for("/oauth/token")
    # One of those who wait gives up, which does not spend the refresh token for nothing.
    await client.call("turn/interrupt", {"threadId": threads[0], "turnId": turns[0]})
    assert (await ended(client, turns[0]))["status"] == "interrupted"
    office.issuer.held.set()
    assert [(await ended(client, turn))["status"] for turn in turns[1:]] == ["completed"] * 4
    assert len(office.issuer.asked("/oauth/token")) == 1
    assert set(office.sent) == {(office.kept()["tokens"]["access_token"], "acct-1")}


async def test_a_spent_sign_in_asks_for_a_new_one_and_is_not_tried_again(office: Office) -> None:
    signed_in_before(office, lives_s=-10)
    office.issuer.refusal = 401, {"error": {"code": "refresh_token_expired", "message": "too old"}}
    client = await office.client()
    thread = await new_thread(client, office)
    for _ in range(2):
        turn = await run_turn(client, thread)
        assert (turn["status"], turn["error"]["codexErrorInfo"]) == ("failed", "unauthorized")
        assert "sign in again" in turn["error"]["message"]
    assert len(office.issuer.asked("/oauth/token")) == 1
    assert office.sent == []
    assert (await client.call("account/read", {"refreshToken": True}))["account"] is None
    office.issuer.refusal = None
    await signed_in(office, client)
    assert (await run_turn(client, thread))["status"] == "completed"


async def test_a_service_that_is_busy_ends_no_sign_in(office: Office) -> None:
    access = signed_in_before(office, lives_s=100)
    office.issuer.refusal = 503, {"error": "busy"}
    client = await office.client()
    assert (await run_turn(client, await new_thread(client, office)))["status"] == "completed"
    assert office.sent == [(access, "acct-1")]
    assert (await client.call("account/read", {"refreshToken": True}))["account"] == CHATGPT


async def test_what_another_program_has_renewed_is_not_renewed_again(office: Office) -> None:
    old = signed_in_before(office)
    client = await office.client()
    thread = await new_thread(client, office)
    lock = try_lock(office.home)
    assert lock is not None
    office.model.script(status(401))
    turn = await begin(client, thread)
    await office.model.wait_for_requests(1)
    new = signed_in_before(office)
    os.close(lock)
    assert (await ended(client, turn))["status"] == "completed"
    assert office.sent == [(old, "acct-1"), (new, "acct-1")]
    assert office.issuer.asked("/oauth/token") == []


async def test_a_client_can_have_the_tokens_renewed(office: Office) -> None:
    old = signed_in_before(office)
    client = await office.client()
    assert (await client.call("account/read", {"refreshToken": False}))["account"] == CHATGPT
    assert office.issuer.requests == []
    assert (await client.call("account/read", {"refreshToken": True}))["account"] == CHATGPT
    assert office.kept()["tokens"]["access_token"] != old


# Tokens that a client looks after


async def hand_over(client: RpcClient, account: str = "acct-7") -> str:
    """Sign in with tokens of the client's own; gives the access token."""
    access = token(account=account, plan="plus")
    params = {
        "type": "chatgptAuthTokens",
        "accessToken": access,
        "chatgptAccountId": account,
        "chatgptPlanType": "team",
    }
    assert await client.call("account/login/start", params) == {"type": "chatgptAuthTokens"}
    return access


async def test_tokens_of_a_client_are_used_and_written_nowhere(office: Office) -> None:
    client = await office.client()
    access = await hand_over(client)
    await client.until("account/updated", lambda params: params["authMode"] == "chatgptAuthTokens")
    assert (await client.call("account/read", {}))["account"] == CHATGPT | {"planType": "team"}
    await run_turn(client, await new_thread(client, office))
    assert office.sent == [(access, "acct-7")]
    assert not office.auth_file.exists()
    assert (await client.call("accountSession/list", {}))["sessions"] == []
    for way in ({"type": "apiKey", "apiKey": "sk-1"}, BROWSER, DEVICE):
        with pytest.raises(CallFailed, match="External auth is active"):
            await client.call("account/login/start", way)
    await client.call("account/logout")
    assert (await client.call("account/read", {}))["account"] is None


async def test_the_client_that_gave_tokens_is_asked_for_new_ones(office: Office) -> None:
    giver, other = await office.client(), await office.client()
    old, new = await hand_over(giver), token(account="acct-7")
    thread = await new_thread(other, office)
    office.model.script(status(401))
    turn = await begin(other, thread)
    question = await giver.wait_for(lambda message: message.get("method") == "account/chatgptAuthTokens/refresh")
    assert question["params"] == {"reason": "unauthorized", "previousAccountId": "acct-7"}
    await giver.respond(question, {"accessToken": new, "chatgptAccountId": "acct-7"})
    assert (await ended(other, turn))["status"] == "completed"
    assert office.sent == [(old, "acct-7"), (new, "acct-7")]
    asked = [message for message in other.received if message.get("method") == "account/chatgptAuthTokens/refresh"]
    assert asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": {"code": -32601, "message": "no"}}, "answered with an error"),
        ({"result": {}}, "does not fit"),
        ({"result": {"accessToken": "x", "chatgptAccountId": "a"}}, "is not a JSON web token"),
    ],
)
async def test_a_client_that_gives_nothing_better_fails_the_turn(
    office: Office, answer: dict[str, Any], reason: str
) -> None:
    client = await office.client()
    access = await hand_over(client)
    thread = await new_thread(client, office)
    office.model.script(status(401))
    turn = await begin(client, thread)
    question = await client.wait_for(lambda message: message.get("method") == "account/chatgptAuthTokens/refresh")
    await client.send({"id": question["id"], **answer})
    failed = await ended(client, turn)
    assert (failed["status"], failed["error"]["codexErrorInfo"]) == ("failed", "unauthorized")
    assert reason in failed["error"]["message"]
    office.model.script(say("better now"))
    assert (await run_turn(client, thread))["status"] == "completed"
    assert set(office.sent) == {(access, "acct-7")}


async def test_only_the_workspaces_that_are_allowed_can_be_signed_in_to(tmp_path: Path) -> None:
    settings: dict[str, object] = {"forced_chatgpt_workspace_id": ["acct-8", "acct-9"]}
    async with open_office(tmp_path, settings=settings) as office:
        client = await office.client()
        with pytest.raises(CallFailed, match=r"-32600: only these workspaces .* acct-8, acct-9"):
            await hand_over(client)
        login = await client.call("account/login/start", BROWSER)
        auth_url: str = login["authUrl"]
        assert parse_qs(urlsplit(auth_url).query)["allowed_workspace_id"] == ["acct-8,acct-9"]
        await browse(office.issuer.consent(login["authUrl"]))
        await over(client, login["loginId"])
        (end,) = told(client)
        assert end["success"] is False
        assert "this is acct-1" in end["error"]
        assert not office.auth_file.exists()
        await hand_over(client, "acct-9")
        assert (await client.call("account/read", {}))["account"] is not None
        elsewhere = {"keyPath": "forced_chatgpt_workspace_id", "value": "acct-8", "mergeStrategy": "replace"}
        await client.call("config/value/write", elsewhere)
        assert (await client.call("account/read", {}))["account"] is None


async def test_a_chatgpt_account_is_served_elsewhere_than_a_key(tmp_path: Path) -> None:
    async with open_office(tmp_path, without=["openai_base_url"]) as office:
        client = await office.client()
        await hand_over(client)
        turn = await run_turn(client, await new_thread(client, office))
        assert f"url: {office.model.url}/codex/responses" in turn["error"]["message"]
