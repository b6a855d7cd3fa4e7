"""A running watcher, and what it told each watch so far."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from app_server.files.watch import Watcher


class News:
    """Every call of `tell`, by connection and watch."""

    def __init__(self) -> None:
        self.batches: dict[tuple[int, str], list[list[str]]] = defaultdict(list)
        self._more = anyio.Event()

    def tell(self, connection_id: int, watch_id: str, paths: list[str]) -> None:
        self.batches[connection_id, watch_id].append(paths)
        self._more.set()

    def paths(self, connection_id: int, watch_id: str) -> set[str]:
        return {path for batch in self.batches[connection_id, watch_id] for path in batch}

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached`, asked after each batch."""
        while not reached():
            self._more = anyio.Event()
            await self._more.wait()

    async def of(self, connection_id: int, watch_id: str, *paths: str) -> None:
        """Wait until all of `paths` were told, then forget what was told to this watch."""
        await self.until(lambda: self.paths(connection_id, watch_id) >= set(paths))
        self.batches[connection_id, watch_id].clear()


@asynccontextmanager
async def watching() -> AsyncGenerator[tuple[Watcher, News]]:
    news = News()
    watcher = Watcher(news.tell)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run)
        yield watcher, news
        tasks.cancel_scope.cancel()
