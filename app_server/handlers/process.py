"""`process/*`: programs that a client starts and keeps, without a sandbox."""

from app_server.exec.client_commands import PROCESSES, CommandRequest, CommandResult
from app_server.exec.environment import secrets_only
from app_server.exec.pty import Size
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import handles
from app_server.rpc.outbound import notification
from app_server.sandbox.permissions import FULL_ACCESS
from protocol.v2.process import (
    PROCESS_EXITED,
    PROCESS_KILL,
    PROCESS_RESIZE_PTY,
    PROCESS_SPAWN,
    PROCESS_WRITE_STDIN,
    ProcessExitedNotification,
    ProcessKillParams,
    ProcessKillResponse,
    ProcessResizePtyParams,
    ProcessResizePtyResponse,
    ProcessSpawnParams,
    ProcessSpawnResponse,
    ProcessTerminalSize,
    ProcessWriteStdinParams,
    ProcessWriteStdinResponse,
)


@handles(PROCESS_SPAWN)
async def spawn(ctx: RequestContext, params: ProcessSpawnParams) -> ProcessSpawnResponse:
    def exited(result: CommandResult) -> None:
        ctx.connection.push(notification(PROCESS_EXITED, _exited(params.process_handle, result)))

    connection = ctx.connection
    await ctx.commands.spawn(connection.id, connection.outbound, _request(ctx, params), connection.look_after, exited)
    return ProcessSpawnResponse()


@handles(PROCESS_WRITE_STDIN)
async def write_stdin(ctx: RequestContext, params: ProcessWriteStdinParams) -> ProcessWriteStdinResponse:
    await ctx.commands.write(
        ctx.connection.id,
        params.process_handle,
        params.delta_base64,
        close_stdin=params.close_stdin,
        family=PROCESSES,
    )
    return ProcessWriteStdinResponse()


@handles(PROCESS_KILL)
async def kill(ctx: RequestContext, params: ProcessKillParams) -> ProcessKillResponse:
    ctx.commands.terminate(ctx.connection.id, params.process_handle, PROCESSES)
    return ProcessKillResponse()


@handles(PROCESS_RESIZE_PTY)
async def resize_pty(ctx: RequestContext, params: ProcessResizePtyParams) -> ProcessResizePtyResponse:
    await ctx.commands.resize(ctx.connection.id, params.process_handle, _size(params.size), PROCESSES)
    return ProcessResizePtyResponse()


def _request(ctx: RequestContext, params: ProcessSpawnParams) -> CommandRequest:
    given = params.model_fields_set
    return CommandRequest(
        command=params.command,
        profile=FULL_ACCESS,
        cwd=params.cwd,
        env=params.env,
        process_id=params.process_handle,
        tty=params.tty,
        size=None if params.size is None else _size(params.size),
        stream_stdin=params.stream_stdin,
        stream_output=params.stream_stdout_stderr,
        timeout_ms=params.timeout_ms,
        disable_timeout="timeout_ms" in given and params.timeout_ms is None,
        output_bytes_cap=params.output_bytes_cap,
        disable_output_cap="output_bytes_cap" in given and params.output_bytes_cap is None,
        environment=secrets_only(ctx.settings.shell_environment_policy),
        limits=ctx.settings.command_limits,
        family=PROCESSES,
    )


def _exited(process_handle: str, result: CommandResult) -> ProcessExitedNotification:
    return ProcessExitedNotification(
        process_handle=process_handle,
        exit_code=result.exit_code,
        stdout=result.stdout,
        stdout_cap_reached=result.stdout_cut,
        stderr=result.stderr,
        stderr_cap_reached=result.stderr_cut,
        output_drain_timed_out=result.drain_timed_out,
    )


def _size(size: ProcessTerminalSize) -> Size:
    return Size(size.rows, size.cols)
