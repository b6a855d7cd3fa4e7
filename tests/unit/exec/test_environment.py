"""What a command finds in its environment."""

from app_server.config.settings import ShellEnvironmentPolicy
from app_server.exec.environment import child_environment

POLICY = ShellEnvironmentPolicy()
BASE = {"HOME": "/home/me", "PATH": "/bin", "TURNLOOM_WS_TOKEN": "secret"}


def test_overrides_are_merged_over_the_base_and_null_removes() -> None:
    assert child_environment(POLICY, {"A": "x", "PATH": "/opt", "HOME": None, "GONE": None}, base=BASE) == {
        "PATH": "/opt",
        "A": "x",
    }


def test_the_daemons_own_variables_stay_with_the_daemon() -> None:
    assert child_environment(POLICY, base=BASE) == {"HOME": "/home/me", "PATH": "/bin"}


def test_a_terminal_has_a_type_unless_somebody_chose() -> None:
    assert child_environment(POLICY, base={}, terminal=True) == {"TERM": "xterm"}
    assert child_environment(POLICY, base={"TERM": "vt100"}, terminal=True) == {"TERM": "vt100"}
    assert child_environment(POLICY, {"TERM": None}, base={}, terminal=True) == {}
