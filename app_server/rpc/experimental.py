"""Which members need the experimental capability, and how they are refused and removed."""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import orjson

from protocol.jsonrpc import RpcError, invalid_request
from protocol.wire import Experimental, ExperimentalUse, Wire, models_in

Plan = dict[str, "Plan | str"]
"""Members to look into, by wire name; a text marks an experimental member and is its name in a refusal."""


def refusal(reason: str) -> RpcError:
    """The answer to a client that uses an experimental method or field without the capability."""
    return invalid_request(f"{reason} requires experimentalApi capability")


def refuse_experimental_fields(model: type[Wire], params: dict[str, Any]) -> None:
    """Raise if `params` uses an experimental field of `model`, at any depth. Null and false are no use of it."""
    if plan := _plan(model, sending=True):
        _refuse(params, plan)


def _refuse(value: Any, plan: Plan) -> None:
    if isinstance(value, list):
        for entry in cast("list[Any]", value):
            _refuse(entry, plan)
    elif isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        for alias, inner in plan.items():
            used = members.get(alias)
            if isinstance(inner, dict):
                _refuse(used, inner)
            elif used not in (None, False):
                raise refusal(inner)


@cache
def _plan(model: type[Wire], above: tuple[type[Wire], ...] = (), *, sending: bool = False) -> Plan:
    """What concerns members of `model`; `sending` adds those that only must not come from a client."""
    marks = (Experimental, ExperimentalUse) if sending else Experimental
    plan: Plan = {}
    for name, field in model.model_fields.items():
        alias = field.serialization_alias or field.alias or name
        mark = next((mark for mark in field.metadata if isinstance(mark, marks)), None)
        if mark is not None:
            plan[alias] = mark.reason
            continue
        inner: Plan = {}
        for child in models_in(field.annotation):
            if child is not model and child not in above:
                inner.update(_plan(child, (*above, model), sending=sending))
        if inner:
            plan[alias] = inner
    return plan


def _prune(value: Any, plan: Plan) -> None:
    if isinstance(value, list):
        for entry in cast("list[Any]", value):
            _prune(entry, plan)
    elif isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        for alias, inner in plan.items():
            if not isinstance(inner, dict):
                members.pop(alias, None)
            elif alias in members:
                _prune(members[alias], inner)


@cache
def stripper(model: type[Wire], member: str | None = None) -> Callable[[bytes], bytes] | None:
    """A function that removes experimental members from the JSON of a `model`; None if it has none.

    With `member` (`params` or `result`) the JSON is a whole message that holds the model there.
    """
    plan = _plan(model)
    if not plan:
        return None

    def strip(encoded: bytes) -> bytes:
        value = orjson.loads(encoded)
        _prune(value if member is None else value.get(member), plan)
        return orjson.dumps(value)

    return strip
