"""Reports of problems, to a file or to those who make the program."""

from protocol.methods import ClientRequest
from protocol.v2.permissions import LegacyAppPathString
from protocol.wire import Wire


class FeedbackUploadParams(Wire):
    """Send a report. `classification` is the client's word for its kind, such as `bug` or `good_result`.

    `reason` is what the user says. With `include_logs` go the server's log and the thread of `thread_id`, and
    `extra_log_files` are more files by absolute path. `tags` are for whoever reads the report.
    """

    classification: str
    extra_log_files: list[str] | None = None
    include_logs: bool = False
    reason: str | None = None
    tags: dict[str, str] | None = None
    thread_id: str | None = None


class FeedbackUploadResponse(Wire):
    """The report has arrived. `thread_id` is the thread's, or made up for a report about none."""

    thread_id: str
    prompt_hash: str | None = None


FEEDBACK_UPLOAD = ClientRequest("feedback/upload", FeedbackUploadParams, FeedbackUploadResponse, availability="account")
"""Answered with an error: this server sends no reports. Use `feedback/save`."""


class FeedbackSaveParams(Wire):
    """Write a report to `save_path`: a zip archive at an absolute path where nothing is yet.

    The rest is as for `FeedbackUploadParams`. Secrets are taken out.
    """

    classification: str
    save_path: LegacyAppPathString
    extra_log_files: list[str] | None = None
    include_logs: bool = False
    reason: str | None = None
    tags: dict[str, str] | None = None
    thread_id: str | None = None


class FeedbackSaveResponse(Wire):
    """Where the report is. `thread_id` is the thread's, or made up for a report about none.

    `prompt_hash` is the SHA-256 of the base instructions of the thread's model in hexadecimal, None where the thread is
    not loaded.
    """

    saved_path: LegacyAppPathString
    thread_id: str
    prompt_hash: str | None = None


FEEDBACK_SAVE = ClientRequest("feedback/save", FeedbackSaveParams, FeedbackSaveResponse)
