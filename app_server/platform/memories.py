"""What is remembered from one thread to the next, as files in the home: nothing yet, and it can be cleared."""

import os
import shutil
import stat
from pathlib import Path

from protocol.jsonrpc import invalid_request

FOLDERS = ("memories", "memories_v2", "memories_extensions")
"""Folders of the home that hold memories of this program and of the reference."""


def clear(home: Path) -> None:
    """Empty the folders; they themselves stay. Raises -32600 for one that is a link or cannot be emptied."""
    for name in FOLDERS:
        folder = home / name
        try:
            mode = folder.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(mode):
            raise invalid_request(f"refusing to clear memories: {folder} is a link or a file, and no folder")
        try:
            _empty(folder)
        except OSError as error:
            raise invalid_request(f"memories in {folder} cannot be cleared: {error.strerror or error}") from error


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
