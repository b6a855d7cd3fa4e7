"""`turnloom execpolicy check` prints what clients of the reference parse."""

import json
from pathlib import Path

import pytest

from app_server import cli

RULES = """
prefix_rule(["git"], "prompt", justification = "fräg")
prefix_rule(["git", ["push", "pull"]], "forbidden")
prefix_rule(["ls"])
"""


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave this process's log alone."""
    monkeypatch.setattr("app_server.telemetry.log.configure", lambda: None)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    file = tmp_path / "my.rules"
    file.write_text(RULES)
    return str(file)


def test_all_matches_and_the_decision_are_printed(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["execpolicy", "check", "-r", rules, "git", "push", "--force"]) == 0
    assert capsys.readouterr().out == (
        '{"matchedRules":[{"prefixRuleMatch":{"matchedPrefix":["git"],"decision":"prompt","justification":"fräg"}},'
        '{"prefixRuleMatch":{"matchedPrefix":["git","push"],"decision":"forbidden"}}],"decision":"forbidden"}\n'
    )


def test_without_a_match_there_is_no_decision(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["execpolicy", "check", "-r", rules, "bash", "-lc", "git push"]) == 0
    assert capsys.readouterr().out == '{"matchedRules":[]}\n'


def test_the_answer_can_be_spread_out(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["execpolicy", "check", "--pretty", "-r", rules, "--", "ls", "--pretty"]) == 0
    out = capsys.readouterr().out
    assert out.startswith('{\n  "matchedRules": [\n    {\n      "prefixRuleMatch"')
    assert json.loads(out)["decision"] == "allow"


def test_programs_are_found_at_their_paths_if_asked(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["execpolicy", "check", "-r", rules, "/bin/ls"]) == 0
    assert json.loads(capsys.readouterr().out) == {"matchedRules": []}
    assert cli.main(["execpolicy", "check", "-r", rules, "--resolve-host-executables", "/bin/ls"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "matchedRules": [
            {"prefixRuleMatch": {"matchedPrefix": ["ls"], "decision": "allow", "resolvedProgram": "/bin/ls"}}
        ],
        "decision": "allow",
    }


def test_rules_of_several_files_add_up(rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = tmp_path / "more.rules"
    more.write_text('prefix_rule(["ls"], "forbidden")')
    assert cli.main(["execpolicy", "check", "-r", rules, "--rules", str(more), "ls"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "forbidden"


@pytest.mark.parametrize(("text", "because"), [("x = (", "Parse error"), (None, "No such file or directory")])
def test_a_file_that_cannot_be_used_is_told(
    text: str | None, because: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.rules"
    if text is not None:
        file.write_text(text)
    assert cli.main(["execpolicy", "check", "-r", str(file), "ls"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"turnloom: error: failed to parse rules file {file}: ")
    assert because in told.err


def test_a_command_and_a_file_are_needed(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["execpolicy", "check", "-r", rules, "--"]) == 2
    with pytest.raises(SystemExit, match="2"):
        cli.main(["execpolicy", "check", "ls"])
    assert "-r/--rules" in capsys.readouterr().err
