"""thread/realtime/*: speaking with a thread, which needs a realtime model and is still to be built."""

from functools import partial

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.version import TURNLOOM_VERSION
from protocol.jsonrpc import RpcError, invalid_request
from protocol.v2 import realtime as wire

UNSUPPORTED = f"realtime conversations are not supported yet by turnloom {TURNLOOM_VERSION}"

_FIRST: list[wire.RealtimeVoice] = ["juniper", "maple", "spruce", "ember", "vale", "breeze", "arbor", "sol", "cove"]

VOICES = wire.RealtimeVoicesList(
    v1=_FIRST,
    v2=["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"],
    v3=[
        *_FIRST,
        *("aube", "bubbie", "haetsal", "hanul", "himari", "leher", "miko", "neer", "porto", "rindo", "rio", "rivage"),
        *("selva", "sonna", "tinta", "viola"),
    ],
    default_v1="cove",
    default_v2="marin",
)
"""The voices of each version of the realtime API."""


@handles(wire.THREAD_REALTIME_LIST_VOICES)
def list_voices(
    ctx: RequestContext, params: wire.ThreadRealtimeListVoicesParams
) -> wire.ThreadRealtimeListVoicesResponse:
    return wire.ThreadRealtimeListVoicesResponse(voices=VOICES)


@handles(wire.THREAD_REALTIME_START)
async def start(ctx: RequestContext, params: wire.ThreadRealtimeStartParams) -> wire.ThreadRealtimeStartResponse:
    thread = ctx.threads.loaded(params.thread_id)
    error = wire.ThreadRealtimeErrorNotification(thread_id=thread.id, message=UNSUPPORTED)
    ctx.afterwards(partial(thread.events.publish, wire.THREAD_REALTIME_ERROR, error))
    return wire.ThreadRealtimeStartResponse()


@handles(wire.THREAD_REALTIME_APPEND_AUDIO)
async def append_audio(
    ctx: RequestContext, params: wire.ThreadRealtimeAppendAudioParams
) -> wire.ThreadRealtimeAppendAudioResponse:
    raise _not_running(ctx, params.thread_id)


@handles(wire.THREAD_REALTIME_APPEND_TEXT)
async def append_text(
    ctx: RequestContext, params: wire.ThreadRealtimeAppendTextParams
) -> wire.ThreadRealtimeAppendTextResponse:
    raise _not_running(ctx, params.thread_id)


@handles(wire.THREAD_REALTIME_APPEND_SPEECH)
async def append_speech(
    ctx: RequestContext, params: wire.ThreadRealtimeAppendSpeechParams
) -> wire.ThreadRealtimeAppendSpeechResponse:
    raise _not_running(ctx, params.thread_id)


@handles(wire.THREAD_REALTIME_STOP)
async def stop(ctx: RequestContext, params: wire.ThreadRealtimeStopParams) -> wire.ThreadRealtimeStopResponse:
    thread = ctx.threads.loaded(params.thread_id)
    closed = wire.ThreadRealtimeClosedNotification(thread_id=thread.id, reason="requested")
    ctx.afterwards(partial(thread.events.publish, wire.THREAD_REALTIME_CLOSED, closed))
    return wire.ThreadRealtimeStopResponse()


def _not_running(ctx: RequestContext, thread_id: str) -> RpcError:
    ctx.threads.loaded(thread_id)
    return invalid_request("conversation is not running")
