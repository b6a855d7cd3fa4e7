"""Settings that nobody knows are found at any depth, with what was probably meant."""

from typing import Any, cast

import pytest

from app_server.config.features import known_features
from app_server.config.kinds import EITHER, REQUIRED, Kind, mismatches
from app_server.config.known_keys import known_keys, misshapen, unknown_keys


@pytest.mark.parametrize(
    ("table", "path", "near"),
    [
        ({"aproval_policy": 1}, ("aproval_policy",), "approval_policy"),
        ({"tui": {"them": 1}}, ("tui", "them"), "theme"),
        ({"mcp_servers": {"any": {"comand": 1}}}, ("mcp_servers", "any", "comand"), "command"),
        ({"model_providers": {"x": {"base_urll": 1}}}, ("model_providers", "x", "base_urll"), "base_url"),
        ({"sandbox_workspace_write": {"zz": 1}}, ("sandbox_workspace_write", "zz"), None),
        ({"features": {"goal": True}}, ("features", "goal"), "goals"),
        ({"agents": {"max_thread": 3}}, ("agents", "max_thread"), "max_threads"),
        ({"projects": {"/a": {"trust": "trusted"}}}, ("projects", "/a", "trust"), "trust_level"),
        ({"hooks": {"PreTolUse": []}}, ("hooks", "PreTolUse"), "PreToolUse"),
        ({"skills": {"config": [{"enabled": True}, {"nam": "x"}]}}, ("skills", "config", "1", "nam"), "name"),
    ],
)
def test_an_unknown_setting_is_found(table: dict[str, object], path: tuple[str, ...], near: str | None) -> None:
    assert list(unknown_keys(table)) == [(path, near)]


def test_what_users_name_themselves_is_not_unknown() -> None:
    table = {
        "mcp_servers": {"mine": {"command": "x", "env": {"ANY": "1"}}},
        "agents": {"mine": {"description": "x"}},
        "permissions": {"mine": {"filesystem": {"/x": "read"}}},
        "shell_environment_policy": {"set": {"ANY": "1"}},
        "desktop": {"any": {"thing": 1}},
        "tui": {"theme": "x", "keymap": {"global": {"copy": "c"}}},
        "tools": {"web_search": True},
    }
    assert list(unknown_keys(table)) == []


def test_every_feature_is_known_once_and_only_a_beta_has_a_text() -> None:
    features = known_features()
    assert set(features) == set(cast("dict[str, Any]", known_keys()["features"]))
    assert {feature.stage == "beta" for feature in features.values() if feature.text} == {True}
    assert all(feature.text and feature.title for feature in features.values() if feature.stage == "beta")
    assert not any(feature.default for feature in features.values() if feature.stage in ("beta", "underDevelopment"))


def is_a_kind(kind: Any) -> bool:
    if isinstance(kind, dict) and EITHER in kind:
        return len(cast("dict[str, Any]", kind)) == 1 and all(map(is_a_kind, cast("dict[str, Any]", kind)[EITHER]))
    if isinstance(kind, dict):
        return all(is_a_kind(inner) for name, inner in cast("dict[str, Any]", kind).items() if name != REQUIRED)
    if isinstance(kind, list):
        names = cast("list[Any]", kind)
        return all(isinstance(name, str) for name in names) or (len(names) == 1 and is_a_kind(names[0]))
    if kind != 1:
        list(mismatches(cast("Kind", kind), None))  # raises for a name that means nothing
    return True


def test_every_known_setting_has_a_kind() -> None:
    assert is_a_kind(dict(known_keys()))


def test_settings_that_users_have_are_of_their_kinds() -> None:
    table = {
        "approval_policy": {"granular": {"rules": True}},
        "notify": ["notify-send"],
        "forced_chatgpt_workspace_id": ["a", "b"],
        "features": {"goals": True, "network_proxy": {"enabled": True}, "of_tomorrow": False},
        "tools": {"web_search": True, "view_image": True},
        "tui": {"notifications": ["agent-turn-complete"], "keymap": {"global": {"copy": ["ctrl-c", "f5"]}}},
        "otel": {"exporter": {"otlp-http": {"endpoint": "http://127.0.0.1:1", "protocol": "json"}}},
        "mcp_servers": {"a": {"command": "x", "env_vars": ["A", {"name": "B"}], "startup_timeout_sec": 2.5}},
        "shell_environment_policy": {"set": {"A": "b"}, "inherit": "core"},
        "hooks": {"PreToolUse": [{"matcher": "x", "hooks": [{"type": "command", "command": "true", "timeout": 5}]}]},
        "desktop": {"any": [1, {"thing": None}]},
    }
    assert list(misshapen(table)) == []
