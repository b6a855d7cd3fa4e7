"""Attachments: what clients hang on threads, such as pull requests."""

from typing import Any, Literal

from protocol.methods import ClientRequest, ServerNotification, by_thread, reads_thread
from protocol.wire import UInt32, Wire


class ThreadAttachmentAddParams(Wire):
    """Hang something on a thread, once for each type and `identity_key`. `payload` is any JSON, up to 64 KiB."""

    attachment_type: str
    identity_key: str
    payload: Any
    thread_id: str


class ThreadAttachment(Wire):
    """An attachment; `created_at` is in Unix seconds."""

    attachment_type: str
    created_at: int
    id: str
    identity_key: str
    payload: Any


ThreadAttachmentAddOutcome = Literal["created", "existing"]
"""Whether the attachment is new."""


class ThreadAttachmentAddResponse(Wire):
    """The attachment, new or as it was."""

    attachment: ThreadAttachment
    outcome: ThreadAttachmentAddOutcome


THREAD_ATTACHMENT_ADD = ClientRequest(
    "thread/attachment/add", ThreadAttachmentAddParams, ThreadAttachmentAddResponse, order=by_thread, access="act"
)


class ThreadAttachmentListParams(Wire):
    """A page of a thread's attachments."""

    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadAttachmentListResponse(Wire):
    """One page of attachments, oldest first."""

    data: list[ThreadAttachment]
    next_cursor: str | None = None


THREAD_ATTACHMENT_LIST = ClientRequest(
    "thread/attachment/list",
    ThreadAttachmentListParams,
    ThreadAttachmentListResponse,
    order=reads_thread,
    access="read",
)


class ThreadAttachmentOwnerListParams(Wire):
    """A page of the threads that have an attachment; `archived` null asks for all."""

    attachment_type: str
    identity_key: str
    archived: bool | None = None
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadAttachmentOwner(Wire):
    """A thread that has the attachment."""

    archived: bool
    thread_id: str


class ThreadAttachmentOwnerListResponse(Wire):
    """One page of threads, oldest first."""

    data: list[ThreadAttachmentOwner]
    next_cursor: str | None = None


THREAD_ATTACHMENT_OWNER_LIST = ClientRequest(
    "thread/attachmentOwner/list",
    ThreadAttachmentOwnerListParams,
    ThreadAttachmentOwnerListResponse,
    access="read",
)


class ThreadAttachmentRemoveParams(Wire):
    """Take an attachment away, if it is there."""

    attachment_type: str
    identity_key: str
    thread_id: str


class ThreadAttachmentRemoveResponse(Wire):
    """The attachment is gone."""


THREAD_ATTACHMENT_REMOVE = ClientRequest(
    "thread/attachment/remove",
    ThreadAttachmentRemoveParams,
    ThreadAttachmentRemoveResponse,
    order=by_thread,
    access="act",
)


ThreadAttachmentOperation = Literal["created", "deleted"]
"""Whether an attachment came or went."""


class ThreadAttachmentUpdatedNotification(Wire):
    """An attachment came or went."""

    attachment_id: str
    attachment_type: str
    identity_key: str
    operation: ThreadAttachmentOperation
    thread_id: str


THREAD_ATTACHMENT_UPDATED = ServerNotification("thread/attachment/updated", ThreadAttachmentUpdatedNotification)
