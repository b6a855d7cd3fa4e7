"""exec_command and write_stdin: commands that the model starts, and goes on with while they run."""

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import anyio
from msgspec import Struct

from app_server.approvals.approvals import Declined, TurnCancelled
from app_server.approvals.network import Registration
from app_server.exec.expiration import TIMEOUT, Expiration
from app_server.exec.output import HeadTail
from app_server.exec.pause import Pause
from app_server.exec.pty import DEFAULT_SIZE
from app_server.execpolicy import quoting
from app_server.execpolicy.actions import actions
from app_server.rpc.outbound import now_ms
from app_server.sandbox.denial import was_denied
from app_server.tools.apply_patch import ApplyPatchTool
from app_server.tools.arguments import PREFIX, Arguments
from app_server.tools.command_report import DEFAULT_OUTPUT_TOKENS, aborted, denied, report
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from app_server.tools.orchestrator import Clearance, Command, ToolOrchestrator
from app_server.tools.patch_command import intercept
from app_server.tools.shell import shell_argv
from app_server.tools.terminals import KILLED_EXIT_CODE, Terminal, Terminals
from protocol.v2.item import CommandExecutionStatus, CommandExecutionThreadItem
from protocol.v2.permissions import (
    AdditionalFileSystemPermissions,
    AdditionalNetworkPermissions,
    AdditionalPermissionProfile,
)

DEFAULT_YIELD_MS = 10_000
LEAST_YIELD_MS, MOST_YIELD_MS = 250, 30_000

LEAVE_SECONDS = 5.0
"""How long storing the item of a call that was cancelled may take."""

ADDITIONAL_PERMISSIONS = "exec_permission_approvals"
"""The feature that lets a command ask for more within the sandbox."""


class _Wanted(Struct, frozen=True):
    """What one call of exec_command asks for."""

    script: str
    command: Command
    yield_seconds: float
    max_tokens: int


