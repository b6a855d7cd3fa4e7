"""plugin/*: what marketplaces offer, what is installed, and what a plugin brings."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.v2.hooks import HookEventName
from protocol.v2.permissions import LegacyAppPathString
from protocol.v2.skills import SkillInterface
from protocol.wire import AbsolutePath, UInt32, Wire

PluginListMarketplaceKind = Literal[
    "local", "vertical", "workspace-directory", "shared-with-me", "created-by-me-remote"
]
"""Which marketplaces are meant: those on this machine, or those of OpenAI, which want an account."""


class PluginListParams(Wire):
    """Whose marketplaces to list: those of the user, and of the projects of `cwds`.

    Null kinds are all that need no account.
    """

    cwds: list[AbsolutePath] | None = None
    force_refetch: bool = False
    marketplace_kinds: list[PluginListMarketplaceKind] | None = None


class MarketplaceLoadErrorInfo(Wire):
    """Why a marketplace is not listed."""

    marketplace_path: AbsolutePath
    message: str


class MarketplaceInterface(Wire):
    """How a client may present a marketplace."""

    display_name: str | None = None


PluginAuthPolicy = Literal["ON_INSTALL", "ON_USE"]
"""When a plugin's apps are connected: as it is installed, or with its first use."""


PluginAvailability = Literal["DISABLED_BY_ADMIN", "AVAILABLE"]
"""Whether a plugin can be used at all."""


PluginDisabledReason = Literal["disabled_by_admin", "plan_not_eligible", "required_app_unavailable", "unknown"]
"""Why a plugin cannot be used."""


PluginInstallPolicy = Literal["NOT_AVAILABLE", "AVAILABLE", "INSTALLED_BY_DEFAULT"]
"""Whether a plugin can be installed, and whether that was done beforehand."""


PluginInstallPolicySource = Literal["WORKSPACE_SETTING", "IMPLICIT_CANONICAL_APP"]
"""Who decided about the installation."""


class PluginInterface(Wire):
    """How a client may present a plugin. Files are absolute paths; a null is something that the plugin does not say."""

    capabilities: list[str]
    screenshot_urls: list[str]
    screenshots: list[AbsolutePath]
    brand_color: str | None = None
    category: str | None = None
    composer_icon: AbsolutePath | None = None
    composer_icon_url: str | None = None
    default_prompt: list[str] | None = None
    developer_name: str | None = None
    display_name: str | None = None
    logo: AbsolutePath | None = None
    logo_dark: AbsolutePath | None = None
    logo_url: str | None = None
    logo_url_dark: str | None = None
    long_description: str | None = None
    privacy_policy_url: str | None = None
    short_description: str | None = None
    terms_of_service_url: str | None = None
    website_url: str | None = None


PluginShareDiscoverability = Literal["LISTED", "UNLISTED", "PRIVATE"]
"""Who finds a shared plugin: everybody in the workspace, who has the link, or who it is shared with."""


PluginSharePrincipalType = Literal["user", "group", "workspace"]
"""What a plugin is shared with."""


PluginSharePrincipalRole = Literal["reader", "editor", "owner"]
"""What somebody may do with a shared plugin."""


class PluginSharePrincipal(Wire):
    """Somebody a plugin is shared with."""

    name: str
    principal_id: str
    principal_type: PluginSharePrincipalType
    role: PluginSharePrincipalRole


class PluginShareContext(Wire):
    """How a plugin is shared."""

    remote_plugin_id: str
    can_publish_to_workspace: bool | None = None
    creator_account_user_id: str | None = None
    creator_name: str | None = None
    discoverability: PluginShareDiscoverability | None = None
    remote_version: str | None = None
    share_principals: list[PluginSharePrincipal] | None = None
    share_url: str | None = None


class LocalPluginSource(Wire):
    """A folder on this machine."""

    type: Literal["local"] = "local"
    path: AbsolutePath


class GitPluginSource(Wire):
    """A Git repository; `path` is a folder in it, `ref_name` and `sha` the state that is meant."""

    type: Literal["git"] = "git"
    url: str
    path: str | None = None
    ref_name: str | None = None
    sha: str | None = None


class NpmPluginSource(Wire):
    """A package of npm."""

    type: Literal["npm"] = "npm"
    package: str
    registry: str | None = None
    version: str | None = None


class RemotePluginSource(Wire):
    """OpenAI's catalogue."""

    type: Literal["remote"] = "remote"


