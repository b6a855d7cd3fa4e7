"""environment/*: where commands of threads can run."""

from pathlib import Path

from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.tools.shell import user_shell
from protocol.jsonrpc import RpcError, invalid_request
from protocol.v2 import environment as wire


@handles(wire.ENVIRONMENT_ADD)
def add(ctx: RequestContext, params: wire.EnvironmentAddParams) -> wire.EnvironmentAddResponse:
    ctx.platform.environments.add(params.environment_id, params.exec_server_url)
    return wire.EnvironmentAddResponse()


@handles(wire.ENVIRONMENT_INFO)
def info(ctx: RequestContext, params: wire.EnvironmentInfoParams) -> wire.EnvironmentInfoResponse:
    if (remote := ctx.platform.environments.remote(params.environment_id)) is not None:
        raise invalid_request(f"failed to get info for environment `{remote.id}`: {remote.problem}")
    shell = user_shell()
    about = wire.EnvironmentShellInfo(name=Path(shell).name, path=shell)
    return wire.EnvironmentInfoResponse(shell=about, cwd=Path.cwd().as_uri())


@handles(wire.ENVIRONMENT_STATUS)
def status(ctx: RequestContext, params: wire.EnvironmentStatusParams) -> wire.EnvironmentStatusResponse:
    try:
        remote = ctx.platform.environments.remote(params.environment_id)
    except RpcError as unknown:
        return wire.EnvironmentStatusResponse(status="unknown", error=unknown.message)
    if remote is None:
        return wire.EnvironmentStatusResponse(status="ready")
    return wire.EnvironmentStatusResponse(status="disconnected", error=remote.problem)
