"""Reviews of code."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, by_thread
from protocol.v2.thread_data import Turn
from protocol.wire import Wire

ReviewDelivery = Literal["inline"]
"""Where a review takes place: in the thread itself."""


class UncommittedChangesReviewTarget(Wire):
    """What is not committed yet, new files included."""

    type: Literal["uncommittedChanges"] = "uncommittedChanges"


class BaseBranchReviewTarget(Wire):
    """What the working tree changes against a branch."""

    type: Literal["baseBranch"] = "baseBranch"
    branch: str


class CommitReviewTarget(Wire):
    """What one commit changes; `title` is for display."""

    type: Literal["commit"] = "commit"
    sha: str
    title: str | None = None


class CustomReviewTarget(Wire):
    """Whatever the instructions say."""

    type: Literal["custom"] = "custom"
    instructions: str


ReviewTarget = Annotated[
    UncommittedChangesReviewTarget | BaseBranchReviewTarget | CommitReviewTarget | CustomReviewTarget,
    Field(discriminator="type"),
]
"""What is reviewed."""


class ReviewStartParams(Wire):
    """Start a review."""

    thread_id: str
    target: ReviewTarget
    delivery: ReviewDelivery | None = None


class ReviewStartResponse(Wire):
    """The review's turn and the thread that it runs in."""

    review_thread_id: str
    turn: Turn


REVIEW_START = ClientRequest("review/start", ReviewStartParams, ReviewStartResponse, order=by_thread, access="act")
