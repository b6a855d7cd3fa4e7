"""What a thread does by itself, and what keeps it from that."""

import pytest

from app_server.rpc.scopes import OBSERVE
from app_server.store.errors import StoreError
from app_server.threads.thread import Thread
from app_server.threads.turn import Turn
from protocol.v2.thread import ThreadResumeParams
from protocol.v2.thread_goal import ThreadGoalStatus
from protocol.v2.user_input import TextUserInput
from tests.support.scripted_model import say, tool_call
from tests.unit.threads.conftest import Room, told


async def unloaded_with_goal(room: Room) -> str:
    """The id of a stored thread that has an active goal and nobody in it."""
    connection = room.connect()
    thread = await room.start(connection)
    await (await room.begin(thread)).finished.wait()
    thread.unfollow(connection.id)
    await room.threads.unload_unused(0)
    assert room.threads.find(thread.id) is None
    await (await room.threads.course.goal(thread.id)).set(objective="x")
    return thread.id


def running(thread: Thread) -> Turn | None:
    return thread.active


def status(thread: Thread) -> ThreadGoalStatus | None:
    goal = thread.agenda.goal.shown()
    return None if goal is None else goal.status


async def test_a_client_that_may_only_look_wakes_nothing(room: Room) -> None:
    thread_id = await unloaded_with_goal(room)
    observer, owner = room.connect(), room.connect()
    observer.scope = OBSERVE
    thread = await room.threads.opening.resume(ThreadResumeParams(thread_id=thread_id))
    thread.follow(observer)
    thread.agenda.joined(observer)
    await thread.agenda.go_on()
    assert running(thread) is None
    assert [message["method"] for message in await told(observer)] == ["thread/goal/updated"]
    room.model.script(tool_call("update_goal", {"status": "complete"}))
    thread.follow(owner)
    thread.agenda.joined(owner)
    await room.model.wait_for_requests(3)
    while (turn := running(thread)) is not None:
        await turn.finished.wait()
    assert status(thread) == "complete"


async def test_a_turn_that_a_user_begins_at_the_same_time_is_the_only_one(room: Room) -> None:
    """Whoever looks whether a turn runs in order to begin one, keeps others from doing so."""
    thread = await room.start(room.connect())
    await thread.agenda.goal.set(objective="x")
    async with thread.agenda.beginning:
        thread.agenda.go_on_soon()
        turn = await room.begin(thread)
    room.model.script(tool_call("update_goal", {"status": "complete"}))
    await turn.finished.wait()
    assert thread.turn_changes >= 2
    assert status(thread) == "complete"


async def test_a_goal_that_cannot_go_on_waits_and_says_why(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client)
    await thread.agenda.goal.set(objective="x")

    async def failing() -> None:
        raise StoreError("the disk is full")

    start, thread.start_goal_turn = thread.start_goal_turn, failing  # type: ignore[method-assign, assignment]
    await thread.agenda.go_on()
    warnings = [message["params"]["message"] for message in await told(client) if message["method"] == "warning"]
    assert warnings == ["The goal of this thread cannot go on: the disk is full"]
    thread.start_goal_turn = start
    await thread.agenda.go_on()
    assert running(thread) is None
    thread.agenda.release_goal()
    room.model.script(tool_call("update_goal", {"status": "complete"}))
    await thread.agenda.go_on()
    turn = running(thread)
    assert turn is not None
    await turn.finished.wait()


async def test_a_message_that_is_taken_out_at_the_last_moment_is_not_sent(room: Room) -> None:
    thread = await room.start(room.connect())
    queue = thread.agenda.queue
    await queue.add([TextUserInput(text="gone")], "c", None)
    first = queue.first

    async def first_and_gone() -> object:
        found = await first()
        if found is not None:
            assert await queue.remove(found.id)
        return found

    queue.first = first_and_gone  # type: ignore[method-assign, assignment]
    await thread.agenda.go_on()
    assert running(thread) is None
    assert room.model.requests == []


async def test_the_end_of_the_daemon_does_not_pause_a_goal(room: Room) -> None:
    thread = await room.start(room.connect())
    await thread.agenda.goal.set(objective="x")
    await thread.agenda.go_on()
    assert running(thread) is not None
    await room.threads.stop()
    assert status(thread) == "active"
    assert running(thread) is None


async def test_a_goal_without_a_budget_waits_for_the_user_after_many_turns(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_server.threads.goal.AUTOMATIC_TURNS", 2)
    thread = await room.start(room.connect())
    for _ in range(2):
        room.model.script(tool_call("update_plan", {"plan": []}))
        room.model.script(say("on it"))
    await thread.agenda.goal.set(objective="x")
    await thread.agenda.go_on()
    await room.model.wait_for_requests(4)
    while (turn := running(thread)) is not None:
        await turn.finished.wait()
    assert status(thread) == "paused"
