"""Whether a command may run, has to be asked about, or is forbidden."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ApprovalRequirement:
    """What has to happen before a command runs; `reason` is a sentence for the user and the model."""

    decision: Literal["skip", "ask", "forbid"]
    reason: str = ""


def requirement_for_command(approval_policy: str, *, escalated: bool) -> ApprovalRequirement:
    """Judge one command of the model.

    `approval_policy` is `untrusted`, `on-request`, `never` or `granular`. The sandbox holds every command that is not
    `escalated`; one that wants to leave it has to be asked about, which `never` rules out.
    """
    if escalated and approval_policy == "never":
        return ApprovalRequirement(
            "forbid", "the approval policy is never: running outside the sandbox cannot be asked for"
        )
    if escalated:
        return ApprovalRequirement("ask", "the command asks to run outside the sandbox")
    if approval_policy == "untrusted":
        return ApprovalRequirement("ask", "the approval policy untrusted asks about every command")
    return ApprovalRequirement("skip")
