"""What the threads need of the daemon around them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from app_server.approvals.network import AmendNetwork
    from app_server.config.settings import Settings
    from app_server.extensions.extensions import Extensions
    from app_server.model.directory import ModelDirectory
    from app_server.model.provider import ModelProvider
    from app_server.rpc.outbound import Frame
    from app_server.rpc.server_requests import ServerRequests
    from app_server.store.decisions import DecisionLog
    from app_server.store.goals import GoalStore
    from app_server.store.queues import QueueStore
    from app_server.store.threads import ThreadStore
    from app_server.tools.investigation import Investigation
    from app_server.tools.registry import ToolRegistry
    from app_server.tools.shell import UserShell
    from app_server.tools.terminals import Terminals


class World(Protocol):
    """The daemon, as a thread sees it."""

    @property
    def settings(self) -> "Settings": ...

    @property
    def thread_store(self) -> "ThreadStore": ...

    @property
    def goals(self) -> "GoalStore": ...

    @property
    def queues(self) -> "QueueStore": ...

    @property
    def decisions(self) -> "DecisionLog": ...

    @property
    def server_requests(self) -> "ServerRequests": ...

    @property
    def tools(self) -> "ToolRegistry": ...

    @property
    def shell(self) -> "UserShell": ...

    @property
    def investigation(self) -> "Investigation": ...

    @property
    def extensions(self) -> "Extensions": ...

    @property
    def terminals(self) -> "Terminals": ...

    @property
    def models(self) -> "ModelDirectory": ...

    def provider(self, name: str, settings: "Settings") -> "ModelProvider":
        """The provider of that name under a thread's configuration. Raises -32600 naming the known ones."""
        ...

    async def amend_rules(self, prefix: Sequence[str]) -> None:
        """Allow commands that begin with `prefix` from now on. Raises Declined where that cannot be kept."""
        ...

    @property
    def amend_network(self) -> "AmendNetwork":
        """Keeps a rule for a host, on disk and at once."""
        ...

    def spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run what outlives the request and the client that started it. An error is logged and takes nothing along."""
        ...

    def broadcast(self, frame: "Frame") -> None:
        """Send thread-level news to every initialised client."""
        ...
