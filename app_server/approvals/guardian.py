"""Guardian: a model decides about an action in the user's place. Without its clear yes nothing happens."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import anyio
from msgspec import Struct, field

from app_server.approvals.actions import Action
from app_server.approvals.assessment import Assessment
from app_server.approvals.reviewer import ReviewedHistory, Reviewer, ReviewFailed, ReviewingModel
from app_server.rpc.outbound import now_ms
from app_server.store.ids import uuid7
from protocol.methods import ServerNotification
from protocol.v2 import review as wire
from protocol.wire import Wire

DENIALS_IN_A_ROW = 3
DENIALS_OF_RECENT = 10
RECENT_REVIEWS = 50
"""A turn is interrupted after so many denials one after the other, or of its recent reviews."""

_DENIED = (
    "This action was rejected due to unacceptable risk.\n"
    "Reason: {reason}\n"
    "Do not try to reach the same result in another way: not by a workaround, not in pieces, not through another tool "
    "or a changed policy. Go on with something that is clearly safer, or tell the user what you wanted to do and what "
    "the risk is; if the user then approves it, you may ask for it again. Where neither is possible, stop and ask."
)
_FAILED = (
    "Automatic approval review failed: {reason}\n"
    "The action was not carried out, because nobody could decide about it. That is a failure of the review and says "
    "nothing about whether the action is safe. Do not go around the review: mend the cause if you can, or ask the user."
)
_TIMED_OUT = (
    "The automatic approval review did not finish before its deadline, so the action was not carried out. That alone "
    "does not mean that the action is unsafe. You may ask for it once more, or ask the user for guidance."
)
_ABORTED = "The turn was stopped before the automatic approval review had decided."
_TIMED_OUT_WARNING = "Automatic approval review timed out while evaluating the requested approval."


class ReviewedThread(Protocol):
    """The thread whose actions are reviewed."""

    @property
    def id(self) -> str:
        """The thread's id."""
        ...

    @property
    def review_seconds(self) -> float:
        """How long one review may take."""
        ...

    def reviewing_model(self) -> ReviewingModel:
        """Whom to ask. Raises ReviewFailed where that cannot be told."""
        ...

    def reviewed_history(self) -> ReviewedHistory:
        """What has happened so far."""
        ...

    def reviewed_permissions(self) -> str:
        """What the agent may do without asking, in words."""
        ...

    def publish(self, descriptor: ServerNotification[Any], params: Wire) -> None:
        """Tell the followers an event."""
        ...

    def turn_is_over(self, turn_id: str) -> bool:
        """Whether nothing more of that turn is to happen."""
        ...

    def give_up(self, turn_id: str, warn: Callable[[], None]) -> None:
        """Interrupt the turn as soon as the call is answered that is being decided about; `warn` goes before."""
        ...


class Verdict(Struct, frozen=True):
    """How a review ended. `text` is for the model, if the action was not approved."""

    review_id: str
    status: wire.GuardianApprovalReviewStatus
    text: str
    assessment: Assessment | None = None
    failure: str | None = None

    @property
    def approved(self) -> bool:
        """Whether the action may happen."""
        return self.status == "approved"


class _Turn(Struct):
    """The reviews of one turn, the latest last: whether each was a denial."""

    id: str
    denials: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=RECENT_REVIEWS))

    def in_a_row(self) -> int:
        """How many denials came last without anything between them."""
        count = 0
        for denied in reversed(self.denials):
            if not denied:
                break
            count += 1
        return count


