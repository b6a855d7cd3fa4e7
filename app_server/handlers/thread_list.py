"""Reading threads: single ones, lists of them, and their turns and items page by page."""

from collections.abc import Sequence

import orjson

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.outbound import encode
from app_server.store.rows import Page, ThreadQuery, TurnRow
from app_server.threads.manager import LIST_LIMIT
from protocol.methods import Encoded
from protocol.v2 import thread_list as wire

_NO_TURNS = b'"turns":[]'


_INTERACTIVE = ("cli", "vscode")


def _kinds_by_default(params: wire.ThreadListParams) -> Sequence[str] | None:
    """Threads that people talk to, unless those are asked for that a thread has started."""
    below = params.parent_thread_id is not None or params.ancestor_thread_id is not None
    return None if below else _INTERACTIVE


def with_turns(encoded: bytes, turns: Sequence[bytes]) -> bytes:
    """Put encoded turns into an encoded answer that holds a thread without turns."""
    # The quotes of these bytes cannot stand within a JSON string, so the first place found is the member itself.
    return encoded.replace(_NO_TURNS, b'"turns":[%b]' % b",".join(turns), 1) if turns else encoded


def page_json(data: Sequence[bytes], page: Page[TurnRow]) -> bytes:
    """A page of the wire around encoded rows."""
    cursors = orjson.dumps({"nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor})
    return b'{"data":[%b],%b' % (b",".join(data), cursors[1:])


@handles(wire.THREAD_READ)
async def read(
    ctx: RequestContext, params: wire.ThreadReadParams
) -> wire.ThreadReadResponse | Encoded[wire.ThreadReadResponse]:
    row = await ctx.threads.row(params.thread_id)
    turns = await ctx.threads.all_turns(row) if params.include_turns else []
    answer = wire.ThreadReadResponse(thread=ctx.threads.wire_thread(row))
    return Encoded(with_turns(encode(answer), turns))


@handles(wire.THREAD_LIST)
async def list_threads(ctx: RequestContext, params: wire.ThreadListParams) -> wire.ThreadListResponse:
    if params.project_id is not None or params.section_id is not None or params.attached_to_thread_id is not None:
        # Threads have no projects, sections or attachments here yet, so none is in the one asked for.
        return wire.ThreadListResponse(data=[])
    page = await ctx.threads.page(
        ThreadQuery(
            archived=bool(params.archived),
            cwds=[params.cwd] if isinstance(params.cwd, str) else params.cwd,
            model_providers=params.model_providers or None,
            source_kinds=params.source_kinds or _kinds_by_default(params),
            originators=params.originators,
            excluded_ids=params.excluded_thread_ids,
            search=params.search_term,
            parent_id=params.parent_thread_id,
            ancestor_id=params.ancestor_thread_id,
            sort_key=params.sort_key or "created_at",
            descending=params.sort_direction != "asc",
            limit=LIST_LIMIT if params.limit is None else min(100, max(1, params.limit)),
            cursor=params.cursor,
        )
    )
    return wire.ThreadListResponse(
        data=[ctx.threads.wire_thread(row) for row in page.rows],
        next_cursor=page.next_cursor,
        backwards_cursor=page.backwards_cursor,
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
    entries: list[bytes] = []
    for row in page.rows:
        rest = {"turnId": row.turn_id, "startedAtMs": row.started_at_ms, "completedAtMs": row.completed_at_ms}
        entries.append(b'{"item":%b,"outputDeferred":false,%b' % (row.payload, orjson.dumps(rest)[1:]))
    cursors = orjson.dumps({"nextCursor": page.next_cursor, "backwardsCursor": page.backwards_cursor})
    return Encoded(b'{"data":[%b],%b' % (b",".join(entries), cursors[1:]))
