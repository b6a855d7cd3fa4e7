"""A detector for code that blocks the event loop."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from protocol.v1 import InitializeParams

# What is loaded at first use reads files, once.
for module in ("jsonrpcserver", "app_server.rpc.experimental", "app_server.rpc.params"):
    import_module(module)
InitializeParams.model_rebuild()


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[BlockBuster]:
    """Fails a test in which a function of the program blocks the loop. A conftest that names it turns it on."""
    with blockbuster_ctx(["app_server", "protocol"]) as detector:
        yield detector
