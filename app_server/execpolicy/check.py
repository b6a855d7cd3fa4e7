"""`turnloom execpolicy check`: what rules files say of a command."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from app_server.execpolicy.loading import RulesFileError, evaluate_rules, read_rules
from app_server.execpolicy.rules import RuleMatch, RuleSet, Verdict


def run(given: Namespace) -> int:
    """Print the verdict as JSON and give the exit status: 1 for a file that cannot be used, 2 without a command."""
    words: list[str] = given.checked[1:] if given.checked[:1] == ["--"] else given.checked
    if not words:
        sys.stderr.write("turnloom: error: a command to check is needed after the options\n")
        return 2
    rules = RuleSet()
    for path in given.rules:
        try:
            rules = rules.merged(evaluate_rules(path, read_rules(path)))
        except RulesFileError as error:
            sys.stderr.write(f"turnloom: error: failed to parse rules file {path}: {error}\n")
            return 1
    verdict = rules.evaluate(words, resolve_programs=given.resolve_host_executables, cwd=os.getcwd())
    layout: dict[str, Any] = {"indent": 2} if given.pretty else {"separators": (",", ":")}
    sys.stdout.write(json.dumps(_told(verdict), ensure_ascii=False, **layout) + "\n")
    return 0


def _told(verdict: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {"matchedRules": [{"prefixRuleMatch": _told_match(match)} for match in verdict.matched]}
    if verdict.decision is not None:
        told["decision"] = verdict.decision
    return told


def _told_match(match: RuleMatch) -> dict[str, Any]:
    prefix: Sequence[str] = match.matched_prefix
    told: dict[str, Any] = {"matchedPrefix": list(prefix), "decision": match.decision}
    if match.resolved_program is not None:
        told["resolvedProgram"] = match.resolved_program
    if match.justification is not None:
        told["justification"] = match.justification
    return told
