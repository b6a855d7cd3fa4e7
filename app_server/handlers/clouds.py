"""account/bedrock/*, account/gcp/*, account/gatewayOAuth/*: models through other clouds and gateways."""

from anyio import to_thread

from app_server.auth import clouds
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.model.providers import known_provider
from protocol.jsonrpc import invalid_request
from protocol.v2 import clouds as wire
from protocol.v2 import gateway_oauth as gateway
from protocol.wire import Empty

NO_GATEWAY = "The selected provider does not use gateway OAuth"


@handles(wire.ACCOUNT_BEDROCK_DISCOVER)
async def discover(ctx: RequestContext, params: wire.BedrockDiscoverParams) -> wire.BedrockDiscoverResponse:
    """What the AWS files and the environment hold."""
    profiles = await to_thread.run_sync(clouds.aws_profiles)
    return wire.BedrockDiscoverResponse(
        profiles=[wire.BedrockAwsProfile(name=one.name, region=one.region) for one in profiles],
        environment_credentials=[
            wire.BedrockEnvironmentCredential(type=kind, region=region) for kind, region in clouds.aws_environment()
        ],
    )


@handles(wire.ACCOUNT_BEDROCK_SETUP)
async def set_up_bedrock(ctx: RequestContext, params: wire.BedrockSetupParams) -> wire.BedrockSetupResponse:
    """Refused, with what is missing."""
    match params:
        case wire.ProfileBedrockSetupParams():
            await to_thread.run_sync(clouds.set_up_bedrock, params.region, params.profile)
        case wire.EnvironmentBedrockSetupParams():
            await to_thread.run_sync(clouds.set_up_bedrock, params.region, None)
        case _:
            pass
    raise invalid_request(clouds.UNSUPPORTED.format("Amazon Bedrock"))


@handles(wire.ACCOUNT_BEDROCK_CHECK_GOV_CLOUD_REQUIREMENTS)
async def check_gov_cloud(
    ctx: RequestContext, params: wire.BedrockCheckGovCloudRequirementsParams
) -> wire.BedrockCheckGovCloudRequirementsResponse:
    """No model is asked through Amazon Bedrock, so none in a region of the government."""
    return wire.BedrockCheckGovCloudRequirementsResponse(is_gov_cloud=False, should_warn=False)


@handles(wire.ACCOUNT_GCP_SETUP)
async def set_up_gcp(ctx: RequestContext, params: wire.GcpSetupParams) -> wire.GcpSetupResponse:
    """Refused, with what is missing."""
    await to_thread.run_sync(clouds.set_up_gcp, params.project_id, params.location, params.credential_file)
    raise invalid_request(clouds.UNSUPPORTED.format("Google Cloud"))


@handles(gateway.ACCOUNT_GATEWAY_OAUTH_READ)
async def read_gateway(ctx: RequestContext, params: gateway.GatewayOAuthReadParams) -> gateway.GatewayOAuthReadResponse:
    """No provider has a sign-in of its own."""
    provider = known_provider(ctx.settings, params.model_provider)
    name = ctx.settings.model_providers[provider].name
    return gateway.GatewayOAuthReadResponse(provider_id=provider, provider_name=name, required=False)


@handles(gateway.ACCOUNT_GATEWAY_OAUTH_LOGIN)
async def log_in_to_gateway(
    ctx: RequestContext, params: gateway.GatewayOAuthLoginParams
) -> gateway.GatewayOAuthLoginResponse:
    """Refused."""
    known_provider(ctx.settings, params.model_provider)
    raise invalid_request(NO_GATEWAY)


@handles(gateway.ACCOUNT_GATEWAY_OAUTH_CANCEL)
async def cancel_gateway(ctx: RequestContext, params: Empty) -> gateway.GatewayOAuthCancelResponse:
    """Nothing runs that could be ended."""
    return gateway.GatewayOAuthCancelResponse()
