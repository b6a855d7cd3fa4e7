"""A store on a temporary home, and rows to put into it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.ids import uuid7
from app_server.store.rows import ItemRow, ThreadRow, TurnRow
from app_server.store.threads import ThreadStore

START_MS = 1_795_000_000_000


@dataclass(frozen=True)
class Opened:
    store: ThreadStore
    database: Database
    daemon: Daemon


@asynccontextmanager
async def opened(home: Path, listen: str = "stdio://") -> AsyncGenerator[Opened]:
    """The store of `home` as one daemon has it."""
    async with Daemon(home / "daemons", listen) as daemon, Database(home / "threads.sqlite3") as database:
        yield Opened(ThreadStore(database, daemon), database, daemon)


def thread(**columns: object) -> ThreadRow:
    """A thread with the columns given and plain values for the others."""
    values: dict[str, object] = {
        "id": uuid7(),
        "created_at_ms": START_MS,
        "updated_at_ms": START_MS,
        "recency_at_ms": START_MS,
        "cwd": "/project",
        "model_provider": "mock",
        "cli_version": "0.1.0",
    }
    return ThreadRow(**values | columns)  # pyright: ignore[reportArgumentType] each column has its own type


def turn(turn_id: str, **columns: object) -> TurnRow:
    values: dict[str, object] = {"id": turn_id, "status": "completed", "started_at_ms": START_MS, "ordinal": -1}
    return TurnRow(**values | columns)  # pyright: ignore[reportArgumentType] each column has its own type


def item(turn_id: str, item_id: str, **columns: object) -> ItemRow:
    values: dict[str, object] = {
        "turn_id": turn_id,
        "id": item_id,
        "type": "agentMessage",
        "payload": orjson.dumps({"type": "agentMessage", "id": item_id, "text": f"text of {item_id}"}),
        "started_at_ms": START_MS,
        "completed_at_ms": START_MS,
    }
    return ItemRow(**values | columns)  # pyright: ignore[reportArgumentType] each column has its own type


async def add_thread(store: ThreadStore, turns: int = 1, items: int = 2, **columns: object) -> ThreadRow:
    """Store a thread with turns t0, t1, ... and, in each, items such as t0.i0."""
    row = thread(**columns)
    await store.create(row)
    for number in range(turns):
        turn_id = f"t{number}"
        await store.append(
            row.id,
            turn=turn(turn_id),
            items=[item(turn_id, f"{turn_id}.i{place}") for place in range(items)],
            history=[orjson.dumps({"turn": turn_id, "place": place}) for place in range(items)],
        )
    return await store.get(row.id)
