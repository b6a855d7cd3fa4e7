"""Asking the model something aside, and predictions of what the user will say next."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.jsonrpc import RequestId
from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.model import ReasoningEffort
from protocol.v2.thread_data import ThreadSource
from protocol.wire import Wire


class ThreadSampleParams(Wire):
    """Ask the model of a thread something, without tools being run and without the thread knowing of it.

    `prompt` has at most 4000 bytes. `expected_turn_id` is the newest finished turn or, with
    `allow_in_progress_turn`, the one that runs.
    """

    expected_turn_id: str
    prompt: str
    thread_id: str
    allow_in_progress_turn: bool = False
    disable_mcp: bool = False
    effort: ReasoningEffort | None = None
    interrupt_on_cancel: bool | None = None
    responsesapi_client_metadata: dict[str, str] | None = None
    thread_source: ThreadSource | None = None
    turn_trigger: str | None = None


class ThreadSampleResponse(Wire):
    """The answer; `text` is None if the model only called tools, token counts where the provider tells none."""

    response_id: str
    source_turn_id: str
    cached_input_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    text: str | None = None


THREAD_SAMPLE = ClientRequest(
    "thread/sample",
    ThreadSampleParams,
    ThreadSampleResponse,
    experimental="thread/sample",
    access="act",
)


class ThreadSampleCancelParams(Wire, extra="forbid"):
    """Give up a `thread/sample` of this connection, named by the id of its request."""

    request_id: RequestId


class ThreadSampleCancelResponse(Wire):
    """The sample has ended, or had before."""


THREAD_SAMPLE_CANCEL = ClientRequest(
    "thread/sample/cancel",
    ThreadSampleCancelParams,
    ThreadSampleCancelResponse,
    experimental="thread/sample/cancel",
    access="act",
)


class ThreadPredictionRequestParams(Wire):
    """Ask for a guess at the user's next message after a turn."""

    source_turn_id: str
    thread_id: str


class ThreadPredictionRequestResponse(Wire):
    """The guess comes as `thread/prediction/updated`."""


THREAD_PREDICTION_REQUEST = ClientRequest(
    "thread/prediction/request",
    ThreadPredictionRequestParams,
    ThreadPredictionRequestResponse,
    experimental="thread/prediction/request",
    access="act",
    availability="later",
)


class CompletedThreadPredictionResult(Wire):
    """A guess; None if there is none."""

    type: Literal["completed"] = "completed"
    text: str | None = None


class FailedThreadPredictionResult(Wire):
    """The model could not be asked."""

    type: Literal["failed"] = "failed"


ThreadPredictionResult = Annotated[
    CompletedThreadPredictionResult | FailedThreadPredictionResult, Field(discriminator="type")
]
"""How a prediction ended."""


class ThreadPredictionUpdatedNotification(Wire):
    """A guess at what the user will say after `source_turn_id`."""

    result: ThreadPredictionResult
    source_turn_id: str
    thread_id: str


THREAD_PREDICTION_UPDATED = ServerNotification("thread/prediction/updated", ThreadPredictionUpdatedNotification)
