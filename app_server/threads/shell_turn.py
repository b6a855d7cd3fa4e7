"""A command that the user runs in a thread: inside the running turn, or as a turn of its own without the model."""

from typing import TYPE_CHECKING

from app_server.model.provider import ModelProvider
from app_server.store.ids import uuid7
from app_server.threads.history import text_message
from app_server.threads.model_turn import ModelTurn
from app_server.tools.command_report import cut_middle
from app_server.tools.context import ToolError, TurnContext
from app_server.tools.shell import UserShell

if TYPE_CHECKING:
    from app_server.threads.thread import Thread

REPORTED_CHARACTERS = 40_000
"""How much of the output the model is shown."""


async def run_user_command(shell: UserShell, script: str, timeout_ms: int | None, context: TurnContext) -> bytes:
    """Run the command as an item of the turn; the result is the history entry that tells the model of it."""
    try:
        result = await shell.run(script, context, uuid7(), timeout_ms)
        outcome = f"Exit code: {result.exit_code}\nDuration: {result.seconds:.4f} seconds\nOutput:\n"
        outcome += cut_middle(result.output.text(), REPORTED_CHARACTERS)
    except ToolError as error:
        outcome = f"The command did not run: {error}"
    return text_message("user", f"<user_shell_command>\n{script}\n\n{outcome}\n</user_shell_command>")


class ShellTurn(ModelTurn):
    """A turn that runs one command of the user. The model is asked only about messages that come meanwhile."""

    is_news = False

    def __init__(
        self, thread: "Thread", provider: ModelProvider, shell: UserShell, script: str, timeout_ms: int | None
    ) -> None:
        super().__init__(thread, provider, None)
        self._shell, self._script, self._timeout_ms = shell, script, timeout_ms

    async def _drive(self) -> None:
        self._entries.append(await run_user_command(self._shell, self._script, self._timeout_ms, self._context))
        await self._flush_history()
        await self._wait_beside()
        if await self._take_steered():
            await super()._drive()
