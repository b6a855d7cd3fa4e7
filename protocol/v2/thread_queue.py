"""The queue of a thread: messages that the server sends one by one, each when the turn before it has ended."""

from protocol.methods import ClientRequest, ServerNotification, by_thread, reads_thread
from protocol.v2.thread_data import Turn
from protocol.v2.user_input import UserInput
from protocol.wire import UInt32, Wire


class ThreadQueueAddParams(Wire):
    """Put a message at the end of the queue. In an idle thread it is sent at once."""

    client_user_message_id: str
    input: list[UserInput]
    thread_id: str
    responsesapi_client_metadata: dict[str, str] | None = None


class QueuedSubmission(Wire):
    """A message that waits. The user message that it becomes has `client_user_message_id` as its `clientId`."""

    client_user_message_id: str
    id: str
    input: list[UserInput]
    responsesapi_client_metadata: dict[str, str] | None = None


class ThreadQueueAddResponse(Wire):
    """The message is kept: it will be sent, also after the server was killed."""

    queued_submission: QueuedSubmission


THREAD_QUEUE_ADD = ClientRequest(
    "thread/queue/add",
    ThreadQueueAddParams,
    ThreadQueueAddResponse,
    order=by_thread,
    experimental="thread/queue/add",
    access="act",
)


class ThreadQueueListParams(Wire):
    """A page of the messages that wait, in the order in which they will be sent."""

    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadQueueListResponse(Wire):
    """One page; `next_cursor` is None at the end."""

    data: list[QueuedSubmission]
    next_cursor: str | None = None


THREAD_QUEUE_LIST = ClientRequest(
    "thread/queue/list",
    ThreadQueueListParams,
    ThreadQueueListResponse,
    order=reads_thread,
    experimental="thread/queue/list",
    access="read",
)


class ThreadQueueUpdateParams(Wire):
    """Change what a waiting message says. Metadata of None stay as they are."""

    input: list[UserInput]
    queued_submission_id: str
    thread_id: str
    responsesapi_client_metadata: dict[str, str] | None = None


class ThreadQueueUpdateResponse(Wire):
    """The message as it waits now."""

    queued_submission: QueuedSubmission


THREAD_QUEUE_UPDATE = ClientRequest(
    "thread/queue/update",
    ThreadQueueUpdateParams,
    ThreadQueueUpdateResponse,
    order=by_thread,
    experimental="thread/queue/update",
    access="act",
)


class ThreadQueueDeleteParams(Wire):
    """Take a message out of the queue."""

    queued_submission_id: str
    thread_id: str


class ThreadQueueDeleteResponse(Wire):
    """Whether it was still waiting; False if it was sent meanwhile."""

    deleted: bool


THREAD_QUEUE_DELETE = ClientRequest(
    "thread/queue/delete",
    ThreadQueueDeleteParams,
    ThreadQueueDeleteResponse,
    order=by_thread,
    experimental="thread/queue/delete",
    access="act",
)


class ThreadQueueReorderParams(Wire):
    """Send the messages in another order, which names every waiting one once."""

    queued_submission_ids: list[str]
    thread_id: str


class ThreadQueueReorderResponse(Wire):
    """The order holds."""


THREAD_QUEUE_REORDER = ClientRequest(
    "thread/queue/reorder",
    ThreadQueueReorderParams,
    ThreadQueueReorderResponse,
    order=by_thread,
    experimental="thread/queue/reorder",
    access="act",
)


class ThreadQueueStartParams(Wire):
    """Send a waiting message now, the first one if none is named. Wakes a queue that an interrupt has stopped."""

    thread_id: str
    queued_submission_id: str | None = None


class ThreadQueueStartResponse(Wire):
    """The turn that the message has begun."""

    turn: Turn


THREAD_QUEUE_START = ClientRequest(
    "thread/queue/start",
    ThreadQueueStartParams,
    ThreadQueueStartResponse,
    order=by_thread,
    experimental="thread/queue/start",
    access="act",
)


class ThreadQueueChangedNotification(Wire):
    """The queue of a thread is another one: list it again."""

    thread_id: str


THREAD_QUEUE_CHANGED = ServerNotification("thread/queue/changed", ThreadQueueChangedNotification)
