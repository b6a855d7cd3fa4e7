"""The places where commands of threads can run: this machine, and others that clients have named."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from protocol.jsonrpc import invalid_request

if TYPE_CHECKING:
    from protocol.v2.turn import TurnEnvironmentParams

LOCAL = "local"
"""The environment that is this machine."""


class Remote(Struct, frozen=True):
    """A place elsewhere, reached through an exec server."""

    id: str
    url: str

    @property
    def problem(self) -> str:
        """Why nothing can run there."""
        return (
            f"environment `{self.id}` is not connected: this server runs commands on its own machine only, and does "
            f"not dial the exec server `{self.url}`"
        )


class Environments:
    """The known environments. Others than `local` are remembered until the daemon ends, and never connected."""

    def __init__(self) -> None:
        self._remotes: dict[str, Remote] = {}

    def add(self, environment_id: str, url: str) -> None:
        """Remember an environment, or another address for it. Raises -32600."""
        if not environment_id:
            raise invalid_request("environment id cannot be empty")
        if environment_id == LOCAL:
            raise invalid_request(f"environment id `{LOCAL}` is reserved for this machine")
        if not url:
            raise invalid_request("`execServerUrl`: a remote environment requires an exec-server url")
        self._remotes[environment_id] = Remote(environment_id, url)

    def remote(self, environment_id: str) -> Remote | None:
        """The environment of that name; None for this machine. Raises -32600 for an unknown one."""
        if environment_id == LOCAL:
            return None
        try:
            return self._remotes[environment_id]
        except KeyError:
            raise invalid_request(f"unknown environment id `{environment_id}`") from None

    def check(self, chosen: "Iterable[TurnEnvironmentParams] | None") -> None:
        """Refuse (-32600) places for commands where none can run: they would run here instead."""
        for environment_id in (choice.environment_id for choice in chosen or ()):
            if environment_id != LOCAL and environment_id not in self._remotes:
                raise invalid_request(f"unknown turn environment id `{environment_id}`")
            if (remote := self.remote(environment_id)) is not None:
                raise invalid_request(remote.problem)
