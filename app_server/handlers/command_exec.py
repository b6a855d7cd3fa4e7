"""`command/exec`: a client's own commands, outside any thread."""

from functools import partial

from msgspec.structs import replace

from app_server.config.permission_profiles import ProfileError
from app_server.exec.client_commands import CommandRequest, ManagedAccess, absolute_cwd
from app_server.exec.pty import Size
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.network.egress import Execution
from app_server.sandbox.permissions import PermissionProfile, profile_for
from app_server.sandbox.profiles import default_profile, policy_mode, profile_named, with_managed_network
from app_server.store.ids import uuid7
from protocol.jsonrpc import invalid_request
from protocol.v2.command_exec import (
    COMMAND_EXEC,
    COMMAND_EXEC_RESIZE,
    COMMAND_EXEC_TERMINATE,
    COMMAND_EXEC_WRITE,
    CommandExecParams,
    CommandExecResizeParams,
    CommandExecResizeResponse,
    CommandExecResponse,
    CommandExecTerminalSize,
    CommandExecTerminateParams,
    CommandExecTerminateResponse,
    CommandExecWriteParams,
    CommandExecWriteResponse,
)


@handles(COMMAND_EXEC)
async def run(ctx: RequestContext, params: CommandExecParams) -> CommandExecResponse:
    profile = with_managed_network(_profile(ctx, params), ctx.settings)
    if profile.kind == "full_access":
        # Nothing makes it use the proxy, but programs that obey their environment do.
        profile = replace(profile, proxy=ctx.settings.network_proxy)
    request = CommandRequest(
        command=params.command,
        profile=profile,
        network=_network(ctx, profile, params),
        cwd=params.cwd,
        env=params.env,
        process_id=params.process_id,
        tty=params.tty,
        size=None if params.size is None else _size(params.size),
        stream_stdin=params.stream_stdin,
        stream_output=params.stream_stdout_stderr,
        timeout_ms=params.timeout_ms,
        disable_timeout=params.disable_timeout,
        output_bytes_cap=params.output_bytes_cap,
        disable_output_cap=params.disable_output_cap,
        environment=ctx.settings.shell_environment_policy,
        limits=ctx.settings.command_limits,
    )
    result = await ctx.commands.run(ctx.connection.id, ctx.connection.outbound, request)
    return CommandExecResponse(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


@handles(COMMAND_EXEC_WRITE)
async def write(ctx: RequestContext, params: CommandExecWriteParams) -> CommandExecWriteResponse:
    await ctx.commands.write(ctx.connection.id, params.process_id, params.delta_base64, close_stdin=params.close_stdin)
    return CommandExecWriteResponse()


@handles(COMMAND_EXEC_RESIZE)
async def resize(ctx: RequestContext, params: CommandExecResizeParams) -> CommandExecResizeResponse:
    await ctx.commands.resize(ctx.connection.id, params.process_id, _size(params.size))
    return CommandExecResizeResponse()


@handles(COMMAND_EXEC_TERMINATE)
async def terminate(ctx: RequestContext, params: CommandExecTerminateParams) -> CommandExecTerminateResponse:
    ctx.commands.terminate(ctx.connection.id, params.process_id)
    return CommandExecTerminateResponse()


def _profile(ctx: RequestContext, params: CommandExecParams) -> PermissionProfile:
    """Policies are rooted at the daemon's directory, named profiles at the command's."""
    if params.command and params.sandbox_policy is not None and params.permission_profile is not None:
        raise invalid_request("`permissionProfile` cannot be combined with `sandboxPolicy`")
    if params.permission_profile is not None:
        try:
            return profile_named(params.permission_profile, ctx.settings, [absolute_cwd(params.cwd)])
        except ProfileError as error:
            raise invalid_request(f"invalid permission profile: {error}") from None
    if params.sandbox_policy is not None:
        demands = ctx.settings.requirements
        if demands and (reason := demands.refuse("sandbox_mode", policy_mode(params.sandbox_policy))) is not None:
            raise invalid_request(f"invalid sandbox policy: {reason}")
        return profile_for(params.sandbox_policy, roots=[absolute_cwd(None)])
    return default_profile(ctx.settings, [absolute_cwd(None)])


def _network(ctx: RequestContext, profile: PermissionProfile, params: CommandExecParams) -> ManagedAccess | None:
    if profile.proxy is None:
        return None
    execution = Execution(uuid7(), item_id=params.process_id)
    opening = partial(ctx.network.open, profile, absolute_cwd(params.cwd), execution)
    return ManagedAccess(opening, profile.proxy.terminate_on_denial)


def _size(size: CommandExecTerminalSize) -> Size:
    return Size(size.rows, size.cols)
