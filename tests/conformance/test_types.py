"""Every wire type of ours accepts what the reference's schema says, no more and no less."""

import pytest

from protocol.export import import_all, json_schema
from protocol.shapes import Record, Shape, Types
from protocol.wire import Wire
from tests.conformance import reference
from tests.conformance.canonical import Canonicaliser

TYPES = Types(reference.mirrored(), experimental=True)
NAMES = TYPES.reachable([*TYPES.sent_by_clients(), *TYPES.sent_by_server()])

OURS = {name: json_schema(TYPES.definition(name)) for name in NAMES}

KNOWN_DIFFERENCES: dict[str, str] = {
    "AppsConfig": "the reference sends apps by name in it, which its schema leaves out",
}
"""Type names that differ from the reference on purpose, with the reason."""

UNNAMED_THERE = {
    "ApprovedExecpolicyAmendment",
    "DecidedNetworkPolicyAmendment",
    "Denial",
    "ExecpolicyAmendmentDecision",
    "GranularApproval",
    "HttpFailure",
    "NetworkPolicyAmendmentDecision",
    "NonSteerableTurn",
    "OtlpGrpc",
    "OtlpHttp",
    "ThreadSpawn",
}
"""Objects that the reference writes out where they are used. They are compared there."""


def test_every_type_is_one_of_the_reference() -> None:
    assert set(NAMES) - set(reference.definitions()) == UNNAMED_THERE


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNNAMED_THERE])
def test_type_accepts_what_the_reference_accepts(name: str) -> None:
    if name in KNOWN_DIFFERENCES:
        pytest.skip(KNOWN_DIFFERENCES[name])
    theirs = reference.definitions()
    # Objects are compared one by one; enums and unions are written out, since a name says nothing about them.
    kept = frozenset(each for each in NAMES if "properties" in theirs.get(each, {}))
    assert Canonicaliser(OURS, kept).definition(name) == Canonicaliser(theirs, kept).definition(name)


def _experimental(shape: Shape) -> set[str]:
    return {member.name for member in shape.members if member.experimental} if isinstance(shape, Record) else set()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNNAMED_THERE])
def test_experimental_fields_are_those_of_the_reference(name: str) -> None:
    expected = reference.document()["x-experimental-fields"].get(name, [])
    assert _experimental(TYPES.definition(name)) == set(expected)


def test_variants_have_no_experimental_fields_which_the_comparison_would_miss() -> None:
    import_all()
    named = {name for name in NAMES if isinstance(TYPES.definition(name), Record)}
    marked = {
        model.__name__
        for model in _subclasses(Wire)
        if model.__module__.startswith("protocol.v") and "Experimental(" in repr(list(model.model_fields.values()))
    }
    assert marked <= named


def _subclasses(model: type[Wire]) -> set[type[Wire]]:
    children = set(model.__subclasses__())
    return children.union(*(_subclasses(child) for child in children))
