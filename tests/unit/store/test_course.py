"""Goals, queued messages and reverting in the store."""

from pathlib import Path

import pytest

from app_server.store.errors import ThreadInUse, ThreadMissing, TurnMissing
from app_server.store.goals import GoalRow, GoalStore
from app_server.store.queues import BadOrder, QueuedMessage, QueuedMissing, QueueStore, take
from app_server.store.reverting import remove_turns_from
from tests.unit.store.homes import Opened, item, opened, thread, turn

GOAL = GoalRow("x", "active", 100, 5, 1500, 1, 2)


def stores(home: Opened) -> tuple[GoalStore, QueueStore]:
    return GoalStore(home.database, home.store), QueueStore(home.database, home.store)


async def test_a_goal_is_read_back_replaced_and_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        goals, _ = stores(home)
        row = thread()
        await home.store.create(row)
        assert await goals.get(row.id) is None
        await goals.put(row.id, GOAL)
        changed = GoalRow("y", "paused", None, 6, 1600, 1, 3)
        await goals.put(row.id, changed)
    async with opened(tmp_path) as home:
        goals, _ = stores(home)
        assert await goals.get(row.id) == changed
        assert await goals.remove(row.id)
        assert not await goals.remove(row.id)
        with pytest.raises(ThreadMissing):
            await goals.put("nope", GOAL)


async def test_goal_and_queue_go_with_their_thread(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        goals, queues = stores(home)
        row = thread()
        await home.store.create(row)
        await goals.put(row.id, GOAL)
        await queues.add(row.id, QueuedMessage("m", "c", b"[]"))
        await home.store.delete(row.id)
        counts = await home.database.read(
            lambda connection: [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("goals", "queued_messages")
            ]
        )
        assert counts == [0, 0]


async def test_a_thread_that_another_daemon_owns_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as home, opened(tmp_path) as other:
        row = thread()
        await home.store.create(row)
        goals, queues = stores(other)
        with pytest.raises(ThreadInUse):
            await goals.put(row.id, GOAL)
        with pytest.raises(ThreadInUse):
            await queues.add(row.id, QueuedMessage("m", "c", b"[]"))
        assert await goals.get(row.id) is None


async def test_a_queue_keeps_its_order_through_changes(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        _, queues = stores(home)
        row = thread()
        await home.store.create(row)
        for name in "abc":
            await queues.add(row.id, QueuedMessage(name, f"client {name}", b'["%s"]' % name.encode(), "{}"))
        await queues.reorder(row.id, ["c", "a", "b"])
        for wrong in (["c", "a"], ["c", "a", "a"], ["c", "a", "b", "d"]):
            with pytest.raises(BadOrder):
                await queues.reorder(row.id, wrong)
        await queues.add(row.id, QueuedMessage("d", "client d", b"[]"))
        assert await queues.update(row.id, "a", b'["A"]', None) == QueuedMessage("a", "client a", b'["A"]', "{}")
        with pytest.raises(QueuedMissing):
            await queues.update(row.id, "z", b"[]", None)
        assert await queues.remove(row.id, "b")
        assert [message.id for message in await queues.page(row.id, 0, 10)] == ["c", "a", "d"]
        assert [message.id for message in await queues.page(row.id, 1, 1)] == ["a"]
        assert (await queues.get(row.id, "a")).input == b'["A"]'


async def test_a_message_leaves_the_queue_with_the_turn_that_it_begins_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        _, queues = stores(home)
        row = thread()
        await home.store.create(row)
        await queues.add(row.id, QueuedMessage("m", "c", b"[]"))
        with pytest.raises(TurnMissing):
            await home.store.append(
                row.id,
                items=[item("no such turn", "i")],
                also=lambda connection, number: take(connection, number, "m"),
            )
        assert len(await queues.page(row.id, 0, 10)) == 1
        await home.store.append(row.id, turn=turn("t"), also=lambda connection, number: take(connection, number, "m"))
        assert await queues.page(row.id, 0, 10) == []


async def test_reverting_removes_what_came_from_the_turn_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as home:
        row = thread()
        await home.store.create(row)
        await home.store.append(row.id, history=[b'"before any turn"'])
        for name in ("t1", "t2", "t3"):
            await home.store.append(
                row.id, turn=turn(name), items=[item(name, f"item of {name}")], history=[b'"in %s"' % name.encode()]
            )
            await home.store.append(row.id, history=[b'"after %s"' % name.encode()])
        with pytest.raises(TurnMissing):
            await remove_turns_from(home.store, row.id, "nope")
        await remove_turns_from(home.store, row.id, "t2")
        assert [found.id for found in (await home.store.turns(row.id)).rows] == ["t1"]
        assert [found.id for found in (await home.store.items(row.id)).rows] == ["item of t1"]
        assert await home.store.history(row.id) == [b'"before any turn"', b'"in t1"', b'"after t1"']
        await home.store.append(row.id, turn=turn("t4"), items=[item("t4", "item of t4")])
        assert [found.ordinal for found in (await home.store.turns(row.id)).rows] == [0, 1]
