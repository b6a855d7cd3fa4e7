"""sampling"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.jsonrpc import RequestId
from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.model import ReasoningEffort
from protocol.v2.thread_data import ThreadSource
from protocol.wire import Wire


class ThreadSampleParams(Wire):
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
    availability="later",
)


class ThreadSampleCancelParams(Wire, extra="forbid"):
    request_id: RequestId


class ThreadSampleCancelResponse(Wire): ...


THREAD_SAMPLE_CANCEL = ClientRequest(
    "thread/sample/cancel",
    ThreadSampleCancelParams,
    ThreadSampleCancelResponse,
    experimental="thread/sample/cancel",
    access="act",
    availability="later",
)


class ThreadPredictionRequestParams(Wire):
    source_turn_id: str
    thread_id: str


class ThreadPredictionRequestResponse(Wire): ...


THREAD_PREDICTION_REQUEST = ClientRequest(
    "thread/prediction/request",
    ThreadPredictionRequestParams,
    ThreadPredictionRequestResponse,
    experimental="thread/prediction/request",
    access="act",
    availability="later",
)


class CompletedThreadPredictionResult(Wire):
    type: Literal["completed"] = "completed"
    text: str | None = None


class FailedThreadPredictionResult(Wire):
    type: Literal["failed"] = "failed"


ThreadPredictionResult = Annotated[
    CompletedThreadPredictionResult | FailedThreadPredictionResult, Field(discriminator="type")
]


class ThreadPredictionUpdatedNotification(Wire):
    result: ThreadPredictionResult
    source_turn_id: str
    thread_id: str


THREAD_PREDICTION_UPDATED = ServerNotification("thread/prediction/updated", ThreadPredictionUpdatedNotification)
