"""Where skills are looked for, and what is there."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from msgspec import Struct, field

from app_server.config.settings import Settings
from app_server.extensions.skills import DETAILS_FILE, SKILL_FILE
from protocol.v2.skills import SkillScope

ADMIN_SKILLS = "/etc/codex/skills"
SYSTEM_SKILLS = ".system"
"""In the user's own folder of skills: those that another program brings along."""

MAX_DEPTH = 6
"""How deep below a folder of skills a skill may lie."""

MAX_FOLDERS = 2000
"""How many folders are looked into below one folder of skills."""

Stamp = tuple[int, ...]
"""Changes when a file does."""


class SkillRoot(Struct, frozen=True):
    """A folder of skills. `plugin_id` is the plugin that it belongs to."""

    path: str
    scope: SkillScope
    plugin_id: str | None = None


class Found(Struct):
    """What lies below one root: SKILL.md files with their stamps, and the folders that were looked into."""

    skills: dict[str, Stamp] = field(default_factory=dict[str, Stamp])
    folders: list[str] = field(default_factory=list[str])


def skill_roots(
    settings: Settings, cwd: str, extra: Sequence[str], plugins: Sequence[SkillRoot], admin: str = ADMIN_SKILLS
) -> list[SkillRoot]:
    """The folders whose skills can be used in `cwd`, strongest first. Blocks on files."""
    home = Path.home()
    user = [settings.codex_home / "skills", home / ".agents" / "skills"]
    roots = [
        SkillRoot(str(folder / name / "skills"), "repo")
        for folder in reversed(project_folders(cwd, settings.project_root_markers))
        for name in (".agents", ".codex")
    ]
    roots += [SkillRoot(str(path), "user") for path in user]
    roots += [SkillRoot(path, "user") for path in extra]
    roots += plugins
    roots += [SkillRoot(str(user[0] / SYSTEM_SKILLS), "system"), SkillRoot(admin, "admin")]
    # A project that is the home itself does not make the user's own skills those of a project.
    own = {str(path) for path in user}
    return [root for root in roots if root.scope != "repo" or root.path not in own]


def project_folders(cwd: str, markers: Sequence[str]) -> list[Path]:
    """The folders from the project's root (the nearest one above with a root marker) down to `cwd`."""
    above = [Path(cwd), *Path(cwd).parents]
    depth = next((i for i, folder in enumerate(above) if any(os.path.lexists(folder / name) for name in markers)), 0)
    return list(reversed(above[: depth + 1]))


def look_through(root: str) -> Found:
    """Find the skills below `root`. Folders whose names begin with a dot are passed over. Blocks on files."""
    found, seen = Found(), set[tuple[int, int]]()
    for folder in _walk(root, MAX_DEPTH, seen):
        found.folders.append(folder)
        if (stamp := stamp_of(folder)) is not None:
            found.skills[os.path.join(folder, SKILL_FILE)] = stamp
        if len(found.folders) >= MAX_FOLDERS:
            break
    return found


def stamp_of(folder: str) -> Stamp | None:
    """What tells whether the skill in `folder` has changed; None if there is none.

    A SKILL.md that is a link is none: a project could show the model any file of its user's in this way.
    """
    try:
        state = os.lstat(os.path.join(folder, SKILL_FILE))
    except OSError:
        return None
    if not S_ISREG(state.st_mode):
        return None
    try:
        details = os.lstat(os.path.join(folder, DETAILS_FILE))
        more = (details.st_mtime_ns, details.st_size, details.st_ino)
    except OSError:
        more = ()
    return (state.st_mtime_ns, state.st_size, state.st_ino, *more)


def _walk(folder: str, depth: int, seen: set[tuple[int, int]]) -> Iterator[str]:
    try:
        state = os.stat(folder)
        if not S_ISDIR(state.st_mode) or (state.st_dev, state.st_ino) in seen:
            return
        seen.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except (OSError, ValueError):
        return
    yield os.path.realpath(folder)
    if depth:
        for name in names:
            yield from _walk(os.path.join(folder, name), depth - 1, seen)
