"""config/* and configRequirements/*: what is configured, and where it comes from."""

from typing import Any

from pydantic import ValidationError

from app_server.config.hiding import without_secrets
from app_server.config.layers import LayerStack
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.scopes import FULL
from protocol.v2.config import CONFIG_READ, Config, ConfigReadParams, ConfigReadResponse
from protocol.v2.config_requirements import CONFIG_REQUIREMENTS_READ, ConfigRequirementsReadResponse
from protocol.wire import Empty


@handles(CONFIG_READ)
async def read(ctx: RequestContext, params: ConfigReadParams) -> ConfigReadResponse:
    """The configuration that this daemon works with; keys and tokens in it only for who may do everything."""
    return config_response(ctx.config, include_layers=params.include_layers, with_secrets=ctx.connection.scope is FULL)


@handles(CONFIG_REQUIREMENTS_READ)
async def read_requirements(ctx: RequestContext, params: Empty) -> ConfigRequirementsReadResponse:
    """Nothing is demanded by an organisation."""
    return ConfigRequirementsReadResponse(requirements=None)


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
