"""The names that the reference gives its threads, as its file of names tells them."""

import os
from pathlib import Path
from typing import Any, cast

import orjson

_FILE = "session_index.jsonl"


class Names:
    """The newest name of each thread by its id, read again when the file has changed."""

    def __init__(self, home: Path) -> None:
        self._path = home / _FILE
        self._state: tuple[int, int] | None = None
        self._names: dict[str, str] = {}

    def read(self) -> tuple[dict[str, str], bool]:
        """The names, and whether they may have changed since the last call. Reads the file."""
        try:
            status = os.stat(self._path)
            state = status.st_mtime_ns, status.st_size
            if state == self._state:
                return self._names, False
            names: dict[str, str] = {}
            with open(self._path, "rb") as file:
                for line in file:
                    _add(names, line)
        except OSError:
            return self._names, False
        self._state, self._names = state, names
        return names, True


def _add(names: dict[str, str], line: bytes) -> None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    told = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    thread_id, name = told.get("id"), told.get("thread_name")
    if isinstance(thread_id, str) and isinstance(name, str) and name.strip():
        names[thread_id] = name.strip()
