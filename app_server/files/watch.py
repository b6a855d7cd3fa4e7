"""News about files: one watcher of the system for the watches of all clients."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from errno import EACCES
from stat import S_ISDIR, S_ISLNK
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from anyio.abc import TaskGroup
from msgspec import Struct

from protocol.jsonrpc import RpcError, internal_error, invalid_request

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

logger = logging.getLogger(__name__)

STEP_MS, GATHER_MS = 50, 100
"""News are told once a step brings no more of them, or after the longer time."""

RETRY_SECONDS = 5.0
"""How long until a folder is tried again that could not be watched."""

LOOK_SECONDS = 5.0
"""How long paths are looked at (a network file system may hang) before the old picture of them is kept."""

_LISTENERS = 16
_PARTS = 8
"""How many watchers of the system share the work before one takes it over: each new folder gets one at first, since
opening one for all folders takes long."""

QUIET_SECONDS = 1.0
"""After how long without new folders one takes over anyway: each costs a thread that looks around now and then."""

_LOOKERS = 8
_ROUNDS = 5
_MAX_LINKS = 40
_MODIFIED = 2

K = TypeVar("K")

Tell = Callable[[int, str, list[str]], None]
"""Takes the connection's id, the watch's id and the changed paths, in order, each named as its watch is."""

Identity = tuple[int, int]
"""Device and inode."""


class _Look(Struct, frozen=True):
    """What must be watched to hear of a path, and what was there."""

    folders: dict[str, Identity]
    """Folders to watch, without what is below them, by their real paths."""
    entries: frozenset[tuple[str, str]]
    """Folder and name: what happens there happens to the path."""
    hints: frozenset[tuple[str, str]]
    """Folder and name: once this exists, the path may exist."""
    inside: str | None
    """The folder that the path is; what happens to its entries is told by their names."""
    state: tuple[int, ...] | None
    denied: str | None
    """What may not be read, if that leaves the path unwatched."""


class _Watch:
    """One fs/watch of one client."""

    __slots__ = ("connection_id", "error", "gone", "look", "path", "ready", "watch_id")

    def __init__(self, connection_id: int, watch_id: str, path: str) -> None:
        self.connection_id, self.watch_id, self.path = connection_id, watch_id, path
        self.look: _Look | None = None
        self.ready = anyio.Event()
        self.error: RpcError | None = None
        self.gone = False


class _Listener:
    """One watcher of the system, until it is retired."""

    __slots__ = ("notify", "retired")

    def __init__(self, notify: "RustNotify") -> None:
        self.notify, self.retired = notify, False

    def listen(self, changed: Callable[[set[tuple[int, str]]], None]) -> None:
        """Tell what happens. Runs in a thread; after `retired` is set it tells what came before that, and returns."""
        last = False
        while not last:
            last = self.retired
            # A stop event would throw away what was seen in the last step; short waits lose nothing.
            changes = self.notify.watch(1, 1, 1, None) if last else self.notify.watch(GATHER_MS, STEP_MS, STEP_MS, None)
            if isinstance(changes, set):
                from_thread.run_sync(changed, changes)
        self.notify.close()


class Watcher:
    """All watches of all clients, over one watcher of the system.

    The system watches folders, not files: a file that is replaced by renaming stays watched, and what does not
    exist yet is heard of when it appears. New folders get a watcher of their own; now and then a new one for all
    starts before the old ones are retired, so nothing is missed and something may be told twice. While nothing is
    watched no thread is held.
    A link among the folders above a watched path is followed once: that it points elsewhere later goes unseen.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._watches: dict[int, dict[str, _Watch]] = defaultdict(dict)
        self._joining: set[_Watch] = set()
        self._again: set[_Watch] = set()
        self._untold: dict[_Watch, set[str]] = defaultdict(set)
        # Who hears of what: by folder and name, by folder for its entries, by folder for itself.
        self._entries: dict[tuple[str, str], set[_Watch]] = defaultdict(set)
        self._hints: dict[tuple[str, str], set[_Watch]] = defaultdict(set)
        self._insides: dict[str, set[_Watch]] = defaultdict(set)
        self._users: dict[str, set[_Watch]] = defaultdict(set)
        self._wanted: dict[str, Identity] = {}
        self._live: dict[str, Identity] = {}
        self._opened: set[str] = set()
        self._unite = False
        self._lost: set[str] = set()
        self._lacking = False
        self._wake = anyio.Event()
        self._listeners: set[_Listener] = set()
        self._one_ended = anyio.Event()
        self._threads = CapacityLimiter(_LISTENERS)
        # Looks that hang on a dead network file system use up these, and no worker of other rooms.
        self._lookers = CapacityLimiter(_LOOKERS)
        self._tasks: TaskGroup | None = None

    async def idle(self) -> None:
        """Wait until no thread is held, which is soon after the last watch has ended."""
        while self._listeners:
            await self._one_ended.wait()

    async def run(self) -> None:
        """Watch until cancelled. Without watches it only waits."""
        async with anyio.create_task_group() as self._tasks:
            try:
                while True:
                    in_parts = sum(not listener.retired for listener in self._listeners) > 1
                    pause = RETRY_SECONDS if self._lacking else QUIET_SECONDS if in_parts else None
                    with anyio.move_on_after(pause):
                        await self._wake.wait()
                    if in_parts and not self._wake.is_set():
                        self._unite = True
                    self._wake = anyio.Event()
                    await self._settle()
            finally:
                self._retire(self._listeners)

    async def add(self, connection_id: int, watch_id: str, path: str) -> str:
        """Watch the absolute `path`, which need not exist; returns it without `.` and `..`.

        What happens after the return is told. Raises -32600 if the connection has a watch of that id, -32603 if
        the system does not let it be watched.
        """
        watches = self._watches[connection_id]
        if watch_id in watches:
            raise invalid_request(f"watchId already exists: {watch_id}")
        watch = watches[watch_id] = _Watch(connection_id, watch_id, path)
        try:
            look = await to_thread.run_sync(_look, path, limiter=self._lookers, abandon_on_cancel=True)
            if look.denied is not None:
                raise internal_error(f"{os.strerror(EACCES)} (os error {EACCES}): {look.denied}")
            if not watch.gone:
                self._place(watch, look)
                if not self._is_live(watch):
                    self._joining.add(watch)
                    self._wake.set()
                    await watch.ready.wait()
            if watch.error is not None:
                raise watch.error
        except BaseException:
            self._drop(watch)
            raise
        return path

    def remove(self, connection_id: int, watch_id: str) -> None:
        """End a watch; nothing is told of it any more. One that does not exist is no error."""
        watch = self._watches[connection_id].get(watch_id) if connection_id in self._watches else None
        if watch is not None:
            self._drop(watch)

    async def close_connection(self, connection_id: int) -> None:
        """End all watches of a connection."""
        for watch in list(self._watches.pop(connection_id, {}).values()):
            self._drop(watch)

    # The index

    def _place(self, watch: _Watch, look: _Look) -> None:
        self._displace(watch)
        watch.look = look
        for key in look.entries:
            self._entries[key].add(watch)
        for key in look.hints:
            self._hints[key].add(watch)
        if look.inside is not None:
            self._insides[look.inside].add(watch)
        for folder, identity in look.folders.items():
            self._users[folder].add(watch)
            self._wanted[folder] = identity

    def _displace(self, watch: _Watch) -> None:
        look, watch.look = watch.look, None
        if look is None:
            return
        for key in look.entries:
            _discard(self._entries, key, watch)
        for key in look.hints:
            _discard(self._hints, key, watch)
        if look.inside is not None:
            _discard(self._insides, look.inside, watch)
        for folder in look.folders:
            _discard(self._users, folder, watch)
            if folder not in self._users:
                del self._wanted[folder]

    def _drop(self, watch: _Watch) -> None:
        watch.gone = True
        self._displace(watch)
        self._joining.discard(watch)
        self._again.discard(watch)
        self._untold.pop(watch, None)
        watches = self._watches.get(watch.connection_id)
        if watches is not None and watches.get(watch.watch_id) is watch:
            del watches[watch.watch_id]
            if not watches:
                del self._watches[watch.connection_id]
        watch.ready.set()
        self._wake.set()

    def _is_live(self, watch: _Watch) -> bool:
        folders = watch.look.folders if watch.look is not None else ()
        return all(self._live.get(folder) == self._wanted[folder] for folder in folders)

    # What happens

    def _changed(self, changes: Iterable[tuple[int, str]]) -> None:
        told: dict[_Watch, set[str]] = defaultdict(set)
        for kind, path in changes:
            folder, _, name = path.rpartition("/")
            key = (folder or "/", name)
            for watch in self._insides.get(key[0], ()):
                told[watch].add(os.path.join(watch.path, name))
            heard = self._entries.get(key, ())
            for watch in heard:
                told[watch].add(watch.path)
            if path in self._users:
                for watch in self._insides.get(path, ()):
                    told[watch].add(watch.path)
            if kind != _MODIFIED:
                self._again.update(heard, self._hints.get(key, ()))
                if path in self._users:
                    # The folder went or came: whatever watched it watches nothing now.
                    self._again.update(self._users[path])
                    self._live.pop(path, None)
                    self._lost.add(path)
        for watch, paths in told.items():
            if watch in self._again:
                # Told together with what the next look shows, once and not twice.
                self._untold[watch] |= paths
            else:
                self._tell(watch.connection_id, watch.watch_id, sorted(paths))
        if self._again:
            self._wake.set()

    async def _settle(self) -> None:
        """Look at what came or went, watch what is wanted now, and then tell: news of a folder means it is heard."""
        try:
            await self._cover()
        finally:
            self._tell_the_rest()

    async def _cover(self) -> None:
        self._lacking = False
        for round_number in range(_ROUNDS):
            await self._look_again()
            if not self._wanted:
                self._retire(self._listeners)
                self._live = {}
                return
            covered = all(self._live.get(folder) == identity for folder, identity in self._wanted.items())
            # What is watched in vain costs little, and a restart for each unwatch would cost more.
            if covered and not self._unite and len(self._live) <= 2 * len(self._wanted) + 8:
                break
            if round_number:
                await anyio.sleep(STEP_MS / 1000)
            if (failure := await self._restart()) is not None:
                self._refuse_joining(failure)
                break
        self._lacking = not all(self._live.get(folder) == identity for folder, identity in self._wanted.items())
        for watch in [watch for watch in self._joining if self._is_live(watch)]:
            self._joining.discard(watch)
            watch.ready.set()
        if self._joining or self._again:
            self._wake.set()

    async def _look_again(self) -> None:
        watches = [watch for watch in self._again if not watch.gone]
        self._again = set()
        looks: list[_Look] = []
        if watches:
            paths = [watch.path for watch in watches]
            with anyio.move_on_after(LOOK_SECONDS):
                looks = await to_thread.run_sync(_look_at_all, paths, limiter=self._lookers, abandon_on_cancel=True)
            if not looks:
                logger.warning("%d watched paths, %s among them, could not be looked at in time", len(paths), paths[0])
        for watch, look in zip(watches, looks, strict=False):
            if watch.gone:
                continue
            if watch.look is not None and watch.look.state != look.state:
                self._untold[watch].add(watch.path)
            self._place(watch, look)

    def _tell_the_rest(self) -> None:
        untold, self._untold = self._untold, defaultdict(set)
        for watch, paths in untold.items():
            if not watch.gone:
                self._tell(watch.connection_id, watch.watch_id, sorted(paths))

    async def _restart(self) -> str | None:
        """Watch what is wanted now; returns why that failed."""
        while len(self._listeners) >= _LISTENERS:
            await self._one_ended.wait()
        before, folders = dict(self._live), list(self._wanted)
        retiring = {listener for listener in self._listeners if not listener.retired}
        missing = [folder for folder, identity in self._wanted.items() if before.get(folder) != identity]
        # A watcher that knows a folder of that path may still hear of an older one, which is elsewhere now.
        is_part = bool(missing) and len(retiring) < _PARTS and self._opened.isdisjoint(missing)
        self._unite = False
        self._lost = set()
        try:
            notify, found = await to_thread.run_sync(_open, missing if is_part else folders, abandon_on_cancel=True)
        except OSError as error:
            logger.warning("%d folders cannot be watched: %s", len(folders), error)
            return str(error)
        listener = _Listener(notify)
        self._listeners.add(listener)
        assert self._tasks is not None
        self._tasks.start_soon(self._listen, listener)
        if not is_part:
            self._retire(retiring)
            self._live, self._opened = {}, set()
        self._opened.update(found)
        self._live.update((folder, identity) for folder, identity in found.items() if folder not in self._lost)
        # Between the look and the start of the new watcher anything may have happened in folders new to it.
        for folder, identity in self._wanted.items():
            if before.get(folder) != identity or self._live.get(folder) != identity:
                self._again |= self._users[folder]
        return None

    def _refuse_joining(self, failure: str) -> None:
        for watch in [watch for watch in self._joining if not self._is_live(watch)]:
            self._joining.discard(watch)
            watch.error = internal_error(f"cannot watch {watch.path}: {failure}")
            watch.ready.set()

    async def _listen(self, listener: _Listener) -> None:
        try:
            # Not abandoned: after `retired` is set the thread ends within a step.
            await to_thread.run_sync(listener.listen, self._changed, limiter=self._threads)
        finally:
            self._listeners.discard(listener)
            ended, self._one_ended = self._one_ended, anyio.Event()
            ended.set()

    def _retire(self, listeners: Iterable[_Listener]) -> None:
        for listener in listeners:
            listener.retired = True


