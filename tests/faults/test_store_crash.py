"""What a store has acknowledged survives kill -9 at any instant, with one daemon and with several."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import orjson

from app_server.store.threads import ThreadStore
from tests.unit.store.homes import opened, turn

Acknowledged = dict[str, set[str]]


def _start(home: Path, writers: int = 4, size: int = 300) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faults.store_writer", str(home), str(writers), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _kill_after(process: subprocess.Popen[bytes], lines: int, acknowledged: Acknowledged) -> None:
    """Read so many lines, kill, and read what had been said before the end."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    for line in said:
        # A pipe write this short is whole or absent: each line counts.
        thread_id, what = orjson.loads(line)
        acknowledged.setdefault(thread_id, set()).add(what)


async def _check(store: ThreadStore, acknowledged: Acknowledged) -> None:
    assert await store.count() >= len(acknowledged)
    for thread_id, expected in acknowledged.items():
        turns = (await store.turns(thread_id)).rows
        items = (await store.items(thread_id)).rows
        stored = {one.id for one in items} | {f"{one.id} completed" for one in items if b'"completed"' in one.payload}
        stored |= {f"{one.id} completed" for one in turns if one.status == "completed"}
        assert expected - stored == set()
        assert {one.status for one in turns} <= {"completed", "interrupted"}
        # Only the last turn of the daemon that was killed was cut.
        assert set([one.status for one in turns if one.id[1:].isdigit()][:-1]) <= {"completed"}
        assert all(one.completed_at_ms for one in items)
        assert {orjson.loads(one.payload)["status"] for one in items} <= {"completed", "failed"}
        assert [one.ordinal for one in items] == list(range(len(items)))
        # Every call has its one output: the thread can be sent to the model.
        history = [orjson.loads(entry) for entry in await store.history(thread_id)]
        calls = [entry["call_id"] for entry in history if entry["type"] == "function_call"]
        outputs = [entry["call_id"] for entry in history if entry["type"] == "function_call_output"]
        assert (len(set(calls)), sorted(calls)) == (len(calls), sorted(outputs))


def _integrity(home: Path) -> list[str]:
    connection = sqlite3.connect(home / "threads.sqlite3")
    try:
        return [row[0] for row in connection.execute("PRAGMA integrity_check")]
    finally:
        connection.close()


async def test_everything_acknowledged_survives_kill_9_at_random_instants(tmp_path: Path) -> None:
    acknowledged: Acknowledged = {}
    instants = random.Random()
    for _ in range(20):
        process = _start(tmp_path)
        await anyio.to_thread.run_sync(_kill_after, process, instants.randrange(1, 400), acknowledged)
        assert _integrity(tmp_path) == ["ok"]
        async with opened(tmp_path) as home:
            assert home.database.warnings == []
            await home.store.mark_cut_turns()
            await _check(home.store, acknowledged)
            # The threads go on: the newest takes another turn.
            newest = max(acknowledged)
            await home.store.append(newest, turn=turn("after the crash"))
            acknowledged[newest].add("after the crash completed")


async def test_two_daemons_write_to_one_store_and_one_is_killed(tmp_path: Path) -> None:
    acknowledged: tuple[Acknowledged, Acknowledged] = ({}, {})
    first, second = _start(tmp_path, size=2000), _start(tmp_path, size=2000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, _kill_after, first, 300, acknowledged[0])
        tasks.start_soon(anyio.to_thread.run_sync, _kill_after, second, 900, acknowledged[1])
    assert _integrity(tmp_path) == ["ok"]
    assert acknowledged[0].keys() & acknowledged[1].keys() == set()
    async with opened(tmp_path) as home:
        await home.store.mark_cut_turns()
        await _check(home.store, acknowledged[0] | acknowledged[1])


async def test_a_survivor_takes_over_the_threads_of_the_daemon_that_was_killed(tmp_path: Path) -> None:
    async with opened(tmp_path) as survivor:
        acknowledged: Acknowledged = {}
        await anyio.to_thread.run_sync(_kill_after, _start(tmp_path), 100, acknowledged)
        for thread_id in acknowledged:
            await survivor.store.claim(thread_id)
            await survivor.store.append(thread_id, turn=turn("taken over"))
        await _check(survivor.store, acknowledged)
        assert await survivor.store.mark_cut_turns() == 0
