"""Paths as a search sees them, without a file system."""

from collections.abc import Iterable
from threading import Event

from app_server.files.fuzzy import fold, parse
from app_server.files.listing import LINES, Chunk
from app_server.files.ranking import BEST, Hit, best


def chunks(paths: Iterable[str]) -> list[tuple[int, Chunk]]:
    """Chunks of these paths; those that end with a slash are folders."""
    made: list[tuple[int, Chunk]] = []
    for folders in (False, True):
        for is_ascii in (True, False):
            named = [path for path in paths if path.endswith("/") == folders and path.isascii() == is_ascii]
            for start in range(0, len(named), LINES):
                bare = [path.removesuffix("/") for path in named[start : start + LINES]]
                made.append((0, Chunk(folders, bare, [fold(path) for path in bare], is_ascii)))
    return made


def ranked(query: str, *paths: str, limit: int = BEST) -> list[Hit]:
    """What a search for `query` finds among `paths`."""
    return best(chunks(paths), parse(query), Event(), limit)


def found(query: str, *paths: str) -> list[str]:
    """The paths that a search for `query` finds."""
    return [hit.path for hit in ranked(query, *paths)]
