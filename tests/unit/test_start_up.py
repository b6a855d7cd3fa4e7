"""What a daemon loads before it is asked for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app_server.services import ROOMS
from tests.support.home import make_home

RUN = """
import sys
from app_server import services
from app_server.cli import main
services.QUIET_SECONDS = 3600.0
code = main(["app-server"])
print(sorted(name for name in sys.modules if name.startswith("app_server.")), file=sys.stderr)
sys.exit(code)
"""

LOADED = """
imported = services.import_module

def told(room):
    imported(room)
    print(room, file=sys.stderr, flush=True)

services.import_module = told
code = main"""

FOR_TURNS = ("app_server.threads.thread", "app_server.threads.turn", "app_server.tools.", "app_server.approvals.")


@pytest.mark.parametrize("method", ["thread/list", "config/read", "account/read", "model/list", "fs/readFile"])
def test_a_client_that_only_looks_does_not_wait_for_what_turns_need(tmp_path: Path, method: str) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:1")
    (tmp_path / "file").write_text("text")
    params = {"path": str(tmp_path / "file")} if method == "fs/readFile" else {}
    hello = {"clientInfo": {"name": "tester", "version": "1"}}
    messages = (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "initialized"},
        {"id": 2, "method": method, "params": params},
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="".join(json.dumps(message) + "\n" for message in messages),
        capture_output=True,
        text=True,
        env={**os.environ, "CODEX_HOME": str(home)},
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers if "result" in answer] == [1, 2]
    loaded = done.stderr.splitlines()[-1]
    assert "'app_server.services'" in loaded
    assert [room for room in FOR_TURNS if f"'{room}" in loaded] == []


def test_what_turns_need_is_loaded_when_it_is_quiet(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:1")
    code = RUN.replace("code = main", LOADED).replace("services.QUIET_SECONDS", "services.IDLE_SECONDS")
    hello = {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "tester", "version": "1"}}}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "CODEX_HOME": str(home)},
    ) as daemon:
        assert daemon.stdin is not None
        assert daemon.stderr is not None
        daemon.stdin.write(json.dumps(hello) + "\n")
        daemon.stdin.flush()
        missing = set(ROOMS)
        while missing:
            line = daemon.stderr.readline()
            assert line, f"the daemon ended without {missing}"
            missing.discard(line.strip())
        daemon.stdin.close()
