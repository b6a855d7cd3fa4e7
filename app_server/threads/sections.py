"""Sections of the user's threads."""

from typing import TYPE_CHECKING

import orjson

from app_server.rpc.outbound import encode, notification, now_ms
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.sections import PINNED, NotInSection, SectionMissing, SectionRow, SectionStore
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread_section as wire
from protocol.v2.thread_data import ThreadSection, ThreadSectionAppearance

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World

PAGE = 100
"""How many sections a page has for which the client names no limit."""


class Sections:
    """The sections, and which threads are in them."""

    def __init__(self, threads: "ThreadManager", world: "World", store: SectionStore) -> None:
        self._threads, self._world, self._store = threads, world, store

    async def page(self, cursor: str | None, limit: int | None) -> wire.ThreadSectionListResponse:
        """A page of sections. Raises -32600 for a cursor that is not one."""
        try:
            page = await self._store.page(cursor, PAGE if limit is None else max(1, min(limit, PAGE)))
        except BadCursor as error:
            raise invalid_request(str(error)) from None
        return wire.ThreadSectionListResponse(data=list(map(_wire, page.rows)), next_cursor=page.next_cursor)

    async def create(self, name: str, appearance: ThreadSectionAppearance | None) -> ThreadSection:
        """A new section. Raises -32600 without a name."""
        return _wire(await stored(self._store.create(_checked_name(name), _json(appearance))))

    async def update(self, params: wire.ThreadSectionUpdateParams) -> ThreadSection:
        """Change a section. Raises -32600 for one that cannot be changed."""
        name = _checked_name(params.name)
        if params.section_id == PINNED:
            raise invalid_request("the built-in pinned section cannot be renamed")
        repaint = "appearance" in params.model_fields_set
        try:
            change = self._store.update(params.section_id, name, _json(params.appearance), repaint=repaint)
            row = await stored(change)
        except SectionMissing as error:
            raise invalid_request(str(error)) from None
        await self._threads.reread()
        return _wire(row)

    async def delete(self, section_id: str) -> None:
        """Remove a section. Raises -32600 for one that cannot be removed."""
        if section_id == PINNED:
            raise invalid_request("the built-in pinned section cannot be deleted")
        try:
            await stored(self._store.delete(section_id))
        except SectionMissing as error:
            raise invalid_request(str(error)) from None
        await self._threads.reread()

    async def move(self, thread_id: str, section_id: str | None, before_id: str | None) -> None:
        """Put a thread where it belongs. Raises -32600 where that is nowhere."""
        await self._threads.kept(thread_id, "section moves")
        if before_id is not None and section_id is None:
            raise invalid_request("beforeThreadId requires a non-null sectionId")
        if before_id == thread_id:
            raise invalid_request(f"thread {thread_id} cannot be moved before itself")
        try:
            await stored(self._store.move(thread_id, section_id, before_id, now_ms()))
        except SectionMissing:
            raise invalid_request(f"section {section_id} does not exist; see threadSection/list") from None
        except NotInSection as error:
            raise invalid_request(str(error)) from None
        except ThreadMissing:
            raise invalid_request(f"thread not found: {thread_id}") from None
        await self._threads.reread(thread_id)

    def tell_moved(self, thread_id: str, section_id: str | None) -> None:
        """Tell every client where a thread is now."""
        params = wire.ThreadSectionChangedNotification(thread_id=thread_id, section_id=section_id)
        self._world.broadcast(notification(wire.THREAD_SECTION_CHANGED, params))


def _checked_name(name: str) -> str:
    if not (name := name.strip()):
        raise invalid_request("section name must not be empty")
    return name


def _json(appearance: ThreadSectionAppearance | None) -> str | None:
    return None if appearance is None else encode(appearance).decode()


def _wire(row: SectionRow) -> ThreadSection:
    appearance = None if row.appearance is None else orjson.loads(row.appearance)
    return ThreadSection(
        id=row.id,
        name=row.name,
        appearance=None if appearance is None else ThreadSectionAppearance.model_validate(appearance),
    )
