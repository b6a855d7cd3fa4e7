"""server/diagnostics and mock/experimentalMethod: how the server is, and a method for trying out the capability."""

import os

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.platform.gauges import resident_bytes
from protocol.v2 import diagnostics as wire


@handles(wire.SERVER_DIAGNOSTICS)
async def diagnostics(ctx: RequestContext, params: wire.ServerDiagnosticsParams) -> wire.ServerDiagnosticsResponse:
    gauges = await ctx.platform.gauges.read()
    return wire.ServerDiagnosticsResponse(
        process=wire.ServerDiagnosticsProcess(id=os.getpid(), resident_memory_bytes=resident_bytes()),
        gauges=[wire.ServerDiagnosticsGauge(name=name, value=value) for name, value in gauges.items()],
    )


@handles(wire.MOCK_EXPERIMENTAL_METHOD)
def mock(ctx: RequestContext, params: wire.MockExperimentalMethodParams) -> wire.MockExperimentalMethodResponse:
    return wire.MockExperimentalMethodResponse(echoed=params.value)
