"""The messages that wait for their turn in a thread."""

from collections.abc import Callable, Sequence

import orjson
from pydantic import ConfigDict, TypeAdapter

from app_server.rpc.outbound import encode
from app_server.store.ids import uuid7
from app_server.store.queues import BadOrder, QueuedMessage, QueuedMissing, QueueStore
from app_server.threads.user_input import model_content
from protocol.jsonrpc import invalid_request
from protocol.v2.thread_queue import QueuedSubmission
from protocol.v2.user_input import UserInput

PAGE = 100
"""How many messages a page has for which the client names no limit."""

_INPUT = TypeAdapter[list[UserInput]](list[UserInput], config=ConfigDict(defer_build=True))


def parsed_input(message: QueuedMessage) -> list[UserInput]:
    """What a message says."""
    return _INPUT.validate_json(message.input)


class MessageQueue:
    """The queue of one thread, which lies in the store alone. `changed` tells its followers."""

    def __init__(self, thread_id: str, store: QueueStore, changed: Callable[[], None]) -> None:
        self._thread_id, self._store, self.changed = thread_id, store, changed

    async def add(
        self, inputs: Sequence[UserInput], client_id: str, metadata: dict[str, str] | None
    ) -> QueuedSubmission:
        """Put a message at the end. Raises -32600 for one that could not be sent."""
        message = QueuedMessage(uuid7(), client_id, await _checked(inputs), _json(metadata))
        await self._store.add(self._thread_id, message)
        return _wire(message)

    async def page(self, cursor: str | None, limit: int | None) -> tuple[list[QueuedSubmission], str | None]:
        """A page of the queue, and the cursor of the next one."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
            raise invalid_request(f"invalid queue pagination cursor: {cursor}")
        start, size = int(cursor or 0), PAGE if limit is None else max(1, min(limit, PAGE))
        found = await self._store.page(self._thread_id, start, size + 1)
        return [_wire(message) for message in found[:size]], str(start + size) if len(found) > size else None

    async def update(
        self, message_id: str, inputs: Sequence[UserInput], metadata: dict[str, str] | None
    ) -> QueuedSubmission:
        """Change what a waiting message says. Raises -32600 if it does not wait (any more)."""
        content = await _checked(inputs)
        try:
            return _wire(await self._store.update(self._thread_id, message_id, content, _json(metadata)))
        except QueuedMissing as error:
            raise invalid_request(str(error)) from None

    async def remove(self, message_id: str) -> bool:
        """Take a message out; False if it does not wait (any more)."""
        return await self._store.remove(self._thread_id, message_id)

    async def reorder(self, message_ids: Sequence[str]) -> None:
        """Send the messages in this order. Raises -32600 unless it names each of them once."""
        try:
            await self._store.reorder(self._thread_id, message_ids)
        except BadOrder:
            raise invalid_request("queue reorder must include every queued submission exactly once") from None

    async def first(self) -> QueuedMessage | None:
        """The message whose turn it is."""
        found = await self._store.page(self._thread_id, 0, 1)
        return found[0] if found else None

    async def find(self, message_id: str) -> QueuedMessage:
        """A message by its id. Raises -32600 if it does not wait (any more)."""
        try:
            return await self._store.get(self._thread_id, message_id)
        except QueuedMissing as error:
            raise invalid_request(str(error)) from None


async def _checked(inputs: Sequence[UserInput]) -> bytes:
    if not inputs:
        raise invalid_request("`input` must not be empty: only user input can be queued")
    await model_content(inputs)
    return b"[%b]" % b",".join(map(encode, inputs))


def _json(metadata: dict[str, str] | None) -> str | None:
    return None if metadata is None else orjson.dumps(metadata).decode()


def _wire(message: QueuedMessage) -> QueuedSubmission:
    return QueuedSubmission(
        id=message.id,
        client_user_message_id=message.client_id,
        input=parsed_input(message),
        responsesapi_client_metadata=None if message.metadata is None else orjson.loads(message.metadata),
    )
