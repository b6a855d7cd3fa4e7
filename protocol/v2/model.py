"""v2.model"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest
from protocol.wire import SnakeWire, UInt32, Wire

ReasoningEffort = Annotated[str, Field(min_length=1)]


class ReasoningEffortOption(Wire):
    description: str
    reasoning_effort: ReasoningEffort


ReasoningSummary = Literal["auto", "concise", "detailed", "none"]

Verbosity = Literal["low", "medium", "high"]

Personality = Literal["none", "friendly", "pragmatic"]

InputModality = Literal["text", "image", "audio"]

ModeKind = Literal["plan", "default"]


class Settings(SnakeWire):
    model: str
    developer_instructions: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class CollaborationMode(Wire):
    mode: ModeKind
    settings: Settings


class CustomMultiAgentMode(Wire, extra="forbid"):
    custom: str


MultiAgentMode = Literal["explicitRequestOnly", "proactive"] | CustomMultiAgentMode

MultiAgentVersion = Literal["disabled", "v1", "v2"]

CyberAccessProgram = Literal["standard", "daybreakBlue", "daybreakRed"]


class ModelAccessPrograms(Wire):
    cyber: list[CyberAccessProgram]


class ModelAvailabilityNux(Wire):
    message: str


class ModelServiceTier(Wire):
    description: str
    id: str
    name: str


class ModelUpgradeInfo(Wire):
    model: str
    migration_markdown: str | None = None
    model_link: str | None = None
    retirement_at: int | None = None
    upgrade_copy: str | None = None


class Model(Wire):
    default_reasoning_effort: ReasoningEffort
    description: str
    display_name: str
    hidden: bool
    id: str
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
    cursor: str | None = None
    include_hidden: bool | None = None
    limit: UInt32 | None = None
    model_provider: str | None = None


class ModelListResponse(Wire):
    data: list[Model]
    next_cursor: str | None = None


MODEL_LIST = ClientRequest("model/list", ModelListParams, ModelListResponse)
