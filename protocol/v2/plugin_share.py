"""plugin_share"""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.v2.plugin import PluginShareDiscoverability, PluginSharePrincipal, PluginSharePrincipalType, PluginSummary
from protocol.wire import AbsolutePath, Wire

PluginShareTargetRole = Literal["reader", "editor"]


class PluginShareTarget(Wire):
    principal_id: str
    principal_type: PluginSharePrincipalType
    role: PluginShareTargetRole


class PluginShareSaveParams(Wire):
    plugin_path: AbsolutePath
    discoverability: PluginShareDiscoverability | None = None
    remote_plugin_id: str | None = None
    share_targets: list[PluginShareTarget] | None = None


class PluginShareSaveResponse(Wire):
    remote_plugin_id: str
    share_url: str
    can_publish_to_workspace: bool | None = None


PLUGIN_SHARE_SAVE = ClientRequest(
    "plugin/share/save", PluginShareSaveParams, PluginShareSaveResponse, availability="account"
)


PluginShareUpdateDiscoverability = Literal["UNLISTED", "PRIVATE", "LISTED"]


class PluginShareUpdateTargetsParams(Wire):
    discoverability: PluginShareUpdateDiscoverability
    remote_plugin_id: str
    share_targets: list[PluginShareTarget]


class PluginShareUpdateTargetsResponse(Wire):
    discoverability: PluginShareDiscoverability
    principals: list[PluginSharePrincipal]


PLUGIN_SHARE_UPDATE_TARGETS = ClientRequest(
    "plugin/share/updateTargets",
    PluginShareUpdateTargetsParams,
    PluginShareUpdateTargetsResponse,
    availability="account",
)


class PluginShareListParams(Wire): ...


class PluginShareListItem(Wire):
    plugin: PluginSummary
    local_plugin_path: AbsolutePath | None = None


class PluginShareListResponse(Wire):
    data: list[PluginShareListItem]


PLUGIN_SHARE_LIST = ClientRequest(
    "plugin/share/list", PluginShareListParams, PluginShareListResponse, access="read", availability="account"
)


class PluginShareCheckoutParams(Wire):
    remote_plugin_id: str


class PluginShareCheckoutResponse(Wire):
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
    remote_plugin_id: str


class PluginShareDeleteResponse(Wire): ...


PLUGIN_SHARE_DELETE = ClientRequest(
    "plugin/share/delete", PluginShareDeleteParams, PluginShareDeleteResponse, availability="account"
)
