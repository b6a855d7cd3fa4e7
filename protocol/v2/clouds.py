"""clouds"""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.wire import OneOf, Wire


class BedrockDiscoverParams(Wire): ...


AwsCredentialType = Literal["accessKeys", "bedrockApiKey"]


class BedrockEnvironmentCredential(Wire):
    type: AwsCredentialType
    region: str | None = None


class BedrockAwsProfile(Wire):
    name: str
    region: str | None = None


class BedrockDiscoverResponse(Wire):
    environment_credentials: list[BedrockEnvironmentCredential]
    profiles: list[BedrockAwsProfile]


ACCOUNT_BEDROCK_DISCOVER = ClientRequest(
    "account/bedrock/discover",
    BedrockDiscoverParams,
    BedrockDiscoverResponse,
    experimental="account/bedrock/discover",
    access="read",
    availability="later",
)


class BedrockSetupParams(OneOf): ...


class ProfileBedrockSetupParams(BedrockSetupParams):
    type: Literal["profile"] = "profile"
    profile: str
    region: str


class EnvironmentBedrockSetupParams(BedrockSetupParams):
    type: Literal["environment"] = "environment"
    region: str


class BedrockSetupResponse(Wire): ...


ACCOUNT_BEDROCK_SETUP = ClientRequest(
    "account/bedrock/setup",
    BedrockSetupParams,
    BedrockSetupResponse,
    experimental="account/bedrock/setup",
    availability="later",
)


class GcpSetupParams(Wire):
    project_id: str
    credential_file: str | None = None
    location: str | None = None


class GcpSetupResponse(Wire): ...


ACCOUNT_GCP_SETUP = ClientRequest(
    "account/gcp/setup", GcpSetupParams, GcpSetupResponse, experimental="account/gcp/setup", availability="later"
)


class BedrockCheckGovCloudRequirementsParams(Wire): ...


class BedrockCheckGovCloudRequirementsResponse(Wire):
    is_gov_cloud: bool
    should_warn: bool


ACCOUNT_BEDROCK_CHECK_GOV_CLOUD_REQUIREMENTS = ClientRequest(
    "account/bedrock/checkGovCloudRequirements",
    BedrockCheckGovCloudRequirementsParams,
    BedrockCheckGovCloudRequirementsResponse,
    experimental="account/bedrock/checkGovCloudRequirements",
    access="read",
    availability="later",
)
