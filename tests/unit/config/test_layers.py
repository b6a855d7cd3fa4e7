"""Where settings come from and what is told about mistakes in them."""

import re
from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import (
    ConfigError,
    ConfigWarning,
    LayerStack,
    load_settings,
    parse_override,
    unknown_overrides,
)
from app_server.config.settings import Settings

PROVIDER = '[model_providers.mine]\nname = "Mine"\nbase_url = "http://127.0.0.1:1/v1"\n'


class Home:
    """A CODEX_HOME with files in it, and a system configuration beside it."""

    def __init__(self, root: Path) -> None:
        self.path, self.system = root / "home", root / "etc.toml"
        self.path.mkdir()

    def config(self, text: str) -> None:
        (self.path / "config.toml").write_text(text)

    def load(self, *overrides: str, env: dict[str, str] | None = None, enable: tuple[str, ...] = ()) -> LayerStack:
        return load_settings(self.path, overrides, enable, (), system_config=self.system, environ=env or {})

    def settings(self, *overrides: str, env: dict[str, str] | None = None) -> Settings:
        return self.load(*overrides, env=env).settings()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_an_empty_home_gives_safe_defaults_and_the_demo(home: Home) -> None:
    settings = home.settings()
    assert (settings.model_provider, settings.model) == ("demo", "demo")
    assert (settings.sandbox_mode, settings.approval_policy) == ("read-only", "on-request")
    assert settings.codex_home == home.path
    (warning,) = home.load().warnings
    assert "demo" in warning.summary
    assert "OPENAI_API_KEY" in (warning.details or "")


def test_a_key_in_the_environment_makes_openai_the_default(home: Home) -> None:
    stack = home.load(env={"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": "http://proxy/v1"})
    assert stack.settings().model_provider == "openai"
    assert stack.settings().provider.base_url == "http://proxy/v1"
    assert stack.warnings == ()


def test_a_key_in_auth_json_makes_openai_the_default_and_is_not_shown(home: Home) -> None:
    (home.path / "auth.json").write_text('{"OPENAI_API_KEY": "sk-stored"}')
    settings = home.settings()
    assert settings.model_provider == "openai"
    assert home.load().signed_in is True
    assert "sk-stored" not in repr(settings) + repr(home.load())


def test_each_layer_is_stronger_than_the_one_before(home: Home) -> None:
    home.system.write_text('model = "system"\nservice_tier = "system"\nmodel_verbosity = "low"\n')
    home.config('model = "user"\nservice_tier = "user"\n' + PROVIDER)
    stack = home.load('model="flag"')
    settings = stack.settings()
    assert (settings.model, settings.service_tier, settings.model_verbosity) == ("flag", "user", "low")
    thread = stack.with_thread_config({"model": "thread", "sandbox_workspace_write.network_access": True})
    assert (thread.model, thread.service_tier) == ("thread", "user")
    assert thread.sandbox_workspace_write.network_access is True
    assert stack.settings().model == "flag"
    kinds = {key: layer.source["type"] for key, layer in stack.origins().items()}
    assert kinds == {
        "model": "sessionFlags",
        "service_tier": "user",
        "model_verbosity": "system",
        "model_providers.mine.name": "user",
        "model_providers.mine.base_url": "user",
    }


def test_a_thread_override_of_null_overrides_nothing(home: Home) -> None:
    home.config('model = "user"\n')
    assert home.load().with_thread_config({"model": None}).model == "user"


def test_a_broken_file_still_starts_and_is_told_with_its_position(home: Home) -> None:
    home.config('model = "x"\nmodel_provider = \n[a]\n')
    stack = home.load('service_tier="flex"')
    assert stack.settings().service_tier == "flex"
    warning = stack.warnings[0]
    assert (warning.path, warning.line, warning.column) == (str(home.path / "config.toml"), 2, 18)
    assert "threads cannot start" in warning.summary
    assert f"{home.path / 'config.toml'}:2:18" in (warning.details or "")


