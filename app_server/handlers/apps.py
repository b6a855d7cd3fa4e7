"""app/*: apps are connected in a ChatGPT account; without one there are none."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import app as wire


@handles(wire.APP_LIST)
def list_apps(ctx: RequestContext, params: wire.AppsListParams) -> wire.AppsListResponse:
    check_thread(ctx, params.thread_id)
    return wire.AppsListResponse(data=[])


@handles(wire.APP_READ)
def read(ctx: RequestContext, params: wire.AppsReadParams) -> wire.AppsReadResponse:
    check_thread(ctx, params.thread_id)
    return wire.AppsReadResponse(apps=[], missing_app_ids=list(dict.fromkeys(params.app_ids)))


@handles(wire.APP_INSTALLED)
def installed(ctx: RequestContext, params: wire.AppsInstalledParams) -> wire.AppsInstalledResponse:
    check_thread(ctx, params.thread_id)
    return wire.AppsInstalledResponse(apps=[])


def check_thread(ctx: RequestContext, thread_id: str | None) -> None:
    """Raise -32600 for a thread that is not loaded."""
    if thread_id is not None:
        ctx.threads.loaded(thread_id)
