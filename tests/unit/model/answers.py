"""Asking a provider and collecting what it says."""

from app_server.model.events import ModelError, ResponseEvent
from app_server.model.provider import ModelProvider, ModelRequest

REQUEST = ModelRequest("m", "Be brief.", [{"type": "message", "role": "user", "content": []}])


async def ask(provider: ModelProvider, request: ModelRequest = REQUEST) -> list[ResponseEvent]:
    """The events of one answer."""
    async with provider.stream(request) as events:
        return [event async for event in events]


async def failure(provider: ModelProvider, request: ModelRequest = REQUEST) -> ModelError:
    """The error that one answer ends with."""
    try:
        events = await ask(provider, request)
    except ModelError as error:
        return error
    raise AssertionError(f"no failure, but {events}")
