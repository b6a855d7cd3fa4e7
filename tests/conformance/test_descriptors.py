"""Every method of ours is a method of the reference, with the same types and the same stability."""

from collections.abc import Iterator
from typing import Any

import pytest

from protocol.methods import Descriptor, ServerNotification
from protocol.shapes import Types
from protocol.wire import Empty
from tests.conformance import reference
from tests.conformance.reference import Direction, Method

UNLISTED = "sent by the reference, though its table of methods leaves it out"

KNOWN_DIFFERENCES = {"rawResponseItem/completed": UNLISTED, "rawResponse/completed": UNLISTED}
"""Method names that differ from the reference on purpose, with the reason."""


TYPES = Types(reference.mirrored(), experimental=True)


def _described() -> Iterator[tuple[Direction, Descriptor]]:
    for request in TYPES.client_requests:
        yield "client request", request
    for notification in TYPES.client_notifications:
        yield "client notification", notification
    for request in TYPES.server_requests:
        yield "server request", request
    for notification in TYPES.server_notifications:
        yield "server notification", notification


def _name(model: type[Any] | None) -> str:
    return "" if model is None or model is Empty else model.__name__


ALL = [pytest.param(*pair, id=f"{pair[0]}: {pair[1].method}") for pair in _described()]


@pytest.mark.parametrize(("direction", "descriptor"), ALL)
def test_method_is_described_as_the_reference_has_it(direction: Direction, descriptor: Descriptor) -> None:
    if descriptor.method in KNOWN_DIFFERENCES:
        pytest.skip(KNOWN_DIFFERENCES[descriptor.method])
    ours = Method(
        direction,
        descriptor.method,
        is_experimental=getattr(descriptor, "experimental", None) is not None,
        params=_name(descriptor.params),
        result=_name(getattr(descriptor, "response", None)),
    )
    assert ours == reference.methods()[direction, descriptor.method]


@pytest.mark.parametrize(("direction", "descriptor"), ALL)
def test_result_type_is_the_one_the_schema_maps_the_method_to(direction: Direction, descriptor: Descriptor) -> None:
    expected = reference.document()["x-results"].get(descriptor.method, "") if direction.endswith("request") else ""
    assert _name(getattr(descriptor, "response", None)) == expected


@pytest.mark.parametrize(("direction", "descriptor"), ALL)
def test_an_experimental_method_gives_its_own_name_as_the_reason(direction: Direction, descriptor: Descriptor) -> None:
    assert getattr(descriptor, "experimental", None) in (None, descriptor.method)


@pytest.mark.parametrize("notification", TYPES.server_notifications, ids=lambda each: each.method)
def test_a_delta_names_a_text_field_of_its_params(notification: ServerNotification[Any]) -> None:
    if notification.delta_of is None:
        assert not notification.method.endswith(("summaryTextDelta", "textDelta", "agentMessage/delta"))
    else:
        assert notification.params.model_fields[notification.delta_of].annotation is str


def test_requests_that_change_a_thread_wait_for_each_other_and_an_interrupt_waits_for_none() -> None:
    orders = {request.method: request.order.__name__ for request in TYPES.client_requests}
    changing = {name for name, order in orders.items() if order == "by_thread"}
    assert {"turn/start", "turn/steer", "thread/resume", "thread/archive", "thread/settings/update"} <= changing
    assert orders["turn/interrupt"] == "unordered"
    for request in TYPES.client_requests:
        if request.order.__name__ in ("by_thread", "reads_thread"):
            assert "thread_id" in request.params.model_fields
