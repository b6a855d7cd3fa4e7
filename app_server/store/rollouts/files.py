"""Where the reference keeps its session files, and how one is read: line by line, whatever its state."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, cast
from uuid import UUID

import orjson
from msgspec import Struct

from app_server.store.rollouts.compressed import SUFFIX, open_session

_ID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAME: Final = re.compile(rf"rollout-\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d-({_ID})(?:_({_ID}))?\.jsonl(?:\.zst)?")

LINE_BYTES: Final = 64 << 20
"""A longer line is passed over: a single record of this size is no part of a conversation."""

ODD_RECORD: Final = (TypeError, ValueError, LookupError, AttributeError)
"""What comes of a record whose members are not of the kinds that they should be."""

_PIECE: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


class SessionFile(Struct, frozen=True):
    """A session file as its name tells it.

    A thread that was reverted goes on in a further file; `segment` is the id that tells such files apart, and the
    greatest is the newest. The first file has the segment "".
    """

    path: str
    thread_id: str
    segment: str
    archived: bool

    @property
    def rank(self) -> tuple[str, bool, bool]:
        """The greatest of the files of one thread is the one that counts."""
        return self.segment, not self.archived, not self.path.endswith(SUFFIX)


class Record(Struct, frozen=True):
    """One line: its time in Unix milliseconds (0 where none is given), its kind, and what it says."""

    at_ms: int
    type: str
    payload: dict[str, Any]  # Any: JSON of every shape


def folders(home: Path) -> list[tuple[str, bool]]:
    """The folders that hold session files, and whether these are archived; newest days first."""
    days: list[str] = []
    for year in _below(os.path.join(home, "sessions"), 4):
        for month in _below(year, 2):
            days += _below(month, 2)
    return [(day, False) for day in days] + [(os.path.join(home, "archived_sessions"), True)]


def _below(folder: str, digits: int) -> list[str]:
    """The folders in `folder` whose names are numbers of so many digits, greatest first."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if len(e.name) == digits and e.name.isdigit() and e.is_dir()]
    except OSError:
        return []
    return [os.path.join(folder, name) for name in sorted(names, reverse=True)]


def files_in(folder: str, archived: bool) -> list[SessionFile]:
    """The session files of one folder, newest first."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []
    matches = ((name, _NAME.fullmatch(name)) for name in names)
    return [SessionFile(f"{folder}/{name}", m[1], m[2] or "", archived) for name, m in matches if m is not None]


def file_named(path: str) -> SessionFile | None:
    """The session file of this path, by its name alone."""
    folder, _, name = path.rpartition("/")
    match = _NAME.fullmatch(name)
    archived = folder.endswith("/archived_sessions")
    return None if match is None else SessionFile(path, match[1], match[2] or "", archived)


def newest(home: Path, count: int, *, archived: bool) -> list[SessionFile]:
    """About `count` files of the newest sessions; a folder is looked at as a whole."""
    found: list[SessionFile] = []
    for folder, is_archive in folders(home):
        if is_archive == archived:
            found += files_in(folder, archived)
            if len(found) >= count:
                break
    return found[:count]


def files_of(home: Path, thread_id: str, *, everywhere: bool = False) -> list[SessionFile]:
    """The files of one thread, the one that counts first: those of the days around its start, or all."""
    days = None if everywhere else _days_of(thread_id)
    found = [
        file
        for folder, archived in folders(home)
        if archived or days is None or "/".join(folder.split(os.sep)[-3:]) in days
        for file in files_in(folder, archived)
        if file.thread_id == thread_id
    ]
    return sorted(found, key=lambda file: file.rank, reverse=True)


def _days_of(thread_id: str) -> set[str] | None:
    """The day folders where a thread of this id can be, whatever the zone of the clock; None for any."""
    try:
        value = UUID(thread_id)
    except ValueError:
        return None
    if value.version != 7:
        return None
    try:
        day = datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return {(day + timedelta(days=offset)).strftime("%Y/%m/%d") for offset in (-1, 0, 1)}


def records(path: str, end: int | None = None, but: Callable[[bytes], bool] | None = None) -> Iterator[Record]:
    """The records of a session file, up to byte `end` if that is given, but for lines that are unwanted.

    What is no JSON object, such as a torn last line, is passed over; invalid UTF-8 is replaced. Raises OSError or
    NoLibrary.
    """
    with open_session(path) as file:
        for line in lines(file, end):
            if (but is None or not but(line)) and (record := parsed(line)) is not None:
                yield record


def lines(file: IO[bytes], end: int | None = None) -> Iterator[bytes]:
    """The lines of a file from where it stands, none longer than LINE_BYTES and none that ends after byte `end`."""
    while True:
        line = _line(file)
        if line == b"" or (end is not None and file.tell() > end):
            return
        if line is not None:
            yield line


def _line(file: IO[bytes]) -> bytes | None:
    """The next line: nothing at the end, None for one that is too long. Read in pieces that hold up nobody else."""
    line = file.readline(_PIECE)
    if len(line) < _PIECE or line.endswith(b"\n"):
        return line
    pieces, size = [line], _PIECE
    while (piece := file.readline(_PIECE)) != b"":
        size += len(piece)
        if size <= LINE_BYTES:
            pieces.append(piece)
        if piece.endswith(b"\n"):
            break
    return b"".join(pieces) if size <= LINE_BYTES else None


def parsed(line: bytes) -> Record | None:
    """What a line says, in either of the forms that session files have had; None if nothing."""
    value = _json(line)
    if value is None:
        return None
    kind, payload = value.get("type"), value.get("payload")
    at_ms = timestamp_ms(value.get("timestamp")) or 0
    if isinstance(kind, str) and isinstance(payload, dict):
        return Record(at_ms, kind, cast("dict[str, Any]", payload))
    # Until September 2025 records stood bare: first the session itself, then the items of the conversation.
    if isinstance(kind, str):
        return Record(at_ms, "response_item", value)
    if isinstance(value.get("id"), str) and at_ms:
        return Record(at_ms, "session_meta", value)
    return None


def _json(line: bytes) -> dict[str, Any] | None:
    text = line.removeprefix(_BOM).strip()
    if not text.startswith(b"{"):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            value = orjson.loads(text.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def timestamp_ms(text: Any) -> int | None:  # Any: what a file holds
    """An RFC 3339 time in Unix milliseconds; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
