"""The shells that commands run in, and the commands that a user runs in a thread."""

import os
from collections.abc import Sequence
from functools import cache

from msgspec.structs import replace

from app_server.exec.output import Utf8Splitter
from app_server.execpolicy import quoting
from app_server.execpolicy.actions import actions
from app_server.rpc.outbound import now_ms
from app_server.sandbox.permissions import FULL_ACCESS
from app_server.tools.context import ToolError, TurnContext
from app_server.tools.orchestrator import Clearance, Command, CommandResult, ToolOrchestrator
from protocol.v2.item import CommandExecutionThreadItem

SHELLS = ("bash", "zsh", "sh")
"""What a shell may be called: those whose scripts the exec rules can read."""

SHELL_FOLDERS = ("/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where they are looked for. A program of that name elsewhere may be anybody's, and rules would mistake it for one."""


@cache
def user_shell() -> str:
    """The login shell of the daemon's user if it is one of `SHELLS`, else bash, else sh."""
    import pwd

    try:
        own = pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        own = ""
    for shell in (own, "bash", "sh"):
        if (found := find_shell(shell)) is not None:
            return found
    return "/bin/sh"


def find_shell(name: str) -> str | None:
    """The path of the shell that `name`, a name or a path, means; None for what is not one of the system's shells."""
    if os.path.basename(name) not in SHELLS:
        return None
    paths = [name] if "/" in name else [f"{folder}/{name}" for folder in SHELL_FOLDERS]
    for path in paths:
        if os.path.dirname(path) in SHELL_FOLDERS and os.access(path, os.X_OK):
            return path
    return None


def shell_argv(script: str, *, shell: str | None = None, login: bool = True) -> list[str]:
    """How a script is run; a login shell reads the user's profile first. Raises ToolError for no known shell."""
    path = user_shell() if shell is None else find_shell(shell)
    if path is None:
        raise ToolError(f"`shell` must name one of the system's shells ({', '.join(SHELLS)}); got `{shell}`")
    return [path, "-lc" if login else "-c", script]


def _clearance(turn: TurnContext) -> Clearance:
    """Outside of the sandbox; where the network is managed, it is for the user's commands too, and says why not."""
    return Clearance(replace(FULL_ACCESS, proxy=turn.profile.proxy))


class UserShell:
    """Runs what the user typed: outside the sandbox, as an item of the turn, to its end."""

    def __init__(self, orchestrator: ToolOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def run(self, script: str, turn: TurnContext, item_id: str, timeout_ms: int | None) -> CommandResult:
        """Run it. Raises ToolError where it cannot be started."""
        argv: Sequence[str] = shell_argv(script)
        item = CommandExecutionThreadItem(
            id=item_id,
            command=quoting.join(argv),
            command_actions=actions(argv, turn.cwd),
            cwd=turn.cwd,
            source="userShell",
            status="inProgress",
            started_at_ms=now_ms(),
        )
        await turn.items.started(item)
        splitter = Utf8Splitter()

        async def show(data: bytes) -> None:
            for text in splitter.feed(data):
                turn.items.output_delta(item_id, text)
            await turn.items.congestion()

        timeout = None if timeout_ms is None else timeout_ms / 1000
        try:
            result = await self._orchestrator.run(
                Command(argv, turn.cwd), _clearance(turn), turn, None, timeout, show, item_id
            )
        except ToolError as error:
            failed = {"status": "failed", "exit_code": -1, "aggregated_output": str(error), "completed_at_ms": now_ms()}
            await turn.items.completed(item.model_copy(update=failed))
            raise
        for text in splitter.finish():
            turn.items.output_delta(item_id, text)
        if result.denial is not None:
            reason = result.denial.reason.encode()
            result.output.append(b"\n" + reason if result.output.total else reason)
            result = replace(result, exit_code=-1)
        ended = {
            "status": "completed" if result.exit_code == 0 else "failed",
            "exit_code": result.exit_code,
            "aggregated_output": result.output.text() or None,
            "duration_ms": int(result.seconds * 1000),
            "completed_at_ms": now_ms(),
        }
        await turn.items.completed(item.model_copy(update=ended))
        return result
