"""CommandSessions: the commands that clients run by `command/exec`, known by connection and process id."""

import binascii
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time_ns
from typing import Literal, Protocol

import anyio
import pybase64

from app_server.config.settings import CommandLimits, ShellEnvironmentPolicy
from app_server.exec.environment import child_environment
from app_server.exec.expiration import Expiration
from app_server.exec.output import CAPTURE_LIMIT, Capped
from app_server.exec.process import Process, Stream
from app_server.exec.pty import DEFAULT_SIZE, Size
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable
from protocol.jsonrpc import RpcError, internal_error, invalid_params, invalid_request

DEFAULT_TIMEOUT_S = 10.0
LONGEST_TIMEOUT_MS = 1 << 62
EXIT_TIMED_OUT = 124
EXIT_TERMINAL_TERMINATED = 1

BASE64_SYMBOLS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

OUTPUT_DELTA = "command/exec/outputDelta"

SHUTDOWN_S = 5.0
"""How long closing waits for commands that it has told to stop."""


class OutputSink(Protocol):
    """Where the output of a streamed command goes: the queue of the connection that runs it."""

    def push_bytes(self, method: str | None, body: bytes) -> None:
        """Queue a notification that is encoded already."""
        ...

    async def drained(self) -> None:
        """Wait while the queue is high."""
        ...


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """What `command/exec` asks for. Times are in milliseconds, caps in bytes for each stream."""

    command: Sequence[str]
    profile: PermissionProfile
    cwd: str | None = None
    env: Mapping[str, str | None] | None = None
    process_id: str | None = None
    tty: bool = False
    size: Size | None = None
    stream_stdin: bool = False
    stream_output: bool = False
    timeout_ms: int | None = None
    disable_timeout: bool = False
    output_bytes_cap: int | None = None
    disable_output_cap: bool = False
    environment: ShellEnvironmentPolicy = field(default_factory=ShellEnvironmentPolicy)
    limits: CommandLimits = field(default_factory=CommandLimits)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How it ended. What was streamed is not repeated here."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(slots=True, eq=False)
class _Running:
    connection_id: int
    process_id: str | None
    accepts_input: bool
    expiration: Expiration
    process: Process | None = None
    input_closed: bool = False
    started: anyio.Event = field(default_factory=anyio.Event)
    """Set when `process` is there, or will never be."""
    ended: anyio.Event = field(default_factory=anyio.Event)


