"""Which members need the experimental capability, and how they are refused and removed."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args

import orjson
from pydantic import BaseModel

from protocol.jsonrpc import RpcError, invalid_request
from protocol.wire import Experimental

Plan = dict[str, "Plan | None"]
"""Members to look into, by wire name; None marks a member that has to go."""


def _reasons(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Experimental):
                yield field.serialization_alias or field.alias or name, mark.reason


@cache
def _fields(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    return tuple(_reasons(model))


def refusal(reason: str) -> RpcError:
    """The answer to a client that uses an experimental method or field without the capability."""
    return invalid_request(f"{reason} requires experimentalApi capability")


def refuse_experimental_fields(model: type[BaseModel], params: dict[str, Any]) -> None:
    """Raise if `params` uses an experimental field of `model`. Null and false are no use of it."""
    for alias, reason in _fields(model):
        if params.get(alias) not in (None, False):
            raise refusal(reason)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _plan(model: type[BaseModel], above: tuple[type[BaseModel], ...]) -> Plan:
    plan: Plan = {}
    for name, field in model.model_fields.items():
        alias = field.serialization_alias or field.alias or name
        if any(isinstance(mark, Experimental) for mark in field.metadata):
            plan[alias] = None
            continue
        inner: Plan = {}
        for child in _models(field.annotation):
            if child not in above:
                inner.update(_plan(child, (*above, child)))
        if inner:
            plan[alias] = inner
    return plan


def _prune(value: Any, plan: Plan) -> None:
    if isinstance(value, list):
        for entry in value:  # pyright: ignore[reportUnknownVariableType]
            _prune(entry, plan)
    elif isinstance(value, dict):
        for alias, inner in plan.items():
            if inner is None:
                value.pop(alias, None)  # pyright: ignore[reportUnknownMemberType]
            elif alias in value:
                _prune(value[alias], inner)


@cache
def stripper(model: type[BaseModel]) -> Callable[[bytes], bytes] | None:
    """A function that removes experimental members from the JSON of a `model`; None if it has none."""
    plan = _plan(model, (model,))
    if not plan:
        return None

    def strip(encoded: bytes) -> bytes:
        value = orjson.loads(encoded)
        _prune(value, plan)
        return orjson.dumps(value)

    return strip


@cache
def message_stripper(model: type[BaseModel], member: str) -> Callable[[bytes], bytes] | None:
    """Like `stripper`, for a whole message whose `member` (params or result) holds the model."""
    plan = _plan(model, (model,))
    if not plan:
        return None

    def strip(encoded: bytes) -> bytes:
        value = orjson.loads(encoded)
        _prune(value.get(member), plan)
        return orjson.dumps(value)

    return strip
