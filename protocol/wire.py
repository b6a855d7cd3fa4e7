"""What every wire model has in common."""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar, Union, cast, get_args, get_origin

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import CoreSchema, PydanticUndefined, PydanticUseDefault, core_schema


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _default_for_null(value: Any) -> Any:
    if value is None:
        raise PydanticUseDefault
    return value


_NULL_IS_ABSENT = BeforeValidator(_default_for_null)


class Wire(BaseModel):
    """An object on the wire: camelCase members, unknown members ignored, immutable once built.

    Validation is strict (no number is taken for a string or the reverse). A nullable field without a
    value is written as `null`, never left out. On the way in, `null` for a field with a default is the
    same as no value, whether or not the field's type allows `None`.
    """

    model_config = ConfigDict(
        alias_generator=_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        strict=True,
        defer_build=True,
        protected_namespaces=(),
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        # Once per class, before its validator is built: only fields that need it pay, and only when they are sent.
        for field in cls.model_fields.values():
            is_tag = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
            has_default = field.default not in (PydanticUndefined, None) or field.default_factory is not None
            if has_default and not is_tag and _NULL_IS_ABSENT not in field.metadata:
                field.metadata.append(_NULL_IS_ABSENT)

    @classmethod
    def model_rebuild(cls, **kwargs: Any) -> bool | None:
        """Build the validator, as first use does; innermost models first, which outer ones then share.

        Left to itself pydantic copies what is inside into each outer validator: three times the work.
        """
        if not cls.__pydantic_complete__:
            for field in cls.model_fields.values():
                if _SELDOM_FILLED not in field.metadata:
                    for inner in models_in(field.annotation):
                        inner.model_rebuild()
        return super().model_rebuild(**kwargs)


class _SeldomFilled:
    """See SeldomFilled."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        adapter = cache(lambda: TypeAdapter[list[Any]](source))
        return core_schema.no_info_plain_validator_function(
            lambda value: adapter().validate_python(value) if value != [] else [],
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: adapter().dump_python(value, mode="json") if value else []
            ),
        )


_SELDOM_FILLED = _SeldomFilled()

Row = TypeVar("Row")
SeldomFilled = Annotated[list[Row], _SELDOM_FILLED]
"""A list that is mostly empty, or written as stored JSON: its validators are built when one of them is first needed."""


def models_in(annotation: Any) -> Iterator[type[Wire]]:
    """Every wire model that `annotation` names, at any depth of unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, Wire):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from models_in(argument)


class Empty(Wire):
    """Params or a result without members."""


class OneOf(Wire):
    """Params or a result that is one of several objects: of the classes derived directly from a class that is derived
    directly from this one. A literal member that all of them have, with a value of its own in each, tells them apart;
    without one, the first that fits is taken.

    `LoginAccountParams(OneOf)` with `ApiKeyLogin(LoginAccountParams)` and others: `LoginAccountParams.model_validate`
    gives one of the others.
    """

    @classmethod
    def alternatives(cls) -> tuple[type["OneOf"], ...]:
        """The objects that this may be, in order of definition; none for such an object itself."""
        return tuple(cls.__subclasses__()) if OneOf in cls.__bases__ else ()

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The alternative that fits `obj`. Raises ValidationError."""
        if cls.alternatives():
            return cast("Self", _alternatives_of(cls).validate_python(obj, **options))
        return super().model_validate(obj, **options)

    @classmethod
    def model_rebuild(cls, **kwargs: Any) -> bool | None:
        """Build the validators of all alternatives, as first use does."""
        if cls.alternatives():
            _alternatives_of(cls)
        return super().model_rebuild(**kwargs)


@cache
def _alternatives_of(choice: type[OneOf]) -> TypeAdapter[OneOf]:
    alternatives = choice.alternatives()
    for alternative in alternatives:
        alternative.model_rebuild()
    tags = [name for name, field in alternatives[0].model_fields.items() if get_origin(field.annotation) is Literal]
    tag = next((n for n in tags if all(n in other.model_fields for other in alternatives)), None)
    # What is put together here is nothing that a checker of types can follow.
    form: Any = Union[alternatives]  # noqa: UP007
    if tag is not None:
        form = Annotated[form, Field(discriminator=tag)]
    return cast("TypeAdapter[OneOf]", TypeAdapter(form))


class SnakeWire(Wire):
    """An object whose members keep their snake_case names on the wire, as configuration does."""

    model_config = ConfigDict(alias_generator=None)


class Experimental(Struct, frozen=True):
    """Marks a field that only clients with the `experimentalApi` capability may send or see.

    `reason` is the name that a refusal gives, for example `thread/start.dynamicTools`.
    """

    reason: str


class ExperimentalUse(Struct, frozen=True):
    """Marks a field that every client may see, and only those with the `experimentalApi` capability may send.

    `reason` is as for `Experimental`.
    """

    reason: str


AbsolutePath = Annotated[str, Field(pattern=r"^(/|[A-Za-z]:[\\/]|\\\\)[^\x00]*$")]
"""A path that does not depend on a working directory; POSIX or Windows form. No path has a null character in it."""

UInt = Annotated[int, Field(ge=0)]
"""A number that cannot be negative (the schema's uint and uint64)."""

UInt32 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
UInt16 = Annotated[int, Field(ge=0, le=0xFFFF)]


def _is_none(value: Any) -> bool:
    return value is None


ABSENT_WHEN_NONE = Field(exclude_if=_is_none)
"""For the members of which an object has one or the other: the one that it does not have is not written."""
