"""What configuration says about the environment and the limits of commands."""

from pathlib import Path
from typing import Any

import pytest

from app_server.config.layers import ConfigError, LayerStack, load_settings
from app_server.config.settings import CommandLimits, ShellEnvironmentPolicy


def stack(tmp_path: Path, text: str) -> LayerStack:
    (tmp_path / "config.toml").write_text(text)
    return load_settings(tmp_path, system_config=tmp_path / "none", environ={})


def test_nothing_configured_inherits_all_but_secrets_and_bounds_only_processes(tmp_path: Path) -> None:
    settings = stack(tmp_path, "").settings()
    assert settings.shell_environment_policy == ShellEnvironmentPolicy(provider_keys=frozenset({"OPENAI_API_KEY"}))
    assert settings.command_limits == CommandLimits(memory_mb=None, processes=4096, cpu_seconds=None)


def test_every_key_of_the_environment_policy_is_read(tmp_path: Path) -> None:
    settings = stack(
        tmp_path,
        """
        model_provider = "mine"
        [shell_environment_policy]
        inherit = "core"
        ignore_default_excludes = true
        exclude = ["AWS_*"]
        set = { CI = "1" }
        include_only = ["PATH", "HOME"]
        experimental_use_profile = true
        [model_providers.mine]
        base_url = "http://127.0.0.1:1/v1"
        env_key = "MINE"
        env_http_headers = { "X-Auth" = "MY_HEADER" }
        """,
    ).settings()
    assert settings.shell_environment_policy == ShellEnvironmentPolicy(
        inherit="core",
        ignore_default_excludes=True,
        exclude=("AWS_*",),
        set={"CI": "1"},
        include_only=("PATH", "HOME"),
        use_profile=True,
        provider_keys=frozenset({"OPENAI_API_KEY", "MINE", "MY_HEADER"}),
    )


def test_the_newer_form_of_the_filters_means_the_same(tmp_path: Path) -> None:
    text = '[shell_environment_policy.filters]\n"AWS_*" = "exclude"\nPATH = "include"\nHOME = "include"\n'
    policy = stack(tmp_path, text).with_thread_config().shell_environment_policy
    assert (policy.exclude, policy.include_only) == (("AWS_*",), ("PATH", "HOME"))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("memory_mb = 512\nprocesses = 10\ncpu_seconds = 60", CommandLimits(512, 10, 60)),
        ("processes = 0", CommandLimits(None, None, None)),
        ("memory_mb = 0", CommandLimits(None, 4096, None)),
    ],
)
def test_limits_are_numbers_and_zero_takes_one_away(tmp_path: Path, text: str, limits: CommandLimits) -> None:
    assert stack(tmp_path, f"[command_limits]\n{text}").settings().command_limits == limits


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[command_limits]\nmemory = 512", "command_limits.memory"),
        ("[command_limits]\nprocesses = -1", "command_limits.processes"),
        ("[command_limits]\ncpu_seconds = '1m'", "command_limits.cpu_seconds"),
        ("[shell_environment_policy]\ninherit = 'some'", "shell_environment_policy.inherit"),
        ("[shell_environment_policy]\nexclude = 'A'", "shell_environment_policy.exclude"),
        ("[shell_environment_policy]\nset = { A = 1 }", "shell_environment_policy.set"),
        ("[shell_environment_policy.filters]\nA = 'drop'", "shell_environment_policy.filters.A"),
        (
            "[shell_environment_policy]\nexclude = ['A']\n[shell_environment_policy.filters]\nA = 'include'",
            "shell_environment_policy.filters",
        ),
    ],
)
def test_what_would_leave_commands_less_confined_than_meant_starts_no_thread(
    tmp_path: Path, text: str, key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        stack(tmp_path, text).with_thread_config()
    assert f"`{key}`" in str(caught.value)


def test_a_thread_may_have_limits_of_its_own(tmp_path: Path) -> None:
    overrides: dict[str, Any] = {"command_limits.memory_mb": 64, "shell_environment_policy.inherit": "none"}
    settings = stack(tmp_path, "[command_limits]\ncpu_seconds = 5").with_thread_config(overrides)
    assert settings.command_limits == CommandLimits(64, 4096, 5)
    assert settings.shell_environment_policy.inherit == "none"
