"""Models and how they are asked to work."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import SnakeWire, UInt32, Wire

ReasoningEffort = Annotated[str, Field(min_length=1)]
"""How long a model thinks, in the provider's own words (`low`, `medium`, `high`, ...)."""


class ReasoningEffortOption(Wire):
    """An effort that a model offers."""

    description: str
    reasoning_effort: ReasoningEffort


ReasoningSummary = Literal["auto", "concise", "detailed", "none"]
"""How much of its reasoning a model sums up for the user."""

Verbosity = Literal["low", "medium", "high"]
"""How wordy a model's answers are."""

Personality = Literal["none", "friendly", "pragmatic"]
"""The tone of the agent."""

InputModality = Literal["text", "image", "audio"]
"""A kind of input that a model takes."""

ModeKind = Literal["plan", "default"]
"""Whether the agent plans with the user or works."""


class Settings(SnakeWire):
    """The model settings of a collaboration mode."""

    model: str
    developer_instructions: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class CollaborationMode(Wire):
    """A way of working together with the settings that go with it."""

    mode: ModeKind
    settings: Settings


class CustomMultiAgentMode(Wire, extra="forbid"):
    """Instructions of the client's own."""

    custom: str


MultiAgentMode = Literal["explicitRequestOnly", "proactive"] | CustomMultiAgentMode
"""How readily the agent starts other agents."""

MultiAgentVersion = Literal["disabled", "v1", "v2"]
"""Which generation of multi-agent tools a model is given."""

CyberAccessProgram = Literal["standard", "daybreakBlue", "daybreakRed"]
"""A programme that opens a model to security work."""


class ModelAccessPrograms(Wire):
    """The programmes that are open to the account."""

    cyber: list[CyberAccessProgram]


class ModelAvailabilityNux(Wire):
    """A notice to show when a model appears for the first time."""

    message: str


class ModelServiceTier(Wire):
    """A service level that can be bought for a model."""

    id: str
    description: str
    name: str


class ModelUpgradeInfo(Wire):
    """The model to move to; `retirement_at` is in Unix seconds."""

    model: str
    migration_markdown: str | None = None
    model_link: str | None = None
    retirement_at: int | None = None
    upgrade_copy: str | None = None


class Model(Wire):
    """A model to choose from. `model` is the name that requests carry, `id` the key of the list."""

    id: str
    default_reasoning_effort: ReasoningEffort
    description: str
    display_name: str
    hidden: bool
    is_default: bool
    model: str
    supported_reasoning_efforts: list[ReasoningEffortOption]
    additional_speed_tiers: list[str] = []
    availability_nux: ModelAvailabilityNux | None = None
    available_access_programs: ModelAccessPrograms | None = None
    default_service_tier: str | None = None
    input_modalities: list[InputModality] = ["text", "image"]
    model_specialty: str | None = None
    multi_agent_version: MultiAgentVersion | None = None
    service_tiers: list[ModelServiceTier] = []
    supports_personality: bool = False
    upgrade: str | None = None
    upgrade_info: ModelUpgradeInfo | None = None


class ModelListParams(Wire):
    """A page of models; `limit` counts models."""

    cursor: str | None = None
    include_hidden: bool | None = None
    limit: UInt32 | None = None
    model_provider: str | None = None


class ModelListResponse(Wire):
    """One page; None as `next_cursor` says that it is the last."""

    data: list[Model]
    next_cursor: str | None = None


MODEL_LIST = ClientRequest("model/list", ModelListParams, ModelListResponse, access="read")


class CollaborationModeMask(SnakeWire):
    """A way of working to choose from; what is None stays as it is."""

    name: str
    mode: ModeKind | None = None
    model: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class CollaborationModeListParams(Wire):
    """Nothing to choose."""


class CollaborationModeListResponse(Wire):
    """The modes in the order in which clients step through them."""

    data: list[CollaborationModeMask]


COLLABORATION_MODE_LIST = ClientRequest(
    "collaborationMode/list",
    CollaborationModeListParams,
    CollaborationModeListResponse,
    experimental="collaborationMode/list",
    access="read",
)


ModelRerouteReason = Literal["highRiskCyberActivity"]
"""Why."""


class ModelReroutedNotification(Wire):
    """A turn's request went to another model than was asked for."""

    from_model: str
    reason: ModelRerouteReason
    thread_id: str
    to_model: str
    turn_id: str


MODEL_REROUTED = ServerNotification("model/rerouted", ModelReroutedNotification)


ModelVerification = Literal["trustedAccessForCyber"]
"""What was verified."""


class ModelVerificationNotification(Wire):
    """Why the provider let a turn's request through to a guarded model."""

    thread_id: str
    turn_id: str
    verifications: list[ModelVerification]


MODEL_VERIFICATION = ServerNotification("model/verification", ModelVerificationNotification)


class ModelSafetyBufferingUpdatedNotification(Wire):
    """The provider holds an answer back while it is checked; `faster_model` is one that need not be."""

    model: str
    reasons: list[str]
    show_buffering_ui: bool
    thread_id: str
    turn_id: str
    use_cases: list[str]
    faster_model: str | None = None


MODEL_SAFETY_BUFFERING_UPDATED = ServerNotification(
    "model/safetyBuffering/updated", ModelSafetyBufferingUpdatedNotification
)