PluginSource = Annotated[
    LocalPluginSource | GitPluginSource | NpmPluginSource | RemotePluginSource, Field(discriminator="type")
]
"""Where a plugin is installed from."""


class PluginSummary(Wire):
    """A plugin. `id` is `name@marketplace`; `local_version` is what the folder that it comes from says, null where it
    comes from elsewhere. `installed_at` is in Unix seconds. A plugin can be switched on in the configuration without
    being installed.
    """

    auth_policy: PluginAuthPolicy
    enabled: bool
    id: str
    install_policy: PluginInstallPolicy
    installed: bool
    name: str
    source: PluginSource
    availability: PluginAvailability = "AVAILABLE"
    disabled_reason: PluginDisabledReason | None = None
    eligible_plan_types: list[str] | None = None
    install_policy_source: PluginInstallPolicySource | None = None
    installed_at: int | None = None
    interface: PluginInterface | None = None
    keywords: list[str] = []
    local_version: str | None = None
    must_show_installation_interstitial: bool | None = None
    remote_plugin_id: str | None = None
    share_context: PluginShareContext | None = None
    version: str | None = None


class PluginMarketplaceEntry(Wire):
    """A marketplace with its plugins; `path` is its file, null for one that is no file."""

    name: str
    plugins: list[PluginSummary]
    interface: MarketplaceInterface | None = None
    path: AbsolutePath | None = None


class PluginListResponse(Wire):
    """The marketplaces that could be read, and what is wrong with the others."""

    marketplaces: list[PluginMarketplaceEntry]
    featured_plugin_ids: list[str] = []
    marketplace_load_errors: list[MarketplaceLoadErrorInfo] = []


PLUGIN_LIST = ClientRequest("plugin/list", PluginListParams, PluginListResponse, access="read")


PluginSearchScope = Literal["global", "workspace", "personal"]
"""Where to search in OpenAI's catalogue."""


class PluginSearchParams(Wire):
    """Search names, titles and keywords, whatever the case. `limit` is the most that a page holds, null for all."""

    search_term: str
    cursor: str | None = None
    cwds: list[AbsolutePath] | None = None
    limit: UInt32 | None = None
    scope: PluginSearchScope | None = None


class PluginSearchResult(Wire):
    """A plugin that was found, and where."""

    marketplace_name: str
    plugin: PluginSummary
    marketplace_path: AbsolutePath | None = None


class PluginSearchResponse(Wire):
    """A page; `next_cursor` is null on the last one."""

    data: list[PluginSearchResult]
    next_cursor: str | None = None


PLUGIN_SEARCH = ClientRequest(
    "plugin/search",
    PluginSearchParams,
    PluginSearchResponse,
    experimental="plugin/search",
    access="read",
)


class PluginInstalledParams(Wire):
    """As for `plugin/list`; plugins named in `install_suggestion_plugin_names` are listed too."""

    cwds: list[AbsolutePath] | None = None
    install_suggestion_plugin_names: list[str] | None = None


class PluginInstalledResponse(Wire):
    """The marketplaces of installed plugins, with only those."""

    marketplaces: list[PluginMarketplaceEntry]
    marketplace_load_errors: list[MarketplaceLoadErrorInfo] = []


PLUGIN_INSTALLED = ClientRequest("plugin/installed", PluginInstalledParams, PluginInstalledResponse, access="read")


class PluginReconcileParams(Wire):
    """Bring what is installed from OpenAI's catalogue up to date; `reason` is for the record."""

    reason: str | None = None


class PluginReconcileChangedPlugin(Wire):
    """A plugin that was changed, and what it brings."""

    has_apps: bool
    has_hooks: bool
    has_mcps: bool
    has_skills: bool
    id: str


class PluginReconcileResponse(Wire):
    """What was changed and what could not be."""

    changed_plugins: list[PluginReconcileChangedPlugin]
    failed_materialization_remote_plugin_ids: list[str]
    failed_remote_plugin_ids: list[str]


PLUGIN_RECONCILE = ClientRequest(
    "plugin/reconcile", PluginReconcileParams, PluginReconcileResponse, availability="account"
)


class PluginReadParams(Wire):
    """A plugin of a marketplace file or of a remote marketplace: just one of them."""

    plugin_name: str
    marketplace_path: AbsolutePath | None = None
    remote_marketplace_name: str | None = None


AppTemplateUnavailableReason = Literal["NOT_CONFIGURED_FOR_WORKSPACE", "NO_ACTIVE_WORKSPACE"]
"""Why a template is not available."""


