"""Whether a command runs, is asked about, or is refused: rules first, then what is known of commands as such."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app_server.execpolicy.rules import RuleSet


@dataclass(frozen=True, slots=True)
class Judgement:
    """What has to happen before a command runs.

    `reason` is for the user where the decision is `ask` (None: the model's own justification serves), and for the
    model where it is `forbid`. `outside_sandbox`: every part of the command is allowed by a rule, which lifts the
    sandbox. `proposed_amendment` is the prefix that the user may allow for good. `because_of_rule`: a rule asked or
    forbade.
    """

    decision: Literal["run", "ask", "forbid"]
    outside_sandbox: bool = False
    reason: str | None = None
    proposed_amendment: tuple[str, ...] | None = None
    because_of_rule: bool = False


def judge(
    argv: Sequence[str],
    rules: RuleSet,
    *,
    approval_policy: str,
    restricted_filesystem: bool,
    escalated: bool,
    extra_permissions: bool = False,
    prefix_rule: Sequence[str] | None = None,
    can_ask_rules: bool = True,
    can_ask_sandbox: bool = True,
    cwd: str = "/",
) -> Judgement:
    """Judge one command of the model.

    `approval_policy` is `untrusted`, `on-request`, `never` or `granular`; for the last, `can_ask_rules` and
    `can_ask_sandbox` are its `rules` and `sandbox_approval`. `restricted_filesystem` is False under
    danger-full-access and an external sandbox. `prefix_rule` is what the model proposes to allow for good.
    """
    if escalated and approval_policy == "never":
        return Judgement("forbid", reason="running outside the sandbox cannot be asked for")
    if escalated or extra_permissions or approval_policy == "untrusted":
        return Judgement("ask")
    return Judgement("run")
