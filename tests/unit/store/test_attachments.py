from pathlib import Path

from app_server.store.attachments import AttachmentRow, AttachmentStore
from app_server.store.ids import uuid7
from tests.unit.store.homes import add_thread, opened, thread


async def test_a_fork_has_the_attachments_of_its_source_under_ids_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        attachments = AttachmentStore(home.database, home.store)
        row, fork = await add_thread(home.store), thread()
        hung, _ = await attachments.add(row.id, AttachmentRow(uuid7(), "pr", "1", '{"n":1}', 5))
        await home.store.fork(row.id, fork)
        (copy,) = (await attachments.page(fork.id, None, 9)).rows
        assert copy.id != hung.id
        assert (copy.type, copy.identity_key, copy.payload) == ("pr", "1", '{"n":1}')
        owners = (await attachments.owners("pr", "1", None, None, 9)).rows
        assert [owner for owner, _ in owners] == [row.id, fork.id]
        await home.store.delete(row.id)
        assert (await attachments.owners("pr", "1", None, None, 9)).rows == ((fork.id, False),)


async def test_a_thread_has_one_attachment_of_each_type_and_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        attachments = AttachmentStore(home.database, home.store)
        row = await add_thread(home.store)
        first, is_new = await attachments.add(row.id, AttachmentRow(uuid7(), "pr", "1", "1", 5))
        assert is_new
        again = await attachments.add(row.id, AttachmentRow(uuid7(), "pr", "1", "2", 6))
        assert again == (first, False)
        for kind, key in (("pr", "2"), ("issue", "1")):
            assert (await attachments.add(row.id, AttachmentRow(uuid7(), kind, key, "1", 7)))[1]
        page = await attachments.page(row.id, None, 2)
        assert [one.identity_key for one in page.rows] == ["1", "2"]
        rest = await attachments.page(row.id, page.next_cursor, 2)
        assert [one.type for one in rest.rows] == ["issue"]
        assert rest.next_cursor is None
        assert await attachments.remove(row.id, "pr", "1") == first
        assert await attachments.remove(row.id, "pr", "1") is None
