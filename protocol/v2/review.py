"""v2.review"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, by_thread
from protocol.v2.thread_data import Turn
from protocol.wire import Wire

ReviewDelivery = Literal["inline"]


class UncommittedChangesReviewTarget(Wire):
    type: Literal["uncommittedChanges"] = "uncommittedChanges"


class BaseBranchReviewTarget(Wire):
    type: Literal["baseBranch"] = "baseBranch"
    branch: str


class CommitReviewTarget(Wire):
    type: Literal["commit"] = "commit"
    sha: str
    title: str | None = None


class CustomReviewTarget(Wire):
    type: Literal["custom"] = "custom"
    instructions: str


ReviewTarget = Annotated[
    UncommittedChangesReviewTarget | BaseBranchReviewTarget | CommitReviewTarget | CustomReviewTarget,
    Field(discriminator="type"),
]


class ReviewStartParams(Wire):
    target: ReviewTarget
    thread_id: str
    delivery: ReviewDelivery | None = None


class ReviewStartResponse(Wire):
    review_thread_id: str
    turn: Turn


REVIEW_START = ClientRequest("review/start", ReviewStartParams, ReviewStartResponse, order=by_thread)
