"""Every described request has exactly one handler, and no handler answers anything else."""

from app_server.handlers.registry import HANDLERS, MODULES, load_handlers, module_of
from protocol.export import import_all
from protocol.methods import ClientRequest, registered
from protocol.v1 import INITIALIZE


def test_every_client_request_has_a_handler() -> None:
    import_all()
    described = {descriptor.method for descriptor in registered(ClientRequest)}
    # The dispatcher itself answers `initialize`, before any handler is imported.
    assert set(load_handlers()) == described - {INITIALIZE.method}


def test_a_handler_is_registered_under_its_own_descriptor() -> None:
    assert all(method == endpoint.descriptor.method for method, endpoint in load_handlers().items())


def test_the_beginning_of_a_method_tells_the_module_that_handles_it() -> None:
    load_handlers()
    for method, endpoint in HANDLERS.items():
        if endpoint.descriptor.availability != "later":
            assert module_of(method) == endpoint.handler.__module__, method


def test_no_beginning_is_listed_twice() -> None:
    starts = [start for starts in MODULES.values() for start in starts]
    assert len(starts) == len(set(starts))