class CommandSessions:
    """Runs commands for clients. Whoever awaits `run` owns the command: its end, or cancelling it, ends the tree."""

    def __init__(self, sandbox: Sandbox, reaper: Reaper) -> None:
        self._sandbox, self._reaper = sandbox, reaper
        self._named: dict[tuple[int, str], _Running] = {}
        self._all: set[_Running] = set()
        self._closing = False

    async def run(self, connection_id: int, sink: OutputSink, request: CommandRequest) -> CommandResult:
        """Run a command to its end. Raises RpcError with the codes and texts that clients know."""
        check(request)
        if self._closing:
            raise invalid_request("the server is shutting down")
        expiration = Expiration(_timeout_s(request))
        running = _Running(connection_id, request.process_id, request.stream_stdin or request.tty, expiration)
        key = (connection_id, request.process_id) if request.process_id is not None else None
        if key is not None:
            if key in self._named:
                raise invalid_request(f"duplicate active command/exec process id: {json.dumps(key[1])}")
            self._named[key] = running
        self._all.add(running)
        try:
            return await self._run(running, sink, request)
        finally:
            if key is not None:
                del self._named[key]
            self._all.discard(running)
            running.started.set()
            running.ended.set()

    async def write(self, connection_id: int, process_id: str, delta_base64: str | None, *, close_stdin: bool) -> None:
        """Give input to a command, end its input, or both. Raises RpcError."""
        if delta_base64 is None and not close_stdin:
            raise invalid_params("command/exec/write requires deltaBase64 or closeStdin")
        data = decode_base64(delta_base64) if delta_base64 is not None else b""
        running, process = await self._find(connection_id, process_id)
        if not running.accepts_input:
            raise invalid_request("stdin streaming is not enabled for this command/exec")
        if running.input_closed and delta_base64 is not None:
            raise invalid_request("stdin is already closed")
        if close_stdin and not running.input_closed:
            running.input_closed = True
            # Both in one step: input of another request cannot come between.
            process.feed_stdin(data)
            process.close_stdin()
        elif data:
            await process.write_stdin(data)

    async def resize(self, connection_id: int, process_id: str, size: Size) -> None:
        """Change the size of a command's terminal. Raises RpcError."""
        _check_size(size)
        _, process = await self._find(connection_id, process_id)
        try:
            process.resize(size)
        except OSError as error:
            raise invalid_request(f"failed to resize PTY: {error.strerror}") from error

    def terminate(self, connection_id: int, process_id: str) -> None:
        """Tell a command to stop; its own `run` returns when it has. Raises RpcError."""
        running = self._named.get((connection_id, process_id))
        if running is None:
            raise _not_active(process_id)
        _check_runs(running)
        running.expiration.cancel("terminated")

    async def close_connection(self, connection_id: int) -> None:
        """End every command of a connection that has gone, and wait for their end."""
        await self._end([running for running in self._all if running.connection_id == connection_id], "disconnected")

    async def shutdown(self) -> None:
        """Take no more commands and end those that run, within `SHUTDOWN_S`."""
        self._closing = True
        await self._end(list(self._all), "shutdown")

    async def _end(self, commands: Sequence[_Running], reason: str) -> None:
        for running in commands:
            running.expiration.cancel(reason)
        with anyio.move_on_after(SHUTDOWN_S, shield=True):
            for running in commands:
                await running.ended.wait()

    async def _find(self, connection_id: int, process_id: str) -> tuple[_Running, Process]:
        """A command that runs, or is about to: its sandbox may take a moment to prepare."""
        running = self._named.get((connection_id, process_id))
        if running is not None and running.process is None:
            await running.started.wait()
        if running is None or running.process is None:
            raise _not_active(process_id)
        _check_runs(running)
        return running, running.process

    async def _run(self, running: _Running, sink: OutputSink, request: CommandRequest) -> CommandResult:
        cwd = absolute_cwd(request.cwd)
        env = child_environment(request.environment, request.env, terminal=request.tty)
        if not request.command[0]:
            raise internal_error(
                f"failed to spawn command: missing program for {'PTY' if request.tty else 'pipe'} spawn"
            )
        try:
            command = await self._sandbox.wrap(
                request.command, cwd=cwd, env=env, profile=request.profile, terminal=request.tty
            )
            process = Process.spawn(
                command,
                cwd=cwd,
                reaper=self._reaper,
                stdin=request.stream_stdin,
                tty=(request.size or DEFAULT_SIZE) if request.tty else None,
                limits=request.limits,
            )
        except SpawnError as error:
            raise internal_error(f"failed to spawn command: {error}") from error
        except SandboxUnavailable as error:
            raise internal_error(f"failed to spawn command: {error}") from error
        cap = None if request.disable_output_cap else request.output_bytes_cap
        if cap is None and not request.disable_output_cap:
            cap = CAPTURE_LIMIT
        output: _Buffer | _Streamed
        if request.stream_output or request.tty:
            output = _Streamed(sink, request.process_id or "", cap)
        else:
            output = _Buffer(cap)
        async with process:
            running.process = process
            running.started.set()
            with running.expiration as expiration:
                while (chunk := await process.read()) is not None:
                    output.take(*chunk)
                    await output.drained()
                await process.wait()
            if expiration.reason is not None:
                await process.terminate()
                while (chunk := await process.read()) is not None:
                    output.take(*chunk)
            exit_code = await process.wait()
        if expiration.timed_out:
            exit_code = EXIT_TIMED_OUT
        elif expiration.reason is not None and request.tty:
            exit_code = EXIT_TERMINAL_TERMINATED
        return CommandResult(exit_code, output.text("stdout"), output.text("stderr"))


class _Buffer:
    """Output that goes into the result."""

    def __init__(self, cap: int | None) -> None:
        self._streams: dict[Stream, Capped] = {"stdout": Capped(cap), "stderr": Capped(cap)}

    def take(self, stream: Stream, data: bytes) -> None:
        self._streams[stream].append(data)

    async def drained(self) -> None:
        pass

    def text(self, stream: Stream) -> str:
        return self._streams[stream].text()


