"""What the reference's schema allows, our models take; what our models write, the reference's schema allows."""

from collections.abc import Iterable
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from protocol.shapes import Types
from protocol.wire import Empty, Wire
from tests.conformance import reference
from tests.conformance.instances import UNKNOWN_MEMBER, values_of, with_nulls, without_nulls

TYPES = Types(reference.mirrored(), experimental=True)


def _models() -> dict[str, type[Wire]]:
    requests = [*TYPES.client_requests, *TYPES.server_requests]
    everything = [*requests, *TYPES.client_notifications, *TYPES.server_notifications]
    models = [each.params for each in everything] + [each.response for each in requests]
    return {model.__name__: model for model in models if model is not Empty}


MODELS = _models()
EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def _sent(value: Any) -> Any:
    """The value as it comes off the wire."""
    return orjson.loads(orjson.dumps(value))


def _check(name: str, written: Any) -> None:
    schema = {"$ref": f"#/definitions/{name}", "definitions": reference.definitions()}
    errors = cast("Iterable[Any]", Draft7Validator(schema).iter_errors(written))  # pyright: ignore[reportUnknownMemberType]
    assert not list(errors)


def _kept(given_value: Any, written: Any) -> bool:
    """Whether everything that was given and has a meaning is still there."""
    if type(given_value) is not type(written):
        return False
    if isinstance(given_value, dict):
        members = cast("dict[str, Any]", given_value).items()
        return all(
            name == UNKNOWN_MEMBER or (name in written and _kept(value, written[name])) for name, value in members
        )
    if isinstance(given_value, list):
        items = cast("list[Any]", given_value)
        return len(items) == len(written) and all(map(_kept, items, written))
    return given_value == written


@pytest.mark.parametrize("name", MODELS)
@EXAMPLES
@given(data=st.data())
def test_what_the_schema_allows_is_taken_kept_and_written_as_the_schema_allows(name: str, data: st.DataObject) -> None:
    value = _sent(data.draw(values_of(name)))
    model = MODELS[name].model_validate(value)
    written = orjson.loads(model.model_dump_json())
    _check(name, written)
    assert _kept(value, written), written
    assert MODELS[name].model_validate(written) == model


@pytest.mark.parametrize("name", TYPES.sent_by_clients())
@EXAMPLES
@given(data=st.data())
def test_an_explicit_null_is_the_same_as_an_absent_member(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(name, only_left=True))
    explicit = MODELS[name].model_validate(_sent(with_nulls(value)))
    assert explicit == MODELS[name].model_validate(_sent(without_nulls(value)))


@pytest.mark.parametrize("name", TYPES.sent_by_server())
@EXAMPLES
@given(data=st.data())
def test_what_the_server_sends_leaves_no_nullable_member_out(name: str, data: st.DataObject) -> None:
    value = _sent(without_nulls(data.draw(values_of(name, only_left=True))))
    written = orjson.loads(MODELS[name].model_validate(value).model_dump_json())
    properties = reference.definitions()[name].get("properties", {})
    assert set(properties) <= set(written)
