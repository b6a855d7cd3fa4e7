"""Looking for a text in session files as they are, without taking what they hold into the store."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Final, TypeVar

from msgspec import Struct

from app_server.store.item_text import text_of
from app_server.store.rollouts.chain import chain_of
from app_server.store.rollouts.compressed import NoLibrary, open_session
from app_server.store.rollouts.needle import Needle, Sieve, is_for_model, windows
from app_server.store.search import Snippet, first_place

logger = logging.getLogger(__name__)

T = TypeVar("T")

WORK_SECONDS: Final = 0.002
REST_SECONDS: Final = 0.0002
"""After so much work, others have the interpreter for a moment."""

_BEGUN_ELSEWHERE: Final = re.compile(rb'"history_base":\s*\{')

Place = tuple[int, int]
"""Where a thread stands in a list."""


class Stopped(Exception):
    """Nobody waits for this any more."""


class Pace:
    """How a thread that works for long lets others work, and learns that it need not go on."""

    def __init__(self) -> None:
        self.stopped = False
        self._rested = monotonic()

    def rest(self) -> None:
        """Called every now and then. Raises Stopped."""
        if self.stopped:
            raise Stopped
        if monotonic() - self._rested > WORK_SECONDS:
            sleep(REST_SECONDS)
            self._rested = monotonic()

    def through(self, values: Iterable[T]) -> Iterator[T]:
        """These values, with rests between them."""
        for value in values:
            self.rest()
            yield value


class Seen(Struct, frozen=True):
    """What was found in a session file as it was: the first place of a text, or nothing."""

    mtime_ns: int
    size: int
    snippet: Snippet | None


class Scan(Struct, frozen=True):
    """One search: for what, and what earlier ones have found. `seen` is of this text, `barren` of parts of it.

    `seen` is added to.
    """

    home: Path
    folded: str
    seen: dict[str, Seen]
    barren: Sequence[Mapping[str, Seen]]
    pace: Pace

    def find(
        self,
        sessions: Iterable[tuple[Place, str]],
        known: Sequence[Place],
        count: int,
        precedes: Callable[[Place, Place], bool],
    ) -> list[tuple[Place, Snippet]]:
        """The sessions of these files that have the text, until `count` are found together with the `known` places.

        Reads files. Raises Stopped.
        """
        needle = Needle(self.folded)
        found: list[tuple[Place, Snippet]] = []
        before = 0
        for place, path in sessions:
            while before < len(known) and precedes(known[before], place):
                before += 1
            if before + len(found) >= count:
                break
            self.pace.rest()
            if (snippet := self._snippet(path, needle)) is not None:
                found.append((place, snippet))
        return found

    def _snippet(self, path: str, needle: Needle) -> Snippet | None:
        try:
            status = os.stat(path)
            state = status.st_mtime_ns, status.st_size
            if (seen := self.seen.get(path)) is not None and (seen.mtime_ns, seen.size) == state:
                return seen.snippet
            for others in self.barren:
                seen = others.get(path)
                if seen is not None and seen.snippet is None and (seen.mtime_ns, seen.size) == state:
                    return None
            snippet = self._look(path, needle)
        except (OSError, NoLibrary) as error:
            logger.info("%s cannot be searched: %s", path, error)
            return None
        self.seen[path] = Seen(*state, snippet)
        return snippet

    def _look(self, path: str, needle: Needle) -> Snippet | None:
        sieve = Sieve(needle)
        may_have = any(sieve.add(head, window) for head, window in self._windows(path))
        if not may_have and (not sieve.doubtful or sieve.has_turns(self._windows(path))):
            return None
        from app_server.store.rollouts.replay import replay

        chain = chain_of(self.home, path)
        for_model = partial(is_for_model, paginated=chain.paginated)
        session = replay(self.pace.through(chain.records(but=for_model)), chain.paginated)
        if not session.turns:
            session = replay(self.pace.through(chain.records()), chain.paginated)
        for item in self.pace.through(session.items):
            if (snippet := first_place(text_of(item.type, item.payload), self.folded)) is not None:
                return snippet
        return None

    def _windows(self, path: str) -> Iterator[tuple[bytes, bytes]]:
        """All files that the session of this file is spread over, in pieces."""
        with open_session(path) as file:
            pieces = windows(file)
            first = next(pieces, (b"", b""))
            line, ended, _ = first[1].partition(b"\n")
            if ended and _BEGUN_ELSEWHERE.search(line) is None:
                yield first
                yield from self.pace.through(pieces)
                return
        for part in chain_of(self.home, path).parts:
            with open_session(part.path) as file:
                yield from self.pace.through(windows(file, part.end))
