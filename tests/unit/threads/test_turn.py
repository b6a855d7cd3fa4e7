"""The ends of turns, and messages that come just then."""

import logging

import anyio
import pytest

from app_server.store.errors import StoreError
from app_server.store.rows import TurnRow
from app_server.threads.thread import Thread
from protocol.jsonrpc import RpcError
from protocol.v2.user_input import TextUserInput
from tests.support.scripted_model import gate, partial, say
from tests.unit.threads.conftest import Room, told


async def test_a_message_that_comes_while_a_turn_ends_waits_for_the_next_turn(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a turn is held at its last write."""
    client = room.connect()
    thread = await room.start(client)
    writing, go_on = anyio.Event(), anyio.Event()
    store = thread.store

    async def slow(*, turn: TurnRow | None = None, **parts: object) -> None:
        if turn is not None and turn.status != "inProgress":
            writing.set()
            await go_on.wait()
        await store(turn=turn, **parts)  # type: ignore[arg-type]

    turn = await room.begin(thread)
    monkeypatch.setattr(thread, "store", slow)
    await writing.wait()
    assert thread.active is turn
    assert turn.ending
    with pytest.raises(RpcError, match="no active turn to steer"):
        await thread.steer([TextUserInput(text="late")], None)
    settled: list[bool] = []
    async with anyio.create_task_group() as tasks:

        async def settle() -> None:
            settled.append(await thread.settled())

        tasks.start_soon(settle)
        await anyio.lowlevel.checkpoint()
        assert settled == []
        go_on.set()
    assert settled == [True]


async def test_a_message_that_was_taken_is_kept_though_the_turn_fails(room: Room) -> None:
    thread = await room.start(room.connect())
    room.model.script(partial("half"), gate(anyio.Event()))
    turn = await room.begin(thread)
    await room.model.wait_for_requests(1)
    await thread.steer([TextUserInput(text="taken")], None)
    turn.interrupt()
    await turn.finished.wait()
    assert turn.row.status == "interrupted"
    assert any(b'"taken"' in entry for entry in thread.history)


async def failing(*_arguments: object, **_parts: object) -> None:
    raise StoreError("the disk is full")


async def test_a_turn_that_cannot_be_stored_does_not_begin(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    client = room.connect()
    thread = await room.start(client)
    await told(client)
    monkeypatch.setattr(room.daemon.thread_store, "append", failing)
    with pytest.raises(StoreError):
        await room.begin(thread)
    assert thread.active is None
    assert await told(client) == []
    monkeypatch.undo()
    turn = await room.begin(thread)
    await turn.finished.wait()
    assert turn.row.status == "completed"


async def test_a_store_that_fails_in_mid_turn_fails_the_turn_and_says_why(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = room.connect()
    thread = await room.start(client)
    opening = anyio.Event()
    room.model.script(partial("half", item_id="msg_1"), gate(opening), say("whole", item_id="msg_1"))
    turn = await room.begin(thread)
    await room.model.wait_for_requests(1)
    monkeypatch.setattr(room.daemon.thread_store, "append", failing)
    opening.set()
    with caplog.at_level(logging.CRITICAL):
        await turn.finished.wait()
    monkeypatch.undo()
    messages = await told(client)
    completed = [message["params"]["turn"] for message in messages if message["method"] == "turn/completed"]
    assert [(end["status"], end["error"]["message"]) for end in completed] == [("failed", "the disk is full")]
    done = [message["params"]["item"] for message in messages if message["method"] == "item/completed"]
    assert all(item["type"] == "userMessage" for item in done), "told as completed what is not on disk"
    after = await room.begin(thread)
    await after.finished.wait()
    assert after.row.status == "completed"


async def test_an_unforeseen_error_fails_the_turn_without_its_text(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = room.connect()
    thread = await room.start(client)

    def broken(self: Thread, *_arguments: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(Thread, "count_tokens", broken)
    turn = await room.begin(thread)
    await turn.finished.wait()
    messages = await told(client)
    (end,) = [message["params"]["turn"] for message in messages if message["method"] == "turn/completed"]
    assert (end["status"], end["error"]["message"]) == ("failed", "internal error")
    assert "secret" not in str(messages)
    assert "a secret of the inside" in caplog.text


async def test_a_turn_that_is_abandoned_before_it_runs_ends_as_interrupted(room: Room) -> None:
    client = room.connect()
    thread = await room.start(client)
    turn = await room.begin(thread)
    turn.abandon()
    await turn.finished.wait()
    assert turn.row.status == "interrupted"
    methods = [message["method"] for message in await told(client)]
    assert methods.count("turn/started") == methods.count("turn/completed") == 1


async def test_who_asks_for_a_turn_and_leaves_at_once_leaves_none_that_nobody_runs(room: Room) -> None:
    thread = await room.start(room.connect())
    for checkpoints in range(6):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(room.begin, thread)
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        if thread.active is not None:
            await thread.active.finished.wait()
        rows = (await room.daemon.thread_store.turns(thread.id)).rows
        assert all(row.status == "completed" for row in rows)


async def test_stopping_the_daemon_interrupts_every_turn_at_once(room: Room) -> None:
    client = room.connect()
    threads = [await room.start(client) for _ in range(5)]
    room.model.default = [gate(anyio.Event())]
    turns = [await room.begin(thread) for thread in threads]
    await room.model.wait_for_requests(5)
    await room.threads.stop()
    assert {turn.row.status for turn in turns} == {"interrupted"}
    assert all(thread.active is None for thread in threads)
