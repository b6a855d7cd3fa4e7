"""model/*, modelProvider/*, collaborationMode/*: which models and ways of working can be chosen."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from app_server.config.layers import LayerStack
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.model.catalog import EFFORTS, ModelInfo
from app_server.model.providers import known_provider, summaries, summary
from protocol.jsonrpc import invalid_request
from protocol.v2.model import (
    COLLABORATION_MODE_LIST,
    MODEL_LIST,
    CollaborationModeListParams,
    CollaborationModeListResponse,
    CollaborationModeMask,
    Model,
    ModelListParams,
    ModelListResponse,
    ModelServiceTier,
    ModelUpgradeInfo,
    ReasoningEffortOption,
)
from protocol.v2.model_provider import (
    MODEL_PROVIDER_CAPABILITIES_READ,
    MODEL_PROVIDER_CONFIG_WRITE,
    MODEL_PROVIDER_LIST,
    ModelProviderCapabilitiesReadParams,
    ModelProviderCapabilitiesReadResponse,
    ModelProviderConfigWriteParams,
    ModelProviderConfigWriteResponse,
    ModelProviderListParams,
    ModelProviderListResponse,
)

UNKNOWN_EFFORTS = ("low", "medium", "high")
"""What is offered for models of which nobody knows whether they reason."""


@handles(MODEL_LIST)
async def list_all(ctx: RequestContext, params: ModelListParams) -> ModelListResponse:
    """One page of the models of a provider: the one given, or else the one in force."""
    provider = known_provider(ctx.settings, params.model_provider)
    models = await ctx.models.listed(provider, ctx.settings, hidden=bool(params.include_hidden))
    return model_page(models, params)


def model_page(models: Sequence[ModelInfo], params: ModelListParams) -> ModelListResponse:
    """The page. The first of all models is the default. Raises -32600 for a cursor that was not given out."""
    start = 0
    if params.cursor is not None:
        if not (params.cursor.isascii() and params.cursor.isdigit()) or int(params.cursor[:9]) > len(models):
            raise invalid_request(f"invalid cursor: {params.cursor}")
        start = int(params.cursor[:9])
    end = start + max(1, len(models) if params.limit is None else params.limit)
    page = [_wire(info, is_default=index == 0) for index, info in enumerate(models[:end]) if index >= start]
    return ModelListResponse(data=page, next_cursor=str(end) if end < len(models) else None)


@handles(COLLABORATION_MODE_LIST)
async def collaboration_modes(
    ctx: RequestContext, params: CollaborationModeListParams
) -> CollaborationModeListResponse:
    return CollaborationModeListResponse(
        data=[
            CollaborationModeMask(name="Plan", mode="plan", reasoning_effort="medium"),
            CollaborationModeMask(name="Default", mode="default"),
        ]
    )


@handles(MODEL_PROVIDER_LIST)
async def list_providers(ctx: RequestContext, params: ModelProviderListParams) -> ModelProviderListResponse:
    """All providers. The default cannot be changed where a flag of the command line has the last word."""
    decided = ctx.config.origins().get("model_provider")
    return ModelProviderListResponse(
        data=summaries(ctx.settings, own_providers(ctx.config)),
        default_provider_id=ctx.settings.model_provider,
        can_change_default=decided is None or decided.source["type"] in ("user", "system"),
    )


@handles(MODEL_PROVIDER_CONFIG_WRITE)
async def write_provider(
    ctx: RequestContext, params: ModelProviderConfigWriteParams
) -> ModelProviderConfigWriteResponse:
    """Add or change a provider in the user's config.toml; threads go on with it when this is answered."""
    from app_server.config.edit import WriteRefused
    from app_server.handlers.config import refusal, write
    from app_server.model.provider_edits import edits_of

    try:
        name, edits = edits_of(params.settings, ctx.settings, own_providers(ctx.config))
    except WriteRefused as error:
        raise refusal(error.kind, str(error)) from None
    await write(ctx, edits)
    await ctx.threads.reconfigure()
    return ModelProviderConfigWriteResponse(provider=summary(ctx.settings, name, own_providers(ctx.config)))


def own_providers(stack: LayerStack) -> Mapping[str, Any]:
    """`model_providers` of the user's file."""
    found: Any = stack.user.table.get("model_providers")
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


@handles(MODEL_PROVIDER_CAPABILITIES_READ)
async def read_capabilities(
    ctx: RequestContext, params: ModelProviderCapabilitiesReadParams
) -> ModelProviderCapabilitiesReadResponse:
    """None yet: the agent is given no tools that run at the provider."""
    return ModelProviderCapabilitiesReadResponse(image_generation=False, web_search=False)


def _wire(info: ModelInfo, *, is_default: bool) -> Model:
    texts = info.effort_texts or {}
    efforts = info.efforts if info.known else info.efforts or UNKNOWN_EFFORTS
    # Clients need one effort at least; of a model that does not reason it says so.
    offered = [(effort, texts.get(effort) or EFFORTS.get(effort, effort)) for effort in efforts]
    offered = offered or [("none", "The model does not reason")]
    default = info.default_effort or ("medium" if "medium" in efforts else offered[0][0])
    upgrade = None
    if info.upgrade is not None:
        upgrade = ModelUpgradeInfo(model=info.upgrade, migration_markdown=info.upgrade_text)
    return Model(
        id=info.id,
        model=info.id,
        display_name=info.display_name,
        description=info.description,
        hidden=info.hidden,
        is_default=is_default,
        default_reasoning_effort=default,
        supported_reasoning_efforts=[
            ReasoningEffortOption(reasoning_effort=effort, description=text) for effort, text in offered
        ],
        input_modalities=list(info.input_modalities),
        service_tiers=[
            ModelServiceTier(id=tier.id, name=tier.name, description=tier.description) for tier in info.service_tiers
        ],
        default_service_tier=info.default_tier,
        additional_speed_tiers=list(info.speed_tiers),
        model_specialty=info.specialty,
        multi_agent_version=info.multi_agent,
        upgrade=info.upgrade,
        upgrade_info=upgrade,
    )
