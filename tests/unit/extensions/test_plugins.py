from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app_server.extensions.manifests import PluginError
from app_server.extensions.mcp_servers import configured_servers
from app_server.extensions.plugins import (
    installed_plugins,
    list_plugins,
    only_installed,
    read_plugin,
    search,
    skill_roots_of_plugins,
)
from protocol.v2.plugin import PluginMarketplaceEntry
from tests.unit.extensions.conftest import Home

LIST = ".agents/plugins/marketplace.json"
FLY = {
    "name": "fly",
    "version": "1.2.3",
    "description": "Flying.",
    "keywords": ["air"],
    "interface": {
        "displayName": "Fly High",
        "category": "Sport",
        "capabilities": ["Read"],
        "websiteURL": "https://fly.example",
        "logo": "./logo.png",
        "composerIcon": "../../stolen.png",
        "screenshots": ["./one.png", "/etc/passwd"],
    },
}


def _plugin(home: Home, folder: Path, manifest: dict[str, Any]) -> Path:
    home.write(folder / ".codex-plugin" / "plugin.json", manifest)
    home.skill(folder / "skills", "land", "Landing.")
    home.write(folder / ".mcp.json", {"mcpServers": {"tower": {"command": "tower"}}})
    hooks = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "x"}]}]}}
    home.write(folder / "hooks" / "hooks.json", hooks)
    return folder


def _market(home: Home, folder: Path, name: str, plugins: Sequence[Any], **more: Any) -> Path:
    return home.write(folder / LIST, {"name": name, "plugins": plugins, **more})


def _names(marketplaces: Sequence[PluginMarketplaceEntry]) -> list[tuple[str, list[str]]]:
    return [(entry.name, [plugin.id for plugin in entry.plugins]) for entry in marketplaces]


def test_marketplaces_of_the_user_of_the_configuration_and_of_projects_are_listed(home: Home) -> None:
    added, broken = home.user / "added", home.user / "broken"
    path = _market(home, home.user, "own", [{"name": "a", "source": "./a"}])
    _market(home, added, "added", [{"name": "b", "source": {"source": "local", "path": "./b"}}])
    home.write(broken / LIST, "{")
    claude = {"name": "claude", "plugins": [{"name": "c", "source": "./c"}]}
    home.write(home.project / ".claude-plugin" / "marketplace.json", claude)
    home.configure(
        f'[marketplaces.added]\nsource_type = "local"\nsource = "{added}"\n'
        f'[marketplaces.broken]\nsource_type = "local"\nsource = "{broken}"\n'
        '[marketplaces.gone]\nsource_type = "local"\nsource = "/nowhere"\n'
        '[marketplaces.git]\nsource_type = "git"\nsource = "https://git.example"\n'
    )
    inner = home.project / "inner"
    inner.mkdir()
    marketplaces, errors = list_plugins(home.settings, [str(inner)])
    assert _names(marketplaces) == [("own", ["a@own"]), ("added", ["b@added"]), ("claude", ["c@claude"])]
    assert marketplaces[0].path == str(path)
    assert [error.marketplace_path for error in errors] == [str(broken / LIST), f"/nowhere/{LIST}"]
    assert "not valid JSON" in errors[0].message
    assert "no list of plugins in /nowhere" in errors[1].message
    assert _names(list_plugins(home.settings, [])[0]) == [("own", ["a@own"]), ("added", ["b@added"])]


