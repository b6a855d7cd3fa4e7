"""thread/attachment/*: what clients hang on threads."""

from functools import partial

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from protocol.v2 import thread_attachment as wire


@handles(wire.THREAD_ATTACHMENT_ADD)
async def add(ctx: RequestContext, params: wire.ThreadAttachmentAddParams) -> wire.ThreadAttachmentAddResponse:
    answer = await ctx.library.attachments.add(params)
    if answer.outcome == "created":
        ctx.afterwards(partial(ctx.library.attachments.tell, params.thread_id, answer.attachment, "created"))
    return answer


@handles(wire.THREAD_ATTACHMENT_LIST)
async def list_attachments(
    ctx: RequestContext, params: wire.ThreadAttachmentListParams
) -> wire.ThreadAttachmentListResponse:
    return await ctx.library.attachments.page(params.thread_id, params.cursor, params.limit)


@handles(wire.THREAD_ATTACHMENT_OWNER_LIST)
async def list_owners(
    ctx: RequestContext, params: wire.ThreadAttachmentOwnerListParams
) -> wire.ThreadAttachmentOwnerListResponse:
    return await ctx.library.attachments.owners(params)


@handles(wire.THREAD_ATTACHMENT_REMOVE)
async def remove(ctx: RequestContext, params: wire.ThreadAttachmentRemoveParams) -> wire.ThreadAttachmentRemoveResponse:
    attachments = ctx.library.attachments
    gone = await attachments.remove(params.thread_id, params.attachment_type, params.identity_key)
    if gone is not None:
        ctx.afterwards(partial(attachments.tell, params.thread_id, gone, "deleted"))
    return wire.ThreadAttachmentRemoveResponse()
