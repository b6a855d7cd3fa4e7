"""Which function answers which request."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, TypeVar

from app_server.handlers.context import RequestContext
from app_server.rpc.dispatch import Endpoint
from app_server.version import TURNLOOM_VERSION
from protocol.export import import_all
from protocol.jsonrpc import invalid_request
from protocol.methods import ClientRequest, Encoded, registered
from protocol.wire import Wire

P = TypeVar("P", bound=Wire)
R = TypeVar("R", bound=Wire)

MODULES = (
    "thread",
    "thread_list",
    "turn",
    "terminals",
    "command_exec",
    "process",
    "config",
    "account",
    "model",
    "fs",
    "skills",
    "permission_profiles",
    "network",
)
"""The modules of this package that hold handlers."""

HANDLERS: dict[str, Endpoint[RequestContext]] = {}

Answer = Awaitable[R | Encoded[R]] | R


def handles(
    descriptor: ClientRequest[P, R],
) -> Callable[[Callable[[RequestContext, P], Answer[R]]], Callable[[RequestContext, P], Answer[R]]]:
    """Make the decorated function the handler of `descriptor`."""

    def register(function: Callable[[RequestContext, P], Answer[R]]) -> Callable[[RequestContext, P], Answer[R]]:
        if descriptor.method in HANDLERS:
            raise ValueError(f"{descriptor.method} has two handlers")
        HANDLERS[descriptor.method] = Endpoint(descriptor, function)
        return function

    return register


def load_handlers() -> dict[str, Endpoint[RequestContext]]:
    """Import every handler module and return the full table. Requests that are still to be built answer so."""
    for module in MODULES:
        import_module(f"app_server.handlers.{module}")
    import_all()
    for descriptor in registered(ClientRequest):
        if descriptor.availability == "later" and descriptor.method not in HANDLERS:
            handles(descriptor)(_not_yet(descriptor.method))
    return HANDLERS


def _not_yet(method: str) -> Callable[[RequestContext, Wire], Any]:
    def answer(ctx: RequestContext, params: Wire) -> Any:
        raise invalid_request(f"{method} is not supported yet by turnloom {TURNLOOM_VERSION}")

    return answer
