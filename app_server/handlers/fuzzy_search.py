"""fuzzyFileSearch and its sessions."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.methods import Encoded
from protocol.v2 import fuzzy_search as wire


@handles(wire.FUZZY_FILE_SEARCH)
async def find(ctx: RequestContext, params: wire.FuzzyFileSearchParams) -> Encoded[wire.FuzzyFileSearchResponse]:
    hits = await ctx.search.find(ctx.connection.id, params.roots, params.query, params.cancellation_token)
    return Encoded(b'{"files":%b}' % hits)


# Sessions end with their connection: the daemon tells the search when one has gone.


@handles(wire.FUZZY_FILE_SEARCH_SESSION_START)
def start(
    ctx: RequestContext, params: wire.FuzzyFileSearchSessionStartParams
) -> wire.FuzzyFileSearchSessionStartResponse:
    ctx.search.start(ctx.connection.id, params.session_id, params.roots)
    return wire.FuzzyFileSearchSessionStartResponse()


@handles(wire.FUZZY_FILE_SEARCH_SESSION_UPDATE)
def update(
    ctx: RequestContext, params: wire.FuzzyFileSearchSessionUpdateParams
) -> wire.FuzzyFileSearchSessionUpdateResponse:
    ctx.search.update(ctx.connection.id, params.session_id, params.query)
    return wire.FuzzyFileSearchSessionUpdateResponse()


@handles(wire.FUZZY_FILE_SEARCH_SESSION_STOP)
def stop(ctx: RequestContext, params: wire.FuzzyFileSearchSessionStopParams) -> wire.FuzzyFileSearchSessionStopResponse:
    ctx.search.stop(ctx.connection.id, params.session_id)
    return wire.FuzzyFileSearchSessionStopResponse()
