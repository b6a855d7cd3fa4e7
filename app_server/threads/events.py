"""Who follows a thread, and what they are told: each event is encoded once and pushed to every follower."""

from collections.abc import Iterable
from typing import Any

import orjson

from app_server.rpc.connection import Connection
from app_server.rpc.experimental import stripper
from app_server.rpc.outbound import LOW_WATER_BYTES, DeltaStream, Frame, notification, notification_json
from protocol.methods import ServerNotification
from protocol.wire import Wire


class ThreadEvents:
    """The subscribers of one thread. All of them get the same frames in the same order."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._subscribers: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __contains__(self, connection: Connection) -> bool:
        return connection.id in self._subscribers

    def subscribers(self) -> Iterable[Connection]:
        """The connections that follow the thread now."""
        return list(self._subscribers.values())

    def attach(self, connection: Connection) -> None:
        """Send every further event to `connection` too."""
        self._subscribers[connection.id] = connection

    def detach(self, connection_id: int) -> bool:
        """Stop sending; False if it was no subscriber."""
        return self._subscribers.pop(connection_id, None) is not None

    def push(self, frame: Frame) -> None:
        """Send one encoded event."""
        for connection in self._subscribers.values():
            connection.outbound.push(frame)

    def publish(self, descriptor: ServerNotification[Any], params: Wire) -> None:
        """Encode one event and send it."""
        if self._subscribers:
            self.push(notification(descriptor, params, stripper(descriptor.params, "params")))

    def publish_json(self, descriptor: ServerNotification[Any], params: bytes) -> None:
        """Send one event whose params are encoded already."""
        if self._subscribers:
            strip = stripper(descriptor.params, "params")
            self.push(notification_json(descriptor.method, params, strip))

    def deltas(self, descriptor: ServerNotification[Any], turn_id: str, item_id: str, **after: int) -> DeltaStream:
        """A stream of text pieces of one item."""
        before = {"threadId": self._thread_id, "turnId": turn_id, "itemId": item_id}
        return DeltaStream(descriptor.method, before, after or None)

    async def congestion(self) -> None:
        """Wait for a follower that is never cut and has fallen behind (stdio). Network clients are not waited for."""
        for connection in self._subscribers.values():
            outbound = connection.outbound
            if outbound.waits_for_client and outbound.queued_bytes > LOW_WATER_BYTES:
                await outbound.drained()


def encoded_item_event(
    item: bytes, thread_id: str, turn_id: str, *, started_at_ms: int | None = None, completed_at_ms: int | None = None
) -> bytes:
    """The params of `item/started` or `item/completed` around an encoded item."""
    ids = orjson.dumps({"threadId": thread_id, "turnId": turn_id})[1:-1]
    if completed_at_ms is None:
        return b'{"item":%b,%b,"startedAtMs":%d}' % (item, ids, started_at_ms)
    return b'{"item":%b,%b,"contentTokenCount":null,"completedAtMs":%d}' % (item, ids, completed_at_ms)
