"""Toolset: what the model works with, and what the user's own commands go through."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from app_server.exec.environment import agent_environment, user_shell_environment
from app_server.exec.reaper import Reaper
from app_server.execpolicy.store import LoadedRules
from app_server.sandbox.sandbox import Sandbox
from app_server.tools.apply_patch import ApplyPatchTool
from app_server.tools.context import TurnContext
from app_server.tools.goal import TOOLS as GOAL_TOOLS
from app_server.tools.guarded_network import NetworkAccess
from app_server.tools.investigation import Investigation
from app_server.tools.login import LoginEnvironments
from app_server.tools.orchestrator import ToolOrchestrator
from app_server.tools.plan import PlanTool
from app_server.tools.registry import ToolRegistry
from app_server.tools.request_permissions import RequestPermissionsTool
from app_server.tools.shell import UserShell
from app_server.tools.terminals import Spawn, Terminals
from app_server.tools.unified_exec import ExecCommandTool
from app_server.tools.user_input import UserInputTool
from app_server.tools.view_image import ViewImageTool
from app_server.tools.write_stdin import WriteStdinTool


class Toolset:
    """One of each for the whole daemon."""

    def __init__(
        self,
        sandbox: Sandbox,
        reaper: Reaper,
        network: NetworkAccess,
        rules_for: Callable[[TurnContext], Awaitable[LoadedRules]],
        spawn: Spawn,
        hidden: Sequence[str],
    ) -> None:
        """`hidden` are the secrets of the daemon, which no patch may touch."""
        orchestrator = ToolOrchestrator(
            sandbox, reaper, rules_for, _environment, LoginEnvironments(sandbox, reaper), network
        )
        patches = ApplyPatchTool(hidden)
        self.shell, self.investigation = UserShell(orchestrator), Investigation(orchestrator)
        self.terminals = Terminals(spawn)
        self.registry = ToolRegistry(
            [
                ExecCommandTool(orchestrator, self.terminals, patches),
                WriteStdinTool(self.terminals),
                patches,
                PlanTool(),
                UserInputTool(),
                RequestPermissionsTool(),
                ViewImageTool(),
                *GOAL_TOOLS,
            ]
        )


def _environment(turn: TurnContext, call_id: str | None, base: Mapping[str, str] | None) -> dict[str, str]:
    policy, profile = turn.config.shell_environment_policy, turn.permission_profile
    if call_id is None:
        return user_shell_environment(policy, thread_id=turn.thread_id, permission_profile=profile, base=base)
    return agent_environment(policy, thread_id=turn.thread_id, call_id=call_id, permission_profile=profile, base=base)
