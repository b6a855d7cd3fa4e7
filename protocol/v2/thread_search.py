"""Finding text in threads, and reading what was found."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, reads_thread
from protocol.v2.item import ThreadItem
from protocol.v2.realtime import ThreadRealtimeItem
from protocol.v2.thread_data import SortDirection, Thread, TurnError, TurnStatus
from protocol.v2.thread_list import ThreadItemEntry, ThreadSourceKind
from protocol.wire import SnakeWire, UInt, UInt32, Wire

ThreadSearchSortKey = Literal["created_at", "updated_at", "recency_at"]
"""What found threads are sorted by."""


class ThreadSearchParams(Wire):
    """A page of the threads in which a text stands, whatever its case; runs of blanks count as one."""

    search_term: str
    archived: bool | None = None
    current_account_only: bool = False
    cursor: str | None = None
    include_attached_threads: bool = False
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None
    sort_key: ThreadSearchSortKey | None = None
    source_kinds: list[ThreadSourceKind] | None = None


class ThreadSearchResult(Wire):
    """A thread, and the first place of the text in it with some words around."""

    snippet: str
    thread: Thread


class ThreadSearchResponse(Wire):
    """One page with the cursors of its neighbours."""

    data: list[ThreadSearchResult]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_SEARCH = ClientRequest(
    "thread/search",
    ThreadSearchParams,
    ThreadSearchResponse,
    experimental="thread/search",
    access="read",
)


class ThreadSearchOccurrencesParams(Wire):
    """A page of the places in a thread where a text stands."""

    search_term: str
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadSearchTextRange(Wire):
    """From `start` to before `end`, counted in UTF-16 units."""

    end: UInt32
    start: UInt32


class ThreadSearchOccurrence(Wire):
    """A place, with some words around: `turn_cursor` begins a page of `thread/turns/list` with its turn."""

    item_id: str
    snippet: str
    snippet_match_range: ThreadSearchTextRange
    turn_cursor: str
    turn_id: str


class ThreadSearchOccurrencesResponse(Wire):
    """One page of places, oldest first."""

    data: list[ThreadSearchOccurrence]
    next_cursor: str | None = None


THREAD_SEARCH_OCCURRENCES = ClientRequest(
    "thread/searchOccurrences",
    ThreadSearchOccurrencesParams,
    ThreadSearchOccurrencesResponse,
    order=reads_thread,
    experimental="thread/searchOccurrences",
    access="read",
)


class ThreadItemsReadParams(Wire):
    """Read single items of a turn, up to 100."""

    item_ids: list[str]
    thread_id: str
    turn_id: str


class ThreadItemsReadResponse(Wire):
    """Those that the turn has, in its order."""

    data: list[ThreadItemEntry]


THREAD_ITEMS_READ = ClientRequest(
    "thread/items/read",
    ThreadItemsReadParams,
    ThreadItemsReadResponse,
    order=reads_thread,
    experimental="thread/items/read",
    access="read",
)


class ThreadTimelineListParams(Wire):
    """A page of what happened in a thread, from its newest end backwards."""

    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ItemThreadTimelineEntry(Wire):
    """An item."""

    type: Literal["item"] = "item"
    item: ThreadItem
    position: UInt
    turn_id: str


class TurnStartedThreadTimelineEntry(SnakeWire):
    """A turn began; `started_at` is in Unix seconds."""

    type: Literal["turnStarted"] = "turnStarted"
    position: UInt
    turn_id: Annotated[str, Field(alias="turn_id")]
    started_at: Annotated[int | None, Field(alias="started_at")] = None


class TurnCompletedThreadTimelineEntry(SnakeWire):
    """A turn ended. Times are in Unix seconds, `duration_ms` in milliseconds."""

    type: Literal["turnCompleted"] = "turnCompleted"
    position: UInt
    status: TurnStatus
    turn_id: Annotated[str, Field(alias="turn_id")]
    completed_at: Annotated[int | None, Field(alias="completed_at")] = None
    duration_ms: Annotated[int | None, Field(alias="duration_ms")] = None
    error: TurnError | None = None
    started_at: Annotated[int | None, Field(alias="started_at")] = None


class RealtimeThreadTimelineEntry(Wire):
    """Something was said."""

    type: Literal["realtime"] = "realtime"
    item: ThreadRealtimeItem
    position: UInt


ThreadTimelineEntry = Annotated[
    ItemThreadTimelineEntry
    | RealtimeThreadTimelineEntry
    | TurnStartedThreadTimelineEntry
    | TurnCompletedThreadTimelineEntry,
    Field(discriminator="type"),
]
"""Something that happened in a thread; `position` grows from entry to entry."""


class ThreadTimelineListResponse(Wire):
    """One page, oldest first within it; `next_cursor` leads to what was before."""

    data: list[ThreadTimelineEntry]
    active_realtime_session_at_page_start: str | None = None
    next_cursor: str | None = None


THREAD_TIMELINE_LIST = ClientRequest(
    "thread/timeline/list",
    ThreadTimelineListParams,
    ThreadTimelineListResponse,
    order=reads_thread,
    experimental="thread/timeline/list",
    access="read",
)
