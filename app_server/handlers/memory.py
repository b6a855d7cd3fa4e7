"""memory/*, thread/memory/read and rollout/compress: nothing is remembered beyond a thread yet."""

import anyio.to_thread

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.platform.memories import clear
from protocol.jsonrpc import invalid_params
from protocol.v2 import memory as wire
from protocol.wire import Empty

MOST_CONSOLIDATED_THREADS = 4096


@handles(wire.THREAD_MEMORY_READ)
async def read(ctx: RequestContext, params: wire.ThreadMemoryReadParams) -> wire.ThreadMemoryReadResponse:
    await ctx.threads.row(params.thread_id)
    return wire.ThreadMemoryReadResponse()


@handles(wire.MEMORY_STATUS)
def status(ctx: RequestContext, params: wire.MemoryStatusParams) -> wire.MemoryStatusResponse:
    if params.min_consolidated_threads not in (None, *range(1, MOST_CONSOLIDATED_THREADS + 1)):
        raise invalid_params(f"minConsolidatedThreads must be between 1 and {MOST_CONSOLIDATED_THREADS}")
    return wire.MemoryStatusResponse(v2_consolidated_threads=0, v2_ready=False)


@handles(wire.MEMORY_RESET)
async def reset(ctx: RequestContext, params: Empty) -> wire.MemoryResetResponse:
    await anyio.to_thread.run_sync(clear, ctx.platform.home)
    return wire.MemoryResetResponse()


@handles(wire.ROLLOUT_COMPRESS)
def compress(ctx: RequestContext, params: Empty) -> wire.RolloutCompressResponse:
    # Threads are rows of a database, and session files of the reference are never changed.
    return wire.RolloutCompressResponse()
