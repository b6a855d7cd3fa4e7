"""Marketplaces on disk: lists of plugins, of the user, of projects, and those that are configured."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from app_server.config.settings import Settings
from app_server.extensions.loose import Table, list_in, table_in, text
from app_server.extensions.manifests import PluginError, read_json
from app_server.extensions.skill_folders import project_folders
from app_server.extensions.skills import inside
from protocol.v2.plugin import (
    GitPluginSource,
    LocalPluginSource,
    MarketplaceLoadErrorInfo,
    NpmPluginSource,
    PluginAuthPolicy,
    PluginInstallPolicy,
    PluginSource,
)

LISTS = (
    os.path.join(".agents", "plugins", "marketplace.json"),
    os.path.join(".claude-plugin", "marketplace.json"),
)
"""Where a folder has its list of plugins; the first that exists counts."""

_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")
_GITHUB = re.compile(r"[\w.-]+/[\w.-]+\Z")


class Offer(Struct, frozen=True):
    """A plugin as a marketplace lists it."""

    name: str
    source: PluginSource
    install_policy: PluginInstallPolicy = "AVAILABLE"
    auth_policy: PluginAuthPolicy = "ON_INSTALL"
    category: str | None = None


class Marketplace(Struct, frozen=True):
    """A list of plugins. `path` is its file."""

    name: str
    path: str
    display_name: str | None
    offers: Sequence[Offer]

    def offer(self, name: str) -> Offer:
        """The plugin of that name. Raises PluginError."""
        for offer in self.offers:
            if offer.name == name:
                return offer
        raise PluginError(f"plugin `{name}` was not found in marketplace `{self.name}`")


def find_marketplaces(
    settings: Settings, cwds: Sequence[str]
) -> tuple[list[Marketplace], list[MarketplaceLoadErrorInfo]]:
    """The marketplaces of the user, those configured, and those of the projects that `cwds` are in; and what is wrong
    with the others. Blocks on files."""
    found: dict[str, Marketplace] = {}
    errors: list[MarketplaceLoadErrorInfo] = []
    for path, problem in _places(settings, cwds):
        if path in found:
            continue
        try:
            if problem is not None:
                raise PluginError(problem)
            found[path] = read_marketplace(path)
        except PluginError as error:
            errors.append(MarketplaceLoadErrorInfo(marketplace_path=path, message=str(error)))
    return list(found.values()), errors


def read_marketplace(path: str) -> Marketplace:
    """The list of plugins in the file `path`. Raises PluginError. Blocks on files."""
    root = next((path.removesuffix(os.sep + name) for name in LISTS if path.endswith(os.sep + name)), None)
    if root is None:
        known = " or ".join(f"`{name}`" for name in LISTS)
        raise PluginError(f"`{path}` is no marketplace file: its name must end in {known}")
    if not os.path.isfile(path):
        raise PluginError(f"marketplace file `{path}` does not exist")
    table = table_in(read_json(path))
    name, entries = text(table, "name"), table.get("plugins")
    if name is None or not _NAME.match(name) or not isinstance(entries, list):
        raise PluginError(f"invalid marketplace file `{path}`: it needs a `name` of letters and digits, and `plugins`")
    offers: list[Offer] = []
    for entry in list_in(entries):
        offer = _offer(root, table_in(entry))
        # One that is not understood does not hide the others.
        if offer is not None and all(offer.name != other.name for other in offers):
            offers.append(offer)
    return Marketplace(name, path, text(table_in(table.get("interface")), "displayName"), offers)


def _places(settings: Settings, cwds: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    if (path := _list_in(str(Path.home()))) is not None:
        yield path, None
    for name, entry in sorted(settings.extensions.get("marketplaces", {}).items()):
        source = text(table_in(entry), "source")
        if source is not None and table_in(entry).get("source_type") == "local":
            path = _list_in(os.path.expanduser(source))
            missing = f"marketplace `{name}` has no list of plugins in {source}"
            yield (path, None) if path is not None else (os.path.join(os.path.abspath(source), LISTS[0]), missing)
    for cwd in cwds:
        for folder in project_folders(cwd, settings.project_root_markers):
            if (path := _list_in(str(folder))) is not None:
                yield path, None


def _list_in(folder: str) -> str | None:
    return next((path for name in LISTS if os.path.isfile(path := os.path.join(folder, name))), None)


def _offer(root: str, entry: Table) -> Offer | None:
    name, source = text(entry, "name"), _source(root, entry.get("source"))
    if name is None or not _NAME.match(name) or source is None:
        return None
    policy = table_in(entry.get("policy"))
    install, authentication = text(policy, "installation"), text(policy, "authentication")
    return Offer(
        name,
        source,
        _INSTALL.get(install or "", "AVAILABLE"),
        "ON_USE" if authentication == "ON_USE" else "ON_INSTALL",
        text(entry, "category"),
    )


_INSTALL: Mapping[str, PluginInstallPolicy] = {
    "NOT_AVAILABLE": "NOT_AVAILABLE",
    "INSTALLED_BY_DEFAULT": "INSTALLED_BY_DEFAULT",
}


def _source(root: str, value: Any) -> PluginSource | None:
    table = {"source": "local", "path": value} if isinstance(value, str) else table_in(value)
    match table.get("source"):
        case "local":
            path = inside(root, table.get("path"))
            return None if path is None else LocalPluginSource(path=path)
        case "url" | "git-subdir" if url := text(table, "url"):
            folder = text(table, "path") if table["source"] == "git-subdir" else None
            return _git(url, table, folder)
        case "github" if repository := text(table, "repo"):
            return _git(repository, table, None)
        case "npm" if package := text(table, "package"):
            return NpmPluginSource(package=package, version=text(table, "version"), registry=text(table, "registry"))
        case _:
            return None


def _git(url: str, table: Table, path: str | None) -> GitPluginSource:
    if _GITHUB.match(url):
        url = f"https://github.com/{url}.git"
    return GitPluginSource(url=url, path=path, ref_name=text(table, "ref"), sha=text(table, "sha"))
