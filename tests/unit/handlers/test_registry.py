"""Every described request has exactly one handler, and no handler answers anything else."""

from app_server.handlers.registry import load_handlers
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
