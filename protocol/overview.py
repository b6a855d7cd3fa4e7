"""Every method in one document, written from the descriptors: `python -m protocol.overview docs/methods.md`."""

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from inspect import getsource
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from protocol.export import import_all
from protocol.methods import Availability, ClientRequest, ServerNotification, ServerRequest
from protocol.shapes import Types
from protocol.v1 import INITIALIZE
from protocol.wire import Empty, Wire

_STATES: Mapping[Availability, str] = {"works": "works", "account": "needs an account", "later": "later"}
_SCOPES = {"read": "observe", "act": "no-shell", "shell": "full"}

_HEAD = """\
# Methods

Written by `python -m protocol.overview docs/methods.md`; a test compares.

| state | count | meaning |
| --- | --- | --- |
| works | {works} | does all that it is for, with nothing but this machine and a model |
| needs an account | {account} | answers as to somebody who is not signed in to OpenAI |
| later | {later} | knows its types; answers as far as there is something to answer, or that it is not supported yet |

*Experimental* methods are for clients that say `experimentalApi` in `initialize`. *Token* is the least scope of a
websocket token that allows a method: `observe`, `no-shell` or `full`; for `by params` it depends on what is asked.
"""


def markdown() -> str:
    """The document: client requests by subject, then what the server asks and tells."""
    modules = import_all()
    types = Types(modules, experimental=True)
    requests = types.client_requests
    counts = {state: sum(request.availability == state for request in requests) for state in _STATES}
    lines = [_HEAD.format_map(counts), f"## Requests of clients ({len(requests)})"]
    for module in modules:
        if own := _defined_in(module, requests):
            lines += ["", f"### {_title(module)}", "", "| method | stability | state | token | |", "| --- " * 5 + "|"]
            lines += (_request_row(types, module, request) for request in own)
    lines += ["", f"## Requests of the server ({len(types.server_requests)})", ""]
    lines += ["| method | stability | |", "| --- " * 3 + "|"]
    for request in sorted(types.server_requests, key=_method):
        lines.append(f"| `{request.method}` | {_stability(request)} | {_about(types, request.params)} |")
    lines += ["", f"## Notifications of the server ({len(types.server_notifications)})", ""]
    lines += ["| method | |", "| --- " * 2 + "|"]
    for notification in sorted(types.server_notifications, key=_method):
        lines.append(f"| `{notification.method}` | {_about(types, notification.params)} |")
    return "\n".join(lines) + "\n"


def _defined_in(module: ModuleType, requests: Sequence[ClientRequest[Any, Any]]) -> Sequence[ClientRequest[Any, Any]]:
    own = {id(value) for value in vars(module).values()}
    return sorted((request for request in requests if id(request) in own), key=_method)


def _method(descriptor: ClientRequest[Any, Any] | ServerRequest[Any, Any] | ServerNotification[Any]) -> str:
    return descriptor.method


def _title(module: ModuleType) -> str:
    return _first_sentence(module.__doc__ or "").rstrip(".")


def _request_row(types: Types, module: ModuleType, request: ClientRequest[Any, Any]) -> str:
    scope = _scope(request)
    about = _about(types, request.params) or _first_sentence(_docs(module).get(request.method, ""))
    state = _STATES[request.availability]
    return f"| `{request.method}` | {_stability(request)} | {state} | {scope} | {about} |"


def _scope(request: ClientRequest[Any, Any]) -> str:
    if request is INITIALIZE:
        return "any"
    return _SCOPES[request.access] if isinstance(request.access, str) else "by params"


def _stability(descriptor: ClientRequest[Any, Any] | ServerRequest[Any, Any]) -> str:
    return "stable" if descriptor.experimental is None else "experimental"


def _about(types: Types, params: type[Wire]) -> str:
    return "" if params is Empty else _first_sentence(types.description(params.__name__))


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.?!]) ", paragraph)[0].replace("|", "\\|")


def _docs(module: ModuleType) -> Mapping[str, str]:
    """The docstrings beneath the descriptors of a module, by method."""
    return dict(_documented(ast.parse(getsource(module)).body))


def _documented(statements: Sequence[ast.stmt]) -> Iterable[tuple[str, str]]:
    for statement, following in pairwise(statements):
        match statement, following:
            case (
                ast.Assign(value=ast.Call(args=[ast.Constant(value=str(method)), *_])),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield method, text
            case _:
                pass


if __name__ == "__main__":
    for file in sys.argv[1:] or ("/dev/stdout",):
        Path(file).write_text(markdown(), "utf-8")
