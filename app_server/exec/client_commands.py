"""What clients ask of their own commands, by `command/exec` and `process/*`, and the errors that they know."""

import binascii
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import pybase64
from msgspec import Struct, field

from app_server.config.settings import CommandLimits, ShellEnvironmentPolicy
from app_server.exec.expiration import NETWORK_DENIED, Expiration
from app_server.exec.pty import Size
from app_server.exec.spawn import SpawnError
from app_server.network.egress import HELD_SECONDS, Egress, Gate
from app_server.network.policy import Attempt, Judgement
from app_server.sandbox.permissions import PermissionProfile
from protocol.jsonrpc import RpcError, internal_error, invalid_params, invalid_request

BASE64_SYMBOLS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Family(Struct, frozen=True):
    """The methods for one kind of command, in the words of their errors and notifications.

    `not_active`, `ending` and `taken` are errors about a name, which stands in them for `{id}`.
    """

    what: str
    """What could not be spawned."""
    id_member: str
    """The member that holds the client's name for a command."""
    run: str
    """The method that starts one."""
    write: str
    delta: str
    """The method of its output notifications."""
    size_of: str
    """What a wrong size is said to be of."""
    takes_no_input: str
    not_active: str
    ending: str
    taken: str
    must_be_named: bool = False


COMMANDS = Family(
    what="command",
    id_member="processId",
    run="command/exec",
    write="command/exec/write",
    delta="command/exec/outputDelta",
    size_of="command/exec",
    takes_no_input="stdin streaming is not enabled for this command/exec",
    not_active="no active command/exec for process id {id}",
    ending="command/exec {id} is no longer running",
    taken="duplicate active command/exec process id: {id}",
)
PROCESSES = Family(
    what="process",
    id_member="processHandle",
    run="process/spawn",
    write="process/writeStdin",
    delta="process/outputDelta",
    size_of="process",
    takes_no_input="stdin streaming is not enabled for this process",
    not_active="no active process for process handle {id}",
    ending="no active process for process handle {id}",
    taken="duplicate active process handle: {id}",
    must_be_named=True,
)


OpenNetwork = Callable[[Gate], Awaitable[Egress]]
"""Makes a command's way out by the managed proxy. Raises NetworkUnavailable."""


class ManagedAccess(Struct, frozen=True):
    """The network of a client's command, which nobody is asked about.

    With `terminate_on_denial` a refused request ends the command, else it only gets its refusal.
    """

    open: OpenNetwork
    terminate_on_denial: bool = False


NOBODY_TO_ASK = Judgement("ask", "decider", "not_allowed")


class ClientGate:
    """The gate of a client's command: what the rules are silent about is refused.

    `refused` is the first attempt that was, and why.
    """

    def __init__(self, expiration: Expiration | None) -> None:
        """`expiration` is what a denial cancels, if it is to end the command."""
        self._expiration = expiration
        self.refused: tuple[Attempt, Judgement] | None = None

    async def decide(self, attempt: Attempt) -> Judgement:
        """Refuse it, as something that somebody would have to be asked about."""
        self.denied(attempt, NOBODY_TO_ASK)
        return NOBODY_TO_ASK

    def denied(self, attempt: Attempt, judgement: Judgement) -> None:
        """Note it, and end the command if that is wanted."""
        if self.refused is None:
            self.refused = attempt, judgement
        if self._expiration is not None:
            self._expiration.cancel(NETWORK_DENIED)

    def abandoned(self, attempt: Attempt, waited_ms: int) -> None:
        """Nobody waits for a decision here."""

    async def before_refusal(self) -> None:
        """Hold a refusal back while it ends the command."""
        if self._expiration is not None:
            await anyio.sleep(HELD_SECONDS)


class CommandRequest(Struct, frozen=True):
    """What a client asks for. Times are in milliseconds, caps in bytes for each stream."""

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
    family: Family = COMMANDS
    network: ManagedAccess | None = None


class CommandResult(Struct, frozen=True):
    """How it ended. What was streamed is not repeated here.

    `stdout_cut` and `stderr_cut` tell that the cap left something out; `drain_timed_out` that something held the
    output open after the exit and was not waited for.
    """

    exit_code: int
    stdout: str
    stderr: str
    stdout_cut: bool = False
    stderr_cut: bool = False
    drain_timed_out: bool = False


def check(request: CommandRequest) -> None:
    """Raise the RpcError that a request deserves before anything is done for it."""
    family = request.family
    if not request.command:
        raise invalid_request("command must not be empty")
    if family.must_be_named and not request.process_id:
        raise invalid_request(f"{family.id_member} must not be empty")
    if request.size is not None and not request.tty:
        raise invalid_params(f"{family.run} size requires tty: true")
    if request.disable_output_cap and request.output_bytes_cap is not None:
        raise invalid_params(f"{family.run} cannot set both outputBytesCap and disableOutputCap")
    if request.disable_timeout and request.timeout_ms is not None:
        raise invalid_params(f"{family.run} cannot set both timeoutMs and disableTimeout")
    if request.timeout_ms is not None and request.timeout_ms < 0:
        raise invalid_params(f"{family.run} timeoutMs must be non-negative, got {request.timeout_ms}")
    if request.size is not None:
        check_size(request.size, family)
    if request.process_id is None and (request.tty or request.stream_stdin or request.stream_output):
        raise invalid_request(f"{family.run} tty or streaming requires a client-supplied {family.id_member}")


def about(template: str, process_id: str | None) -> RpcError:
    """The refusal that one of a family's templates is, for a name."""
    return invalid_request(template.format(id=json.dumps(process_id)))


def check_size(size: Size, family: Family) -> None:
    """Raise the RpcError for a terminal without rows or columns."""
    if size.rows == 0 or size.cols == 0:
        raise invalid_params(f"{family.size_of} size rows and cols must be greater than 0")


def absolute_cwd(cwd: str | None) -> str:
    """The directory of a command; a relative one is meant from the daemon's own. Raises RpcError if that is gone."""
    if cwd is not None and os.path.isabs(cwd):
        return cwd
    try:
        return os.path.join(os.getcwd(), cwd) if cwd else os.getcwd()
    except OSError as error:
        raise internal_error(f"failed to spawn command: {SpawnError.of(error)}") from error


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
