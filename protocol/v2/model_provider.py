"""The providers of models: which there are, what they can do, and how they are configured."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.methods import ClientRequest, Order, ServerNotification
from protocol.wire import Wire


class ModelProviderListParams(Wire):
    """Nothing to choose."""


class NoneGatewayAuth(Wire):
    """The provider wants no key."""

    mode: Literal["none"] = "none"


class EnvironmentVariableGatewayAuth(Wire):
    """The key is in a variable of the server's environment."""

    mode: Literal["environmentVariable"] = "environmentVariable"
    env_key: str


class ExternallyConfiguredGatewayAuth(Wire):
    """The key is configured in another way, or signing in gives it; a client leaves that alone."""

    mode: Literal["externallyConfigured"] = "externallyConfigured"
    env_key: str | None = None


GatewayAuth = Annotated[
    NoneGatewayAuth | EnvironmentVariableGatewayAuth | ExternallyConfiguredGatewayAuth, Field(discriminator="mode")
]
"""Where the key of a provider comes from."""


class OpenaiProviderSettings(Wire):
    """OpenAI itself."""

    type: Literal["openai"] = "openai"


class CustomGatewayProviderSettings(Wire):
    """Any server that speaks the Responses API."""

    type: Literal["customGateway"] = "customGateway"
    auth: GatewayAuth


class BedrockProviderSettings(Wire):
    """Amazon Bedrock; None leaves the choice to the AWS files and the environment."""

    type: Literal["bedrock"] = "bedrock"
    profile: str | None = None
    region: str | None = None


class GcpProviderSettings(Wire):
    """Google Cloud; `credential_file` of None is for the credentials of the machine."""

    type: Literal["gcp"] = "gcp"
    credential_file: str | None = None
    location: str | None = None
    project_id: str | None = None


ProviderSettings = Annotated[
    OpenaiProviderSettings | CustomGatewayProviderSettings | BedrockProviderSettings | GcpProviderSettings,
    Field(discriminator="type"),
]
"""What kind of provider it is, and its settings."""


class ModelProviderSummary(Wire):
    """One provider. `base_url` is None where it is the usual one, or holds a secret."""

    can_edit: bool
    id: str
    name: str
    settings: ProviderSettings
    base_url: str | None = None


class ModelProviderListResponse(Wire):
    """All providers by id, and whether a client can choose another default."""

    can_change_default: bool
    data: list[ModelProviderSummary]
    default_provider_id: str


MODEL_PROVIDER_LIST = ClientRequest(
    "modelProvider/list", ModelProviderListParams, ModelProviderListResponse, access="read"
)
"""Ask for all providers."""


BedrockProviderId = Literal["amazon-bedrock", "amazon-bedrock-runtime"]
"""The two ways to Amazon Bedrock."""


GcpProviderId = Literal["gcp"]
"""The way to Google Cloud."""


class CustomGatewayProviderSettingsPatch(Wire, extra="forbid"):
    """Add a provider, or change the one of `provider_id`: what is left out stays as it is, and null takes it away."""

    type: Literal["customGateway"] = "customGateway"
    base_url: str | None = None
    env_key: str | None = None
    name: str = ""
    provider_id: str | None = None


class BedrockProviderSettingsPatch(Wire, extra="forbid"):
    """Change how Amazon Bedrock is reached: what is left out stays as it is, and null takes it away."""

    type: Literal["bedrock"] = "bedrock"
    provider_id: BedrockProviderId
    profile: str | None = None
    region: str | None = None


class GcpProviderSettingsPatch(Wire, extra="forbid"):
    """Change how Google Cloud is reached: what is left out stays as it is, and null takes it away."""

    type: Literal["gcp"] = "gcp"
    provider_id: GcpProviderId
    credential_file: str | None = None
    location: str | None = None
    project_id: str | None = None


ProviderSettingsPatch = Annotated[
    CustomGatewayProviderSettingsPatch | BedrockProviderSettingsPatch | GcpProviderSettingsPatch,
    Field(discriminator="type"),
]
"""A change to one provider."""


class ModelProviderConfigWriteParams(Wire, extra="forbid"):
    """Write the settings of one provider to the user's config.toml."""

    settings: ProviderSettingsPatch


class ModelProviderConfigWriteResponse(Wire):
    """The provider as it is configured now."""

    provider: ModelProviderSummary


def _one_by_one(params: ModelProviderConfigWriteParams) -> Order:
    # Two that are added at once must not get the same id.
    return Order("modelProviders")


MODEL_PROVIDER_CONFIG_WRITE = ClientRequest(
    "modelProvider/config/write",
    ModelProviderConfigWriteParams,
    ModelProviderConfigWriteResponse,
    order=_one_by_one,
)


class ModelProviderCapabilitiesReadParams(Wire):
    """Nothing to choose: the provider in force is meant."""


class ModelProviderCapabilitiesReadResponse(Wire):
    """Which tools of the provider itself the agent can use."""

    image_generation: bool
    web_search: bool


MODEL_PROVIDER_CAPABILITIES_READ = ClientRequest(
    "modelProvider/capabilities/read",
    ModelProviderCapabilitiesReadParams,
    ModelProviderCapabilitiesReadResponse,
    access="read",
)
"""Ask which tools of the provider in force the agent can use."""


class AuthRecoveryNotification(Wire):
    """A server refused the key of a turn's request, and a new one is being fetched or was found."""

    message: str
    provider: str
    thread_id: str
    turn_id: str


MODEL_PROVIDER_AUTH_RECOVERY_STARTED = ServerNotification("modelProvider/authRecoveryStarted", AuthRecoveryNotification)


MODEL_PROVIDER_AUTH_RECOVERY_COMPLETED = ServerNotification(
    "modelProvider/authRecoveryCompleted", AuthRecoveryNotification
)
