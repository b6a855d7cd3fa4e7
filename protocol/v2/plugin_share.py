"""plugin/share/*: plugins shared in a ChatGPT workspace. All of it wants an account."""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.v2.plugin import PluginShareDiscoverability, PluginSharePrincipal, PluginSharePrincipalType, PluginSummary
from protocol.wire import AbsolutePath, Wire

PluginShareTargetRole = Literal["reader", "editor"]
"""What somebody may be allowed to do with a shared plugin."""


class PluginShareTarget(Wire):
    """Somebody to share a plugin with."""

    principal_id: str
    principal_type: PluginSharePrincipalType
    role: PluginShareTargetRole


class PluginShareSaveParams(Wire):
    """Share the plugin in a folder, or with `remote_plugin_id` a new version of it. Nulls leave things as they are."""

    plugin_path: AbsolutePath
    discoverability: PluginShareDiscoverability | None = None
    remote_plugin_id: str | None = None
    share_targets: list[PluginShareTarget] | None = None


class PluginShareSaveResponse(Wire):
    """The plugin is shared."""

    remote_plugin_id: str
    share_url: str
    can_publish_to_workspace: bool | None = None


PLUGIN_SHARE_SAVE = ClientRequest(
    "plugin/share/save", PluginShareSaveParams, PluginShareSaveResponse, availability="account"
)


PluginShareUpdateDiscoverability = Literal["UNLISTED", "PRIVATE", "LISTED"]
"""Who is to find a shared plugin."""


class PluginShareUpdateTargetsParams(Wire):
    """Share a plugin with these, in place of those before."""

    discoverability: PluginShareUpdateDiscoverability
    remote_plugin_id: str
    share_targets: list[PluginShareTarget]


class PluginShareUpdateTargetsResponse(Wire):
    """Whom it is shared with now."""

    discoverability: PluginShareDiscoverability
    principals: list[PluginSharePrincipal]


PLUGIN_SHARE_UPDATE_TARGETS = ClientRequest(
    "plugin/share/updateTargets",
    PluginShareUpdateTargetsParams,
    PluginShareUpdateTargetsResponse,
    availability="account",
)


class PluginShareListParams(Wire):
    """All plugins that the user shares."""


class PluginShareListItem(Wire):
    """A shared plugin; `local_plugin_path` is the folder that it is kept in here, if it is."""

    plugin: PluginSummary
    local_plugin_path: AbsolutePath | None = None


class PluginShareListResponse(Wire):
    """The shared plugins."""

    data: list[PluginShareListItem]


PLUGIN_SHARE_LIST = ClientRequest(
    "plugin/share/list", PluginShareListParams, PluginShareListResponse, access="read", availability="account"
)


class PluginShareCheckoutParams(Wire):
    """Bring a shared plugin to this machine, to work on it."""

    remote_plugin_id: str


class PluginShareCheckoutResponse(Wire):
    """Where the plugin is now."""

    marketplace_name: str
    marketplace_path: AbsolutePath
    plugin_id: str
    plugin_name: str
    plugin_path: AbsolutePath
    remote_plugin_id: str
    remote_version: str | None = None


PLUGIN_SHARE_CHECKOUT = ClientRequest(
    "plugin/share/checkout", PluginShareCheckoutParams, PluginShareCheckoutResponse, availability="account"
)


class PluginShareDeleteParams(Wire):
    """Share a plugin no more."""

    remote_plugin_id: str


class PluginShareDeleteResponse(Wire):
    """It is shared no more."""


PLUGIN_SHARE_DELETE = ClientRequest(
    "plugin/share/delete", PluginShareDeleteParams, PluginShareDeleteResponse, availability="account"
)
