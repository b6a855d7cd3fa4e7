"""What clients see of the configuration."""

from pathlib import Path

import orjson

from app_server.config.layers import LayerStack, load_settings
from app_server.config.network_proxy import NetworkRequirements
from app_server.config.requirements import Requirements
from app_server.handlers.config import config_response, requirements


def load(tmp_path: Path, text: str, *overrides: str) -> LayerStack:
    (tmp_path / "config.toml").write_text(text)
    return load_settings(tmp_path, overrides, system_config=tmp_path / "none.toml", environ={})


def test_the_answer_holds_merged_values_origins_and_layers_strongest_first(tmp_path: Path) -> None:
    stack = load(tmp_path, 'model = "m"\n[tui]\ntheme = "dark"\n', 'model="n"')
    answer = orjson.loads(config_response(stack, include_layers=True).model_dump_json())
    assert answer["config"]["model"] == "n"
    assert answer["config"]["tui"] == {"theme": "dark"}
    assert answer["config"]["sandbox_mode"] is None
    assert answer["origins"]["model"]["name"] == {"type": "sessionFlags"}
    user = {"type": "user", "file": str(tmp_path / "config.toml"), "profile": None}
    assert answer["origins"]["tui.theme"]["name"] == user
    assert [layer["name"]["type"] for layer in answer["layers"]] == ["sessionFlags", "user", "system"]
    assert answer["layers"][1]["config"] == {"model": "m", "tui": {"theme": "dark"}}


def test_layers_come_only_when_asked_for(tmp_path: Path) -> None:
    assert config_response(load(tmp_path, ""), include_layers=False).layers is None


def test_a_value_of_the_wrong_type_is_left_out_and_the_rest_is_told(tmp_path: Path) -> None:
    stack = load(tmp_path, 'model = 5\nservice_tier = "flex"\napproval_policy = "sometimes"\nday = 2026-01-01\n')
    answer = orjson.loads(config_response(stack, include_layers=True).model_dump_json())
    assert answer["config"]["model"] is None
    assert answer["config"]["approval_policy"] is None
    assert answer["config"]["service_tier"] == "flex"


def test_what_is_wrong_within_a_table_takes_nothing_else_along(tmp_path: Path) -> None:
    text = """
        [tools.web_search]
        context_size = "low"
        zz = 1
        [sandbox_workspace_write]
        network_access = true
        writable_roots = 5
        [apps.mine]
        enabled = false
    """
    config = orjson.loads(config_response(load(tmp_path, text), include_layers=False).model_dump_json())["config"]
    assert config["tools"]["web_search"]["context_size"] == "low"
    assert config["sandbox_workspace_write"]["network_access"] is True
    assert config["sandbox_workspace_write"]["writable_roots"] == []
    assert config["apps"]["mine"] == {"enabled": False}


def test_keys_and_tokens_are_only_for_who_may_do_everything(tmp_path: Path) -> None:
    text = """
        model = "m"
        [model_providers.p]
        base_url = "http://127.0.0.1:1"
        experimental_bearer_token = "s3cret"
        http_headers = { "X-Key" = "s3cret", "X-More" = "s3cret" }
        [mcp_servers.x]
        command = "run"
        env = { KEY = "s3cret" }
        args = ["--fast"]
        [shell_environment_policy.set]
        KEY = "s3cret"
    """
    stack = load(tmp_path, text)
    assert "s3cret" in config_response(stack, include_layers=True).model_dump_json()
    answer = config_response(stack, include_layers=True, with_secrets=False).model_dump_json()
    assert "s3cret" not in answer
    layer = orjson.loads(answer)["layers"][0]["config"]
    assert layer["model_providers"]["p"]["http_headers"] == {"X-Key": "(hidden)", "X-More": "(hidden)"}
    assert layer["mcp_servers"]["x"] == {"command": "run", "env": {"KEY": "(hidden)"}, "args": ["--fast"]}
    assert stack.effective()["shell_environment_policy"] == {"set": {"KEY": "s3cret"}}


def test_the_rules_of_the_network_are_told_as_they_are_written(tmp_path: Path) -> None:
    stack = load(tmp_path, '[features.network_proxy]\nenabled = true\ndomains = { "A.com" = "allow" }\n')
    answer = orjson.loads(config_response(stack, include_layers=False).model_dump_json())
    assert answer["config"]["features"] == {"network_proxy": {"enabled": True, "domains": {"A.com": "allow"}}}


def test_what_an_organisation_demands_of_the_network_is_told_with_the_older_lists() -> None:
    assert requirements(None) is None
    demands = NetworkRequirements(
        enabled=True,
        http_port=1,
        domains={"a.com": "allow", "b.com": "deny"},
        unix_sockets={"/run/s": "allow"},
        review_domains=("r.com",),
    )
    told = requirements(Requirements("/r", network=demands))
    assert told is not None
    network = orjson.loads(told.model_dump_json(by_alias=True))["network"]
    assert {name: value for name, value in network.items() if value is not None} == {
        "enabled": True,
        "httpPort": 1,
        "domains": {"a.com": "allow", "b.com": "deny"},
        "allowedDomains": ["a.com"],
        "deniedDomains": ["b.com"],
        "unixSockets": {"/run/s": "allow"},
        "allowUnixSockets": ["/run/s"],
        "reviewDomains": ["r.com"],
    }
    only = requirements(Requirements("/r", network=NetworkRequirements(enabled=False)))
    assert only is not None
    assert orjson.loads(only.model_dump_json(by_alias=True))["network"]["allowedDomains"] is None
