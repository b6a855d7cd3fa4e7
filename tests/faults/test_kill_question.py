"""A question that is open when the daemon is killed: nobody's silence becomes a yes."""

import signal
import sqlite3
from pathlib import Path

from tests.support.daemon import running_daemon
from tests.support.home import make_home
from tests.support.scripted_model import ScriptedModel, say, tool_call
from tests.support.stage import begin, run_turn

WS = "ws://127.0.0.1:0"


async def test_a_restart_answers_no_open_question(tmp_path: Path) -> None:
    note = tmp_path / "note"
    wanted = {"cmd": f"touch {note}", "sandbox_permissions": "require_escalated", "justification": "May I?"}
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url, settings={"approval_policy": "on-request"})
        model.script(tool_call("exec_command", wanted, "the-call"))
        async with running_daemon(home, WS) as daemon, daemon.client() as client:
            await client.initialize("tester")
            thread = (await client.call("thread/start", {"cwd": str(tmp_path)}))["thread"]["id"]
            await begin(client, thread)
            asked = await client.until("item/commandExecution/requestApproval")
            daemon.signal(signal.SIGKILL)
            await client.closed.wait()
        async with running_daemon(home, WS) as daemon, daemon.client() as client:
            await client.initialize("tester")
            resumed = await client.call("thread/resume", {"threadId": thread})
            (turn,) = resumed["thread"]["turns"]
            assert turn["status"] == "interrupted"
            # Nobody asks about it any more, and an answer to the old question reaches nothing.
            await client.respond(asked, {"decision": "accept"})
            model.script(say("done"))
            await run_turn(client, thread)
            assert client.notifications("item/commandExecution/requestApproval") == []
            outputs = [e["output"] for e in model.requests[-1]["input"] if e["type"] == "function_call_output"]
            assert outputs == ["aborted"]
    assert not note.exists()
    with sqlite3.connect(home / "turnloom" / "threads.sqlite3") as connection:
        lines = connection.execute("SELECT kind, decision, decided_by FROM decisions").fetchall()
    connection.close()
    assert lines == [("command", "lost", "the daemon ended")]
