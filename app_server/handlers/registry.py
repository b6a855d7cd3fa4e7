"""Which function answers which request."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from app_server.handlers.context import RequestContext
from app_server.rpc.dispatch import Endpoint
from app_server.version import TURNLOOM_VERSION
from protocol.jsonrpc import invalid_request
from protocol.methods import ClientRequest, Encoded, registered
from protocol.wire import Wire

P = TypeVar("P", bound=Wire)
R = TypeVar("R", bound=Wire)

MODULES: Mapping[str, tuple[str, ...]] = {
    "account": ("account/", "accountSession/"),
    "apps": ("app/",),
    "clouds": ("account/bedrock/", "account/gcp/", "account/gatewayOAuth/"),
    "command_exec": ("command/exec",),
    "config": ("config/", "configRequirements/"),
    "diagnostics": ("server/diagnostics", "mock/"),
    "environment": ("environment/",),
    "experimental_feature": ("experimentalFeature/",),
    "external_agents": ("externalAgentConfig/",),
    "feedback": ("feedback/",),
    "fs": ("fs/",),
    "fuzzy_search": ("fuzzyFileSearch",),
    "hooks": ("hooks/",),
    "mcp_servers": ("mcpServer", "config/mcpServer/"),
    "memory": ("memory/", "thread/memory/", "rollout/"),
    "model": ("model/", "modelProvider/", "collaborationMode/"),
    "network": ("turnloom/network/",),
    "permission_profiles": ("permissionProfile/",),
    "plugins": ("plugin/", "marketplace/"),
    "process": ("process/",),
    "realtime": ("thread/realtime/",),
    "remote_control": ("remoteControl/",),
    "project": ("project/",),
    "skills": ("skills/",),
    "sampling": ("thread/sample",),
    "terminals": ("thread/backgroundTerminals/",),
    "thread": ("thread/",),
    "thread_attachment": ("thread/attachment/", "thread/attachmentOwner/"),
    "thread_control": (
        "thread/revert",
        "thread/inject_items",
        "thread/prepareApprovedPlan",
        "thread/guardianReview",
        "thread/increment_elicitation",
        "thread/decrement_elicitation",
        "turn/settings/",
    ),
    "thread_goal": ("thread/goal/",),
    "thread_list": (
        "thread/read",
        "thread/list",
        "thread/loaded/list",
        "thread/turns/list",
        "thread/items/list",
    ),
    "thread_metadata": ("thread/metadata/", "thread/memoryMode/", "thread/readState/"),
    "thread_queue": ("thread/queue/",),
    "thread_search": ("thread/search", "thread/timeline/", "thread/items/read"),
    "thread_section": ("thread/section/", "threadSection/"),
    "turn": ("turn/", "review/start", "thread/shellCommand", "thread/compact/start"),
    "user_verification": ("userVerification/",),
    "windows": ("windowsSandbox/",),
}
"""The modules of this package that hold handlers, each with how the methods that it handles begin. The longest
beginning counts. A module is imported with the first request that it handles: a daemon that just started would let its
first clients wait for what they may never ask."""

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


def find_handler(method: str) -> Endpoint[RequestContext] | None:
    """What answers `method`, or None for a method that does not exist."""
    if method not in HANDLERS and (module := module_of(method)) is not None:
        import_module(module)
    return HANDLERS.get(method) or load_handlers().get(method)


def module_of(method: str) -> str | None:
    """The name of the module that handles methods which begin as `method` does."""
    known = ((start, module) for module, starts in MODULES.items() for start in starts if method.startswith(start))
    longest = max(known, default=None, key=lambda found: len(found[0]))
    return None if longest is None else f"app_server.handlers.{longest[1]}"


@cache
def load_handlers() -> Mapping[str, Endpoint[RequestContext]]:
    """Import every handler module and return the full table. Requests that are still to be built answer so."""
    from protocol.export import import_all

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
