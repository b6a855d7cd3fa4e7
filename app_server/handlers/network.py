"""`turnloom/network/decisions/list`: who reached for what, and why or why not."""

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.network.decisions import KEPT, LEARNED, NetworkDecided, rule_line
from protocol.v2.network import (
    NETWORK_DECISIONS_LIST,
    NetworkDecision,
    NetworkDecisionsListParams,
    NetworkDecisionsListResponse,
)

DEFAULT_LIMIT = 100


@handles(NETWORK_DECISIONS_LIST)
async def list_decisions(ctx: RequestContext, params: NetworkDecisionsListParams) -> NetworkDecisionsListResponse:
    limit = DEFAULT_LIMIT if params.limit is None else min(params.limit, KEPT)
    found = [
        _decision(decided)
        for decided in ctx.services.network_decisions.newest(execution_id=params.execution_id)
        if params.thread_id in (None, decided.execution.thread_id)
    ][:limit]
    rules = dict.fromkeys(decision.suggested_rule for decision in found if decision.suggested_rule is not None)
    return NetworkDecisionsListResponse(data=found, suggested_rules=list(rules))


def _decision(decided: NetworkDecided) -> NetworkDecision:
    execution, attempt, judgement = decided.execution, decided.attempt, decided.judgement
    return NetworkDecision(
        at_ms=decided.at_ms,
        execution_id=execution.id,
        thread_id=execution.thread_id,
        turn_id=execution.turn_id,
        item_id=execution.item_id,
        host=attempt.host,
        port=attempt.port,
        protocol=attempt.protocol,
        method=attempt.method,
        decision=judgement.decision,
        source=judgement.source,
        reason=judgement.reason,
        suggested_rule=rule_line(attempt) if judgement == LEARNED else None,
    )
