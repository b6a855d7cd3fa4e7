"""A daemon's stand-in that appends to a store until it is killed, and prints what it was told is stored.

Arguments: the home, the number of tasks that append at once. One JSON array a line: thread id, then item id.
"""

import sys
from pathlib import Path

import anyio
import orjson

from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.ids import uuid7
from app_server.store.rows import ItemRow, ThreadRow, TurnRow
from app_server.store.threads import ThreadStore


async def append_for_ever(store: ThreadStore, size: int) -> None:
    """One thread: turn after turn, each with a call, a command that starts and ends, and its output."""
    now = 1_795_000_000_000
    thread_id = uuid7()
    await store.create(ThreadRow(thread_id, now, now, now, "/", "mock", "0.1.0"))
    turn_number = 0
    while True:
        turn_id = f"t{turn_number}"
        turn_number += 1
        await store.append(thread_id, turn=TurnRow(turn_id, "inProgress", now))
        for number in range(5):
            name = f"{turn_id}.{number}"
            payload = {"type": "commandExecution", "id": name, "status": "inProgress", "aggregatedOutput": "x" * size}
            call = {"type": "function_call", "call_id": name}
            started = ItemRow(turn_id, name, "commandExecution", orjson.dumps(payload), now)
            await store.append(thread_id, items=[started], history=[orjson.dumps(call)])
            _acknowledge(thread_id, name)
            output = {"type": "function_call_output", "call_id": name, "output": "done"}
            payload["status"] = "completed"
            ended = ItemRow(turn_id, name, "commandExecution", orjson.dumps(payload), now, now + 1)
            await store.append(thread_id, items=[ended], history=[orjson.dumps(output)])
            _acknowledge(thread_id, f"{name} completed")
        await store.append(thread_id, turn=TurnRow(turn_id, "completed", now, now + 2, 2))
        _acknowledge(thread_id, f"{turn_id} completed")


def _acknowledge(thread_id: str, what: str) -> None:
    sys.stdout.buffer.write(orjson.dumps([thread_id, what]) + b"\n")
    sys.stdout.buffer.flush()


async def main(home: Path, writers: int, size: int) -> None:
    async with Daemon(home / "daemons", "off") as daemon, Database(home / "threads.sqlite3") as database:
        store = ThreadStore(database, daemon)
        await store.mark_cut_turns()
        async with anyio.create_task_group() as tasks:
            for _ in range(writers):
                tasks.start_soon(append_for_ever, store, size)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
