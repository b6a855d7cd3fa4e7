"""A thread with commands in the background is in use; unloading it ends them."""

from typing import Any

from app_server.tools.terminals import Terminal
from tests.support.scripted_model import tool_call
from tests.unit.threads.conftest import Room, told


async def start(room: Room, connection: Any) -> tuple[str, Terminal]:
    """A thread without a turn that has one command in the background."""
    thread = await room.start(connection, sandbox="danger-full-access")
    call = {"cmd": "sleep 86400", "login": False, "yield_time_ms": 250}
    room.model.script(tool_call("exec_command", call, "call_b"))
    await (await room.begin(thread)).finished.wait()
    (terminal,) = room.daemon.terminals.running(thread.id)
    return thread.id, terminal


async def test_a_thread_stays_loaded_while_a_command_runs_in_the_background(room: Room) -> None:
    client = room.connect()
    thread, terminal = await start(room, client)
    room.threads.leave(client)
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == [thread]
    terminal.kill()
    await terminal.completed.wait()
    await room.threads.unload_unused(0)
    assert room.threads.loaded_ids() == []


async def test_the_time_without_use_counts_from_the_end_of_the_command(room: Room) -> None:
    client = room.connect()
    thread, terminal = await start(room, client)
    loaded = room.threads.loaded(thread)
    room.threads.leave(client)
    loaded.left_at -= 3600
    await room.threads.unload_unused(60)
    terminal.kill()
    await terminal.completed.wait()
    await room.threads.unload_unused(60)
    assert room.threads.loaded_ids() == [thread]


async def test_archiving_ends_what_runs_and_stores_its_end(room: Room) -> None:
    client = room.connect()
    thread, terminal = await start(room, client)
    await told(client)
    await room.threads.archive(thread)
    assert not terminal.runs
    ends = [message["params"]["item"] for message in await told(client) if message["method"] == "item/completed"]
    assert [(item["id"], item["status"], item["exitCode"]) for item in ends] == [("call_b", "failed", -1)]
    (turn,) = await room.threads.all_turns(await room.threads.row(thread))
    assert b'"status":"failed"' in turn
    assert b'"status":"inProgress"' not in turn
