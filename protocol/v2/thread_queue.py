"""thread_queue"""

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import Turn
from protocol.v2.user_input import UserInput
from protocol.wire import UInt32, Wire


class ThreadQueueAddParams(Wire):
    client_user_message_id: str
    input: list[UserInput]
    thread_id: str
    responsesapi_client_metadata: dict[str, str] | None = None


class QueuedSubmission(Wire):
    client_user_message_id: str
    id: str
    input: list[UserInput]
    responsesapi_client_metadata: dict[str, str] | None = None


class ThreadQueueAddResponse(Wire):
    queued_submission: QueuedSubmission


THREAD_QUEUE_ADD = ClientRequest(
    "thread/queue/add",
    ThreadQueueAddParams,
    ThreadQueueAddResponse,
    experimental="thread/queue/add",
    access="act",
    availability="later",
)


class ThreadQueueListParams(Wire):
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadQueueListResponse(Wire):
    data: list[QueuedSubmission]
    next_cursor: str | None = None


THREAD_QUEUE_LIST = ClientRequest(
    "thread/queue/list",
    ThreadQueueListParams,
    ThreadQueueListResponse,
    experimental="thread/queue/list",
    access="read",
    availability="later",
)


class ThreadQueueUpdateParams(Wire):
    input: list[UserInput]
    queued_submission_id: str
    thread_id: str
    responsesapi_client_metadata: dict[str, str] | None = None


class ThreadQueueUpdateResponse(Wire):
    queued_submission: QueuedSubmission


THREAD_QUEUE_UPDATE = ClientRequest(
    "thread/queue/update",
    ThreadQueueUpdateParams,
    ThreadQueueUpdateResponse,
    experimental="thread/queue/update",
    access="act",
    availability="later",
)


class ThreadQueueDeleteParams(Wire):
    queued_submission_id: str
    thread_id: str


class ThreadQueueDeleteResponse(Wire):
    deleted: bool


THREAD_QUEUE_DELETE = ClientRequest(
    "thread/queue/delete",
    ThreadQueueDeleteParams,
    ThreadQueueDeleteResponse,
    experimental="thread/queue/delete",
    access="act",
    availability="later",
)


class ThreadQueueReorderParams(Wire):
    queued_submission_ids: list[str]
    thread_id: str


class ThreadQueueReorderResponse(Wire): ...


THREAD_QUEUE_REORDER = ClientRequest(
    "thread/queue/reorder",
    ThreadQueueReorderParams,
    ThreadQueueReorderResponse,
    experimental="thread/queue/reorder",
    access="act",
    availability="later",
)


class ThreadQueueStartParams(Wire):
    thread_id: str
    queued_submission_id: str | None = None


class ThreadQueueStartResponse(Wire):
    turn: Turn


THREAD_QUEUE_START = ClientRequest(
    "thread/queue/start",
    ThreadQueueStartParams,
    ThreadQueueStartResponse,
    experimental="thread/queue/start",
    access="act",
    availability="later",
)


class ThreadQueueChangedNotification(Wire):
    thread_id: str


THREAD_QUEUE_CHANGED = ServerNotification("thread/queue/changed", ThreadQueueChangedNotification)
