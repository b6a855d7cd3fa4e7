"""What goes to and comes from the model as it is, told to the followers of threads that were started for it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson

from app_server.model.events import Completed
from protocol.v2.raw_response import (
    RAW_RESPONSE_COMPLETED,
    RAW_RESPONSE_ITEM_COMPLETED,
    RawResponseCompletedNotification,
    ResponseUsageMetadata,
)
from protocol.v2.thread_data import TokenUsageBreakdown

if TYPE_CHECKING:
    from app_server.threads.thread import Thread


def tell_entries(thread: "Thread", turn_id: str, entries: Iterable[bytes]) -> None:
    """Tell what was added to the history, as `rawResponseItem/completed`."""
    ids = orjson.dumps({"threadId": thread.id, "turnId": turn_id})[1:-1]
    for entry in entries:
        thread.events.publish_json(RAW_RESPONSE_ITEM_COMPLETED, b'{"item":%b,%b}' % (entry, ids))


def tell_response(thread: "Thread", turn_id: str, response: Completed, usage: TokenUsageBreakdown) -> None:
    """Tell that an answer of the model is whole, as `rawResponse/completed`."""
    params = RawResponseCompletedNotification(
        response_id=response.response_id,
        thread_id=thread.id,
        turn_id=turn_id,
        usage=usage,
        usage_metadata=ResponseUsageMetadata(metadata=response.raw_usage),
    )
    thread.events.publish(RAW_RESPONSE_COMPLETED, params)
