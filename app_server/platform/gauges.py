"""Numbers of the running daemon: what a client or a person looks at when something grows or hangs."""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.to_thread

SAMPLE_SECONDS = 0.1
WATCHED_SECONDS = 60.0
"""How long the loop is watched after somebody has asked; nobody who does not ask pays for it."""

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


class Gauges:
    """Named numbers, each read when it is asked for."""

    def __init__(self, spawn: Spawn) -> None:
        """`spawn` runs what goes on for a while after a reading."""
        self._read: dict[str, Callable[[], int]] = {}
        self._files: list[Path] = []
        self.lag = LoopLag(spawn)

    def add(self, name: str, read: Callable[[], int]) -> None:
        """Show `read()` as `name`; it is called in the event loop and takes no time."""
        self._read[name] = read

    def add_store(self, database: Path) -> None:
        """Show the size of an SQLite database with all its files."""
        self._files += [Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm")]

    async def read(self) -> dict[str, int]:
        """All of them, in the order of their names."""
        found = {name: read() for name, read in self._read.items()}
        found["app.tasks.alive"] = len(anyio.get_running_tasks())
        found["app.event_loop.lag_us"] = await self.lag.worst_us()
        found |= await anyio.to_thread.run_sync(self._in_thread)
        return dict(sorted(found.items()))

    def _in_thread(self) -> dict[str, int]:
        # Opened by the listing itself: one less.
        return {
            "process.open_files": len(os.listdir("/dev/fd")) - 1,
            "process.threads": _threads(),
            "store.bytes": sum(_size(file) for file in self._files),
        }


class LoopLag:
    """How late the event loop comes round to what is due: the longest that anything held it up lately."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._worst = 0.0
        self._until = 0.0
        self._watching = False

    async def worst_us(self) -> int:
        """In microseconds, since the last reading, or for the first one in a tenth of a second."""
        self._until = perf_counter() + WATCHED_SECONDS
        if not self._watching:
            self._watching = True
            await self._sample()
            self._spawn(self._watch)
        worst, self._worst = self._worst, 0.0
        return round(worst * 1e6)

    async def _watch(self) -> None:
        try:
            while perf_counter() < self._until:
                await self._sample()
        finally:
            self._watching = False

    async def _sample(self) -> None:
        due = perf_counter() + SAMPLE_SECONDS
        await anyio.sleep(SAMPLE_SECONDS)
        self._worst = max(self._worst, perf_counter() - due)


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
