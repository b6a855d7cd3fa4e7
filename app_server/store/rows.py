"""What the store takes and gives: rows, queries and pages. JSON members hold text that the store does not look into."""

from collections.abc import Collection, Mapping
from typing import Final, Generic, Literal, TypeVar

from msgspec import Struct

T = TypeVar("T")

TurnStatus = Literal["inProgress", "completed", "interrupted", "failed"]
SortKey = Literal["created_at", "updated_at", "recency_at", "section_position"]

PREVIEW_BYTES: Final = 4096


class ThreadRow(Struct, frozen=True):
    """A thread without its turns. Times are milliseconds since 1970.

    `source` is the wire's SessionSource as JSON, `settings` belongs to the threads room, `owner` is the id of the
    daemon that has the thread open; `create` and `fork` set it and ignore what is given. `section` is the wire's
    ThreadSection as JSON; it is set by moving the thread. `read_revision` is None until somebody could have read
    something; `first_unread` is the id of a turn, "" for the thread's start, or None when all was read.
    """

    id: str
    created_at_ms: int
    updated_at_ms: int
    recency_at_ms: int
    cwd: str
    model_provider: str
    cli_version: str
    source: str = '"vscode"'
    settings: str = "{}"
    preview: str = ""
    model: str | None = None
    reasoning_effort: str | None = None
    name: str | None = None
    originator: str | None = None
    thread_source: str | None = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None
    git_info: str | None = None
    token_usage: str | None = None
    owner: str | None = None
    project_id: str | None = None
    memory_mode: str | None = None
    section: str | None = None
    section_entered_at_ms: int | None = None
    read_revision: str | None = None
    first_unread: str | None = None
    daybreak_enabled: bool | None = None
    archived: bool = False
    has_turns: bool = False


class TurnRow(Struct, frozen=True):
    """A turn without its items. `error` is JSON; the store gives the ordinal when the turn is first stored."""

    id: str
    status: TurnStatus
    started_at_ms: int
    completed_at_ms: int | None = None
    duration_ms: int | None = None
    error: str | None = None
    ordinal: int = -1


class ItemRow(Struct, frozen=True):
    """An item; `payload` is its wire JSON. Without `completed_at_ms` it is in progress and may be stored once more."""

    turn_id: str
    id: str
    type: str
    payload: bytes
    started_at_ms: int
    completed_at_ms: int | None = None
    ordinal: int = -1


class Page(Struct, Generic[T], frozen=True):
    """Rows in the order asked for.

    `next_cursor` continues in the same direction after the last row, and is None at the end. `backwards_cursor`
    starts at the first row, that row included, in whichever direction is asked; None when there are no rows.
    """

    rows: tuple[T, ...]
    next_cursor: str | None
    backwards_cursor: str | None


class ThreadQuery(Struct, frozen=True):
    """Which threads to list. A filter that is None does not filter; an empty collection lets nothing through.

    `source_kinds` are the wire's ThreadSourceKind values; "subAgent" stands for all of its kinds. `search` is looked
    for in names and previews, whatever its case. `section_id` and `project_id` may be "": threads in none. Threads
    without a turn are left out unless `with_empty`. The sort key `section_position` is for one section.
    """

    archived: bool = False
    cwds: Collection[str] | None = None
    model_providers: Collection[str] | None = None
    source_kinds: Collection[str] | None = None
    originators: Collection[str] | None = None
    excluded_ids: Collection[str] | None = None
    search: str | None = None
    parent_id: str | None = None
    ancestor_id: str | None = None
    section_id: str | None = None
    project_id: str | None = None
    with_empty: bool = False
    sort_key: SortKey = "created_at"
    descending: bool = True
    limit: int = 25
    cursor: str | None = None


ThreadColumns = Mapping[str, str | int | bool | None]

THREAD_COLUMNS: Final = tuple(name for name in ThreadRow.__struct_fields__ if name != "section")
"""What the table of threads has of a `ThreadRow`; its section is in a table of its own."""


def cut_preview(text: str) -> str:
    """The text within `PREVIEW_BYTES` of UTF-8, cut between characters."""
    return text.encode("utf-8", "replace")[:PREVIEW_BYTES].decode("utf-8", "ignore")