def test_a_thread_does_not_start_on_a_file_that_cannot_be_understood(home: Home) -> None:
    home.config("model_provider = ollama\n")
    with pytest.raises(ConfigError, match=r"config\.toml:1:18"):
        home.load().with_thread_config()


@pytest.mark.parametrize("content", [b"model = \xff\n", None])
def test_an_unreadable_file_is_told_with_its_path(home: Home, content: bytes | None) -> None:
    path = home.path / "config.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    warning = home.load().warnings[0]
    assert warning.path == str(path)
    with pytest.raises(ConfigError):
        home.load().with_thread_config()


def test_a_wrong_type_leaves_the_default_and_names_key_file_and_line(home: Home) -> None:
    home.config('service_tier = "flex"\n\nmodel_verbosity = 5\n')
    stack = home.load(env={"OPENAI_API_KEY": "k"})
    assert stack.with_thread_config().model_verbosity is None
    (warning,) = stack.warnings
    assert warning == ConfigWarning(
        "Ignoring an invalid setting: model_verbosity.",
        f"{home.path / 'config.toml'}:3: must be one of `low`, `medium`, `high`, got the number 5 "
        "(in `model_verbosity`)",
        str(home.path / "config.toml"),
        3,
        1,
    )


def test_wrong_values_of_what_nothing_reads_are_told_with_their_lines_and_what_may_stand_there(home: Home) -> None:
    home.config(
        'web_search = "zz"\n'
        "[tui]\ntheme = 5\n"
        "[[skills.config]]\nenabled = true\n[[skills.config]]\nenabled = 1\n"
        '[[hooks.Stop]]\nhooks = []\n[[hooks.Stop]]\n[[hooks.Stop.hooks]]\ntype = "cmd"\n'
    )
    stack = home.load(env={"OPENAI_API_KEY": "k"})
    stack.with_thread_config()
    file = home.path / "config.toml"
    assert [(warning.line, warning.details) for warning in stack.warnings] == [
        (1, f"{file}:1: must be one of `disabled`, `cached`, `indexed`, `live`, got `zz` (in `web_search`)"),
        (3, f"{file}:3: must be a string, got the number 5 (in `tui.theme`)"),
        (7, f"{file}:7: must be true or false, got the number 1 (in `skills.config.1.enabled`)"),
        (
            12,
            f"{file}:12: must be one of `command`, `mcp_tool`, `prompt`, `agent`, got `cmd` "
            "(in `hooks.Stop.1.hooks.0.type`)",
        ),
    ]


def test_a_way_to_credentials_that_is_not_there_yet_is_told(home: Home) -> None:
    home.config(PROVIDER + '[model_providers.mine.auth]\ncommand = "token"\n')
    (warning,) = home.load(env={"OPENAI_API_KEY": "k"}).warnings
    assert (warning.summary, warning.line) == ("turnloom cannot get credentials by `auth` yet.", 4)


def test_an_mcp_server_that_cannot_be_reached_is_told(home: Home) -> None:
    home.config('[mcp_servers.a]\ncommand = "x"\n[mcp_servers.b]\nargs = []\n')
    (warning,) = home.load(env={"OPENAI_API_KEY": "k"}).warnings
    assert (warning.summary, warning.line) == ("An MCP server cannot be used: b.", 3)
    assert "must have either `command` or `url` (in `mcp_servers.b`)" in str(warning.details)


