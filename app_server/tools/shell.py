"""exec_command: a shell command that runs to its end and reports what it printed."""

import os
import shlex
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson

from app_server.exec.expiration import TIMEOUT
from app_server.exec.output import Utf8Splitter
from app_server.rpc.outbound import now_ms
from app_server.sandbox.permissions import FULL_ACCESS
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from app_server.tools.orchestrator import Clearance, Command, CommandResult, ToolOrchestrator
from protocol.v2.item import CommandExecutionThreadItem, UnknownCommandAction

DEFAULT_TIMEOUT_MS = 120_000
MAX_TIMEOUT_MS = 3_600_000
DEFAULT_OUTPUT_TOKENS = 10_000
BYTES_PER_TOKEN = 4
"""A rough measure that is good enough for cutting output."""

Source = Literal["agent", "userShell", "unifiedExecStartup"]

SPEC: dict[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "description": (
        "Runs a shell command in the workspace, inside the sandbox that is in force, and returns its exit code and "
        "output once it has ended. Long output is cut in the middle."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "cmd": {"type": "string", "description": "The command line, as typed into a shell."},
            "workdir": {
                "type": "string",
                "description": "Folder to run in; relative to the workspace. Default: the workspace.",
            },
            "login": {"type": "boolean", "description": "Read the user's login profile first. Default: false."},
            "timeout_ms": {
                "type": "integer",
                "description": f"When to stop the command, in milliseconds. Default: {DEFAULT_TIMEOUT_MS}.",
            },
            "max_output_tokens": {
                "type": "integer",
                "description": f"How much output to return. Default: {DEFAULT_OUTPUT_TOKENS}.",
            },
            "sandbox_permissions": {
                "type": "string",
                "enum": ["use_default", "require_escalated"],
                "description": "require_escalated asks to run outside the sandbox.",
            },
            "justification": {
                "type": "string",
                "description": "With require_escalated: why, as a question to the user.",
            },
        },
        "required": ["cmd"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True, slots=True)
class _Arguments:
    cmd: str
    workdir: str | None
    login: bool
    timeout_ms: int
    max_output_tokens: int
    escalated: bool


class ShellTool:
    """The model's tool for commands, and the way in which a user's own command runs."""

    name = "exec_command"
    parallel = True

    def spec(self, turn: TurnContext) -> dict[str, Any]:
        """Always offered."""
        return SPEC

    def __init__(self, orchestrator: ToolOrchestrator) -> None:
        self._orchestrator = orchestrator

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run one call of the model."""
        arguments = _parse(call.arguments)
        argv = _shell(arguments.cmd, login=arguments.login)
        cwd = _folder(turn.cwd, arguments.workdir)
        command = Command(argv, cwd, escalated=arguments.escalated)
        timeout = arguments.timeout_ms / 1000
        result = await self.run_as_item(command, arguments.cmd, turn, call.call_id, "unifiedExecStartup", timeout)
        return ToolOutput(_report(result, arguments.max_output_tokens))

    async def run_user_script(
        self, script: str, turn: TurnContext, item_id: str, timeout_ms: int | None
    ) -> CommandResult:
        """Run what the user typed, under the thread's sandbox policy. Raises ToolError."""
        timeout = None if timeout_ms is None else timeout_ms / 1000
        command = Command(_shell(script, login=False), turn.cwd)
        return await self.run_as_item(command, script, turn, item_id, "userShell", timeout)

    async def run_as_item(
        self, command: Command, script: str, turn: TurnContext, item_id: str, source: Source, timeout: float | None
    ) -> CommandResult:
        """Run a command and show it to clients as an item, from start to end."""

        async def tell() -> None:
            pass

        clearance = Clearance(FULL_ACCESS)
        if source != "userShell":
            clearance = await self._orchestrator.clear(command, turn, item_id, tell)
        item = CommandExecutionThreadItem(
            id=item_id,
            command=shlex.join(command.argv),
            command_actions=[UnknownCommandAction(command=script)],
            cwd=command.cwd,
            source=source,
            status="inProgress",
            started_at_ms=now_ms(),
        )
        await turn.items.started(item)
        splitter = Utf8Splitter()

        async def show(data: bytes) -> None:
            for text in splitter.feed(data):
                turn.items.output_delta(item_id, text)
            await turn.items.congestion()

        try:
            result = await self._orchestrator.run(command, clearance, turn, item_id, timeout, show)
        except ToolError as error:
            failed = {"status": "failed", "exit_code": -1, "aggregated_output": str(error), "completed_at_ms": now_ms()}
            await turn.items.completed(item.model_copy(update=failed))
            raise
        for text in splitter.finish():
            turn.items.output_delta(item_id, text)
        ended = {
            "status": "completed" if result.exit_code == 0 else "failed",
            "exit_code": result.exit_code,
            "aggregated_output": result.output.text() or None,
            "duration_ms": int(result.seconds * 1000),
            "completed_at_ms": now_ms(),
        }
        await turn.items.completed(item.model_copy(update=ended))
        return result


def _folder(cwd: str, workdir: str | None) -> str:
    return cwd if workdir is None else os.path.normpath(os.path.join(cwd, workdir))


def _shell(script: str, *, login: bool) -> list[str]:
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    return [shell, "-lc" if login else "-c", script]


def _parse(text: str) -> _Arguments:
    try:
        decoded = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise ToolError(f"failed to parse function arguments: {error}") from None
    if not isinstance(decoded, dict):
        raise ToolError("failed to parse function arguments: expected an object")
    given = cast("dict[str, Any]", decoded)
    return _Arguments(
        cmd=_string(given, "cmd", required=True) or "",
        workdir=_string(given, "workdir"),
        login=given.get("login") is True,
        timeout_ms=min(MAX_TIMEOUT_MS, _count(given, "timeout_ms", DEFAULT_TIMEOUT_MS)),
        max_output_tokens=_count(given, "max_output_tokens", DEFAULT_OUTPUT_TOKENS),
        escalated=_string(given, "sandbox_permissions") == "require_escalated",
    )


def _string(given: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = given.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str):
        raise ToolError(f"failed to parse function arguments: `{name}` must be a string")
    return value


def _count(given: dict[str, Any], name: str, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ToolError(f"failed to parse function arguments: `{name}` must be a number that is not negative")
    return value


def _report(result: CommandResult, max_tokens: int) -> str:
    ended = f"Process exited with code {result.exit_code}"
    if result.reason == TIMEOUT:
        ended = f"Process timed out after {int(result.seconds * 1000)} milliseconds and was stopped"
    elif result.reason is not None:
        ended = f"aborted by user after {result.seconds:.1f} seconds"
    text = cut_middle(result.output.text(), max_tokens * BYTES_PER_TOKEN)
    return f"Wall time: {result.seconds:.4f} seconds\n{ended}\nOutput:\n{text}"


def cut_middle(text: str, limit: int) -> str:
    """`text` with its middle replaced by a count once it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - limit} characters cut ...]\n{text[len(text) - tail :]}"
