"""What clients hang on threads."""

from typing import TYPE_CHECKING

import orjson

from app_server.rpc.outbound import notification, now_ms
from app_server.store.attachments import AttachmentRow, AttachmentStore
from app_server.store.errors import BadCursor, ThreadMissing
from app_server.store.ids import uuid7
from app_server.threads.storing import stored
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread_attachment as wire

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World

PAGE = 100
"""How many attachments or threads a page has for which the client names no limit."""

_KEY_BYTES = {"attachmentType": 256, "identityKey": 2048}
_PAYLOAD_BYTES = 65_536


class Attachments:
    """The attachments of all threads that are stored."""

    def __init__(self, threads: "ThreadManager", world: "World", store: AttachmentStore) -> None:
        self._threads, self._world, self._store = threads, world, store

    async def add(self, params: wire.ThreadAttachmentAddParams) -> wire.ThreadAttachmentAddResponse:
        """Hang something on a thread. Raises -32600 for what is too long."""
        _check_key(params.attachment_type, params.identity_key)
        try:
            payload = orjson.dumps(params.payload)
        except orjson.JSONEncodeError:
            raise invalid_request("attachment payload is nested too deeply") from None
        if len(payload) > _PAYLOAD_BYTES:
            raise invalid_request(f"attachment payload must not exceed {_PAYLOAD_BYTES} bytes")
        await self._threads.kept(params.thread_id, "attachments")
        new = AttachmentRow(uuid7(), params.attachment_type, params.identity_key, payload.decode(), now_ms())
        try:
            row, is_new = await stored(self._store.add(params.thread_id, new))
        except ThreadMissing as error:
            raise invalid_request(str(error)) from None
        return wire.ThreadAttachmentAddResponse(attachment=_wire(row), outcome="created" if is_new else "existing")

    async def remove(self, thread_id: str, kind: str, identity_key: str) -> wire.ThreadAttachment | None:
        """Take an attachment away; None if there was none."""
        _check_key(kind, identity_key)
        await self._threads.kept(thread_id, "attachments")
        try:
            row = await stored(self._store.remove(thread_id, kind, identity_key))
        except ThreadMissing as error:
            raise invalid_request(str(error)) from None
        return None if row is None else _wire(row)

    async def page(self, thread_id: str, cursor: str | None, limit: int | None) -> wire.ThreadAttachmentListResponse:
        """A page of a thread's attachments; a thread that is not stored has none."""
        await self._threads.row(thread_id)
        try:
            page = await self._store.page(thread_id, cursor, _page_size(limit))
        except BadCursor as error:
            raise invalid_request(str(error)) from None
        except ThreadMissing:
            return wire.ThreadAttachmentListResponse(data=[])
        return wire.ThreadAttachmentListResponse(data=list(map(_wire, page.rows)), next_cursor=page.next_cursor)

    async def owners(self, params: wire.ThreadAttachmentOwnerListParams) -> wire.ThreadAttachmentOwnerListResponse:
        """A page of the threads that have an attachment."""
        _check_key(params.attachment_type, params.identity_key)
        try:
            page = await self._store.owners(
                params.attachment_type, params.identity_key, params.archived, params.cursor, _page_size(params.limit)
            )
        except BadCursor as error:
            raise invalid_request(str(error)) from None
        return wire.ThreadAttachmentOwnerListResponse(
            data=[wire.ThreadAttachmentOwner(thread_id=row[0], archived=row[1]) for row in page.rows],
            next_cursor=page.next_cursor,
        )

    def tell(
        self, thread_id: str, attachment: wire.ThreadAttachment, operation: wire.ThreadAttachmentOperation
    ) -> None:
        """Tell every client that an attachment came or went."""
        params = wire.ThreadAttachmentUpdatedNotification(
            thread_id=thread_id,
            attachment_id=attachment.id,
            attachment_type=attachment.attachment_type,
            identity_key=attachment.identity_key,
            operation=operation,
        )
        self._world.broadcast(notification(wire.THREAD_ATTACHMENT_UPDATED, params))


def _check_key(kind: str, identity_key: str) -> None:
    for (name, most), value in zip(_KEY_BYTES.items(), (kind, identity_key), strict=True):
        if not value:
            raise invalid_request(f"{name} must not be empty")
        if len(value.encode("utf-8", "replace")) > most:
            raise invalid_request(f"{name} must not exceed {most} bytes")


def _page_size(asked: int | None) -> int:
    return PAGE if asked is None else max(1, min(asked, PAGE))


def _wire(row: AttachmentRow) -> wire.ThreadAttachment:
    return wire.ThreadAttachment(
        id=row.id,
        attachment_type=row.type,
        identity_key=row.identity_key,
        payload=orjson.loads(row.payload),
        created_at=row.created_at_ms // 1000,
    )
