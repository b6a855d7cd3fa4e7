"""What the reviewing model is told."""

from typing import Any

import orjson

from app_server.approvals import actions
from app_server.approvals.actions import Action
from app_server.approvals.guardian_prompt import ACTION_TOKENS, FIRST, NEXT, Situation, instructions, request
from app_server.approvals.transcript import Entry, tokens
from protocol.v2.permissions import AdditionalFileSystemPermissions, RequestPermissionProfile

HISTORY = [Entry(1, "user", "user", "Build it."), Entry(2, "assistant", "assistant", "I will.")]


def run(line: str = "make", **more: Any) -> Action:
    options: dict[str, Any] = {"escalated": True, "tty": False, **more}
    return actions.command(line, ["bash", "-c", line], "/ws", **options)


def text(situation: Situation) -> str:
    message = orjson.loads(request(situation))
    assert (message["type"], message["role"]) == ("message", "user")
    return "".join(part["text"] for part in message["content"])


def test_a_first_request_shows_the_thread_and_the_action() -> None:
    action = run(justification="May I?", note="`make` always asks")
    assert text(Situation("t", action, HISTORY, permissions="It may read.")) == (
        f"{FIRST}"
        ">>> TRANSCRIPT START\n"
        "[1] user: Build it.\n"
        "[2] assistant: I will.\n"
        ">>> TRANSCRIPT END\n"
        "Reviewed thread: t\n"
        ">>> AGENT PERMISSIONS START\nIt may read.\n>>> AGENT PERMISSIONS END\n"
        ">>> APPROVAL REQUEST START\n"
        "Why it is asked about: `make` always asks\n"
        "Planned action JSON:\n"
        "{\n"
        '  "command": [\n    "bash",\n    "-c",\n    "make"\n  ],\n'
        '  "cwd": "/ws",\n'
        '  "justification": "May I?",\n'
        '  "sandbox_permissions": "require_escalated",\n'
        '  "tool": "exec_command",\n'
        '  "tty": false\n'
        "}\n"
        ">>> APPROVAL REQUEST END\n"
    )


def test_a_further_request_shows_what_is_new() -> None:
    shown = text(Situation("t", run(), HISTORY, seen=1, approvals=["<approved_action>\nit"]))
    assert shown.startswith(f"{NEXT}>>> USER APPROVALS START\n<approved_action>\nit\n\n>>> USER APPROVALS END\n")
    assert ">>> TRANSCRIPT DELTA START\n[2] assistant: I will.\n>>> TRANSCRIPT DELTA END\n" in shown
    assert "(nothing new)" in text(Situation("t", run(), HISTORY, seen=2))


def test_what_is_left_out_is_counted() -> None:
    history = [Entry(number, "tool", "tool x result", "x") for number in range(1, 101)]
    assert "(60 entries are left out; their numbers are missing.)" in text(Situation("t", run(), history))


def test_a_connection_is_judged_by_its_command() -> None:
    trigger = {"command": ["curl", "example.com"], "callId": "c"}
    shown = text(Situation("t", actions.network("http://example.com:80", "example.com", 80, "http", trigger), []))
    assert "Judge that command.\nNetwork access JSON:\n" in shown
    assert '"callId": "c"' in shown
    assert "The user has typed" not in shown
    typed = {**trigger, "toolName": "user_shell"}
    shown = text(Situation("t", actions.network("http://example.com:80", "example.com", 80, "http", typed), []))
    assert "The user has typed that command; it is none of the agent's.\nNetwork access JSON:\n" in shown


def test_a_long_action_is_cut_and_stays_json() -> None:
    long = run("x" * 1_000_000)
    shown = text(Situation("t", long, []))
    planned = shown.partition("Planned action JSON:\n")[2].partition(">>> APPROVAL")[0]
    assert tokens(planned) <= ACTION_TOKENS + 1
    assert "<truncated omitted_approx_tokens=" in orjson.loads(planned)["command"][2]
    many = actions.mcp_call("s", "t", {"lines": ["y"] * 100_000})
    assert tokens(text(Situation("t", many, []))) < ACTION_TOKENS + 500


def test_an_action_is_shown_as_it_is() -> None:
    shown = text(Situation("t", run("cat a >>> APPROVAL; echo >> TRANSCRIPT.md"), []))
    assert '"cat a >>> APPROVAL; echo >> TRANSCRIPT.md"' in shown


def test_instructions_are_whole() -> None:
    for has_tools in (True, False):
        told = instructions(None, has_tools=has_tools)
        assert "{policy}" not in told
        assert "{tools}" not in told
        assert ("exec_command" in told) is has_tools
    assert "No {tools} here" in instructions("No {tools} here", has_tools=False)


def test_actions_have_the_form_in_which_they_can_be_approved() -> None:
    assert run().core() == {"type": "command", "source": "unified_exec", "command": "make", "cwd": "/ws"}
    stdin = actions.write_stdin("7", "y\n", "/ws", "call")
    assert stdin.core() == {
        "type": "write_stdin",
        "approval_id": "call",
        "process_id": "7",
        "stdin": "y\n",
        "cwd": "/ws",
    }
    assert actions.patch(["/a"], "p", "/ws").core() == {"type": "apply_patch", "cwd": "/ws", "files": ["/a"]}
    assert actions.network("socks5-tcp://a:1", "a", 1, "socks5Tcp", {}).core()["protocol"] == "socks5_tcp"
    assert actions.mcp_call("s", "toolName", {}).core()["tool_name"] == "toolName"
    wanted = RequestPermissionProfile(file_system=AdditionalFileSystemPermissions(write=["/a"]))
    assert actions.permissions(wanted, "/ws", "r").core()["permissions"]["file_system"]["write"] == ["/a"]
