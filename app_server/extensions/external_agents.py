"""What other coding agents on this machine have configured that could be taken over. Nothing is changed here."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from app_server.config.settings import Settings
from app_server.extensions.external_sessions import find_sessions
from app_server.extensions.front_matter import FrontMatterError, read_front_matter
from app_server.extensions.hooks import EVENTS, HOOKS_FILE
from app_server.extensions.loose import Table, line, table_in, text
from app_server.extensions.manifests import PluginError, read_json
from app_server.extensions.skill_folders import project_folders
from app_server.extensions.skills import SKILL_FILE, SkillError, read_text
from protocol.v2.external_agent import (
    CommandMigration,
    ExternalAgentConfigMigrationItem,
    ExternalAgentConfigMigrationItemType,
    HookMigration,
    McpServerMigration,
    MigrationDetails,
    PluginsMigration,
    SkillMigration,
    SubagentMigration,
)

CURSOR: Final = "cursor"
"""The one agent that has to be asked for by name; otherwise Claude Code is looked for."""

COMMAND_PREFIX: Final = "source-command-"
"""How a command is called once it is a skill."""

CURSOR_EVENTS: Final[Mapping[str, str]] = {
    "beforeSubmitPrompt": "UserPromptSubmit",
    "postToolUse": "PostToolUse",
    "preCompact": "PreCompact",
    "preToolUse": "PreToolUse",
    "sessionEnd": "SessionEnd",
    "sessionStart": "SessionStart",
    "stop": "Stop",
    "subagentStart": "SubagentStart",
    "subagentStop": "SubagentStop",
}
"""Events of Cursor by what hooks call them here."""

_ARGUMENTS = ("$ARGUMENTS", "$1", "!`")
"""In a command: what only the agent itself fills in."""


class _Side(Struct, frozen=True):
    """One place to take from and one to put to: the user's own, or a project's.

    `agent` is the other agent's folder, `config` the folder of config.toml, `skills` that of skills.
    """

    agent: Path
    config: Path
    skills: Path
    agents_md: Path
    memories: tuple[Path, ...]
    cwd: str | None = None


def detect(
    settings: Settings,
    cwds: Sequence[str],
    *,
    include_home: bool,
    source: str | None,
    max_sessions: int | None,
    max_age_days: int | None,
) -> list[ExternalAgentConfigMigrationItem]:
    """What could be taken over and is not here yet: of the user if `include_home`, then of the projects of `cwds`.

    Blocks on files.
    """
    home, is_cursor = Path.home(), source == CURSOR
    name = ".cursor" if is_cursor else ".claude"
    found: list[ExternalAgentConfigMigrationItem] = []
    if include_home:
        own = settings.codex_home
        side = _Side(home / name, own, home / ".agents" / "skills", own / "AGENTS.md", (home / name / "CLAUDE.md",))
        found += _detect_cursor(side) if is_cursor else _detect_claude(side, _claude_servers(home))
        if not is_cursor:
            found += _plugins(side, settings)
            found += find_sessions(home / ".claude" / "projects", own, max_sessions, max_age_days)
    for root in dict.fromkeys(project_folders(cwd, settings.project_root_markers)[0] for cwd in cwds):
        if not os.path.isdir(root) or root == home:
            continue
        memories = (root / "CLAUDE.md", root / name / "CLAUDE.md")
        config = root / ".codex"
        side = _Side(root / name, config, root / ".agents" / "skills", root / "AGENTS.md", memories, str(root))
        found += _detect_cursor(side) if is_cursor else _detect_claude(side, _claude_servers(home, root))
    return found


def _detect_claude(side: _Side, servers: Table) -> Iterator[ExternalAgentConfigMigrationItem]:
    settings = _json(side.agent / "settings.json")
    config = _toml(side.config / "config.toml")
    target = side.config / "config.toml"
    if _misses(config, _migrated(settings)):
        yield _item("CONFIG", f"Migrate {side.agent / 'settings.json'} into {target}", side)
    yield from _servers(side, servers, config, str(side.agent.parent), target)
    yield from _hooks(side, sorted(set(table_in(settings.get("hooks"))) & set(EVENTS)))
    yield from _folders(side)
    memory = next((path for path in side.memories if _content(path)), None)
    if memory is not None and not _content(side.agents_md):
        yield _item("AGENTS_MD", f"Migrate {memory} to {side.agents_md}", side)


def _detect_cursor(side: _Side) -> Iterator[ExternalAgentConfigMigrationItem]:
    config = _toml(side.config / "config.toml")
    path, target = side.agent / "mcp.json", side.config / "config.toml"
    yield from _servers(side, table_in(_json(path).get("mcpServers")), config, str(path), target)
    named = table_in(_json(side.agent / "hooks.json").get("hooks"))
    yield from _hooks(side, sorted({CURSOR_EVENTS[event] for event in named if event in CURSOR_EVENTS}))
    yield from _folders(side)


def _servers(
    side: _Side, servers: Table, config: Table, origin: str, target: Path
) -> Iterator[ExternalAgentConfigMigrationItem]:
    known = table_in(config.get("mcp_servers"))
    names = sorted(name for name, server in servers.items() if name not in known and _can_be_reached(table_in(server)))
    if names:
        details = MigrationDetails(mcp_servers=[McpServerMigration(name=name) for name in names])
        yield _item("MCP_SERVER_CONFIG", f"Migrate MCP servers from {origin} into {target}", side, details)


def _hooks(side: _Side, events: Sequence[str]) -> Iterator[ExternalAgentConfigMigrationItem]:
    target = side.config / HOOKS_FILE
    if events and not target.exists():
        details = MigrationDetails(hooks=[HookMigration(name=event) for event in events])
        yield _item("HOOKS", f"Migrate hooks from {side.agent} to {target}", side, details)


def _folders(side: _Side) -> Iterator[ExternalAgentConfigMigrationItem]:
    """Skills, commands and sub-agents: one file or folder each."""
    skills = [folder.name for folder in _entries(side.agent / "skills") if (folder / SKILL_FILE).is_file()]
    if skills := [name for name in skills if not (side.skills / name).exists()]:
        details = MigrationDetails(skills=[SkillMigration(name=name) for name in skills])
        yield _item("SKILLS", f"Migrate skills from {side.agent / 'skills'} to {side.skills}", side, details)
    commands = [COMMAND_PREFIX + path.stem for path in _markdown(side.agent / "commands") if _is_plain(path)]
    if commands := [name for name in commands if not (side.skills / name).exists()]:
        details = MigrationDetails(commands=[CommandMigration(name=name) for name in commands])
        yield _item("COMMANDS", f"Migrate commands from {side.agent / 'commands'} to {side.skills}", side, details)
    target = side.config / "agents"
    agents = [name for path in _markdown(side.agent / "agents") if (name := _agent_name(path)) is not None]
    if agents := [name for name in agents if not (target / f"{name}.toml").exists()]:
        details = MigrationDetails(subagents=[SubagentMigration(name=name) for name in agents])
        yield _item("SUBAGENTS", f"Migrate subagents from {side.agent / 'agents'} to {target}", side, details)


def _plugins(side: _Side, settings: Settings) -> Iterator[ExternalAgentConfigMigrationItem]:
    table = _json(side.agent / "settings.json")
    there = settings.extensions.get("plugins", {})
    wanted: dict[str, list[str]] = {}
    for plugin_id, is_enabled in table_in(table.get("enabledPlugins")).items():
        name, _, marketplace = plugin_id.rpartition("@")
        if is_enabled is True and name and marketplace and plugin_id not in there:
            wanted.setdefault(marketplace, []).append(name)
    if wanted:
        plugins = [
            PluginsMigration(marketplace_name=marketplace, plugin_names=sorted(wanted[marketplace]))
            for marketplace in sorted(wanted)
        ]
        text = f"Migrate enabled plugins from {side.agent / 'settings.json'}"
        yield _item("PLUGINS", text, side, MigrationDetails(plugins=plugins))


def _item(
    kind: ExternalAgentConfigMigrationItemType,
    description: str,
    side: _Side,
    details: MigrationDetails | None = None,
) -> ExternalAgentConfigMigrationItem:
    return ExternalAgentConfigMigrationItem(item_type=kind, description=description, cwd=side.cwd, details=details)


# What the files say


def _claude_servers(home: Path, project: Path | None = None) -> Table:
    table = _json(home / ".claude.json")
    if project is None:
        return table_in(table.get("mcpServers"))
    own = table_in(table_in(table_in(table.get("projects")).get(str(project))).get("mcpServers"))
    return {**own, **table_in(_json(project / ".mcp.json").get("mcpServers"))}


def _can_be_reached(server: Table) -> bool:
    """By a program or by HTTP; the older transport with its own stream of events is not known here."""
    return text(server, "command") is not None or (text(server, "url") is not None and server.get("type") != "sse")


def _migrated(settings: Table) -> dict[str, Any]:
    """What of a settings.json has a meaning in config.toml, as a table of it."""
    wanted: dict[str, Any] = {}
    if table_in(settings.get("sandbox")).get("enabled") is True:
        wanted["sandbox_mode"] = "workspace-write"
    if variables := table_in(settings.get("env")):
        wanted["shell_environment_policy"] = {"set": dict.fromkeys(variables)}
    return wanted


def _misses(config: Table, wanted: Table) -> bool:
    """Whether there is a key in `wanted` that `config` has no value for."""
    return any(
        key not in config or (isinstance(value, dict) and _misses(table_in(config[key]), table_in(value)))
        for key, value in wanted.items()
    )


def _agent_name(path: Path) -> str | None:
    try:
        table = read_front_matter(read_text(str(path)))
    except (SkillError, FrontMatterError):
        return None
    return (line(table, "name") or path.stem) if line(table, "description") else None


def _is_plain(path: Path) -> bool:
    content = _content(path)
    return bool(content) and not any(mark in content for mark in _ARGUMENTS)


def _content(path: Path) -> str:
    try:
        return read_text(str(path)).strip() if path.is_file() else ""
    except SkillError:
        return ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _markdown(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix == ".md" and path.is_file()]


def _json(path: Path) -> Table:
    try:
        return table_in(read_json(str(path))) if path.is_file() else {}
    except PluginError:
        return {}


def _toml(path: Path) -> Table:
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return {}
