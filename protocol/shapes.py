"""What the protocol's types mean, read from their annotations; the writers of schemas spell it out."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc, get_annotations, getsource
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le, MinLen
from msgspec import Struct
from pydantic.fields import FieldInfo

from protocol import wire
from protocol.jsonrpc import RequestId
from protocol.methods import ClientNotification, ClientRequest, ServerNotification, ServerRequest
from protocol.wire import AbsolutePath, Empty, Experimental, ExperimentalUse, Wire


class Scalar(Struct, frozen=True):
    """A plain value. `kind` is JSON Schema's type, or "any"."""

    kind: Literal["string", "boolean", "integer", "number", "null", "any"]
    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None


class Choice(Struct, frozen=True):
    """One of some strings."""

    values: tuple[str, ...]


class ListOf(Struct, frozen=True):
    item: "Shape"


class MapOf(Struct, frozen=True):
    value: "Shape"


class OneOf(Struct, frozen=True):
    parts: tuple["Shape", ...]


class Named(Struct, frozen=True):
    """A type that has a name, and so a file, of its own."""

    name: str


class Member(Struct, frozen=True):
    """A field. `required` speaks of what a reader accepts; `default` is what it takes for an absent one."""

    name: str
    shape: "Shape"
    required: bool
    default: Any
    experimental: str | None
    is_alternative: bool


class Record(Struct, frozen=True):
    """An object. Of the members that are alternatives, one must be there."""

    title: str
    description: str
    members: tuple[Member, ...]
    extra: Literal["ignore", "allow", "forbid"]


Shape = Scalar | Choice | ListOf | MapOf | OneOf | Named | Record


_SPELLED = {"AbsolutePathBuf": "AbsolutePath"}
"""Names that our text has for types that clients know by another."""


