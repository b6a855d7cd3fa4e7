"""When a thread is unloaded: nobody listens and nothing runs."""

import anyio

from app_server.threads.manager import UNLOAD_AFTER_SECONDS
from protocol.v2.thread import ThreadResumeParams
from tests.support.scripted_model import gate, say
from tests.unit.threads.conftest import Room, told


def test_a_thread_stays_loaded_for_30_minutes() -> None:
    assert UNLOAD_AFTER_SECONDS == 30 * 60


async def test_a_followed_thread_stays(room: Room) -> None:
    thread = await room.start(room.connect())
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == [thread.id]
    assert thread.unused_for() == 0


async def test_an_abandoned_thread_is_unloaded_and_all_are_told(room: Room) -> None:
    follower, bystander = room.connect(), room.connect()
    thread = await room.start(follower)
    await (await room.begin(thread)).finished.wait()
    room.threads.leave(follower)
    await told(bystander)
    await room.threads.unload_unused(60)
    assert room.threads.loaded_ids() == [thread.id]
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == []
    assert [(message["method"], message["params"]) for message in await told(bystander)] == [
        ("thread/status/changed", {"threadId": thread.id, "status": {"type": "notLoaded"}}),
        ("thread/closed", {"threadId": thread.id}),
    ]


async def test_a_thread_whose_turn_runs_stays_without_followers(room: Room) -> None:
    follower = room.connect()
    thread = await room.start(follower)
    opening = anyio.Event()
    room.model.script(gate(opening), say("late"))
    turn = await room.begin(thread)
    room.threads.leave(follower)
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == [thread.id]
    opening.set()
    await turn.finished.wait()
    await room.threads.unload_unused(60)
    assert room.threads.loaded_ids() == [thread.id]
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == []


async def test_an_unloaded_thread_resumes_with_all_it_had(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client, model="other")
    await (await room.begin(thread, "one")).finished.wait()
    room.threads.leave(client)
    await room.threads.unload_unused(0)
    again = await room.threads.opening.resume(ThreadResumeParams(thread_id=thread.id))
    assert again is not thread
    assert again.history == thread.history
    assert again.settings == thread.settings
    assert again.tokens == thread.tokens
    assert (await room.begin(again, "two")).row.status == "inProgress"


async def test_an_ephemeral_thread_is_gone_once_it_is_unloaded(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client, ephemeral=True)
    room.threads.leave(client)
    await room.threads.unload_unused(0)
    assert room.threads.find(thread.id) is None


async def test_an_unloaded_thread_belongs_to_nobody(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client)
    await (await room.begin(thread)).finished.wait()
    assert (await room.daemon.thread_store.get(thread.id)).owner is not None
    room.threads.leave(client)
    await room.threads.unload_unused(0)
    assert (await room.daemon.thread_store.get(thread.id)).owner is None


async def test_resuming_keeps_a_thread_that_was_about_to_be_unloaded(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client)
    room.threads.leave(client)
    thread.left_at -= 3600
    resumed = await room.threads.opening.resume(ThreadResumeParams(thread_id=thread.id))
    await room.threads.unload_unused(60)
    assert room.threads.find(thread.id) is resumed
