"""Values that a JSON Schema of the reference allows."""

from functools import cache
from typing import Any, Final, cast

from hypothesis import strategies as st

from tests.conformance.reference import Schema, definitions

UNKNOWN_MEMBER: Final = "zzUnknown"
"""A member that no type has; objects that allow more members sometimes get it."""


class Left:
    """Stands for an optional member without a value, to be written as null or left out."""


LEFT: Final = Left()

_BOUNDS = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint": (0, 2**64 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_TEXT = st.text(max_size=4)
_ANY = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | _TEXT | st.lists(_TEXT, max_size=2)
_ABSOLUTE_PATHS = st.sampled_from(["/", "/srv/app", "/tmp/ä b"])


@cache
def values_of(name: str, *, only_left: bool = False) -> st.SearchStrategy[Any]:
    """Values of the named type. With `only_left`, every optional member of every object is `LEFT`."""
    return _Maker(only_left=only_left).named(name)


class _Maker:
    def __init__(self, *, only_left: bool) -> None:
        self._only_left = only_left

    def named(self, name: str) -> st.SearchStrategy[Any]:
        if name == "AbsolutePathBuf":
            return _ABSOLUTE_PATHS
        return self._of(definitions()[name])

    def _of(self, schema: Schema | bool) -> st.SearchStrategy[Any]:
        if not isinstance(schema, dict):
            return _ANY
        if "$ref" in schema:
            return values_of(schema["$ref"].rpartition("/")[2], only_left=self._only_left)
        if "allOf" in schema:
            return self._of(schema["allOf"][0])
        if "properties" not in schema and (parts := schema.get("oneOf") or schema.get("anyOf")):
            return st.one_of([self._of(part) for part in parts])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kinds: str | list[str] = schema.get("type", "any")
        if not isinstance(kinds, str):
            return st.one_of([self._of({"additionalProperties": True, **schema, "type": kind}) for kind in kinds])
        return self._plain(kinds, schema)

    def _plain(self, kind: str, schema: Schema) -> st.SearchStrategy[Any]:
        match kind:
            case "any":
                return _ANY
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "number":
                return st.floats(allow_nan=False, allow_infinity=False)
            case "integer":
                low, high = _BOUNDS[schema["format"]]
                return st.integers(max(low, int(schema.get("minimum", low))), high)
            case "string":
                return st.text(min_size=schema.get("minLength", 0), max_size=4)
            case "array":
                return st.lists(self._of(schema["items"]), max_size=2)
            case _:
                return self._object(schema)

    def _object(self, schema: Schema) -> st.SearchStrategy[Any]:
        extra = schema.get("additionalProperties")
        if "properties" not in schema and extra not in (None, False):
            return st.dictionaries(_TEXT, self._of(extra), max_size=2)
        if parts := schema.get("oneOf") or schema.get("anyOf"):
            shared = {key: value for key, value in schema.items() if key not in ("oneOf", "anyOf")}
            return st.one_of([self._object(_joined(shared, part)) for part in parts])
        required = set(schema.get("required", ()))
        fixed: dict[str, st.SearchStrategy[Any]] = {}
        optional: dict[str, st.SearchStrategy[Any]] = {}
        for name, value in schema.get("properties", {}).items():
            if name in required:
                fixed[name] = self._of(value)
            elif self._only_left:
                fixed[name] = st.just(LEFT)
            else:
                optional[name] = self._of(value)
        if extra is not False and not self._only_left:
            optional[UNKNOWN_MEMBER] = _TEXT
        return st.fixed_dictionaries(fixed, optional=optional)


def _joined(shared: Schema, part: Schema) -> Schema:
    """The object with one of its variants or alternatives chosen."""
    return {
        **shared,
        **{key: value for key, value in part.items() if key in ("anyOf", "oneOf")},
        "properties": {**shared.get("properties", {}), **part.get("properties", {})},
        "required": [*shared.get("required", ()), *part.get("required", ())],
    }


def with_nulls(value: Any) -> Any:
    """A copy with null for every member that is `LEFT`."""
    if isinstance(value, dict):
        return {name: with_nulls(member) for name, member in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [with_nulls(item) for item in cast("list[Any]", value)]
    return None if value is LEFT else value


def without_nulls(value: Any) -> Any:
    """A copy without the members that are `LEFT`."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {name: without_nulls(member) for name, member in members if member is not LEFT}
    return [without_nulls(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value
