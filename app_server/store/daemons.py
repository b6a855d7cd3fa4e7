"""Several daemons on one home: each holds a lock that says that it lives, and that the system drops when it dies."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import orjson
from msgspec import Struct
from msgspec.structs import asdict

from app_server.store.errors import StoreError
from app_server.store.ids import uuid7


class DaemonInfo(Struct, frozen=True):
    """What a daemon's lock file tells. `listen` is its --listen URL."""

    id: str
    pid: int
    started_at_ms: int
    listen: str


class Daemon:
    """This daemon's lock file in `folder`, held while the context is, and a view of the others.

    Entering also removes what dead daemons left. It must outlive every write of this daemon's `ThreadStore`.
    `is_alive` and `describe` read files: they are for the store's threads, not for the event loop.
    """

    def __init__(self, folder: Path, listen: str) -> None:
        self.folder = folder
        self.info = DaemonInfo(uuid7(), os.getpid(), time.time_ns() // 1_000_000, listen)
        self._lock: int | None = None

    @property
    def id(self) -> str:
        return self.info.id

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):  # bounded: it removes one file
            await anyio.to_thread.run_sync(self._close, self._path(self.id))

    async def others(self) -> list[DaemonInfo]:
        """The other daemons that live on this home."""
        return await anyio.to_thread.run_sync(self._others)

    def is_alive(self, daemon_id: str) -> bool:
        """Whether the daemon of this id runs; this one does."""
        if daemon_id == self.id:
            return self._lock is not None
        try:
            lock = os.open(self._path(daemon_id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who ask at once do not take each other for the owner.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def describe(self, daemon_id: str) -> DaemonInfo | None:
        """What the daemon's lock file tells, or None when there is none."""
        try:
            return DaemonInfo(**orjson.loads(self._path(daemon_id).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _others(self) -> list[DaemonInfo]:
        ids = [path.stem for path in sorted(self.folder.glob("*.lock")) if path.stem != self.id]
        return [info for daemon_id in ids if self.is_alive(daemon_id) and (info := self.describe(daemon_id))]

    def _open(self) -> None:
        # Written and locked before it gets its name: a lock file that can be seen and locked is a dead daemon's.
        draft = self.folder / f".{self.id}.new"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._lock, orjson.dumps(asdict(self.info)))
            draft.rename(self._path(self.id))
        except OSError as error:
            self._close(draft)
            raise StoreError(
                f"{self.folder} cannot hold this daemon's lock file: {error.strerror or error}: check the owner, the "
                "permissions and the free space of the folder"
            ) from error
        self._remove_stale()

    def _path(self, daemon_id: str) -> Path:
        return self.folder / f"{daemon_id}.lock"

    def _remove_stale(self) -> None:
        for path in self.folder.glob("*.lock"):
            if not self.is_alive(path.stem):
                path.unlink(missing_ok=True)

    def _close(self, path: Path) -> None:
        if self._lock is not None:
            path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None
