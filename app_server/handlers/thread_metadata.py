"""What users keep about single threads: metadata, memory mode and read states."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import thread_metadata as wire


@handles(wire.THREAD_METADATA_UPDATE)
async def update(ctx: RequestContext, params: wire.ThreadMetadataUpdateParams) -> wire.ThreadMetadataUpdateResponse:
    row, tell = await ctx.library.metadata.update(params)
    tell()
    return wire.ThreadMetadataUpdateResponse(thread=ctx.threads.wire_thread(row))


@handles(wire.THREAD_MEMORY_MODE_SET)
async def set_memory_mode(
    ctx: RequestContext, params: wire.ThreadMemoryModeSetParams
) -> wire.ThreadMemoryModeSetResponse:
    await ctx.library.metadata.set_memory_mode(params.thread_id, params.mode)
    return wire.ThreadMemoryModeSetResponse()


@handles(wire.THREAD_READ_STATE_UPDATE)
async def update_read_state(
    ctx: RequestContext, params: wire.ThreadReadStateUpdateParams
) -> wire.ThreadReadStateUpdateResponse:
    state = await ctx.library.metadata.change_read_state(
        params.thread_id, params.expected_revision, unread=params.operation.type == "unread"
    )
    return wire.ThreadReadStateUpdateResponse(read_state=state)
