"""thread/queue/*: messages that wait for their turn."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.handlers.turn import begun
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread_queue as wire


@handles(wire.THREAD_QUEUE_ADD)
async def add(ctx: RequestContext, params: wire.ThreadQueueAddParams) -> wire.ThreadQueueAddResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    message = queue.add(params.input, params.client_user_message_id, params.responsesapi_client_metadata)
    added = await stored(message)
    ctx.afterwards(queue.changed)
    if (thread := ctx.threads.find(params.thread_id)) is not None:
        ctx.afterwards(thread.agenda.go_on_soon)
    return wire.ThreadQueueAddResponse(queued_submission=added)


@handles(wire.THREAD_QUEUE_LIST)
async def list_queue(ctx: RequestContext, params: wire.ThreadQueueListParams) -> wire.ThreadQueueListResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    page, cursor = await queue.page(params.cursor, params.limit)
    return wire.ThreadQueueListResponse(data=page, next_cursor=cursor)


@handles(wire.THREAD_QUEUE_UPDATE)
async def update(ctx: RequestContext, params: wire.ThreadQueueUpdateParams) -> wire.ThreadQueueUpdateResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    change = queue.update(params.queued_submission_id, params.input, params.responsesapi_client_metadata)
    changed = await stored(change)
    ctx.afterwards(queue.changed)
    return wire.ThreadQueueUpdateResponse(queued_submission=changed)


@handles(wire.THREAD_QUEUE_DELETE)
async def delete(ctx: RequestContext, params: wire.ThreadQueueDeleteParams) -> wire.ThreadQueueDeleteResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    deleted = await stored(queue.remove(params.queued_submission_id))
    if deleted:
        ctx.afterwards(queue.changed)
    return wire.ThreadQueueDeleteResponse(deleted=deleted)


@handles(wire.THREAD_QUEUE_REORDER)
async def reorder(ctx: RequestContext, params: wire.ThreadQueueReorderParams) -> wire.ThreadQueueReorderResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    await stored(queue.reorder(params.queued_submission_ids))
    ctx.afterwards(queue.changed)
    return wire.ThreadQueueReorderResponse()


@handles(wire.THREAD_QUEUE_START)
async def start(ctx: RequestContext, params: wire.ThreadQueueStartParams) -> wire.ThreadQueueStartResponse:
    queue = await ctx.threads.course.queue(params.thread_id)
    thread = ctx.threads.find(params.thread_id)
    if thread is None:
        raise invalid_request("resume the thread before starting a queued message")
    turn = await stored(thread.agenda.start_queued(params.queued_submission_id))
    ctx.afterwards(queue.changed)
    return wire.ThreadQueueStartResponse(turn=begun(turn.id))
