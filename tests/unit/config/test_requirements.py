"""What an organisation demands: imposed on what is configured, and told."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.config.layer import ConfigError
from app_server.config.layers import LayerStack, load_settings
from app_server.handlers.config import config_response, requirements


class Company:
    def __init__(self, root: Path) -> None:
        self.home, self.etc = root / "home", root / "etc"
        self.home.mkdir()
        self.etc.mkdir()

    def load(self, demands: str, config: str = "", managed: str | None = None, *overrides: str) -> LayerStack:
        (self.etc / "requirements.toml").write_text(demands)
        (self.home / "config.toml").write_text(config)
        if managed is not None:
            (self.etc / "managed_config.toml").write_text(managed)
        return load_settings(self.home, overrides, system_config=self.etc / "config.toml", environ={})


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def told(stack: LayerStack) -> list[str]:
    return [warning.summary for warning in stack.warnings if "No model is configured" not in warning.summary]


def test_a_choice_that_is_not_allowed_falls_back_to_one_that_is(company: Company) -> None:
    stack = company.load(
        'allowed_approval_policies = ["never"]\nallowed_sandbox_modes = ["read-only", "workspace-write"]\n',
        'approval_policy = "on-request"\nsandbox_mode = "danger-full-access"\n',
    )
    settings = stack.with_thread_config()
    assert (settings.approval_policy, settings.sandbox_mode) == ("never", "read-only")
    disallowed = "Configured value for `{}` is disallowed by requirements; falling back to required value `{}`."
    expected = [disallowed.format("approval_policy", "never"), disallowed.format("sandbox_mode", "read-only")]
    assert sorted(told(stack)) == expected
    details = stack.warnings[0].details or ""
    assert "`danger-full-access` is not in the allowed set [read-only, workspace-write]" in details


def test_what_nobody_has_chosen_is_within_the_demands_without_a_word(company: Company) -> None:
    stack = company.load(
        'allowed_approval_policies = ["never"]\nallowed_permission_profiles = { ":workspace" = true }\n'
        'allowed_approvals_reviewers = ["auto_review"]\nallowed_web_search_modes = ["cached"]\n'
        'allowed_login_methods = ["api"]\n'
    )
    settings = stack.with_thread_config()
    assert (settings.approval_policy, settings.default_permissions) == ("never", ":workspace")
    assert settings.approvals_reviewer == "auto_review"
    assert settings.account.forced_method == "api"
    assert told(stack) == []


def test_profiles_that_are_not_allowed_cannot_be_used(company: Company) -> None:
    config = '[permissions.mine]\nextends = ":workspace"\n[permissions.look]\nextends = ":read-only"\n'
    profiles = company.load('allowed_sandbox_modes = ["read-only"]\n', config).settings().permission_profiles
    usable = [name for name, profile in profiles.items() if profile.problem is None]
    assert usable == [":read-only", "look"]
    named = '[allowed_permission_profiles]\n":read-only" = true\nmine = true\n":workspace" = false\n'
    profiles = company.load(named, config).settings().permission_profiles
    assert [name for name, profile in profiles.items() if profile.problem is None] == [":read-only", "mine"]


def test_a_default_profile_may_be_demanded(company: Company) -> None:
    demands = 'default_permissions = ":workspace"\nallowed_sandbox_modes = ["read-only", "workspace-write"]\n'
    assert company.load(demands).settings().default_permissions == ":workspace"
    stack = company.load(demands, 'default_permissions = ":danger-full-access"\n')
    assert stack.settings().default_permissions == ":workspace"
    assert told(stack) == [
        "Configured value for `default_permissions` is disallowed by requirements; "
        "falling back to required value :workspace."
    ]


def test_a_value_that_is_demanded_goes_before_every_layer(company: Company) -> None:
    stack = company.load(
        'model_provider = "corp"\nallow_login_shell = false\n[features]\ngoals = true\n'
        '[model_providers.corp]\nname = "Corp"\nbase_url = "https://corp"\n',
        'model_provider = "ollama"\n[features]\ngoals = false\n',
    )
    settings = stack.with_thread_config()
    assert settings.model_provider == "corp"
    assert settings.provider.base_url == "https://corp"
    assert (settings.allow_login_shell, settings.feature("goals")) == (False, True)
    file = company.etc / "requirements.toml"
    assert sorted(told(stack)) == [
        f"Configured value for `features.goals` is overridden by the required value true from {file}.",
        f'Configured value for `model_provider` is overridden by the required value "corp" from {file}.',
    ]
    answer = orjson.loads(config_response(stack, include_layers=False).model_dump_json())
    assert answer["config"]["model_provider"] == "corp"
    assert "model_provider" not in answer["origins"]


def test_what_a_client_gives_for_a_thread_is_refused_where_it_is_not_allowed(company: Company) -> None:
    stack = company.load('allowed_sandbox_modes = ["read-only"]\n', 'sandbox_mode = "workspace-write"\n')
    assert stack.with_thread_config({"model": "m"}).sandbox_mode == "read-only"
    with pytest.raises(ConfigError, match="`danger-full-access` is not in the allowed set"):
        stack.with_thread_config({"sandbox_mode": "danger-full-access"})


def test_the_older_managed_file_goes_before_the_command_line(company: Company) -> None:
    stack = company.load("", 'model = "user"\n', 'model = "managed"\n', 'model="flag"')
    assert stack.with_thread_config({"model": "client"}).model == "managed"
    assert stack.origins()["model"].source == {
        "type": "legacyManagedConfigTomlFromFile",
        "file": str(company.etc / "managed_config.toml"),
    }


@pytest.mark.parametrize(
    ("demands", "place"),
    [
        ('allowed_approval_policies = ["sometimes"]\n', "requirements.toml:1"),
        ('\nallow_login_shell = "no"\n', "requirements.toml:2"),
        ("allowed_sandbox_modes = \n", "requirements.toml:1"),
    ],
)
def test_where_demands_cannot_be_understood_no_thread_starts(company: Company, demands: str, place: str) -> None:
    stack = company.load(demands)
    assert place in (stack.warnings[0].details or "")
    with pytest.raises(ConfigError, match=place):
        stack.with_thread_config()


def test_demands_that_are_unknown_or_not_acted_on_are_told(company: Company) -> None:
    stack = company.load('alowed_sandbox_modes = ["read-only"]\nenforce_residency = "us"\n')
    details = [warning.details or "" for warning in stack.warnings]
    assert any("Did you mean `allowed_sandbox_modes`?" in text for text in details)
    assert any("`enforce_residency` is demanded, and this version does not act on it" in text for text in details)
    assert stack.with_thread_config().sandbox_mode == "read-only"


def _read(stack: LayerStack) -> dict[str, Any] | None:
    answer = requirements(stack.demands)
    return None if answer is None else orjson.loads(answer.model_dump_json(by_alias=True))


def test_every_demand_is_told(company: Company) -> None:
    assert _read(company.load("")) is None
    read = _read(
        company.load(
            'allowed_web_search_modes = ["cached"]\nlog_dir = "/var/log/x"\nadditional_developer_instructions = "Be"\n'
            '[features]\ngoals = true\n[models.new_thread]\nmodel = "m"\n[feedback]\nenabled = false\n'
            '[[hooks.PreToolUse]]\nmatcher = "x"\n[[hooks.PreToolUse.hooks]]\ntype = "command"\ncommand = "run"\n'
            "timeout = 3\n[experimental_network]\nenabled = true\n"
        )
    )
    assert read is not None
    assert read["allowedWebSearchModes"] == ["cached", "disabled"]
    assert read["allowedLoginMethods"] == ["api", "chatgpt"]
    assert read["logDir"] == "file:///var/log/x"
    assert read["additionalDeveloperInstructions"] == "Be"
    assert read["featureRequirements"] == {"goals": True}
    assert read["models"]["newThread"]["model"] == "m"
    assert read["feedback"] == {"enabled": False}
    assert read["network"]["enabled"] is True
    (group,) = read["hooks"]["PreToolUse"]
    assert group["hooks"][0]["timeoutSec"] == 3
    assert (group["matcher"], group["hooks"][0]["async"], read["hooks"]["Stop"]) == ("x", False, [])
    assert read["allowedSandboxModes"] is None
