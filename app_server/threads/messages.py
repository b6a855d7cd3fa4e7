"""What a client says to the model: a user's words, or the output of a tool of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from app_server.rpc.outbound import encode, now_ms
from app_server.store.ids import uuid7
from protocol.v2.item import FunctionCallOutputThreadItem, UserMessageThreadItem
from protocol.v2.turn import TurnToolOutput
from protocol.v2.user_input import UserInput


class Message(Protocol):
    """Something that begins a turn or joins one."""

    def item(self) -> Any:
        """As clients see it; a new item each time."""
        ...

    def entry(self) -> bytes:
        """As the model reads it."""
        ...


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a user sent: as clients see it, and as the model reads it."""

    inputs: Sequence[UserInput]
    content: Sequence[dict[str, Any]]
    client_id: str | None = None

    def item(self) -> UserMessageThreadItem:
        """The item that shows it."""
        at = now_ms()
        return UserMessageThreadItem(
            id=uuid7(), client_id=self.client_id, content=list(self.inputs), started_at_ms=at, completed_at_ms=at
        )

    def entry(self) -> bytes:
        """A message of the user."""
        return orjson.dumps({"type": "message", "role": "user", "content": list(self.content)})


@dataclass(frozen=True, slots=True)
class ExternalOutput:
    """What another program tells the model. It weighs as much as a tool's output: less than a user's word."""

    output: TurnToolOutput
    id: str = field(default_factory=lambda: f"fco_{uuid7()}")

    def item(self) -> FunctionCallOutputThreadItem:
        """The item that shows it."""
        at, output = now_ms(), self.output
        return FunctionCallOutputThreadItem(
            id=self.id,
            name=output.name,
            namespace=output.namespace,
            output=output.output,
            started_at_ms=at,
            completed_at_ms=at,
        )

    def entry(self) -> bytes:
        """The output of a tool that nobody has called."""
        said = orjson.loads(encode(self.output))
        kept = {name: said[name] for name in ("name", "namespace", "output") if said[name] is not None}
        return orjson.dumps({"type": "function_call_output", **kept})
