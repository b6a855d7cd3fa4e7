"""JSON Schemas in a form in which two of them compare equal when they accept the same values."""

from collections.abc import Mapping
from typing import Any

Canonical = Any
"""Nested tuples, lists and dicts; only good for comparing and printing."""


class Canonicaliser:
    """Rewrites schemas of one set of definitions. Names stay only where `keep` has them; the rest is written out."""

    def __init__(self, definitions: Mapping[str, Any], keep: frozenset[str]) -> None:
        self._definitions, self._keep = definitions, keep

    def definition(self, name: str) -> Canonical:
        """The named type written out, with names inside."""
        return self._of(self._definitions[name])

    def _of(self, schema: Any) -> Canonical:
        if schema is True:
            return "any"
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return ("ref", name) if name in self._keep else self.definition(name)
        if "allOf" in schema:
            (only,) = schema["allOf"]
            return self._of(only)
        if "properties" not in schema and (parts := schema.get("oneOf") or schema.get("anyOf")):
            return self._union([self._of(part) for part in parts])
        if "enum" in schema:
            return self._union([("value", value) for value in schema["enum"]])
        kinds: str | list[str] = schema.get("type", "any")
        if not isinstance(kinds, str):
            # Within a list of types, "object" means any object.
            return self._union([self._of({"additionalProperties": True, **schema, "type": kind}) for kind in kinds])
        return self._plain(kinds, schema)

    def _plain(self, kind: str, schema: Any) -> Canonical:
        if kind == "array":
            return ("array", self._of(schema["items"]))
        if kind == "integer":
            # Python counts further than 32 bits; only what a client may send is bounded as the format says.
            form = {"int32": "int64", "uint": "uint64"}.get(schema["format"], schema["format"])
            return ("integer", form, int(schema.get("minimum", 0)))
        if kind == "object":
            return self._object(schema)
        return (kind, schema["minLength"]) if "minLength" in schema else kind

    def _object(self, schema: Any) -> Canonical:
        extra = schema.get("additionalProperties")
        if "properties" not in schema and extra not in (None, False):
            return ("map", self._of(extra))
        if "oneOf" in schema:
            shared = {key: value for key, value in schema.items() if key != "oneOf"}
            return self._union([self._of(_joined(shared, part)) for part in schema["oneOf"]])
        members: dict[str, Canonical] = {}
        alternatives: list[str] = []
        for part in schema.get("anyOf", ()):
            alternatives += part["required"]
            members |= {name: (self._of(value), "alternative") for name, value in part.get("properties", {}).items()}
        for name, value in schema.get("properties", {}).items():
            form = self._of(value)
            if name in alternatives:
                members[name] = (form, "alternative")
            elif name in schema.get("required", ()):
                members[name] = (form, "required")
            else:
                members[name] = (form, _default(value, form))
        return ("object", dict(sorted(members.items())), "open" if extra else "closed" if extra is False else "")

    def _union(self, parts: list[Canonical]) -> Canonical:
        flat = [inner for part in parts for inner in (part[1] if part[0] == "union" else [part])]
        unique = {repr(part): part for part in flat}
        if "any" in unique.values():
            return "any"
        ordered = [unique[key] for key in sorted(unique)]
        return ordered[0] if len(ordered) == 1 else ("union", ordered)


def _default(schema: Any, form: Canonical) -> Any:
    """What an absent member means: as the schema says, else null, false or what is empty, as the type allows."""
    unsaid: Any = False if form == "boolean" else "" if form == "string" else [] if form[0] == "array" else None
    return unsaid if schema is True else schema.get("default", unsaid)


def _joined(shared: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return {
        **part,
        "properties": {**shared["properties"], **part["properties"]},
        "required": [*shared.get("required", ()), *part.get("required", ())],
    }
