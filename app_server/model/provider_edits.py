"""What a change to a provider writes into the user's config.toml."""

import re
from collections.abc import Container, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from app_server.config.edit import Edit, WriteRefused
from app_server.config.settings import CLOUD_PROVIDERS, Settings
from app_server.config.table import dotted
from app_server.model.providers import BUILT_IN, key_is_elsewhere
from protocol.v2.model_provider import (
    BedrockProviderSettingsPatch,
    CustomGatewayProviderSettingsPatch,
    GcpProviderSettingsPatch,
)

RESERVED = frozenset({*BUILT_IN, *CLOUD_PROVIDERS})
LONGEST_ID = 64

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Patch = CustomGatewayProviderSettingsPatch | BedrockProviderSettingsPatch | GcpProviderSettingsPatch


def edits_of(patch: Patch, settings: Settings, own: Mapping[str, Any]) -> tuple[str, list[Edit]]:
    """The id of the provider that a patch changes or adds, and the edits. What a patch leaves out stays as it is.

    `own` is `model_providers` of the user's file. Raises WriteRefused.
    """
    if isinstance(patch, CustomGatewayProviderSettingsPatch):
        return _gateway(patch, settings, own)
    place = ("model_providers", patch.provider_id, *(() if patch.provider_id == "gcp" else ("aws",)))
    values = _given(patch, ("profile", "region", "project_id", "location", "credential_file"))
    for value in values.values():
        if value is not None and not value.strip():
            raise _invalid("Configuration values must not be empty; use null to clear a field.")
    if (file := values.get("credential_file")) is not None and not file.startswith("/"):
        raise _invalid("provider credential_file must be an absolute path")
    return patch.provider_id, [Edit(dotted((*place, name)), value) for name, value in values.items()]


def _gateway(
    patch: CustomGatewayProviderSettingsPatch, settings: Settings, own: Mapping[str, Any]
) -> tuple[str, list[Edit]]:
    values = _given(patch, ("name", "base_url", "env_key"))
    if "name" in values:
        values["name"] = (values["name"] or "").strip()
    if (url := values.get("base_url")) is not None:
        values["base_url"] = _checked_url(url.strip())
    if (variable := values.get("env_key")) is not None and _VARIABLE.fullmatch(variable) is None:
        raise _invalid("Invalid API key environment variable name.")
    if patch.provider_id is None:
        name = _new_id(values, {*own, *settings.model_providers, *RESERVED})
        values = {"wire_api": "responses"} | values
    else:
        name = patch.provider_id
        _check_known(name, settings, own)
        if values.get("name") == "":
            raise _invalid("Enter a provider name.")
        if (
            "env_key" in values
            and name in settings.model_providers
            and key_is_elsewhere(settings.model_providers[name])
        ):
            raise _invalid("Authentication is configured externally. Omit envKey to preserve it.")
    added = patch.provider_id is None
    return name, [
        Edit(dotted(("model_providers", name, key)), value)
        for key, value in values.items()
        if value is not None or not added
    ]


def _check_known(name: str, settings: Settings, own: Mapping[str, Any]) -> None:
    if name in RESERVED:
        raise _invalid("A custom provider or gateway cannot use a built-in provider ID.")
    if name in own:
        return
    if name in settings.model_providers:
        raise WriteRefused(
            "configLayerReadonly", f"model_providers.{name} is not in the user's config.toml, and only that is written"
        )
    raise WriteRefused("configPathNotFound", f"Unknown provider ID: `{name}`. Omit providerId to add a provider.")


def _new_id(values: Mapping[str, str | None], taken: Container[str]) -> str:
    name = values.get("name")
    if not name:
        raise _invalid("Enter a provider name.")
    if values.get("base_url") is None:
        raise _invalid("A base URL is required to create a custom provider.")
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_ID].strip("-") or "custom"
    if plain == "openai":
        raise _invalid("This name is reserved for a built-in provider. Enter a different custom provider name.")
    number, chosen = 1, plain
    while chosen in taken:
        number += 1
        chosen = f"{plain}-{number}"
    return chosen


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or parts.username is not None or "?" in url or "#" in url:
        raise _invalid("Enter an HTTP(S) base URL without credentials, a query, or a fragment.")
    return url


def _given(patch: Patch, names: tuple[str, ...]) -> dict[str, str | None]:
    """What a patch says; None is for what it takes away."""
    return {name: cast("str | None", getattr(patch, name)) for name in names if name in patch.model_fields_set}


def _invalid(message: str) -> WriteRefused:
    return WriteRefused("configValidationError", message)