class ExecCommandTool:
    """Starts a command and waits a while for its end; what runs on can be polled, and written to, with write_stdin."""

    name = "exec_command"
    parallel = True

    def __init__(self, orchestrator: ToolOrchestrator, terminals: Terminals, patches: ApplyPatchTool) -> None:
        """`patches` applies the patches that the model writes as commands."""
        self._orchestrator, self._terminals, self._patches = orchestrator, terminals, patches

    def spec(self, turn: TurnContext) -> Mapping[str, Any] | None:
        """Always offered."""
        additional = turn.config.feature(ADDITIONAL_PERMISSIONS)
        choices = ["use_default", *(["with_additional_permissions"] if additional else []), "require_escalated"]
        properties: dict[str, Any] = {
            "cmd": {"type": "string", "description": "The command line, as typed into a shell."},
            "workdir": {
                "type": "string",
                "description": "Folder to run in; relative to the workspace. Default: the workspace.",
            },
            "shell": {"type": "string", "description": "bash, zsh or sh. Default: the user's shell."},
            "tty": {
                "type": "boolean",
                "description": "Give the command a terminal, so that it can be written to. Default: false, no input.",
            },
            "yield_time_ms": {
                "type": "number",
                "description": (
                    "How long to wait for the end of the command, in milliseconds; one that runs on gets a session ID. "
                    f"Default: {DEFAULT_YIELD_MS}; from {LEAST_YIELD_MS} to {MOST_YIELD_MS}."
                ),
            },
            "max_output_tokens": {
                "type": "number",
                "description": f"How much output to return, beginning and end. Default: {DEFAULT_OUTPUT_TOKENS}.",
            },
            "sandbox_permissions": {
                "type": "string",
                "enum": choices,
                "description": "require_escalated asks the user to run it outside the sandbox. Default: use_default.",
            },
            "justification": {
                "type": "string",
                "description": "What the user is asked, as a question, when sandbox_permissions is not use_default.",
            },
            "prefix_rule": {
                "type": "array",
                "items": {"type": "string"},
                "description": (
                    "With require_escalated: the beginning of the command that the user may allow for good, "
                    'such as ["git", "fetch"].'
                ),
            },
        }
        if turn.config.allow_login_shell:
            properties["login"] = {
                "type": "boolean",
                "description": "Whether the shell reads the user's profile first. Default: true.",
            }
        if additional:
            properties["additional_permissions"] = _PERMISSIONS_SCHEMA
        return {
            "type": "function",
            "name": self.name,
            "description": (
                "Runs a shell command inside the sandbox that is in force. Returns its output and exit code, or a "
                "session ID for write_stdin if it is still running after yield_time_ms."
            ),
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": ["cmd"],
                "additionalProperties": False,
            },
        }

    async def run(self, call: ToolCall, turn: TurnContext) -> ToolOutput:
        """Run one call."""
        wanted = _wanted(call, turn)
        if (patch := intercept(wanted.script, wanted.command.cwd)) is not None:
            return await self._patches.run_intercepted(patch, call, turn)
        shown = _ShownCommand(wanted.command, turn, call.call_id)
        clearance = await self._clear(wanted.command, turn, shown)
        if clearance is None:
            return ToolOutput(aborted(shown.seconds), success=False)
        return await self._run(wanted, clearance, turn, shown)

    async def _run(
        self, wanted: _Wanted, clearance: Clearance, turn: TurnContext, shown: "_ShownCommand"
    ) -> ToolOutput:
        """Run the cleared command, and once more outside the sandbox if the user wants that after it was stopped."""
        terminal = await self._start(wanted, clearance, turn, shown)
        began, note = monotonic(), ""
        try:
            interrupted = await wait(terminal, wanted.yield_seconds, turn)
            if _was_denied(terminal, clearance):
                again, note = await self._clear_retry(wanted.command, turn, shown)
                if again is not None:
                    self._terminals.forget(turn.thread_id, terminal)
                    terminal.give_up_item()
                    terminal = await self._start(wanted, again, turn, shown, terminal.output)
                    began = monotonic()
                    interrupted = await wait(terminal, wanted.yield_seconds, turn)
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await terminal.leave()
        seconds = monotonic() - began
        if terminal.denial is not None:
            self._terminals.forget(turn.thread_id, terminal)
            raise ToolError(denied(terminal, _budget(wanted.max_tokens, turn)))
        if interrupted and not terminal.ended.is_set():
            return ToolOutput(aborted(seconds, terminal), success=False)
        text = report(terminal, terminal.take_unread(), seconds, _budget(wanted.max_tokens, turn)) + note
        if terminal.ended.is_set():
            self._terminals.forget(turn.thread_id, terminal)
        return ToolOutput(text)

    async def _clear_retry(
        self, command: Command, turn: TurnContext, shown: "_ShownCommand"
    ) -> tuple[Clearance | None, str]:
        """How it may run again, if it may, and what the model is told if it may not."""
        try:
            return await self._orchestrator.clear_retry(command, turn, shown.item.id), ""
        except Declined as no:
            return None, f"\nThe sandbox stopped this command, and it did not run again outside: {no}"

    async def _clear(self, command: Command, turn: TurnContext, shown: "_ShownCommand") -> Clearance | None:
        """How it may run; None where the user has stopped the turn meanwhile."""
        try:
            clearance = await self._orchestrator.clear(command, turn, shown.item.id, shown.ask)
        except Declined as no:
            if turn.interrupted():
                await shown.refuse("declined")
                return None
            await shown.refuse("declined" if no.decided else "failed")
            raise
        except TurnCancelled:
            await shown.refuse("declined")
            raise
        except ToolError:
            await shown.refuse("failed")
            raise
        if turn.interrupted():
            await shown.refuse("declined")
            return None
        return clearance

    async def _start(
        self,
        wanted: _Wanted,
        clearance: Clearance,
        turn: TurnContext,
        shown: "_ShownCommand",
        output: HeadTail | None = None,
    ) -> Terminal:
        """Start the command; `output` is what its item shows already. Raises ToolError, with the item completed."""
        command = wanted.command
        try:
            started = await self._orchestrator.spawn(
                command, clearance, turn, shown.item.id, size=DEFAULT_SIZE if command.tty else None
            )
        except ToolError as error:
            await shown.fail(str(error))
            raise
        terminal = self._terminals.open(
            turn.thread_id,
            started.process,
            shown.item,
            turn.items,
            script=wanted.script,
            tty=command.tty,
            outside=clearance.escalated and turn.profile.kind == "restricted",
            output=output,
            network=started.network,
        )
        await shown.start(terminal.item)
        return terminal


