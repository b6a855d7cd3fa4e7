"""thread_search"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.v2.item import ThreadItem
from protocol.v2.realtime import ThreadRealtimeItem
from protocol.v2.thread_data import SortDirection, Thread, TurnError, TurnStatus
from protocol.v2.thread_list import ThreadItemEntry, ThreadSourceKind
from protocol.wire import SnakeWire, UInt, UInt32, Wire

ThreadSearchSortKey = Literal["created_at", "updated_at", "recency_at"]


class ThreadSearchParams(Wire):
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
    snippet: str
    thread: Thread


class ThreadSearchResponse(Wire):
    data: list[ThreadSearchResult]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_SEARCH = ClientRequest(
    "thread/search",
    ThreadSearchParams,
    ThreadSearchResponse,
    experimental="thread/search",
    access="read",
    availability="later",
)


class ThreadSearchOccurrencesParams(Wire):
    search_term: str
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadSearchTextRange(Wire):
    end: UInt32
    start: UInt32


class ThreadSearchOccurrence(Wire):
    item_id: str
    snippet: str
    snippet_match_range: ThreadSearchTextRange
    turn_cursor: str
    turn_id: str


class ThreadSearchOccurrencesResponse(Wire):
    data: list[ThreadSearchOccurrence]
    next_cursor: str | None = None


THREAD_SEARCH_OCCURRENCES = ClientRequest(
    "thread/searchOccurrences",
    ThreadSearchOccurrencesParams,
    ThreadSearchOccurrencesResponse,
    experimental="thread/searchOccurrences",
    access="read",
    availability="later",
)


class ThreadItemsReadParams(Wire):
    item_ids: list[str]
    thread_id: str
    turn_id: str


class ThreadItemsReadResponse(Wire):
    data: list[ThreadItemEntry]


THREAD_ITEMS_READ = ClientRequest(
    "thread/items/read",
    ThreadItemsReadParams,
    ThreadItemsReadResponse,
    experimental="thread/items/read",
    access="read",
    availability="later",
)


class ThreadTimelineListParams(Wire):
    thread_id: str
    cursor: str | None = None
    limit: UInt32 | None = None


class ItemThreadTimelineEntry(Wire):
    type: Literal["item"] = "item"
    item: ThreadItem
    position: UInt
    turn_id: str


class TurnStartedThreadTimelineEntry(SnakeWire):
    type: Literal["turnStarted"] = "turnStarted"
    position: UInt
    turn_id: Annotated[str, Field(alias="turn_id")]
    started_at: Annotated[int | None, Field(alias="started_at")] = None


class TurnCompletedThreadTimelineEntry(SnakeWire):
    type: Literal["turnCompleted"] = "turnCompleted"
    position: UInt
    status: TurnStatus
    turn_id: Annotated[str, Field(alias="turn_id")]
    completed_at: Annotated[int | None, Field(alias="completed_at")] = None
    duration_ms: Annotated[int | None, Field(alias="duration_ms")] = None
    error: TurnError | None = None
    started_at: Annotated[int | None, Field(alias="started_at")] = None


class RealtimeThreadTimelineEntry(Wire):
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


class ThreadTimelineListResponse(Wire):
    data: list[ThreadTimelineEntry]
    active_realtime_session_at_page_start: str | None = None
    next_cursor: str | None = None


THREAD_TIMELINE_LIST = ClientRequest(
    "thread/timeline/list",
    ThreadTimelineListParams,
    ThreadTimelineListResponse,
    experimental="thread/timeline/list",
    access="read",
    availability="later",
)
