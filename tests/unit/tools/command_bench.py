"""A turn for the tools that run commands: real processes, and clients and their answers played by lists."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import orjson
from anyio.abc import TaskGroup

from app_server.approvals.approvals import CommandQuestion
from app_server.config.settings import Settings
from app_server.exec.reaper import Reaper
from app_server.execpolicy.loading import LoadedRules
from app_server.model.catalog import model_info
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile
from app_server.sandbox.sandbox import Sandbox, SandboxedCommand
from app_server.tools.apply_patch import ApplyPatchTool
from app_server.tools.context import ToolCall, ToolOutput, TurnContext
from app_server.tools.login import LoginEnvironments
from app_server.tools.orchestrator import ToolOrchestrator
from app_server.tools.registry import ToolRegistry
from app_server.tools.terminals import Terminals
from app_server.tools.unified_exec import ExecCommandTool
from app_server.tools.write_stdin import WriteStdinTool
from protocol.v2.permissions import AskForApproval


class NoSandbox:
    """Runs every command as it is; which profile and environment each was to have is kept."""

    def __init__(self) -> None:
        self.profiles: list[PermissionProfile] = []
        self.environments: list[Mapping[str, str]] = []

    async def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Any,
        profile: PermissionProfile,
        terminal: bool = False,
        proxy_port: int | None = None,
    ) -> SandboxedCommand:
        self.profiles.append(profile)
        self.environments.append(env)
        return SandboxedCommand(argv=argv, env=env)


@dataclass
class Clients:
    """What clients are told, in order, and what they answer: an exception to raise, or None for yes."""

    told: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    answers: list[Exception | None] = field(default_factory=list[Exception | None])
    allowed: set[Hashable] = field(default_factory=set[Hashable])
    asked: list[CommandQuestion] = field(default_factory=list[CommandQuestion])
    granted: tuple[Any, ...] = ()
    before_answer: Callable[[], None] = lambda: None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def _tell(self, kind: str, what: Any) -> None:
        self.told.append((kind, what))
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was told makes it true."""
        while not condition():
            await self.changed.wait()

    def of(self, kind: str) -> list[Any]:
        """Everything that was told of one kind."""
        return [what for told, what in self.told if told == kind]

    @property
    def printed(self) -> str:
        """The text of all output deltas."""
        return "".join(text for _, text in self.of("delta"))

    # What tools see as their ItemSink

    async def started(self, item: Any) -> None:
        self._tell("started", item)

    def output_delta(self, item_id: str, text: str) -> None:
        self._tell("delta", (item_id, text))

    async def congestion(self) -> None:
        pass

    def changed_item(self, item: Any) -> None:
        self._tell("changed", item)

    async def completed(self, item: Any) -> None:
        self._tell("completed", item)

    async def detach(self, item_id: str) -> None:
        self._tell("detached", item_id)

    # What they see as Approvals

    def is_strict(self, turn_id: str) -> bool:
        return False

    def covers(self, question: CommandQuestion) -> bool:
        return question.key in self.allowed

    async def ask_command(self, question: CommandQuestion) -> Sequence[str] | None:
        if self.covers(question):
            return None
        self.asked.append(question)
        self._tell("asked", question)
        self.before_answer()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return None

    def publish(self, descriptor: Any, params: Any) -> None:
        self._tell(descriptor.method, params)


class Items:
    """The part of `Clients` that is called like one of its fields."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.changed = clients.changed_item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clients, name)


class Bench:
    """exec_command and write_stdin, and a turn in `cwd` to call them in."""

    def __init__(self, cwd: Path, reaper: Reaper, tasks: TaskGroup, backend: Sandbox | None = None) -> None:
        """`backend` confines the commands; without one they run as they are."""
        self.cwd, self.clients, self.sandbox, self.interrupted = cwd, Clients(), NoSandbox(), False
        confining = backend or cast("Sandbox", self.sandbox)
        self.rules = LoadedRules()
        self.terminals = Terminals(cast("Any", tasks.start_soon))
        orchestrator = ToolOrchestrator(
            confining,
            reaper,
            self._rules,
            lambda _turn, _call, _base: ENV,
            LoginEnvironments(confining, reaper),
            cast("Any", None),
        )
        self.exec = ExecCommandTool(orchestrator, self.terminals, ApplyPatchTool())
        self.tools = ToolRegistry([self.exec, WriteStdinTool(self.terminals)])
        self.turn = self.with_turn()

    async def _rules(self, turn: TurnContext) -> LoadedRules:
        return self.rules

    def with_turn(
        self,
        policy: AskForApproval = "never",
        profile: PermissionProfile = FULL_ACCESS,
        **settings: Any,
    ) -> TurnContext:
        """Take a turn under other settings."""
        config = Settings(codex_home=self.cwd, model="gpt-5.5", model_provider="openai", **settings)
        self.turn = TurnContext(
            thread_id="thread",
            turn_id="turn",
            cwd=str(self.cwd),
            base_profile=profile,
            approval_policy=policy,
            items=cast("Any", Items(self.clients)),
            approvals=cast("Any", self.clients),
            network=cast("Any", None),
            config=config,
            model=model_info("gpt-5.5", config),
            mode="default",
            publish=self.clients.publish,
            tell_model=lambda _: None,
            interrupted=lambda: self.interrupted,
        )
        return self.turn

    def interrupt(self) -> None:
        """What the user does with the escape key."""
        self.interrupted = True
        for expiration in list(self.turn.running):
            expiration.cancel("interrupted")

    async def call(self, name: str, arguments: dict[str, Any] | str, call_id: str = "call_1") -> ToolOutput:
        """The output of one call of the model."""
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        return await self.tools.dispatch(ToolCall(call_id, name, text), self.turn)

    async def run(self, script: str, call_id: str = "call_1", **arguments: Any) -> str:
        """What the model reads of exec_command; without a login shell unless the test asks for one."""
        return (await self.call("exec_command", {"cmd": script, "login": False, **arguments}, call_id)).text

    async def write(self, session: int, chars: str = "", **arguments: Any) -> str:
        """What the model reads of write_stdin."""
        return (await self.call("write_stdin", {"session_id": session, "chars": chars, **arguments}, "call_2")).text


ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def session_of(report: str) -> int:
    """The session id in a report of a command that runs on."""
    words = "Process running with session ID "
    assert words in report, report
    return int(report.partition(words)[2].split("\n")[0])


def output_of(report: str) -> str:
    """The output in a report."""
    return report.partition("\nOutput:\n")[2]
