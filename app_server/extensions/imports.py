"""What was taken over from other agents: between the wire and the store."""

from uuid import uuid4

from pydantic import ConfigDict, TypeAdapter

from app_server.rpc.outbound import now_ms
from app_server.store.imports import ImportRow
from protocol.v2.external_agent import (
    ExternalAgentConfigImportHistory,
    ExternalAgentConfigImportHistoryRecordParams,
    ExternalAgentConfigImportItemTypeFailure,
    ExternalAgentConfigImportItemTypeSuccess,
)

_LAZY = ConfigDict(defer_build=True)
_SUCCESSES = TypeAdapter(list[ExternalAgentConfigImportItemTypeSuccess], config=_LAZY)
_FAILURES = TypeAdapter(list[ExternalAgentConfigImportItemTypeFailure], config=_LAZY)


def new_import(params: ExternalAgentConfigImportHistoryRecordParams) -> ImportRow:
    """What a client tells that it has taken over, as a row of now."""
    successes = [
        ExternalAgentConfigImportItemTypeSuccess(**dict(success))
        for result in params.item_type_results
        for success in result.successes
    ]
    failures = [failure for result in params.item_type_results for failure in result.failures]
    return ImportRow(
        str(uuid4()),
        params.provider_id,
        now_ms(),
        _SUCCESSES.dump_json(successes).decode(),
        _FAILURES.dump_json(failures).decode(),
    )


def history(row: ImportRow) -> ExternalAgentConfigImportHistory:
    """A row as clients read it."""
    return ExternalAgentConfigImportHistory(
        import_id=row.id,
        provider_id=row.provider_id,
        completed_at_ms=row.completed_at_ms,
        successes=_SUCCESSES.validate_json(row.successes),
        failures=_FAILURES.validate_json(row.failures),
    )
