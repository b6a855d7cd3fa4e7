"""The way of every command of the model: rules and approval, sandbox, process, expiration."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic

import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from app_server.approvals.actions import USER_SHELL
from app_server.approvals.approvals import CommandQuestion
from app_server.approvals.network import Denial, Trigger
from app_server.exec.environment import TERMINAL_TYPE
from app_server.exec.expiration import NETWORK_DENIED, TIMEOUT, Expiration
from app_server.exec.launch import launch
from app_server.exec.output import HeadTail
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.execpolicy import quoting
from app_server.execpolicy.actions import actions
from app_server.execpolicy.bash import canonical
from app_server.execpolicy.judgement import is_quick, judge
from app_server.execpolicy.store import LoadedRules
from app_server.network.proxy import NetworkUnavailable
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile
from app_server.sandbox.profiles import with_additional, with_managed_network
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable
from app_server.tools.context import ToolError, TurnContext
from app_server.tools.guarded_network import GuardedNetwork, NetworkAccess
from app_server.tools.login import LoginEnvironments, login_script
from protocol.v2.permissions import AdditionalPermissionProfile

TIMEOUT_EXIT_CODE = 124
INTERRUPT_GRACE_SECONDS = 0.05
"""What an interrupted command gets between being asked to end and being ended."""


class Command(Struct, frozen=True):
    """What the model, or the user through it, wants to run.

    `escalated` asks to run outside the sandbox, `additional` to have more within it; `justification` is the model's
    question to the user for either, `prefix_rule` the prefix that it proposes to allow for good.
    """

    argv: Sequence[str]
    cwd: str
    tty: bool = False
    escalated: bool = False
    additional: AdditionalPermissionProfile | None = None
    justification: str | None = None
    prefix_rule: Sequence[str] | None = None


class Clearance(Struct, frozen=True):
    """How a command may run. `escalated`: outside the sandbox, because a rule or the user said so."""

    profile: PermissionProfile
    escalated: bool = False


class CommandResult(Struct, frozen=True):
    """How a command ended. `reason` is None for an exit of its own, else what expired it.

    With a `denial` that is what it came to, whatever its exit was.
    """

    exit_code: int
    output: HeadTail
    seconds: float
    reason: str | None
    denial: Denial | None = None


class Started(Struct, frozen=True):
    """A command that runs. `network` is to be finished after its end."""

    process: Process
    network: GuardedNetwork | None = None


RulesFor = Callable[[TurnContext], Awaitable[LoadedRules]]
"""The exec rules in force for a turn."""

EnvironmentFor = Callable[[TurnContext, str | None, Mapping[str, str] | None], Mapping[str, str]]
"""What a command inherits: its turn, the id of the model's call that it runs for (None for a command of the user), and
what it inherits from in place of the daemon's environment."""


