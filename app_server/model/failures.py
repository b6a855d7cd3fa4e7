"""How a server of models says no, and what that means for the user and for a retry."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from app_server.config.settings import ModelProviderSettings
from app_server.model.events import CodexErrorInfo, ModelError

LONGEST_WAIT_S = 120.0
"""A server that asks to be left alone for longer is not asked again within the turn."""

SHORTEST_SECRET = 8
"""Characters; what is shorter would be found in innocent words."""

MAX_REASON = 1000
"""Characters of a server's own words that are passed on."""

CONTEXT_FULL = (
    "The conversation no longer fits into the model's context window. "
    "Start a new thread, or send less text and smaller files."
)
_OVERLOADED = ("server_is_overloaded", "slow_down", "overloaded_error")
_OUT_OF_CREDIT = ("insufficient_quota", "usage_not_included", "billing_hard_limit_reached")
_TRY_AGAIN = re.compile(r"try again in\s*(\d+(?:\.\d+)?)\s*(ms|s|m)", re.IGNORECASE)
_CONTEXT_WORDS = re.compile(r"maximum context length|context window|context length|prompt is too long", re.IGNORECASE)
_NO_MODEL_WORDS = re.compile(r"\bmodel\b.*(not found|does not exist|not exist)", re.IGNORECASE | re.DOTALL)


def with_status(name: str, status: int | None = None) -> CodexErrorInfo:
    """An error kind that carries the HTTP status."""
    return {name: {"httpStatusCode": status}}


