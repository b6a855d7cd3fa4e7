"""CommandSessions: the commands that clients run by `command/exec` and `process/spawn`, by connection and name."""

import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import time_ns
from typing import Any, Protocol

import anyio
import pybase64
from msgspec import Struct, field

from app_server.exec.client_commands import (
    COMMANDS,
    ClientGate,
    CommandRequest,
    CommandResult,
    Family,
    about,
    absolute_cwd,
    check,
    check_size,
    decode_base64,
)
from app_server.exec.environment import child_environment
from app_server.exec.expiration import NETWORK_DENIED, Expiration
from app_server.exec.launch import launch
from app_server.exec.output import CAPTURE_LIMIT, Capped
from app_server.exec.process import Process, Stream
from app_server.exec.pty import DEFAULT_SIZE, Size
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.network.egress import Egress
from app_server.network.policy import blocked
from app_server.network.proxy import NetworkUnavailable
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable
from protocol.jsonrpc import internal_error, invalid_params, invalid_request

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 10.0
LONGEST_TIMEOUT_MS = 1 << 62
EXIT_TIMED_OUT = 124
EXIT_TERMINAL_TERMINATED = 1

CLOSE_NETWORK_S = 5.0
"""How long ending the connections of a command may take."""

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


Start = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Runs what a request leaves behind, until it ends or its connection does."""


class _Running(Struct, eq=False):
    connection_id: int
    request: CommandRequest
    expiration: Expiration
    process: Process | None = None
    gate: ClientGate | None = None
    egress: Egress | None = None
    input_closed: bool = False
    started: anyio.Event = field(default_factory=anyio.Event)
    """Set when `process` is there, or will never be."""
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def accepts_input(self) -> bool:
        return self.request.stream_stdin or self.request.tty


class CommandSessions:
    """Runs commands for clients. Whoever awaits the end of a command owns it: cancelling that ends the tree."""

    def __init__(self, sandbox: Sandbox, reaper: Reaper) -> None:
        self._sandbox, self._reaper = sandbox, reaper
        self._named: dict[tuple[str, int, str], _Running] = {}
        self._all: set[_Running] = set()
        self._closing = False

    @property
    def running_count(self) -> int:
        """How many commands run."""
        return len(self._all)

    async def run(self, connection_id: int, sink: OutputSink, request: CommandRequest) -> CommandResult:
        """Run a command to its end. Raises RpcError with the codes and texts that clients know."""
        running = self._enter(connection_id, request)
        try:
            return await self._finish(running, await self._begin(running), sink)
        finally:
            await _close_network(running)
            self._leave(running)

    async def spawn(
        self,
        connection_id: int,
        sink: OutputSink,
        request: CommandRequest,
        start: Start,
        exited: Callable[[CommandResult], None],
    ) -> None:
        """Start a command and return; `start` runs the rest, and `exited` is called when its name is free again.

        Raises RpcError with the codes and texts that clients know.
        """
        running = self._enter(connection_id, request)
        try:
            process = await self._begin(running)
        except BaseException:
            await _close_network(running)
            self._leave(running)
            raise
        start(partial(self._look_after, running, process, sink, exited))

    async def write(
        self,
        connection_id: int,
        process_id: str,
        delta_base64: str | None,
        *,
        close_stdin: bool,
        family: Family = COMMANDS,
    ) -> None:
        """Give input to a command, end its input, or both. Raises RpcError."""
        if delta_base64 is None and not close_stdin:
            raise invalid_params(f"{family.write} requires deltaBase64 or closeStdin")
        data = decode_base64(delta_base64) if delta_base64 is not None else b""
        running, process = await self._find(connection_id, process_id, family)
        if not running.accepts_input:
            raise invalid_request(family.takes_no_input)
        if running.input_closed and delta_base64 is not None:
            raise invalid_request("stdin is already closed")
        if close_stdin and not running.input_closed:
            running.input_closed = True
            # Both in one step: input of another request cannot come between.
            process.feed_stdin(data)
            process.close_stdin()
        elif data:
            await process.write_stdin(data)

    async def resize(self, connection_id: int, process_id: str, size: Size, family: Family = COMMANDS) -> None:
        """Change the size of a command's terminal. Raises RpcError."""
        check_size(size, family)
        _, process = await self._find(connection_id, process_id, family)
        try:
            process.resize(size)
        except OSError as error:
            raise invalid_request(f"failed to resize PTY: {error.strerror}") from error

    def terminate(self, connection_id: int, process_id: str, family: Family = COMMANDS) -> None:
        """Tell a command to stop; it ends soon after. Raises RpcError."""
        running = self._named.get((family.run, connection_id, process_id))
        if running is None:
            raise about(family.not_active, process_id)
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

    async def _find(self, connection_id: int, process_id: str, family: Family) -> tuple[_Running, Process]:
        """A command that runs, or is about to: its sandbox may take a moment to prepare."""
        running = self._named.get((family.run, connection_id, process_id))
        if running is not None and running.process is None:
            await running.started.wait()
        if running is None or running.process is None:
            raise about(family.not_active, process_id)
        _check_runs(running)
        return running, running.process

    def _enter(self, connection_id: int, request: CommandRequest) -> _Running:
        check(request)
        if self._closing:
            raise invalid_request("the server is shutting down")
        running = _Running(connection_id, request, Expiration(_timeout_s(request)))
        if (key := _key(running)) is not None:
            if key in self._named:
                raise about(request.family.taken, request.process_id)
            self._named[key] = running
        self._all.add(running)
        return running

    def _leave(self, running: _Running) -> None:
        if (key := _key(running)) is not None:
            del self._named[key]
        self._all.discard(running)
        running.started.set()
        running.ended.set()

    async def _begin(self, running: _Running) -> Process:
        request, family = running.request, running.request.family
        cwd = absolute_cwd(request.cwd)
        env = child_environment(request.environment, request.env, terminal=request.tty)
        if not request.command[0]:
            raise internal_error(
                f"failed to spawn {family.what}: missing program for {'PTY' if request.tty else 'pipe'} spawn"
            )
        try:
            port: int | None = None
            if request.network is not None:
                running.gate = ClientGate(running.expiration if request.network.terminate_on_denial else None)
                running.egress = await request.network.open(running.gate)
                port, env = running.egress.port, await running.egress.environment(env)
            process = running.process = await launch(
                self._sandbox,
                request.command,
                cwd=cwd,
                env=env,
                profile=request.profile,
                reaper=self._reaper,
                stdin=request.stream_stdin,
                tty=(request.size or DEFAULT_SIZE) if request.tty else None,
                limits=request.limits,
                proxy_port=port,
                serve=None if running.egress is None else running.egress.serve,
            )
        except (SpawnError, SandboxUnavailable, NetworkUnavailable) as error:
            raise internal_error(f"failed to spawn {family.what}: {error}") from error
        running.started.set()
        return process

    async def _finish(self, running: _Running, process: Process, sink: OutputSink) -> CommandResult:
        request = running.request
        cap = None if request.disable_output_cap else request.output_bytes_cap
        if cap is None and not request.disable_output_cap:
            cap = CAPTURE_LIMIT
        output = _Streamed(sink, request, cap) if request.stream_output or request.tty else _Buffer(cap)
        async with process:
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
        if process.limit_hit is not None:
            output.say(process.limit_hit)
        if expiration.reason == NETWORK_DENIED and running.gate is not None and running.gate.refused is not None:
            attempt, judgement = running.gate.refused
            output.say(blocked(attempt.host, judgement.reason))
        stdout, stderr = output.result("stdout"), output.result("stderr")
        return CommandResult(exit_code, stdout[0], stderr[0], stdout[1], stderr[1], process.drain_timed_out)

    async def _look_after(
        self, running: _Running, process: Process, sink: OutputSink, exited: Callable[[CommandResult], None]
    ) -> None:
        try:
            result = await self._finish(running, process, sink)
        except Exception:
            # No request is left that this could be the answer to, and the connection is not to end over it.
            logger.exception("unforeseen error while a client's process ran")
            result = None
        finally:
            await _close_network(running)
            self._leave(running)
        if result is not None:
            exited(result)


