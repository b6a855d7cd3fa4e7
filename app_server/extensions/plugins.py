"""Plugins: which are offered, which are installed, and what is in them."""

import os
from collections.abc import Iterable, Sequence

from msgspec import Struct

from app_server.config.settings import Settings
from app_server.extensions.hooks import hook_summaries
from app_server.extensions.loose import table_in
from app_server.extensions.manifests import Manifest, PluginError, read_manifest
from app_server.extensions.marketplaces import Marketplace, Offer, find_marketplaces, read_marketplace
from app_server.extensions.skill_folders import SkillRoot, look_through
from app_server.extensions.skills import Skill, SkillError, read_skill
from protocol.v2.plugin import (
    GitPluginSource,
    LocalPluginSource,
    MarketplaceInterface,
    MarketplaceLoadErrorInfo,
    NpmPluginSource,
    PluginDetail,
    PluginMarketplaceEntry,
    PluginSearchResult,
    PluginSource,
    PluginSummary,
    SkillSummary,
)

INSTALLED = os.path.join("plugins", "cache")
"""In $CODEX_HOME: the installed plugins, as MARKETPLACE/PLUGIN/VERSION."""


class InstalledPlugin(Struct, frozen=True):
    """A plugin that is there and configured. Its id is `plugin@marketplace`."""

    id: str
    root: str
    is_enabled: bool


def installed_plugins(settings: Settings) -> list[InstalledPlugin]:
    """The plugins that `[plugins."NAME@MARKETPLACE"]` names and that are in $CODEX_HOME, by id. Blocks on files."""
    found: list[InstalledPlugin] = []
    for plugin_id, entry in sorted(settings.extensions.get("plugins", {}).items()):
        name, _, marketplace = plugin_id.rpartition("@")
        if not name or not marketplace or os.sep in plugin_id:
            continue
        folder = settings.codex_home / INSTALLED / marketplace / name
        try:
            versions = sorted((state.name for state in os.scandir(folder) if state.is_dir()), key=_by_version)
        except OSError:
            continue
        if versions:
            is_enabled = table_in(entry).get("enabled") is not False
            found.append(InstalledPlugin(plugin_id, str(folder / versions[-1]), is_enabled))
    return found


def active_manifests(settings: Settings) -> list[tuple[InstalledPlugin, Manifest]]:
    """The installed plugins that are switched on and can be read. Blocks on files."""
    found: list[tuple[InstalledPlugin, Manifest]] = []
    for plugin in installed_plugins(settings):
        if plugin.is_enabled:
            try:
                found.append((plugin, read_manifest(plugin.root)))
            except PluginError:
                continue
    return found


def skill_roots_of_plugins(settings: Settings) -> list[SkillRoot]:
    """The folders of skills of the plugins that are switched on. Blocks on files."""
    if not settings.extensions.get("plugins"):
        return []
    return [
        SkillRoot(folder, "user", plugin.id)
        for plugin, manifest in active_manifests(settings)
        for folder in manifest.skills
    ]


def list_plugins(
    settings: Settings, cwds: Sequence[str]
) -> tuple[list[PluginMarketplaceEntry], list[MarketplaceLoadErrorInfo]]:
    """What all marketplaces offer, and what is wrong with some. Blocks on files."""
    marketplaces, errors = find_marketplaces(settings, cwds)
    installed = {plugin.id: plugin for plugin in installed_plugins(settings)}
    return [_entry(settings, marketplace, installed) for marketplace in marketplaces], errors


def only_installed(
    marketplaces: Iterable[PluginMarketplaceEntry], suggestions: Iterable[str]
) -> list[PluginMarketplaceEntry]:
    """The marketplaces with just the plugins that are installed or that are named in `suggestions`."""
    named = set(suggestions)
    left = (
        entry.model_copy(update={"plugins": [one for one in entry.plugins if one.installed or one.name in named]})
        for entry in marketplaces
    )
    return [entry for entry in left if entry.plugins]


def search(marketplaces: Iterable[PluginMarketplaceEntry], term: str) -> list[PluginSearchResult]:
    """The plugins in whose names, words or titles `term` is, whatever the case; none for an empty term."""
    wanted = term.strip().casefold()
    return [
        PluginSearchResult(marketplace_name=entry.name, marketplace_path=entry.path, plugin=plugin)
        for entry in marketplaces
        for plugin in entry.plugins
        if wanted and any(wanted in text.casefold() for text in _words(plugin))
    ]


