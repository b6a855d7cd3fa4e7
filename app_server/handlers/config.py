"""config/* and configRequirements/*: what is configured, and where it comes from."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from app_server.config.hiding import without_secrets
from app_server.config.layers import LayerStack
from app_server.config.network_proxy import HostAction, NetworkRequirements
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.scopes import FULL
from protocol.v2 import config_requirements as wire
from protocol.v2.config import CONFIG_READ, Config, ConfigReadParams, ConfigReadResponse
from protocol.v2.config_requirements import (
    CONFIG_REQUIREMENTS_READ,
    ConfigRequirements,
    ConfigRequirementsReadResponse,
)
from protocol.wire import Empty


@handles(CONFIG_READ)
async def read(ctx: RequestContext, params: ConfigReadParams) -> ConfigReadResponse:
    """The configuration that this daemon works with; keys and tokens in it only for who may do everything."""
    return config_response(ctx.config, include_layers=params.include_layers, with_secrets=ctx.connection.scope is FULL)


@handles(CONFIG_REQUIREMENTS_READ)
async def read_requirements(ctx: RequestContext, params: Empty) -> ConfigRequirementsReadResponse:
    """What an organisation demands; so far of the network only."""
    return ConfigRequirementsReadResponse(requirements=requirements(ctx.settings.network_requirements))


def requirements(demands: NetworkRequirements | None) -> ConfigRequirements | None:
    """Demands as clients read them, with the older lists beside what replaced them."""
    if demands is None:
        return None
    network: dict[str, Any] = {known.name: getattr(demands, known.name) for known in fields(demands)} | {
        "allowed_domains": _names(demands.domains, "allow"),
        "denied_domains": _names(demands.domains, "deny"),
        "allow_unix_sockets": _names(demands.unix_sockets, "allow"),
        "domains": None if demands.domains is None else dict(demands.domains),
        "unix_sockets": None if demands.unix_sockets is None else dict(demands.unix_sockets),
        "review_domains": None if demands.review_domains is None else list(demands.review_domains),
    }
    return ConfigRequirements(network=wire.NetworkRequirements(**network))


def _names(actions: Mapping[str, HostAction] | None, action: HostAction) -> list[str] | None:
    return [name for name, one in (actions or {}).items() if one == action] or None


def config_response(stack: LayerStack, *, include_layers: bool, with_secrets: bool = True) -> ConfigReadResponse:
    """The merged configuration with the origin of each value; the layers themselves, strongest first, if asked."""
    origins = {key: {"name": layer.source, "version": layer.version} for key, layer in stack.origins().items()}
    layers: list[dict[str, Any]] | None = None
    if include_layers:
        layers = [
            {
                "name": layer.source,
                "version": layer.version,
                "config": layer.table if with_secrets else without_secrets(layer.table),
            }
            for layer in reversed(stack.layers)
        ]
    table = stack.effective()
    config = _valid_config(table if with_secrets else without_secrets(table))
    return ConfigReadResponse.model_validate({"config": config, "origins": origins, "layers": layers})


def _valid_config(table: dict[str, Any]) -> Config:
    # A value of the wrong type is told as a warning; here it is left out, so that clients can read the rest.
    while True:
        try:
            return Config.model_validate(table)
        except ValidationError as error:
            wrong = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]} & set(table)
            if not wrong:
                raise
            table = {key: value for key, value in table.items() if key not in wrong}
