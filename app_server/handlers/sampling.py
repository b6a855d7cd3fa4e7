"""thread/sample*: asking the model something aside."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.sampling import check_prompt, check_source
from protocol.v2 import sampling as wire


@handles(wire.THREAD_SAMPLE)
async def sample(ctx: RequestContext, params: wire.ThreadSampleParams) -> wire.ThreadSampleResponse:
    thread = ctx.threads.loaded(params.thread_id)
    check_prompt(params.prompt, params.expected_turn_id)
    newest, _, _ = await ctx.threads.newest_cursors(thread.id)
    check_source(thread, newest, params.expected_turn_id, while_running=params.allow_in_progress_turn)
    key = ctx.connection.id, ctx.request_id
    metadata = params.responsesapi_client_metadata
    answer = await ctx.threads.course.samples.take(
        key, thread, thread.provider(), params.prompt, params.effort, metadata
    )
    usage = answer.usage
    return wire.ThreadSampleResponse(
        response_id=answer.response_id,
        source_turn_id=params.expected_turn_id,
        text=answer.text,
        input_tokens=None if usage is None else usage.input,
        cached_input_tokens=None if usage is None else usage.cached_input,
        output_tokens=None if usage is None else usage.output,
    )


@handles(wire.THREAD_SAMPLE_CANCEL)
def cancel_sample(ctx: RequestContext, params: wire.ThreadSampleCancelParams) -> wire.ThreadSampleCancelResponse:
    ctx.threads.course.samples.cancel((ctx.connection.id, params.request_id))
    return wire.ThreadSampleCancelResponse()
