"""Whatever a script says, what is called plain runs those words and nothing else, and nothing forbidden can hide."""

import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app_server.execpolicy.actions import actions
from app_server.execpolicy.bash import canonical, split
from app_server.execpolicy.judgement import judge
from app_server.execpolicy.rules import PrefixRule, RuleSet

# A program that writes down its name and arguments, each ended by NUL, and an empty one at the end.
RECORDER = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" "" >> "$RECORD"
"""
PROGRAMS = ("a", "b", "c")

# fmt: off
_WORDS = [
    "a", "b", "c", "x", "1", "-x", "--", "EOF", "if", "then", "fi", "for", "in", "do", "done", "while", "case",
    "esac", "time", "function",
]
_SIGNS = [
    "'", '"', "''", '""', "$", "$(", ")", "(", "`", "\\", "*", "?", "[", "]", "{", "}", "~", "#", "!", "=",
    "^", "%", "@", ",", "..", "/", ".", "é", "<", ">", ">>", "<<", "<<<", "<(", "2>", ">&", "&", "&&", "||",
    "|", "|&", ";", ";;", "()", "[[", "]]", "((", "))", "$'", '$"', "$x", "${", "${x}", "a=b", "+=",
]
_SPECIAL = [
    "\n", "\t", "\r", "\x01", "\u00a0", "\u2028", "\u3000", "\\\n", "'x y'", '"x y"', "'\\'", '"\\a"',
]
# fmt: on
TOKENS = st.sampled_from(_WORDS + _SIGNS + _SPECIAL + [" "] * 40 + ["a ", "b ", " c", "; ", " && a"] * 8)
SCRIPTS = st.lists(TOKENS, min_size=1, max_size=16).map("".join)


class Recorder:
    """A folder to run scripts in, with nothing on the path but programs that note how they were called."""

    def __init__(self, root: Path) -> None:
        self.programs, self.cwd, self._record = root / "programs", root / "cwd", root / "record"
        self.programs.mkdir()
        self.cwd.mkdir()
        for name in PROGRAMS:
            program = self.programs / name
            program.write_text(RECORDER)
            program.chmod(0o755)

    def run(self, shell: str, script: str) -> list[tuple[str, ...]]:
        """What the script ran."""
        self._record.write_bytes(b"")
        subprocess.run(
            [shell, "-c", script],
            env={"PATH": str(self.programs), "RECORD": str(self._record), "LC_ALL": "C.UTF-8"},
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        calls: list[tuple[str, ...]] = []
        words: list[str] = []
        # An empty argument is told from the end by the name that has to follow the end.
        noted = self._record.read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
        for position, word in enumerate(noted):
            if word == "" and (position + 1 == len(noted) or noted[position + 1] in PROGRAMS):
                calls.append(tuple(words))
                words = []
            else:
                words.append(word)
        return calls


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with TemporaryDirectory() as folder:
        yield Recorder(Path(folder))


def _flat(calls: list[tuple[str, ...]]) -> Counter[str]:
    # An empty argument before one that is called like a program reads as two calls: compare what is left of that.
    return Counter(word for call in calls for word in call if word)


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
@given(script=SCRIPTS)
@settings(max_examples=600)
@example(script="a 'x y' \"x y\"; b && c | a")
@example(script='a "\\\n"')
@example(script="a x\\\n y")
@example(script="a a\\\na")
@example(script="a\\\na")
@example(script="a\rb")
@example(script="a \\\n\n b")
@example(script="a !x ^y =z")
def test_a_plain_script_runs_exactly_its_words(recorder: Recorder, shell: str, script: str) -> None:
    found = split([shell, "-c", script])
    if found.kind != "plain" or any(command[0] not in PROGRAMS for command in found.commands):
        return
    ran = recorder.run(shell, script)
    assert not _flat(ran) - _flat(list(found.commands))
    assert ran[:1], "the first command of a plain script runs"
    if "||" not in script:
        assert _flat(ran) == _flat(list(found.commands))
    assert os.listdir(recorder.cwd) == []


WRAPPINGS = st.sampled_from(
    [
        "( {} )",
        "{{ {}; }}",
        "if a; then {}; fi",
        "while a; do {}; done",
        "for i in 1; do {}; done",
        "case a in a) {};; esac",
        "f() {{ {}; }}; f",
        "a | {}",
        "{} | a",
        "a && {} || c",
        "{} & a",
        "! {}",
        "a $( {} )",
        'a "$( {} )"',
        "a `x`; {}",
        "a <( {} )",
        "x=$( {} )",
        "{} # c",
        "# c\n{}",
        "a\n\n{}\n",
        "a > f; {}",
        "[ -f x ] && {}",
        "[[ -f x ]] && {}",
        "a <<EOF\n$( {} )\nEOF",
        "bash -c QUOTED",
        "sh -lc QUOTED",
        "/bin/bash -e -c QUOTED",
        "sudo -u x bash -c QUOTED",
        "eval QUOTED",
        "trap QUOTED EXIT",
    ]
)
BEFORE = st.sampled_from(
    ["", "x=1 ", "env ", "env A=b ", "sudo -n ", "command ", "nohup ", "timeout 5 ", "exec ", "time "]
)
COMMANDS = st.sampled_from(
    ["git push", "git  'push'", 'git "push" -f', "\\git push", "g'i't push", "git push > f 2>&1", "g\\\nit pu\\\nsh"]
)


@given(before=BEFORE, command=COMMANDS, wrappings=st.lists(WRAPPINGS, max_size=4))
@settings(max_examples=400)
def test_what_a_rule_forbids_is_found_wherever_it_stands(before: str, command: str, wrappings: list[str]) -> None:
    script = before + command
    for wrapping in wrappings:
        if "QUOTED" in wrapping:
            script = wrapping.replace("QUOTED", shlex.quote(script))
        elif "EOF" not in wrapping or "EOF" not in script:
            script = wrapping.format(script)
    rules = RuleSet((PrefixRule((("git",), ("push",)), "forbidden"),))
    judgement = judge(
        ["/bin/bash", "-lc", script], rules, approval_policy="on-request", restricted_filesystem=True, escalated=False
    )
    assert judgement.decision == "forbid", script


ANYTHING = st.one_of(
    SCRIPTS,
    st.text(),
    st.binary().map(lambda data: data.decode(errors="surrogateescape")),
    st.binary().map(lambda data: data.decode("latin-1")),
)


@given(
    argv=st.one_of(
        ANYTHING.map(lambda script: ["/bin/bash", "-lc", script]), st.lists(ANYTHING), st.lists(SCRIPTS, max_size=4)
    ),
    policy=st.sampled_from(["untrusted", "on-request", "never", "granular"]),
    escalated=st.booleans(),
)
@settings(max_examples=600)
def test_any_command_is_judged(argv: list[str], policy: str, escalated: bool) -> None:
    found = split(argv)
    assert len(found.commands) == len(found.within)
    canonical(argv)
    actions(argv, "/project")
    judgement = judge(argv, RuleSet(), approval_policy=policy, restricted_filesystem=True, escalated=escalated)
    assert not judgement.outside_sandbox, "nothing leaves the sandbox without a rule"


@given(argv=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_an_argv_without_a_shell_is_one_plain_command(argv: list[str]) -> None:
    assert split(["program", *argv]).commands == (("program", *argv),)


@pytest.mark.parametrize(
    "piece",
    ["(", "$(", "`", "{ ", "<<A ", "a|", "a;", "'\"", "if ", "case ", "${", "$((", "[[ ", "a=(", "f(){ ", "for((;;"],
)
def test_a_script_of_any_size_is_judged(piece: str) -> None:
    for size in (1_000, 20_000, 131_000, 1_000_000):
        script = piece * (size // len(piece))
        found = split(["/bin/bash", "-lc", script])
        assert found.kind in ("plain", "opaque", "unreadable")
        if len(script) > 131_071:
            assert found.kind == "unreadable"
