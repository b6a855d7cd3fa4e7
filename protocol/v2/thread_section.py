"""Sections: the groups that users sort their threads into."""

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.v2.thread_data import ThreadSection, ThreadSectionAppearance
from protocol.wire import UInt32, Wire


class ThreadSectionMoveParams(Wire):
    """Put a thread into a section, or out of any (null): before another thread of it, or at its end."""

    section_id: str | None
    thread_id: str
    before_thread_id: str | None = None


class ThreadSectionMoveResponse(Wire):
    """The thread is there."""


THREAD_SECTION_MOVE = ClientRequest(
    "thread/section/move", ThreadSectionMoveParams, ThreadSectionMoveResponse, order=by_thread, access="act"
)


class ThreadSectionListParams(Wire):
    """A page of sections."""

    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadSectionListResponse(Wire):
    """One page of sections, oldest first."""

    data: list[ThreadSection]
    next_cursor: str | None = None


THREAD_SECTION_LIST = ClientRequest(
    "threadSection/list", ThreadSectionListParams, ThreadSectionListResponse, access="read"
)


class ThreadSectionCreateParams(Wire):
    """Add a section."""

    name: str
    appearance: ThreadSectionAppearance | None = None


class ThreadSectionCreateResponse(Wire):
    """The new section."""

    section: ThreadSection


THREAD_SECTION_CREATE = ClientRequest(
    "threadSection/create", ThreadSectionCreateParams, ThreadSectionCreateResponse, access="act"
)


class ThreadSectionUpdateParams(Wire):
    """Rename a section. `appearance` stays as it is when it is absent, and null takes it away."""

    name: str
    section_id: str
    appearance: ThreadSectionAppearance | None = None


class ThreadSectionUpdateResponse(Wire):
    """The section as it is now."""

    section: ThreadSection


THREAD_SECTION_UPDATE = ClientRequest(
    "threadSection/update", ThreadSectionUpdateParams, ThreadSectionUpdateResponse, access="act"
)


class ThreadSectionDeleteParams(Wire):
    """Remove a section; its threads are in none then."""

    section_id: str


class ThreadSectionDeleteResponse(Wire):
    """The section is gone."""


THREAD_SECTION_DELETE = ClientRequest(
    "threadSection/delete", ThreadSectionDeleteParams, ThreadSectionDeleteResponse, access="act"
)


class ThreadSectionChangedNotification(Wire):
    """A thread was moved into a section, within it, or out of any (null)."""

    section_id: str | None
    thread_id: str


THREAD_SECTION_CHANGED = ServerNotification("thread/section/changed", ThreadSectionChangedNotification)
