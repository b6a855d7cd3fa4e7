"""Whether a command runs, is asked about, or is refused: rules first, then what is known of commands as such."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from app_server.execpolicy.bash import MAX_SCRIPT_BYTES, QUICK_LENGTH, Split, split
from app_server.execpolicy.dangerous import allows_anything, is_dangerous
from app_server.execpolicy.quoting import join
from app_server.execpolicy.rules import Decision, PrefixRule, RuleMatch, RuleSet, Verdict, strictest


class Judgement(Struct, frozen=True):
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


class _Circumstances(Struct, frozen=True, kw_only=True):
    approval_policy: str
    restricted_filesystem: bool
    escalated: bool
    extra_permissions: bool
    prefix_rule: Sequence[str] | None
    can_ask_rules: bool
    can_ask_sandbox: bool
    cwd: str

    @property
    def can_ask(self) -> bool:
        """Whether the user may be asked to let a command out of the sandbox."""
        return self.approval_policy != "never" and (self.approval_policy != "granular" or self.can_ask_sandbox)


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
    """Judge one command of the model: microseconds for what people write, up to 1 s for a long script (`is_quick`).

    `approval_policy` is `untrusted`, `on-request`, `never` or `granular`; for the last, `can_ask_rules` and
    `can_ask_sandbox` are its `rules` and `sandbox_approval`. `restricted_filesystem` is False under
    danger-full-access and an external sandbox. `escalated`: the call asks to leave the sandbox; `extra_permissions`:
    to have it widened. `prefix_rule` is what the model proposes to allow for good. `cwd` is where the command runs.
    """
    under = _Circumstances(
        approval_policy=approval_policy,
        restricted_filesystem=restricted_filesystem,
        escalated=escalated,
        extra_permissions=extra_permissions,
        prefix_rule=prefix_rule,
        can_ask_rules=can_ask_rules,
        can_ask_sandbox=can_ask_sandbox,
        cwd=cwd,
    )
    if (escalated or extra_permissions) and not under.can_ask:
        policy = "Never" if approval_policy == "never" else "Granular without sandbox_approval"
        return Judgement(
            "forbid",
            reason=f"approval policy is {policy}; reject command — you cannot ask for escalated permissions "
            f"if the approval policy is {policy}",
        )
    found = split(argv)
    if found.kind == "unreadable":
        return Judgement("forbid", reason=_UNREADABLE)
    return _Case(argv, rules, under, found).judgement()


def is_quick(argv: Sequence[str]) -> bool:
    """Whether `judge` takes well under 5 ms; what is longer belongs in a worker thread."""
    return sum(map(len, argv)) <= QUICK_LENGTH


_UNREADABLE = (
    "the command cannot be judged: it is too long or too entangled to be parsed, or is no valid text. "
    f"Commands of up to {MAX_SCRIPT_BYTES} bytes can be; put a longer script into a file and run that."
)


class _Case:
    """One command, with what the rules and the heuristics say of each of its parts."""

    def __init__(self, argv: Sequence[str], rules: RuleSet, under: _Circumstances, found: Split) -> None:
        self._argv, self._rules, self._under = argv, rules, under
        self._commands = found.commands
        cwd = under.cwd
        self._verdicts: list[Verdict] = [rules.evaluate(command, cwd=cwd) for command in found.commands]
        self._restrictions: list[RuleMatch] = [
            match
            for inner in found.within
            for command in inner
            for match in rules.evaluate(command, cwd=cwd).matched
            if match.decision != "allow"
        ]
        self._heuristics: list[Decision | None] = [
            None if verdict.matched else self._heuristic(command, inner)
            for command, inner, verdict in zip(found.commands, found.within, self._verdicts, strict=True)
        ]

    def _heuristic(self, command: tuple[str, ...], inner: tuple[tuple[str, ...], ...]) -> Decision:
        under = self._under
        if is_dangerous(command) or any(map(is_dangerous, inner)):
            return "forbidden" if under.approval_policy == "never" else "prompt"
        if under.approval_policy == "never":
            return "allow"
        if under.approval_policy == "untrusted":
            return "prompt"
        return "prompt" if under.restricted_filesystem and (under.escalated or under.extra_permissions) else "allow"

    def judgement(self) -> Judgement:
        by_rule: list[Decision | None] = []
        by_rule.extend(verdict.decision for verdict in self._verdicts)
        by_rule.extend(match.decision for match in self._restrictions)
        decision = strictest(by_rule + self._heuristics)
        if decision == "forbidden":
            speaker = self._speaker("forbidden")
            return Judgement("forbid", reason=self._rejection(speaker), because_of_rule=speaker is not None)
        if decision == "prompt":
            return self._question(self._speaker("prompt"))
        outside = bool(self._verdicts) and all(verdict.decision == "allow" for verdict in self._verdicts)
        return Judgement("run", outside_sandbox=outside)

    def _speaker(self, decision: Decision) -> RuleMatch | None:
        """Of all rules that say so, the one with the longest prefix; of equals the last."""
        speaker: RuleMatch | None = None
        for match in (*(match for verdict in self._verdicts for match in verdict.matched), *self._restrictions):
            if match.decision == decision and (
                speaker is None or len(match.matched_prefix) >= len(speaker.matched_prefix)
            ):
                speaker = match
        return speaker

    def _rejection(self, speaker: RuleMatch | None) -> str:
        command = join(self._argv)
        if speaker is None:
            return f"`{command}` rejected: rm -f style commands are not permitted. Use a safer approach"
        if speaker.justification is not None:
            return f"`{command}` rejected: {speaker.justification}"
        return f"`{command}` rejected: policy forbids commands starting with `{join(speaker.matched_prefix)}`"

    def _question(self, speaker: RuleMatch | None) -> Judgement:
        under = self._under
        if speaker is None:
            return Judgement("ask", proposed_amendment=self._proposal())
        if under.approval_policy == "never":
            refusal = "approval required by policy, but the approval policy is Never: the user cannot be asked"
            return Judgement("forbid", reason=refusal, because_of_rule=True)
        if under.approval_policy == "granular" and not under.can_ask_rules:
            refusal = "approval required by policy rule, but the approval policy is Granular with rules set to false"
            return Judgement("forbid", reason=refusal, because_of_rule=True)
        because = "requires approval by policy"
        if speaker.justification is not None:
            because = f"requires approval: {speaker.justification}"
        return Judgement("ask", reason=f"`{join(self._argv)}` {because}", because_of_rule=True)

    def _proposal(self) -> tuple[str, ...] | None:
        """What the user may allow for good: the model's own proposal if it would do, else the command in question."""
        if not self._under.can_ask:
            return None
        wanted = tuple(self._under.prefix_rule or ())
        if wanted and not allows_anything(wanted) and not any(verdict.matched for verdict in self._verdicts):
            rule = RuleSet((PrefixRule(tuple((word,) for word in wanted)),), self._rules.host_executables)
            if all(rule.evaluate(command, cwd=self._under.cwd).matched for command in self._commands):
                return wanted
        asked = (
            command
            for command, decision in zip(self._commands, self._heuristics, strict=True)
            if decision == "prompt" and command
        )
        proposal = next(asked, None)
        return None if proposal is None or allows_anything(proposal) else proposal
