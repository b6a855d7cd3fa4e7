"""A scripted server and a client for it."""

from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from app_server.config.settings import ModelProviderSettings
from app_server.model.http import HttpPool
from app_server.model.responses import ResponsesClient
from tests.support.scripted_model import ScriptedModel

MakeClient = Callable[..., ResponsesClient]


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as server:
        yield server


@pytest.fixture
async def pool() -> AsyncIterator[HttpPool]:
    async with HttpPool() as opened:
        yield opened


@pytest.fixture
def make_client(model: ScriptedModel, pool: HttpPool) -> MakeClient:
    """A client of the scripted server; keyword arguments are settings of its provider."""

    def make(**changes: object) -> ResponsesClient:
        settings = ModelProviderSettings("Scripted", model.url, request_max_retries=0, stream_max_retries=0)
        return ResponsesClient("scripted", replace(settings, **changes), pool)

    return make
