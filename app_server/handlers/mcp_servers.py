"""mcpServerStatus/list and config/mcpServer/reload: MCP servers as they are configured. None is started yet."""

from anyio import to_thread

from app_server.extensions.mcp_servers import configured_servers
from app_server.handlers.context import RequestContext
from app_server.handlers.paging import counted_page
from app_server.handlers.registry import handles
from protocol.v2 import mcp_server as wire
from protocol.wire import Empty


@handles(wire.MCP_SERVER_STATUS_LIST)
async def list_statuses(
    ctx: RequestContext, params: wire.ListMcpServerStatusParams
) -> wire.ListMcpServerStatusResponse:
    """The servers of a thread, or those that are configured outside of any project."""
    in_thread = params.thread_id is not None
    settings = ctx.threads.loaded(params.thread_id).config if params.thread_id is not None else ctx.settings
    servers = await to_thread.run_sync(configured_servers, settings)
    if params.server_name is not None:
        servers = [server for server in servers if server.name == params.server_name]
    page, cursor = counted_page(servers, params.cursor, params.limit, "MCP servers")
    return wire.ListMcpServerStatusResponse(
        data=[server.status(in_thread=in_thread) for server in page], next_cursor=cursor
    )


@handles(wire.CONFIG_MCP_SERVER_RELOAD)
def reload(ctx: RequestContext, params: Empty) -> wire.McpServerRefreshResponse:
    # Each list reads the configuration that is in force; there is no running server to restart.
    return wire.McpServerRefreshResponse()


@handles(wire.MCP_SERVER_EVENT_STREAM_STOP)
def stop_events(
    ctx: RequestContext, params: wire.McpServerEventStreamStopParams
) -> wire.McpServerEventStreamStopResponse:
    # No stream can be open.
    return wire.McpServerEventStreamStopResponse()
