"""Finding text in threads, and reading what was found."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.handlers.thread_list import entry_json
from protocol.methods import Encoded
from protocol.v2 import thread_search as wire


@handles(wire.THREAD_SEARCH)
async def search(ctx: RequestContext, params: wire.ThreadSearchParams) -> wire.ThreadSearchResponse:
    return await ctx.library.search.search(params)


@handles(wire.THREAD_SEARCH_OCCURRENCES)
async def search_occurrences(
    ctx: RequestContext, params: wire.ThreadSearchOccurrencesParams
) -> wire.ThreadSearchOccurrencesResponse:
    return await ctx.library.search.occurrences(params)


@handles(wire.THREAD_TIMELINE_LIST)
async def list_timeline(
    ctx: RequestContext, params: wire.ThreadTimelineListParams
) -> wire.ThreadTimelineListResponse | Encoded[wire.ThreadTimelineListResponse]:
    return Encoded(await ctx.library.search.timeline(params))


@handles(wire.THREAD_ITEMS_READ)
async def read_items(
    ctx: RequestContext, params: wire.ThreadItemsReadParams
) -> wire.ThreadItemsReadResponse | Encoded[wire.ThreadItemsReadResponse]:
    rows = await ctx.library.search.items(params.thread_id, params.turn_id, params.item_ids)
    return Encoded(b'{"data":[%b]}' % b",".join(map(entry_json, rows)))
