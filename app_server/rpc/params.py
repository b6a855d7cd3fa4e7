"""From decoded JSON to a params model, and from its complaints to a sentence for the client."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from protocol.jsonrpc import invalid_request

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], params: Any) -> M:
    """`params` as a `model`; absent params count as an empty object. Raises -32600 naming the field."""
    try:
        return model.model_validate({} if params is None else params, by_alias=True, by_name=False)
    except ValidationError as error:
        raise invalid_request(f"Invalid request: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    # Names of union members and validators stand between the fields in a location; they mean nothing to a client.
    path = ".".join(str(part) for part in problem["loc"] if isinstance(part, int) or _is_field_name(part))
    if problem["type"] == "missing":
        return f"missing field `{path}`"
    if problem["type"] == "string_pattern_mismatch":
        # Paths are the only strings with a pattern, and it says nothing to a reader.
        return f"`{path}`: must be an absolute path"
    text = problem["msg"][0].lower() + problem["msg"][1:]
    return f"`{path}`: {text}" if path else f"params: {text}"


def _is_field_name(part: str) -> bool:
    return part.isidentifier() and not part[0].isupper()
