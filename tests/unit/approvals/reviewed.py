"""A thread whose actions are reviewed, without a thread."""

from collections.abc import Callable
from typing import Any

from app_server.approvals.reviewer import ReviewedHistory, ReviewFailed, ReviewingModel
from protocol.methods import ServerNotification
from protocol.wire import Wire


class ReviewedThread:
    """What it was told stands in `events`, as method and params; `over` holds the turns that have ended."""

    id = "the-thread"

    def __init__(self, model: ReviewingModel | None = None) -> None:
        self.model = model
        self.review_seconds = 90.0
        self.history: list[bytes] = []
        self.unsaved: list[bytes] = []
        self.permissions = "The agent may only read."
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.over: set[str] = set()
        self.given_up: list[str] = []

    def reviewing_model(self) -> ReviewingModel:
        if self.model is None:
            raise ReviewFailed("there is no model")
        return self.model

    def reviewed_history(self) -> ReviewedHistory:
        return ReviewedHistory(tuple(self.history), tuple(self.unsaved))

    def reviewed_permissions(self) -> str:
        return self.permissions

    def publish(self, descriptor: ServerNotification[Any], params: Wire) -> None:
        self.events.append((descriptor.method, params.model_dump(by_alias=True)))

    def turn_is_over(self, turn_id: str) -> bool:
        return turn_id in self.over

    def give_up(self, turn_id: str, warn: Callable[[], None]) -> None:
        warn()
        self.given_up.append(turn_id)
        self.over.add(turn_id)

    @property
    def methods(self) -> list[str]:
        """What it was told, in order."""
        return [method for method, _ in self.events]

    @property
    def warnings(self) -> list[str]:
        """The sentences for the user."""
        return [params["message"] for method, params in self.events if method == "guardianWarning"]

    @property
    def statuses(self) -> list[str]:
        """How its reviews ended."""
        return [
            params["review"]["status"]
            for method, params in self.events
            if method == "item/autoApprovalReview/completed"
        ]
