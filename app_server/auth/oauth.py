"""What is asked of the service that signs people in: where they go, and the tokens they come back with."""

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

import orjson
from msgspec import Struct, field

from app_server.auth.credentials import Tokens
from app_server.auth.fetching import Fetch, FetchFailed, OAuthError
from app_server.telemetry.secrecy import Discreet

ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
SCOPES = "openid profile email offline_access api.connectors.read api.connectors.invoke"
SPENT = ("refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated")
"""Why a refresh token is refused for good."""

MAX_REASON = 300


class Issuer(Struct, frozen=True):
    """The service: its address without a slash at the end, and as whom the daemon speaks to it."""

    url: str = ISSUER
    client_id: str = CLIENT_ID
    token_url: str = f"{ISSUER}/oauth/token"
    revoke_url: str = f"{ISSUER}/oauth/revoke"

    @property
    def is_usual(self) -> bool:
        """Whether it is OpenAI's own, which sends people back to two ports only."""
        return self.url == ISSUER


def issuer_in(environ: Mapping[str, str] = os.environ) -> Issuer:
    """The service that the environment names, else OpenAI's."""
    url = environ.get("CODEX_APP_SERVER_LOGIN_ISSUER", "").strip().rstrip("/") or ISSUER
    return Issuer(
        url,
        environ.get("CODEX_APP_SERVER_LOGIN_CLIENT_ID", "").strip() or CLIENT_ID,
        environ.get("CODEX_REFRESH_TOKEN_URL_OVERRIDE", "").strip() or f"{url}/oauth/token",
        environ.get("CODEX_REVOKE_TOKEN_URL_OVERRIDE", "").strip() or f"{url}/oauth/revoke",
    )


class Proof(Discreet, frozen=True):
    """What only who began a sign-in knows (PKCE), and the state that its end has to name."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def challenge(self) -> str:
        """What the service is told of the verifier at first."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


def authorize_url(issuer: Issuer, proof: Proof, redirect_uri: str, originator: str, workspaces: Sequence[str]) -> str:
    """Where a browser is sent to sign in."""
    query = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": proof.challenge,
        "code_challenge_method": "S256",
        "state": proof.state,
        "scope": SCOPES,
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "originator": originator,
    }
    if workspaces:
        query["allowed_workspace_id"] = ",".join(workspaces)
    return f"{issuer.url}/oauth/authorize?{urlencode(query)}"


