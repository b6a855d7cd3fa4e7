"""The shells that commands run in."""

import os

import pytest

from app_server.tools.context import ToolError
from app_server.tools.shell import find_shell, shell_argv, user_shell


def test_the_users_shell_is_one_that_rules_can_read() -> None:
    assert os.path.basename(user_shell()) in ("bash", "zsh", "sh")
    assert os.access(user_shell(), os.X_OK)


@pytest.mark.parametrize(("name", "path"), [("sh", "/bin/sh"), ("/bin/sh", "/bin/sh"), ("/usr/bin/sh", "/usr/bin/sh")])
def test_a_shell_is_found_by_name_and_by_path(name: str, path: str) -> None:
    assert find_shell(name) == path


@pytest.mark.parametrize("name", ["", "sh ", "../bin/sh", "/tmp/sh", "/bin/../bin/sh", "/bin/ls", "/no/such/sh"])
def test_what_is_no_shell_of_the_system_is_none(name: str) -> None:
    assert find_shell(name) is None
    with pytest.raises(ToolError, match="must name one of the system's shells"):
        shell_argv("true", shell=name)


def test_a_script_runs_in_a_login_shell_unless_told_otherwise() -> None:
    assert shell_argv("ls; ls") == [user_shell(), "-lc", "ls; ls"]
    assert shell_argv("ls", shell="sh", login=False) == ["/bin/sh", "-c", "ls"]
