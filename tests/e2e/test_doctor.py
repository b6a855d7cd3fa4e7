"""`turnloom doctor` on healthy and on broken homes."""

import os
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio
import orjson
import pytest

from app_server.sandbox.choice import LANDLOCK_LACKS
from app_server.sandbox.sandbox import SandboxUnavailable, choose_sandbox
from tests.support.daemon import PROGRAM, running_daemon
from tests.support.home import environment, make_home

NAMES = ["version", "python", "system", "home", "config", "settings", "project", "sandbox", "confined"]


async def doctor(home: Path, *words: str, **variables: str) -> CompletedProcess[bytes]:
    """`turnloom doctor WORDS`."""
    env = environment(home, **variables)
    return await anyio.run_process([*PROGRAM, *words], env=env, cwd=home, check=False)


async def findings(home: Path, *before: str, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what was found by name."""
    done = await doctor(home, *before, "doctor", "--json", **variables)
    report = orjson.loads(done.stdout)
    assert report["ok"] == (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in report["checks"]}


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    try:
        await choose_sandbox().available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO SANDBOX HERE, ITS TESTS DO NOT RUN: {error}")
    home = make_home(tmp_path / "home", "http://127.0.0.1:9/v1")
    home.chmod(0o700)
    return home


async def test_a_healthy_home_is_told_in_aligned_lines(home: Path) -> None:
    done = await doctor(home, "doctor")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.endswith("\nAll is well.\n")
    rows = [line for line in text.splitlines() if re.match(r"(ok|note) ", line)]
    column = rows[0].index("turnloom")
    assert all(row[column - 2 : column] == "  " and row[column] != " " for row in rows)
    assert [row.split()[1] for row in rows[: len(NAMES)]] == NAMES
    assert "a real command wrote inside, and not outside, into .git/hooks or the network" in text


async def test_it_changes_nothing(home: Path) -> None:
    (home / "user").mkdir()
    before = sorted(os.listdir(home))
    await doctor(home, "doctor")
    assert sorted(os.listdir(home)) == before


async def test_a_broken_configuration_is_a_problem_with_its_place(home: Path) -> None:
    (home / "config.toml").write_text("model = 'x'\nsandbox_mode = [\n")
    status, found = await findings(home)
    assert status == 1
    assert found["config"]["status"] == "problem"
    assert "config.toml" in found["config"]["details"][0]
    (home / "config.toml").write_text("model = 5\nweb_search = 'zz'\n")
    done = await doctor(home, "doctor")
    assert "PROBLEM  config" in done.stdout.decode()
    assert "(in `model`)" in done.stdout.decode()
    assert "(in `web_search`)" in done.stdout.decode()
    assert done.stdout.endswith(b"\n1 problem found.\n")


async def test_a_setting_on_the_command_line_is_looked_at_too(home: Path) -> None:
    for words in (["-c", "model_provider='nobody'", "doctor"], ["doctor", "-c", "model_provider='nobody'"]):
        done = await doctor(home, *words)
        assert done.returncode == 1
        assert b"nobody" in done.stdout


async def test_no_key_is_told_but_whether_there_is_one(home: Path) -> None:
    secret = "sk-very-secret"
    with (home / "config.toml").open("a") as file:
        file.write('env_key = "SCRIPTED_KEY"\n')
    _, found = await findings(home)
    assert found["model"]["status"] == "note"
    assert found["model"]["text"] == "mock-model of scripted; no key: set SCRIPTED_KEY"
    done = await doctor(home, "doctor", "--json", SCRIPTED_KEY=secret)
    assert b"a key is there" in done.stdout
    assert secret.encode() not in done.stdout


async def test_what_other_users_may_change_or_read_is_noted(home: Path) -> None:
    os.chmod(home, 0o777)
    (home / "auth.json").write_text("{}")
    (home / "auth.json").chmod(0o644)
    status, found = await findings(home)
    assert (status, found["home"]["status"]) == (0, "note")
    assert [line.split(" ")[-3:] for line in found["home"]["details"]] == [
        ["chmod", "go-w", str(home)],
        ["chmod", "600", str(home / "auth.json")],
    ]


async def test_running_servers_and_the_store_are_told(home: Path) -> None:
    async with running_daemon(home, "unix://") as daemon:
        status, found = await findings(home)
        assert status == 0
        assert found["servers"]["details"] == [f"pid {daemon.pid}, listening on unix://"]
        assert found["socket"]["text"] == f"a server answers at {home}/turnloom/app-server.sock"
        assert re.fullmatch(r".*threads\.sqlite3: 0 threads, \d\.\d MB", found["store"]["text"])
    assert (await findings(home))[1]["servers"]["text"] == "none running on this home"


async def test_a_store_that_cannot_be_read_is_noted(home: Path) -> None:
    (home / "turnloom").mkdir()
    (home / "turnloom" / "threads.sqlite3").write_bytes(b"no database" * 100)
    _, found = await findings(home)
    assert found["store"]["status"] == "note"
    assert "file is not a database" in found["store"]["text"]


async def test_why_a_stronger_sandbox_is_not_used_is_told_with_the_remedy(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "bwrap").write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    (place / "bwrap").chmod(0o755)
    status, found = await findings(home, PATH=f"{place}:{os.environ['PATH']}")
    if found["sandbox"]["status"] == "problem":
        pytest.skip("NO LANDLOCK HERE, ITS TESTS DO NOT RUN")
    assert (status, found["confined"]["status"]) == (0, "ok")
    assert found["sandbox"]["text"] == "commands are confined by Landlock"
    assert "kernel.unprivileged_userns_clone=1" in found["sandbox"]["details"][0]
    assert [line.split(":")[0] for line in found["sandbox"]["details"][1:]] == ["lacks"] * len(LANDLOCK_LACKS)
