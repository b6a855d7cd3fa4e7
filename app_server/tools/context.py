"""All that a tool may see: its call, the turn it runs in, and how it answers."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from app_server.exec.expiration import Expiration
from app_server.sandbox.permissions import PermissionProfile


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model made it; `arguments` is the text it sent, which need not be valid JSON."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What the model reads as the result."""

    text: str


class ToolError(Exception):
    """The call could not be done; the message goes to the model and the turn goes on."""


class ItemSink(Protocol):
    """Where a tool reports the item that its call is for clients."""

    async def started(self, item: Any) -> None: ...

    def output_delta(self, item_id: str, text: str) -> None: ...

    async def congestion(self) -> None: ...

    async def completed(self, item: Any) -> None: ...


@dataclass(slots=True)
class TurnContext:
    """The turn's settings as they were when it began, and what a tool may do to its thread."""

    thread_id: str
    turn_id: str
    cwd: str
    profile: PermissionProfile
    approval_policy: str
    items: ItemSink
    interrupted: Callable[[], bool]
    running: set[Expiration] = field(default_factory=set[Expiration])

    @contextmanager
    def expires_with_turn(self, expiration: Expiration) -> Generator[None]:
        """Let an interrupt of the turn expire the command while it runs."""
        self.running.add(expiration)
        if self.interrupted():
            expiration.cancel("interrupted")
        try:
            yield
        finally:
            self.running.discard(expiration)
