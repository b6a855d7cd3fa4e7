"""The providers of models as clients see them."""

from collections.abc import Container
from urllib.parse import urlsplit

from app_server.config.settings import CLOUD_PROVIDERS, ModelProviderSettings, Settings
from protocol.jsonrpc import INVALID_REQUEST, RpcError
from protocol.v2.model_provider import (
    BedrockProviderSettings,
    CustomGatewayProviderSettings,
    EnvironmentVariableGatewayAuth,
    ExternallyConfiguredGatewayAuth,
    GatewayAuth,
    GcpProviderSettings,
    ModelProviderSummary,
    NoneGatewayAuth,
    OpenaiProviderSettings,
    ProviderSettings,
)

BUILT_IN = ("openai", "ollama", "lmstudio", "demo")


def known_provider(settings: Settings, name: str | None) -> str:
    """The provider of that name, or the one in force. Raises -32600 naming the known ones."""
    chosen = name or settings.model_provider
    if chosen not in settings.model_providers:
        known = ", ".join(sorted(settings.model_providers))
        data = {"type": "modelProviderNotConfigured", "modelProvider": chosen}
        raise RpcError(INVALID_REQUEST, f"model provider `{chosen}` not found; known providers: {known}", data)
    return chosen


def summaries(settings: Settings, own: Container[str]) -> list[ModelProviderSummary]:
    """All providers, by id; `own` are those in the user's file."""
    names = sorted({*settings.model_providers, *settings.cloud_providers})
    return [summary(settings, name, own) for name in names]


def summary(settings: Settings, name: str, own: Container[str]) -> ModelProviderSummary:
    """One provider that is configured or built in. An address with a secret in it is left out."""
    if name in CLOUD_PROVIDERS and name not in settings.model_providers:
        kept = settings.cloud_providers.get(name, {})
        place: ProviderSettings = BedrockProviderSettings(profile=kept.get("profile"), region=kept.get("region"))
        if name == "gcp":
            place = GcpProviderSettings(
                project_id=kept.get("project_id"),
                location=kept.get("location"),
                credential_file=kept.get("credential_file"),
            )
        return ModelProviderSummary(id=name, name=CLOUD_PROVIDERS[name], can_edit=True, settings=place)
    provider = settings.model_providers[name]
    shown: ProviderSettings = OpenaiProviderSettings()
    if name != "openai":
        shown = CustomGatewayProviderSettings(auth=_auth(provider))
    usual = provider.follows_account
    return ModelProviderSummary(
        id=name,
        name=provider.name,
        can_edit=name in own and name not in BUILT_IN,
        base_url=None if usual else _shown_url(provider.base_url),
        settings=shown,
    )


def key_is_elsewhere(provider: ModelProviderSettings) -> bool:
    """Whether a key comes from signing in or from settings that clients do not edit."""
    configured = provider.http_headers or provider.env_http_headers or provider.query_params
    return provider.requires_openai_auth or provider.experimental_bearer_token is not None or bool(configured)


def _auth(provider: ModelProviderSettings) -> GatewayAuth:
    if key_is_elsewhere(provider):
        variable = None if provider.sign_in_first else provider.env_key
        return ExternallyConfiguredGatewayAuth(env_key=variable)
    if provider.env_key is not None:
        return EnvironmentVariableGatewayAuth(env_key=provider.env_key)
    return NoneGatewayAuth()


def _shown_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return None if parts.username or parts.password or parts.query or parts.fragment else url
