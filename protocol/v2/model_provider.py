"""model_provider"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import Wire


class ModelProviderListParams(Wire): ...


class NoneGatewayAuth(Wire):
    mode: Literal["none"] = "none"


class EnvironmentVariableGatewayAuth(Wire):
    mode: Literal["environmentVariable"] = "environmentVariable"
    env_key: str


class ExternallyConfiguredGatewayAuth(Wire):
    mode: Literal["externallyConfigured"] = "externallyConfigured"
    env_key: str | None = None


GatewayAuth = Annotated[
    NoneGatewayAuth | EnvironmentVariableGatewayAuth | ExternallyConfiguredGatewayAuth, Field(discriminator="mode")
]


class OpenaiProviderSettings(Wire):
    type: Literal["openai"] = "openai"


class CustomGatewayProviderSettings(Wire):
    type: Literal["customGateway"] = "customGateway"
    auth: GatewayAuth


class BedrockProviderSettings(Wire):
    type: Literal["bedrock"] = "bedrock"
    profile: str | None = None
    region: str | None = None


class GcpProviderSettings(Wire):
    type: Literal["gcp"] = "gcp"
    credential_file: str | None = None
    location: str | None = None
    project_id: str | None = None


ProviderSettings = Annotated[
    OpenaiProviderSettings | CustomGatewayProviderSettings | BedrockProviderSettings | GcpProviderSettings,
    Field(discriminator="type"),
]


class ModelProviderSummary(Wire):
    can_edit: bool
    id: str
    name: str
    settings: ProviderSettings
    base_url: str | None = None


class ModelProviderListResponse(Wire):
    can_change_default: bool
    data: list[ModelProviderSummary]
    default_provider_id: str


MODEL_PROVIDER_LIST = ClientRequest(
    "modelProvider/list", ModelProviderListParams, ModelProviderListResponse, access="read", availability="later"
)


BedrockProviderId = Literal["amazon-bedrock", "amazon-bedrock-runtime"]


GcpProviderId = Literal["gcp"]


class CustomGatewayProviderSettingsPatch(Wire, extra="forbid"):
    type: Literal["customGateway"] = "customGateway"
    base_url: str | None = None
    env_key: str | None = None
    name: str = ""
    provider_id: str | None = None


class BedrockProviderSettingsPatch(Wire, extra="forbid"):
    type: Literal["bedrock"] = "bedrock"
    provider_id: BedrockProviderId
    profile: str | None = None
    region: str | None = None


class GcpProviderSettingsPatch(Wire, extra="forbid"):
    type: Literal["gcp"] = "gcp"
    provider_id: GcpProviderId
    credential_file: str | None = None
    location: str | None = None
    project_id: str | None = None


ProviderSettingsPatch = Annotated[
    CustomGatewayProviderSettingsPatch | BedrockProviderSettingsPatch | GcpProviderSettingsPatch,
    Field(discriminator="type"),
]


class ModelProviderConfigWriteParams(Wire, extra="forbid"):
    settings: ProviderSettingsPatch


class ModelProviderConfigWriteResponse(Wire):
    provider: ModelProviderSummary


MODEL_PROVIDER_CONFIG_WRITE = ClientRequest(
    "modelProvider/config/write", ModelProviderConfigWriteParams, ModelProviderConfigWriteResponse, availability="later"
)


class ModelProviderCapabilitiesReadParams(Wire): ...


class ModelProviderCapabilitiesReadResponse(Wire):
    image_generation: bool
    web_search: bool


MODEL_PROVIDER_CAPABILITIES_READ = ClientRequest(
    "modelProvider/capabilities/read",
    ModelProviderCapabilitiesReadParams,
    ModelProviderCapabilitiesReadResponse,
    access="read",
    availability="later",
)


class AuthRecoveryNotification(Wire):
    message: str
    provider: str
    thread_id: str
    turn_id: str


MODEL_PROVIDER_AUTH_RECOVERY_STARTED = ServerNotification("modelProvider/authRecoveryStarted", AuthRecoveryNotification)


MODEL_PROVIDER_AUTH_RECOVERY_COMPLETED = ServerNotification(
    "modelProvider/authRecoveryCompleted", AuthRecoveryNotification
)