def read_plugin(settings: Settings, marketplace_path: str, name: str) -> PluginDetail:
    """A plugin of a marketplace in full. Raises PluginError. Blocks on files."""
    marketplace = read_marketplace(marketplace_path)
    offer = marketplace.offer(name)
    installed = {plugin.id: plugin for plugin in installed_plugins(settings)}
    manifest = read_manifest(offer.source.path) if isinstance(offer.source, LocalPluginSource) else None
    summary = _summary(settings, marketplace, offer, installed, manifest)
    described = _elsewhere(offer.source) if manifest is None else manifest.description
    return PluginDetail(
        marketplace_name=marketplace.name,
        marketplace_path=marketplace.path,
        summary=summary,
        description=described,
        skills=[] if manifest is None else _skills(summary.id, manifest),
        hooks=[] if manifest is None else hook_summaries(summary.id, manifest),
        mcp_servers=[] if manifest is None else sorted(manifest.mcp_servers),
        apps=[],
        app_templates=[],
    )


def _entry(
    settings: Settings, marketplace: Marketplace, installed: dict[str, InstalledPlugin]
) -> PluginMarketplaceEntry:
    summaries: list[PluginSummary] = []
    for offer in marketplace.offers:
        manifest = None
        if isinstance(offer.source, LocalPluginSource):
            try:
                manifest = read_manifest(offer.source.path)
            except PluginError:
                manifest = None
        summaries.append(_summary(settings, marketplace, offer, installed, manifest))
    shown = None if marketplace.display_name is None else MarketplaceInterface(display_name=marketplace.display_name)
    return PluginMarketplaceEntry(name=marketplace.name, path=marketplace.path, interface=shown, plugins=summaries)


def _summary(
    settings: Settings,
    marketplace: Marketplace,
    offer: Offer,
    installed: dict[str, InstalledPlugin],
    manifest: Manifest | None,
) -> PluginSummary:
    plugin_id = f"{offer.name}@{marketplace.name}"
    entry = settings.extensions.get("plugins", {}).get(plugin_id)
    interface = None if manifest is None else manifest.interface
    if interface is not None and offer.category is not None:
        interface = interface.model_copy(update={"category": offer.category})
    return PluginSummary(
        id=plugin_id,
        name=offer.name,
        source=offer.source,
        local_version=None if manifest is None else manifest.version,
        installed=plugin_id in installed,
        enabled=entry is not None and table_in(entry).get("enabled") is not False,
        install_policy=offer.install_policy,
        auth_policy=offer.auth_policy,
        interface=interface,
        keywords=[] if manifest is None else list(manifest.keywords),
    )


def _skills(plugin_id: str, manifest: Manifest) -> list[SkillSummary]:
    found: list[Skill] = []
    for folder in manifest.skills:
        for path in look_through(folder).skills:
            try:
                found.append(read_skill(path, folder, "user", plugin_id))
            except SkillError:
                continue
    return [
        SkillSummary(
            name=skill.name,
            description=skill.description,
            short_description=skill.short_description,
            interface=skill.interface,
            path=skill.path,
            enabled=True,
        )
        for skill in sorted(found, key=lambda skill: skill.name)
    ]


def _elsewhere(source: PluginSource) -> str:
    match source:
        case GitPluginSource():
            at = "".join(
                f", {what} `{value}`"
                for what, value in (("path", source.path), ("ref", source.ref_name), ("commit", source.sha))
                if value
            )
            return (
                f"This plugin comes from another repository, and more is known once it is installed: {source.url}{at}."
            )
        case NpmPluginSource():
            version = f"@{source.version}" if source.version else ""
            return f"This plugin comes from npm, and more is known once it is installed: {source.package}{version}."
        case _:
            return ""


def _words(plugin: PluginSummary) -> Iterable[str]:
    yield plugin.name
    yield from plugin.keywords
    if plugin.interface is not None:
        shown = plugin.interface
        yield from (text for text in (shown.display_name, shown.short_description, shown.category) if text)


def _by_version(name: str) -> tuple[bool, tuple[tuple[bool, int, str], ...]]:
    parts = ((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split("."))
    return name == "local", tuple(parts)
