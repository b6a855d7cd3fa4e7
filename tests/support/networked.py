"""What tests of the managed network say: rules, commands that fetch, questions about hosts, and what became of them."""

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Part, tool_call

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NO CURL HERE, THE TESTS OF COMMANDS THAT REACH FOR THE NETWORK DO NOT RUN"
)

NAMES = [f"n{number}.test" for number in range(60)]
"""Hosts that no rule knows. Answers are remembered by the daemon, so each test takes others."""

HOSTS = dict.fromkeys([*NAMES, "listed.test", "denied.test", "wild.test", "a.wild.test", "b.a.wild.test"], "127.0.0.1")

OPEN = """
[shell_environment_policy]
exclude = ["LD_*", "NSS_*"]
[sandbox_workspace_write]
network_access = true
exclude_slash_tmp = true
exclude_tmpdir_env_var = true
"""
"""Commands have a network, and do not see how the daemon finds hosts. What others do in /tmp is not their affair."""

DOMAINS = """
"listed.test" = "allow"
"*.wild.test" = "allow"
"denied.test" = "deny"
"""

SETTINGS: Mapping[str, object] = {"approval_policy": "on-request", "sandbox_mode": "workspace-write"}

QUESTION = "item/commandExecution/requestApproval"
MISSED = "domain is not on the allowlist for the current sandbox mode"
REFUSED = "rejected by user"


def rules(*lines: str) -> str:
    """The end of a config.toml with a managed network; `lines` stand in its table."""
    table = ["[features.network_proxy]", "enabled = true", "allow_local_binding = true", *lines]
    return "\n".join([OPEN, *table, "[features.network_proxy.domains]", DOMAINS])


def without_bubblewrap(folder: Path) -> str:
    """A PATH on which the first bubblewrap cannot do anything, so that commands are confined by Landlock."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def fetch(host: str, port: int, path: str = "x", *flags: str) -> str:
    """A command line that asks a host for a path."""
    return f"curl -sS {' '.join(flags)} http://{host}:{port}/{path}"


def gives_up(cmd: str, when: Path) -> str:
    """A command line that ends the program `cmd`, which waits for an answer, once a file is there."""
    return f"{cmd} & while ! [ -e {when} ]; do sleep 0.02; done; kill $!; sleep 86400"


def run(cmd: str, call_id: str = "call_n", **arguments: Any) -> Part:
    """A call of the model that runs a command line."""
    return tool_call("exec_command", {"cmd": cmd, "login": False, **arguments}, call_id)


def poll(session: str | int, call_id: str = "call_p", **arguments: Any) -> Part:
    """A call of the model that waits for what a command does next."""
    return tool_call("write_stdin", {"session_id": int(session), **arguments}, call_id)


def output(request: Message, call_id: str = "call_n") -> str:
    """What the model is told that a call came to, in a request to it."""
    return next(
        entry["output"]
        for entry in request["input"]
        if entry["type"] == "function_call_output" and entry["call_id"] == call_id
    )


def session(request: Message, call_id: str = "call_n") -> int:
    """The session of a command that runs on, as the model was told it."""
    return int(output(request, call_id).partition("session ID ")[2].split()[0])


def told(request: Message) -> list[str]:
    """The texts of developer messages in a request to the model."""
    return [part["text"] for entry in request["input"] if entry.get("role") == "developer" for part in entry["content"]]


def questions(client: RpcClient) -> list[Message]:
    """The questions about the network that a client was asked so far."""
    return [message for message in client.received if _is_question(message)]


async def asked(client: RpcClient, nth: int = 0) -> Message:
    """The nth question about the network that a client is asked, once it is."""
    counter = itertools.count()
    return await client.wait_for(lambda message: _is_question(message) and next(counter) == nth)


def _is_question(message: Message) -> bool:
    return message.get("method") == QUESTION and message["params"]["networkApprovalContext"] is not None


async def answer(client: RpcClient, question: Message, decision: Any) -> None:
    """Answer a question."""
    await client.respond(question, {"decision": decision})


def amendment(host: str, action: str = "allow") -> Message:
    """The decision to keep a rule for a host."""
    return {"applyNetworkPolicyAmendment": {"network_policy_amendment": {"host": host, "action": action}}}


def rule(host: str, action: str = "allow") -> str:
    """The line of a rules file that keeps an answer about HTTP."""
    justification = f"{action.capitalize()} http access to {host}"
    return f'network_rule(host="{host}", protocol="http", decision="{action}", justification="{justification}")'


async def done(client: RpcClient, item_id: str = "call_n") -> Message:
    """The item of a command as its `item/completed` tells it."""
    message = await client.wait_for(lambda message: _completes(message, item_id))
    return message["params"]["item"]


def _completes(message: Message, item_id: str) -> bool:
    return message.get("method") == "item/completed" and message["params"]["item"]["id"] == item_id


def positions(client: RpcClient, **wanted: Any) -> Iterator[int]:
    """Where in what a client received there are messages with these members."""
    for position, message in enumerate(client.received):
        if all(message.get(name) == value for name, value in wanted.items()):
            yield position


def position(client: RpcClient, message: Message) -> int:
    """Where in what a client received this message is."""
    return next(number for number, known in enumerate(client.received) if known is message)
