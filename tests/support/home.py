"""A CODEX_HOME of a test: config.toml for one scripted provider, and an environment without this machine's settings."""

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

REPOSITORY = Path(__file__).resolve().parents[2]


def make_home(
    folder: Path,
    provider_url: str | None = None,
    *,
    settings: Mapping[str, object] | None = None,
    more: str = "",
) -> Path:
    """Write `folder`/config.toml and give the folder.

    `provider_url` is the base URL of a Responses API (`http://127.0.0.1:PORT/v1`). `settings` are top-level values,
    `more` is TOML for the end of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {"model": "mock-model", "approval_policy": "never", "sandbox_mode": "read-only"}
    if provider_url is not None:
        values["model_provider"] = "scripted"
    values.update(settings or {})
    # For strings, numbers, booleans and lists of them, JSON is TOML.
    lines = [f"{key} = {orjson.dumps(value).decode()}" for key, value in values.items()]
    if provider_url is not None:
        lines += [
            "[model_providers.scripted]",
            'name = "scripted"',
            f'base_url = "{provider_url}"',
            'wire_api = "responses"',
            "request_max_retries = 0",
            "stream_max_retries = 0",
        ]
    (folder / "config.toml").write_text("\n".join([*lines, more, ""]))
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a daemon of a test sees: `home` as its CODEX_HOME, an empty HOME, and this checkout's packages."""
    user = home / "user"
    user.mkdir(parents=True, exist_ok=True)
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CODEX", "OPENAI", "LOG_", "RUST_LOG", "PYTEST"))
    }
    return {
        **kept,
        "CODEX_HOME": str(home),
        "HOME": str(user),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONSAFEPATH": "1",
        **more,
    }
