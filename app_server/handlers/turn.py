"""turn/*: starting, steering and interrupting turns, and the requests that stand for a turn."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.messages import TurnOptions
from app_server.threads.settings import check_scope, with_changes
from app_server.threads.thread import Thread
from app_server.threads.turn import Turn as RunningTurn
from protocol.jsonrpc import invalid_request
from protocol.v2 import review, thread
from protocol.v2 import turn as wire
from protocol.v2.thread_data import Turn


def begun(turn_id: str) -> Turn:
    """A turn as its starter is told of it."""
    return Turn(id=turn_id, root_turn_id=turn_id, items=[], items_view="notLoaded", status="inProgress")


@handles(wire.TURN_START)
async def start(ctx: RequestContext, params: wire.TurnStartParams) -> wire.TurnStartResponse:
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    _check_message(params)
    ctx.platform.environments.check(params.environments)
    async with loaded.agenda.beginning:
        if not await loaded.settled():
            return wire.TurnStartResponse(turn=begun((await _join(loaded, params)).id))
        changed = with_changes(loaded.settings, loaded.config, params)
        check_scope(ctx.connection.scope, loaded.settings, changed, config=loaded.config)
        (await loaded.apply(changed))()
        options = TurnOptions(
            params.client_user_message_id,
            params.output_schema,
            service_tier=params.service_tier_for_turn,
            tool_output=params.tool_output,
            metadata=params.responsesapi_client_metadata,
            additional_context=params.additional_context or {},
        )
        turn = await loaded.start_turn(params.input, options)
    return wire.TurnStartResponse(turn=begun(turn.id))


def _check_message(params: wire.TurnStartParams) -> None:
    """Raise -32600 unless there is either a message or a tool's output."""
    if params.tool_output is None:
        if not params.input:
            raise invalid_request("`input` must not be empty")
    elif params.input:
        raise invalid_request("`toolOutput` cannot be combined with nonempty `input`")
    elif not params.tool_output.name.strip():
        raise invalid_request("`toolOutput.name` must not be empty")


async def _join(loaded: Thread, params: wire.TurnStartParams) -> RunningTurn:
    """Give the running turn what was to begin one."""
    if params.tool_output is not None:
        return loaded.steer_with_output(params.tool_output)
    return await loaded.steer(params.input, params.client_user_message_id, params.additional_context)


@handles(wire.TURN_STEER)
async def steer(ctx: RequestContext, params: wire.TurnSteerParams) -> wire.TurnSteerResponse:
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    if not params.input:
        raise invalid_request("`input` must not be empty")
    if loaded.active is None or loaded.active.ending:
        raise invalid_request("no active turn to steer")
    if params.expected_turn_id != loaded.active.id:
        raise invalid_request(f"expected active turn id `{params.expected_turn_id}` but found `{loaded.active.id}`")
    turn = await loaded.steer(params.input, params.client_user_message_id, params.additional_context)
    return wire.TurnSteerResponse(turn_id=turn.id)


@handles(wire.TURN_INTERRUPT)
async def interrupt(ctx: RequestContext, params: wire.TurnInterruptParams) -> wire.TurnInterruptResponse:
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    if loaded.active is None:
        raise invalid_request("no active turn to interrupt")
    if params.turn_id != loaded.active.id:
        raise invalid_request(f"expected active turn id {params.turn_id} but found {loaded.active.id}")
    ctx.afterwards(loaded.active.interrupt)
    return wire.TurnInterruptResponse()


@handles(thread.THREAD_SHELL_COMMAND)
async def shell_command(
    ctx: RequestContext, params: thread.ThreadShellCommandParams
) -> thread.ThreadShellCommandResponse:
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    if not params.command.strip():
        raise invalid_request("command must not be empty")
    await loaded.run_shell_command(params.command, params.timeout_ms)
    return thread.ThreadShellCommandResponse()


@handles(thread.THREAD_COMPACT_START)
async def compact(ctx: RequestContext, params: thread.ThreadCompactStartParams) -> thread.ThreadCompactStartResponse:
    # An error answer ends the terminal UI, so what is missing is said inside a turn.
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    await loaded.start_refused_turn("compaction is not available in this version of turnloom")
    return thread.ThreadCompactStartResponse()


@handles(review.REVIEW_START)
async def start_review(ctx: RequestContext, params: review.ReviewStartParams) -> review.ReviewStartResponse:
    # As for compaction: the terminal UI needs an answer that is no error.
    loaded: Thread = ctx.threads.loaded(params.thread_id)
    turn = await loaded.start_refused_turn("reviews are not available in this version of turnloom")
    return review.ReviewStartResponse(turn=begun(turn.id), review_thread_id=loaded.id)
