"""threadSection/*: the groups that users sort their threads into."""

from functools import partial

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import thread_section as wire


@handles(wire.THREAD_SECTION_LIST)
async def list_sections(ctx: RequestContext, params: wire.ThreadSectionListParams) -> wire.ThreadSectionListResponse:
    return await ctx.library.sections.page(params.cursor, params.limit)


@handles(wire.THREAD_SECTION_CREATE)
async def create(ctx: RequestContext, params: wire.ThreadSectionCreateParams) -> wire.ThreadSectionCreateResponse:
    section = await ctx.library.sections.create(params.name, params.appearance)
    return wire.ThreadSectionCreateResponse(section=section)


@handles(wire.THREAD_SECTION_UPDATE)
async def update(ctx: RequestContext, params: wire.ThreadSectionUpdateParams) -> wire.ThreadSectionUpdateResponse:
    return wire.ThreadSectionUpdateResponse(section=await ctx.library.sections.update(params))


@handles(wire.THREAD_SECTION_DELETE)
async def delete(ctx: RequestContext, params: wire.ThreadSectionDeleteParams) -> wire.ThreadSectionDeleteResponse:
    await ctx.library.sections.delete(params.section_id)
    return wire.ThreadSectionDeleteResponse()


@handles(wire.THREAD_SECTION_MOVE)
async def move(ctx: RequestContext, params: wire.ThreadSectionMoveParams) -> wire.ThreadSectionMoveResponse:
    sections = ctx.library.sections
    await sections.move(params.thread_id, params.section_id, params.before_thread_id)
    ctx.afterwards(partial(sections.tell_moved, params.thread_id, params.section_id))
    return wire.ThreadSectionMoveResponse()