def _discard(index: dict[K, set[_Watch]], key: K, watch: _Watch) -> None:
    watches = index.get(key)
    if watches is not None:
        watches.discard(watch)
        if not watches:
            del index[key]


def _open(folders: list[str]) -> "tuple[RustNotify, dict[str, Identity]]":
    # The class behind awatch: awatch opens its folders on the event loop, does not say when it has, and forgets
    # what it has seen when it is stopped.
    from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

    for attempt in range(_ROUNDS):
        there = [folder for folder in folders if _identity(folder) is not None]
        try:
            notify = RustNotify(there, False, False, 0, False, False)
        except FileNotFoundError:
            if attempt == _ROUNDS - 1:
                raise
            continue
        except WatchfilesRustInternalError as error:
            raise OSError(str(error)) from error
        return notify, {folder: found for folder in there if (found := _identity(folder)) is not None}
    raise AssertionError


def _identity(folder: str) -> Identity | None:
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if S_ISDIR(state.st_mode) else None


def _look_at_all(paths: list[str]) -> list[_Look]:
    return [_look(path) for path in paths]


def _look(path: str) -> _Look:
    """What there is to watch for `path`. Raises nothing but what the system itself cannot name."""
    folders: dict[str, Identity] = {}
    entries: set[tuple[str, str]] = set()
    hints: set[tuple[str, str]] = set()
    denied: str | None = None

    def use(folder: str) -> str | None:
        nonlocal denied
        real = os.path.realpath(folder)
        identity = _identity(real)
        if identity is None:
            return None
        if not os.access(real, os.R_OK | os.X_OK):
            denied = denied or folder
            return None
        folders[real] = identity
        return real

    for step in _steps(path):
        parent, name = os.path.split(step)
        if (real := use(parent)) is not None:
            entries.add((real, name))
        elif denied is None:
            # The nearest folder above that exists tells when the next one down appears.
            while parent != "/" and _identity(parent) is None:
                parent, name = os.path.split(parent)
            if (real := use(parent)) is not None:
                hints.add((real, name))
    state, inside = _state(path), None
    if state is not None and S_ISDIR(state[0]):
        denied = None
        inside = use(path)
    elif entries:
        denied = None
    return _Look(folders, frozenset(entries), frozenset(hints), inside, state, denied)


def _steps(path: str) -> list[str]:
    """`path`, and where its link leads, and so on."""
    steps = [path]
    try:
        while S_ISLNK(os.lstat(steps[-1]).st_mode) and len(steps) < _MAX_LINKS:
            steps.append(os.path.normpath(os.path.join(os.path.dirname(steps[-1]), os.readlink(steps[-1]))))
    except OSError:
        pass
    return steps


def _state(path: str) -> tuple[int, ...] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return (state.st_mode, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
