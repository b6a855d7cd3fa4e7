"""plugin"""

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


class PluginListParams(Wire):
    cwds: list[AbsolutePath] | None = None
    force_refetch: bool = False
    marketplace_kinds: list[PluginListMarketplaceKind] | None = None


class MarketplaceLoadErrorInfo(Wire):
    marketplace_path: AbsolutePath
    message: str


class MarketplaceInterface(Wire):
    display_name: str | None = None


PluginAuthPolicy = Literal["ON_INSTALL", "ON_USE"]


PluginAvailability = Literal["DISABLED_BY_ADMIN", "AVAILABLE"]


PluginDisabledReason = Literal["disabled_by_admin", "plan_not_eligible", "required_app_unavailable", "unknown"]


PluginInstallPolicy = Literal["NOT_AVAILABLE", "AVAILABLE", "INSTALLED_BY_DEFAULT"]


PluginInstallPolicySource = Literal["WORKSPACE_SETTING", "IMPLICIT_CANONICAL_APP"]


class PluginInterface(Wire):
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


PluginSharePrincipalType = Literal["user", "group", "workspace"]


PluginSharePrincipalRole = Literal["reader", "editor", "owner"]


class PluginSharePrincipal(Wire):
    name: str
    principal_id: str
    principal_type: PluginSharePrincipalType
    role: PluginSharePrincipalRole


class PluginShareContext(Wire):
    remote_plugin_id: str
    can_publish_to_workspace: bool | None = None
    creator_account_user_id: str | None = None
    creator_name: str | None = None
    discoverability: PluginShareDiscoverability | None = None
    remote_version: str | None = None
    share_principals: list[PluginSharePrincipal] | None = None
    share_url: str | None = None


class LocalPluginSource(Wire):
    type: Literal["local"] = "local"
    path: AbsolutePath


class GitPluginSource(Wire):
    type: Literal["git"] = "git"
    url: str
    path: str | None = None
    ref_name: str | None = None
    sha: str | None = None


class NpmPluginSource(Wire):
    type: Literal["npm"] = "npm"
    package: str
    registry: str | None = None
    version: str | None = None


class RemotePluginSource(Wire):
    type: Literal["remote"] = "remote"


PluginSource = Annotated[
    LocalPluginSource | GitPluginSource | NpmPluginSource | RemotePluginSource, Field(discriminator="type")
]


class PluginSummary(Wire):
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
    name: str
    plugins: list[PluginSummary]
    interface: MarketplaceInterface | None = None
    path: AbsolutePath | None = None


class PluginListResponse(Wire):
    marketplaces: list[PluginMarketplaceEntry]
    featured_plugin_ids: list[str] = []
    marketplace_load_errors: list[MarketplaceLoadErrorInfo] = []


PLUGIN_LIST = ClientRequest("plugin/list", PluginListParams, PluginListResponse, access="read")


PluginSearchScope = Literal["global", "workspace", "personal"]


class PluginSearchParams(Wire):
    search_term: str
    cursor: str | None = None
    cwds: list[AbsolutePath] | None = None
    limit: UInt32 | None = None
    scope: PluginSearchScope | None = None


class PluginSearchResult(Wire):
    marketplace_name: str
    plugin: PluginSummary
    marketplace_path: AbsolutePath | None = None


class PluginSearchResponse(Wire):
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
    cwds: list[AbsolutePath] | None = None
    install_suggestion_plugin_names: list[str] | None = None


class PluginInstalledResponse(Wire):
    marketplaces: list[PluginMarketplaceEntry]
    marketplace_load_errors: list[MarketplaceLoadErrorInfo] = []


PLUGIN_INSTALLED = ClientRequest("plugin/installed", PluginInstalledParams, PluginInstalledResponse, access="read")


class PluginReconcileParams(Wire):
    reason: str | None = None


class PluginReconcileChangedPlugin(Wire):
    has_apps: bool
    has_hooks: bool
    has_mcps: bool
    has_skills: bool
    id: str


class PluginReconcileResponse(Wire):
    changed_plugins: list[PluginReconcileChangedPlugin]
    failed_materialization_remote_plugin_ids: list[str]
    failed_remote_plugin_ids: list[str]


PLUGIN_RECONCILE = ClientRequest(
    "plugin/reconcile", PluginReconcileParams, PluginReconcileResponse, availability="account"
)


class PluginReadParams(Wire):
    plugin_name: str
    marketplace_path: AbsolutePath | None = None
    remote_marketplace_name: str | None = None


AppTemplateUnavailableReason = Literal["NOT_CONFIGURED_FOR_WORKSPACE", "NO_ACTIVE_WORKSPACE"]


class AppTemplateSummary(Wire):
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
    id: str
    name: str
    category: str | None = None
    description: str | None = None
    install_url: str | None = None


class PluginHookSummary(Wire):
    event_name: HookEventName
    key: str


class SkillSummary(Wire):
    description: str
    enabled: bool
    name: str
    interface: SkillInterface | None = None
    path: LegacyAppPathString | None = None
    short_description: str | None = None


ScheduledTaskWeekday = Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


class HourlyScheduledTaskSchedule(Wire):
    type: Literal["hourly"] = "hourly"
    interval_hours: UInt32
    days: list[ScheduledTaskWeekday] | None = None


class DailyScheduledTaskSchedule(Wire):
    type: Literal["daily"] = "daily"
    time: str


class WeekdaysScheduledTaskSchedule(Wire):
    type: Literal["weekdays"] = "weekdays"
    time: str


class WeeklyScheduledTaskSchedule(Wire):
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


class ScheduledTaskSummary(Wire):
    key: str
    name: str
    prompt: str
    schedule: ScheduledTaskSchedule


class PluginDetail(Wire):
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
    plugin: PluginDetail


PLUGIN_READ = ClientRequest("plugin/read", PluginReadParams, PluginReadResponse, access="read")


class PluginSkillReadParams(Wire):
    remote_marketplace_name: str
    remote_plugin_id: str
    skill_name: str


class PluginSkillReadResponse(Wire):
    contents: str | None = None


PLUGIN_SKILL_READ = ClientRequest(
    "plugin/skill/read", PluginSkillReadParams, PluginSkillReadResponse, access="read", availability="account"
)


class PluginInstallParams(Wire):
    plugin_name: str
    install_attempt_id: str | None = None
    marketplace_path: AbsolutePath | None = None
    remote_marketplace_name: str | None = None


class PluginInstallResponse(Wire):
    apps_needing_auth: list[AppSummary]
    auth_policy: PluginAuthPolicy


PLUGIN_INSTALL = ClientRequest("plugin/install", PluginInstallParams, PluginInstallResponse, availability="later")


class PluginUninstallParams(Wire):
    plugin_id: str


class PluginUninstallResponse(Wire): ...


PLUGIN_UNINSTALL = ClientRequest(
    "plugin/uninstall", PluginUninstallParams, PluginUninstallResponse, availability="later"
)
