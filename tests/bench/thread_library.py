"""How long lists, searches and a resume take in a home with very many threads, or very long ones.

Run it with `python -m tests.bench.thread_library [--threads N] [--home FOLDER] [--json]`. A FOLDER that was filled is
used again. The texts are made up of words as rare and as common as words are.
"""

import argparse
import itertools
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import orjson
from msgspec.structs import replace

from app_server.config.layers import load_settings
from app_server.store import writing
from app_server.store.daemons import Daemon
from app_server.store.database import Database
from app_server.store.ids import uuid7
from app_server.store.rows import ItemRow, ThreadRow, TurnRow
from app_server.store.search_index import SearchIndex
from app_server.store.threads import ThreadStore
from app_server.threads.settings import configured
from tests.support.daemon import PROGRAM
from tests.support.home import environment, make_home
from tests.support.rpc_client import RpcClient

START_MS = 1_795_000_000_000
LONG_ITEMS = 20_000
LONG_TURNS = 200
RUNS = 30

TERMS = {
    "one thread has it": "needleofonethread",
    "one thread in a hundred": "hundredthword",
    "all threads have it": "everywhere",
    "old threads have it": "longagoword",
    "a phrase": "everywhere hundredthword",
    "within words": "dthwor",
    "two characters": "zq",
    "none has it": "nobodyeversaidthis",
}


