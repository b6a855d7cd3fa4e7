"""What plugins say of themselves: plugin.json and the files that it names."""

import os
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct, field

from app_server.extensions.loose import Table, table_in, text, texts
from app_server.extensions.skills import inside
from protocol.v2.plugin import PluginInterface

MANIFESTS = (os.path.join(".codex-plugin", "plugin.json"), os.path.join(".claude-plugin", "plugin.json"))
"""Where a plugin's folder has its manifest; the first that exists counts."""

MAX_BYTES = 1024 * 1024
"""How large manifests and lists of plugins may be."""

_TEXTS = {
    "display_name": "displayName",
    "short_description": "shortDescription",
    "long_description": "longDescription",
    "developer_name": "developerName",
    "category": "category",
    "website_url": "websiteURL",
    "privacy_policy_url": "privacyPolicyURL",
    "terms_of_service_url": "termsOfServiceURL",
    "brand_color": "brandColor",
}
_FILES = {"composer_icon": "composerIcon", "logo": "logo", "logo_dark": "logoDark"}


class PluginError(Exception):
    """A plugin or a marketplace that cannot be read; the message says which and why."""


class Manifest(Struct, frozen=True):
    """A plugin's own description. `root` is its folder."""

    root: str
    name: str
    version: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()
    interface: PluginInterface | None = None
    skills: tuple[str, ...] = ()
    """Folders of skills."""
    mcp_servers: Table = field(default_factory=dict[str, Any])
    """Configurations of MCP servers by their names."""
    hooks: Table = field(default_factory=dict[str, Any])
    """Tables of hooks, by the name of the file in the plugin that each is from."""


def read_manifest(root: str) -> Manifest:
    """The manifest of the plugin in the folder `root`. Raises PluginError. Blocks on files."""
    if not os.path.isdir(root):
        raise PluginError(f"plugin folder {root} does not exist or is not a directory")
    path = next((path for name in MANIFESTS if os.path.isfile(path := os.path.join(root, name))), None)
    if path is None:
        raise PluginError(f"no plugin.json in {root}")
    table = table_in(read_json(path))
    return Manifest(
        root,
        text(table, "name") or os.path.basename(root),
        text(table, "version"),
        text(table, "description"),
        tuple(texts(table.get("keywords"))),
        _interface(root, table.get("interface")),
        _folders(root, table.get("skills", "./skills")),
        _servers(root, table.get("mcpServers", "./.mcp.json")),
        _hooks(root, table.get("hooks", "./hooks/hooks.json")),
    )


def read_json(path: str) -> Any:
    """A JSON file. Raises PluginError naming it. Blocks on files."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PluginError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise PluginError(f"{path} is larger than {MAX_BYTES // 1024} KiB")
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise PluginError(f"{path} is not valid JSON: {error}") from error


def _interface(root: str, value: Any) -> PluginInterface | None:
    if not isinstance(value, dict):
        return None
    table = table_in(value)
    prompts: Any = table.get("defaultPrompt")
    return PluginInterface(
        capabilities=texts(table.get("capabilities")),
        screenshots=[path for name in texts(table.get("screenshots")) if (path := inside(root, name)) is not None],
        screenshot_urls=[],
        default_prompt=[prompts] if isinstance(prompts, str) else texts(prompts) or None,
        **{name: text(table, key) for name, key in _TEXTS.items()},
        **{name: inside(root, table.get(key)) for name, key in _FILES.items()},
    )


def _folders(root: str, value: Any) -> tuple[str, ...]:
    named = [value] if isinstance(value, str) else texts(value)
    paths = (inside(root, name) for name in named)
    return tuple(path for path in paths if path is not None and os.path.isdir(path))


def _servers(root: str, value: Any) -> Table:
    if isinstance(value, str):
        path = inside(root, value)
        if path is None or not os.path.isfile(path):
            return {}
        value = read_json(path)
    table = table_in(value)
    servers = table_in(table.get("mcpServers", table))
    return {name: server for name, server in servers.items() if isinstance(server, dict)}


def _hooks(root: str, value: Any) -> Table:
    if isinstance(value, dict):
        return {"plugin.json": table_in(value)}
    found: dict[str, Any] = {}
    for name in [value] if isinstance(value, str) else texts(value):
        path = inside(root, name)
        if path is not None and os.path.isfile(path):
            found[os.path.relpath(path, root)] = read_json(path)
    return found
