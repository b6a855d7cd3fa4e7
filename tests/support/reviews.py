"""Reviewed threads: a model that answers agent and reviewer by scripts of their own, and what became of reviews."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import orjson

from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import Body, Part, ScriptedModel, say, tool_call
from tests.support.stage import Stage, completed_items

STARTED = "item/autoApprovalReview/started"
COMPLETED = "item/autoApprovalReview/completed"

SETTINGS: dict[str, object] = {
    "approval_policy": "on-request",
    "sandbox_mode": "workspace-write",
    "approvals_reviewer": "auto_review",
}
"""The settings of a home whose threads are reviewed."""

ESCALATED = {"sandbox_permissions": "require_escalated", "justification": "May I?"}
"""The arguments of a call that wants to leave the sandbox."""

_POLICY = {"approvalPolicy": "on-request", "sandbox": "workspace-write", "approvalsReviewer": "auto_review"}


class Roles:
    """Scripts by role. Without one the agent says that it is done, and the reviewer allows."""

    def __init__(self, model: ScriptedModel) -> None:
        self.model = model
        self._agent: list[Sequence[Part]] = []
        self._reviewer: list[Sequence[Part]] = []
        model.default = self._answer

    def agent(self, *parts: Part) -> None:
        """Queue one answer of the agent."""
        self._agent.append(parts)

    def reviewer(self, *parts: Part) -> None:
        """Queue one answer of the reviewer."""
        self._reviewer.append(parts)

    @property
    def reviews(self) -> list[Body]:
        """What the reviewer was asked, oldest first."""
        return [request for request in self.model.requests if is_review(request)]

    @property
    def turns(self) -> list[Body]:
        """What the agent was asked, oldest first."""
        return [request for request in self.model.requests if not is_review(request)]

    def _answer(self, request: Body) -> Sequence[Part]:
        if is_review(request):
            return self._reviewer.pop(0) if self._reviewer else [allow()]
        return self._agent.pop(0) if self._agent else [say("done")]


def is_review(request: Body) -> bool:
    """Whether a request is the reviewer's."""
    return str(request.get("prompt_cache_key")).startswith("guardian:")


def verdict(outcome: str, risk: str | None = None, authorization: str | None = None, why: str | None = None) -> Part:
    """A verdict in the reviewer's form, of as many members as are given."""
    members: dict[str, Any] = {
        "risk_level": risk,
        "user_authorization": authorization,
        "outcome": outcome,
        "rationale": why,
    }
    return say(orjson.dumps({name: value for name, value in members.items() if value is not None}).decode())


def allow() -> Part:
    """A whole verdict that allows."""
    return verdict("allow", "low", "high", "It is what the user asked for.")


def deny(why: str = "It would delete the user's work.") -> Part:
    """A whole verdict that denies."""
    return verdict("deny", "high", "low", why)


def shown(request: Body) -> str:
    """All that a review's last request shows the reviewer, as one text."""
    messages = [entry for entry in request["input"] if entry.get("role") == "user"]
    return "".join(part["text"] for part in messages[-1]["content"])


async def reviewed(stage: Stage, client: RpcClient, **params: Any) -> str:
    """A new thread whose actions are reviewed."""
    return await stage.thread(client, **{**_POLICY, **params})


def command(cmd: str, call_id: str = "call_c", **arguments: Any) -> Part:
    """A call of the agent that runs a command line."""
    return tool_call("exec_command", {"cmd": cmd, "login": False, **arguments}, call_id)


def escalated(cmd: str = "touch ran", call_id: str = "call_c") -> Part:
    """A call of the agent that runs a command line outside the sandbox."""
    return command(cmd, call_id, **ESCALATED)


def output(request: Message, call_id: str = "call_c") -> str:
    """What the model is told that a call came to."""
    return next(
        entry["output"]
        for entry in request["input"]
        if entry["type"].endswith("_output") and entry["call_id"] == call_id
    )


def warnings(client: RpcClient) -> list[str]:
    """The sentences for the user about reviews."""
    return [told["params"]["message"] for told in client.notifications("guardianWarning")]


def reviews(client: RpcClient) -> list[str]:
    """How the reviews ended, in order."""
    return [told["params"]["review"]["status"] for told in client.notifications(COMPLETED)]


def review(client: RpcClient) -> Message:
    """What the latest review came to."""
    return client.notifications(COMPLETED)[-1]["params"]["review"]


def action(client: RpcClient) -> Message:
    """What the latest review was about."""
    return client.notifications(COMPLETED)[-1]["params"]["action"]


def statuses(client: RpcClient) -> list[str]:
    """How the commands ended."""
    return [item["status"] for item in completed_items(client) if item["type"] == "commandExecution"]


def decisions(stage: Stage, thread: str) -> list[tuple[str, str]]:
    """What the log says of a thread: decisions and who made them, oldest first."""
    with closing(sqlite3.connect(stage.home / "turnloom" / "threads.sqlite3")) as database:
        return database.execute(
            "SELECT decision, decided_by FROM decisions WHERE thread_id = ? ORDER BY number", (thread,)
        ).fetchall()


def ran(stage: Stage, name: str = "ran") -> bool:
    """Whether a command that makes this file has run."""
    return (stage.cwd / name).exists()
