"""MCP servers that are configured, by the user, by projects and by plugins. None of them is started yet."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from app_server.config.settings import Settings
from app_server.extensions.loose import table_in, text
from app_server.extensions.plugins import active_manifests
from protocol.v2.mcp_server import McpAuthStatus, McpServerConnectionStatus, McpServerStatus


class McpServer(Struct, frozen=True):
    """One configured server: a program to run, or the address of a service."""

    name: str
    table: Mapping[str, Any]
    plugin_id: str | None = None

    @property
    def url(self) -> str | None:
        """Where it is reached over HTTP; None for a program."""
        return text(self.table, "url")

    @property
    def is_enabled(self) -> bool:
        """Whether it is to be started at all."""
        return self.table.get("enabled") is not False

    @property
    def auth_status(self) -> McpAuthStatus:
        """How it knows its user, as far as configuration tells; whether a service wants a login it tells itself."""
        if self.url is None or not self.is_enabled:
            return "unsupported"
        headers = {
            name.lower() for key in ("http_headers", "env_http_headers") for name in table_in(self.table.get(key))
        }
        return "bearerToken" if text(self.table, "bearer_token_env_var") or "authorization" in headers else "unknown"

    def status(self, *, in_thread: bool) -> McpServerStatus:
        """What clients are told of it; a runtime status only where a thread is asked about, which runs it."""
        runtime: McpServerConnectionStatus = "notStarted" if self.is_enabled else "disabled"
        return McpServerStatus(
            name=self.name,
            plugin_id=self.plugin_id,
            runtime_status=runtime if in_thread else None,
            http_origin=None if self.url is None else _origin(self.url),
            auth_status=self.auth_status,
            tools={},
            resources=[],
            resource_templates=[],
        )


def configured_servers(settings: Settings) -> list[McpServer]:
    """All servers by name. One that is configured itself hides those of plugins. Blocks on files."""
    found = {server.name: server for server in _of_plugins(settings)}
    for name, entry in settings.extensions.get("mcp_servers", {}).items():
        if isinstance(entry, dict):
            found[name] = McpServer(name, table_in(entry))
    return [found[name] for name in sorted(found)]


def _of_plugins(settings: Settings) -> Iterator[McpServer]:
    if settings.extensions.get("plugins"):
        for plugin, manifest in active_manifests(settings):
            for name, entry in manifest.mcp_servers.items():
                yield McpServer(name, table_in(entry), plugin.id)


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    # Without what may come before the host: it is a name and a password.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme and parts.netloc else None
