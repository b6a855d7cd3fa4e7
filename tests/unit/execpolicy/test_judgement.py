"""Rules, approval policy and what is known of commands give one judgement."""

from typing import Any

import pytest

from app_server.execpolicy.judgement import Judgement, is_quick, judge
from app_server.execpolicy.rules import PrefixRule, RuleSet


def rule(text: str, decision: Any = "allow", because: str | None = None) -> PrefixRule:
    return PrefixRule(tuple((word,) for word in text.split()), decision, because)


RULES = RuleSet(
    (
        rule("git status"),
        rule("ls"),
        rule("whoami", "prompt"),
        rule("id", "prompt", "mind who asks"),
        rule("id -u", "forbidden"),
        rule("uname", "forbidden"),
        rule("uname -a", "forbidden", "no names here"),
    )
)


def judged(script: str, policy: str = "on-request", **circumstances: Any) -> Judgement:
    under: dict[str, Any] = {"restricted_filesystem": True, "escalated": False} | circumstances
    return judge(["/bin/bash", "-lc", script], RULES, approval_policy=policy, **under)


RUNS = Judgement("run")


@pytest.mark.parametrize("policy", ["on-request", "untrusted", "never", "granular"])
def test_a_command_whose_every_part_a_rule_allows_runs_outside_the_sandbox(policy: str) -> None:
    assert judged("ls -l | ls && git status", policy) == Judgement("run", outside_sandbox=True)


@pytest.mark.parametrize(
    "script", ["ls; touch x", "ls > x", "(ls)", "ls $x", "./ls", "ls | cat", "X=1 ls", "ls <<E\nE"]
)
def test_any_other_part_keeps_it_inside(script: str) -> None:
    assert judged(script) == RUNS


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("whoami", "`/bin/bash -lc whoami` requires approval by policy"),
        ("ls && id", "`/bin/bash -lc 'ls && id'` requires approval: mind who asks"),
        ("id && whoami", "`/bin/bash -lc 'id && whoami'` requires approval by policy"),
        ("rm -f x; id", "`/bin/bash -lc 'rm -f x; id'` requires approval: mind who asks"),
        ("echo $(id) > x", "`/bin/bash -lc 'echo $(id) > x'` requires approval: mind who asks"),
    ],
)
def test_a_rule_asks_with_its_reason_and_nothing_is_proposed(script: str, reason: str) -> None:
    assert judged(script) == Judgement("ask", reason=reason, because_of_rule=True)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("uname", "`/bin/bash -lc uname` rejected: policy forbids commands starting with `uname`"),
        ("uname -a x", "`/bin/bash -lc 'uname -a x'` rejected: no names here"),
        ("id && id -u", "`/bin/bash -lc 'id && id -u'` rejected: policy forbids commands starting with `id -u`"),
        ("(uname) | x", "`/bin/bash -lc '(uname) | x'` rejected: policy forbids commands starting with `uname`"),
        ("sudo uname", "`/bin/bash -lc 'sudo uname'` rejected: policy forbids commands starting with `uname`"),
    ],
)
@pytest.mark.parametrize("policy", ["on-request", "untrusted", "never", "granular"])
def test_a_rule_forbids_under_any_policy(script: str, reason: str, policy: str) -> None:
    assert judged(script, policy) == Judgement("forbid", reason=reason, because_of_rule=True)


def test_untrusted_asks_about_every_command_without_a_rule() -> None:
    assert judged("cat x && ls", "untrusted") == Judgement("ask", proposed_amendment=("cat", "x"))
    assert judged("ls && cat x | wc", "untrusted", restricted_filesystem=False).proposed_amendment == ("cat", "x")


@pytest.mark.parametrize("policy", ["on-request", "never", "granular"])
def test_other_policies_let_the_sandbox_hold_it(policy: str) -> None:
    assert judged("touch x", policy) == RUNS
    assert judged("touch x > y", policy, restricted_filesystem=False) == RUNS


@pytest.mark.parametrize("wish", [{"escalated": True}, {"extra_permissions": True}])
def test_a_wish_to_leave_the_sandbox_is_asked_about(wish: dict[str, bool]) -> None:
    for policy in ("on-request", "untrusted", "granular"):
        assert judged("npm i", policy, **wish) == Judgement("ask", proposed_amendment=("npm", "i"))
    assert judged("ls", "on-request", **wish) == Judgement("run", outside_sandbox=True)
    assert judged("npm i", "on-request", restricted_filesystem=False, **wish) == RUNS


@pytest.mark.parametrize(
    ("policy", "more", "told"),
    [("never", {}, "Never"), ("granular", {"can_ask_sandbox": False}, "Granular without sandbox_approval")],
)
@pytest.mark.parametrize("script", ["npm i", "ls", "uname"])
def test_a_wish_that_nobody_may_be_asked_about_is_refused_first(
    script: str, policy: str, more: dict[str, bool], told: str
) -> None:
    reason = (
        f"approval policy is {told}; reject command — you cannot ask for escalated permissions "
        f"if the approval policy is {told}"
    )
    assert judged(script, policy, escalated=True, **more) == Judgement("forbid", reason=reason)


