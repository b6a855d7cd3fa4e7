"""What the model's provider exchanged, as it was: for clients that ask for it with `experimentalRawEvents`.

The reference sends these two without listing them among its methods.
"""

from typing import Any

from protocol.methods import ServerNotification
from protocol.v2.response_item import ResponseItem
from protocol.v2.thread_data import TokenUsageBreakdown
from protocol.wire import Wire


class RawResponseItemCompletedNotification(Wire):
    """An entry of the model's history: of the user, of the model, or the output of a call."""

    item: ResponseItem
    thread_id: str
    turn_id: str


class ResponseUsageMetadata(Wire):
    """The usage in the provider's own words; `amount` is what it cost, where the provider says so."""

    amount: str | None = None
    metadata: Any = None


class RawResponseCompletedNotification(Wire):
    """One answer of the model is whole; `response_id` is the provider's."""

    response_id: str
    thread_id: str
    turn_id: str
    usage: TokenUsageBreakdown | None = None
    usage_metadata: ResponseUsageMetadata | None = None


RAW_RESPONSE_ITEM_COMPLETED = ServerNotification("rawResponseItem/completed", RawResponseItemCompletedNotification)
RAW_RESPONSE_COMPLETED = ServerNotification("rawResponse/completed", RawResponseCompletedNotification)
