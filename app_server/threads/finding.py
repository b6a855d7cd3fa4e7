"""What clients look for among threads, as queries of the store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app_server.store.rows import ThreadQuery
from app_server.threads.manager import LIST_LIMIT, check_id
from protocol.jsonrpc import invalid_request
from protocol.v2.thread_list import ThreadListParams

if TYPE_CHECKING:
    from protocol.v2.thread_search import ThreadSearchParams

MOST = 100
"""How many threads a page has at most."""

_INTERACTIVE = ("cli", "vscode")
"""The kinds of threads that people talk to; others are found when they are asked for."""


def list_query(params: ThreadListParams) -> ThreadQuery:
    """What `thread/list` asks for. Raises -32600 for what cannot be asked for together."""
    given = params.model_fields_set
    if params.parent_thread_id is not None and params.ancestor_thread_id is not None:
        raise invalid_request("parentThreadId and ancestorThreadId are mutually exclusive")
    if params.sort_key == "section_position" and params.section_id is None:
        raise invalid_request("section-position sorting requires a section filter: give a sectionId")
    if params.include_attached_threads and not params.search_term:
        raise invalid_request("includeAttachedThreads requires a non-empty searchTerm")
    if params.project_id == "":
        raise invalid_request("projectId must not be empty; null asks for threads without a project")
    if params.section_id == "":
        raise invalid_request("sectionId must not be empty; null asks for threads without a section")
    named = (params.parent_thread_id, params.ancestor_thread_id, params.attached_to_thread_id)
    for thread_id in (*named, *(params.excluded_thread_ids or ())):
        if thread_id is not None:
            check_id(thread_id)
    below = params.parent_thread_id is not None or params.ancestor_thread_id is not None
    by_position = params.sort_key == "section_position"
    return ThreadQuery(
        archived=bool(params.archived),
        cwds=[params.cwd] if isinstance(params.cwd, str) else params.cwd,
        model_providers=params.model_providers or None,
        source_kinds=params.source_kinds or (None if below else _INTERACTIVE),
        originators=params.originators or None,
        excluded_ids=params.excluded_thread_ids,
        search=params.search_term,
        parent_id=params.parent_thread_id,
        ancestor_id=params.ancestor_thread_id,
        section_id=params.section_id or ("" if "section_id" in given else None),
        project_id=params.project_id or ("" if "project_id" in given else None),
        # What somebody has put into a section is there, whether anything was said in it or not.
        with_empty=params.section_id is not None,
        sort_key=params.sort_key or "created_at",
        descending=params.sort_direction == "desc" or (params.sort_direction is None and not by_position),
        limit=_page_size(params.limit),
        cursor=params.cursor,
    )


def search_query(params: "ThreadSearchParams") -> ThreadQuery:
    """What `thread/search` asks for, but for the text."""
    kinds: Sequence[str] = params.source_kinds or _INTERACTIVE
    return ThreadQuery(
        archived=bool(params.archived),
        source_kinds=kinds,
        sort_key=params.sort_key or "created_at",
        descending=params.sort_direction != "asc",
        limit=_page_size(params.limit),
        cursor=params.cursor,
    )


def _page_size(asked: int | None) -> int:
    return LIST_LIMIT if asked is None else min(MOST, max(1, asked))