class _ShownCommand:
    """The item that clients see a call as, from the question about it to the start of its process."""

    def __init__(self, command: Command, turn: TurnContext, item_id: str) -> None:
        self.item = CommandExecutionThreadItem(
            id=item_id,
            command=quoting.join(command.argv),
            command_actions=actions(command.argv, command.cwd),
            cwd=command.cwd,
            source="agent",
            status="inProgress",
            started_at_ms=now_ms(),
        )
        self._items = turn.items
        self._told = False
        self._began = monotonic()

    @property
    def seconds(self) -> float:
        """Since the call came."""
        return monotonic() - self._began

    async def ask(self) -> None:
        """A question about it follows."""
        await self.start(self.item)

    async def start(self, item: CommandExecutionThreadItem) -> None:
        """It begins, or, where it was asked about, it goes on."""
        if self._told:
            self._items.changed(item)
        else:
            self._told = True
            await self._items.started(item)

    async def refuse(self, status: CommandExecutionStatus) -> None:
        """It does not run, because of what was answered."""
        if self._told:
            await self._items.completed(self.item.model_copy(update={"status": status, "completed_at_ms": now_ms()}))

    async def fail(self, reason: str) -> None:
        """It could not be started."""
        source = "agent" if self._told else "unifiedExecStartup"
        item = self.item.model_copy(update={"source": source})
        await self.start(item)
        failed = {"status": "failed", "exit_code": -1, "aggregated_output": reason, "completed_at_ms": now_ms()}
        await self._items.completed(item.model_copy(update=failed))


async def wait(terminal: Terminal, seconds: float, turn: TurnContext) -> bool:
    """Wait for the end of a command, at most so long; whether an interrupt of the turn ended the wait.

    While somebody is asked about the command's network, or a client holds the thread's pause, the time stands still:
    the command waits as well.
    """
    terminal.used_at = began = monotonic()
    registration = None if terminal.network is None else terminal.network.registration
    stood_before = _stood_still(registration, turn)
    left = seconds
    while left > 0:
        reason = await _until(terminal.ended.wait, left, turn)
        if reason == TIMEOUT and registration is not None and registration.asks:
            reason = await _until(registration.answered, None, turn) or TIMEOUT
        while reason == TIMEOUT and turn.pause.held and not terminal.ended.is_set():
            reason = await _until(partial(_released_or_ended, turn.pause, terminal), None, turn) or TIMEOUT
        if reason != TIMEOUT:
            return reason is not None
        left = began + seconds + _stood_still(registration, turn) - stood_before - monotonic()
    return False


def _stood_still(registration: Registration | None, turn: TurnContext) -> float:
    return turn.pause.seconds + (0.0 if registration is None else registration.asked_seconds)


async def _released_or_ended(pause: Pause, terminal: Terminal) -> None:
    async with anyio.create_task_group() as tasks:

        async def end() -> None:
            await terminal.ended.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end)
        await pause.released()
        tasks.cancel_scope.cancel()


async def _until(event: Callable[[], Awaitable[object]], seconds: float | None, turn: TurnContext) -> str | None:
    """Wait for something that an interrupt of the turn, and time, can end; the reason if one of them did."""
    expiration = Expiration(seconds)
    with turn.expires_with_turn(expiration), expiration:
        await event()
    return expiration.reason


