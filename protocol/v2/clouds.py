"""Models through other clouds: Amazon Bedrock and Google Cloud."""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.wire import OneOf, Wire


class BedrockDiscoverParams(Wire):
    """Nothing to choose."""


AwsCredentialType = Literal["accessKeys", "bedrockApiKey"]
"""A pair of AWS keys, or a key of Bedrock itself."""


class BedrockEnvironmentCredential(Wire):
    """Credentials in the server's environment, and the region that is named beside them."""

    type: AwsCredentialType
    region: str | None = None


class BedrockAwsProfile(Wire):
    """A profile in the AWS files of the server's user."""

    name: str
    region: str | None = None


class BedrockDiscoverResponse(Wire):
    """What the server's machine has to sign in to AWS with. Secrets are not told."""

    environment_credentials: list[BedrockEnvironmentCredential]
    profiles: list[BedrockAwsProfile]


ACCOUNT_BEDROCK_DISCOVER = ClientRequest(
    "account/bedrock/discover",
    BedrockDiscoverParams,
    BedrockDiscoverResponse,
    experimental="account/bedrock/discover",
    access="read",
)
"""Ask what the server's machine has to sign in to AWS with."""


class BedrockSetupParams(OneOf):
    """Use Amazon Bedrock from now on."""


class ProfileBedrockSetupParams(BedrockSetupParams):
    """With a profile of the AWS files."""

    type: Literal["profile"] = "profile"
    profile: str
    region: str


class EnvironmentBedrockSetupParams(BedrockSetupParams):
    """With what the server's environment holds."""

    type: Literal["environment"] = "environment"
    region: str


class BedrockSetupResponse(Wire):
    """It is set up."""


ACCOUNT_BEDROCK_SETUP = ClientRequest(
    "account/bedrock/setup",
    BedrockSetupParams,
    BedrockSetupResponse,
    experimental="account/bedrock/setup",
    availability="account",
)


class GcpSetupParams(Wire):
    """Use Google Cloud from now on; `credential_file` is an absolute path, None for the credentials of the machine."""

    project_id: str
    credential_file: str | None = None
    location: str | None = None


class GcpSetupResponse(Wire):
    """It is set up."""


ACCOUNT_GCP_SETUP = ClientRequest(
    "account/gcp/setup", GcpSetupParams, GcpSetupResponse, experimental="account/gcp/setup", availability="account"
)


class BedrockCheckGovCloudRequirementsParams(Wire):
    """Nothing to choose."""


class BedrockCheckGovCloudRequirementsResponse(Wire):
    """Whether models are asked in a region of the US government, and whether the user should be warned of it."""

    is_gov_cloud: bool
    should_warn: bool


ACCOUNT_BEDROCK_CHECK_GOV_CLOUD_REQUIREMENTS = ClientRequest(
    "account/bedrock/checkGovCloudRequirements",
    BedrockCheckGovCloudRequirementsParams,
    BedrockCheckGovCloudRequirementsResponse,
    experimental="account/bedrock/checkGovCloudRequirements",
    access="read",
)
"""Ask whether models are asked in a region of the US government."""
