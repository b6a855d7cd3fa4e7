"""What the stream of an answer yields, and how it fails. The same for every provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached_input` is part of `input`, `reasoning_output` part of `output`."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning_output: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Created:
    """The server has begun to answer."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An output item begins; `item` is as the Responses API sends it, its content still to come."""

    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ItemDone:
    """An output item is complete, and as it stands here it belongs into the history."""

    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of a message. Some servers name no item: it is then the latest one added."""

    item_id: str | None
    delta: str


@dataclass(frozen=True, slots=True)
class ToolInputDelta:
    """More of what a freeform tool is called with."""

    item_id: str | None
    delta: str


@dataclass(frozen=True, slots=True)
class ReasoningPartAdded:
    """A new part of a reasoning summary begins."""

    item_id: str | None
    summary_index: int


@dataclass(frozen=True, slots=True)
class ReasoningSummaryDelta:
    """More text of one part of a reasoning summary."""

    item_id: str | None
    delta: str
    summary_index: int


@dataclass(frozen=True, slots=True)
class ReasoningTextDelta:
    """More raw reasoning text."""

    item_id: str | None
    delta: str
    content_index: int


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How much of an allowance is used; `snapshot` has the members of the wire's RateLimitSnapshot."""

    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Completed:
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
