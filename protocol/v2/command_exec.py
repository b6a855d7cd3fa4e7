"""One-off commands of a client, outside any thread."""

from typing import Annotated, Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.v2.permissions import SandboxPolicy
from protocol.wire import Experimental, UInt, UInt16, Wire


class CommandExecTerminalSize(Wire):
    """The size of a terminal in characters."""

    cols: UInt16
    rows: UInt16


class CommandExecParams(Wire):
    """Run a program.

    `process_id` is the client's own name for it, needed to write, resize, terminate or stream. `timeout_ms` is in
    milliseconds, `output_bytes_cap` in bytes for each stream. In `env`, None removes a variable.
    """

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
    """The program has ended. What was streamed is not repeated in `stdout` and `stderr`."""

    exit_code: int
    stderr: str
    stdout: str


COMMAND_EXEC = ClientRequest("command/exec", CommandExecParams, CommandExecResponse)


class CommandExecWriteParams(Wire):
    """Send input to a program, end its input, or both."""

    process_id: str
    close_stdin: bool = False
    delta_base64: str | None = None


class CommandExecWriteResponse(Wire):
    """The input was taken."""


COMMAND_EXEC_WRITE = ClientRequest("command/exec/write", CommandExecWriteParams, CommandExecWriteResponse)


class CommandExecResizeParams(Wire):
    """Change the size of a program's terminal."""

    process_id: str
    size: CommandExecTerminalSize


class CommandExecResizeResponse(Wire):
    """The terminal has the new size."""


COMMAND_EXEC_RESIZE = ClientRequest("command/exec/resize", CommandExecResizeParams, CommandExecResizeResponse)


class CommandExecTerminateParams(Wire):
    """Stop a program."""

    process_id: str


class CommandExecTerminateResponse(Wire):
    """The program has been told to stop; `command/exec` answers when it has."""


COMMAND_EXEC_TERMINATE = ClientRequest(
    "command/exec/terminate", CommandExecTerminateParams, CommandExecTerminateResponse
)

CommandExecOutputStream = Literal["stdout", "stderr"]
"""Where output came from; a terminal has only `stdout`."""


class CommandExecOutputDeltaNotification(Wire):
    """Output of a program in base64. After `cap_reached` no more of this stream follows."""

    cap_reached: bool
    delta_base64: str
    process_id: str
    stream: CommandExecOutputStream


COMMAND_EXEC_OUTPUT_DELTA = ServerNotification("command/exec/outputDelta", CommandExecOutputDeltaNotification)
