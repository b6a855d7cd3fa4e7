"""Descriptors: one object per method, the single list that registry, schema export and tests read."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    # The first answer of a daemon needs this module and not pydantic, which takes half of its time to import.
    from protocol.wire import Wire

P = TypeVar("P", bound="Wire")
R = TypeVar("R", bound="Wire")


class Order(Struct, frozen=True):
    """The queue a request waits in. Requests of one key run in arrival order; shared ones run together."""

    key: str
    shared: bool = False


OrderKey = Callable[[Any], Order | None]
"""Maps a request's params to its queue; None means that the request waits for nothing."""


def by_thread(params: Any) -> Order:
    """One after the other within a thread."""
    return Order(f"thread:{params.thread_id}")


def reads_thread(params: Any) -> Order:
    """Together with other reads of the thread, apart from what changes it."""
    return Order(f"thread:{params.thread_id}", shared=True)


def unordered(params: Any) -> None:
    """Runs at once, whatever else is running."""
    return


Access = Literal["read", "act", "shell"]
"""What a request does, for clients whose token does not allow everything: `read` only looks or subscribes, `act`
drives threads under the policies in force, and `shell` runs commands, touches files or changes the configuration, or
whatever else is worth as much."""

AccessOf = Callable[[Any], Access]
"""Tells from a request's params what it does."""


Availability = Literal["works", "account", "later"]
"""How far a request is built: `works` needs only this machine, `account` answers as to somebody who is not signed in to
OpenAI, and `later` answers with an error that says that it is not there yet."""


class Encoded(Struct, Generic[R], frozen=True):
    """The JSON text of an `R`, spliced from stored parts where building the model would cost more."""

    json: bytes


class ClientRequest(Struct, Generic[P, R], frozen=True):
    """A request that a client makes. `experimental` is the reason a client without the capability reads.

    `access` is the most guarded kind until somebody has thought about the method.
    """

    method: str
    params: type[P]
    response: type[R]
    order: OrderKey = unordered
    experimental: str | None = None
    access: Access | AccessOf = "shell"
    availability: Availability = "works"

    def __post_init__(self) -> None:
        _register(self)

    def access_of(self, params: P) -> Access:
        """What this request does with these params."""
        return self.access(params) if callable(self.access) else self.access


class ClientNotification(Struct, Generic[P], frozen=True):
    """A notification that a client sends."""

    method: str
    params: type[P]

    def __post_init__(self) -> None:
        _register(self)


class ServerRequest(Struct, Generic[P, R], frozen=True):
    """A request that the server makes of clients."""

    method: str
    params: type[P]
    response: type[R]
    experimental: str | None = None

    def __post_init__(self) -> None:
        _register(self)


class ServerNotification(Struct, Generic[P], frozen=True):
    """A notification that the server sends. `delta_of` names the text field that may be merged for slow clients."""

    method: str
    params: type[P]
    delta_of: str | None = None

    def __post_init__(self) -> None:
        _register(self)


Descriptor = ClientRequest[Any, Any] | ClientNotification[Any] | ServerRequest[Any, Any] | ServerNotification[Any]

_registered: dict[tuple[type, str], Descriptor] = {}


def _register(descriptor: Descriptor) -> None:
    key = (type(descriptor), descriptor.method)
    if key in _registered:
        raise ValueError(f"{descriptor.method} is described twice")
    _registered[key] = descriptor


D = TypeVar("D", ClientRequest[Any, Any], ClientNotification[Any], ServerRequest[Any, Any], ServerNotification[Any])


def registered(kind: type[D]) -> Iterator[D]:
    """Every descriptor of `kind` in the modules imported so far, in order of definition."""
    for descriptor in _registered.values():
        if isinstance(descriptor, kind):
            yield descriptor
