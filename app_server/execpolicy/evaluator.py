"""The child process that evaluates one rules file: what a file does to it never reaches the daemon.

It reads the file's text from standard input and writes one JSON object to standard output: `calls`, the calls that the
file makes, in order, with their arguments checked, or `error`, what is wrong. A child, because a file may take any
amount of memory or crash the parser. It imports next to nothing, since every start counts.
"""

import json
import shlex
import sys
from collections.abc import Callable
from typing import Any, NoReturn, cast

MEMORY_BYTES = 512 << 20
CPU_SECONDS = 2
CALL_DEPTH = 100
MAX_CALLS = 20_000
MAX_ANSWER = 16 << 20
MAX_LINE = 200

DECISIONS = ("allow", "prompt", "forbidden")
PROTOCOLS = {
    "http": "http",
    "https": "https",
    "https_connect": "https",
    "http-connect": "https",
    "socks5_tcp": "socks5_tcp",
    "socks5_udp": "socks5_udp",
}


class RuleError(Exception):
    """The file is wrong; the message says where and why."""


def main() -> None:
    """Evaluate standard input as the rules file whose name is the last argument."""
    _limit_resources()
    try:
        answer = json.dumps({"calls": evaluate(sys.argv[-1], sys.stdin.buffer.read())})
        if len(answer) > MAX_ANSWER:
            raise RuleError("the file makes more rules than can be held")
    except RuleError as error:
        answer = json.dumps({"error": str(error)})
    except MemoryError:
        answer = json.dumps({"error": "evaluating the file takes too much memory"})
    sys.stdout.write(answer)


def evaluate(name: str, text: bytes) -> list[dict[str, Any]]:
    """The calls that the file makes, each with the function's name in `call`. Raises RuleError."""
    import starlark

    calls: list[dict[str, Any]] = []

    def door(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
        def call(*arguments: Any, **named: Any) -> None:
            if len(calls) >= MAX_CALLS:
                raise RuleError(f"a file may make at most {MAX_CALLS} rules")
            calls.append({"call": function.__name__} | function(*arguments, **named))

        return call

    dialect = starlark.Dialect.extended()
    dialect.enable_load = False
    dialect.enable_f_strings = True
    module = starlark.Module()
    for function in (prefix_rule, host_executable, network_rule):
        module.add_callable(function.__name__, door(function))
    try:
        program = starlark.parse(name, text.decode(), dialect)
        options = starlark.EvalOptions(max_callstack_size=CALL_DEPTH)
        starlark.eval_with(options, module, program, starlark.Globals.standard())
    except UnicodeDecodeError as error:
        raise RuleError(f"the file is not UTF-8 (byte {error.start})") from error
    except starlark.StarlarkError as error:
        told = str(error).strip().replace("error: RuleError: ", "error: ")
        raise RuleError("\n".join(line[:MAX_LINE].rstrip() for line in told.splitlines())) from error
    return calls


# What files can call. The names of the parameters are the format's.


def prefix_rule(
    pattern: Any, decision: Any = "allow", match: Any = None, not_match: Any = None, justification: Any = None
) -> dict[str, Any]:
    """Commands that begin with `pattern`; the examples are checked by the parent, who knows how rules match."""
    return {
        "pattern": [_alternatives(element) for element in _list("pattern", pattern)],
        "decision": _one_of("decision", decision, DECISIONS),
        "match": _examples("match", match),
        "not_match": _examples("not_match", not_match),
        "justification": _justification(justification),
    }


def host_executable(name: Any, paths: Any) -> dict[str, Any]:
    """The paths at which rules about the program `name` hold."""
    _text("name", name)
    if "/" in name:
        _wrong(f"`name` must be a program's bare name, not the path {name}")
    for path in _list("paths", paths, may_be_empty=True):
        if not _text("paths", path).startswith("/"):
            _wrong(f"`paths` must be absolute, unlike {path}")
        if path.rpartition("/")[2] != name:
            _wrong(f"each of `paths` must end in {name}, unlike {path}")
    return {"name": name, "paths": paths}


def network_rule(host: Any, protocol: Any, decision: Any, justification: Any = None) -> dict[str, Any]:
    """What is decided about one host and one protocol."""
    protocol = _one_of("protocol", protocol, tuple(PROTOCOLS))
    decision = _one_of("decision", decision, ("allow", "prompt", "deny", "forbidden"))
    return {
        "host": _host(host),
        "protocol": PROTOCOLS[protocol],
        "decision": "forbidden" if decision == "deny" else decision,
        "justification": _justification(justification),
    }


def _wrong(message: str) -> NoReturn:
    raise RuleError(message)


def _list(name: str, value: Any, *, may_be_empty: bool = False) -> list[Any]:
    if not isinstance(value, list):
        _wrong(f"`{name}` must be a list")
    found = cast("list[Any]", value)
    if not found and not may_be_empty:
        _wrong(f"`{name}` must not be empty")
    return found


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        _wrong(f"`{name}` must hold strings, or lists of strings that are alternatives")
    if "\0" in value:
        _wrong(f"`{name}` holds a NUL, which no command can")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        _wrong(f"`{name}` must be a text that is not blank")
    return value


def _alternatives(element: Any) -> list[str]:
    if isinstance(element, list):
        return [_word("pattern", word) for word in _list("pattern", cast("Any", element))]
    return [_word("pattern", element)]


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        _wrong(f"`{name}` must be one of {', '.join(choices)}")
    return value


def _justification(value: Any) -> str | None:
    return None if value is None else _text("justification", value)


def _examples(name: str, value: Any) -> list[list[str]]:
    examples = [] if value is None else _list(name, value, may_be_empty=True)
    return [_example(name, example) for example in examples]


def _example(name: str, example: Any) -> list[str]:
    if isinstance(example, str):
        try:
            words = shlex.split(example)
        except ValueError as error:
            _wrong(f"`{name}`: {example!r} is no shell command: {error}")
    else:
        words = [_word(name, word) for word in _list(name, example)]
    return words or _wrong(f"`{name}` must not hold an empty command")


def _host(value: Any) -> str:
    host = _text("host", value).strip().lower()
    if any(character.isspace() for character in host):
        _wrong("`host` must not hold spaces")
    if any(mark in host for mark in "/?#@"):
        _wrong("`host` must be a host's name or address alone, without scheme and path")
    if "*" in host:
        _wrong("`host` must be one host: patterns are not allowed")
    if host.startswith("["):
        if "]" not in host:
            _wrong("`host` has an opening bracket without the closing one")
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.rstrip(".")
    return host or _wrong("`host` must not be empty")


def _limit_resources() -> None:
    import resource

    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):  # a stricter limit is in force, or the system knows none
            continue