def test_a_number_of_thousands_of_digits_is_told_as_a_mistake(home: Home) -> None:
    home.config(f"model = {'9' * 5000}\n")
    assert str(home.path / "config.toml") in str(home.load().warnings[0].details)
    home.config(f"model = 0x{'f' * 5000}\n")
    assert "must be a string, got a number of more than 64 bits" in str(home.load().warnings[0].details)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"model_verbosity": "zz"}, "must be one of `low`, `medium`, `high`, got `zz`"),
        ({"web_search": "zz"}, "must be one of `disabled`, `cached`, `indexed`, `live`, got `zz`"),
        ({"tui.theme": 5}, "must be a string, got the number 5"),
        ({"features": {"goals": 5}}, "must be true or false, got the number 5"),
    ],
)
def test_a_thread_does_not_start_with_a_wrong_override(home: Home, overrides: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        home.load().with_thread_config(overrides)


def test_unknown_overrides_of_a_thread_are_told_with_what_was_probably_meant() -> None:
    assert unknown_overrides({"modle": "x", "tui.zz": 1, "model": "x"}) == (
        "Ignoring unknown settings in `config`: `modle` (did you mean `model`?), `tui.zz`."
    )
    assert unknown_overrides({"features.goals": True}) is None
    assert unknown_overrides(None) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('sandbox_mode = "open"\n', "sandbox_mode"),
        ("approval_policy = 3\n", "approval_policy"),
        ('[sandbox_workspace_write]\nwritable_roots = ["relative/path"]\n', "sandbox_workspace_write.writable_roots"),
        ('model_provider = "mine"\n[model_providers.mine]\nname = "Mine"\n', "model_providers.mine.base_url"),
        ('model_provider = "mine"\n[model_providers.mine]\nbase_url = "ftp://x"\n', "model_providers.mine.base_url"),
        ('[model_providers.openai]\nbase_url = "http://x"\n', "model_providers.openai"),
        ('profile = "work"\n', "profile"),
        ("model = 5\n", "model"),
        ("developer_instructions = []\n", "developer_instructions"),
        ("[approval_policy.granular]\nrules = true\nsandbox_approval = true\n", "approval_policy.granular"),
    ],
)
def test_a_mistake_about_where_data_goes_or_what_may_run_stops_threads(home: Home, text: str, key: str) -> None:
    home.config(text)
    stack = home.load()
    with pytest.raises(ConfigError) as raised:
        stack.with_thread_config()
    assert f"`{key}`" in str(raised.value)
    assert str(home.path / "config.toml") in str(raised.value)
    assert any(key in (warning.details or "") for warning in stack.warnings)


def test_an_older_name_of_a_policy_means_what_it_means_now(home: Home) -> None:
    home.config('approval_policy = "on-failure"\n')
    stack = home.load()
    assert stack.with_thread_config().approval_policy == "on-request"
    assert stack.effective()["approval_policy"] == "on-request"


def test_a_setting_of_the_wrong_kind_that_nothing_reads_is_told_once(home: Home) -> None:
    home.config('tui = 5\nmcp_servers = "x"\n\n[features]\napps = "yes"\n\n[agents]\nmax_thread = 3\n')
    told = [(warning.summary, warning.line) for warning in home.load().warnings if "invalid setting" in warning.summary]
    assert told == [
        ("Ignoring an invalid setting: mcp_servers.", 2),
        ("Ignoring an invalid setting: tui.", 1),
        ("Ignoring an invalid setting: features.apps.", 5),
    ]


def test_an_unknown_provider_is_an_error_that_names_the_known_ones(home: Home) -> None:
    home.config('model_provider = "zip"\n' + PROVIDER)
    with pytest.raises(ConfigError) as raised:
        home.load().with_thread_config()
    message = str(raised.value)
    assert "Model provider `zip` not found; known providers: demo, lmstudio, mine, ollama, openai" in message
    assert "`model_provider`" in message


def test_the_old_chat_interface_is_refused_with_the_remedy(home: Home) -> None:
    home.config('model_provider = "mine"\n' + PROVIDER + 'wire_api = "chat"\n')
    with pytest.raises(ConfigError, match=r'set wire_api = "responses".*model_providers\.mine\.wire_api'):
        home.load().with_thread_config()


def test_an_unknown_key_is_told_with_the_nearest_known_one(home: Home) -> None:
    home.config('model_provider = "demo"\naproval_policy = "never"\n')
    (warning,) = home.load().warnings
    assert warning.line == 2
    assert "Did you mean `approval_policy`?" in (warning.details or "")


