"""All skills of the daemon: found, read once, listed per folder, and watched."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import anyio
from anyio import to_thread
from msgspec import Struct

from app_server.config.settings import Settings
from app_server.extensions.plugins import skill_roots_of_plugins
from app_server.extensions.skill_folders import (
    ADMIN_SKILLS,
    Found,
    SkillRoot,
    Stamp,
    look_through,
    skill_roots,
)
from app_server.extensions.skill_rules import rules_in, switched_off
from app_server.extensions.skills import SKILL_FILE, Skill, SkillError, read_skill
from app_server.files.watch import Watcher
from app_server.rpc.outbound import Frame, notification
from protocol.jsonrpc import RpcError
from protocol.v2.skills import SKILLS_CHANGED, SkillErrorInfo, SkillMetadata, SkillsChangedNotification, SkillsListEntry

logger = logging.getLogger(__name__)

MOST_FOLDERS = 64
"""For how many folders, those asked for last, clients hear that skills have changed."""

MOST_WATCHES = 1000
"""How many folders of skills are watched."""

_ORDER = {"repo": 0, "user": 1, "system": 2, "admin": 3}


class Listing(Struct, frozen=True):
    """The skills that hold in one folder, in order, and what could not be read."""

    skills: Sequence[Skill]
    errors: Sequence[SkillErrorInfo]
    disabled: frozenset[str]
    """The paths of skills that are switched off."""
    instructs: bool = True
    """Whether the model is told of them."""

    def named(self, name: str) -> list[Skill]:
        """The skills of that name that are switched on."""
        return [skill for skill in self.skills if skill.name == name and skill.path not in self.disabled]

    def at(self, path: str) -> Skill | None:
        """The skill whose SKILL.md, or whose folder, is at `path`, on or off."""
        real = os.path.realpath(path)
        wanted = {path, real, os.path.join(real, SKILL_FILE)}
        return next((skill for skill in self.skills if skill.path in wanted), None)

    def entry(self, cwd: str) -> SkillsListEntry:
        """As clients read it."""
        skills = [
            SkillMetadata(
                name=skill.name,
                description=skill.description,
                short_description=skill.short_description,
                interface=skill.interface,
                dependencies=skill.dependencies,
                path=skill.path,
                scope=skill.scope,
                enabled=skill.path not in self.disabled,
                plugin_id=skill.plugin_id,
            )
            for skill in self.skills
        ]
        return SkillsListEntry(cwd=cwd, errors=list(self.errors), skills=skills)


class SkillLibrary:
    """Reads skills in threads of its own, keeps what it has read by the times of the files, and tells of changes."""

    def __init__(
        self, watcher: Watcher, broadcast: Callable[[Frame], None], watches: int, admin: str = ADMIN_SKILLS
    ) -> None:
        """`watches` is the id under which folders are watched, `admin` the folder of the machine's administrator."""
        self._watcher, self._broadcast, self._watches, self._admin = watcher, broadcast, watches, admin
        self._extra: tuple[str, ...] = ()
        self._read: dict[tuple[SkillRoot, str], tuple[Stamp, Skill | str]] = {}
        self._told: OrderedDict[str, tuple[Settings, object]] = OrderedDict()
        self._wanted: set[str] = set()
        self._watched: set[str] = set()
        self._wake = anyio.Event()
        self._is_stale = False

    async def listing(self, cwd: str, settings: Settings, *, again: bool = False) -> Listing:
        """The skills that hold in the absolute folder `cwd`. `again` reads every file, changed or not."""
        listing, found = await to_thread.run_sync(self._look, cwd, settings, again)
        if cwd not in self._told:
            self._told[cwd] = settings, _state(listing, found)
        self._told.move_to_end(cwd)
        while len(self._told) > MOST_FOLDERS:
            self._told.popitem(last=False)
        self._want(found)
        return listing

    def set_extra_roots(self, roots: Sequence[str]) -> None:
        """Look for skills of the user in these absolute folders too, in place of those named before. Tells clients."""
        self._extra = tuple(roots)
        self.tell_changed()

    def tell_changed(self) -> None:
        """Tell every client that lists of skills are no longer what they were."""
        self._told.clear()
        self._broadcast(notification(SKILLS_CHANGED, SkillsChangedNotification()))

    async def known(self, cwd: str, settings: Settings) -> list[Skill]:
        """Every skill that was found so far in any folder, those that hold in `cwd` now included."""
        await self.listing(cwd, settings)
        return list({read.path: read for _, read in list(self._read.values()) if isinstance(read, Skill)}.values())

    # Changes

    def changed(self) -> None:
        """Something happened in a watched folder."""
        self._is_stale = True
        self._wake.set()

    async def run(self) -> None:
        """Watch the folders of skills that somebody has asked for, and tell of changes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            await self._watch()
            if self._is_stale:
                self._is_stale = False
                await self._compare()

    async def _compare(self) -> None:
        differs = False
        for cwd, (settings, before) in list(self._told.items()):
            listing, found = await to_thread.run_sync(self._look, cwd, settings)
            self._want(found)
            if (state := _state(listing, found)) != before:
                differs = True
                if cwd in self._told:
                    self._told[cwd] = settings, state
        if differs:
            self._broadcast(notification(SKILLS_CHANGED, SkillsChangedNotification()))

    def _want(self, found: Iterable[tuple[SkillRoot, Found]]) -> None:
        # Also roots that do not exist yet: the watcher tells when they appear.
        folders = {folder for root, there in found for folder in (root.path, *there.folders)}
        folders |= {os.path.join(os.path.dirname(path), "agents") for _, there in found for path in there.skills}
        if not folders <= self._wanted:
            self._wanted |= folders
            self._wake.set()

    async def _watch(self) -> None:
        new = sorted(self._wanted - self._watched)[: max(0, MOST_WATCHES - len(self._watched))]
        self._watched.update(new)
        async with anyio.create_task_group() as tasks:
            for folder in new:
                tasks.start_soon(self._add, folder)
        if new:
            # What happened before its watch began is seen by looking again.
            self._is_stale = True

    async def _add(self, folder: str) -> None:
        try:
            await self._watcher.add(self._watches, folder, folder)
        except RpcError as error:
            self._watched.discard(folder)
            logger.info("changes of skills in %s go unseen: %s", folder, error)

    # In a thread

    def _look(self, cwd: str, settings: Settings, again: bool = False) -> tuple[Listing, list[tuple[SkillRoot, Found]]]:
        found = [
            (root, look_through(root.path))
            for root in skill_roots(settings, cwd, self._extra, skill_roots_of_plugins(settings), self._admin)
        ]
        skills: dict[str, Skill] = {}
        errors: dict[str, str] = {}
        for root, there in found:
            real = os.path.realpath(root.path)
            for path, stamp in there.skills.items():
                if path in skills or path in errors:
                    continue
                if again:
                    self._read.pop((root, path), None)
                read = self._skill(root, real, path, stamp)
                if isinstance(read, Skill):
                    skills[path] = read
                elif root.scope != "system":
                    errors[path] = read
        ordered = sorted(skills.values(), key=lambda skill: (_ORDER[skill.scope], skill.name, skill.path))
        problems = [SkillErrorInfo(path=path, message=errors[path]) for path in sorted(errors)]
        table = settings.extensions.get("skills", {})
        off = switched_off(ordered, rules_in(table))
        return Listing(ordered, problems, off, table.get("include_instructions") is not False), found

    def _skill(self, root: SkillRoot, real: str, path: str, stamp: Stamp) -> Skill | str:
        kept = self._read.get((root, path))
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            read = read_skill(path, real, root.scope, root.plugin_id)
        except SkillError as error:
            read = str(error)
        self._read[root, path] = stamp, read
        return read


def _state(listing: Listing, found: Iterable[tuple[SkillRoot, Found]]) -> object:
    return [(root, there.skills) for root, there in found], listing.disabled
