"""app"""

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import UInt32, Wire


class AppsReadParams(Wire):
    app_ids: list[str]
    include_tools: bool = False
    thread_id: str | None = None


class AppToolSummary(Wire):
    description: str
    name: str
    disabled_reason: str | None = None
    is_enabled: bool = True
    is_read_only: bool = False
    title: str | None = None


class ConnectorMetadata(Wire):
    id: str
    name: str
    description: str | None = None
    distribution_channel: str | None = None
    icon_url: str | None = None
    icon_url_dark: str | None = None
    install_url: str | None = None
    plugin_display_names: list[str] = []
    tool_summaries: list[AppToolSummary] | None = None


class AppsReadResponse(Wire):
    apps: list[ConnectorMetadata]
    missing_app_ids: list[str]


APP_READ = ClientRequest("app/read", AppsReadParams, AppsReadResponse, access="read", availability="account")


class AppsListParams(Wire):
    cursor: str | None = None
    force_refetch: bool = False
    limit: UInt32 | None = None
    thread_id: str | None = None


class AppReview(Wire):
    status: str


class AppScreenshot(Wire):
    user_prompt: str
    file_id: str | None = None
    url: str | None = None


class AppMetadata(Wire):
    categories: list[str] | None = None
    developer: str | None = None
    first_party_requires_install: bool | None = None
    review: AppReview | None = None
    screenshots: list[AppScreenshot] | None = None
    seo_description: str | None = None
    show_in_composer_when_unlinked: bool | None = None
    sub_categories: list[str] | None = None
    version: str | None = None
    version_id: str | None = None
    version_notes: str | None = None


class AppBranding(Wire):
    is_discoverable_app: bool
    category: str | None = None
    developer: str | None = None
    privacy_policy: str | None = None
    terms_of_service: str | None = None
    website: str | None = None


class AppInfo(Wire):
    id: str
    name: str
    app_metadata: AppMetadata | None = None
    branding: AppBranding | None = None
    description: str | None = None
    distribution_channel: str | None = None
    icon_assets: dict[str, str] | None = None
    icon_dark_assets: dict[str, str] | None = None
    install_url: str | None = None
    is_accessible: bool = False
    is_enabled: bool = True
    labels: dict[str, str] | None = None
    logo_url: str | None = None
    logo_url_dark: str | None = None
    plugin_display_names: list[str] = []


class AppsListResponse(Wire):
    data: list[AppInfo]
    next_cursor: str | None = None


APP_LIST = ClientRequest("app/list", AppsListParams, AppsListResponse, access="read", availability="account")


class AppsInstalledParams(Wire):
    force_refresh: bool = False
    thread_id: str | None = None


class InstalledApp(Wire):
    callable: bool
    enabled: bool
    id: str
    runtime_name: str | None = None


class AppsInstalledResponse(Wire):
    apps: list[InstalledApp]


APP_INSTALLED = ClientRequest(
    "app/installed", AppsInstalledParams, AppsInstalledResponse, access="read", availability="account"
)


class AppListUpdatedNotification(Wire):
    data: list[AppInfo]


APP_LIST_UPDATED = ServerNotification("app/list/updated", AppListUpdatedNotification)
