"""experimentalFeature/*: which features there are, and switching them."""

from app_server.config.features import Feature, known_features
from app_server.handlers.context import RequestContext
from app_server.handlers.paging import counted_page
from app_server.handlers.registry import handles
from protocol.v2 import experimental_feature as wire


@handles(wire.EXPERIMENTAL_FEATURE_LIST)
async def list_features(
    ctx: RequestContext, params: wire.ExperimentalFeatureListParams
) -> wire.ExperimentalFeatureListResponse:
    settings = (await ctx.configuration.refresh()).settings()
    if params.thread_id is not None:
        settings = ctx.threads.loaded(params.thread_id).config
    page, following = counted_page(list(known_features().values()), params.cursor, params.limit, "feature flags")
    data = [_told(feature, enabled=settings.feature(feature.name, default=feature.default)) for feature in page]
    return wire.ExperimentalFeatureListResponse(data=data, next_cursor=following)


@handles(wire.EXPERIMENTAL_FEATURE_ENABLEMENT_SET)
async def set_enablement(
    ctx: RequestContext, params: wire.ExperimentalFeatureEnablementSetParams
) -> wire.ExperimentalFeatureEnablementSetResponse:
    return wire.ExperimentalFeatureEnablementSetResponse(enablement=await ctx.configuration.switch(params.enablement))


def _told(feature: Feature, *, enabled: bool) -> wire.ExperimentalFeature:
    return wire.ExperimentalFeature(
        name=feature.name,
        stage=feature.stage,
        enabled=enabled,
        default_enabled=feature.default,
        display_name=feature.title,
        description=feature.text,
    )