class _Streamed:
    """Output that goes to the client as it comes, encoded without a model: this is what 100 MB a second go through."""

    def __init__(self, sink: OutputSink, process_id: str, cap: int | None) -> None:
        self._sink = sink
        self._caps: dict[Stream, Capped] = {"stdout": Capped(cap), "stderr": Capped(cap)}
        self._heads: dict[Stream, bytes] = {
            stream: b'{"method":"%b","params":{"processId":%b,"stream":"%b","deltaBase64":"'
            % (OUTPUT_DELTA.encode(), json.dumps(process_id).encode(), stream.encode())
            for stream in ("stdout", "stderr")
        }

    def take(self, stream: Stream, data: bytes) -> None:
        cap = self._caps[stream]
        if cap.cut:
            return
        data = cap.take(data)
        self._sink.push_bytes(
            OUTPUT_DELTA,
            b'%b%b","capReached":%b},"emittedAtMs":%d}'
            % (
                self._heads[stream],
                pybase64.b64encode(data),
                b"true" if cap.cut else b"false",
                time_ns() // 1_000_000,
            ),
        )

    async def drained(self) -> None:
        await self._sink.drained()

    def text(self, stream: Stream) -> Literal[""]:
        return ""


def _not_active(process_id: str) -> RpcError:
    return invalid_request(f"no active command/exec for process id {json.dumps(process_id)}")


def _check_runs(running: _Running) -> None:
    has_exited = running.process is not None and running.process.exit_code is not None
    if has_exited or running.expiration.reason is not None:
        raise invalid_request(f"command/exec {json.dumps(running.process_id)} is no longer running")


def absolute_cwd(cwd: str | None) -> str:
    """The directory of a command; a relative one is meant from the daemon's own. Raises RpcError if that is gone."""
    if cwd is not None and os.path.isabs(cwd):
        return cwd
    try:
        return os.path.join(os.getcwd(), cwd) if cwd else os.getcwd()
    except OSError as error:
        raise internal_error(f"failed to spawn command: {SpawnError.of(error)}") from error


def check(request: CommandRequest) -> None:
    """Raise the RpcError that a request deserves before anything is done for it."""
    if not request.command:
        raise invalid_request("command must not be empty")
    if request.size is not None and not request.tty:
        raise invalid_params("command/exec size requires tty: true")
    if request.disable_output_cap and request.output_bytes_cap is not None:
        raise invalid_params("command/exec cannot set both outputBytesCap and disableOutputCap")
    if request.disable_timeout and request.timeout_ms is not None:
        raise invalid_params("command/exec cannot set both timeoutMs and disableTimeout")
    if request.timeout_ms is not None and request.timeout_ms < 0:
        raise invalid_params(f"command/exec timeoutMs must be non-negative, got {request.timeout_ms}")
    if request.size is not None:
        _check_size(request.size)
    if request.process_id is None and (request.tty or request.stream_stdin or request.stream_output):
        raise invalid_request("command/exec tty or streaming requires a client-supplied processId")


def decode_base64(text: str) -> bytes:
    """The bytes of a standard base64 text with its padding. Raises RpcError."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        data = None
    if data is None or pybase64.b64encode(data) != text.encode():
        raise invalid_params(f"invalid deltaBase64: {_base64_fault(text.encode())}")
    return data


def _base64_fault(text: bytes) -> str:
    """What is wrong with a text that is not standard base64, in the words that clients know."""
    body = text.rstrip(b"=")
    for offset, symbol in enumerate(body):
        if symbol not in BASE64_SYMBOLS:
            return f"Invalid symbol {symbol}, offset {offset}."
    if len(text) - len(body) > 2 or (len(body) % 4 < 2 and len(text) > len(body)):
        return f"Invalid symbol {ord('=')}, offset {len(body)}."
    if len(body) % 4 == 1:
        return f"Invalid input length: {len(text)}"
    if len(text) % 4:
        return "Invalid padding"
    return f"Invalid last symbol {body[-1]}, offset {len(body) - 1}."


def _check_size(size: Size) -> None:
    if size.rows == 0 or size.cols == 0:
        raise invalid_params("command/exec size rows and cols must be greater than 0")


def _timeout_s(request: CommandRequest) -> float | None:
    if request.disable_timeout:
        return None
    return DEFAULT_TIMEOUT_S if request.timeout_ms is None else min(request.timeout_ms, LONGEST_TIMEOUT_MS) / 1000
