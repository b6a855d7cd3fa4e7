"""Processes that a client starts and keeps, without a sandbox; they end with its connection."""

from typing import Literal

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import AbsolutePath, UInt, UInt16, Wire


class ProcessTerminalSize(Wire):
    """The size of a terminal in characters."""

    cols: UInt16
    rows: UInt16


class ProcessSpawnParams(Wire):
    """Start a program under a name of the client's choice.

    An absent `timeout_ms` (milliseconds) or `output_bytes_cap` (bytes for each stream) means the server's default, and
    null means none. In `env`, None removes a variable.
    """

    command: list[str]
    cwd: AbsolutePath
    process_handle: str
    env: dict[str, str | None] | None = None
    output_bytes_cap: UInt | None = None
    size: ProcessTerminalSize | None = None
    stream_stdin: bool = False
    stream_stdout_stderr: bool = False
    timeout_ms: int | None = None
    tty: bool = False


class ProcessSpawnResponse(Wire):
    """The program runs; `process/exited` tells when it has ended."""


PROCESS_SPAWN = ClientRequest("process/spawn", ProcessSpawnParams, ProcessSpawnResponse, experimental="process/spawn")


class ProcessWriteStdinParams(Wire):
    """Send input to a program, end its input, or both."""

    process_handle: str
    close_stdin: bool = False
    delta_base64: str | None = None


class ProcessWriteStdinResponse(Wire):
    """The input was taken."""


PROCESS_WRITE_STDIN = ClientRequest(
    "process/writeStdin", ProcessWriteStdinParams, ProcessWriteStdinResponse, experimental="process/writeStdin"
)


class ProcessKillParams(Wire):
    """Stop a program."""

    process_handle: str


class ProcessKillResponse(Wire):
    """The program has been told to stop; `process/exited` tells when it has."""


PROCESS_KILL = ClientRequest("process/kill", ProcessKillParams, ProcessKillResponse, experimental="process/kill")


class ProcessResizePtyParams(Wire):
    """Change the size of a program's terminal."""

    process_handle: str
    size: ProcessTerminalSize


class ProcessResizePtyResponse(Wire):
    """The terminal has the new size."""


PROCESS_RESIZE_PTY = ClientRequest(
    "process/resizePty", ProcessResizePtyParams, ProcessResizePtyResponse, experimental="process/resizePty"
)

ProcessOutputStream = Literal["stdout", "stderr"]
"""Where output came from; a terminal has only `stdout`."""


class ProcessOutputDeltaNotification(Wire):
    """Output of a program in base64. After `cap_reached` no more of this stream follows."""

    cap_reached: bool
    delta_base64: str
    process_handle: str
    stream: ProcessOutputStream


PROCESS_OUTPUT_DELTA = ServerNotification("process/outputDelta", ProcessOutputDeltaNotification)


class ProcessExitedNotification(Wire):
    """A program has ended, and its handle is free. What was streamed is not repeated in `stdout` and `stderr`.

    `output_drain_timed_out` tells that something held the output open after the exit and was not waited for.
    """

    exit_code: int
    process_handle: str
    stderr: str
    stderr_cap_reached: bool
    stdout: str
    stdout_cap_reached: bool
    output_drain_timed_out: bool | None = None


PROCESS_EXITED = ServerNotification("process/exited", ProcessExitedNotification)
