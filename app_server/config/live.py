"""The configuration of a running daemon: read again when files change, read for folders, and written."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from app_server.config.features import known_features
from app_server.config.layer import ConfigError, ConfigWarning
from app_server.config.layers import LayerStack, Loader
from app_server.config.projects import find_project, project_root
from app_server.config.settings import Settings
from app_server.config.working_folder import absolute

if TYPE_CHECKING:
    from app_server.config.edit import Edit, Written

logger = logging.getLogger(__name__)

MAX_FOLDERS = 256
"""How many folders are remembered with the stack that holds for them."""

DOUBT_NS = 20_000_000
"""How long after a change a file may change again without another time on it."""

Signature = tuple[tuple[int, int, int] | None, ...]
"""For each file its inode, size and time of change, or None where there is none."""


class _Known(Struct, frozen=True):
    """A stack with the state of its files before they were read."""

    stack: LayerStack
    signature: Signature


class _Chosen(Struct, frozen=True):
    """What a stack has that comes from no file."""

    features: Mapping[str, bool] = field(default_factory=dict[str, bool])
    signed_in: bool | None = None

    def on(self, known: _Known) -> _Known:
        stack = known.stack
        signed_in = stack.signed_in if self.signed_in is None else self.signed_in
        if signed_in == stack.signed_in and self.features == stack.live_features:
            return known
        return replace(known, stack=stack.live(self.features, signed_in))


class Configuration:
    """The layers as they are on disk now. `settings` is what they come to, outside of any project.

    Whoever keeps a Settings keeps it as it was; who asks again gets the present one. `changed` is called on the loop
    after the layers have become others.
    """

    def __init__(self, load: Loader) -> None:
        """Read the layers. Raises ConfigError for a mistake on the command line."""
        self._load = load
        self._base = _read(load)
        self._settings = self._base.stack.settings()
        self._folders: dict[str, _Known] = {}
        self._chosen = _Chosen()
        self._lock = anyio.Lock()
        self.generation = 0
        """Counts the changes."""
        self.changed: Callable[[], None] = _nothing
        self.found: Callable[[Sequence[ConfigWarning]], None] = _nothing_found
        """Told what is wrong in the configuration of a folder that a thread works in."""
        self.looked: Callable[[], None] = _nothing
        """Called when another folder was looked at, so that there may be other `files`."""

    @property
    def stack(self) -> LayerStack:
        """The layers, without those of projects."""
        return self._base.stack

    @property
    def settings(self) -> Settings:
        """What is in force outside of threads. While a file cannot be understood, it is what was in force before."""
        return self._settings

    @property
    def files(self) -> set[str]:
        """Every file that decides, those of projects that were asked about included."""
        return {file for known in (self._base, *self._folders.values()) for file in known.stack.files}

    async def refresh(self) -> LayerStack:
        """The layers as they are on disk now."""
        async with self._lock:
            await self._refresh()
            return self.stack

    async def look_again(self) -> None:
        """See whether any file has changed, those of projects too."""
        async with self._lock:
            await self._refresh()
            stale = await anyio.to_thread.run_sync(_stale, dict(self._folders))
            for folder in stale:
                del self._folders[folder]
            if stale:
                self._tell()

    async def in_folder(self, cwd: str | None) -> LayerStack:
        """The layers as they are for a folder, those of its project included; for None, without one."""
        async with self._lock:
            if cwd is None or "\0" in cwd:
                await self._refresh()
                return self.stack
            cwd = absolute(cwd)
            known, generation = self._folders.pop(cwd, None), self.generation
            base, fresh = await anyio.to_thread.run_sync(_look, self._load, self._base, self._chosen, cwd, known)
            if base is not self._base:
                self._take(base)
            self._folders[cwd] = fresh
            if len(self._folders) > MAX_FOLDERS:
                del self._folders[next(iter(self._folders))]
        if fresh is not known:
            self.looked()
            changed = known is not None and _content(known.stack) != _content(fresh.stack)
            if changed and self.generation == generation:
                self._tell()
        return fresh.stack

    async def thread_settings(self, overrides: Mapping[str, Any] | None, cwd: str | None) -> Settings:
        """What is in force for a thread in a folder, with overrides of its own. Raises ConfigError."""
        stack = await self.in_folder(cwd)
        told = set(self.stack.warnings)
        if new := [warning for warning in stack.warnings if warning not in told]:
            self.found(new)
        return stack.with_thread_config(overrides)

    async def switch(self, enablement: Mapping[str, bool]) -> dict[str, bool]:
        """Switch features until the daemon ends, as far as no layer says otherwise. Returns those that can be."""
        features = known_features()
        taken = {name: on for name, on in enablement.items() if name in features and features[name].live}
        if taken:
            async with self._lock:
                self._chosen = replace(self._chosen, features={**self._chosen.features, **taken})
                self._take(self._chosen.on(self._base))
        return taken

    def sign(self, *, signed_in: bool) -> None:
        """Somebody has signed in or out, which some defaults depend on."""
        self._chosen = replace(self._chosen, signed_in=signed_in)
        self._take(self._chosen.on(self._base))

    async def write(
        self, edits: "Sequence[Edit]", *, expected_version: str | None = None, file_path: str | None = None
    ) -> "Written":
        """Change the user's file, all or nothing; when this returns it holds. Raises edit.WriteRefused or OSError."""
        from app_server.config.edit import write

        async with self._lock:
            await self._refresh()
            work = partial(write, self.stack, edits, expected_version=expected_version, file_path=file_path)
            written, base = await anyio.to_thread.run_sync(_written, work, self._load, self._base, self._chosen)
            self._take(base)
        return written

    async def _refresh(self) -> None:
        base = await anyio.to_thread.run_sync(_reread, self._load, self._base, self._chosen)
        if base is not self._base:
            self._take(base)

    def _take(self, fresh: _Known) -> None:
        before, self._base = self._base, self._chosen.on(fresh)
        if _content(before.stack) == _content(self.stack):
            return
        self._folders.clear()
        if not self.stack.broken:
            self._settings = self.stack.settings()
        self._tell()

    def _tell(self) -> None:
        self.generation += 1
        self.changed()


