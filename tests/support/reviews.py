"""A scripted model that answers the agent and the reviewer of its actions each by a script of its own."""

from collections.abc import Sequence
from typing import Any

import orjson

from tests.support.scripted_model import Body, Part, ScriptedModel, say


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
