"""What clients do to the course of a thread: revert, injected items and plans, held clocks, settings of a turn."""

from functools import partial

from msgspec.structs import asdict

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.direct_review import review_last_call
from app_server.threads.injection import PLAN_PROMPT, approved_plan, checked_items
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import review
from protocol.v2 import thread_control as wire
from protocol.v2.turn import TURN_SETTINGS_UPDATE, TurnSettingsUpdateParams, TurnSettingsUpdateResponse


@handles(wire.THREAD_REVERT)
async def revert(ctx: RequestContext, params: wire.ThreadRevertParams) -> wire.ThreadRevertResponse:
    row = await ctx.threads.course.revert(params.thread_id, params.before_turn_id)
    _, turns, items = await ctx.threads.newest_cursors(row.id)
    ctx.afterwards(partial(ctx.threads.tell, wire.THREAD_REVERTED, row.id))
    return wire.ThreadRevertResponse(
        thread=ctx.threads.wire_thread(row), turns_backwards_cursor=turns, items_backwards_cursor=items
    )


@handles(wire.THREAD_INJECT_ITEMS)
async def inject_items(ctx: RequestContext, params: wire.ThreadInjectItemsParams) -> wire.ThreadInjectItemsResponse:
    thread = ctx.threads.loaded(params.thread_id)
    await stored(thread.inject(checked_items(params.items)))
    return wire.ThreadInjectItemsResponse()


@handles(wire.THREAD_PREPARE_APPROVED_PLAN)
async def prepare_approved_plan(
    ctx: RequestContext, params: wire.ThreadPrepareApprovedPlanParams
) -> wire.ThreadPrepareApprovedPlanResponse:
    thread = ctx.threads.loaded(params.thread_id)
    await stored(thread.inject([await approved_plan(params.markdown, params.attachment_path)]))
    return wire.ThreadPrepareApprovedPlanResponse(prompt=PLAN_PROMPT)


@handles(review.THREAD_GUARDIAN_REVIEW)
async def guardian_review(
    ctx: RequestContext, params: review.ThreadGuardianReviewParams
) -> review.ThreadGuardianReviewResponse:
    call_id, found = await review_last_call(ctx.threads.loaded(params.thread_id))
    assessment = None if found is None else review.ThreadGuardianAssessment(**asdict(found))
    return review.ThreadGuardianReviewResponse(call_id=call_id, assessment=assessment)


@handles(wire.THREAD_INCREMENT_ELICITATION)
def increment_elicitation(
    ctx: RequestContext, params: wire.ThreadIncrementElicitationParams
) -> wire.ThreadIncrementElicitationResponse:
    pause = ctx.threads.loaded(params.thread_id).pause
    pause.hold()
    return wire.ThreadIncrementElicitationResponse(count=pause.holders, paused=pause.held)


@handles(wire.THREAD_DECREMENT_ELICITATION)
def decrement_elicitation(
    ctx: RequestContext, params: wire.ThreadDecrementElicitationParams
) -> wire.ThreadDecrementElicitationResponse:
    pause = ctx.threads.loaded(params.thread_id).pause
    if not pause.held:
        raise invalid_request("out-of-band elicitation count is already zero")
    pause.release()
    return wire.ThreadDecrementElicitationResponse(count=pause.holders, paused=pause.held)


@handles(TURN_SETTINGS_UPDATE)
def update_turn_settings(ctx: RequestContext, params: TurnSettingsUpdateParams) -> TurnSettingsUpdateResponse:
    active = ctx.threads.loaded(params.thread_id).active
    if active is None or active.ending or active.id != params.turn_id:
        return TurnSettingsUpdateResponse(status="targetUnavailable")
    active.change_settings(params)
    return TurnSettingsUpdateResponse(status="applied")
