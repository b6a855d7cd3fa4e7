"""Who may open a websocket."""

import logging
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import pytest

from app_server.rpc.scopes import FULL, NO_SHELL, OBSERVE, Scope
from app_server.transport.auth import build_authenticator, check_auth_flags
from app_server.transport.listen import AuthOptions, Listen, StartError, Stdio, UnixSocket, UsageError, WebSocket

LOCAL, OPEN = WebSocket("127.0.0.1", 1), WebSocket("0.0.0.0", 1)
FILE = Path("/secret")
SECRET = "0123456789abcdef0123456789abcdef"


def _file(tmp_path: Path, content: str, mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(mode)
    return path


def _encoded(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return "Bearer " + jwt.encode(claims, secret, algorithm)  # RSA key types


def _token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return _encoded({"exp": time.time() + 60, **claims}, secret, algorithm)


# Flags


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (AuthOptions(token_file=FILE), "require `--ws-auth"),
        (AuthOptions(issuer="me"), "require `--ws-auth"),
        (AuthOptions(max_clock_skew_seconds=0), "require `--ws-auth"),
        (AuthOptions(token_scope="full"), "require `--ws-auth"),
        (
            AuthOptions("capability-token", token_scope="observe"),
            "`--ws-token-file` or `--ws-token-sha256` is required",
        ),
        (
            AuthOptions("signed-bearer-token", shared_secret_file=FILE, token_scope="observe"),
            "names its scope itself, in the claim `scope`",
        ),
        (AuthOptions("capability-token"), "`--ws-token-file` or `--ws-token-sha256` is required"),
        (AuthOptions("capability-token", token_file=FILE, token_sha256="0" * 64), "mutually exclusive"),
        (AuthOptions("capability-token", token_sha256="0" * 63), "64 hexadecimal digits"),
        (AuthOptions("capability-token", token_sha256="g" * 64), "64 hexadecimal digits"),
        (AuthOptions("capability-token", token_file=FILE, audience="me"), "not `capability-token`"),
        (AuthOptions("signed-bearer-token"), "`--ws-shared-secret-file` is required"),
        (AuthOptions("signed-bearer-token", shared_secret_file=FILE, token_file=FILE), "not `signed-bearer-token`"),
        (AuthOptions("signed-bearer-token", shared_secret_file=FILE, max_clock_skew_seconds=-1), "cannot be negative"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(options: AuthOptions, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        check_auth_flags(LOCAL, options)


@pytest.mark.parametrize("listen", [LOCAL, UnixSocket(), Stdio(), WebSocket("::1", 1)])
def test_what_only_this_machine_reaches_needs_no_authentication(listen: Listen) -> None:
    check_auth_flags(listen, AuthOptions())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
def test_a_listener_that_others_reach_needs_it_and_says_how(host: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_auth_flags(WebSocket(host, 1), AuthOptions())
    for remedy in ("--ws-auth capability-token --ws-token-file", "--ws-shared-secret-file", "127.0.0.1"):
        assert remedy in str(refusal.value)
    check_auth_flags(WebSocket(host, 1), AuthOptions("capability-token", token_file=FILE))


# Tokens


def test_without_a_mode_everybody_may_connect() -> None:
    assert build_authenticator(AuthOptions()) is None


def test_a_capability_token_is_taken_from_its_file_without_the_newline(tmp_path: Path) -> None:
    check = build_authenticator(AuthOptions("capability-token", token_file=_file(tmp_path, " secret\n")))
    assert check is not None
    assert check("Bearer secret")
    assert check("bearer  secret ")
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer secre",
        "Bearer secrets",
        "Basic secret",
        "secret",
        "Bearer é\udcff",
    ):
        assert not check(wrong)


@pytest.mark.parametrize("upper", [False, True])
def test_a_capability_token_may_be_given_as_its_digest(upper: bool) -> None:
    digest = sha256(b"secret").hexdigest()
    check = build_authenticator(AuthOptions("capability-token", token_sha256=digest.upper() if upper else digest))
    assert check is not None
    assert check("Bearer secret")
    assert not check(f"Bearer {digest}")
    assert not check(None)


def test_the_digest_of_nothing_lets_nobody_in() -> None:
    check = build_authenticator(AuthOptions("capability-token", token_sha256=sha256(b"").hexdigest()))
    assert check is not None
    assert not check(None)
    assert not check("Bearer ")


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "failed to read .*: No such file"), (" \n", "must not be empty")]
)
def test_a_secret_that_cannot_be_had_is_a_reason_not_to_start(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    path = tmp_path / "missing" if content is None else _file(tmp_path, content)
    with pytest.raises(StartError, match=complaint):
        build_authenticator(AuthOptions("capability-token", token_file=path))


def test_a_short_signing_secret_is_a_reason_not_to_start(tmp_path: Path) -> None:
    options = AuthOptions("signed-bearer-token", shared_secret_file=_file(tmp_path, SECRET[:31] + "\n"))
    with pytest.raises(StartError, match="must be at least 32 bytes"):
        build_authenticator(options)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_secret_that_others_can_read_is_warned_about(
    tmp_path: Path, mode: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build_authenticator(AuthOptions("capability-token", token_file=_file(tmp_path, "secret", mode)))
    assert bool(caplog.records) is warned
    assert "the secret" in caplog.text or not warned


# Signed tokens


def _signed(tmp_path: Path, **options: Any) -> Any:
    path = _file(tmp_path, SECRET + "\n")
    return build_authenticator(AuthOptions("signed-bearer-token", shared_secret_file=path, **options))


def test_a_signed_token_needs_the_right_key_and_algorithm(tmp_path: Path) -> None:
    check = _signed(tmp_path)
    assert check(_token())
    assert not check(_token(SECRET[::-1]))
    assert not check(_token(SECRET * 2, "HS512"))
    assert not check(_token("", "none"))
    for wrong in (None, "Bearer", "Bearer a.b.c", "Bearer " + SECRET, _token().removeprefix("Bearer ")):
        assert not check(wrong)


def test_a_signed_token_must_expire_and_times_are_honoured(tmp_path: Path) -> None:
    check, now = _signed(tmp_path), time.time()
    assert not check(_encoded({"sub": "me"}))
    assert check(_token(exp=now - 10))
    assert not check(_token(exp=now - 60))
    assert check(_token(nbf=now + 10))
    assert not check(_token(nbf=now + 60))
    assert not check(_token(iat=now + 60))
    assert not check(_token(exp="soon"))


def test_the_clock_skew_can_be_chosen(tmp_path: Path) -> None:
    now = time.time()
    assert not _signed(tmp_path, max_clock_skew_seconds=0)(_token(exp=now - 5))
    assert _signed(tmp_path, max_clock_skew_seconds=3600)(_token(exp=now - 1800))


def test_issuer_and_audience_are_checked_when_they_are_asked_for(tmp_path: Path) -> None:
    check = _signed(tmp_path, issuer="me", audience="turnloom")
    assert check(_token(iss="me", aud="turnloom"))
    assert check(_token(iss="me", aud=["other", "turnloom"]))
    for claims in (
        {},
        {"iss": "me"},
        {"aud": "turnloom"},
        {"iss": "you", "aud": "turnloom"},
        {"iss": "me", "aud": "x"},
    ):
        assert not check(_token(**claims))
    assert _signed(tmp_path)(_token(iss="anyone", aud="anything"))


# Scopes


@pytest.mark.parametrize(
    ("option", "scope"), [(None, FULL), ("full", FULL), ("no-shell", NO_SHELL), ("observe", OBSERVE)]
)
def test_a_capability_token_allows_what_its_option_says(tmp_path: Path, option: str | None, scope: Scope) -> None:
    for options in (
        AuthOptions("capability-token", token_file=_file(tmp_path, "secret"), token_scope=option),
        AuthOptions("capability-token", token_sha256=sha256(b"secret").hexdigest(), token_scope=option),
    ):
        check = build_authenticator(options)
        assert check is not None
        assert check("Bearer secret") is scope
        assert check("Bearer other") is None


@pytest.mark.parametrize(
    ("claims", "scope"),
    [({}, FULL), ({"scope": "full"}, FULL), ({"scope": "no-shell"}, NO_SHELL), ({"scope": "observe"}, OBSERVE)],
)
def test_a_signed_token_allows_what_its_claim_says(tmp_path: Path, claims: dict[str, Any], scope: Scope) -> None:
    assert _signed(tmp_path)(_token(**claims)) is scope


@pytest.mark.parametrize("claim", ["admin", "", "Full", "full observe", None, ["full"], 1, {"full": True}, "x" * 500])
def test_a_signed_token_with_an_unknown_scope_may_not_connect_and_the_log_says_why(
    tmp_path: Path, claim: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert _signed(tmp_path)(_token(scope=claim)) is None
    (record,) = caplog.records
    assert repr(claim)[:80] in record.getMessage()
    assert "known scopes: `full`, `no-shell`, `observe`" in record.getMessage()
    assert len(record.getMessage()) < 250


def test_a_token_that_is_not_valid_says_nothing_of_its_scope(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert _signed(tmp_path)(_token(SECRET[::-1], scope="admin")) is None
    assert caplog.records == []