class ToolOrchestrator:
    """Clears and starts commands for tools. Nothing else starts a process for the model."""

    def __init__(
        self,
        sandbox: Sandbox,
        reaper: Reaper,
        rules: RulesFor,
        environment: EnvironmentFor,
        logins: LoginEnvironments,
        network: NetworkAccess,
    ) -> None:
        self._sandbox, self._reaper, self._rules, self._environment = sandbox, reaper, rules, environment
        self._logins, self._network = logins, network

    async def clear(
        self, command: Command, turn: TurnContext, item_id: str, before_asking: Callable[[], Awaitable[None]]
    ) -> Clearance:
        """How the command may run, by rules and policy, and where they say so by asking.

        `before_asking` is awaited before a question about the item goes out. Raises ToolError for what is forbidden,
        Declined and TurnCancelled for what the user answered.
        """
        granular = turn.granular
        judging = partial(
            judge,
            command.argv,
            (await self._rules(turn)).rules,
            approval_policy=turn.approval_kind,
            restricted_filesystem=turn.profile.kind == "restricted",
            escalated=command.escalated,
            extra_permissions=command.additional is not None,
            prefix_rule=command.prefix_rule,
            can_ask_rules=granular is None or granular.rules,
            can_ask_sandbox=granular is None or granular.sandbox_approval,
            cwd=command.cwd,
        )
        judgement = judging() if is_quick(command.argv) else await anyio.to_thread.run_sync(judging)
        if judgement.decision == "forbid":
            raise ToolError(judgement.reason or "rejected: the command is not allowed")
        is_strict = turn.approvals.is_strict(turn.turn_id)
        if judgement.decision == "ask" or is_strict:
            reason = judgement.reason or command.justification
            question = self._question(command, turn, item_id, reason, judgement.proposed_amendment)
            is_covered = judgement.decision != "ask" or turn.approvals.covers(question)
            if is_strict or not is_covered:
                await before_asking()
            if is_strict and is_covered:
                await turn.approvals.review_command(question)
            if judgement.decision == "ask":
                amendment = await turn.approvals.ask_command(question)
                if amendment is not None:
                    turn.tell_model(
                        f"The user allowed every command that begins with this prefix from now on: {list(amendment)}"
                    )
        if command.escalated or judgement.outside_sandbox:
            return Clearance(FULL_ACCESS, escalated=True)
        if command.additional is not None:
            more = with_additional(turn.profile, command.additional, command.cwd)
            return Clearance(with_managed_network(more, turn.config))
        return Clearance(turn.profile)

    async def clear_retry(self, command: Command, turn: TurnContext, item_id: str) -> Clearance | None:
        """Ask whether a command that the sandbox stopped may run again outside; None where nobody is to be asked.

        The model asks by itself under `on-request`, and nobody may be asked under `never`. A no raises Declined.
        """
        granular = turn.granular
        if turn.profile.kind != "restricted":
            return None
        if turn.approval_kind != "untrusted" and (granular is None or not granular.sandbox_approval):
            return None
        reason = "The sandbox stopped this command. Run it again outside the sandbox?"
        await turn.approvals.ask_command(self._question(command, turn, item_id, reason, None, retry=True))
        return Clearance(FULL_ACCESS, escalated=True)

    def _question(
        self,
        command: Command,
        turn: TurnContext,
        item_id: str,
        reason: str | None,
        amendment: Sequence[str] | None,
        *,
        retry: bool = False,
    ) -> CommandQuestion:
        additional = None if command.additional is None else command.additional.model_dump_json()
        outside = command.escalated or retry
        return CommandQuestion(
            turn_id=turn.turn_id,
            item_id=item_id,
            command=quoting.join(command.argv),
            argv=command.argv,
            cwd=command.cwd,
            actions=actions(command.argv, command.cwd),
            key=("command", canonical(command.argv), command.cwd, command.tty, outside, additional),
            reason=reason,
            proposed_amendment=amendment,
            additional_permissions=command.additional,
            escalated=outside,
            tty=command.tty,
            justification=command.justification,
        )

    async def spawn(
        self,
        command: Command,
        clearance: Clearance,
        turn: TurnContext,
        call_id: str | None,
        *,
        item_id: str | None = None,
        size: Size | None = None,
    ) -> Started:
        """Start a cleared command; in a terminal of `size` if given, else without input. Raises ToolError.

        `call_id` is None for a command of the user, whose item is `item_id`.
        """
        argv, base = command.argv, None
        if call_id is not None and (script := login_script(argv)) is not None:
            # A slow profile does not hold up an interrupt.
            expiration = Expiration(None)
            with turn.expires_with_turn(expiration), expiration:
                base = await self._logins.of(argv[0], turn.config.shell_environment_policy)
            if base is not None:
                argv = [argv[0], "-c", script]
        env = self._environment(turn, call_id, base)
        if size is not None and "TERM" not in turn.config.shell_environment_policy.set:
            env = {**env, "TERM": TERMINAL_TYPE}
        network: GuardedNetwork | None = None
        if clearance.profile.proxy is not None:
            tool = "exec_command" if call_id is not None else USER_SHELL
            trigger = Trigger(
                call_id or "", tool, tuple(command.argv), command.cwd, size is not None, command.justification
            )
            network = await self._network.guard(clearance.profile, turn, call_id or item_id or "", trigger)
        try:
            if network is not None:
                env = await network.environment(env)
            return Started(await self._spawn(argv, command.cwd, env, clearance, turn, network, size), network)
        except BaseException as error:
            if network is not None:
                await network.finish()
            if not isinstance(error, (SandboxUnavailable, SpawnError, NetworkUnavailable)):
                raise
            # Looked at only now: a folder is seldom missing.
            if not await anyio.to_thread.run_sync(os.path.isdir, command.cwd):
                raise ToolError(f"the folder {command.cwd} does not exist") from error
            raise ToolError(str(error)) from error

    async def _spawn(
        self,
        argv: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        clearance: Clearance,
        turn: TurnContext,
        network: GuardedNetwork | None,
        size: Size | None,
    ) -> Process:
        return await launch(
            self._sandbox,
            argv,
            cwd=cwd,
            env=env,
            profile=clearance.profile,
            reaper=self._reaper,
            tty=size,
            limits=turn.config.command_limits,
            proxy_port=None if network is None else network.port,
            serve=None if network is None else network.serve,
        )

    async def run(
        self,
        command: Command,
        clearance: Clearance,
        turn: TurnContext,
        call_id: str | None,
        timeout: float | None,
        on_output: Callable[[bytes], Awaitable[None]],
        item_id: str | None = None,
    ) -> CommandResult:
        """Run a cleared command to its end, its timeout (seconds), the turn's interrupt or a denial of its network.

        Its whole tree is gone afterwards. Raises ToolError where it cannot be started or confined.
        """
        expiration = Expiration(timeout)
        began = monotonic()
        started = await self.spawn(command, clearance, turn, call_id, item_id=item_id)
        process, network = started.process, started.network
        try:
            result = await self._follow(process, turn, expiration, network, on_output)
        finally:
            denial = None if network is None else await network.finish()
        return replace(result, seconds=monotonic() - began, denial=denial)

    async def _follow(
        self,
        process: Process,
        turn: TurnContext,
        expiration: Expiration,
        network: GuardedNetwork | None,
        on_output: Callable[[bytes], Awaitable[None]],
    ) -> CommandResult:
        output = HeadTail()
        exit_code = 1
        if network is not None:
            network.registration.expires(expiration)
        with turn.expires_with_turn(expiration):
            async with process:
                with expiration:
                    async for _, data in process:
                        output.append(data)
                        await on_output(data)
                    exit_code = await process.wait()
                if expiration.reason is not None:
                    timed_out = expiration.reason == TIMEOUT
                    interrupted = expiration.reason not in (TIMEOUT, NETWORK_DENIED)
                    await process.terminate(INTERRUPT_GRACE_SECONDS if interrupted else 0)
                    while (chunk := await process.read()) is not None:
                        output.append(chunk[1])
                        await on_output(chunk[1])
                    exit_code = TIMEOUT_EXIT_CODE if timed_out else process.exit_code or 1
                if process.limit_hit is not None:
                    told = f"\n{process.limit_hit}\n".encode()
                    output.append(told)
                    await on_output(told)
        return CommandResult(exit_code, output, 0.0, expiration.reason)
