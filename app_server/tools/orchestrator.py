"""The way of every command of the model: approval, sandbox, process, expiration."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from app_server.approvals.policy import requirement_for_command
from app_server.exec.expiration import TIMEOUT, Expiration
from app_server.exec.output import HeadTail
from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable
from app_server.tools.context import ToolError, TurnContext

TIMEOUT_EXIT_CODE = 124
INTERRUPT_GRACE_SECONDS = 0.05
"""What an interrupted command gets between being asked to end and being ended."""


@dataclass(frozen=True, slots=True)
class Command:
    """What the model, or the user through it, wants to run. `timeout` is in seconds, None for no limit."""

    argv: Sequence[str]
    cwd: str
    timeout: float | None
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `reason` is None for an exit of its own, else what expired it."""

    exit_code: int
    output: HeadTail
    seconds: float
    reason: str | None


class ToolOrchestrator:
    """Runs commands for tools. Nothing else starts a process for the model."""

    def __init__(self, sandbox: Sandbox, reaper: Reaper, environment: Callable[[], Mapping[str, str]]) -> None:
        """`environment` gives what a command inherits."""
        self._sandbox, self._reaper, self._environment = sandbox, reaper, environment

    def check(self, command: Command, turn: TurnContext) -> None:
        """Raise ToolError if the command may not run. There is nobody to ask yet, so what would be asked is refused."""
        requirement = requirement_for_command(turn.approval_policy, escalated=command.escalated)
        if requirement.decision == "ask":
            raise ToolError(
                f"rejected: {requirement.reason}, and this server cannot ask for approvals yet. "
                "Choose a command that works inside the sandbox, or tell the user what they would have to run."
            )
        if requirement.decision == "forbid":
            raise ToolError(f"rejected: {requirement.reason}")

    async def run(
        self, command: Command, turn: TurnContext, on_output: Callable[[bytes], Awaitable[None]]
    ) -> CommandResult:
        """Run a checked command to its end, its timeout or the turn's interrupt; its whole tree is gone afterwards.

        Raises ToolError where it cannot be started or confined.
        """
        output = HeadTail()
        expiration = Expiration(command.timeout)
        began = monotonic()
        try:
            wrapped = await self._sandbox.wrap(
                command.argv, cwd=command.cwd, env=self._environment(), profile=turn.profile
            )
            process = Process.spawn(wrapped, cwd=command.cwd, reaper=self._reaper)
        except (SandboxUnavailable, SpawnError) as error:
            raise ToolError(str(error)) from error
        exit_code = 1
        with turn.expires_with_turn(expiration):
            async with process:
                with expiration:
                    async for _, data in process:
                        output.append(data)
                        await on_output(data)
                    exit_code = await process.wait()
                if expiration.reason is not None:
                    timed_out = expiration.reason == TIMEOUT
                    await process.terminate(0 if timed_out else INTERRUPT_GRACE_SECONDS)
                    while (chunk := await process.read()) is not None:
                        output.append(chunk[1])
                        await on_output(chunk[1])
                    exit_code = TIMEOUT_EXIT_CODE if timed_out else process.exit_code or 1
        return CommandResult(exit_code, output, monotonic() - began, expiration.reason)
