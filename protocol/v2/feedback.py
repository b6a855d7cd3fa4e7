"""feedback"""

from protocol.methods import ClientRequest
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import Wire


class FeedbackUploadParams(Wire):
    classification: str
    extra_log_files: list[str] | None = None
    include_logs: bool = False
    reason: str | None = None
    tags: dict[str, str] | None = None
    thread_id: str | None = None


class FeedbackUploadResponse(Wire):
    thread_id: str
    prompt_hash: str | None = None


FEEDBACK_UPLOAD = ClientRequest("feedback/upload", FeedbackUploadParams, FeedbackUploadResponse, availability="later")


class FeedbackSaveParams(Wire):
    classification: str
    save_path: LegacyAppPathString
    extra_log_files: list[str] | None = None
    include_logs: bool = False
    reason: str | None = None
    tags: dict[str, str] | None = None
    thread_id: str | None = None


class FeedbackSaveResponse(Wire):
    saved_path: LegacyAppPathString
    thread_id: str
    prompt_hash: str | None = None


FEEDBACK_SAVE = ClientRequest("feedback/save", FeedbackSaveParams, FeedbackSaveResponse, availability="later")
