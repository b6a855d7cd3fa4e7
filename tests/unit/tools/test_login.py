"""The environment of a login shell: taken once, kept while the profile stays as it is, and without its secrets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from app_server.config.settings import ShellEnvironmentPolicy
from app_server.exec.environment import child_environment
from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import read_only
from app_server.tools import login
from app_server.tools.login import LoginEnvironments, login_script
from tests.unit.tools.command_bench import NoSandbox

BASH = "/bin/bash"


class Home:
    """A home folder with a profile, and login shells in it."""

    def __init__(self, folder: Path, reaper: Reaper) -> None:
        self.folder, self.sandbox = folder, NoSandbox()
        self.policy = ShellEnvironmentPolicy(set={"HOME": str(folder)})
        self.logins = LoginEnvironments(cast("Any", self.sandbox), reaper)

    def profile(self, text: str) -> None:
        (self.folder / ".bash_profile").write_text(f"echo >> ~/reads\n{text}\n")

    @property
    def reads(self) -> int:
        """How often the profile was read."""
        return len((self.folder / "reads").read_text().splitlines())


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with Reaper() as reaper:
        yield Home(tmp_path, reaper)


async def test_what_a_profile_exports_is_there_and_what_it_prints_is_not(home: Home) -> None:
    home.profile("echo noise; echo more >&2; export GREETING='hello\nworld'; PATH=$PATH:/mine; hidden=1")
    taken = await home.logins.of(BASH, home.policy)
    assert taken is not None
    assert taken["GREETING"] == "hello\nworld"
    assert taken["PATH"].endswith(":/mine")
    assert {"hidden", "PWD", "OLDPWD", "SHLVL", "_"}.isdisjoint(taken)
    assert taken["HOME"] == str(home.folder)


async def test_a_profile_is_read_once_and_again_when_it_has_changed(home: Home) -> None:
    home.profile("export GREETING=one")
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(home.logins.of, BASH, home.policy)
    assert home.reads == 1
    home.profile("export GREETING=another")
    taken = await home.logins.of(BASH, home.policy)
    assert taken is not None
    assert taken["GREETING"] == "another"
    assert home.reads == 2
    await home.logins.of(BASH, replace(home.policy, exclude=("LANG",)))
    await home.logins.of(BASH, home.policy)
    assert home.reads == 3


async def test_a_profile_starts_with_what_commands_may_inherit_and_is_confined(home: Home) -> None:
    home.profile("")
    await home.logins.of(BASH, home.policy)
    assert home.sandbox.environments == [child_environment(home.policy)]
    assert home.sandbox.profiles == [read_only()]


@pytest.mark.parametrize("profile", ["exit 3", "exec true", "exec env -0", "printf '\\0%s\\0' mark; kill -9 $$"])
async def test_a_shell_that_does_not_get_to_its_script_reads_its_profile_itself(home: Home, profile: str) -> None:
    home.profile(profile)
    assert await home.logins.of(BASH, home.policy) is None


async def test_a_slow_profile_is_left_to_each_command(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "PROFILE_SECONDS", 0.3)
    home.profile("sleep 86400")
    assert await home.logins.of(BASH, home.policy) is None
    assert await home.logins.of(BASH, home.policy) is None
    assert home.reads == 1


async def test_who_inherits_nothing_gets_nothing_of_the_profile(home: Home) -> None:
    assert await home.logins.of(BASH, replace(home.policy, inherit="none")) is None
    assert await home.logins.of("/usr/bin/fish", home.policy) is None


def test_only_login_shells_are_replaced() -> None:
    assert login_script([BASH, "-lc", "ls"]) == "ls"
    assert login_script([BASH, "-c", "ls"]) is None
    assert login_script([BASH, "-lc", "ls", "x"]) is None
