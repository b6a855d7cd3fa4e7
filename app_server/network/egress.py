"""One command's way out: its credential, its rules, and who decides where they are silent."""

import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from app_server.network.policy import Attempt, Judgement, NetworkPolicy

HELD_SECONDS = 5.0
"""How long a refusal is held back that ends its command. Its connections, and so the wait, end with it."""


class Execution(Struct, frozen=True):
    """Which command it is: an id of its own, and where clients know it from.

    `item_id` is that of the command's item in a thread, or the process id that a client gave to `command/exec`.
    """

    id: str
    thread_id: str | None = None
    turn_id: str | None = None
    item_id: str | None = None


class Gate(Protocol):
    """Who is responsible for one command's requests. Called on the event loop."""

    async def decide(self, attempt: Attempt) -> Judgement:
        """Allow or deny (never `ask`) what the rules are silent about. May take as long as a person needs.

        It is cancelled when the program hangs up; `abandoned` follows.
        """
        ...

    def denied(self, attempt: Attempt, judgement: Judgement) -> None:
        """A request was refused by the rules; not called for what `decide` has denied."""
        ...

    def abandoned(self, attempt: Attempt, waited_ms: int) -> None:
        """The program hung up before `decide` had an answer."""
        ...

    async def before_refusal(self) -> None:
        """Return once the program may learn that it was refused. A command that ends because of that learns nothing:
        its connections end first."""
        ...


PolicySource = Callable[[], NetworkPolicy]
"""The rules as they are now; asked again for every request."""


class Egress(Protocol):
    """What `NetworkProxy.open` gives: lives until it is closed, and then leaves no connection or listener behind."""

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 where the command finds the proxy, inside its sandbox or on this machine."""
        ...

    async def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with the variables that lead programs to the proxy, and to its certificate where it looks into TLS.

        Raises NetworkUnavailable where the file with that certificate cannot be written.
        """
        ...

    def serve(self, bridge: socket.socket) -> None:
        """Take the listening socket that the sandbox makes and sends through `bridge`, which is taken over."""
        ...

    async def close(self) -> None:
        """End its connections and forget its credential. Calling it again does nothing."""
        ...
