"""How much of an allowance is used, as some servers tell it in the headers of an answer."""

import time
from collections.abc import Mapping
from typing import Any


def rate_limit_snapshot(headers: Mapping[str, str], now: float | None = None) -> dict[str, Any] | None:
    """The wire's RateLimitSnapshot from `x-codex-*` headers; None where there are none."""
    windows = {name: _window(headers, name, time.time() if now is None else now) for name in ("primary", "secondary")}
    if not any(windows.values()):
        return None
    return {
        "limitId": headers.get("x-codex-active-limit", "codex"),
        "limitName": None,
        "normalModelSlug": None,
        **windows,
        "credits": None,
        "individualLimit": None,
        "spendControlReached": None,
        "planType": None,
        "rateLimitReachedType": None,
    }


def _window(headers: Mapping[str, str], name: str, now: float) -> dict[str, Any] | None:
    used = _number(headers, f"x-codex-{name}-used-percent")
    if used is None:
        return None
    minutes = _number(headers, f"x-codex-{name}-window-minutes")
    resets_at = _number(headers, f"x-codex-{name}-reset-at")
    resets_in = _number(headers, f"x-codex-{name}-reset-after-seconds")
    if resets_at is None and resets_in is not None:
        resets_at = now + resets_in
    return {
        "usedPercent": round(used),
        "windowDurationMins": None if minutes is None else round(minutes),
        "resetsAt": None if resets_at is None else round(resets_at),
    }


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None
