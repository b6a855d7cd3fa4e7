"""app/*: apps that are connected in a ChatGPT account. Without one there are none."""

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import UInt32, Wire


class AppsReadParams(Wire):
    """Apps by their ids; `thread_id` is the thread in which they are used."""

    app_ids: list[str]
    include_tools: bool = False
    thread_id: str | None = None


class AppToolSummary(Wire):
    """A tool of an app; `disabled_reason` is null for one that can be used."""

    description: str
    name: str
    disabled_reason: str | None = None
    is_enabled: bool = True
    is_read_only: bool = False
    title: str | None = None


class ConnectorMetadata(Wire):
    """What is known of an app; `tool_summaries` is null unless tools were asked for."""

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
    """The apps that exist, and the ids of those that do not."""

    apps: list[ConnectorMetadata]
    missing_app_ids: list[str]


APP_READ = ClientRequest("app/read", AppsReadParams, AppsReadResponse, access="read", availability="account")


class AppsListParams(Wire):
    """A page of the apps that there are; `force_refetch` asks OpenAI again."""

    cursor: str | None = None
    force_refetch: bool = False
    limit: UInt32 | None = None
    thread_id: str | None = None


class AppReview(Wire):
    """How far OpenAI has examined an app."""

    status: str


class AppScreenshot(Wire):
    """A picture of an app at work, and what its user had said."""

    user_prompt: str
    file_id: str | None = None
    url: str | None = None


class AppMetadata(Wire):
    """What the directory of apps says of an app."""

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
    """Who offers an app."""

    is_discoverable_app: bool
    category: str | None = None
    developer: str | None = None
    privacy_policy: str | None = None
    terms_of_service: str | None = None
    website: str | None = None


class AppInfo(Wire):
    """An app. `is_accessible` says that it is connected, `is_enabled` that it is switched on in the configuration."""

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
    """A page; `next_cursor` is null on the last one."""

    data: list[AppInfo]
    next_cursor: str | None = None


APP_LIST = ClientRequest("app/list", AppsListParams, AppsListResponse, access="read", availability="account")


class AppsInstalledParams(Wire):
    """The apps that the model can use, in a thread if one is named."""

    force_refresh: bool = False
    thread_id: str | None = None


class InstalledApp(Wire):
    """An app that is connected; `callable` says that its tools can be called now."""

    callable: bool
    enabled: bool
    id: str
    runtime_name: str | None = None


class AppsInstalledResponse(Wire):
    """The connected apps."""

    apps: list[InstalledApp]


APP_INSTALLED = ClientRequest(
    "app/installed", AppsInstalledParams, AppsInstalledResponse, access="read", availability="account"
)


class AppListUpdatedNotification(Wire):
    """The apps are others now."""

    data: list[AppInfo]


APP_LIST_UPDATED = ServerNotification("app/list/updated", AppListUpdatedNotification)
