import os
import time
from pathlib import Path
from typing import Any

import orjson

from app_server.extensions.external_agents import detect
from protocol.v2.external_agent import ExternalAgentConfigMigrationItem
from tests.unit.extensions.conftest import Home


def _found(home: Home, *cwds: Path, home_too: bool = True, **more: Any) -> list[ExternalAgentConfigMigrationItem]:
    given: dict[str, Any] = {"source": None, "max_sessions": None, "max_age_days": None, **more}
    return detect(home.settings, [str(cwd) for cwd in cwds], include_home=home_too, **given)


def _kinds(items: list[ExternalAgentConfigMigrationItem]) -> list[str]:
    return [item.item_type for item in items]


def _names(item: ExternalAgentConfigMigrationItem) -> list[str]:
    """What an item consists of, by name."""
    details: dict[str, list[dict[str, str]]] = {} if item.details is None else item.details.model_dump(by_alias=True)
    return [one.get("name") or one["marketplaceName"] for entries in details.values() for one in entries]


def _session(home: Home, name: str, *records: dict[str, Any], days_ago: float = 0) -> Path:
    path = home.write(f".claude/projects/-p/{name}.jsonl", "\n".join(orjson.dumps(one).decode() for one in records))
    at = time.time() - days_ago * 86_400
    os.utime(path, (at, at))
    return path


def _said(home: Home, words: Any, **more: Any) -> dict[str, Any]:
    return {"type": "user", "cwd": str(home.project), "message": {"role": "user", "content": words}, **more}


def _configure_claude(home: Home) -> None:
    hooks: dict[str, Any] = {"PreToolUse": [], "Notification": []}
    plugins = {"fmt@acme": True, "off@acme": False}
    settings: dict[str, Any] = {"env": {"A": "b"}, "hooks": hooks, "enabledPlugins": plugins}
    home.write(".claude/settings.json", settings)
    servers = {"gh": {"command": "gh"}, "web": {"type": "http", "url": "https://x"}, "old": {"type": "sse", "url": "y"}}
    projects = {str(home.project): {"mcpServers": {"own": {"command": "own"}}}}
    home.write(".claude.json", {"mcpServers": servers, "projects": projects})
    home.skill(".claude/skills", "fly")
    home.write(".claude/commands/plain.md", "Do it.\n")
    home.write(".claude/commands/filled.md", "Do $ARGUMENTS.\n")
    home.write(".claude/agents/helper.md", "---\nname: helper\ndescription: Helps.\n---\nYou help.\n")
    home.write(".claude/CLAUDE.md", "Be brief.\n")


def test_nothing_is_found_where_no_other_agent_was(home: Home) -> None:
    assert _found(home, home.project, Path("/nowhere")) == []
    assert _found(home, home.project, source="cursor") == []


def test_what_claude_code_has_of_the_user_is_found_with_its_names(home: Home) -> None:
    _configure_claude(home)
    items = _found(home)
    assert _kinds(items) == [
        "CONFIG",
        "MCP_SERVER_CONFIG",
        "HOOKS",
        "SKILLS",
        "COMMANDS",
        "SUBAGENTS",
        "AGENTS_MD",
        "PLUGINS",
    ]
    assert {item.cwd for item in items} == {None}
    assert [_names(item) for item in items] == [
        [],
        ["gh", "web"],
        ["PreToolUse"],
        ["fly"],
        ["source-command-plain"],
        ["helper"],
        [],
        ["acme"],
    ]
    assert items[0].description == f"Migrate {home.user}/.claude/settings.json into {home.codex}/config.toml"


def test_what_is_here_already_is_not_found_again(home: Home) -> None:
    _configure_claude(home)
    home.configure(
        '[shell_environment_policy.set]\nA = "c"\n'
        '[mcp_servers.gh]\ncommand = "x"\n[plugins."fmt@acme"]\nenabled = true\n'
    )
    home.write(".codex/hooks.json", {"hooks": {}})
    home.skill(".agents/skills", "fly")
    home.write(".agents/skills/source-command-plain/SKILL.md", "x")
    home.write(".codex/agents/helper.toml", "x")
    home.write(".codex/AGENTS.md", "Mine.")
    assert [(item.item_type, _names(item)) for item in _found(home)] == [("MCP_SERVER_CONFIG", ["web"])]


def test_what_a_project_has_is_found_once_from_any_of_its_folders(home: Home) -> None:
    _configure_claude(home)
    inner = home.project / "inner"
    inner.mkdir()
    home.write(home.project / "CLAUDE.md", "Test it.\n")
    home.write(home.project / ".mcp.json", {"mcpServers": {"shared": {"command": "s"}}})
    home.skill(home.project / ".claude" / "skills", "swim")
    items = _found(home, inner, home.project, home_too=False)
    assert _kinds(items) == ["MCP_SERVER_CONFIG", "SKILLS", "AGENTS_MD"]
    assert {item.cwd for item in items} == {str(home.project)}
    assert [_names(item) for item in items] == [["own", "shared"], ["swim"], []]
    assert items[2].description == f"Migrate {home.project}/CLAUDE.md to {home.project}/AGENTS.md"


def test_cursor_is_looked_for_when_it_is_named(home: Home) -> None:
    _configure_claude(home)
    home.write(".cursor/mcp.json", {"mcpServers": {"cur": {"command": "c"}}})
    home.write(".cursor/hooks.json", {"version": 1, "hooks": {"stop": [], "unknownEvent": []}})
    items = _found(home, source="cursor")
    assert _kinds(items) == ["MCP_SERVER_CONFIG", "HOOKS"]
    assert [_names(item) for item in items] == [["cur"], ["Stop"]]


def test_recent_sessions_are_found_the_latest_first(home: Home) -> None:
    first = _session(
        home, "first", _said(home, "<command-name>x</command-name>"), _said(home, "Fix it\nnow"), days_ago=2
    )
    last = _session(home, "last", _said(home, [{"type": "text", "text": "Look"}]), {"broken": True}, days_ago=1)
    _session(home, "old", _said(home, "Long ago"), days_ago=40)
    _session(home, "gone", {**_said(home, "Elsewhere"), "cwd": "/nowhere"})
    _session(home, "empty", {"type": "system"})

    def sessions(**limits: Any) -> list[tuple[str, str | None]]:
        items = _found(home, **limits)
        return [(one.path, one.title) for item in items if item.details for one in item.details.sessions]

    assert sessions() == [(str(last), "Look"), (str(first), "Fix it")]
    assert sessions(max_sessions=1) == [(str(last), "Look")]
    assert sessions(max_sessions=0) == []
    assert [title for _, title in sessions(max_age_days=60)] == ["Look", "Fix it", "Long ago"]
    done = {"source_path": str(last), "source_modified_at": last.stat().st_mtime_ns}
    home.write(".codex/external_agent_session_imports.json", {"records": [done, 5]})
    assert sessions() == [(str(first), "Fix it")]


def test_files_that_cannot_be_understood_are_passed_over(home: Home) -> None:
    home.write(".claude/settings.json", "{")
    home.write(".claude.json", "[]")
    home.write(".claude/agents/x.md", "no front matter")
    home.write(".claude/projects/-p/x.jsonl", "not json\n[]\n5\n")
    (home.user / ".claude" / "CLAUDE.md").mkdir()
    assert _found(home, home.project) == []
