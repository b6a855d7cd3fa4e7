"""The `[auto_review]` table: how a model reviews actions in the place of the user."""

from msgspec import Struct

from app_server.config.table import TableReader

DEFAULT_TIMEOUT_MS = 90_000


class AutoReviewSettings(Struct, frozen=True):
    """How actions are reviewed where `approvals_reviewer` says that a model does it.

    `policy` replaces the part of the reviewer's instructions that says what is acceptable here; `model` is asked in
    place of the thread's own; `timeout_ms` is the time for one review, repeated attempts included.
    """

    policy: str | None = None
    model: str | None = None
    timeout_ms: int = DEFAULT_TIMEOUT_MS


DEFAULT_AUTO_REVIEW = AutoReviewSettings()


def read_auto_review(reader: TableReader) -> AutoReviewSettings:
    """The table as settings; what is wrong is noted in the reader's problems. A blank policy is none, and so is a
    time of 0."""
    entry = reader.table("auto_review", decisive=True)
    policy = (entry.text("policy", decisive=True) or "").strip()
    return AutoReviewSettings(
        policy=policy or None,
        model=entry.text("model", decisive=True),
        timeout_ms=entry.count("timeout_ms", decisive=True) or DEFAULT_TIMEOUT_MS,
    )
