"""What the stream of an answer yields, and how it fails. The same for every provider."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Usage(Struct, frozen=True):
    """Tokens of one answer. `cached_input` is part of `input`, `reasoning_output` part of `output`."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning_output: int = 0
    total: int = 0


class Created(Struct, frozen=True):
    """The server has begun to answer."""

    response_id: str


class ItemAdded(Struct, frozen=True):
    """An output item begins; `item` is as the Responses API sends it, its content still to come."""

    item: dict[str, Any]


class ItemDone(Struct, frozen=True):
    """An output item is complete, and as it stands here it belongs into the history."""

    item: dict[str, Any]


class TextDelta(Struct, frozen=True):
    """More text of a message. Some servers name no item: it is then the latest one added."""

    item_id: str | None
    delta: str


class ToolInputDelta(Struct, frozen=True):
    """More of what a freeform tool is called with."""

    item_id: str | None
    delta: str


class ReasoningPartAdded(Struct, frozen=True):
    """A new part of a reasoning summary begins."""

    item_id: str | None
    summary_index: int


class ReasoningSummaryDelta(Struct, frozen=True):
    """More text of one part of a reasoning summary."""

    item_id: str | None
    delta: str
    summary_index: int


class ReasoningTextDelta(Struct, frozen=True):
    """More raw reasoning text."""

    item_id: str | None
    delta: str
    content_index: int


class RateLimits(Struct, frozen=True):
    """How much of an allowance is used; `snapshot` has the members of the wire's RateLimitSnapshot."""

    snapshot: dict[str, Any]


class Completed(Struct, frozen=True):
    """The last event of an answer that came whole; `raw_usage` is the usage as the provider told it."""

    response_id: str
    usage: Usage
    raw_usage: Mapping[str, Any] = field(default_factory=dict[str, Any])


ResponseEvent = (
    Created
    | ItemAdded
    | ItemDone
    | TextDelta
    | ToolInputDelta
    | ReasoningPartAdded
    | ReasoningSummaryDelta
    | ReasoningTextDelta
    | RateLimits
    | Completed
)

CodexErrorInfo = str | dict[str, dict[str, int | None]]
"""The kind of a failure as clients read it: a name, or a name with the HTTP status."""


class ModelError(Exception):
    """An answer that failed.

    `message` is for the user and holds neither keys nor prompts. `retryable` says whether asking again may help;
    `retry_after` is how many seconds the server wants to be left alone. `status` is the HTTP status, if one came.
    """

    def __init__(
        self,
        message: str,
        codex_error_info: CodexErrorInfo = "other",
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.codex_error_info = message, codex_error_info
        self.retryable, self.status, self.retry_after = retryable, status, retry_after
