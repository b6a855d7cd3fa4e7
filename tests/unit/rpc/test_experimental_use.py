"""Members that everybody may see and only clients with the capability may send."""

from typing import Any

import pytest

from app_server.rpc.experimental import refuse_experimental_fields, stripper
from protocol.jsonrpc import RpcError
from protocol.v2.thread import ThreadForkParams, ThreadResumeParams, ThreadResumeResponse, ThreadStartParams
from protocol.v2.turn import TurnStartParams
from protocol.wire import Wire

GRANULAR = {"granular": {"mcp_elicitations": True, "rules": True, "sandbox_approval": True}}


@pytest.mark.parametrize("model", [ThreadStartParams, ThreadResumeParams, ThreadForkParams, TurnStartParams])
def test_a_granular_approval_policy_needs_the_capability_to_be_sent(model: type[Wire]) -> None:
    with pytest.raises(RpcError) as refusal:
        refuse_experimental_fields(model, {"threadId": "x", "input": [], "approvalPolicy": GRANULAR})
    assert refusal.value.code == -32600
    assert refusal.value.message == "askForApproval.granular requires experimentalApi capability"


@pytest.mark.parametrize("policy", ["on-request", None])
def test_other_approval_policies_do_not(policy: Any) -> None:
    refuse_experimental_fields(ThreadStartParams, {"approvalPolicy": policy})


def test_it_is_shown_to_clients_without_the_capability() -> None:
    strip = stripper(ThreadResumeResponse)
    assert strip is not None
    shown = b'{"approvalPolicy":{"granular":{"rules":true}}}'
    assert strip(shown) == shown
