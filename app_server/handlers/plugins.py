"""plugin/*: what marketplaces on this machine offer and what is installed. The catalogues of OpenAI want an account."""

from anyio import to_thread

from app_server.extensions.manifests import PluginError
from app_server.extensions.plugins import list_plugins, only_installed, read_plugin, search
from app_server.handlers.context import RequestContext
from app_server.handlers.paging import counted_page
from app_server.handlers.registry import handles
from protocol.jsonrpc import invalid_request
from protocol.v2 import plugin as wire
from protocol.v2 import plugin_share as share

REMOTE_KINDS = ("workspace-directory", "shared-with-me", "created-by-me-remote")


@handles(wire.PLUGIN_LIST)
async def list_all(ctx: RequestContext, params: wire.PluginListParams) -> wire.PluginListResponse:
    kinds = params.marketplace_kinds
    if kinds and any(kind in REMOTE_KINDS for kind in kinds):
        raise await ctx.account.needs_catalogue("list remote plugin catalog")
    if kinds and "local" not in kinds:
        return wire.PluginListResponse(marketplaces=[])
    marketplaces, errors = await to_thread.run_sync(list_plugins, ctx.settings, params.cwds or ())
    return wire.PluginListResponse(marketplaces=marketplaces, marketplace_load_errors=errors)


@handles(wire.PLUGIN_INSTALLED)
async def installed(ctx: RequestContext, params: wire.PluginInstalledParams) -> wire.PluginInstalledResponse:
    marketplaces, errors = await to_thread.run_sync(list_plugins, ctx.settings, params.cwds or ())
    shown = only_installed(marketplaces, params.install_suggestion_plugin_names or ())
    return wire.PluginInstalledResponse(marketplaces=shown, marketplace_load_errors=errors)


@handles(wire.PLUGIN_SEARCH)
async def find(ctx: RequestContext, params: wire.PluginSearchParams) -> wire.PluginSearchResponse:
    """In local marketplaces, whatever the scope: without an account there are no others."""
    marketplaces, _ = await to_thread.run_sync(list_plugins, ctx.settings, params.cwds or ())
    found = search(marketplaces, params.search_term)
    page, cursor = counted_page(found, params.cursor, params.limit, "plugins")
    return wire.PluginSearchResponse(data=page, next_cursor=cursor)


@handles(wire.PLUGIN_READ)
async def read(ctx: RequestContext, params: wire.PluginReadParams) -> wire.PluginReadResponse:
    if (params.marketplace_path is None) == (params.remote_marketplace_name is None):
        raise invalid_request("plugin/read requires exactly one of marketplacePath or remoteMarketplaceName")
    if params.marketplace_path is None:
        raise await ctx.account.needs_catalogue("read remote plugin details")
    try:
        plugin = await to_thread.run_sync(read_plugin, ctx.settings, params.marketplace_path, params.plugin_name)
    except PluginError as error:
        raise invalid_request(str(error)) from error
    return wire.PluginReadResponse(plugin=plugin)


@handles(wire.PLUGIN_SKILL_READ)
async def read_skill(ctx: RequestContext, params: wire.PluginSkillReadParams) -> wire.PluginSkillReadResponse:
    raise await ctx.account.needs_catalogue("read remote plugin skill details")


@handles(wire.PLUGIN_RECONCILE)
def reconcile(ctx: RequestContext, params: wire.PluginReconcileParams) -> wire.PluginReconcileResponse:
    # Only plugins of OpenAI's catalogue are kept as they are there.
    return wire.PluginReconcileResponse(
        changed_plugins=[], failed_materialization_remote_plugin_ids=[], failed_remote_plugin_ids=[]
    )


@handles(share.PLUGIN_SHARE_LIST)
async def list_shares(ctx: RequestContext, params: share.PluginShareListParams) -> share.PluginShareListResponse:
    raise await ctx.account.needs_catalogue("list remote plugin shares")


@handles(share.PLUGIN_SHARE_SAVE)
async def save_share(ctx: RequestContext, params: share.PluginShareSaveParams) -> share.PluginShareSaveResponse:
    raise await ctx.account.needs_catalogue("save remote plugin share")


@handles(share.PLUGIN_SHARE_UPDATE_TARGETS)
async def update_targets(
    ctx: RequestContext, params: share.PluginShareUpdateTargetsParams
) -> share.PluginShareUpdateTargetsResponse:
    raise await ctx.account.needs_catalogue("update remote plugin share targets")


@handles(share.PLUGIN_SHARE_CHECKOUT)
async def check_out(ctx: RequestContext, params: share.PluginShareCheckoutParams) -> share.PluginShareCheckoutResponse:
    raise await ctx.account.needs_catalogue("checkout plugin share")


@handles(share.PLUGIN_SHARE_DELETE)
async def delete_share(ctx: RequestContext, params: share.PluginShareDeleteParams) -> share.PluginShareDeleteResponse:
    raise await ctx.account.needs_catalogue("delete remote plugin share")
