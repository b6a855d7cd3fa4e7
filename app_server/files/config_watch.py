"""Watches on the files that configuration is read from."""

import logging

import anyio

from app_server.config.live import Configuration
from app_server.files.watch import Watcher
from protocol.jsonrpc import RpcError

CONFIG_WATCHES = -2
"""The id under which these watches are kept among those of clients."""

DELAY_SECONDS = 2.0
"""When after the start they begin: before, they would only slow it down, and every thread that starts looks itself."""

logger = logging.getLogger(__name__)


class ConfigWatch:
    """Has the configuration read again when one of its files changes, comes or goes."""

    def __init__(self, configuration: Configuration, watcher: Watcher) -> None:
        self._configuration, self._watcher = configuration, watcher
        self._news = anyio.Event()

    def changed(self) -> None:
        """A watched file, or which files are to be watched, has changed."""
        self._news.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        await anyio.sleep(DELAY_SECONDS)
        watched: set[str] = set()
        while True:
            self._news = anyio.Event()
            wanted = self._configuration.files
            for file in watched - wanted:
                self._watcher.remove(CONFIG_WATCHES, file)
            for file in wanted - watched:
                await self._watch(file)
            watched = wanted
            await self._configuration.look_again()
            await self._news.wait()

    async def _watch(self, file: str) -> None:
        try:
            await self._watcher.add(CONFIG_WATCHES, file, file)
        except RpcError as error:
            # It is looked at with every thread that starts all the same.
            logger.info("%s is not watched: %s", file, error.message)
