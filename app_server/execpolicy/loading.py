"""Rules files: found, evaluated in a child process, checked against their own examples."""

import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from app_server.execpolicy.quoting import join
from app_server.execpolicy.rules import HostExecutable, NetworkRule, PrefixRule, RuleSet

MAX_BYTES = 1 << 20
"""A longer file is not read."""

SECONDS = 10.0
"""What evaluating one file may take; the child's own limit on the processor is lower."""

_BOOT = """\
import sys
sys.path[:0] = sys.argv[1:-1]
from app_server.execpolicy.evaluator import main
main()
"""
_POSITION = re.compile(r"^ *--> .*:(\d+):(\d+)$", re.MULTILINE)
_NOTHING = re.compile(rb"(?:[ \t\r\n]|#[^\n]*)*")


class RulesFileError(Exception):
    """A file that cannot be used; the message says why. `line` and `column` count from 1.

    `passing`: the machine's state is to blame, so that another attempt may do.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
        position = _POSITION.search(message)
        self.line = int(position[1]) if position else None
        self.column = int(position[2]) if position else None


class RuleProblem(Struct, frozen=True):
    """A rules file that cannot be used, as the `configWarning` about it. `line` and `column` count from 1."""

    path: Path
    summary: str
    details: str
    line: int | None = None
    column: int | None = None


class LoadedRules(Struct, frozen=True):
    """The rules of some files, merged, weakest first.

    A file that cannot be used might have forbidden something: while there is one, no rule of any file allows anything,
    and what the others forbid or ask about still counts.
    """

    rules: RuleSet = field(default_factory=RuleSet)
    problems: tuple[RuleProblem, ...] = ()


def rules_files(folder: Path) -> list[Path]:
    """The `*.rules` files of a folder by name; none where there is no such folder. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".rules") and not entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names)]


def read_rules(path: Path) -> bytes:
    """The text of a file. Raises RulesFileError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RulesFileError(error.strerror or "it cannot be opened", passing=True) from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise RulesFileError("it is no regular file")
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise RulesFileError(f"it is longer than {MAX_BYTES} bytes")
    return text


def evaluate_rules(path: Path, text: bytes) -> RuleSet:
    """The rules that the text of a file makes. Blocks on a child process; raises RulesFileError."""
    if _NOTHING.fullmatch(text):
        return RuleSet()
    answer = _ask_child(path, text)
    if "error" in answer:
        raise RulesFileError(answer["error"])
    calls: list[dict[str, Any]] = answer["calls"]
    prefix_calls = [call for call in calls if call["call"] == "prefix_rule"]
    prefix_rules = tuple(
        PrefixRule(tuple(tuple(words) for words in call["pattern"]), call["decision"], call["justification"])
        for call in prefix_calls
    )
    executables = tuple(
        HostExecutable(call["name"], tuple(call["paths"])) for call in calls if call["call"] == "host_executable"
    )
    network_rules = tuple(
        NetworkRule(call["host"], call["protocol"], call["decision"], call["justification"])
        for call in calls
        if call["call"] == "network_rule"
    )
    for rule, call in zip(prefix_rules, prefix_calls, strict=True):
        _check_examples(rule, call, executables)
    return RuleSet(prefix_rules, executables, network_rules)


def problem_of(path: Path, error: RulesFileError) -> RuleProblem:
    """What clients are told about the file."""
    return RuleProblem(
        path,
        "Error parsing rules; the file is ignored, and no rule allows anything until it is corrected.",
        f"failed to parse rules file {path}: {error}",
        error.line,
        error.column,
    )


def _check_examples(rule: PrefixRule, call: dict[str, Any], executables: tuple[HostExecutable, ...]) -> None:
    alone = RuleSet((rule,), executables)
    shown = join(" or ".join(words) for words in rule.pattern)
    for example in call["match"]:
        if not alone.evaluate(example, any_folder=True).matched:
            raise RulesFileError(f"the rule for `{shown}` should match its example `{join(example)}`, and does not")
    for example in call["not_match"]:
        if alone.evaluate(example, any_folder=True).matched:
            raise RulesFileError(f"the rule for `{shown}` should not match its example `{join(example)}`, and does")


def _ask_child(path: Path, text: bytes) -> dict[str, Any]:
    found = importlib.util.find_spec("starlark")
    if found is None or found.origin is None or not sys.executable:
        raise RulesFileError("rules cannot be evaluated: the package starlark-pyo3 is not installed")
    places = (str(Path(__file__).parents[2]), str(Path(found.origin).parents[1]))
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _BOOT, *places, str(path)],
            input=text,
            capture_output=True,
            timeout=SECONDS,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RulesFileError(f"evaluating it took longer than {SECONDS:.0f} s", passing=True) from error
    except OSError as error:
        raise RulesFileError(f"it cannot be evaluated: {error.strerror}", passing=True) from error
    if done.returncode == -signal.SIGXCPU or done.returncode == -signal.SIGKILL:
        raise RulesFileError("evaluating it takes too long")
    if done.returncode:
        raise RulesFileError("evaluating it takes too much memory, or it is nested too deeply")
    return json.loads(done.stdout)