def test_each_kind_of_source_is_told_and_what_is_not_understood_is_left_out(home: Home) -> None:
    sources: dict[str, Any] = {
        "local": "./plugins/local",
        "git": {"source": "url", "url": "https://git.example/a.git", "ref": "main", "sha": "abc"},
        "part": {"source": "git-subdir", "url": "acme/all", "path": "one"},
        "hub": {"source": "github", "repo": "acme/hub"},
        "package": {"source": "npm", "package": "@acme/p", "version": "1"},
        "outside": "../outside",
        "absolute": "/etc",
        "unknown": {"source": "ftp"},
        "bad name": "./bad",
    }
    _market(home, home.user, "own", [*({"name": n, "source": s} for n, s in sources.items()), {"name": "none"}, 5])
    ((entry,), _) = list_plugins(home.settings, [])
    given = {plugin.name: plugin.source.model_dump(by_alias=True, exclude_none=True) for plugin in entry.plugins}
    assert given == {
        "local": {"type": "local", "path": str(home.user / "plugins" / "local")},
        "git": {"type": "git", "url": "https://git.example/a.git", "refName": "main", "sha": "abc"},
        "part": {"type": "git", "url": "https://github.com/acme/all.git", "path": "one"},
        "hub": {"type": "git", "url": "https://github.com/acme/hub.git"},
        "package": {"type": "npm", "package": "@acme/p", "version": "1"},
    }


def test_a_plugin_shows_what_its_manifest_says_and_its_marketplace_decides(home: Home) -> None:
    folder = _plugin(home, home.user / "fly", FLY)
    policy = {"installation": "INSTALLED_BY_DEFAULT", "authentication": "ON_USE"}
    _market(home, home.user, "own", [{"name": "fly", "source": "./fly", "policy": policy, "category": "Outdoors"}])
    home.configure('[plugins."fly@own"]\nenabled = true\n')
    ((entry,), _) = list_plugins(home.settings, [])
    (plugin,) = entry.plugins
    assert (plugin.local_version, plugin.version, plugin.keywords) == ("1.2.3", None, ["air"])
    assert (plugin.installed, plugin.enabled) == (False, True)
    assert (plugin.install_policy, plugin.auth_policy) == ("INSTALLED_BY_DEFAULT", "ON_USE")
    shown = plugin.interface
    assert shown is not None
    assert (shown.display_name, shown.category, shown.website_url) == ("Fly High", "Outdoors", "https://fly.example")
    assert (shown.logo, shown.composer_icon) == (str(folder / "logo.png"), None)
    assert shown.screenshots == [str(folder / "one.png")]


def test_a_plugin_in_full_has_its_skills_hooks_and_servers(home: Home) -> None:
    folder = _plugin(home, home.user / "fly", FLY)
    path = str(_market(home, home.user, "own", [{"name": "fly", "source": "./fly"}]))
    detail = read_plugin(home.settings, path, "fly")
    assert (detail.marketplace_name, detail.marketplace_path, detail.description) == ("own", path, "Flying.")
    (skill,) = detail.skills
    assert (skill.name, skill.description, skill.path) == (
        "fly:land",
        "Landing.",
        str(folder / "skills" / "land" / "SKILL.md"),
    )
    assert [(hook.key, hook.event_name) for hook in detail.hooks] == [("fly@own:hooks/hooks.json:stop:0:0", "stop")]
    assert detail.mcp_servers == ["tower"]


def test_of_a_plugin_from_elsewhere_only_its_source_is_known(home: Home) -> None:
    source = {"source": "url", "url": "https://git.example/a.git", "ref": "main"}
    path = str(_market(home, home.user, "own", [{"name": "far", "source": source}]))
    detail = read_plugin(home.settings, path, "far")
    assert "https://git.example/a.git, ref `main`" in str(detail.description)
    assert (detail.skills, detail.hooks, detail.mcp_servers) == ([], [], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("{", "not valid JSON"),
        ('{"plugins": []}', "invalid marketplace file"),
        ('{"name": "m", "plugins": []}', "plugin `fly` was not found in marketplace `m`"),
        ('{"name": "m", "plugins": [{"name": "fly", "source": "./gone"}]}', "does not exist or is not a directory"),
    ],
)
def test_a_plugin_that_cannot_be_read_says_why(home: Home, content: str | None, words: str) -> None:
    path = home.user / LIST
    if content is not None:
        home.write(LIST, content)
    with pytest.raises(PluginError, match=words):
        read_plugin(home.settings, str(path), "fly")
    with pytest.raises(PluginError, match="no marketplace file"):
        read_plugin(home.settings, str(home.user), "fly")