class Words:
    """Endless text: few words make up most of it, and most words are rare."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = ["".join(self._random.choices(letters, k=self._random.randint(3, 11))) for _ in range(20_000)]
        weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
        self._supply = itertools.cycle(self._random.choices(vocabulary, weights, k=400_000))

    def text(self, count: int) -> str:
        """So many words."""
        return " ".join(itertools.islice(self._supply, count))


def thread_items(words: Words, turn: str, more: str) -> Iterator[ItemRow]:
    """A question, a command with its output, and an answer: about 1.5 KB of text."""
    at = START_MS

    def row(kind: str, **members: Any) -> ItemRow:
        item_id = uuid7()
        item = {"type": kind, "id": item_id, **members, "startedAtMs": at, "completedAtMs": at}
        return ItemRow(turn, item_id, kind, orjson.dumps(item), at, at)

    yield row("userMessage", content=[{"type": "text", "text": words.text(20), "text_elements": []}], clientId=None)
    yield row(
        "commandExecution",
        command=f"/bin/bash -lc 'grep {words.text(1)}'",
        commandActions=[],
        cwd="/project",
        status="completed",
        aggregatedOutput=words.text(100),
        exitCode=0,
        durationMs=3,
        processId=None,
        source="agent",
    )
    yield row("agentMessage", text=f"{words.text(60)} {more} {words.text(40)}", phase=None)


def new_thread(place: int, preview: str, settings: str) -> ThreadRow:
    at = START_MS + place * 1000
    row = ThreadRow(uuid7(), at, at, at, "/", "scripted", "0.1.0", settings=settings)
    return replace(row, preview=preview, model="mock-model")


def put(connection: sqlite3.Connection, row: ThreadRow, turns: Mapping[str, list[ItemRow]], history: bool) -> None:
    """Store a whole thread."""
    number = writing.insert_thread(connection, row)
    for turn, items in turns.items():
        writing.put_turn(connection, number, TurnRow(turn, "completed", row.created_at_ms, row.created_at_ms, 5))
        writing.put_items(connection, number, items)
        if history:
            entry = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 1000}]}
            writing.add_history(connection, number, turn, [orjson.dumps(entry)] * len(items))


async def fill(folder: Path, threads: int) -> None:
    """Make a home with so many threads of two turns each, and one of 20 000 items."""
    words = Words()
    settings = configured(load_settings(folder, (), (), ()).settings(), "/").stored()
    path = folder / "turnloom" / "threads.sqlite3"
    async with Daemon(folder / "turnloom" / "daemons", "stdio://") as daemon, Database(path) as database:
        for start in range(0, threads, 500):

            def store(connection: sqlite3.Connection, start: int = start) -> None:
                for place in range(start, min(start + 500, threads)):
                    more = "everywhere"
                    if place % 100 == 7:
                        more += " hundredthword"
                    if place < threads // 10:
                        more += " longagoword"
                    if place == threads // 2:
                        more += " needleofonethread zqzq"
                    turns = {turn: list(thread_items(words, turn, more)) for turn in (uuid7(), uuid7())}
                    put(connection, new_thread(place, words.text(12), settings), turns, history=False)

            await database.write(store)
        long = new_thread(threads, "the long thread", settings)
        parts = LONG_ITEMS // LONG_TURNS // 3 + 1
        turns = {
            turn: [item for _ in range(parts) for item in thread_items(words, turn, "")]
            for turn in (uuid7() for _ in range(LONG_TURNS))
        }
        await database.write(lambda connection: put(connection, long, turns, history=True))
        (folder / "long").write_text(long.id)
        index = SearchIndex(database)
        while await index.catch_up():
            pass
        await ThreadStore(database, daemon).count()


async def timed(call: Callable[[], Awaitable[Any]], runs: int = RUNS) -> dict[str, float]:
    """Milliseconds of several calls after a first one."""
    began = time.perf_counter()
    await call()
    first = (time.perf_counter() - began) * 1000
    taken: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
    return {"p50": statistics.median(taken), "max": max(taken), "first": first}


async def measure(folder: Path) -> dict[str, Any]:
    """All figures of a filled home, in milliseconds."""
    figures: dict[str, Any] = {}
    async with RpcClient.stdio([*PROGRAM, "app-server"], env=environment(folder)) as client:
        await client.initialize(experimental=True)
        for key in ("created_at", "updated_at", "recency_at"):
            params = {"limit": 100, "sortKey": key}
            figures[f"list of 100 by {key}"] = await timed(lambda params=params: client.call("thread/list", params))
        for name, term in TERMS.items():
            answer = await client.call("thread/search", {"searchTerm": term})
            figure = await timed(lambda term=term: client.call("thread/search", {"searchTerm": term}))
            figures[f"search, {name}"] = figure | {"found": len(answer["data"])}
    figures["resume of the long thread"] = await resumes(folder)
    size = sum(file.stat().st_size for file in (folder / "turnloom").iterdir() if file.is_file())
    figures["home"] = {"MB": size / 1e6}
    return figures


async def resumes(folder: Path) -> dict[str, float]:
    """The tail of the long thread as a terminal asks for it, by a daemon that has not loaded it."""
    thread = (folder / "long").read_text()
    taken: list[float] = []
    for _ in range(5):
        async with RpcClient.stdio([*PROGRAM, "app-server"], env=environment(folder)) as client:
            await client.initialize(experimental=True)
            other = (await client.call("thread/list", {"limit": 2}))["data"][1]["id"]
            await tail(client, other)
            began = time.perf_counter()
            await tail(client, thread)
            taken.append((time.perf_counter() - began) * 1000)
    return {"p50": statistics.median(taken), "max": max(taken)}


async def tail(client: RpcClient, thread: str) -> None:
    """Resume a thread without its turns, and read the last ones."""
    newest = await client.call("thread/resume", {"threadId": thread, "excludeTurns": True})
    turns = {"threadId": thread, "sortDirection": "desc", "limit": 5, "itemsView": "notLoaded"}
    await client.call("thread/turns/list", turns | {"cursor": newest["turnsBackwardsCursor"]})
    items = {"threadId": thread, "sortDirection": "desc", "limit": 100}
    await client.call("thread/items/list", items | {"cursor": newest["itemsBackwardsCursor"]})


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=50_000)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.home or Path(temporary) / "home"
        if not (folder / "long").exists():
            make_home(folder, "http://127.0.0.1:9/v1")
            (folder / "turnloom").mkdir(exist_ok=True)
            began = time.perf_counter()
            await fill(folder, arguments.threads)
            print(f"filled in {time.perf_counter() - began:.0f} s")
        figures = await measure(folder)
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name, figure in figures.items():
        print(f"{name:40}", "  ".join(f"{key} {value:.1f}" for key, value in figure.items()))


if __name__ == "__main__":
    anyio.run(main)
