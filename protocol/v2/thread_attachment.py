"""thread_attachment"""

from typing import Any, Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import UInt32, Wire


class ThreadAttachmentAddParams(Wire):
    attachment_type: str
    identity_key: str
    payload: Any
    thread_id: str


class ThreadAttachment(Wire):
    attachment_type: str
    created_at: int
    id: str
    identity_key: str
    payload: Any


ThreadAttachmentAddOutcome = Literal["created", "existing"]


class ThreadAttachmentAddResponse(Wire):
    attachment: ThreadAttachment
    outcome: ThreadAttachmentAddOutcome


THREAD_ATTACHMENT_ADD = ClientRequest(
    "thread/attachment/add", ThreadAttachmentAddParams, ThreadAttachmentAddResponse, access="act", availability="later"
)


class ThreadAttachmentListParams(Wire):
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadAttachmentListResponse(Wire):
    data: list[ThreadAttachment]
    next_cursor: str | None = None


THREAD_ATTACHMENT_LIST = ClientRequest(
    "thread/attachment/list",
    ThreadAttachmentListParams,
    ThreadAttachmentListResponse,
    access="read",
    availability="later",
)


class ThreadAttachmentOwnerListParams(Wire):
    attachment_type: str
    identity_key: str
    archived: bool | None = None
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadAttachmentOwner(Wire):
    archived: bool
    thread_id: str


class ThreadAttachmentOwnerListResponse(Wire):
    data: list[ThreadAttachmentOwner]
    next_cursor: str | None = None


THREAD_ATTACHMENT_OWNER_LIST = ClientRequest(
    "thread/attachmentOwner/list",
    ThreadAttachmentOwnerListParams,
    ThreadAttachmentOwnerListResponse,
    access="read",
    availability="later",
)


class ThreadAttachmentRemoveParams(Wire):
    attachment_type: str
    identity_key: str
    thread_id: str


class ThreadAttachmentRemoveResponse(Wire): ...


THREAD_ATTACHMENT_REMOVE = ClientRequest(
    "thread/attachment/remove",
    ThreadAttachmentRemoveParams,
    ThreadAttachmentRemoveResponse,
    access="act",
    availability="later",
)


ThreadAttachmentOperation = Literal["created", "deleted"]


class ThreadAttachmentUpdatedNotification(Wire):
    attachment_id: str
    attachment_type: str
    identity_key: str
    operation: ThreadAttachmentOperation
    thread_id: str


THREAD_ATTACHMENT_UPDATED = ServerNotification("thread/attachment/updated", ThreadAttachmentUpdatedNotification)
