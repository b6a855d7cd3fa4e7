"""A session whose beginning is in another file: forks and reverted threads of paginated sessions refer to it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from msgspec import Struct

from app_server.store.rollouts.compressed import PIECE_BYTES, open_session
from app_server.store.rollouts.files import Record, SessionFile, files_of, lines, records

DEPTH: Final = 64
"""How many files a session may be spread over."""


class _Part(Struct, frozen=True):
    """A file and the byte where the part of it that counts ends; None for all of it."""

    path: str
    end: int | None


class Chain(Struct, frozen=True):
    """The files that a session is spread over, oldest first.

    `incomplete` says what is missing, if its beginning cannot be found.
    """

    parts: tuple[_Part, ...]
    paginated: bool
    incomplete: str | None

    def records(self, but: Callable[[bytes], bool] | None = None) -> Iterator[Record]:
        """All records but those of unwanted lines, those of the session itself first. Raises OSError."""
        if len(self.parts) > 1:
            yield from _first(self.parts[-1].path)
        for part in self.parts:
            yield from records(part.path, part.end, but)


def chain_of(home: Path, path: str) -> Chain:
    """Find what the session in this file consists of. Raises OSError when the file itself cannot be read."""
    meta = next((record.payload for record in _first(path)), dict[str, Any]())
    paginated = meta.get("history_mode") == "paginated"
    parts = [_Part(path, None)]
    base = meta.get("history_base")
    while isinstance(base, dict) and len(parts) < DEPTH:
        place = cast("dict[str, Any]", base)
        found = _base_file(home, place, parts[-1].path)
        if found is None:
            return Chain(
                tuple(reversed(parts)), paginated, f"session {place.get('thread_id')}, where it began, is gone"
            )
        parts.append(_Part(found, place.get("end_byte_offset")))
        try:
            base = next((record.payload.get("history_base") for record in _first(found)), None)
        except OSError:
            base = None
    return Chain(tuple(reversed(parts)), paginated, None)


def _first(path: str) -> Iterator[Record]:
    """The record of the session itself."""
    for record in records(path):
        if record.type == "session_meta":
            yield record
        return


def _base_file(home: Path, base: Mapping[str, Any], path: str) -> str | None:
    thread_id, end, ordinal = base.get("thread_id"), base.get("end_byte_offset"), base.get("end_ordinal_exclusive")
    if not isinstance(thread_id, str) or not isinstance(end, int) or not isinstance(ordinal, int):
        return None
    for everywhere in (False, True):
        for file in files_of(home, thread_id, everywhere=everywhere):
            if file.path != path and _ends_at(file, end, ordinal):
                return file.path
    return None


def _ends_at(file: SessionFile, end: int, ordinal: int) -> bool:
    """Whether a record ends at this byte, and the one after it, if there is one, has this number."""
    try:
        with open_session(file.path) as opened:
            _skip(opened, max(0, end - 1))
            if opened.read(1) != b"\n":
                return False
            following = next(lines(opened), None)
    except OSError:
        return False
    # Two threads may well have a line that ends there: the numbers of their records tell which was meant.
    return following is None or _ordinal(following) in (None, ordinal)


def _skip(file: IO[bytes], count: int) -> None:
    if file.seekable():
        file.seek(count)
        return
    while count > 0 and (piece := file.read(min(count, PIECE_BYTES))):
        count -= len(piece)


def _ordinal(line: bytes) -> int | None:
    from orjson import JSONDecodeError, loads

    try:
        value: Any = loads(line)
    except JSONDecodeError:
        return None
    number = cast("dict[str, Any]", value).get("ordinal") if isinstance(value, dict) else None
    return number if isinstance(number, int) else None
