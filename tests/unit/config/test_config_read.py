"""What clients see of the configuration."""

from pathlib import Path

import orjson

from app_server.config.layers import LayerStack, load_settings
from app_server.handlers.config import config_response


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
