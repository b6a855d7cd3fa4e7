"""What clients do to the course of a thread: take turns back, add to what the model sees, hold the clocks."""

from typing import Any

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.v2.thread_data import Thread
from protocol.wire import Wire


class ThreadIncrementElicitationParams(Wire):
    """A user is asked something on behalf of a command of the thread: from now on its time limits stand still."""

    thread_id: str


class ThreadIncrementElicitationResponse(Wire):
    """How many such questions are open now, and whether the limits stand still."""

    count: int
    paused: bool


THREAD_INCREMENT_ELICITATION = ClientRequest(
    "thread/increment_elicitation",
    ThreadIncrementElicitationParams,
    ThreadIncrementElicitationResponse,
    experimental="thread/increment_elicitation",
    access="act",
)


class ThreadDecrementElicitationParams(Wire):
    """A question that `thread/increment_elicitation` told of is answered."""

    thread_id: str


class ThreadDecrementElicitationResponse(Wire):
    """How many questions are still open, and whether the limits still stand still."""

    count: int
    paused: bool


THREAD_DECREMENT_ELICITATION = ClientRequest(
    "thread/decrement_elicitation",
    ThreadDecrementElicitationParams,
    ThreadDecrementElicitationResponse,
    experimental="thread/decrement_elicitation",
    access="act",
)


class ThreadRevertParams(Wire):
    """Take back a turn and all later ones. What they did to files stays. A turn that runs is interrupted first."""

    before_turn_id: str
    thread_id: str


class ThreadRevertResponse(Wire):
    """The thread without turns, and cursors that begin at its newest turn and item; None where there is none."""

    thread: Thread
    items_backwards_cursor: str | None = None
    turns_backwards_cursor: str | None = None


THREAD_REVERT = ClientRequest("thread/revert", ThreadRevertParams, ThreadRevertResponse, order=by_thread, access="act")


class ThreadRevertedNotification(Wire):
    """Turns of a thread were taken back: list them again."""

    thread_id: str


THREAD_REVERTED = ServerNotification("thread/reverted", ThreadRevertedNotification)


class ThreadInjectItemsParams(Wire):
    """Add items of the Responses API to what the model is shown. Clients see no items of them, and no turn begins."""

    items: list[Any]
    thread_id: str


class ThreadInjectItemsResponse(Wire):
    """The items are kept."""


THREAD_INJECT_ITEMS = ClientRequest(
    "thread/inject_items", ThreadInjectItemsParams, ThreadInjectItemsResponse, order=by_thread, access="act"
)


class ThreadPrepareApprovedPlanParams(Wire):
    """The user has approved a plan: show it to the model of this thread, which need not be the one that made it.

    `attachment_path` is an absolute path of a file on the server's machine that holds the plan too; it stands in where
    the plan is too long to be shown.
    """

    markdown: str
    thread_id: str
    attachment_path: str | None = None


class ThreadPrepareApprovedPlanResponse(Wire):
    """What to send as the message of the turn that carries the plan out."""

    prompt: str


THREAD_PREPARE_APPROVED_PLAN = ClientRequest(
    "thread/prepareApprovedPlan",
    ThreadPrepareApprovedPlanParams,
    ThreadPrepareApprovedPlanResponse,
    order=by_thread,
    experimental="thread/prepareApprovedPlan",
    access="act",
)
