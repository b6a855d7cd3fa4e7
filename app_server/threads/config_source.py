"""Where threads get their configuration from."""

import logging
from collections.abc import Sequence
from typing import Any

import anyio

from app_server.config.layer import ConfigError
from app_server.config.live import Configuration
from app_server.config.settings import Settings
from app_server.config.working_folder import working_folder
from app_server.threads.settings import with_known_profile, within_requirements
from app_server.threads.storing import stored
from app_server.threads.thread import Thread
from protocol.jsonrpc import INVALID_REQUEST, RpcError

logger = logging.getLogger(__name__)


class ConfigSource:
    """The configuration for each thread: of its folder, with what its client gave on top."""

    def __init__(self, configuration: Configuration, default_cwd: str | None = None) -> None:
        self._configuration = configuration
        self.default_cwd = default_cwd or working_folder()
        self._renewing, self._renewed = anyio.Lock(), 0

    async def thread_settings(self, overrides: dict[str, Any] | None, cwd: str | None) -> Settings:
        """Settings for a thread in `cwd`, with a client's `config` overrides on top. Raises -32600 naming a bad key."""
        try:
            return await self._configuration.thread_settings(overrides or {}, cwd or self.default_cwd)
        except ConfigError as error:
            raise RpcError(INVALID_REQUEST, f"failed to load configuration: {error}") from None

    async def renew(self, threads: Sequence[Thread]) -> None:
        """Let loaded threads go on with the configuration as it is now; a turn that runs keeps what it began with.

        When this returns it is so, whoever began with it. What was chosen for a thread stays chosen, its model too.
        Where files cannot be understood, what they said before holds.
        """
        async with self._renewing:
            if (generation := self._configuration.generation) == self._renewed:
                return
            for thread in threads:
                await self._renew(thread)
            self._renewed = generation

    async def _renew(self, thread: Thread) -> None:
        try:
            thread.config = await self.thread_settings(thread.config_overrides, thread.settings.cwd)
            known, warning = with_known_profile(thread.settings, thread.config)
            changed, limited = within_requirements(known, thread.config)
            (await stored(thread.apply(changed)))()
        except RpcError as error:
            logger.warning("thread %s keeps its configuration: %s", thread.id, error.message)
            return
        if told := warning or limited:
            thread.warn(told)
