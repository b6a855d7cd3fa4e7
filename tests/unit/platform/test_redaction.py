"""Secrets are taken out of what people send to others."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.platform.redaction import HIDDEN, Redactor, names_a_secret, secrets_in

PLAIN = Redactor()


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("key sk-proj-abcdefghijklmnop here", f"key {HIDDEN} here"),
        ("push with ghp_0123456789abcdefghijABCDEFGHIJ now", f"push with {HIDDEN} now"),
        ("AKIAIOSFODNN7EXAMPLE", HIDDEN),
        ("Authorization: Bearer abc.def-ghi_jkl", f"Authorization: Bearer {HIDDEN}"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", HIDDEN),
        ("git clone https://me:geheim@git.example/x.git", f"git clone https://{HIDDEN}@git.example/x.git"),
        ("export DB_PASSWORD=swordfish && run", f"export DB_PASSWORD={HIDDEN} && run"),
        ('api_key = "abc-def"', f'api_key = "{HIDDEN}"'),
        ('{"access_token": "xyz12"}', f'{{"access_token": "{HIDDEN}"}}'),
        ("secret: hunter2", f"secret: {HIDDEN}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nmore", f"{HIDDEN}\nmore"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\ncut off", HIDDEN),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, without: str) -> None:
    assert PLAIN.text(text) == without


@pytest.mark.parametrize(
    "text",
    [
        "def read(token: str, keys: list[str]) -> None:",
        "max_output_tokens: 4096",
        "the secret of the password is out",
        "https://example.com/path?page=2",
        "task-force sk-8",
        "tokenize(text) == words",
        '"token": ""',
    ],
)
def test_what_only_talks_about_secrets_stays(text: str) -> None:
    assert PLAIN.text(text) == text


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    redact = Redactor(["correct horse", "correct horse battery", "abc"])
    assert redact.text("xcorrect horse batteryx, abc") == f"x{HIDDEN}x, abc"


def test_a_secret_is_found_in_a_long_text_and_at_every_place_in_it() -> None:
    lines = "".join(f"line {number} of nothing\n" for number in range(20_000))
    assert PLAIN.text(lines) == lines
    for place in (0, len(lines) // 2, len(lines)):
        text = lines[:place] + " sk-proj-abcdefghijklmnop " + lines[place:]
        assert PLAIN.text(text) == text.replace("sk-proj-abcdefghijklmnop", HIDDEN)


def test_values_of_secret_names_are_hidden_at_any_depth() -> None:
    config: dict[str, Any] = {
        "model": "gpt",
        "env_key": "OPENAI_API_KEY",
        "model_providers": {"x": {"experimental_bearer_token": "t0ken!", "http_headers": {"X-Any": "v", "n": 1}}},
        "list": [{"password": ["one", "two"]}],
    }
    assert PLAIN.value(config) == {
        "model": "gpt",
        "env_key": "OPENAI_API_KEY",
        "model_providers": {"x": {"experimental_bearer_token": HIDDEN, "http_headers": {"X-Any": HIDDEN, "n": 1}}},
        "list": [{"password": [HIDDEN, HIDDEN]}],
    }
    assert sorted(secrets_in(config)) == ["one", "t0ken!", "two"]


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "api_key", "GITHUB_TOKEN", "db_password", "X_SECRET", "AWS_SECRET_ACCESS_KEY"]
)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name", ["env_key", "keys_pressed", "monkey", "model_context_window", "SSH_AUTH_SOCK", "turnkey"]
)
def test_names_of_other_things(name: str) -> None:
    assert not names_a_secret(name)


def test_a_file_that_is_no_text_stays_as_it_is() -> None:
    assert PLAIN.data(b"\xff\xfe api_key=abc") == b"\xff\xfe api_key=abc"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_what_is_redacted_is_of_the_same_shape_and_stays_so(value: Any) -> None:
    once = Redactor(["secret1"]).value(value)
    assert json.loads(json.dumps(once)) == once
    assert Redactor(["secret1"]).value(once) == once
