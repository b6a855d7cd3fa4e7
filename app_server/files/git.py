"""What git says about a folder, by running it. Nothing of the repository is changed, and none of its code runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.to_thread
from msgspec import Struct

GIT_SECONDS: Final = 5.0
"""How long git may take to say where a repository stands."""

# `core.fsmonitor` names a program that git would run.
_GIT: Final = ("git", "-c", "core.fsmonitor=false")
_OTHER_REPOSITORIES: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


class RepositoryState(Struct, frozen=True):
    """Where a repository stands. `branch` is None on a detached head, `sha` before the first commit."""

    branch: str | None
    sha: str | None
    origin_url: str | None


async def repository_state(folder: str) -> RepositoryState | None:
    """Where the repository around a folder stands; None without one, without git, and where git takes too long."""
    if not await anyio.to_thread.run_sync(_in_repository, folder):
        return None
    state: RepositoryState | None = None
    with anyio.move_on_after(GIT_SECONDS):
        found: dict[str, str | None] = {}

        async def ask(name: str, *arguments: str) -> None:
            found[name] = await _said(folder, arguments)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "head", "rev-parse", "--verify", "--quiet", "HEAD")
            tasks.start_soon(ask, "branch", "symbolic-ref", "--quiet", "--short", "HEAD")
            tasks.start_soon(ask, "origin", "config", "--get", "remote.origin.url")
        origin = found["origin"]
        state = RepositoryState(found["branch"], found["head"], None if origin is None else without_credentials(origin))
    return None if state is None or state == RepositoryState(None, None, None) else state


async def _said(folder: str, arguments: Sequence[str]) -> str | None:
    """The line that git prints; None where it fails or prints nothing."""
    kept = {name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORIES}
    environment = {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        result = await anyio.run_process(
            [*_GIT, *arguments], cwd=folder, env=environment, stdin=DEVNULL, stderr=DEVNULL, check=False
        )
    except OSError:
        return None
    return result.stdout.decode("utf-8", "replace").strip() or None if result.returncode == 0 else None


def without_credentials(url: str) -> str:
    """A remote's URL without the user and password that may stand in it; `user@host:path` stays as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _in_repository(folder: str) -> bool:
    path = Path(folder)
    return any(os.path.lexists(place / ".git") for place in (path, *path.parents))