class AppTemplateSummary(Wire):
    """A kind of app that a plugin works with, and the apps that were made of it."""

    materialized_app_ids: list[str]
    name: str
    template_id: str
    canonical_connector_id: str | None = None
    category: str | None = None
    description: str | None = None
    logo_url: str | None = None
    logo_url_dark: str | None = None
    reason: AppTemplateUnavailableReason | None = None


class AppSummary(Wire):
    """An app that a plugin works with."""

    id: str
    name: str
    category: str | None = None
    description: str | None = None
    install_url: str | None = None


class PluginHookSummary(Wire):
    """A hook that a plugin brings; `key` as in `hooks/list`."""

    event_name: HookEventName
    key: str


class SkillSummary(Wire):
    """A skill that a plugin brings; `path` is its SKILL.md."""

    description: str
    enabled: bool
    name: str
    interface: SkillInterface | None = None
    path: LegacyAppPathString | None = None
    short_description: str | None = None


ScheduledTaskWeekday = Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
"""A day of the week."""


class HourlyScheduledTaskSchedule(Wire):
    """Every so many hours, on all days if `days` is null."""

    type: Literal["hourly"] = "hourly"
    interval_hours: UInt32
    days: list[ScheduledTaskWeekday] | None = None


class DailyScheduledTaskSchedule(Wire):
    """Every day at a time, as `HH:MM`."""

    type: Literal["daily"] = "daily"
    time: str


class WeekdaysScheduledTaskSchedule(Wire):
    """From Monday to Friday at a time, as `HH:MM`."""

    type: Literal["weekdays"] = "weekdays"
    time: str


class WeeklyScheduledTaskSchedule(Wire):
    """On some days of the week at a time, as `HH:MM`."""

    type: Literal["weekly"] = "weekly"
    days: list[ScheduledTaskWeekday]
    time: str


ScheduledTaskSchedule = Annotated[
    HourlyScheduledTaskSchedule
    | DailyScheduledTaskSchedule
    | WeekdaysScheduledTaskSchedule
    | WeeklyScheduledTaskSchedule,
    Field(discriminator="type"),
]
"""When a task is due."""


class ScheduledTaskSummary(Wire):
    """Something that a plugin would do from time to time."""

    key: str
    name: str
    prompt: str
    schedule: ScheduledTaskSchedule


class PluginDetail(Wire):
    """A plugin in full. For one that is installed from elsewhere, what it brings is known after that."""

    app_templates: list[AppTemplateSummary]
    apps: list[AppSummary]
    hooks: list[PluginHookSummary]
    marketplace_name: str
    mcp_servers: list[str]
    skills: list[SkillSummary]
    summary: PluginSummary
    description: str | None = None
    marketplace_path: AbsolutePath | None = None
    onboarding_skill: SkillSummary | None = None
    scheduled_tasks: list[ScheduledTaskSummary] | None = None
    share_url: str | None = None


class PluginReadResponse(Wire):
    """The plugin."""

    plugin: PluginDetail


PLUGIN_READ = ClientRequest("plugin/read", PluginReadParams, PluginReadResponse, access="read")


class PluginSkillReadParams(Wire):
    """A skill of a plugin in OpenAI's catalogue."""

    remote_marketplace_name: str
    remote_plugin_id: str
    skill_name: str


class PluginSkillReadResponse(Wire):
    """The SKILL.md, null if there is none."""

    contents: str | None = None


PLUGIN_SKILL_READ = ClientRequest(
    "plugin/skill/read", PluginSkillReadParams, PluginSkillReadResponse, access="read", availability="account"
)


class PluginInstallParams(Wire):
    """A plugin of a marketplace file or of a remote marketplace: just one of them."""

    plugin_name: str
    install_attempt_id: str | None = None
    marketplace_path: AbsolutePath | None = None
    remote_marketplace_name: str | None = None


class PluginInstallResponse(Wire):
    """The plugin is installed; these apps have to be connected."""

    apps_needing_auth: list[AppSummary]
    auth_policy: PluginAuthPolicy


PLUGIN_INSTALL = ClientRequest("plugin/install", PluginInstallParams, PluginInstallResponse, availability="later")


class PluginUninstallParams(Wire):
    """An installed plugin, by `name@marketplace`."""

    plugin_id: str


class PluginUninstallResponse(Wire):
    """The plugin is gone."""


PLUGIN_UNINSTALL = ClientRequest(
    "plugin/uninstall", PluginUninstallParams, PluginUninstallResponse, availability="later"
)
