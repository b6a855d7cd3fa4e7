"""Settings that nobody knows are found at any depth, with what was probably meant."""

import pytest

from app_server.config.features import known_features
from app_server.config.known_keys import known_keys, unknown_keys


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
    assert set(features) == set(known_keys()["features"])
    assert {feature.stage == "beta" for feature in features.values() if feature.text} == {True}
    assert all(feature.text and feature.title for feature in features.values() if feature.stage == "beta")
    assert not any(feature.default for feature in features.values() if feature.stage in ("beta", "underDevelopment"))
