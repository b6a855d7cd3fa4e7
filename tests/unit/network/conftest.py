"""Folders for the servers and the programs of these tests."""

from pathlib import Path

import pytest


@pytest.fixture(name="files")
def make_files(tmp_path: Path) -> Path:
    """What the server has."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "text").write_text("hello")
    return folder


@pytest.fixture(name="home")
def make_home(tmp_path: Path) -> Path:
    """Where programs keep what they keep."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
