"""NetworkProxy: HTTP, CONNECT and SOCKS5 for commands, on one port; asks a gate before it dials."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution, Gate, PolicySource

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name. Raises OSError."""


class NetworkProxy:
    """The proxy of one daemon. Nothing listens before the first command needs it; leaving ends every connection."""

    def __init__(
        self,
        decisions: NetworkDecisions,
        bundles: Path,
        *,
        environ: Mapping[str, str] | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`bundles` is a folder for certificates that commands read; `environ` names the upstream proxy."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def open(self, execution: Execution, policy: PolicySource, gate: Gate) -> Egress:
        """A way out for one command. Raises NetworkUnavailable where none can be made."""
        raise NotImplementedError


class NetworkUnavailable(Exception):
    """The proxy cannot run, so neither can the command. The message says why and what helps."""
