"""thread_section"""

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.thread_data import ThreadSection, ThreadSectionAppearance
from protocol.wire import UInt32, Wire


class ThreadSectionMoveParams(Wire):
    section_id: str | None
    thread_id: str
    before_thread_id: str | None = None


class ThreadSectionMoveResponse(Wire): ...


THREAD_SECTION_MOVE = ClientRequest(
    "thread/section/move", ThreadSectionMoveParams, ThreadSectionMoveResponse, access="act", availability="later"
)


class ThreadSectionListParams(Wire):
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadSectionListResponse(Wire):
    data: list[ThreadSection]
    next_cursor: str | None = None


THREAD_SECTION_LIST = ClientRequest(
    "threadSection/list", ThreadSectionListParams, ThreadSectionListResponse, access="read", availability="later"
)


class ThreadSectionCreateParams(Wire):
    name: str
    appearance: ThreadSectionAppearance | None = None


class ThreadSectionCreateResponse(Wire):
    section: ThreadSection


THREAD_SECTION_CREATE = ClientRequest(
    "threadSection/create", ThreadSectionCreateParams, ThreadSectionCreateResponse, access="act", availability="later"
)


class ThreadSectionUpdateParams(Wire):
    name: str
    section_id: str
    appearance: ThreadSectionAppearance | None = None


class ThreadSectionUpdateResponse(Wire):
    section: ThreadSection


THREAD_SECTION_UPDATE = ClientRequest(
    "threadSection/update", ThreadSectionUpdateParams, ThreadSectionUpdateResponse, access="act", availability="later"
)


class ThreadSectionDeleteParams(Wire):
    section_id: str


class ThreadSectionDeleteResponse(Wire): ...


THREAD_SECTION_DELETE = ClientRequest(
    "threadSection/delete", ThreadSectionDeleteParams, ThreadSectionDeleteResponse, access="act", availability="later"
)


class ThreadSectionChangedNotification(Wire):
    section_id: str | None
    thread_id: str


THREAD_SECTION_CHANGED = ServerNotification("thread/section/changed", ThreadSectionChangedNotification)
