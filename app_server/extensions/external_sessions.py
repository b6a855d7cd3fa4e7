"""Sessions of Claude Code that could be taken over."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from app_server.extensions.loose import Table, list_in, table_in, text
from app_server.extensions.manifests import PluginError, read_json
from protocol.v2.external_agent import ExternalAgentConfigMigrationItem, MigrationDetails, SessionMigration

IMPORTED: Final = "external_agent_session_imports.json"
"""In $CODEX_HOME: the sessions that the reference has taken over."""

DEFAULT_DAYS, DEFAULT_COUNT = 30, 50
MAX_TITLE: Final = 120

_HEAD_BYTES: Final = 256 * 1024
"""How much of a session is read to learn what it was about."""


def find_sessions(
    folder: Path, codex_home: Path, most: int | None, days: int | None
) -> list[ExternalAgentConfigMigrationItem]:
    """The latest sessions below `folder` as one item, none if there are none. Blocks on files."""
    oldest = time.time() - (DEFAULT_DAYS if days is None else days) * 86_400
    done = _imported(codex_home / IMPORTED)
    files: list[tuple[float, Path]] = []
    for path in folder.glob("*/*.jsonl"):
        try:
            state = path.stat()
        except OSError:
            continue
        if state.st_mtime >= oldest and (str(path), state.st_mtime_ns) not in done:
            files.append((state.st_mtime, path))
    sessions: list[SessionMigration] = []
    for _, path in sorted(files, reverse=True):
        if len(sessions) >= (DEFAULT_COUNT if most is None else most):
            break
        if (session := _session(path)) is not None:
            sessions.append(session)
    if not sessions:
        return []
    details = MigrationDetails(sessions=sessions)
    description = f"Migrate recent sessions from {folder}"
    return [ExternalAgentConfigMigrationItem(item_type="SESSIONS", description=description, details=details)]


def _session(path: Path) -> SessionMigration | None:
    cwd = title = None
    for record in _records(path):
        cwd = cwd or text(record, "cwd")
        if record.get("type") == "summary":
            title = text(record, "summary") or title
        if title is None and record.get("type") == "user" and record.get("isMeta") is not True:
            title = _said(table_in(record.get("message")).get("content"))
        if cwd and title:
            break
    if cwd is None or title is None or not Path(cwd).is_dir():
        return None
    return SessionMigration(path=str(path), cwd=cwd, title=title)


def _said(content: Any) -> str | None:
    """The first line of a user's words; None for what a program has put in their place."""
    parts = [content] if isinstance(content, str) else [text(table_in(part), "text") for part in list_in(content)]
    words = next((part.strip() for part in parts if part and part.strip() and not part.lstrip().startswith("<")), None)
    return None if words is None else words.splitlines()[0][:MAX_TITLE]


def _records(path: Path) -> Iterator[Table]:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return
    for line in head.splitlines():
        try:
            yield table_in(orjson.loads(line))
        except ValueError:
            continue


def _imported(path: Path) -> set[tuple[str, int]]:
    if not path.is_file():
        return set()
    try:
        records = list_in(table_in(read_json(str(path))).get("records"))
    except PluginError:
        return set()
    return {
        (str(record.get("source_path")), int(record.get("source_modified_at") or 0))
        for record in map(table_in, records)
        if isinstance(record.get("source_modified_at"), int)
    }