class _Buffer:
    """Output that goes into the result."""

    def __init__(self, cap: int | None) -> None:
        self._streams: dict[Stream, Capped] = {"stdout": Capped(cap), "stderr": Capped(cap)}
        self._said = ""

    def take(self, stream: Stream, data: bytes) -> None:
        self._streams[stream].append(data)

    async def drained(self) -> None:
        pass

    def say(self, sentence: str) -> None:
        """Tell the reader of the result something; no cap cuts it."""
        self._said = sentence

    def result(self, stream: Stream) -> tuple[str, bool]:
        """The text of one stream, and whether something of it was left out."""
        kept = self._streams[stream]
        text = kept.text()
        if self._said and stream == "stderr":
            text += f"{_new_line(text)}{self._said}\n"
        return text, kept.cut


class _Streamed:
    """Output that goes to the client as it comes, encoded without a model: this is what 100 MB a second go through."""

    def __init__(self, sink: OutputSink, request: CommandRequest, cap: int | None) -> None:
        family = request.family
        self._sink, self._method, self._tty = sink, family.delta, request.tty
        self._caps: dict[Stream, Capped] = {"stdout": Capped(cap), "stderr": Capped(cap)}
        self._heads: dict[Stream, bytes] = {
            stream: b'{"method":"%b","params":{"%b":%b,"stream":"%b","deltaBase64":"'
            % (
                family.delta.encode(),
                family.id_member.encode(),
                json.dumps(request.process_id).encode(),
                stream.encode(),
            )
            for stream in ("stdout", "stderr")
        }
        self._unsaid = ""

    def take(self, stream: Stream, data: bytes) -> None:
        cap = self._caps[stream]
        if not cap.cut:
            self._push(stream, cap.take(data))

    def _push(self, stream: Stream, data: bytes) -> None:
        self._sink.push_bytes(
            self._method,
            b'%b%b","capReached":%b},"emittedAtMs":%d}'
            % (
                self._heads[stream],
                pybase64.b64encode(data),
                b"true" if self._caps[stream].cut else b"false",
                time_ns() // 1_000_000,
            ),
        )

    async def drained(self) -> None:
        await self._sink.drained()

    def say(self, sentence: str) -> None:
        """Tell the reader of the output something; in the result where no more output may be sent."""
        stream: Stream = "stdout" if self._tty else "stderr"
        if self._caps[stream].cut:
            self._unsaid = f"{sentence}\n"
        else:
            self._push(stream, (f"\r\n{sentence}\r\n" if self._tty else f"{sentence}\n").encode())

    def result(self, stream: Stream) -> tuple[str, bool]:
        """What was not sent of one stream, and whether something of it was left out."""
        return self._unsaid if stream == "stderr" else "", self._caps[stream].cut


async def _close_network(running: _Running) -> None:
    if running.egress is not None:
        with anyio.move_on_after(CLOSE_NETWORK_S, shield=True):
            await running.egress.close()


def _key(running: _Running) -> tuple[str, int, str] | None:
    request = running.request
    return None if request.process_id is None else (request.family.run, running.connection_id, request.process_id)


def _new_line(text: str) -> str:
    return "" if not text or text.endswith("\n") else "\n"


def _check_runs(running: _Running) -> None:
    has_exited = running.process is not None and running.process.exit_code is not None
    if has_exited or running.expiration.reason is not None:
        raise about(running.request.family.ending, running.request.process_id)


def _timeout_s(request: CommandRequest) -> float | None:
    if request.disable_timeout:
        return None
    return DEFAULT_TIMEOUT_S if request.timeout_ms is None else min(request.timeout_ms, LONGEST_TIMEOUT_MS) / 1000
