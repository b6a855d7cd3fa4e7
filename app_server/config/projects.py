"""Configuration that lies in projects: `.codex/config.toml`, which counts where the user trusts the project."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from app_server.config.layer import ConfigWarning, Layer, read_file

FOLDER = ".codex"

USER_ONLY = frozenset(
    {
        "apps_mcp_product_sku",
        "chatgpt_base_url",
        "cli_auth_credentials_store",
        "experimental_realtime_webrtc_call_base_url",
        "experimental_realtime_ws_base_url",
        "experimental_thread_store",
        "experimental_thread_store_endpoint",
        "log_dir",
        "model_provider",
        "model_providers",
        "notify",
        "openai_base_url",
        "otel",
        "profile",
        "profiles",
        "projects",
        "responses_api_metadata",
        "sqlite_home",
    }
)
"""What no project may choose: where prompts, keys and records go, what runs beside turns, and whom to trust."""

NOT_TRUSTED = "To load project-local config, hooks, and exec policies, add {root} as a trusted project in {file}."
UNTRUSTED = (
    "{root} is marked as untrusted in the effective configuration. To load project-local config, hooks, and exec "
    "policies, update its trust setting. If that setting is managed by your organization, contact your administrator."
)
DISABLED = "The configuration in {folder} does not count, because the project is not trusted."
IGNORED = "Settings of a project that only the user's own configuration can make are ignored."


class Project(Struct, frozen=True):
    """What the configuration in force for a folder has from the project that it is in.

    `trust` is `trusted`, `untrusted`, or None where the user has not said. `layers` are those of the folders from the
    project's root down to the folder itself. `files` are all that were looked for, whether or not they exist.
    """

    root: str
    trust: str | None
    layers: tuple[Layer, ...] = ()
    broken: tuple[ConfigWarning, ...] = ()
    files: tuple[str, ...] = ()


def find_project(cwd: str, markers: Sequence[str], levels: Mapping[str, str], codex_home: Path) -> Project:
    """The project that an absolute folder is in. Blocks on files.

    `levels` are the trust levels by folder. A folder counts as trusted by its own entry, that of the project's root, or
    that of the repository whose worktree it is; links count by either name.
    """
    root = project_root(cwd, markers)
    known = {os.path.normpath(os.path.expanduser(path)): level for path, level in levels.items()}
    above = _trust([root, *_main_repository(root)], known)
    layers: list[Layer] = []
    broken: list[ConfigWarning] = []
    files: list[str] = []
    home = os.path.realpath(codex_home)
    for folder in _down(root, cwd):
        place = os.path.join(folder, FOLDER)
        file = os.path.join(place, "config.toml")
        if os.path.realpath(place) == home:
            continue
        files.append(file)
        if not os.path.lexists(file):
            continue
        trust = _trust([folder], known) or above
        layer, warning = _read_layer(place, file, trust, root, codex_home)
        layers.append(layer)
        if warning is not None and trust == "trusted":
            broken.append(warning)
    return Project(root, _trust([cwd], known) or above, tuple(layers), tuple(broken), tuple(files))


def project_root(cwd: str, markers: Sequence[str]) -> str:
    """The nearest folder from `cwd` upwards that has one of the markers in it, else `cwd` itself."""
    folder = cwd
    while True:
        if any(os.path.lexists(os.path.join(folder, marker)) for marker in markers):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return cwd
        folder = parent


def project_warnings(layer: Layer) -> list[ConfigWarning]:
    """What clients should be told of a project's layer, beside its unknown settings."""
    if layer.disabled_reason is not None:
        summary = DISABLED.format(folder=layer.source["dotCodexFolder"])
        return [ConfigWarning(summary, layer.disabled_reason, layer.file)]
    if layer.ignored:
        names = ", ".join(f"`{name}`" for name in layer.ignored)
        return [ConfigWarning(IGNORED, f"{layer.file}: {names}", layer.file)]
    return []


def _read_layer(
    place: str, file: str, trust: str | None, root: str, codex_home: Path
) -> tuple[Layer, ConfigWarning | None]:
    table, text, warning = read_file(Path(file))
    ignored = tuple(sorted(USER_ONLY & table.keys()))
    kept = {key: value for key, value in table.items() if key not in USER_ONLY}
    reason = None
    if trust != "trusted":
        reason = (UNTRUSTED if trust else NOT_TRUSTED).format(root=root, file=codex_home / "config.toml")
    return Layer({"type": "project", "dotCodexFolder": place}, kept, text, reason, ignored), warning


def _down(root: str, cwd: str) -> list[str]:
    """The folders from `root` to `cwd`, both included."""
    folders = [cwd]
    while folders[-1] != root:
        folders.append(os.path.dirname(folders[-1]))
    return folders[::-1]


def _trust(folders: Sequence[str], levels: Mapping[str, str]) -> str | None:
    places = (place for folder in folders for place in (folder, os.path.realpath(folder)))
    return next((levels[place] for place in places if place in levels), None)


def _main_repository(root: str) -> list[str]:
    """The repository that `root` is a worktree of, if that says so too: anybody can write a file that claims it."""
    try:
        claim = Path(root, ".git").read_text(encoding="utf-8") if Path(root, ".git").is_file() else ""
        folder = Path(root, claim.removeprefix("gitdir:").strip()) if claim.startswith("gitdir:") else None
        if folder is None or folder.parent.name != "worktrees" or folder.parent.parent.name != ".git":
            return []
        back = (folder / "gitdir").read_text(encoding="utf-8").strip()
        return [str(folder.parent.parent.parent)] if os.path.realpath(back) == os.path.realpath(root + "/.git") else []
    except (OSError, UnicodeDecodeError):
        return []