async def exchange_code(fetch: Fetch, issuer: Issuer, code: str, verifier: str, redirect_uri: str) -> Tokens:
    """The tokens for the code that a browser or device came back with. Raises OAuthError."""
    form = {
        "grant_type": "authorization_code",
        "client_id": issuer.client_id,
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    answer = await _ask(fetch, f"{issuer.url}/oauth/token", "the sign-in service", form=form)
    return _tokens(answer, Tokens("", issuer=issuer.url, client_id=issuer.client_id))


async def refresh(fetch: Fetch, issuer: Issuer, tokens: Tokens) -> Tokens:
    """New tokens for the same account. Raises OAuthError, which is final if the refresh token is no good any more."""
    if tokens.refresh is None:
        raise OAuthError("the sign-in cannot be renewed; sign in again", final=True)
    asked = {
        "client_id": tokens.client_id or issuer.client_id,
        "grant_type": "refresh_token",
        "refresh_token": tokens.refresh,
    }
    url = issuer.token_url if tokens.issuer in (None, issuer.url) else f"{tokens.issuer}/oauth/token"
    try:
        answer = await _ask(fetch, url, "the sign-in service", json=asked)
    except OAuthError as error:
        if error.status == 401 or error.final:
            raise OAuthError(
                f"the sign-in has ended and cannot be renewed ({error}); sign in again", final=True
            ) from None
        raise
    return _tokens(answer, tokens)


async def revoke(fetch: Fetch, issuer: Issuer, tokens: Tokens) -> None:
    """Make the tokens worthless. Raises OAuthError."""
    if tokens.refresh is None:
        return
    asked = {
        "token": tokens.refresh,
        "token_type_hint": "refresh_token",
        "client_id": tokens.client_id or issuer.client_id,
    }
    url = issuer.revoke_url if tokens.issuer in (None, issuer.url) else f"{tokens.issuer}/oauth/revoke"
    await _ask(fetch, url, "the sign-in service", json=asked, empty=True)


class DeviceCode(Discreet, frozen=True):
    """What somebody types at `url` to sign in a device without a browser; it is asked about every `interval_s`."""

    user_code: str
    url: str
    device_id: str
    interval_s: float = 5.0


async def request_device_code(fetch: Fetch, issuer: Issuer) -> DeviceCode:
    """Begin the sign-in of a device. Raises OAuthError."""
    url = f"{issuer.url}/api/accounts/deviceauth/usercode"
    answer = await _ask(fetch, url, "the sign-in service", json={"client_id": issuer.client_id})
    user_code, device_id = answer.get("user_code") or answer.get("usercode"), answer.get("device_auth_id")
    if not isinstance(user_code, str) or not isinstance(device_id, str):
        raise OAuthError("the sign-in service gave no device code")
    try:
        interval_s = float(answer.get("interval") or 5)
    except (TypeError, ValueError):
        interval_s = 5.0
    return DeviceCode(user_code, f"{issuer.url}/codex/device", device_id, min(max(interval_s, 0.1), 60.0))


async def poll_device(fetch: Fetch, issuer: Issuer, device: DeviceCode) -> Tokens | None:
    """The tokens once somebody has typed the code; None until then. Raises OAuthError."""
    asked = {"device_auth_id": device.device_id, "user_code": device.user_code}
    try:
        answer = await _ask(fetch, f"{issuer.url}/api/accounts/deviceauth/token", "the sign-in service", json=asked)
    except OAuthError as error:
        if error.status in (403, 404):
            return None
        raise
    code, verifier = answer.get("authorization_code"), answer.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        raise OAuthError("the sign-in service gave no authorization code")
    return await exchange_code(fetch, issuer, code, verifier, f"{issuer.url}/deviceauth/callback")


async def _ask(
    fetch: Fetch,
    url: str,
    who: str,
    *,
    json: Mapping[str, Any] | None = None,
    form: Mapping[str, str] | None = None,
    empty: bool = False,
) -> dict[str, Any]:
    try:
        answer = await fetch("POST", url, json=json, form=form)
    except FetchFailed as error:
        raise OAuthError(f"cannot reach {who}: {error}") from None
    try:
        body: Any = orjson.loads(answer.body) if answer.body else {}
    except orjson.JSONDecodeError:
        body = None
    if not 200 <= answer.status < 300:
        code, reason = _reason(body)
        said = f": {_without({**(json or {}), **(form or {})}, reason)}" if reason else ""
        raise OAuthError(f"{who} answered with status {answer.status}{said}", final=code in SPENT, status=answer.status)
    if not isinstance(body, dict) and not empty:
        raise OAuthError(f"{who} gave an answer that cannot be read")
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _tokens(answer: Mapping[str, Any], before: Tokens) -> Tokens:
    def text(name: str, otherwise: str | None) -> str | None:
        value = answer.get(name)
        return value if isinstance(value, str) and value else otherwise

    access = text("access_token", before.access)
    if not access:
        raise OAuthError("the sign-in service gave no access token")
    new = Tokens(
        access,
        text("id_token", before.id),
        text("refresh_token", before.refresh),
        before.account_id,
        before.issuer,
        before.client_id,
    )
    return new if new.account_id else _with_account(new)


def _with_account(tokens: Tokens) -> Tokens:
    return Tokens(tokens.access, tokens.id, tokens.refresh, tokens.identity.account_id, tokens.issuer, tokens.client_id)


def _reason(body: Any) -> tuple[str | None, str | None]:
    """The code and the words of a refusal."""
    table: dict[str, Any] = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    error: Any = table.get("error", table)
    if isinstance(error, dict):
        details = cast("dict[str, Any]", error)
        code: Any = details.get("code") or details.get("type")
        words: Any = details.get("message") or code
    else:
        code, words = error, table.get("error_description") or error
    return (
        code if isinstance(code, str) else None,
        " ".join(words.split())[:MAX_REASON] if isinstance(words, str) else None,
    )


def _without(sent: Mapping[str, Any], reason: str) -> str:
    """The words of a refusal without what they repeat of the request's secrets."""
    for name in ("refresh_token", "token", "code", "code_verifier", "device_auth_id"):
        secret: Any = sent.get(name)
        if isinstance(secret, str) and secret in reason:
            reason = reason.replace(secret, "[redacted]")
    return reason