def http_failure(
    provider: ModelProviderSettings, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> ModelError:
    """What an answer that is not 200 means."""
    error = _http_failure(provider, url, status, headers, body)
    if error.retryable and (error.retry_after or 0) > LONGEST_WAIT_S:
        error.retryable = False
        error.message += f". The server asks to wait {error.retry_after:.0f} s before the next request."
    return error


def _http_failure(
    provider: ModelProviderSettings, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> ModelError:
    code, reason, details = _reason(body)
    reason = redacted(reason, provider)
    phrase = _phrase(status)
    unexpected = f"unexpected status {phrase}: {reason or 'no explanation'}, url: {shown_url(url)}"
    wait = retry_after(headers)
    if status == 429:
        return _too_many(phrase, code, reason, details, wait)
    if status >= 500:
        if code in _OVERLOADED or status == 529:
            return ModelError(_overloaded(reason), "serverOverloaded", status=status, retry_after=wait)
        kind: CodexErrorInfo = "internalServerError"
        if status == 503:
            kind = "serverOverloaded"
        elif status != 500:
            kind = with_status("responseTooManyFailedAttempts", status)
        message = f"The model server {provider.name} failed: {phrase}" + (f" ({reason})" if reason else "")
        return ModelError(message, kind, retryable=True, status=status, retry_after=wait)
    if known := _by_code(code, reason):
        return ModelError(known[1], known[0], status=status)
    if status in (401, 403):
        return ModelError(f"{unexpected}. {key_remedy(provider)}", "unauthorized", status=status)
    if status == 404:
        if code == "model_not_found" or _NO_MODEL_WORDS.search(reason):
            return ModelError(reason, "modelNotFound", status=status)
        hint = "Check base_url: the server must offer the Responses API (POST /responses)."
        return ModelError(f"{unexpected}. {hint}", with_status("httpConnectionFailed", status), status=status)
    if status in (400, 413, 422):
        if status == 413 or _CONTEXT_WORDS.search(reason):
            return ModelError(CONTEXT_FULL, "contextWindowExceeded", status=status)
        return ModelError(reason or unexpected, "badRequest", status=status)
    retryable = status in (408, 409, 425)
    return ModelError(unexpected, with_status("httpConnectionFailed", status), retryable=retryable, status=status)


def answer_failure(provider: ModelProviderSettings, error: Mapping[str, Any] | None) -> ModelError:
    """What an `error` or `response.failed` event within an answer means."""
    code = str((error or {}).get("code") or (error or {}).get("type") or "")
    reason = redacted(str((error or {}).get("message") or "the server gave no reason"), provider)[:MAX_REASON]
    if code == "rate_limit_exceeded":
        return ModelError(
            f"rate limit exceeded: {reason}", "rateLimitExceeded", retryable=True, retry_after=_wait_in(reason)
        )
    if code in _OVERLOADED:
        return ModelError(_overloaded(reason), "serverOverloaded")
    if known := _by_code(code, reason):
        return ModelError(known[1], known[0])
    return disconnected(reason)


def incomplete(reason: str | None) -> ModelError:
    """An answer that the server itself cut short."""
    return ModelError(f"Incomplete response returned, reason: {reason or 'unknown'}")


def disconnected(reason: str) -> ModelError:
    """A stream that ended before the answer was whole."""
    return ModelError(
        f"stream disconnected before completion: {reason}", with_status("responseStreamDisconnected"), retryable=True
    )


def unreachable(provider: ModelProviderSettings, url: str, reason: str) -> ModelError:
    """A server that cannot be connected to."""
    message = f"cannot reach the model server {provider.name} at {shown_url(url)}: {reason}"
    return ModelError(message, with_status("httpConnectionFailed"), retryable=True)


def missing_key(provider: ModelProviderSettings) -> ModelError:
    """A request that need not be made: the key that it requires is not there."""
    if provider.requires_openai_auth:
        return ModelError(f"Nobody is signed in to {provider.name}. {key_remedy(provider)}", "unauthorized")
    return ModelError(f"Missing environment variable: `{provider.env_key}`. {key_remedy(provider)}", "unauthorized")


def key_remedy(provider: ModelProviderSettings) -> str:
    """What a user does about a refused or missing key."""
    if provider.account_only:
        return "Sign in with ChatGPT; `forced_login_method` in the configuration leaves no other way."
    if not provider.env_key:
        return "Set env_key for this provider in config.toml to the name of the variable that holds its key."
    remedy = f"Set {provider.env_key} in the environment of the server and start it again."
    if provider.requires_openai_auth:
        remedy = f"Sign in, or set {provider.env_key} in the environment of the server and start it again."
    return remedy if not provider.env_key_instructions else f"{remedy} {provider.env_key_instructions}"


def redacted(text: str, provider: ModelProviderSettings) -> str:
    """`text` without the secrets that were sent."""
    secrets = [provider.api_key(), *provider.http_headers.values(), *provider.query_params.values()]
    for secret in secrets:
        if secret and len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "[redacted]")
    return text


def shown_url(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _too_many(phrase: str, code: str, reason: str, details: Mapping[str, Any], wait: float | None) -> ModelError:
    if code == "usage_limit_reached":
        resets_at = details.get("resets_at")
        until = ""
        if isinstance(resets_at, int | float) and 0 < resets_at < 1e11:
            until = f" It is available again at {datetime.fromtimestamp(resets_at, UTC):%Y-%m-%d %H:%M} UTC."
        return ModelError(f"You've hit your usage limit.{until}", "usageLimitExceeded", status=429)
    if known := _by_code(code, reason):
        return ModelError(known[1], known[0], status=429)
    message = f"exceeded retry limit, last status: {phrase}" + (f" ({reason})" if reason else "")
    return ModelError(
        message,
        with_status("responseTooManyFailedAttempts", 429),
        retryable=True,
        status=429,
        retry_after=wait if wait is not None else _wait_in(reason),
    )


def _by_code(code: str, reason: str) -> tuple[CodexErrorInfo, str] | None:
    if code == "context_length_exceeded":
        return "contextWindowExceeded", CONTEXT_FULL
    if code in _OUT_OF_CREDIT:
        return "usageLimitExceeded", reason or "Quota exceeded. Check your plan and billing details."
    if code == "model_not_found":
        return "modelNotFound", reason or "The server does not know the model."
    if code == "cyber_policy":
        return "cyberPolicy", reason
    if code in ("invalid_prompt", "bio_policy"):
        return "badRequest", reason
    return None


def _overloaded(reason: str) -> str:
    return "The model is at capacity. Try again later or choose another model." + (f" ({reason})" if reason else "")


def _reason(body: bytes) -> tuple[str, str, Mapping[str, Any]]:
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: 4 * MAX_REASON].decode(errors="replace").strip()
        return "", ("" if text.startswith("<") else text[:MAX_REASON]), {}
    if not isinstance(parsed, dict):
        return "", "", {}
    top = cast("dict[str, Any]", parsed)
    error: Any = top.get("error", top)
    if isinstance(error, str):
        return "", error[:MAX_REASON], {}
    if not isinstance(error, dict):
        error = top
    details = cast("dict[str, Any]", error)
    reason = details.get("message") or details.get("detail") or ""
    code = details.get("code") or details.get("type") or ""
    if details.get("type") == "usage_limit_reached":
        code = "usage_limit_reached"
    return str(code), reason[:MAX_REASON] if isinstance(reason, str) else "", details


def _wait_in(reason: str) -> float | None:
    found = _TRY_AGAIN.search(reason)
    if found is None:
        return None
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2].lower()]


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
