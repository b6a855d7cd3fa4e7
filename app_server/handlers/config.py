"""config/* and configRequirements/*: what is configured, where it comes from, and writing it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import asdict
from pydantic import ValidationError

from app_server.config.defaults import with_defaults
from app_server.config.edit import Edit, WriteRefused, Written
from app_server.config.hiding import without_secrets
from app_server.config.layer import Layer, Table, contains, parse_key, without
from app_server.config.layers import LayerStack
from app_server.config.network_proxy import HostAction, NetworkRequirements
from app_server.config.requirements import Requirements, wire_form
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.scopes import FULL
from protocol.jsonrpc import INVALID_REQUEST, RpcError
from protocol.v2 import config_requirements as wire
from protocol.v2.config import CONFIG_READ, Config, ConfigReadParams, ConfigReadResponse
from protocol.v2.config_requirements import (
    CONFIG_REQUIREMENTS_READ,
    ConfigRequirements,
    ConfigRequirementsReadResponse,
)
from protocol.v2.config_write import (
    CONFIG_BATCH_WRITE,
    CONFIG_VALUE_WRITE,
    ConfigBatchWriteParams,
    ConfigValueWriteParams,
    ConfigWriteResponse,
)
from protocol.wire import Empty


@handles(CONFIG_READ)
async def read(ctx: RequestContext, params: ConfigReadParams) -> ConfigReadResponse:
    """The configuration that holds in a folder; keys and tokens in it only for who may do everything."""
    stack = await ctx.configuration.in_folder(params.cwd)
    return config_response(stack, include_layers=params.include_layers, with_secrets=ctx.connection.scope is FULL)


@handles(CONFIG_VALUE_WRITE)
async def write_value(ctx: RequestContext, params: ConfigValueWriteParams) -> ConfigWriteResponse:
    edit = Edit(params.key_path, params.value, params.merge_strategy)
    return await _write(ctx, [edit], params.expected_version, params.file_path)


@handles(CONFIG_BATCH_WRITE)
async def write_batch(ctx: RequestContext, params: ConfigBatchWriteParams) -> ConfigWriteResponse:
    edits = [Edit(edit.key_path, edit.value, edit.merge_strategy) for edit in params.edits]
    return await _write(ctx, edits, params.expected_version, params.file_path)


@handles(CONFIG_REQUIREMENTS_READ)
async def read_requirements(ctx: RequestContext, params: Empty) -> ConfigRequirementsReadResponse:
    """What an organisation demands."""
    demands = (await ctx.configuration.refresh()).demands
    return ConfigRequirementsReadResponse(requirements=requirements(demands), supports_independent_speed_modes=True)


# Writing


async def _write(
    ctx: RequestContext, edits: Sequence[Edit], expected_version: str | None, file_path: str | None
) -> ConfigWriteResponse:
    return write_response(await write(ctx, edits, expected_version, file_path))


async def write(
    ctx: RequestContext, edits: Sequence[Edit], expected_version: str | None = None, file_path: str | None = None
) -> Written:
    """Write, and wait until it is in force in threads too. Raises -32600 with `config_write_error_code` and why."""
    try:
        written = await ctx.configuration.write(edits, expected_version=expected_version, file_path=file_path)
    except WriteRefused as error:
        raise refusal(error.kind, str(error)) from None
    except OSError as error:
        reason = f"{ctx.config.user.file} cannot be written: {error.strerror or error}"
        raise refusal("configWriteFailed", reason) from None
    await ctx.threads.reconfigure()
    return written


def refusal(kind: str, message: str) -> RpcError:
    """Why a write was refused, as clients are told."""
    return RpcError(INVALID_REQUEST, message, {"config_write_error_code": kind})


def write_response(written: Written) -> ConfigWriteResponse:
    """The answer to a write."""
    overridden: dict[str, Any] | None = None
    if written.overridden is not None:
        layer, value = written.overridden
        overridden = {"message": f"Overridden by {_named(layer)}", "effectiveValue": value}
        overridden["overridingLayer"] = {"name": layer.source, "version": layer.version}
    return ConfigWriteResponse.model_validate(
        {
            "status": "ok" if overridden is None else "okOverridden",
            "version": written.layer.version,
            "filePath": written.layer.file,
            "overriddenMetadata": overridden,
        }
    )


def _named(layer: Layer) -> str:
    match layer.kind:
        case "sessionFlags":
            return "session flags"
        case "legacyManagedConfigTomlFromFile":
            return f"legacy managed_config.toml: {layer.file}"
        case _:
            return f"profile {layer.source['profile']}: {layer.file}"


# Demands


def requirements(demands: Requirements | None) -> ConfigRequirements | None:
    """Demands as clients read them."""
    if demands is None:
        return None
    told = {"allowed_login_methods": ["api", "chatgpt"], **wire_form(demands.table)}
    for place in ("log_dir", "sqlite_home", "model_catalog_json"):
        if isinstance(path := told.get(place), str) and path.startswith("/"):
            told[place] = Path(path).as_uri()
    return ConfigRequirements.model_validate({**told, "network": network_requirements(demands.network)})


def network_requirements(demands: NetworkRequirements | None) -> wire.NetworkRequirements | None:
    """Demands on the network as clients read them, with the older lists beside what replaced them."""
    if demands is None:
        return None
    network: dict[str, Any] = asdict(demands) | {
        "allowed_domains": _names(demands.domains, "allow"),
        "denied_domains": _names(demands.domains, "deny"),
        "allow_unix_sockets": _names(demands.unix_sockets, "allow"),
        "domains": None if demands.domains is None else dict(demands.domains),
        "unix_sockets": None if demands.unix_sockets is None else dict(demands.unix_sockets),
        "review_domains": None if demands.review_domains is None else list(demands.review_domains),
    }
    return wire.NetworkRequirements(**network)


def _names(actions: Mapping[str, HostAction] | None, action: HostAction) -> list[str] | None:
    return [name for name, one in (actions or {}).items() if one == action] or None


# Reading


def config_response(stack: LayerStack, *, include_layers: bool, with_secrets: bool = True) -> ConfigReadResponse:
    """The merged configuration with the origin of each value; the layers themselves, strongest first, if asked."""
    table = stack.effective()
    imposed: set[str] = set()
    if stack.demands is not None:
        imposed = {problem.key for problem in stack.demands.impose(table)}
    origins = {
        ".".join(parse_key(key)): {"name": layer.source, "version": layer.version}
        for key, layer in stack.origins().items()
        if key not in imposed
    }
    layers: list[dict[str, Any]] | None = None
    if include_layers:
        layers = [
            {
                "name": layer.source,
                "version": layer.version,
                "config": layer.table if with_secrets else without_secrets(layer.table),
                "disabledReason": layer.disabled_reason,
            }
            for layer in reversed(stack.layers)
        ]
    table = with_defaults(table)
    config = _valid_config(table if with_secrets else without_secrets(table))
    return ConfigReadResponse.model_validate({"config": config, "origins": origins, "layers": layers})


def _valid_config(table: dict[str, Any]) -> Config:
    # A value of the wrong type is told as a warning; here it is left out, so that clients can read the rest.
    while True:
        try:
            return Config.model_validate(table)
        except ValidationError as error:
            wrong = {_in_table(table, detail["loc"]) for detail in error.errors()} - {()}
            if not wrong:
                raise
            table = without(table, wrong)


def _in_table(table: Table, place: Sequence[str | int]) -> tuple[str, ...]:
    """The part of a place that is there: what follows is the name of a form that was tried, or a place in a list."""
    path = [str(part) for part in place]
    return next((tuple(path[:end]) for end in range(len(path), 0, -1) if contains(table, path[:end])), ())
