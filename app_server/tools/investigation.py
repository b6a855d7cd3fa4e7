"""Commands that the reviewer of an action runs to look at the state of files. They can only read."""

import os

from msgspec.structs import replace

from app_server.exec.expiration import TIMEOUT
from app_server.sandbox.permissions import PermissionProfile, read_only
from app_server.tools.command_report import BYTES_PER_TOKEN, cut_middle
from app_server.tools.context import ToolError, TurnContext
from app_server.tools.orchestrator import Clearance, Command, ToolOrchestrator
from app_server.tools.shell import shell_argv

LOOK_SECONDS = 10.0
"""How long one command may take."""

LOOK_TOKENS = 2_000
"""How much of its output the reviewer reads."""

CALL_ID = "review"
"""What the command is told as the call that it runs for."""


class Investigation:
    """Runs them, without showing them to clients."""

    def __init__(self, orchestrator: ToolOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def look(self, turn: TurnContext, script: str, folder: str | None) -> str:
        """What a command came to, as text, whatever happened. `folder` is relative to that of the turn."""
        command = _command(script, turn.cwd, folder)
        try:
            result = await self._orchestrator.run(
                command, Clearance(reading_profile(turn.profile)), turn, CALL_ID, LOOK_SECONDS, _ignore
            )
        except ToolError as error:
            return f"The command did not run: {error}"
        state = f"Exit code: {result.exit_code}"
        if result.reason == TIMEOUT:
            state = f"The command was stopped after {LOOK_SECONDS:g} seconds."
        elif result.reason is not None:
            state = "The command was stopped."
        return f"{state}\nOutput:\n{cut_middle(result.output.text(), LOOK_TOKENS * BYTES_PER_TOKEN)}"


def reading_profile(profile: PermissionProfile) -> PermissionProfile:
    """What the reviewer may do where the agent has `profile`: read what the agent may read, and nothing else."""
    if profile.kind != "restricted":
        return read_only()
    return replace(profile, network=False, proxy=None, writable_roots=(), read_only=())


def _command(script: str, cwd: str, folder: str | None) -> Command:
    return Command(shell_argv(script, login=False), os.path.normpath(os.path.join(cwd, folder or ".")))


async def _ignore(data: bytes) -> None:
    pass
