"""Trouble with durable state, as clients are told of it."""

from collections.abc import Awaitable
from typing import TypeVar

from app_server.store.errors import StoreError, ThreadInUse
from protocol.jsonrpc import internal_error, invalid_request

T = TypeVar("T")


async def stored(write: Awaitable[T]) -> T:
    """Await a write to the store; trouble becomes an error that the client may read."""
    try:
        return await write
    except ThreadInUse as error:
        raise invalid_request(str(error)) from None
    except StoreError as error:
        raise internal_error(str(error)) from error
