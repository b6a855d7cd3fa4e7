"""Which way requests take, and what headers tell."""

import pytest

from app_server.model.failures import shown_url
from app_server.model.http import is_loopback, proxy_for
from app_server.model.rate_limits import rate_limit_snapshot


@pytest.fixture(autouse=True)
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.example/v1", "http://proxy:3128"),
        ("http://api.example/v1", None),
        ("https://internal.example/v1", None),
        ("https://localhost:1/v1", None),
        ("https://127.0.0.9/v1", None),
        ("https://[::1]/v1", None),
    ],
)
def test_the_proxy_is_the_environments_and_never_for_this_machine(url: str, proxy: str | None) -> None:
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(("host", "loopback"), [("localhost", True), ("a.localhost", True), ("10.0.0.1", False)])
def test_this_machine_is_known_by_name_and_address(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_shown_url_has_neither_password_nor_query() -> None:
    assert shown_url("https://u:p@[::1]:8/v1/responses?key=s") == "https://[::1]:8/v1/responses"
    assert shown_url("https://host/v1") == "https://host/v1"


def test_a_window_that_tells_how_long_it_lasts_gets_a_point_in_time() -> None:
    headers = {"x-codex-secondary-used-percent": "99", "x-codex-secondary-reset-after-seconds": "60"}
    snapshot = rate_limit_snapshot(headers, now=1000.0)
    assert snapshot is not None
    assert snapshot["secondary"] == {"usedPercent": 99, "windowDurationMins": None, "resetsAt": 1060}
    assert snapshot["primary"] is None
    assert snapshot["limitId"] == "codex"


@pytest.mark.parametrize("headers", [{}, {"x-codex-primary-used-percent": "many"}])
def test_headers_without_an_allowance_tell_nothing(headers: dict[str, str]) -> None:
    assert rate_limit_snapshot(headers) is None
