"""Which commands run, which are asked about, which are forbidden."""

import pytest

from app_server.approvals.policy import requirement_for_command


@pytest.mark.parametrize(
    ("policy", "escalated", "decision"),
    [
        ("never", False, "skip"),
        ("never", True, "forbid"),
        ("on-request", False, "skip"),
        ("on-request", True, "ask"),
        ("untrusted", False, "ask"),
        ("untrusted", True, "ask"),
        ("granular", False, "skip"),
        ("granular", True, "ask"),
    ],
)
def test_the_policy_decides(policy: str, escalated: bool, decision: str) -> None:
    requirement = requirement_for_command(policy, escalated=escalated)
    assert requirement.decision == decision
    assert bool(requirement.reason) == (decision != "skip")
