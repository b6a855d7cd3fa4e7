"""hooks/list: which hooks are configured. None is run yet."""

from anyio import to_thread

from app_server.config.layers import LayerStack
from app_server.config.working_folder import working_folder
from app_server.extensions.hooks import list_hooks
from app_server.extensions.plugins import active_manifests
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.handlers.skills import named_folder
from protocol.jsonrpc import invalid_request
from protocol.v2 import hooks as wire


@handles(wire.HOOKS_LIST)
async def hooks(ctx: RequestContext, params: wire.HooksListParams) -> wire.HooksListResponse:
    """What holds in each folder, or in that of a thread; without either, in the one that the daemon was started in."""
    cwds = params.cwds
    if params.thread_id is not None:
        if cwds:
            raise invalid_request("specify either threadId or cwds")
        cwds = [ctx.threads.loaded(params.thread_id).settings.cwd]
    entries: list[wire.HooksListEntry] = []
    for cwd in cwds or [working_folder()]:
        stack = await ctx.configuration.in_folder(named_folder(cwd))
        entries.append(await to_thread.run_sync(_entry, stack, cwd))
    return wire.HooksListResponse(data=entries)


def _entry(stack: LayerStack, cwd: str) -> wire.HooksListEntry:
    plugins = [(plugin.id, manifest) for plugin, manifest in active_manifests(stack.settings())]
    return list_hooks(stack, plugins, cwd)
