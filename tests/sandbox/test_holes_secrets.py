"""No confined command sees the daemon's credentials, store and environment, whatever its profile says."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from app_server.auth.credentials import Credentials
from app_server.auth.storage import FileStore
from app_server.exec.launch import launch
from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, Secrets, read_only, workspace_write
from app_server.sandbox.sandbox import Confinement
from tests.sandbox.conftest import Jail

SECRET = "the daemon's own"
NAMES = ("auth.json", ".credentials.json", "turnloom/threads.sqlite3")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """$CODEX_HOME, beside the workspace."""
    folder = tmp_path / "home"
    (folder / "turnloom").mkdir(parents=True)
    (folder / "skills").mkdir()
    (folder / "worktrees" / "one").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(SECRET)
    (folder / "config.toml").write_text("shown\n")
    (folder / "skills" / "skill").write_text("shown\n")
    (folder / "AGENTS.md").symlink_to("config.toml")
    (folder / "link").symlink_to("auth.json")
    return folder


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file of a token, elsewhere."""
    file = tmp_path / "token"
    file.write_text(SECRET)
    return file


@pytest.fixture
def daemon(jail: Jail, home: Path, token: Path) -> Jail:
    """Commands of a daemon with that home and token."""
    sandbox = Confinement(Bubblewrap(home=home), Secrets(home, (token,)))
    return Jail(sandbox, jail.reaper, jail.workspace)


def profiles(home: Path, workspace: Path) -> dict[str, PermissionProfile]:
    """Profiles that open what they can."""
    return {
        "read-only": read_only(),
        "network": read_only(network=True),
        "workspace": workspace_write([str(workspace)]),
        "around the home": workspace_write([str(home.parent)]),
        "the home itself": workspace_write([str(home)]),
        "in the home": workspace_write([str(home / "worktrees" / "one")], slash_tmp=False),
        "readable home": PermissionProfile(
            "restricted", network=False, readable_roots=(str(home), str(workspace), str(home / "auth.json"))
        ),
        "everything": workspace_write(["/"]),
    }


@pytest.mark.parametrize("kind", profiles(Path("/h"), Path("/w")))
async def test_no_profile_shows_the_daemons_secrets(daemon: Jail, home: Path, token: Path, kind: str) -> None:
    restricted = profiles(home, daemon.workspace)[kind]
    files = f"{' '.join(str(home / name) for name in NAMES)} {home}/link {token} /proc/self/root{home}/auth.json"
    script = (
        f"cat {files}; cd {home}; cat auth.json ./turnloom/*; grep -r . {home}/turnloom; cat /proc/1/root{home}/link"
    )
    result = await daemon.run(f"{script}; echo tried", restricted)
    assert result.out == "tried\n"
    shown = await daemon.run(f"cd {home} && cat config.toml skills/skill AGENTS.md", restricted)
    assert shown.out == "shown\n" * 3
    assert SECRET in (await daemon.run(script, FULL_ACCESS)).out


@pytest.mark.parametrize("kind", ["read-only", "around the home", "everything"])
async def test_what_is_signed_in_to_while_a_command_runs_stays_hidden_from_it(
    daemon: Jail, home: Path, kind: str
) -> None:
    (home / "auth.json").unlink()
    argv = ["/bin/sh", "-c", f"echo up; read x; cat {home}/auth.json {home}/.credentials.json; echo tried"]
    async with await daemon.start(argv, profiles(home, daemon.workspace)[kind], stdin=True) as process:
        assert await process.read() == ("stdout", b"up\n")
        (home / "auth.json").write_text(SECRET)
        (home / "new").write_text(SECRET)
        (home / "new").replace(home / ".credentials.json")
        await process.write_stdin(b"\n")
        process.close_stdin()
        assert b"".join([data async for stream, data in process if stream == "stdout"]) == b"tried\n"


@pytest.mark.parametrize("kind", ["read-only", "around the home", "everything"])
async def test_a_sign_in_that_takes_the_place_of_another_stays_hidden_from_commands_that_run(
    daemon: Jail, home: Path, kind: str
) -> None:
    script = f"echo up; read x; cat {home}/auth.json; grep -rs renewed-secret {home}; echo tried"
    async with await daemon.start(
        ["/bin/sh", "-c", script], profiles(home, daemon.workspace)[kind], stdin=True
    ) as process:
        assert await process.read() == ("stdout", b"up\n")
        FileStore(home).save(Credentials("apikey", "renewed-secret"))
        assert "renewed-secret" in (home / "auth.json").read_text()
        await process.write_stdin(b"\n")
        process.close_stdin()
        assert b"".join([data async for stream, data in process if stream == "stdout"]) == b"tried\n"


async def test_the_home_is_not_written_by_whom_its_surroundings_are_open_to(daemon: Jail, home: Path) -> None:
    restricted = workspace_write([str(home.parent), str(home / "worktrees" / "one")])
    (home / "auth.json").unlink()
    script = f"""
        cd {home}; echo evil >auth.json; echo evil >config.toml; echo evil >hooks.json; mkdir turnloom; rm -rf skills
        cd {home.parent}; mv home elsewhere; rm -rf home; echo ok >beside; echo ok >home/worktrees/one/file
    """
    before = sorted(os.listdir(home))
    await daemon.run(script, restricted)
    assert sorted(os.listdir(home)) == before
    assert (home / "config.toml").read_text() == "shown\n"
    assert (home.parent / "beside").read_text() == (home / "worktrees" / "one" / "file").read_text() == "ok\n"


async def test_a_home_in_the_workspace_gets_no_stand_ins_for_what_it_lacks(daemon: Jail, home: Path) -> None:
    (home / "auth.json").unlink()
    async with await daemon.start(["/bin/cat"], workspace_write([str(home)]), stdin=True):
        assert not await anyio.Path(home / "auth.json").exists()


LOOK = """
import os, sys
seen = set()
for entry in os.listdir("/proc"):
    for name in ("environ", "cmdline", "task/" + entry + "/environ"):
        try:
            with open(f"/proc/{entry}/{name}", "rb") as file:
                seen.update(file.read().split(b"\\0"))
        except OSError:
            pass
print(any(bytes.fromhex(word) in seen for word in sys.argv[1:]), b"GIVEN=given" in seen)
"""


@pytest.mark.parametrize("kind", ["read-only", "workspace", "network", "everything"])
async def test_the_environment_of_the_daemon_is_nowhere_in_proc(daemon: Jail, home: Path, kind: str) -> None:
    env = {"PATH": os.environ["PATH"], "GIVEN": "given"}
    own = (await anyio.Path("/proc/self/environ").read_bytes()).split(b"\0")
    # In hexadecimal, or else they would be found on the command's own line.
    secret = [word.hex() for word in own if word and not word.startswith((b"PATH=", b"PWD="))]
    argv = [sys.executable, "-I", "-S", "-c", LOOK, *secret]
    for profile, expected in ((profiles(home, daemon.workspace)[kind], b"False True\n"), (FULL_ACCESS, b"True True\n")):
        async with await launch(
            daemon.sandbox, argv, cwd=str(daemon.workspace), env=env, profile=profile, reaper=daemon.reaper
        ) as process:
            assert b"".join([data async for _, data in process]) == expected


async def test_the_first_process_inside_holds_nothing_of_the_commands_environment(daemon: Jail) -> None:
    result = await daemon.run("tr '\\0' '\\n' </proc/1/environ | grep -v ^PATH= | grep .", read_only(), env={"A": "b"})
    assert result.out == ""
