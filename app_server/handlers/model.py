"""model/*, collaborationMode/*: which models and ways of working can be chosen."""

from app_server.config.settings import Settings
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.model.catalog import EFFORTS, SERVICE_TIERS, ModelInfo, list_models
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

UNKNOWN_EFFORTS = ("low", "medium", "high")
"""What is offered for models that the catalogue does not know."""


@handles(MODEL_LIST)
async def list_all(ctx: RequestContext, params: ModelListParams) -> ModelListResponse:
    """One page of the models of a provider: the one given, or else the one in force."""
    return model_page(ctx.settings, params)


def model_page(settings: Settings, params: ModelListParams) -> ModelListResponse:
    """The page. Raises -32600 for a cursor that was not given out and for an unknown provider."""
    provider = params.model_provider or settings.model_provider
    if provider not in settings.model_providers:
        known = ", ".join(sorted(settings.model_providers))
        raise invalid_request(f"model provider `{provider}` not found; known providers: {known}")
    models = list_models(settings, provider)
    start = 0
    if params.cursor is not None:
        if not (params.cursor.isascii() and params.cursor.isdigit()) or int(params.cursor[:9]) > len(models):
            raise invalid_request(f"invalid cursor: {params.cursor}")
        start = int(params.cursor[:9])
    end = start + max(1, params.limit or len(models))
    page = [_wire(info, is_default=index == 0) for index, info in enumerate(models)][start:end]
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


def _wire(info: ModelInfo, *, is_default: bool) -> Model:
    return Model(
        id=info.id,
        model=info.id,
        display_name=info.display_name,
        description=info.description,
        hidden=False,
        is_default=is_default,
        default_reasoning_effort=info.default_effort or "medium",
        supported_reasoning_efforts=[
            ReasoningEffortOption(reasoning_effort=effort, description=EFFORTS.get(effort, effort))
            for effort in info.efforts or UNKNOWN_EFFORTS
        ],
        input_modalities=list(info.input_modalities),
        service_tiers=[ModelServiceTier(id=tier, **SERVICE_TIERS[tier]) for tier in info.service_tiers],
        upgrade=info.upgrade,
        upgrade_info=None if info.upgrade is None else ModelUpgradeInfo(model=info.upgrade),
    )
