"""What extends the agent, in one place for the daemon."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import anyio

from app_server.config.settings import Settings
from app_server.files.watch import Watcher
from app_server.rpc.outbound import Frame
from app_server.store.database import Database
from app_server.store.imports import ImportStore

if TYPE_CHECKING:
    from app_server.extensions.skill_library import SkillLibrary

SKILL_WATCHES = -1
"""The id under which skills are watched, beside those of connections."""


class Extensions:
    """One for the daemon: skills, and what was taken over from other agents."""

    def __init__(
        self, database: Database, watcher: Watcher, broadcast: Callable[[Frame], None], settings: Settings
    ) -> None:
        self._watcher, self._broadcast = watcher, broadcast
        self._used = anyio.Event()
        self.imports = ImportStore(database)
        self._tables = _tables(settings)

    @cached_property
    def skills(self) -> "SkillLibrary":
        """All skills. They are imported with the first question about them: a daemon that starts waits for nothing."""
        from app_server.extensions.skill_library import SkillLibrary

        self._used.set()
        return SkillLibrary(self._watcher, self._broadcast, SKILL_WATCHES)

    def configured(self, settings: Settings) -> None:
        """The configuration may be another one: tell clients, if which skills there are depends on what is new."""
        tables = _tables(settings)
        if self._used.is_set() and tables != self._tables:
            self.skills.tell_changed()
        self._tables = tables

    def changed(self) -> None:
        """Something happened where skills are watched."""
        self.skills.changed()

    async def run(self) -> None:
        """Tell of changes of skills, until cancelled."""
        await self._used.wait()
        await self.skills.run()


def _tables(settings: Settings) -> object:
    return [settings.extensions.get(name) for name in ("skills", "plugins")]
