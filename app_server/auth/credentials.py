"""What the daemon is signed in with, and the document in which that is kept."""

import base64
import binascii
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, cast

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from app_server.telemetry.secrecy import Discreet

Mode = Literal["apikey", "chatgpt", "chatgptAuthTokens"]
"""An API key, a ChatGPT account, or tokens of such an account that a client looks after."""

RENEW_BEFORE_S = 300.0
"""How long before its end an access token is renewed."""

OLD_S = 8 * 24 * 3600.0
"""When a token of which nobody knows the end is renewed."""

_ACCOUNT = "https://api.openai.com/auth"
_PROFILE = "https://api.openai.com/profile"


class NotAToken(ValueError):
    """A text that is no JSON web token."""


class Identity(Struct, frozen=True):
    """Who an account belongs to, as its tokens say. Nobody has checked their signatures; OpenAI does."""

    email: str | None = None
    user_id: str | None = None
    account_id: str | None = None
    plan: str | None = None
    expires_at: float | None = None
    """The end of the token in Unix seconds."""


class Tokens(Discreet, frozen=True):
    """The tokens of a ChatGPT account; `issuer` and `client_id` tell who gave them out, None for the usual one."""

    access: str
    id: str | None = None
    refresh: str | None = None
    account_id: str | None = None
    issuer: str | None = None
    client_id: str | None = None

    @property
    def identity(self) -> Identity:
        """What the tokens say of their owner."""
        known = [identity_in(token) for token in (self.id, self.access) if token]
        first = known[0] if known else Identity()
        return replace(first, account_id=self.account_id or first.account_id)


class Credentials(Discreet, frozen=True):
    """One way of being signed in. `refreshed_at` is in Unix seconds; `plan` is what a client said of its tokens.

    `document` is what was read, with everything in it that only other programs know.
    """

    mode: Mode
    api_key: str | None = None
    tokens: Tokens | None = None
    refreshed_at: float | None = None
    plan: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def secret(self) -> str | None:
        """What requests carry."""
        return self.api_key if self.tokens is None else self.tokens.access

    @property
    def identity(self) -> Identity:
        """Who is signed in; nothing is known of the owner of an API key."""
        if self.tokens is None:
            return Identity()
        known = self.tokens.identity
        return replace(known, plan=self.plan) if self.plan else known

    def is_due(self, now: float | None = None) -> bool:
        """Whether the access token ends soon, or may well have ended."""
        if self.tokens is None:
            return False
        now = time.time() if now is None else now
        try:
            ends = identity_of(self.tokens.access).expires_at
        except NotAToken:
            ends = None
        if ends is not None:
            return ends - now < RENEW_BEFORE_S
        return self.refreshed_at is not None and now - self.refreshed_at > OLD_S


def identity_of(token: str) -> Identity:
    """What a JSON web token says of its owner. Raises NotAToken."""
    parts = token.split(".")
    if len(parts) != 3:
        raise NotAToken("a token has three parts with dots between them")
    try:
        claims: Any = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        raise NotAToken("the middle part of the token is no JSON object") from None
    if not isinstance(claims, dict):
        raise NotAToken("the middle part of the token is no JSON object")
    claims = cast("dict[str, Any]", claims)
    account, profile = _table(claims.get(_ACCOUNT)), _table(claims.get(_PROFILE))
    ends: Any = claims.get("exp")
    return Identity(
        _text(claims.get("email")) or _text(profile.get("email")),
        _text(account.get("chatgpt_user_id")) or _text(account.get("user_id")),
        _text(account.get("chatgpt_account_id")),
        _text(account.get("chatgpt_plan_type")),
        float(ends) if isinstance(ends, int | float) else None,
    )


def identity_in(token: str) -> Identity:
    """As `identity_of`; nothing for a text that is no token."""
    try:
        return identity_of(token)
    except NotAToken:
        return Identity()


def decode(content: bytes | str) -> Credentials | None:
    """The credentials in a document; None where it has none that can be used here."""
    try:
        read: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    document = _table(read)
    mode: Any = document.get("auth_mode")
    key = _text(document.get("OPENAI_API_KEY"))
    if mode in (None, "apikey") and key is not None:
        return Credentials("apikey", key, document=document)
    kept = _table(document.get("tokens"))
    access = _text(kept.get("access_token"))
    if mode not in (None, "chatgpt") or access is None:
        return None
    origin = _table(kept.get("oauth_provenance"))
    tokens = Tokens(
        access,
        _text(kept.get("id_token")),
        _text(kept.get("refresh_token")),
        _text(kept.get("account_id")),
        _text(origin.get("issuer")),
        _text(origin.get("client_id")),
    )
    return Credentials("chatgpt", tokens=tokens, refreshed_at=_time(document.get("last_refresh")), document=document)


def encode(credentials: Credentials) -> bytes:
    """The document, as other programs that share $CODEX_HOME read it too."""
    document: dict[str, Any] = {"auth_mode": credentials.mode, "OPENAI_API_KEY": credentials.api_key}
    tokens = credentials.tokens
    if tokens is not None:
        before = _table(credentials.document.get("tokens"))
        document = {**credentials.document, "auth_mode": credentials.mode}
        document.setdefault("OPENAI_API_KEY", None)
        document["tokens"] = {
            **before,
            "id_token": tokens.id,
            "access_token": tokens.access,
            "refresh_token": tokens.refresh,
            "account_id": tokens.account_id,
        }
        if tokens.issuer is not None:
            document["tokens"]["oauth_provenance"] = {"issuer": tokens.issuer, "client_id": tokens.client_id}
        if credentials.refreshed_at is not None:
            moment = datetime.fromtimestamp(credentials.refreshed_at, UTC)
            document["last_refresh"] = moment.isoformat().replace("+00:00", "Z")
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _time(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except ValueError:
        return None