def test_an_installed_plugin_is_there_and_configured_and_its_newest_version_counts(home: Home) -> None:
    for version in ("1.9.0", "1.10.0"):
        _plugin(home, home.codex / "plugins" / "cache" / "own" / "fly" / version, FLY)
    _plugin(home, home.codex / "plugins" / "cache" / "own" / "forgotten" / "1", FLY)
    home.configure('[plugins."fly@own"]\n[plugins."gone@own"]\n[plugins."../up@own"]\n[plugins.odd]\n')
    (plugin,) = installed_plugins(home.settings)
    assert (plugin.id, Path(plugin.root).name, plugin.is_enabled) == ("fly@own", "1.10.0", True)
    (root,) = skill_roots_of_plugins(home.settings)
    assert (root.path, root.plugin_id) == (str(Path(plugin.root) / "skills"), "fly@own")
    assert [(server.name, server.plugin_id) for server in configured_servers(home.settings)] == [("tower", "fly@own")]
    home.configure('[plugins."fly@own"]\nenabled = false\n')
    assert [plugin.is_enabled for plugin in installed_plugins(home.settings)] == [False]
    assert skill_roots_of_plugins(home.settings) == []
    assert configured_servers(home.settings) == []


def test_installed_plugins_are_listed_with_those_that_a_client_suggests(home: Home) -> None:
    _market(home, home.user, "own", [{"name": name, "source": f"./{name}"} for name in ("fly", "swim", "run")])
    _plugin(home, home.codex / "plugins" / "cache" / "own" / "fly" / "local", FLY)
    home.configure('[plugins."fly@own"]\n')
    marketplaces, _ = list_plugins(home.settings, [])
    assert _names(only_installed(marketplaces, [])) == [("own", ["fly@own"])]
    assert _names(only_installed(marketplaces, ["run"])) == [("own", ["fly@own", "run@own"])]


def test_a_search_looks_at_names_titles_and_keywords_in_any_case(home: Home) -> None:
    _plugin(home, home.user / "fly", FLY)
    _market(home, home.user, "own", [{"name": "fly", "source": "./fly"}, {"name": "Swim", "source": "./swim"}])
    marketplaces, _ = list_plugins(home.settings, [])

    def found(term: str) -> list[str]:
        return [result.plugin.name for result in search(marketplaces, term)]

    assert [found(term) for term in ("FLY", "air", "high", "swim", "nothing", " ")] == [
        ["fly"],
        ["fly"],
        ["fly"],
        ["Swim"],
        [],
        [],
    ]


def test_servers_are_known_by_name_with_what_configuration_tells_of_their_login(home: Home) -> None:
    home.configure(
        '[mcp_servers.program]\ncommand = "run"\n'
        '[mcp_servers.web]\nurl = "https://user:secret@mcp.example:8443/path?x=1"\n'
        '[mcp_servers.key]\nurl = "https://key.example/mcp"\nbearer_token_env_var = "KEY"\n'
        '[mcp_servers.header]\nurl = "https://h.example/mcp"\nhttp_headers = { authorization = "Bearer x" }\n'
        '[mcp_servers.off]\nurl = "https://off.example/mcp"\nenabled = false\n'
    )
    servers = configured_servers(home.settings)
    assert [(server.name, server.auth_status) for server in servers] == [
        ("header", "bearerToken"),
        ("key", "bearerToken"),
        ("off", "unsupported"),
        ("program", "unsupported"),
        ("web", "unknown"),
    ]
    told = {server.name: server.status(in_thread=True) for server in servers}
    assert told["web"].http_origin == "https://mcp.example:8443"
    assert [told[name].runtime_status for name in ("program", "off")] == ["notStarted", "disabled"]
    assert servers[0].status(in_thread=False).runtime_status is None
