"""The child process that evaluates one rules file: what a project's file does to it never reaches the daemon.

The file's text is read from standard input; one JSON object is written to standard output: `calls`, in order, each an
object with the called function's name in `call`, or `error`, a text. It imports next to nothing: every start counts.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, cast

MEMORY_BYTES = 512 << 20
CPU_SECONDS = 2
CALL_DEPTH = 100
MAX_RULES = 20_000

DECISIONS = ("allow", "prompt", "forbidden")
PROTOCOLS = {
    "http": "http",
    "https": "https",
    "https_connect": "https",
    "http-connect": "https",
    "socks5_tcp": "socks5_tcp",
    "socks5_udp": "socks5_udp",
}


def main() -> None:
    """Evaluate standard input as the rules file whose name is the last argument."""
    _limit_resources()
    text = sys.stdin.buffer.read().decode("utf-8-sig")
    try:
        answer: dict[str, Any] = {"calls": evaluate(sys.argv[-1], text)}
    except RuleError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "evaluating the file takes too much memory"}
    sys.stdout.write(json.dumps(answer))


class RuleError(Exception):
    """The file is wrong; the message says where and why."""


def evaluate(name: str, text: str) -> list[dict[str, Any]]:
    """The calls that the file makes, their arguments checked. Raises RuleError."""
    import starlark

    calls: list[dict[str, Any]] = []

    def note(call: dict[str, Any]) -> None:
        if len(calls) >= MAX_RULES:
            raise RuleError(f"a file may hold {MAX_RULES} rules")
        calls.append(call)

    dialect = starlark.Dialect.extended()
    dialect.enable_load = False
    dialect.enable_f_strings = True
    module = starlark.Module()
    for function in (_prefix_rule, _host_executable, _network_rule):
        module.add_callable(function.__name__.removeprefix("_"), _noting(function, note))
    try:
        program = starlark.parse(name, text, dialect)
        starlark.eval_with(
            starlark.EvalOptions(max_callstack_size=CALL_DEPTH), module, program, starlark.Globals.standard()
        )
    except starlark.StarlarkError as error:
        raise RuleError(str(error).strip()) from error
    return calls


def _noting(function: Callable[..., dict[str, Any]], note: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    def call(*arguments: Any, **named: Any) -> None:
        note(function(*arguments, **named))

    return call


def _prefix_rule(
    pattern: Any,
    decision: Any = "allow",
    match: Any = (),
    not_match: Any = (),
    justification: Any = None,
) -> dict[str, Any]:
    return {
        "call": "prefix_rule",
        "pattern": [_alternatives(element) for element in _list("pattern", pattern)],
        "decision": _choice("decision", decision, DECISIONS),
        "justification": _justification(justification),
        "match": _examples("match", match),
        "not_match": _examples("not_match", not_match),
    }


def _host_executable(name: Any, paths: Any) -> dict[str, Any]:
    _text("name", name)
    return {"call": "host_executable", "name": name, "paths": paths}


def _network_rule(host: Any, protocol: Any, decision: Any, justification: Any = None) -> dict[str, Any]:
    return {
        "call": "network_rule",
        "host": host,
        "protocol": protocol,
        "decision": decision,
        "justification": justification,
    }


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RuleError(f"`{name}` must be a list that is not empty")
    return cast("list[Any]", value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RuleError(f"`{name}` must be a string that is not blank")
    return value


def _alternatives(element: Any) -> list[str]:
    return [element] if isinstance(element, str) else [_text("pattern", word) for word in _list("pattern", element)]


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise RuleError(f"`{name}` must be one of {', '.join(choices)}")
    return value


def _justification(value: Any) -> str | None:
    return None if value is None else _text("justification", value)


def _examples(name: str, value: Any) -> list[Any]:
    return list(value)


def _limit_resources() -> None:
    import resource

    for limit, value in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS)):
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):
            continue


_SPACE = re.compile(r"\s")