class Guardian:
    """Reviews the actions of one thread. An approval holds once, for the action it was given for."""

    def __init__(self, thread: ReviewedThread) -> None:
        self._thread = thread
        self._reviewer = Reviewer(thread.id)
        self._running: set[_Review] = set()
        self._turn = _Turn("")

    def withdraw(self) -> None:
        """Abort every review that runs: its turn is over. Its end is told before this returns."""
        for review in list(self._running):
            review.scope.cancel()
            review.ended(_aborted(review.id))

    async def review(self, action: Action, turn_id: str, item_id: str | None) -> Verdict:
        """Review an action, and tell the followers of it; `item_id` is the item that it belongs to, if it has one."""
        review_id = str(uuid7())
        if self._thread.turn_is_over(turn_id):
            return _aborted(review_id)
        review = _Review(self._thread, review_id, action, turn_id, item_id)
        review.started()
        verdict = _aborted(review_id)
        self._running.add(review)
        try:
            with review.scope:
                verdict = await self._decide(review_id, action)
        finally:
            self._running.discard(review)
            # A yes that comes after the end is none.
            if review.scope.cancel_called or self._thread.turn_is_over(turn_id):
                verdict = _aborted(review_id)
            review.ended(verdict)
        if verdict.status != "aborted":
            self._count(turn_id, denied=verdict.assessment is not None and not verdict.approved)
        return verdict

    async def assess(self, action: Action) -> Assessment | None:
        """What the reviewer thinks of an action that nobody waits for; None where it comes to no verdict."""
        thread = self._thread
        try:
            model = thread.reviewing_model()
            with anyio.move_on_after(thread.review_seconds):
                return await Reviewer(thread.id).assess(
                    model, action, thread.reviewed_history(), thread.reviewed_permissions()
                )
        except ReviewFailed:
            pass
        return None

    async def _decide(self, review_id: str, action: Action) -> Verdict:
        thread = self._thread
        try:
            model = thread.reviewing_model()
            with anyio.move_on_after(thread.review_seconds):
                assessment = await self._reviewer.assess(
                    model, action, thread.reviewed_history(), thread.reviewed_permissions()
                )
                if assessment.outcome == "allow":
                    return Verdict(review_id, "approved", "", assessment)
                return Verdict(review_id, "denied", _DENIED.format(reason=assessment.rationale), assessment)
        except ReviewFailed as error:
            return Verdict(review_id, "denied", _FAILED.format(reason=error), failure=str(error))
        return Verdict(review_id, "timedOut", _TIMED_OUT)

    def _count(self, turn_id: str, *, denied: bool) -> None:
        if self._turn.id != turn_id:
            self._turn = _Turn(turn_id)
        turn = self._turn
        turn.denials.append(denied)
        in_a_row, recent = turn.in_a_row(), sum(turn.denials)
        if not denied or (in_a_row < DENIALS_IN_A_ROW and recent < DENIALS_OF_RECENT):
            return
        message = (
            f"Automatic approval review rejected too many approval requests for this turn ({in_a_row} consecutive, "
            f"{recent} in the last {RECENT_REVIEWS} reviews); interrupting the turn."
        )
        params = wire.GuardianWarningNotification(thread_id=self._thread.id, message=message)
        self._thread.give_up(turn_id, lambda: self._thread.publish(wire.GUARDIAN_WARNING, params))


def _aborted(review_id: str) -> Verdict:
    return Verdict(review_id, "aborted", _ABORTED)


class _Review(Struct, eq=False):
    """A review that runs, and what clients are told of it: one start and one end."""

    thread: ReviewedThread
    id: str
    action: Action
    turn_id: str
    item_id: str | None
    started_at_ms: int = field(default_factory=now_ms)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    has_ended: bool = False

    def started(self) -> None:
        """It begins."""
        params = wire.ItemGuardianApprovalReviewStartedNotification(
            thread_id=self.thread.id,
            turn_id=self.turn_id,
            started_at_ms=self.started_at_ms,
            review_id=self.id,
            target_item_id=self.item_id,
            review=wire.GuardianApprovalReview(status="inProgress"),
            action=self.action.shown,
        )
        self.thread.publish(wire.ITEM_AUTO_APPROVAL_REVIEW_STARTED, params)

    def ended(self, verdict: Verdict) -> None:
        """It has ended; what is told first counts."""
        if self.has_ended:
            return
        self.has_ended = True
        message, shown = _told(verdict)
        if message is not None:
            warning = wire.GuardianWarningNotification(thread_id=self.thread.id, message=message)
            self.thread.publish(wire.GUARDIAN_WARNING, warning)
        params = wire.ItemGuardianApprovalReviewCompletedNotification(
            thread_id=self.thread.id,
            turn_id=self.turn_id,
            started_at_ms=self.started_at_ms,
            completed_at_ms=now_ms(),
            review_id=self.id,
            target_item_id=self.item_id,
            decision_source="agent",
            review=shown,
            action=self.action.shown,
        )
        self.thread.publish(wire.ITEM_AUTO_APPROVAL_REVIEW_COMPLETED, params)


def _told(verdict: Verdict) -> tuple[str | None, wire.GuardianApprovalReview]:
    """The sentence for the user, if there is one, and the outcome in parts."""
    assessment = verdict.assessment
    if assessment is not None:
        message = (
            f"Automatic approval review {verdict.status} (risk: {assessment.risk_level}, "
            f"authorization: {assessment.user_authorization}): {assessment.rationale}"
        )
        return message, wire.GuardianApprovalReview(
            status=verdict.status,
            risk_level=assessment.risk_level,
            user_authorization=assessment.user_authorization,
            rationale=assessment.rationale,
        )
    message = None
    if verdict.status == "timedOut":
        message = _TIMED_OUT_WARNING
    elif verdict.failure is not None:
        message = f"Automatic approval review failed: {verdict.failure}"
    return message, wire.GuardianApprovalReview(status=verdict.status, rationale=message)
