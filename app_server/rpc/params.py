"""From decoded JSON to a params model, and from its complaints to a sentence for the client."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from protocol.jsonrpc import invalid_request

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], params: Any) -> M:
    """`params` as a `model`; absent params count as an empty object. Raises -32600 naming the field."""
    given: Any = {} if params is None else params
    try:
        return model.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise invalid_request(f"Invalid request: {_sentence(problem, given)}") from None


def _sentence(problem: ErrorDetails, params: Any) -> str:
    steps = list(_steps(problem, params))
    if problem["type"] == "union_tag_not_found":
        # The name comes in quotation marks.
        steps.append(str(problem.get("ctx", {}).get("discriminator", "type")).strip("'"))
    path = ".".join(steps)
    if problem["type"] in ("missing", "union_tag_not_found"):
        return f"missing field `{path}`"
    if problem["type"] == "string_pattern_mismatch":
        # Paths are the only strings with a pattern, and it says nothing to a reader.
        return f"`{path}`: must be an absolute path"
    text = problem["msg"][0].lower() + problem["msg"][1:]
    return f"`{path}`: {text}" if path else f"params: {text}"


def _steps(problem: ErrorDetails, params: Any) -> Iterator[str]:
    """The way to the field, without what stands in between and means nothing to a client: validators, union members,
    and the tag that has chosen one of them."""
    value, tagged = params, False
    *before, last = problem["loc"] or ("",)
    for step in before:
        if isinstance(value, list) and isinstance(step, int):
            value, tagged = cast("list[Any]", value)[step], False
        elif isinstance(value, Mapping):
            members = cast("Mapping[Any, Any]", value)
            if (not tagged and members.get("type") == step) or step not in members:
                tagged = True
                continue
            value, tagged = members[step], False
        else:
            return
        yield str(step)
    if _is_in(value, last) or problem["type"] == "missing":
        yield str(last)


def _is_in(value: Any, step: int | str) -> bool:
    if isinstance(step, int):
        return isinstance(value, list)
    return isinstance(value, Mapping) and step in value