def _read(load: Loader) -> _Known:
    started = time_ns()
    stack = load()
    return _Known(stack, _signature(stack.files, started))


def _reread(load: Loader, known: _Known, chosen: _Chosen) -> _Known:
    """What is on disk now; `known` itself if that has not changed."""
    if _signature(known.stack.files) == known.signature:
        return known
    try:
        fresh = _read(load)
    except ConfigError as error:
        # With --strict-config a mistake ends the start of a daemon, and not one that runs.
        logger.warning("the configuration was not read again: %s", error)
        return replace(known, signature=_signature(known.stack.files))
    fresh = chosen.on(fresh)
    _ = fresh.stack.warnings  # here, and not on the loop
    return fresh


def _written(work: "Callable[[], Written]", load: Loader, base: _Known, chosen: _Chosen) -> "tuple[Written, _Known]":
    """Write, and read what holds then: in one go, which no cancellation can part."""
    written = work()
    return written, _reread(load, base, chosen)


def _look(load: Loader, base: _Known, chosen: _Chosen, cwd: str, known: _Known | None) -> tuple[_Known, _Known]:
    """What is on disk now, without and with the project that a folder is in. `known` is what was found there before."""
    now = _reread(load, base, chosen)
    settings = now.stack.settings()
    if known is not None and now is base and _signature(known.stack.files) == known.signature:
        project = known.stack.project
        if project is not None and project.root == project_root(cwd, settings.project_root_markers):
            return now, known
    started = time_ns()
    found = find_project(cwd, settings.project_root_markers, settings.projects, now.stack.codex_home)
    stack = now.stack.in_project(found)
    _ = stack.warnings
    return now, _Known(stack, _signature(stack.files, started))


def _stale(folders: Mapping[str, _Known]) -> list[str]:
    return [folder for folder, known in folders.items() if _signature(known.stack.files) != known.signature]


def _signature(files: Sequence[str], read_since: int | None = None) -> Signature:
    """The state of the files. One that was changed at about `read_since` may have been read before: it has none."""
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            state = os.stat(file)
        except OSError:
            found.append(None)
            continue
        if read_since is not None and state.st_mtime_ns > read_since - DOUBT_NS:
            return ()
        found.append((state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)


def _content(stack: LayerStack) -> list[Any]:
    layers = [(layer.source, layer.text, layer.version) for layer in stack.layers]
    demands = None if stack.requirements is None else stack.requirements.text
    broken = [warning.details for warning in stack.broken]
    # The only setting whose value is in a file beside the layers.
    instructions = stack.settings().base_instructions
    return [layers, demands, broken, instructions, stack.signed_in, stack.live_features]


def _nothing() -> None:
    pass


def _nothing_found(warnings: Sequence[ConfigWarning]) -> None:
    pass
