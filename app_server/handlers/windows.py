"""windowsSandbox/*: the sandbox of another system, as it is answered on this one."""

from functools import partial

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.outbound import notification
from protocol.v2 import windows as wire
from protocol.wire import Empty

ONLY_ON_WINDOWS = {
    "elevated": "elevated Windows sandbox setup is only supported on Windows",
    "unelevated": "legacy Windows sandbox setup is only supported on Windows",
}


@handles(wire.WINDOWS_SANDBOX_READINESS)
def readiness(ctx: RequestContext, params: Empty) -> wire.WindowsSandboxReadinessResponse:
    return wire.WindowsSandboxReadinessResponse(status="notConfigured")


@handles(wire.WINDOWS_SANDBOX_SETUP_START)
def start_setup(
    ctx: RequestContext, params: wire.WindowsSandboxSetupStartParams
) -> wire.WindowsSandboxSetupStartResponse:
    completed = wire.WindowsSandboxSetupCompletedNotification(
        mode=params.mode, success=False, error=ONLY_ON_WINDOWS[params.mode]
    )
    frame = notification(wire.WINDOWS_SANDBOX_SETUP_COMPLETED, completed)
    ctx.afterwards(partial(ctx.connection.push, frame))
    return wire.WindowsSandboxSetupStartResponse(started=True)