def _is_model(value: Any) -> TypeGuard[type[Wire]]:
    return isinstance(value, type) and issubclass(value, Wire)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """The annotation without its `Annotated`, and the marks that were on it, those inside `Field` included."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    inner, *marks = get_args(annotation)
    found: list[Any] = []
    for mark in marks:
        found += mark.metadata if isinstance(mark, FieldInfo) else [mark]
    return inner, found


def _key(annotation: Any) -> Any:
    """Equal for annotations that mean the same, whatever alias they were written with."""
    inner, marks = _unwrap(annotation)
    constraints = [repr(mark) for mark in marks if not isinstance(mark, Experimental | ExperimentalUse)]
    if get_origin(inner) is Literal:
        return (Literal, *get_args(inner))
    if _is_union(inner):
        return (Union, frozenset(_key(part) for part in get_args(inner) if part is not NoneType))
    if get_origin(inner) is not None:
        return (get_origin(inner), *map(_key, get_args(inner)))
    return (inner, *constraints)


def _in_wire_words(text: str, spelled: dict[str, str]) -> str:
    """`text` with each field in backticks under its name on the wire, and null for None."""
    text = re.sub(r"`(\w+)`", lambda found: f"`{spelled.get(found[1], found[1])}`", text)
    return re.sub(r"\bNone\b", "null", text)


class _Source:
    """What a module's text tells and its objects do not: which alias an annotation was written with, and the
    docstrings of aliases."""

    def __init__(self, module: ModuleType) -> None:
        self.mentions: dict[tuple[str, str], frozenset[str]] = {}
        self.docs: dict[str, str] = {}
        statements = ast.parse(getsource(module)).body
        for statement, following in zip(statements, [*statements[1:], None], strict=True):
            match statement:
                case ast.Assign(targets=[ast.Name(name)], value=value):
                    self.mentions[name, ""] = _names_in_text(value)
                    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                        self.docs[name] = str(following.value.value)
                case ast.ClassDef(name=owner, body=body):
                    for field in body:
                        match field:
                            case ast.AnnAssign(target=ast.Name(name), annotation=annotation):
                                self.mentions[owner, name] = _names_in_text(annotation)
                            case _:
                                pass
                case _:
                    pass


def _names_in_text(expression: ast.expr) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(expression) if isinstance(node, ast.Name))


class Types:
    """Every method and named type of some protocol modules. Without `experimental`, the stable part of it."""

    def __init__(self, modules: Iterable[ModuleType], *, experimental: bool) -> None:
        self.experimental = experimental
        self._aliases: dict[str, Any] = {"RequestId": RequestId, "AbsolutePathBuf": AbsolutePath}
        self._models: dict[str, type[Wire]] = {}
        self._sources: dict[str, _Source] = {}
        self._homes: dict[str, _Source] = {}
        self.client_requests: list[ClientRequest[Any, Any]] = []
        self.client_notifications: list[ClientNotification[Any]] = []
        self.server_requests: list[ServerRequest[Any, Any]] = []
        self.server_notifications: list[ServerNotification[Any]] = []
        for module in modules:
            source = self._sources[module.__name__] = _Source(module)
            for name, value in vars(module).items():
                if _is_model(value) and value.__module__ == module.__name__ and value.__name__ == name:
                    self._models[name] = value
                elif (name, "") in source.mentions and name[1].islower():
                    self._aliases[name] = value
                    self._homes[name] = source
                else:
                    self._add_method(value)
        self._definitions: dict[str, Shape] = {}
        self._names: dict[Any, list[str]] = {}
        self._variants: set[type[Wire]] = set()
        for name, value in self._aliases.items():
            self._names.setdefault(_key(value), []).append(name)
            self._variants.update(part for part in self._parts(value) if _is_model(part))

    def _add_method(self, value: Any) -> None:
        if not self.experimental and getattr(value, "experimental", None) is not None:
            return
        if isinstance(value, ClientRequest):
            self.client_requests.append(cast("ClientRequest[Any, Any]", value))
        elif isinstance(value, ClientNotification):
            self.client_notifications.append(cast("ClientNotification[Any]", value))
        elif isinstance(value, ServerRequest):
            self.server_requests.append(cast("ServerRequest[Any, Any]", value))
        elif isinstance(value, ServerNotification):
            self.server_notifications.append(cast("ServerNotification[Any]", value))

    @staticmethod
    def _parts(annotation: Any) -> Sequence[Any]:
        inner, _ = _unwrap(annotation)
        return get_args(inner) if _is_union(inner) else (inner,)

    def definition(self, name: str) -> Shape:
        """What the type of this name is made of."""
        if name not in self._definitions:
            self._definitions[name] = self._definition(name)
        return self._definitions[name]

    def _definition(self, name: str) -> Shape:
        if name not in self._aliases:
            model = self._models[name]
            alternatives = model.alternatives() if issubclass(model, wire.OneOf) else ()
            return OneOf(tuple(map(self._record, alternatives))) if alternatives else self._record(model)
        value = self._aliases[name]
        home = self._homes.get(name)
        mentioned = home.mentions[name, ""] if home else frozenset[str]()
        parts = self._parts(value)
        if len(parts) == 1:
            return self._record(value) if _is_model(value) else self._plain(value, mentioned)
        return OneOf(tuple(self._record(part) if _is_model(part) else self.shape(part, mentioned) for part in parts))

    def description(self, name: str) -> str:
        """The docstring of the type of this name, in the words of the wire."""
        if name in self._models:
            return self._record(self._models[name]).description
        home = self._homes.get(name)
        return _in_wire_words(home.docs.get(name, ""), {}) if home else ""

    def shape(self, annotation: Any, mentioned: frozenset[str]) -> Shape:
        """What an annotation that was written with the `mentioned` names means; types with a name are left at that."""
        names = self._names.get(_key(annotation), [])
        known = [name for name in names if name in mentioned or _SPELLED.get(name) in mentioned]
        inner, _ = _unwrap(annotation)
        if _is_union(inner):
            parts = get_args(inner)
            if known:
                shape: Shape = Named(known[0])
                return OneOf((shape, Scalar("null"))) if NoneType in parts else shape
            return OneOf(tuple(self.shape(part, mentioned) for part in parts))
        if known:
            return Named(known[0])
        if _is_model(inner):
            return self._record(inner) if inner in self._variants else Named(inner.__name__)
        return self._plain(annotation, mentioned)

    def _plain(self, annotation: Any, mentioned: frozenset[str]) -> Shape:
        inner, marks = _unwrap(annotation)
        arguments = get_args(inner)
        if get_origin(inner) is Literal:
            return Choice(arguments)
        if get_origin(inner) is list:
            return ListOf(self.shape(arguments[0], mentioned))
        if get_origin(inner) is dict:
            return MapOf(self.shape(arguments[1], mentioned))
        if inner is int:
            minimum = next((int(str(mark.ge)) for mark in marks if isinstance(mark, Ge)), None)
            maximum = next((int(str(mark.le)) for mark in marks if isinstance(mark, Le)), None)
            return Scalar("integer", minimum, maximum)
        if inner is str:
            return Scalar("string", min_length=next((m.min_length for m in marks if isinstance(m, MinLen)), None))
        return Scalar({bool: "boolean", float: "number", NoneType: "null", Any: "any"}[inner])  # pyright: ignore[reportArgumentType]

    def _record(self, model: type[Wire]) -> Record:
        hints = get_type_hints(model, include_extras=True)
        members = [self._member(model, name, hints[name]) for name in model.model_fields]
        spelled = {name: member.name for name, member in zip(model.model_fields, members, strict=True)}
        return Record(
            title=model.__name__,
            description=_in_wire_words(cleandoc(model.__doc__ or ""), spelled),
            members=tuple(m for m in members if self.experimental or m.experimental is None),
            extra=model.model_config.get("extra") or "ignore",
        )

    def _member(self, model: type[Wire], name: str, annotation: Any) -> Member:
        field = model.model_fields[name]
        owner = next(base for base in model.__mro__ if name in get_annotations(base))
        shape = self.shape(annotation, self._sources[owner.__module__].mentions[owner.__name__, name])
        is_tag = field.default is not None and get_origin(annotation) is Literal and len(get_args(annotation)) == 1
        if is_tag and not field.is_required():
            shape = Choice(get_args(annotation))
        is_alternative = field.exclude_if is not None
        if is_alternative and isinstance(shape, OneOf):
            shape = shape.parts[0]
        reasons = [mark.reason for mark in field.metadata if isinstance(mark, Experimental)]
        return Member(
            name=field.serialization_alias or field.alias or name,
            shape=shape,
            required=field.is_required() or is_tag,
            default=None if field.is_required() or is_tag else field.default,
            experimental=reasons[0] if reasons else None,
            is_alternative=is_alternative,
        )

    def reachable(self, roots: Iterable[str]) -> list[str]:
        """The given names and all that they need, in alphabetical order."""
        found: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += names_in(self.definition(name))
        return sorted(found)

    def sent_by_clients(self) -> list[str]:
        """The names of the types that are the whole of something a client sends."""
        models = [r.params for r in (*self.client_requests, *self.client_notifications)]
        models += [r.response for r in self.server_requests]
        return [model.__name__ for model in models if model is not Empty]

    def sent_by_server(self) -> list[str]:
        """The names of the types that are the whole of something the server sends."""
        models = [r.params for r in (*self.server_requests, *self.server_notifications)]
        models += [r.response for r in self.client_requests]
        return [model.__name__ for model in models if model is not Empty]

    def asked_of_clients(self) -> list[str]:
        """The names of the params and results of server requests."""
        return [model.__name__ for r in self.server_requests for model in (r.params, r.response)]


def names_in(shape: Shape) -> Iterator[str]:
    """The names of the types that `shape` refers to directly."""
    match shape:
        case Named(name):
            yield name
        case ListOf(inner) | MapOf(inner):
            yield from names_in(inner)
        case OneOf(parts):
            for part in parts:
                yield from names_in(part)
        case Record():
            for member in shape.members:
                yield from names_in(member.shape)
        case _:
            pass
