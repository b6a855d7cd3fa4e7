"""Params for any request, made from the types of the protocol: right ones, strange ones, and wrong ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from protocol.export import import_all
from protocol.methods import ClientRequest
from protocol.shapes import Choice, ListOf, MapOf, Member, Named, OneOf, Record, Scalar, Shape, Types
from protocol.wire import Empty

Params = dict[str, Any]

DEEP = 400
"""Levels of nesting that a client may send and nothing needs."""


def deeply(value: Any) -> Any:
    """The value inside of many lists and objects."""
    for _ in range(DEEP // 2):
        value = [{"deep": value}]
    return value


WRONG: tuple[Any, ...] = (None, True, 17, -1, 10**30, 1.5, "", "no such word", [], {}, ["x"], {"x": 1}, deeply(1))
"""Values of every kind: for each member most of them are of the wrong one."""


@dataclass(frozen=True)
class Flavour:
    """How values are chosen. `choice` picks among alternatives, `optional` adds all that may be left out."""

    name: str
    text: str
    path: str
    number: int | None
    length: int
    anything: Any
    choice: int
    optional: bool


def flavours(place: str) -> Iterator[Flavour]:
    """Ways to be strange and still right by type; paths are below the folder `place`."""
    for optional in (False, True):
        yield Flavour("plain", "plain", f"{place}/plain", 1, 1, "plain", 0, optional)
        yield Flavour("empty", "", f"{place}/", 0, 0, None, 1, optional)
        yield Flavour("none", "00000000-0000-7000-8000-000000000000", f"{place}/none/none", -1, 1, [], 2, optional)
        yield Flavour("signs", "\0\n\x1b[31m\ufeffä\U0001f600'\"$(", f"{place}/\x1bä'\n", 2**31 - 1, 3, {}, 3, optional)
        yield Flavour("long", "x" * 70_000, f"{place}/{'x' * 5000}", 2**63 - 1, 1, deeply(1), 4, optional)
        yield Flavour("many", "many", f"{place}/many", 7, 200, [1] * 200, 5, optional)
        yield Flavour("up", "../../..", f"{place}/../../nowhere", 2**63 - 1, 2, {"../..": ["../.."]}, 6, optional)
        yield Flavour("most", "*", f"{place}/*", None, 2, 1e308, 7, optional)


class Maker:
    """Makes params for requests."""

    def __init__(self) -> None:
        self.types = Types(import_all(), experimental=True)

    def members(self, request: ClientRequest[Any, Any]) -> list[Member]:
        """What the params of a request may have, of all their alternatives."""
        if request.params is Empty:
            return []
        shape = self.types.definition(request.params.__name__)
        records = shape.parts if isinstance(shape, OneOf) else (shape,)
        return [member for record in records if isinstance(record, Record) for member in record.members]

    def params(self, request: ClientRequest[Any, Any], flavour: Flavour, **fixed: Any) -> Params:
        """Params that are right by type. `fixed` are members by their wire names, used where the request has them."""
        if request.params is Empty:
            return {}
        made = self._value(Named(request.params.__name__), flavour, "")
        return {name: fixed.get(name, value) for name, value in made.items()}

    def _value(self, shape: Shape, flavour: Flavour, name: str, depth: int = 0) -> Any:
        match shape:
            case Scalar("string"):
                return flavour.text or "x" * (shape.min_length or 0)
            case Scalar("boolean"):
                return flavour.choice % 2 == 0
            case Scalar("integer"):
                return _number(shape, flavour)
            case Scalar("number"):
                return 0.5
            case Scalar("null"):
                return None
            case Scalar():
                return flavour.anything
            case Choice(values):
                return values[flavour.choice % len(values)]
            case ListOf(inner):
                return [self._value(inner, flavour, name, depth + 1)] * _length(flavour, depth)
            case MapOf(inner):
                value = self._value(inner, flavour, name, depth + 1)
                return {f"{flavour.text[:100]}{number}": value for number in range(_length(flavour, depth))}
            case OneOf(parts):
                useful = [part for part in parts if part != Scalar("null")]
                return self._value(useful[flavour.choice % len(useful)], flavour, name, depth + 1)
            case Named("AbsolutePathBuf"):
                return flavour.path
            case Named("LegacyAppPathString"):
                return flavour.path if flavour.optional else flavour.text
            case Named(inner_name):
                return self._value(self.types.definition(inner_name), flavour, name, depth + 1)
            case Record(members=members):
                wanted = [m for m in members if m.required or (flavour.optional and depth < 8)]
                alternatives = [m for m in wanted if m.is_alternative]
                kept = alternatives[flavour.choice % len(alternatives)] if alternatives else None
                return {
                    m.name: self._value(m.shape, flavour, m.name, depth + 1)
                    for m in wanted
                    if not m.is_alternative or m is kept
                }


def _length(flavour: Flavour, depth: int) -> int:
    return flavour.length if depth < 3 else min(flavour.length, 1)


def _number(shape: Scalar, flavour: Flavour) -> int:
    low = -(2**63) if shape.minimum is None else shape.minimum
    high = shape.maximum if shape.maximum is not None else 2**63 - 1 if shape.minimum is None else 2**64 - 1
    return high if flavour.number is None else min(max(flavour.number, low), high)
