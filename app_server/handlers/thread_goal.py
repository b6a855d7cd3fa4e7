"""thread/goal/*: what a thread works towards by itself."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.storing import stored
from protocol.v2 import thread_goal as wire


@handles(wire.THREAD_GOAL_SET)
async def set_goal(ctx: RequestContext, params: wire.ThreadGoalSetParams) -> wire.ThreadGoalSetResponse:
    goal = await ctx.threads.course.goal(params.thread_id)
    changed = goal.set(objective=params.objective, status=params.status, token_budget=params.token_budget)
    shown = await stored(changed)
    ctx.afterwards(goal.tell)
    if (thread := ctx.threads.find(params.thread_id)) is not None and goal.active:
        thread.agenda.release_goal()
        ctx.afterwards(thread.agenda.go_on_soon)
    return wire.ThreadGoalSetResponse(goal=shown)


@handles(wire.THREAD_GOAL_GET)
async def get_goal(ctx: RequestContext, params: wire.ThreadGoalGetParams) -> wire.ThreadGoalGetResponse:
    return wire.ThreadGoalGetResponse(goal=(await ctx.threads.course.goal(params.thread_id)).shown())


@handles(wire.THREAD_GOAL_CLEAR)
async def clear_goal(ctx: RequestContext, params: wire.ThreadGoalClearParams) -> wire.ThreadGoalClearResponse:
    goal = await ctx.threads.course.goal(params.thread_id)
    cleared = await stored(goal.clear())
    if cleared:
        ctx.afterwards(goal.tell_cleared)
    return wire.ThreadGoalClearResponse(cleared=cleared)
