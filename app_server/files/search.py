"""fuzzyFileSearch: one answer to a query, and sessions whose results follow what is typed and what files do."""

import os
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import orjson
from anyio import CapacityLimiter, from_thread, to_thread

from protocol.jsonrpc import invalid_request

if TYPE_CHECKING:
    # Each start of the daemon would pay for what most daemons are never asked.
    from app_server.files.listing import Chunk, Listing, Progress

KEPT_SECONDS = 60.0
"""How long the paths of a root are kept after the last search in it."""

PARTIAL_SECONDS = 0.3
"""How often a session is told what was found so far, while its roots are read for the first time."""

LOOK_SECONDS = 1.0
"""How often a session looks for changes of files at most; large trees are looked at less often."""

MAX_QUERY = 4096
"""Characters of a query past which nothing is found: no path is longer."""

MAX_SESSIONS = 64
"""How many sessions a connection may have open."""

_LOOK_SHARE = 50
_LISTINGS = 16
_WORKERS = 4

Tell = Callable[[int, str, bytes], None]
"""Takes the connection's id, the method of a notification and its params in JSON."""


class _Session:
    """One search whose query changes."""

    __slots__ = ("abandoned", "asked", "connection_id", "query", "roots", "scope", "session_id", "wake")

    def __init__(self, connection_id: int, session_id: str, roots: tuple[str, ...]) -> None:
        self.connection_id, self.session_id, self.roots = connection_id, session_id, roots
        self.query = ""
        # Grows with each query, also with one that is asked again.
        self.asked = 0
        # Set when the query that is worked on is not wanted any more.
        self.abandoned = Event()
        self.wake = anyio.Event()
        self.scope = anyio.CancelScope()


