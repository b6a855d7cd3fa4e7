"""write_stdin: input for a command that runs, and a look at what it has printed since."""

import signal
from collections.abc import Mapping
from time import monotonic
from typing import Any

from app_server.approvals.approvals import CommandQuestion, Declined
from app_server.execpolicy import quoting
from app_server.tools.arguments import PREFIX, Arguments
from app_server.tools.command_report import DEFAULT_OUTPUT_TOKENS, aborted, denied, report
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from app_server.tools.terminals import Terminal, Terminals
from app_server.tools.unified_exec import LEAST_YIELD_MS, MOST_YIELD_MS, max_tokens, wait, yield_seconds
from protocol.v2.item import (
    ITEM_COMMAND_EXECUTION_TERMINAL_INTERACTION,
    TerminalInteractionNotification,
    UnknownCommandAction,
)

LEAST_POLL_MS = 5_000
"""A call without input waits at least this long: it is there to wait."""

INTERRUPT = "\x03"
"""What Ctrl-C sends."""


class WriteStdinTool:
    """Goes on with a terminal that exec_command left running."""

    name = "write_stdin"
    parallel = True

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Always offered."""
        most = turn.config.background_terminal_max_timeout
        return {
            "type": "function",
            "name": self.name,
            "description": (
                "Writes to a command that exec_command left running, or only waits for it, and returns what it has "
                "printed since it was last looked at."
            ),
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {
                    "session_id": {"type": "number", "description": "The session ID that exec_command gave."},
                    "chars": {
                        "type": "string",
                        "description": (
                            "What to type; needs a session with tty, except for \\u0003, which interrupts any command. "
                            "Default: nothing, which only waits."
                        ),
                    },
                    "yield_time_ms": {
                        "type": "number",
                        "description": (
                            "How long to wait for the end of the command, in milliseconds. With input: default "
                            f"{LEAST_YIELD_MS}, at most {MOST_YIELD_MS}. Without: from {LEAST_POLL_MS} to {most}."
                        ),
                    },
                    "max_output_tokens": {
                        "type": "number",
                        "description": f"How much output to return. Default: {DEFAULT_OUTPUT_TOKENS}.",
                    },
                },
                "required": ["session_id"],
                "additionalProperties": False,
            },
        }

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run one call."""
        arguments = Arguments.parse(call.arguments)
        number = arguments.count("session_id")
        if number is None:
            raise ToolError(f"{PREFIX}missing field `session_id`")
        chars = arguments.optional_text("chars") or ""
        if chars:
            seconds = yield_seconds(arguments, LEAST_YIELD_MS)
        else:
            most = max(LEAST_POLL_MS, turn.config.background_terminal_max_timeout)
            seconds = yield_seconds(arguments, LEAST_POLL_MS, LEAST_POLL_MS, most)
        budget = min(max_tokens(arguments), turn.config.tool_output_token_limit)
        terminal = self._terminals.find(turn.thread_id, number)
        if terminal is None:
            raise ToolError(f"Unknown process id {number}")
        async with terminal.turns:
            began = monotonic()
            try:
                if chars and terminal.runs:
                    await self._write(chars, terminal, call, turn)
            except Declined as no:
                if turn.interrupted():
                    return ToolOutput(aborted(monotonic() - began, terminal), success=False)
                return ToolOutput(f"{self.name} rejected: {no}", success=False)
            began = monotonic()
            interrupted = await wait(terminal, seconds, turn)
            waited = monotonic() - began
            if terminal.expiration.reason is not None:
                await terminal.ended.wait()
            if terminal.denial is not None:
                self._terminals.forget(turn.thread_id, terminal)
                raise ToolError(f"Unified exec process failed: {denied(terminal, budget)}")
            if not chars and not terminal.ended.is_set():
                _tell(chars, terminal, turn)
            if interrupted and not terminal.ended.is_set():
                return ToolOutput(aborted(waited, terminal), success=False)
            text = report(terminal, terminal.take_unread(), waited, budget)
            if terminal.ended.is_set():
                self._terminals.forget(turn.thread_id, terminal)
            return ToolOutput(text)

    async def _write(self, chars: str, terminal: Terminal, call: ToolCall, turn: TurnContext) -> None:
        """Hand over the input. Raises ToolError, and Declined and TurnCancelled for what the user answered."""
        if not terminal.tty and chars != INTERRUPT:
            raise ToolError("stdin is closed for this session; rerun exec_command with tty=true to keep stdin open")
        if terminal.outside:
            await _ask(chars, terminal, call, turn)
        if not terminal.runs:
            return
        if terminal.tty:
            terminal.process.feed_stdin(chars.encode())
        else:
            terminal.process.send_signal(signal.SIGINT)
        _tell(chars, terminal, turn)


async def _ask(chars: str, terminal: Terminal, call: ToolCall, turn: TurnContext) -> None:
    """Ask about input for a command outside the sandbox: it was allowed as it was started, not what comes after."""
    if turn.approval_kind == "never" or (turn.granular is not None and not turn.granular.sandbox_approval):
        raise ToolError(
            "this session runs outside the sandbox, and the approval policy does not let anybody be asked about input "
            "for it; start a command of your own inside the sandbox"
        )
    argv = ["write_stdin", "--session-id", str(terminal.number), chars]
    shown = quoting.join(argv)
    await turn.approvals.ask_command(
        CommandQuestion(
            turn_id=turn.turn_id,
            item_id=terminal.item.id,
            command=shown,
            argv=argv,
            cwd=terminal.item.cwd,
            actions=[UnknownCommandAction(command=shown)],
            key=("writeStdin", terminal.item.id, chars),
            reason=(
                "Type this into a command that runs outside the sandbox? It was started in the folder shown, and may "
                "be somewhere else by now."
            ),
            approval_id=call.call_id,
            kind="writeStdin",
        )
    )


def _tell(chars: str, terminal: Terminal, turn: TurnContext) -> None:
    turn.publish(
        ITEM_COMMAND_EXECUTION_TERMINAL_INTERACTION,
        TerminalInteractionNotification(
            thread_id=turn.thread_id,
            turn_id=turn.turn_id,
            item_id=terminal.item.id,
            process_id=str(terminal.number),
            stdin=chars,
        ),
    )