@pytest.mark.parametrize("override", ["sandbox_mode=open", "model_provider=zip", 'approval_policy="sometimes"'])
def test_a_mistake_on_the_command_line_is_refused_at_once(home: Home, override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        home.load(override)


def test_an_override_without_a_key_is_refused(home: Home) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        home.load("no-equals-sign")


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("a=1", {"a": 1}),
        ("a.b = true", {"a": {"b": True}}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ('a={ x = "y" }', {"a": {"x": "y"}}),
        ("a=plain words", {"a": "plain words"}),
        ("a=http://host/v1?x=1", {"a": "http://host/v1?x=1"}),
        ('a="quoted"', {"a": "quoted"}),
        ('projects."/tmp/a.b".trust_level="trusted"', {"projects": {"/tmp/a.b": {"trust_level": "trusted"}}}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
        ("a=", {"a": ""}),
    ],
)
def test_an_override_is_toml_or_else_text(text: str, table: dict[str, object]) -> None:
    assert parse_override(text) == table


def test_features_come_from_files_and_flags(home: Home) -> None:
    home.config("[features]\nold = true\nnew = false\n")
    settings = home.load(enable=("new",)).settings()
    assert dict(settings.features) == {"old": True, "new": True}
    assert settings.feature("absent") is False


def test_a_provider_has_the_documented_defaults_and_takes_every_setting(home: Home) -> None:
    home.config(
        'model_provider = "mine"\nmodel = "m"\n' + PROVIDER + 'env_key = "MY_KEY"\nrequest_max_retries = 0\n'
        'stream_idle_timeout_ms = 1000\n[model_providers.mine.http_headers]\nX-Team = "blue"\n'
        '[model_providers.mine.query_params]\nversion = "1"\n'
        '[model_providers.mine.env_http_headers]\nX-Key = "MY_KEY"\n'
    )
    provider = home.settings(env={"MY_KEY": " secret-value "}).provider
    assert (provider.name, provider.request_max_retries, provider.stream_max_retries) == ("Mine", 0, 5)
    assert provider.stream_idle_timeout_ms == 1000
    assert provider.http_headers == {"X-Team": "blue"}
    assert provider.env_http_headers == {"X-Key": "MY_KEY"}
    assert provider.query_params == {"version": "1"}
    assert provider.api_key({"MY_KEY": " secret-value "}) == "secret-value"
    assert provider.requires_openai_auth is False


def test_local_providers_need_no_entry(home: Home) -> None:
    providers = home.settings().model_providers
    assert providers["ollama"].base_url == "http://localhost:11434/v1"
    assert providers["lmstudio"].base_url == "http://localhost:1234/v1"
    assert home.settings("model_provider=ollama").model == "gpt-oss:20b"


def test_a_granular_approval_policy_is_kept_whole(home: Home) -> None:
    home.config("[approval_policy.granular]\nmcp_elicitations = true\nrules = false\nsandbox_approval = true\n")
    assert home.settings().approval_policy == {
        "granular": {
            "mcp_elicitations": True,
            "rules": False,
            "sandbox_approval": True,
            "request_permissions": False,
            "skill_approval": False,
        }
    }


def test_writable_roots_may_begin_with_the_home_folder(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    home.config('[sandbox_workspace_write]\nwritable_roots = ["~/cache", "/data/"]\n')
    assert home.settings().sandbox_workspace_write.writable_roots == ("/home/someone/cache", "/data")


def test_trust_is_read_per_folder(home: Home) -> None:
    home.config('[projects."/ws/a"]\ntrust_level = "trusted"\n[projects."/ws/b"]\ntrust_level = "untrusted"\n')
    assert dict(home.settings().projects) == {"/ws/a": "trusted", "/ws/b": "untrusted"}


def test_the_version_of_a_layer_follows_its_content(home: Home) -> None:
    empty = home.load().layers[0].version
    assert empty == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    home.system.write_text("a = 1\n")
    assert home.load().layers[0].version != empty