def test_a_rule_that_asks_forbids_where_nobody_may_be_asked() -> None:
    never = judged("whoami", "never")
    assert (never.decision, never.because_of_rule) == ("forbid", True)
    assert never.reason == "approval required by policy, but the approval policy is Never: the user cannot be asked"
    granular = judged("whoami", "granular", can_ask_rules=False)
    assert granular.decision == "forbid"
    assert (
        granular.reason
        == "approval required by policy rule, but the approval policy is Granular with rules set to false"
    )
    assert judged("whoami", "granular", can_ask_sandbox=False).decision == "ask"


DANGEROUS = [
    "rm -f x", "rm x -rf", "rm -r --force x", "rm --for x", "/bin/rm -f x", "./rm -f x", "sudo rm -f x",
    "sudo -u me -- rm -f x", "env A=1 rm -f x", "bash -c 'rm -f x'", "sh -c 'ls && rm -f x' y", "command rm -f x",
    "echo $(rm -f x)", "(rm -f x)", "rm -f x > y", "rm 2>/dev/null -f x", "rm $x -f", "'rm' -f x > y", "\\rm -f x",
    "if a; then rm -f x; fi", "trap 'rm -f x' EXIT", "eval 'rm -f x'", "time rm -f x", "touch x; rm -f x",
]  # fmt: skip


@pytest.mark.parametrize("script", DANGEROUS)
def test_removing_by_force_is_asked_about_everywhere(script: str) -> None:
    for restricted in (True, False):
        for policy in ("on-request", "granular", "untrusted"):
            found = judged(script, policy, restricted_filesystem=restricted)
            assert (found.decision, found.reason) == ("ask", None)
        never = judged(script, "never", restricted_filesystem=restricted)
        assert never.decision == "forbid"
        assert (never.reason or "").endswith(" rejected: rm -f style commands are not permitted. Use a safer approach")


@pytest.mark.parametrize(
    "script", ["rm x", "rm -r x", "rm -- -f", "git rm -f x", "echo rm -f", "echo 'rm -f x' > y", "rm -i x"]
)
def test_other_removing_is_not(script: str) -> None:
    assert judged(script) == RUNS
    assert judged(script, "never") == RUNS


def test_a_rule_may_allow_removing_by_force() -> None:
    allowed = RuleSet((rule("rm -f x"),))
    found = judge(
        ["bash", "-c", "rm -f x"], allowed, approval_policy="never", restricted_filesystem=True, escalated=False
    )
    assert found == Judgement("run", outside_sandbox=True)


def proposal(script: str, *prefix: str, **more: Any) -> tuple[str, ...] | None:
    found = judged(script, escalated=True, prefix_rule=list(prefix), **more)
    assert found.decision == "ask"
    return found.proposed_amendment


def test_the_models_own_prefix_is_proposed_where_it_covers_the_command() -> None:
    assert proposal("npm run build", "npm", "run", "build") == ("npm", "run", "build")
    assert proposal("npm i && npm test", "npm") == ("npm",)
    assert proposal("/usr/bin/npm i", "npm") == ("npm",)
    assert proposal("npm i", "npm", "x") == ("npm", "i")
    assert proposal("npm i", "pip") == ("npm", "i")
    assert proposal("npm i && pip i", "npm") == ("npm", "i")
    assert proposal("ls && npm i", "npm") == ("npm", "i"), "a part that a rule knows is not the model's to allow"
    assert proposal("npm i") == ("npm", "i")


@pytest.mark.parametrize(
    "prefix",
    ["python3", "python3.12", "/usr/bin/python3", "bash", "bash -lc", "git", "env", "sudo", "node -e", "python -",
     "npm run", "rm", "xargs", "git -c", "Rscript", "pwsh -Command", "bash.exe"],
)  # fmt: skip
def test_a_prefix_that_would_allow_anything_is_not_proposed(prefix: str) -> None:
    words = prefix.split()
    assert proposal(f"{prefix} x", *words) == (*words, "x")
    assert proposal(prefix, *words) is None


def test_an_opaque_script_is_proposed_as_a_whole() -> None:
    assert proposal("npm i > x", "npm") == ("/bin/bash", "-lc", "npm i > x")


def test_nothing_is_proposed_where_the_user_is_not_to_be_asked_about_the_sandbox() -> None:
    assert judged("rm -f x", "granular", can_ask_sandbox=False) == Judgement("ask")


@pytest.mark.parametrize("script", ["x" * 200_000, "a\0", "a|" * 50_000])
def test_a_command_that_cannot_be_parsed_does_not_run(script: str) -> None:
    for policy in ("never", "on-request"):
        found = judged(script, policy, restricted_filesystem=False)
        assert found.decision == "forbid"
        assert (found.reason or "").startswith("the command cannot be judged: it is too long")


def test_long_commands_are_for_a_worker_thread() -> None:
    assert is_quick(["/bin/bash", "-lc", "ls"])
    assert not is_quick(["/bin/bash", "-lc", "ls " * 1000])
