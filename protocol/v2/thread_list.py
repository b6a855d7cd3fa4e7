"""Reading threads: one, many, their turns, their items."""

from typing import Annotated, Literal

from protocol.methods import ClientRequest, reads_thread
from protocol.v2.item import ThreadItem
from protocol.v2.thread_data import SortDirection, Thread, ThreadReadState, Turn, TurnItemsView
from protocol.wire import Experimental, UInt32, Wire


class ThreadReadParams(Wire):
    """Read a thread without loading it."""

    thread_id: str
    include_turns: bool = False


class ThreadReadResponse(Wire):
    """The thread."""

    thread: Thread
    read_state: Annotated[ThreadReadState | None, Experimental("thread/read.readState")] = None


THREAD_READ = ClientRequest("thread/read", ThreadReadParams, ThreadReadResponse, order=reads_thread, access="read")

ThreadSortKey = Literal["created_at", "updated_at", "recency_at", "section_position"]
"""What a list is sorted by."""

ThreadSourceKind = Literal[
    "cli",
    "vscode",
    "exec",
    "appServer",
    "subAgent",
    "subAgentReview",
    "subAgentCompact",
    "subAgentThreadSpawn",
    "subAgentOther",
    "unknown",
]
"""A kind of client or sub-agent to filter by."""

ThreadListCwdFilter = str | list[str]
"""One working directory or several."""


class ThreadListParams(Wire):
    """A page of threads; `limit` counts threads, `search_term` looks in titles.

    `section_id` and `project_id` ask for the threads of one section or project; an explicit null for those of none.
    """

    ancestor_thread_id: Annotated[str | None, Experimental("thread/list.ancestorThreadId")] = None
    archived: bool | None = None
    attached_to_thread_id: Annotated[str | None, Experimental("thread/list.attachedToThreadId")] = None
    current_account_only: bool = False
    cursor: str | None = None
    cwd: ThreadListCwdFilter | None = None
    excluded_thread_ids: list[str] | None = None
    include_attached_threads: Annotated[bool, Experimental("thread/list.includeAttachedThreads")] = False
    limit: UInt32 | None = None
    model_providers: list[str] | None = None
    originators: list[str] | None = None
    parent_thread_id: Annotated[str | None, Experimental("thread/list.parentThreadId")] = None
    project_id: Annotated[str | None, Experimental("thread/list.projectId")] = None
    search_term: str | None = None
    section_id: str | None = None
    sort_direction: SortDirection | None = None
    sort_key: ThreadSortKey | None = None
    source_kinds: list[ThreadSourceKind] | None = None
    use_state_db_only: bool = False


class ThreadListResponse(Wire):
    """One page with the cursors of its neighbours; None says that there is none."""

    data: list[Thread]
    backwards_cursor: str | None = None
    next_cursor: str | None = None
    read_states: Annotated[dict[str, ThreadReadState] | None, Experimental("thread/list.readStates")] = None


THREAD_LIST = ClientRequest("thread/list", ThreadListParams, ThreadListResponse, access="read")


class ThreadLoadedListParams(Wire):
    """A page of the ids of loaded threads."""

    cursor: str | None = None
    limit: UInt32 | None = None


class ThreadLoadedListResponse(Wire):
    """One page of ids."""

    data: list[str]
    next_cursor: str | None = None


THREAD_LOADED_LIST = ClientRequest(
    "thread/loaded/list", ThreadLoadedListParams, ThreadLoadedListResponse, access="read"
)


class ThreadTurnsListParams(Wire):
    """A page of a thread's turns."""

    thread_id: str
    cursor: str | None = None
    items_view: TurnItemsView | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None


class ThreadTurnsListResponse(Wire):
    """One page of turns with the cursors of its neighbours."""

    data: list[Turn]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_TURNS_LIST = ClientRequest(
    "thread/turns/list", ThreadTurnsListParams, ThreadTurnsListResponse, order=reads_thread, access="read"
)


class ThreadItemOutputDeferral(Wire):
    """Kinds of items whose output the client will ask for later."""

    command_execution: Annotated[bool, Experimental("thread/items/list.deferOutput.commandExecution")] = False
    mcp_tool_call: Annotated[bool, Experimental("thread/items/list.deferOutput.mcpToolCall")] = False


class ItemThreadItemsListAnchor(Wire):
    """Begin at an item."""

    type: Literal["item"] = "item"
    item_id: str


ThreadItemsListAnchor = ItemThreadItemsListAnchor
"""A place to begin other than a cursor."""

ThreadItemsListCursor = str | ThreadItemsListAnchor
"""Where a page begins."""


class ThreadItemsListParams(Wire):
    """A page of a thread's items, or of one turn's."""

    thread_id: str
    cursor: ThreadItemsListCursor | None = None
    defer_output: ThreadItemOutputDeferral | None = None
    limit: UInt32 | None = None
    sort_direction: SortDirection | None = None
    turn_id: str | None = None


class ThreadItemEntry(Wire):
    """An item and its turn. Times are in Unix milliseconds."""

    turn_id: str
    item: ThreadItem
    completed_at_ms: int | None = None
    output_deferred: Annotated[bool, Experimental("thread/items/list.outputDeferred")] = False
    started_at_ms: int | None = None


class ThreadItemsListResponse(Wire):
    """One page of items with the cursors of its neighbours."""

    data: list[ThreadItemEntry]
    backwards_cursor: str | None = None
    next_cursor: str | None = None


THREAD_ITEMS_LIST = ClientRequest(
    "thread/items/list", ThreadItemsListParams, ThreadItemsListResponse, order=reads_thread, access="read"
)
