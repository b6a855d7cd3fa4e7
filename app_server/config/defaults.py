"""What settings are while no layer says anything of them, as clients are shown them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app_server.config.known_keys import known_keys
from app_server.config.layer import Table, merge

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "allow_login_shell": True,
        "background_terminal_max_timeout": 300_000,
        "chatgpt_base_url": "https://chatgpt.com/backend-api/",
        "cli_auth_credentials_store": "file",
        "file_opener": "vscode",
        "hide_agent_reasoning": False,
        "history": {"persistence": "save-all", "max_bytes": None},
        "include_apps_instructions": True,
        "include_collaboration_mode_instructions": True,
        "include_environment_context": True,
        "include_environment_context_time": True,
        "include_permissions_instructions": True,
        "marketplaces": {},
        "mcp_oauth_credentials_store": "auto",
        "mcp_servers": {},
        "model_providers": {},
        "plugins": {},
        "profiles": {},
        "project_doc_fallback_filenames": [],
        "project_doc_max_bytes": 32_768,
        "project_root_markers": [".git"],
    }
)
"""Defaults of single settings. Others are null: what holds then is decided where it is used."""


def with_defaults(table: Table) -> Table:
    """A table with every known setting in it."""
    full: Table = {key: None for key in known_keys() if key not in ("features", "permissions")}
    merge(full, DEFAULTS)
    merge(full, table)
    return full
