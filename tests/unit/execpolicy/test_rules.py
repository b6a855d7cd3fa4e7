"""Which rules match a command, and which of them counts."""

import pytest

from app_server.execpolicy.rules import HostExecutable, NetworkRule, PrefixRule, RuleMatch, RuleSet, strictest


def rule(*pattern: str | tuple[str, ...], decision: str = "allow", because: str | None = None) -> PrefixRule:
    words = tuple((word,) if isinstance(word, str) else word for word in pattern)
    return PrefixRule(words, decision, because)  # type: ignore[arg-type]  # a test names it


RULES = RuleSet(
    (
        rule("git", decision="prompt", because="ask me"),
        rule("git", "status"),
        rule("git", ("push", "pull"), "--force", decision="forbidden"),
        rule(("a", "b")),
        rule("ls"),
        rule("/bin/ls", "-l", decision="prompt"),
        rule("cat"),
        rule("curl", decision="forbidden"),
        rule("wget", decision="forbidden"),
    ),
    (HostExecutable("cat", ("/opt/bin/cat",)), HostExecutable("wget", ("/usr/bin/wget",))),
)


def test_all_matching_rules_are_told_and_the_strictest_counts() -> None:
    verdict = RULES.evaluate(["git", "push", "--force", "x"])
    assert verdict.decision == "forbidden"
    assert verdict.matched == (
        RuleMatch(("git",), "prompt", "ask me"),
        RuleMatch(("git", "push", "--force"), "forbidden"),
    )


@pytest.mark.parametrize(
    ("argv", "decision"),
    [
        ("git status --short", "prompt"),
        ("git", "prompt"),
        ("a", "allow"),
        ("b x", "allow"),
        ("c", None),
        ("git push", "prompt"),
        ("LS", None),
        ("", None),
    ],
)
def test_a_rule_is_about_the_first_words(argv: str, decision: str | None) -> None:
    assert RULES.evaluate(argv.split()).decision == decision


@pytest.mark.parametrize(
    ("argv", "decision"),
    [
        ("/bin/ls -a", "allow"),
        ("/bin/ls -l", "prompt"),
        ("/usr/local/bin/ls", "allow"),
        ("/project/ls", None),
        ("./ls", None),
        ("bin/ls", None),
        ("/project/link/../../usr/bin/ls", None),
        ("/opt/bin/cat x", "allow"),
        ("/usr/bin/cat x", None),
        ("/project/curl x", "forbidden"),
        ("./curl x", "forbidden"),
        ("/usr/bin/wget x", "forbidden"),
        ("/project/wget x", None),
    ],
)
def test_only_a_known_place_makes_a_path_the_program_that_is_allowed(argv: str, decision: str | None) -> None:
    assert RULES.evaluate(argv.split(), cwd="/project").decision == decision


def test_the_path_of_the_program_is_told() -> None:
    assert RULES.evaluate(["./ls", "-a"], cwd="/usr/bin").matched == (
        RuleMatch(("ls",), "allow", resolved_program="/usr/bin/ls"),
    )


def test_paths_count_as_they_are_where_programs_are_not_to_be_found() -> None:
    assert RULES.evaluate(["/bin/ls", "-a"], resolve_programs=False).decision is None


def test_what_is_allowed_can_be_taken_out() -> None:
    rest = RULES.without_allowances()
    assert rest.evaluate(["ls"]).decision is None
    assert rest.evaluate(["git", "status"]).decision == "prompt"


def test_forbidden_is_stricter_than_asking_and_asking_than_allowing() -> None:
    assert strictest(["allow", "prompt", None]) == "prompt"
    assert strictest(["forbidden", "prompt", "allow"]) == "forbidden"
    assert strictest([None]) is None


def test_network_rules_say_what_is_done_about_hosts_whatever_the_protocol() -> None:
    rules = RuleSet(
        network_rules=(
            NetworkRule("a.com", "http", "allow"),
            NetworkRule("b.com", "https", "prompt"),
            NetworkRule("c.com", "socks5_tcp", "forbidden"),
        )
    )
    assert rules.host_actions() == (("a.com", "allow"), ("b.com", "ask"), ("c.com", "deny"))
    assert rules.without_allowances().host_actions() == (("b.com", "ask"), ("c.com", "deny"))
