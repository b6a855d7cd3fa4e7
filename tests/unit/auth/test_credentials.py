"""The document in which a sign-in is kept, and what tokens say."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.auth.credentials import Credentials, Identity, NotAToken, Tokens, decode, encode, identity_of
from tests.support.oauth import token
from tests.unit.auth.stored import known


def test_an_api_key_is_written_as_other_programs_read_it() -> None:
    document = encode(Credentials("apikey", "sk-1"))
    assert orjson.loads(document) == {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"}
    assert known(decode(document)) == Credentials("apikey", "sk-1")


def test_a_key_without_a_mode_counts() -> None:
    assert known(decode(b'{"OPENAI_API_KEY": " sk-1 "}')) == Credentials("apikey", "sk-1")


def test_tokens_come_back_with_all_that_other_programs_keep_beside_them() -> None:
    document: dict[str, Any] = {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {
            "id_token": token(),
            "access_token": "a",
            "refresh_token": "r",
            "account_id": "acct-1",
            "oauth_provenance": {"issuer": "http://issuer", "client_id": "me"},
            "login_owner_id": "somebody",
        },
        "last_refresh": "2026-11-23T01:42:52.647815365Z",
        "agent_identity": {"a": 1},
    }
    read = decode(orjson.dumps(document))
    assert read is not None
    assert read.tokens == Tokens("a", document["tokens"]["id_token"], "r", "acct-1", "http://issuer", "me")
    assert orjson.loads(encode(read)) == document | {"last_refresh": "2026-11-23T01:42:52.647815Z"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"OPENAI_API_KEY": null}',
        b'{"auth_mode": "bedrockApiKey", "bedrock_api_key": {"api_key": "k"}}',
        b'{"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-1"}',
        b'{"auth_mode": "chatgpt", "tokens": {"access_token": 5}}',
    ],
)
def test_what_cannot_be_used_here_is_no_sign_in(content: bytes) -> None:
    assert decode(content) is None


def test_a_token_tells_whose_it_is() -> None:
    now = int(time.time())
    who = identity_of(token(email="ada@example.org", plan="team", account="acct-9", lives_s=60))
    assert who == Identity("ada@example.org", "user-1", "acct-9", "team", who.expires_at)
    assert who.expires_at is not None
    assert 59 <= who.expires_at - now <= 61


@given(st.one_of(st.text(), st.lists(st.text(alphabet="abcXYZ_-=0"), min_size=3, max_size=3).map(".".join)))
def test_what_is_no_token_is_refused_as_such(text: str) -> None:
    with pytest.raises(NotAToken):
        identity_of(text)


@pytest.mark.parametrize(("lives_s", "due"), [(3600, False), (200, True), (-10, True)])
def test_tokens_are_due_before_they_end(lives_s: float, due: bool) -> None:
    assert Credentials("chatgpt", tokens=Tokens(token(lives_s=lives_s))).is_due() is due


@pytest.mark.parametrize(("days", "due"), [(1, False), (9, True)])
def test_tokens_of_which_nobody_knows_the_end_are_due_after_a_week(days: float, due: bool) -> None:
    now = time.time()
    assert Credentials("chatgpt", tokens=Tokens("opaque"), refreshed_at=now - days * 86400).is_due(now) is due


def test_no_secret_is_shown() -> None:
    held = Credentials("chatgpt", "sk-1", Tokens("access", "id", "refresh"), document={"tokens": "refresh"})
    assert not {"sk-1", "access", "refresh"} & set(repr(held).replace("'", " ").replace("=", " ").split())
