"""Who may open a websocket: a capability token, or a signed bearer token (JWT, HS256)."""

import hmac
import logging
import re
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from app_server.rpc.scopes import FULL, SCOPES, Scope
from app_server.transport.listen import (
    DEFAULT_CLOCK_SKEW_SECONDS,
    AuthOptions,
    Listen,
    StartError,
    UsageError,
    WebSocket,
)

MIN_SECRET_BYTES = 32

Authenticator = Callable[[str | None], Scope | None]
"""Takes the Authorization header of a request and tells what the client may do; None if it may not connect."""

logger = logging.getLogger(__name__)


def check_auth_flags(listen: Listen, options: AuthOptions) -> None:
    """Raise UsageError if the options do not go together, or if the listener would be open to strangers."""
    token = any(value is not None for value in (options.token_file, options.token_sha256))
    scoped = options.token_scope is not None
    signed = any(
        value is not None
        for value in (options.shared_secret_file, options.issuer, options.audience, options.max_clock_skew_seconds)
    )
    if options.mode is None:
        if token or signed or scoped:
            raise UsageError(
                "websocket auth flags require `--ws-auth capability-token` or `--ws-auth signed-bearer-token`"
            )
        if isinstance(listen, WebSocket) and not listen.loopback:
            raise UsageError(
                f"refusing to listen on {listen.url}, which other machines can reach, without authentication; add "
                "`--ws-auth capability-token --ws-token-file FILE` or "
                "`--ws-auth signed-bearer-token --ws-shared-secret-file FILE`, or listen on ws://127.0.0.1:PORT"
            )
    elif options.mode == "capability-token":
        if signed:
            raise UsageError(
                "`--ws-shared-secret-file`, `--ws-issuer`, `--ws-audience` and `--ws-max-clock-skew-seconds` require "
                "`--ws-auth signed-bearer-token`, not `capability-token`"
            )
        if options.token_file is not None and options.token_sha256 is not None:
            raise UsageError("`--ws-token-file` and `--ws-token-sha256` are mutually exclusive")
        if not token:
            raise UsageError(
                "`--ws-token-file` or `--ws-token-sha256` is required when `--ws-auth capability-token` is set"
            )
        if options.token_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", options.token_sha256):
            raise UsageError("`--ws-token-sha256` must be a SHA-256 digest of 64 hexadecimal digits")
    else:
        if token:
            raise UsageError(
                "`--ws-token-file` and `--ws-token-sha256` require `--ws-auth capability-token`, "
                "not `signed-bearer-token`"
            )
        if scoped:
            raise UsageError(
                "`--ws-token-scope` requires `--ws-auth capability-token`; "
                "a signed token names its scope itself, in the claim `scope`"
            )
        if options.shared_secret_file is None:
            raise UsageError("`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set")
        if (options.max_clock_skew_seconds or 0) < 0:
            raise UsageError("`--ws-max-clock-skew-seconds` cannot be negative")


def build_authenticator(options: AuthOptions) -> Authenticator | None:
    """The check for `options`, whose files are read here and once; None if everybody may connect.

    Raises StartError if a file is missing, empty or too short.
    """
    if options.mode is None:
        return None
    if options.mode == "capability-token":
        scope = FULL if options.token_scope is None else SCOPES[options.token_scope]
        if options.token_sha256 is not None:
            return _capability(bytes.fromhex(options.token_sha256), scope)
        assert options.token_file is not None
        return _capability(sha256(_secret(options.token_file)).digest(), scope)
    assert options.shared_secret_file is not None
    secret = _secret(options.shared_secret_file)
    if len(secret) < MIN_SECRET_BYTES:
        raise StartError(
            f"signed websocket bearer secret {options.shared_secret_file} must be at least {MIN_SECRET_BYTES} bytes"
        )
    return _signed(secret, options)


def _secret(path: Path) -> bytes:
    try:
        content = path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise StartError(f"failed to read websocket auth secret {path}: {error.strerror}") from None
    if not content:
        raise StartError(f"websocket auth secret {path} must not be empty")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("%s can be read by other users; `chmod 600 %s` keeps the secret", path, path)
    return content


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _capability(digest: bytes, scope: Scope) -> Authenticator:
    def check(header: str | None) -> Scope | None:
        token = _bearer(header)
        given = sha256((token or "").encode("utf-8", "surrogateescape")).digest()
        # Digests have one length, so the comparison tells nothing about the token's.
        return scope if hmac.compare_digest(given, digest) and token is not None else None

    return check


def _signed(secret: bytes, options: AuthOptions) -> Authenticator:
    import jwt

    # The signature names key types of a package that HS256 does not need.
    decode = cast("Callable[..., Any]", jwt.decode)
    skew = options.max_clock_skew_seconds
    claims: dict[str, Any] = {
        "algorithms": ["HS256"],
        "leeway": DEFAULT_CLOCK_SKEW_SECONDS if skew is None else skew,
        "options": {"require": ["exp"], "verify_aud": options.audience is not None},
    }
    if options.audience is not None:
        claims["audience"] = options.audience
        claims["options"]["require"].append("aud")
    if options.issuer is not None:
        claims["issuer"] = options.issuer
        claims["options"]["require"].append("iss")

    def check(header: str | None) -> Scope | None:
        token = _bearer(header)
        if token is None:
            return None
        try:
            told = decode(token, secret, **claims)
        except (jwt.InvalidTokenError, ValueError):
            return None
        named = told.get("scope", FULL.name)
        scope = SCOPES.get(named) if isinstance(named, str) else None
        if scope is None:
            known = ", ".join(f"`{name}`" for name in SCOPES)
            logger.warning("a websocket is refused: its token has the scope %.80r; known scopes: %s", named, known)
        return scope

    return check
