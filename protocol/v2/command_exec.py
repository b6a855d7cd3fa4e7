"""v2.command_exec"""

from typing import Annotated, Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.permissions import SandboxPolicy
from protocol.wire import Experimental, UInt, UInt16, Wire


class CommandExecTerminalSize(Wire):
    cols: UInt16
    rows: UInt16


class CommandExecParams(Wire):
    command: list[str]
    cwd: str | None = None
    disable_output_cap: bool = False
    disable_timeout: bool = False
    env: dict[str, str | None] | None = None
    output_bytes_cap: UInt | None = None
    permission_profile: Annotated[str | None, Experimental("command/exec.permissionProfile")] = None
    process_id: str | None = None
    sandbox_policy: SandboxPolicy | None = None
    size: CommandExecTerminalSize | None = None
    stream_stdin: bool = False
    stream_stdout_stderr: bool = False
    timeout_ms: int | None = None
    tty: bool = False


class CommandExecResponse(Wire):
    exit_code: int
    stderr: str
    stdout: str


COMMAND_EXEC = ClientRequest("command/exec", CommandExecParams, CommandExecResponse)


class CommandExecWriteParams(Wire):
    process_id: str
    close_stdin: bool = False
    delta_base64: str | None = None


class CommandExecWriteResponse(Wire):
    pass


COMMAND_EXEC_WRITE = ClientRequest("command/exec/write", CommandExecWriteParams, CommandExecWriteResponse)


class CommandExecResizeParams(Wire):
    process_id: str
    size: CommandExecTerminalSize


class CommandExecResizeResponse(Wire):
    pass


COMMAND_EXEC_RESIZE = ClientRequest("command/exec/resize", CommandExecResizeParams, CommandExecResizeResponse)


class CommandExecTerminateParams(Wire):
    process_id: str


class CommandExecTerminateResponse(Wire):
    pass


COMMAND_EXEC_TERMINATE = ClientRequest(
    "command/exec/terminate", CommandExecTerminateParams, CommandExecTerminateResponse
)

CommandExecOutputStream = Literal["stdout", "stderr"]


class CommandExecOutputDeltaNotification(Wire):
    cap_reached: bool
    delta_base64: str
    process_id: str
    stream: CommandExecOutputStream


COMMAND_EXEC_OUTPUT_DELTA = ServerNotification("command/exec/outputDelta", CommandExecOutputDeltaNotification)
