"""Finding text in threads, and reading what was found."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from app_server.store import search as texts
from app_server.store import timeline
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.rows import ItemRow
from app_server.store.search_index import SearchIndex
from app_server.threads.finding import search_query
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread_search as wire

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World

PAGE: Final = 50
"""How many places or entries a page has for which the client names no limit."""
MOST: Final = 200
MOST_ITEMS: Final = 100


class Search:
    """The text of all stored threads. What is asked for and cannot be had raises -32600."""

    def __init__(self, threads: "ThreadManager", world: "World", index: SearchIndex) -> None:
        self._threads, self._world, self._index = threads, world, index

    async def search(self, params: wire.ThreadSearchParams) -> wire.ThreadSearchResponse:
        """A page of the threads in which a text stands."""
        term = _checked(params.search_term, "thread/search")
        query = search_query(params)
        await stored(self._index.catch_up())
        try:
            page = await self._world.thread_store.search(query, term)
        except BadCursor as error:
            raise invalid_request(str(error)) from None
        return wire.ThreadSearchResponse(
            data=[
                wire.ThreadSearchResult(thread=self._threads.wire_thread(row), snippet=snippet.text)
                for row, snippet in page.rows
            ],
            next_cursor=page.next_cursor,
            backwards_cursor=page.backwards_cursor,
        )

    async def occurrences(self, params: wire.ThreadSearchOccurrencesParams) -> wire.ThreadSearchOccurrencesResponse:
        """A page of the places in a thread where a text stands."""
        term = _checked(params.search_term, "thread/searchOccurrences")
        thread_id = params.thread_id
        await self._threads.kept(thread_id, "searches")
        await stored(self._index.catch_up())
        work = partial(
            texts.occurrences_in,
            thread_id=thread_id,
            term=term,
            cursor=params.cursor,
            limit=_page_size(params.limit),
        )
        try:
            page = await self._world.thread_store.content(thread_id, work)
        except (BadCursor, ThreadMissing) as error:
            raise invalid_request(str(error)) from None
        return wire.ThreadSearchOccurrencesResponse(data=list(map(_wire, page.rows)), next_cursor=page.next_cursor)

    async def timeline(self, params: wire.ThreadTimelineListParams) -> bytes:
        """A page of what happened in a thread: the answer as it is sent."""
        await self._threads.kept(params.thread_id, "timelines")
        work = partial(
            timeline.timeline, thread_id=params.thread_id, cursor=params.cursor, limit=_page_size(params.limit)
        )
        try:
            page = await self._world.thread_store.content(params.thread_id, work)
        except (BadCursor, ThreadMissing) as error:
            raise invalid_request(str(error)) from None
        rest = orjson.dumps({"nextCursor": page.next_cursor, "activeRealtimeSessionAtPageStart": None})
        return b'{"data":[%b],%b' % (b",".join(map(_entry_json, page.rows)), rest[1:])

    async def items(self, thread_id: str, turn_id: str, item_ids: Collection[str]) -> Sequence[ItemRow]:
        """Items of a turn by their ids."""
        if not 1 <= len(item_ids) <= MOST_ITEMS:
            raise invalid_request(f"itemIds must contain 1 to {MOST_ITEMS} IDs")
        await self._threads.kept(thread_id, "reading items")
        work = partial(timeline.items_named, thread_id=thread_id, turn_id=turn_id, item_ids=item_ids)
        try:
            return await self._world.thread_store.content(thread_id, work)
        except ThreadMissing as error:
            raise invalid_request(str(error)) from None


def _checked(term: str, method: str) -> str:
    if not (term := term.strip()):
        raise invalid_request(f"{method} requires a non-empty searchTerm")
    return term


def _page_size(asked: int | None) -> int:
    return PAGE if asked is None else max(1, min(asked, MOST))


def _wire(found: texts.Occurrence) -> wire.ThreadSearchOccurrence:
    return wire.ThreadSearchOccurrence(
        turn_id=found.turn_id,
        item_id=found.item_id,
        turn_cursor=found.turn_cursor,
        snippet=found.snippet.text,
        snippet_match_range=wire.ThreadSearchTextRange(start=found.snippet.start, end=found.snippet.end),
    )


def _entry_json(entry: timeline.Entry) -> bytes:
    turn, position = entry.turn, entry.position
    if entry.item is not None:
        head = orjson.dumps({"type": "item", "position": position, "turnId": turn.id})
        return b'%b,"item":%b}' % (head[:-1], entry.item)
    members: dict[str, Any] = {"turnId": turn.id, "startedAt": turn.started_at_ms // 1000}
    if entry.ended:
        members["completedAt"] = None if turn.completed_at_ms is None else turn.completed_at_ms // 1000
        members["durationMs"] = turn.duration_ms
    # The reference sends what its schema calls otherwise. Clients made for either find what they look for.
    named = {_SCHEMA_NAMES.get(name, name): value for name, value in members.items()}
    kind = {"type": "turnCompleted" if entry.ended else "turnStarted", "position": position}
    if not entry.ended:
        return orjson.dumps(kind | members | named)
    error = b"null" if turn.error is None else turn.error.encode()
    return b'%b,"error":%b}' % (orjson.dumps(kind | {"status": turn.status} | members | named)[:-1], error)


_SCHEMA_NAMES: Final = {
    "turnId": "turn_id",
    "startedAt": "started_at",
    "completedAt": "completed_at",
    "durationMs": "duration_ms",
}
