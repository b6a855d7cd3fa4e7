"""thread/*: the life of threads and reading them."""

from functools import partial
from typing import Any

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.handlers.thread_list import page_json, with_turns
from app_server.rpc.outbound import encode
from app_server.threads.settings import check_scope, with_changes
from app_server.threads.thread import Thread
from protocol.methods import Encoded
from protocol.v2 import review
from protocol.v2 import thread as wire


def _in_force(ctx: RequestContext, thread: Thread) -> dict[str, Any]:
    """What the answers of start, resume and fork have in common: the thread, and the settings it goes on with."""
    settings = thread.settings
    return {
        "thread": ctx.threads.wire_thread(thread.row),
        "model": settings.model,
        "model_provider": settings.model_provider,
        "cwd": settings.cwd,
        "approval_policy": settings.approval_policy,
        "approvals_reviewer": settings.approvals_reviewer,
        "sandbox": settings.sandbox,
        "active_permission_profile": settings.active_profile,
        "disabled_plugin_ids": list(settings.disabled_plugin_ids),
        "instruction_sources": list(thread.briefing.sources),
        "multi_agent_mode": settings.multi_agent_mode,
        "reasoning_effort": settings.effort,
        "runtime_workspace_roots": list(settings.workspace_roots),
        "service_tier": settings.service_tier,
    }


@handles(wire.THREAD_START)
async def start(ctx: RequestContext, params: wire.ThreadStartParams) -> wire.ThreadStartResponse:
    ctx.platform.environments.check(params.environments)
    if params.project_id is not None:
        await ctx.library.projects.check(params.project_id)
    thread = await ctx.threads.opening.start(params, ctx.connection)
    thread.follow(ctx.connection)
    ctx.afterwards(partial(ctx.threads.tell_started, thread))
    ctx.afterwards(thread.tell_warning)
    return wire.ThreadStartResponse(**_in_force(ctx, thread))


@handles(wire.THREAD_RESUME)
async def resume(
    ctx: RequestContext, params: wire.ThreadResumeParams
) -> wire.ThreadResumeResponse | Encoded[wire.ThreadResumeResponse]:
    thread = await ctx.threads.opening.resume(params, ctx.connection.scope)
    asked = params.initial_turns_page
    # Between the last of these reads and the answer nothing is awaited: the follower misses and repeats no event.
    newest, turns_cursor, items_cursor = await ctx.threads.newest_cursors(thread.id)
    page = None
    if asked is not None:
        turns, rows = await ctx.threads.turns_page(
            thread.id,
            view=asked.items_view or "summary",
            cursor=None,
            limit=asked.limit,
            descending=asked.sort_direction != "asc",
        )
        page = page_json(turns, rows)
    turns = [] if params.exclude_turns or thread.ephemeral else await ctx.threads.all_turns(thread.row)
    thread.follow(ctx.connection)
    ctx.afterwards(thread.tell_warning)
    if thread.active is None and thread.tokens is not None and newest is not None:
        ctx.afterwards(partial(thread.tell_tokens, newest, ctx.connection))
    ctx.afterwards(partial(thread.agenda.joined, ctx.connection))
    answer = wire.ThreadResumeResponse(
        **_in_force(ctx, thread),
        collaboration_mode=thread.settings.collaboration_mode,
        turns_backwards_cursor=turns_cursor,
        items_backwards_cursor=items_cursor,
    )
    encoded = with_turns(encode(answer), turns)
    if page is not None:
        encoded = encoded.replace(b'"initialTurnsPage":null', b'"initialTurnsPage":' + page, 1)
    return Encoded(encoded)


@handles(wire.THREAD_FORK)
async def fork(
    ctx: RequestContext, params: wire.ThreadForkParams
) -> wire.ThreadForkResponse | Encoded[wire.ThreadForkResponse]:
    thread = await ctx.threads.opening.fork(params, ctx.connection)
    turns = [] if params.exclude_turns else await ctx.threads.all_turns(thread.row)
    thread.follow(ctx.connection)
    ctx.afterwards(partial(ctx.threads.tell_started, thread))
    ctx.afterwards(thread.agenda.goal.tell)
    ctx.afterwards(thread.tell_warning)
    answer = wire.ThreadForkResponse(**_in_force(ctx, thread))
    return Encoded(with_turns(encode(answer), turns))


@handles(wire.THREAD_NAME_SET)
async def set_name(ctx: RequestContext, params: wire.ThreadSetNameParams) -> wire.ThreadSetNameResponse:
    ctx.afterwards(await ctx.threads.rename(params.thread_id, params.name))
    return wire.ThreadSetNameResponse()


@handles(wire.THREAD_ARCHIVE)
async def archive(ctx: RequestContext, params: wire.ThreadArchiveParams) -> wire.ThreadArchiveResponse:
    await ctx.threads.archive(params.thread_id)
    ctx.afterwards(partial(ctx.threads.tell, wire.THREAD_ARCHIVED, params.thread_id))
    return wire.ThreadArchiveResponse()


@handles(wire.THREAD_UNARCHIVE)
async def unarchive(ctx: RequestContext, params: wire.ThreadUnarchiveParams) -> wire.ThreadUnarchiveResponse:
    row = await ctx.threads.unarchive(params.thread_id)
    ctx.afterwards(partial(ctx.threads.tell, wire.THREAD_UNARCHIVED, params.thread_id))
    return wire.ThreadUnarchiveResponse(thread=ctx.threads.wire_thread(row))


@handles(wire.THREAD_DELETE)
async def delete(ctx: RequestContext, params: wire.ThreadDeleteParams) -> wire.ThreadDeleteResponse:
    await ctx.threads.delete(params.thread_id)
    ctx.afterwards(partial(ctx.threads.tell, wire.THREAD_DELETED, params.thread_id))
    return wire.ThreadDeleteResponse()


@handles(wire.THREAD_UNSUBSCRIBE)
async def unsubscribe(ctx: RequestContext, params: wire.ThreadUnsubscribeParams) -> wire.ThreadUnsubscribeResponse:
    return wire.ThreadUnsubscribeResponse(status=ctx.threads.unsubscribe(params.thread_id, ctx.connection))


@handles(wire.THREAD_SETTINGS_UPDATE)
async def update_settings(
    ctx: RequestContext, params: wire.ThreadSettingsUpdateParams
) -> wire.ThreadSettingsUpdateResponse:
    thread: Thread = ctx.threads.loaded(params.thread_id)
    ctx.platform.environments.check(params.environments)
    changed = with_changes(thread.settings, thread.config, params)
    check_scope(ctx.connection.scope, thread.settings, changed, config=thread.config)
    ctx.afterwards(await thread.apply(changed))
    # A goal that has rested in plan mode goes on outside it.
    ctx.afterwards(thread.agenda.go_on_soon)
    return wire.ThreadSettingsUpdateResponse()


@handles(review.THREAD_APPROVE_GUARDIAN_DENIED_ACTION)
async def approve_denied_action(
    ctx: RequestContext, params: review.ThreadApproveGuardianDeniedActionParams
) -> review.ThreadApproveGuardianDeniedActionResponse:
    await ctx.threads.loaded(params.thread_id).approve_denied(params.event)
    return review.ThreadApproveGuardianDeniedActionResponse()