def _was_denied(terminal: Terminal, clearance: Clearance) -> bool:
    """Whether the sandbox seems to be why the command has failed."""
    if not terminal.ended.is_set() or terminal.exit_code == KILLED_EXIT_CODE:
        return False
    return was_denied(terminal.exit_code, terminal.output.render(), sandboxed=clearance.profile.kind == "restricted")


def _budget(max_tokens: int, turn: TurnContext) -> int:
    return min(max_tokens, turn.config.tool_output_token_limit)


_PATHS = {"type": "array", "items": {"type": "string"}}
_PERMISSIONS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "With with_additional_permissions: what the command needs beyond the sandbox policy.",
    "properties": {
        "file_system": {
            "type": "object",
            "properties": {
                "read": {**_PATHS, "description": "Paths to read."},
                "write": {**_PATHS, "description": "Paths to write."},
            },
            "additionalProperties": False,
        },
        "network": {
            "type": "object",
            "properties": {"enabled": {"type": "boolean", "description": "True asks for the network."}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


def _wanted(call: ToolCall, turn: TurnContext) -> _Wanted:
    arguments = Arguments.parse(call.arguments)
    script = arguments.text("cmd")
    login = arguments.flag("login")
    if login and not turn.config.allow_login_shell:
        raise ToolError("login shells are switched off by `allow_login_shell`; leave `login` out or set it to false")
    if login is None:
        login = turn.config.allow_login_shell
    permissions = _permissions(arguments, turn)
    cwd = os.path.normpath(os.path.join(turn.cwd, arguments.optional_path("workdir") or "."))
    command = Command(
        shell_argv(script, shell=arguments.optional_text("shell"), login=login),
        cwd,
        tty=arguments.flag("tty") or False,
        escalated=permissions == "require_escalated",
        additional=_additional(arguments, cwd) if permissions == "with_additional_permissions" else None,
        justification=arguments.optional_text("justification"),
        prefix_rule=arguments.texts("prefix_rule"),
    )
    return _Wanted(script, command, yield_seconds(arguments), max_tokens(arguments))


def yield_seconds(
    arguments: Arguments, default: int = DEFAULT_YIELD_MS, least: int = LEAST_YIELD_MS, most: int = MOST_YIELD_MS
) -> float:
    """How long a call waits."""
    asked = arguments.count("yield_time_ms")
    return min(max(default if asked is None else asked, least), most) / 1000


def max_tokens(arguments: Arguments) -> int:
    """How much output a call returns."""
    asked = arguments.count("max_output_tokens")
    return DEFAULT_OUTPUT_TOKENS if asked is None else asked


def _permissions(arguments: Arguments, turn: TurnContext) -> str:
    name = "sandbox_permissions"
    if arguments.optional_text(name) is None:
        return "use_default"
    choice = arguments.choice(name, ("use_default", "require_escalated", "with_additional_permissions"))
    if choice == "with_additional_permissions" and not turn.config.feature(ADDITIONAL_PERMISSIONS):
        raise ToolError(
            "additional permissions are disabled; enable `features.exec_permission_approvals` before using "
            "`with_additional_permissions`"
        )
    return choice


def _additional(arguments: Arguments, cwd: str) -> AdditionalPermissionProfile:
    asked = arguments.table("additional_permissions")
    files = asked.table("file_system")
    read, write = (
        [os.path.normpath(os.path.join(cwd, path)) for path in files.texts(name) or ()] for name in ("read", "write")
    )
    network = asked.table("network").flag("enabled")
    if not read and not write and not network:
        raise ToolError(
            f"{PREFIX}`with_additional_permissions` needs `additional_permissions` with at least one path to read or "
            "write, or the network"
        )
    return AdditionalPermissionProfile(
        file_system=AdditionalFileSystemPermissions(read=read or None, write=write or None) if read or write else None,
        network=AdditionalNetworkPermissions(enabled=True) if network else None,
    )
