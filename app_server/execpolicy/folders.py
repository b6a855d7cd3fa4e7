"""Where exec rules come from: the folders of the system, of the user, and of a trusted project."""

import os
from collections.abc import Sequence
from pathlib import Path

from app_server.config.projects import project_root
from app_server.config.settings import Settings

SYSTEM = Path("/etc/codex/rules")


def rules_folders(settings: Settings, cwd: str, writable_roots: Sequence[str]) -> list[Path]:
    """The `rules` folders for commands in `cwd`, weakest first.

    A project's folder counts if the user trusts the project, and only while commands cannot write to it: at the top
    of a writable root it is protected, deeper inside one it is not, and a rule planted there would lift the sandbox.
    """
    folders = [SYSTEM, settings.codex_home / "rules"]
    root = project_root(cwd, settings.project_root_markers)
    if any(settings.projects.get(place) == "trusted" for place in (root, cwd)):
        open_roots = [os.path.realpath(writable) for writable in writable_roots]
        real = os.path.realpath(root)
        if real in open_roots or not any(_is_within(real, writable) for writable in open_roots):
            folders.append(Path(root, ".codex", "rules"))
    return folders


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
