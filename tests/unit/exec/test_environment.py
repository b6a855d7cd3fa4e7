"""What a command finds in its environment."""

import pytest
from msgspec.structs import replace

from app_server.config.settings import ShellEnvironmentPolicy
from app_server.exec.environment import agent_environment, child_environment, secrets_only, user_shell_environment

POLICY = ShellEnvironmentPolicy()
BASE = {"HOME": "/home/me", "PATH": "/bin", "TURNLOOM_WS_TOKEN": "secret"}


def test_overrides_are_merged_over_the_base_and_null_removes() -> None:
    assert child_environment(POLICY, {"A": "x", "PATH": "/opt", "HOME": None, "GONE": None}, base=BASE) == {
        "PATH": "/opt",
        "A": "x",
    }


def test_the_daemons_own_variables_stay_with_the_daemon() -> None:
    assert child_environment(POLICY, base=BASE) == {"HOME": "/home/me", "PATH": "/bin"}
    trusting = ShellEnvironmentPolicy(ignore_default_excludes=True)
    assert child_environment(trusting, base=BASE) == {"HOME": "/home/me", "PATH": "/bin"}


def test_a_terminal_has_a_type_unless_somebody_chose() -> None:
    assert child_environment(POLICY, base={}, terminal=True) == {"TERM": "xterm"}
    assert child_environment(POLICY, base={"TERM": "vt100"}, terminal=True) == {"TERM": "vt100"}
    assert child_environment(POLICY, {"TERM": None}, base={}, terminal=True) == {}


SECRETS = {
    "OPENAI_API_KEY",
    "GITHUB_TOKEN",
    "my_secret",
    "PGPASSWORD",
    "MYSQL_PASSWD",
    "GPG_PASSPHRASE",
    "AWS_CREDENTIALS",
}
HARMLESS = {"SSH_AUTH_SOCK", "GIT_ASKPASS", "EDITOR", "KE", "X[TOKE]N"}


def test_names_that_look_like_secrets_are_kept_back_in_any_case_of_letters() -> None:
    base = dict.fromkeys(SECRETS | HARMLESS, "x")
    assert set(child_environment(POLICY, base=base)) == HARMLESS
    assert set(child_environment(replace(POLICY, ignore_default_excludes=True), base=base)) == SECRETS | HARMLESS


def test_the_variables_of_model_providers_are_secrets_whatever_their_names() -> None:
    policy = ShellEnvironmentPolicy(provider_keys=frozenset({"MY_PROVIDER_AUTH"}))
    base = {"MY_PROVIDER_AUTH": "x", "PATH": "/bin"}
    assert child_environment(policy, base=base) == {"PATH": "/bin"}
    assert child_environment(replace(policy, ignore_default_excludes=True), base=base) == base


def test_what_the_client_gives_is_given_whatever_its_name() -> None:
    assert child_environment(POLICY, {"GITHUB_TOKEN": "mine"}, base={"GITHUB_TOKEN": "the daemon's"}) == {
        "GITHUB_TOKEN": "mine"
    }


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (ShellEnvironmentPolicy("core"), "HOME LC_ALL PATH TMPDIR"),
        (ShellEnvironmentPolicy("none"), ""),
        (ShellEnvironmentPolicy("none", set={"A": "1", "B_TOKEN": "2"}), "A B_TOKEN"),
        (ShellEnvironmentPolicy(exclude=("lc_*", "?IAS")), "HOME MY_VAR PATH TMPDIR"),
        (ShellEnvironmentPolicy(exclude=("MY_*",), set={"MY_NEW": "1"}), "BIAS HOME LC_ALL MY_NEW PATH TMPDIR"),
        (ShellEnvironmentPolicy(include_only=("path", "M?_*", "*_TOKEN")), "MY_VAR PATH"),
        (ShellEnvironmentPolicy("core", include_only=("A*",), set={"A": "1", "B": "2"}), "A"),
        (ShellEnvironmentPolicy(include_only=("[HP]*",)), ""),
    ],
)
def test_the_policy_is_applied_in_the_order_that_users_know(policy: ShellEnvironmentPolicy, names: str) -> None:
    base = dict.fromkeys(["HOME", "PATH", "LC_ALL", "TMPDIR", "MY_VAR", "BIAS", "MY_TOKEN"], "x")
    assert " ".join(sorted(child_environment(policy, base=base))) == names


def test_a_clients_own_process_loses_the_secrets_only() -> None:
    policy = ShellEnvironmentPolicy("none", exclude=("P*",), set={"A": "1"}, provider_keys=frozenset({"MINE"}))
    base = {"PATH": "/bin", "TOKEN": "x", "MINE": "x", "TURNLOOM_X": "x"}
    assert child_environment(secrets_only(policy), base=base) == {"PATH": "/bin"}


def test_the_agents_commands_write_plainly_and_know_where_they_run() -> None:
    policy = ShellEnvironmentPolicy(set={"PAGER": "less", "CODEX_CI": "no"})
    base = {"TERM": "vt100", "LANG": "de_DE.UTF-8", "CODEX_PERMISSION_PROFILE": "stale", "CODEX_TOOL_CALL_ID": "stale"}
    assert agent_environment(policy, thread_id="thread", call_id="call", base=base) == {
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLORTERM": "",
        "LANG": "C.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PAGER": "less",
        "GIT_PAGER": "cat",
        "GH_PAGER": "cat",
        "CODEX_CI": "1",
        "CODEX_THREAD_ID": "thread",
        "CODEX_SESSION_ID": "thread",
        "CODEX_TOOL_CALL_ID": "call",
        "CODEX_VERSION": "0.169.0",
    }


def test_the_users_own_commands_keep_the_users_terminal_and_language() -> None:
    base = {"TERM": "vt100", "LANG": "de_DE.UTF-8", "GITHUB_TOKEN": "x"}
    assert user_shell_environment(POLICY, thread_id="thread", permission_profile=":workspace", base=base) == {
        "TERM": "vt100",
        "LANG": "de_DE.UTF-8",
        "CODEX_THREAD_ID": "thread",
        "CODEX_SESSION_ID": "thread",
        "CODEX_VERSION": "0.169.0",
        "CODEX_PERMISSION_PROFILE": ":workspace",
    }
