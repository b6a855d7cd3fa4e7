"""A user's home with nothing of this machine in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from app_server.config.layers import LayerStack, load_settings
from app_server.config.settings import Settings


class Home:
    """The user's folder, $CODEX_HOME in it, and a project."""

    def __init__(self, folder: Path) -> None:
        self.user, self.codex, self.project = folder / "user", folder / "user" / ".codex", folder / "user" / "project"
        (self.project / ".git").mkdir(parents=True)
        self.codex.mkdir()
        self._nowhere = folder / "etc" / "config.toml"

    def configure(self, toml: str) -> None:
        """Write the user's config.toml."""
        (self.codex / "config.toml").write_text(toml)

    @property
    def stack(self) -> LayerStack:
        """The layers of configuration as the files are now."""
        return load_settings(self.codex, system_config=self._nowhere, environ={})

    @property
    def settings(self) -> Settings:
        """What they come to."""
        return self.stack.settings()

    def write(self, path: Path | str, content: str | Mapping[str, Any]) -> Path:
        """A file in the user's folder; a table is written as JSON."""
        file = self.user / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else orjson.dumps(content).decode())
        return file

    def skill(self, folder: Path | str, name: str, description: str = "About it.", more: str = "") -> Path:
        """A skill in a folder of the user's; its SKILL.md."""
        text = f"---\nname: {name}\ndescription: {description}\n{more}---\n\nDo {name}.\n"
        return self.write(os.path.join(folder, name, "SKILL.md"), text)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path.resolve())
    monkeypatch.setenv("HOME", str(home.user))
    return home
