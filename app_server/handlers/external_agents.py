"""externalAgentConfig/*: what other coding agents on this machine have configured, and what was taken over."""

from functools import partial

from anyio import to_thread

from app_server.extensions.external_agents import detect
from app_server.extensions.imports import history, new_import
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.threads.storing import stored
from protocol.v2 import external_agent as wire
from protocol.wire import Empty


@handles(wire.EXTERNAL_AGENT_CONFIG_DETECT)
async def find(
    ctx: RequestContext, params: wire.ExternalAgentConfigDetectParams
) -> wire.ExternalAgentConfigDetectResponse:
    work = partial(
        detect,
        ctx.settings,
        params.cwds or (),
        include_home=params.include_home,
        source=params.migration_source,
        max_sessions=params.max_sessions,
        max_age_days=params.max_session_age_days,
    )
    return wire.ExternalAgentConfigDetectResponse(items=await to_thread.run_sync(work))


@handles(wire.EXTERNAL_AGENT_CONFIG_IMPORT_RECORD_HISTORY)
async def record(
    ctx: RequestContext, params: wire.ExternalAgentConfigImportHistoryRecordParams
) -> wire.ExternalAgentConfigImportHistoryRecordResponse:
    """Keep what a client has taken over by itself."""
    row = new_import(params)
    await stored(ctx.extensions.imports.add(row))
    return wire.ExternalAgentConfigImportHistoryRecordResponse(import_id=row.id)


@handles(wire.EXTERNAL_AGENT_CONFIG_IMPORT_READ_HISTORIES)
async def read(ctx: RequestContext, params: Empty) -> wire.ExternalAgentConfigImportHistoriesReadResponse:
    rows = await stored(ctx.extensions.imports.all())
    return wire.ExternalAgentConfigImportHistoriesReadResponse(connectors=[], data=[history(row) for row in rows])