class FileSearch:
    """All searches of all clients. Roots that were searched are kept for a while and only checked for changes."""

    def __init__(self, tell: Tell, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        """`spawn` runs a session, which ends with the daemon at the latest."""
        self._tell, self._spawn = tell, spawn
        self._listings: dict[tuple[str, frozenset[str]], Listing] = {}
        self._running: dict[tuple[int, str | None], anyio.CancelScope] = {}
        self._sessions: dict[tuple[int, str], _Session] = {}
        self._filled = anyio.Event()
        # Searches that hang on a dead network file system use up these, and no worker of other rooms.
        self._workers = CapacityLimiter(_WORKERS)

    async def run(self) -> None:
        """Forget roots that nobody searches any more, until cancelled."""
        while True:
            await self._filled.wait()
            await anyio.sleep(KEPT_SECONDS / 2)
            self._forget_unused()

    async def find(self, connection_id: int, roots: Sequence[str], query: str, token: str | None) -> bytes:
        """The best paths for `query` below `roots`, as a JSON array of `FuzzyFileSearchResult`.

        A search of the same connection with the same `token` ends an earlier one, which finds nothing.
        """
        abandoned, scope, key = Event(), anyio.CancelScope(), (connection_id, token)
        if token is not None:
            if (earlier := self._running.get(key)) is not None:
                earlier.cancel()
            self._running[key] = scope
        try:
            with scope:
                return await self._work(lambda: self._search(tuple(roots), query, abandoned))
            return b"[]"
        finally:
            abandoned.set()
            if self._running.get(key) is scope:
                del self._running[key]

    # Sessions

    def start(self, connection_id: int, session_id: str, roots: Sequence[str]) -> None:
        """Open a session, which belongs to its connection and replaces one of the same id. Raises -32600."""
        if not session_id:
            raise invalid_request("sessionId must not be empty")
        if not roots:
            raise invalid_request("`roots` must name at least one folder to search")
        self.stop(connection_id, session_id)
        if sum(owner == connection_id for owner, _ in self._sessions) >= MAX_SESSIONS:
            raise invalid_request(f"{MAX_SESSIONS} search sessions are open: stop one with fuzzyFileSearch/sessionStop")
        session = _Session(connection_id, session_id, tuple(roots))
        self._sessions[connection_id, session_id] = session
        self._spawn(partial(self._serve, session))

    def update(self, connection_id: int, session_id: str, query: str) -> None:
        """Search for something else. Raises -32600 if the connection has no such session."""
        session = self._sessions.get((connection_id, session_id))
        if session is None:
            raise invalid_request(f"fuzzy file search session not found: {session_id}")
        session.query = query
        session.asked += 1
        session.abandoned.set()
        session.wake.set()

    def stop(self, connection_id: int, session_id: str) -> None:
        """End a session; nothing is told of it any more. One that does not exist is no error."""
        session = self._sessions.pop((connection_id, session_id), None)
        if session is not None:
            session.abandoned.set()
            session.scope.cancel()

    def close_connection(self, connection_id: int) -> None:
        """End all sessions of a connection."""
        for owner, session_id in [key for key in self._sessions if key[0] == connection_id]:
            self.stop(owner, session_id)

    async def _serve(self, session: _Session) -> None:
        try:
            with session.scope:
                await self._follow(session)
        finally:
            session.abandoned.set()

    async def _follow(self, session: _Session) -> None:
        from app_server.files.listing import Abandoned

        answered, told = -1, b""
        while True:
            asked, session.abandoned, session.wake = session.asked, Event(), anyio.Event()
            began = time.monotonic()
            look = partial(self._look, session, session.query, asked != answered)
            try:
                hits = await self._work(look)
            except Abandoned:
                continue
            if session.asked != asked:
                continue
            if asked != answered or hits != told:
                self._tell_updated(session, session.query, hits)
                self._tell_completed(session)
            answered, told = asked, hits
            # Nothing is found for nothing, whatever happens to files.
            pause = max(LOOK_SECONDS, (time.monotonic() - began) * _LOOK_SHARE) if session.query else None
            with anyio.move_on_after(pause):
                await session.wake.wait()

    def _look(self, session: _Session, query: str, is_new: bool) -> bytes:
        abandoned, due = session.abandoned, time.monotonic() + PARTIAL_SECONDS

        def progress(so_far: "Callable[[], Iterable[tuple[int, Chunk]]]") -> None:
            nonlocal due
            if time.monotonic() > due:
                hits = _best(so_far(), session.roots, query, abandoned)
                from_thread.run_sync(self._tell_partial, session, query, hits)
                due = time.monotonic() + PARTIAL_SECONDS

        return self._search(session.roots, query, abandoned, progress if is_new and query else None)

    def _tell_partial(self, session: _Session, query: str, hits: bytes) -> None:
        if not session.scope.cancel_called and session.query == query:
            self._tell_updated(session, query, hits)

    def _tell_updated(self, session: _Session, query: str, hits: bytes) -> None:
        params = b'{"sessionId":%b,"query":%b,"files":%b}'
        names = orjson.dumps(session.session_id), orjson.dumps(query)
        self._tell(session.connection_id, "fuzzyFileSearch/sessionUpdated", params % (*names, hits))

    def _tell_completed(self, session: _Session) -> None:
        params = b'{"sessionId":%b}' % orjson.dumps(session.session_id)
        self._tell(session.connection_id, "fuzzyFileSearch/sessionCompleted", params)

    # In worker threads

    async def _work(self, function: Callable[[], bytes]) -> bytes:
        try:
            return await to_thread.run_sync(function, limiter=self._workers, abandon_on_cancel=True)
        finally:
            self._filled.set()
            for _, key in sorted((listing.used, key) for key, listing in list(self._listings.items()))[:-_LISTINGS]:
                self._listings.pop(key, None)

    def _search(
        self,
        roots: tuple[str, ...],
        query: str,
        abandoned: Event,
        progress: "Progress[tuple[int, Chunk]] | None" = None,
    ) -> bytes:
        found: list[tuple[int, Chunk]] = []

        def all_so_far(number: int, below: "Callable[[], Iterable[Chunk]]") -> None:
            assert progress is not None
            progress(lambda: [*found, *((number, chunk) for chunk in below())])

        for number, listing in self._listings_of(roots):
            chunks = listing.refresh(abandoned, None if progress is None else partial(all_so_far, number))
            found += [(number, chunk) for chunk in chunks]
        return _best(found, roots, query, abandoned) if 0 < len(query) <= MAX_QUERY else b"[]"

    def _listings_of(self, roots: tuple[str, ...]) -> "list[tuple[int, Listing]]":
        """The listings of roots by their number. What is below two roots is found below the nearer one, once."""
        from app_server.files.listing import Listing

        paths: dict[str, int] = {}
        for number, root in enumerate(roots):
            # Without a working directory a relative root is nowhere.
            with suppress(OSError):
                if root and "\0" not in root:
                    paths.setdefault(os.path.abspath(root), number)
        listings: list[tuple[int, Listing]] = []
        for path, number in paths.items():
            inside = path.rstrip("/") + "/"
            key = path, frozenset(other for other in paths if other.startswith(inside) and other != path)
            listings.append((number, self._listings.setdefault(key, Listing(*key))))
        return listings

    def _forget_unused(self) -> None:
        before = time.monotonic() - KEPT_SECONDS
        for key, listing in list(self._listings.items()):
            if listing.used < before:
                self._listings.pop(key, None)
        if not self._listings:
            self._filled = anyio.Event()


def _best(chunks: "Iterable[tuple[int, Chunk]]", roots: Sequence[str], query: str, abandoned: Event) -> bytes:
    """The best paths, as JSON."""
    from app_server.files.fuzzy import parse
    from app_server.files.ranking import best

    return orjson.dumps(
        [
            {
                "root": roots[hit.root],
                "path": hit.path,
                "match_type": "directory" if hit.is_folder else "file",
                "file_name": hit.path[hit.path.rfind("/") + 1 :],
                "score": hit.score,
                "indices": hit.places,
            }
            for hit in best(chunks, parse(query), abandoned)
        ]
    )
