"""Reading threads: single ones, lists of them, and their turns and items page by page."""

from collections.abc import Sequence

import orjson

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.outbound import encode
from app_server.store.rows import ItemRow, Page, TurnRow
from app_server.threads.finding import list_query
from app_server.threads.read_states import wire_state_of
from protocol.methods import Encoded
from protocol.v2 import thread_list as wire

_NO_TURNS = b'"turns":[]'


def with_turns(encoded: bytes, turns: Sequence[bytes]) -> bytes:
    """Put encoded turns into an encoded answer that holds a thread without turns."""
    # The quotes of these bytes cannot stand within a JSON string, so the first place found is the member itself.
    return encoded.replace(_NO_TURNS, b'"turns":[%b]' % b",".join(turns), 1) if turns else encoded


def page_json(data: Sequence[bytes], page: Page[TurnRow]) -> bytes:
    """A page of the wire around encoded rows."""
    cursors = orjson.dumps({"nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor})
    return b'{"data":[%b],%b' % (b",".join(data), cursors[1:])


def entry_json(row: ItemRow) -> bytes:
    """A ThreadItemEntry of the wire around an encoded item."""
    rest = {"turnId": row.turn_id, "startedAtMs": row.started_at_ms, "completedAtMs": row.completed_at_ms}
    return b'{"item":%b,"outputDeferred":false,%b' % (row.payload, orjson.dumps(rest)[1:])


@handles(wire.THREAD_READ)
async def read(
    ctx: RequestContext, params: wire.ThreadReadParams
) -> wire.ThreadReadResponse | Encoded[wire.ThreadReadResponse]:
    row = await ctx.threads.row(params.thread_id)
    turns = await ctx.threads.all_turns(row) if params.include_turns else []
    thread = ctx.threads.wire_thread(row)
    state = wire_state_of(row) if row.has_turns and not thread.ephemeral else None
    answer = wire.ThreadReadResponse(thread=thread, read_state=state)
    return Encoded(with_turns(encode(answer), turns))


@handles(wire.THREAD_LIST)
async def list_threads(ctx: RequestContext, params: wire.ThreadListParams) -> wire.ThreadListResponse:
    query = list_query(params)
    if query.project_id:
        await ctx.library.projects.check(query.project_id)
    if params.attached_to_thread_id is not None:
        # Threads are not attached to others here, so none is to this one.
        return wire.ThreadListResponse(data=[], read_states={})
    page = await ctx.threads.page(query)
    return wire.ThreadListResponse(
        data=[ctx.threads.wire_thread(row) for row in page.rows],
        next_cursor=page.next_cursor,
        backwards_cursor=page.backwards_cursor,
        read_states={row.id: wire_state_of(row) for row in page.rows},
    )


@handles(wire.THREAD_LOADED_LIST)
def loaded_list(ctx: RequestContext, params: wire.ThreadLoadedListParams) -> wire.ThreadLoadedListResponse:
    ids = [thread_id for thread_id in ctx.threads.loaded_ids() if params.cursor is None or thread_id > params.cursor]
    limit = len(ids) if params.limit is None else max(1, params.limit)
    return wire.ThreadLoadedListResponse(data=ids[:limit], next_cursor=ids[limit - 1] if len(ids) > limit else None)


@handles(wire.THREAD_TURNS_LIST)
async def turns_list(
    ctx: RequestContext, params: wire.ThreadTurnsListParams
) -> wire.ThreadTurnsListResponse | Encoded[wire.ThreadTurnsListResponse]:
    turns, page = await ctx.threads.turns_page(
        params.thread_id,
        view=params.items_view or "summary",
        cursor=params.cursor,
        limit=params.limit,
        descending=params.sort_direction != "asc",
    )
    return Encoded(page_json(turns, page))


@handles(wire.THREAD_ITEMS_LIST)
async def items_list(
    ctx: RequestContext, params: wire.ThreadItemsListParams
) -> wire.ThreadItemsListResponse | Encoded[wire.ThreadItemsListResponse]:
    page = await ctx.threads.items_page(params, descending=params.sort_direction == "desc")
    entries = map(entry_json, page.rows)
    cursors = orjson.dumps({"nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor})
    return Encoded(b'{"data":[%b],%b' % (b",".join(entries), cursors[1:]))
