"""What every wire model has in common."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """An object on the wire: camelCase members, unknown members ignored, immutable once built.

    Validation is strict (no number is taken for a string or the reverse). A nullable field without a
    value is written as `null`, never left out.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        strict=True,
        defer_build=True,
        protected_namespaces=(),
    )


class SnakeWire(Wire):
    """An object whose members keep their snake_case names on the wire, as configuration does."""

    model_config = ConfigDict(alias_generator=None)


@dataclass(frozen=True, slots=True)
class Experimental:
    """Marks a field that only clients with the `experimentalApi` capability may send or see.

    `reason` is the name that a refusal gives, for example `thread/start.dynamicTools`.
    """

    reason: str


AbsolutePath = Annotated[str, Field(pattern=r"^(/|[A-Za-z]:[\\/]|\\\\)")]
"""A path that does not depend on a working directory; POSIX or Windows form."""

UInt = Annotated[int, Field(ge=0)]
"""A number that cannot be negative (the schema's uint, uint32 and uint64)."""
