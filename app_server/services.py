"""Everything behind the dispatcher, opened in order and closed in reverse. Imported after `initialize` is answered."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import orjson
from anyio.abc import TaskGroup

from app_server.auth.manager import AuthManager
from app_server.config.layer import ConfigError, ConfigWarning
from app_server.config.layers import load_settings
from app_server.config.live import Configuration
from app_server.config.settings import Settings
from app_server.exec.reaper import Reaper
from app_server.execpolicy.folders import rules_folders
from app_server.execpolicy.loading import rules_files
from app_server.execpolicy.rules import RuleSet
from app_server.execpolicy.store import LoadedRules, RulesError, RulesStore
from app_server.extensions.extensions import SKILL_WATCHES, Extensions
from app_server.files.config_watch import CONFIG_WATCHES, ConfigWatch
from app_server.files.search import FileSearch
from app_server.files.watch import Watcher
from app_server.handlers.context import RequestContext
from app_server.handlers.registry import find_handler, load_handlers
from app_server.model.directory import ModelDirectory
from app_server.model.http import HttpPool
from app_server.model.provider import ModelProvider, build_provider
from app_server.network.decisions import NetworkDecisions
from app_server.network.policy import LiveRules
from app_server.network.proxy import NetworkProxy
from app_server.platform.platform import Platform
from app_server.rpc.connection import Connection, Connections
from app_server.rpc.dispatch import Surface
from app_server.rpc.outbound import Frame, notification_json
from app_server.rpc.server_requests import ServerRequests
from app_server.sandbox.permissions import Secrets
from app_server.sandbox.protected import sweep
from app_server.sandbox.sandbox import SandboxUnavailable, choose_sandbox
from app_server.store.daemons import Daemon as DaemonLock
from app_server.store.database import Database
from app_server.store.decisions import DecisionLog
from app_server.store.errors import StoreError
from app_server.store.goals import GoalStore
from app_server.store.queues import QueueStore
from app_server.store.rollouts.sessions import Sessions
from app_server.store.rollouts.settings import SessionSettings
from app_server.store.threads import ThreadStore
from app_server.threads.library import Library
from app_server.threads.manager import ThreadManager
from app_server.transport.listen import ServerOptions, StartError
from protocol.jsonrpc import RequestId, RpcError, invalid_request

if TYPE_CHECKING:
    from app_server.config.network_proxy import HostAction
    from app_server.exec.sessions import CommandSessions
    from app_server.network.policy import NetworkProtocol
    from app_server.tools.context import TurnContext
    from app_server.tools.guarded_network import NetworkAccess
    from app_server.tools.investigation import Investigation
    from app_server.tools.registry import ToolRegistry
    from app_server.tools.shell import UserShell
    from app_server.tools.terminals import Terminals
    from app_server.tools.toolset import Toolset

logger = logging.getLogger(__name__)

ROOMS = (
    "app_server.exec.sessions",
    "app_server.threads.course",
    "app_server.threads.opening",
    "app_server.tools.guarded_network",
    "app_server.tools.toolset",
)
"""What is loaded with the first request that needs it, or when it is quiet."""

QUIET_SECONDS = 0.25
"""So long nobody asks for anything, and nobody waits for an answer, before work is done that only saves time later."""

LATEST_SECONDS = 5.0
"""When after the start that work is done though it is not quiet."""

IDLE_SECONDS = 2.0
"""When after the start the validators of all requests are built, which take the most memory."""

STOP_SECONDS = 8.0
"""How long running turns may take to end when they are interrupted by the end of the daemon."""


class Daemon:
    """The services of one daemon, and what threads need of it."""

    _tasks: TaskGroup
    thread_store: ThreadStore
    goals: GoalStore
    queues: QueueStore
    threads: ThreadManager
    library: Library
    decisions: DecisionLog
    network_decisions: NetworkDecisions
    extensions: Extensions
    _reaper: Reaper
    _proxy: NetworkProxy

    def __init__(
        self, home: Path, options: ServerOptions, connections: Connections, server_requests: ServerRequests
    ) -> None:
        self._home, self._options = home, options
        self.connections, self.server_requests = connections, server_requests
        self.closed = anyio.Event()
        try:
            load = partial(load_settings, home, options.overrides, options.enable, options.disable)
            self.configuration = Configuration(partial(load, profile=options.profile, strict=options.strict_config))
        except ConfigError as error:
            raise StartError(str(error)) from error
        self.platform = Platform(home, self.broadcast, self.spawn)
        self._journal = home / "turnloom" / "sandbox-roots"
        tokens = (options.auth.token_file, options.auth.shared_secret_file)
        secrets = Secrets(home, tuple(file for file in tokens if file is not None))
        self._hidden = secrets.denied()
        self.sandbox = choose_sandbox(self._journal, secrets)
        self.watcher = Watcher(self._tell_changed)
        self.search = FileSearch(self._tell_found, self.spawn)
        self._providers: dict[str, ModelProvider] = {}
        self._pool = HttpPool()
        self.account = AuthManager(
            home,
            lambda: self.settings.account,
            fetch=self._pool.fetch,
            spawn=self.spawn,
            connections=connections,
            server_requests=server_requests,
            changed=self._account_changed,
        )
        self.models = ModelDirectory(self.provider, self.spawn)
        self._warnings: list[bytes] = []
        self._config_warnings: list[ConfigWarning] = []
        self._told_config: set[tuple[str, str]] = set()
        self.config_watch = ConfigWatch(self.configuration, self.watcher)
        self._live_network_rules = LiveRules()
        self._asked = 0
        self._commands: CommandSessions | None = None
        self._network: NetworkAccess | None = None

    @property
    def settings(self) -> Settings:
        """The configuration in force outside of threads, as it is now."""
        return self.configuration.settings

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Open everything; leaving interrupts what runs and closes everything in reverse."""
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack)
                async with anyio.create_task_group() as self._tasks:
                    self.spawn(self.watcher.run)
                    self.spawn(self.search.run)
                    self.spawn(self.extensions.run)
                    self.spawn(self.config_watch.run)
                    self.spawn(self._load_the_rest)
                    self.spawn(self.threads.unload_idle)
                    self.spawn(self.library.index.run)
                    self.spawn(self._sessions.keep)
                    self.spawn(self._look_at_rules)
                    self.spawn(self._tell_confinement)
                    try:
                        yield
                    finally:
                        with anyio.move_on_after(STOP_SECONDS, shield=True):
                            await self.threads.stop()
                            await self.commands.shutdown()  # from now on it takes none
                        self._tasks.cancel_scope.cancel()
        finally:
            self.closed.set()

    async def _open(self, stack: AsyncExitStack) -> None:
        folder = self._home / "turnloom"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = await stack.enter_async_context(DaemonLock(folder / "daemons", self._options.listen_url))
            database = await stack.enter_async_context(Database(folder / "threads.sqlite3"))
            self._sessions = Sessions(self._home, database, lock, self._session_settings, self.settings.model_provider)
            self.thread_store = ThreadStore(database, lock, self._sessions)
            self.goals, self.queues = GoalStore(database, self.thread_store), QueueStore(database, self.thread_store)
            await self.thread_store.mark_cut_turns()
        except StoreError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise StartError(f"{folder} cannot be used for threads: {error.strerror or error}") from error
        try:
            await anyio.to_thread.run_sync(self._tidy)
        except SandboxUnavailable as error:
            logger.warning("%s", error)
        for other in await lock.others():
            logger.warning(
                "another turnloom (pid %d, %s) uses %s: its threads can be read here, and written there only",
                other.pid,
                other.listen,
                self._home,
            )
        await stack.enter_async_context(self._pool)
        if self.settings.account.credentials_store in ("keyring", "auto"):
            await self.account.load()
        if (problem := await self.models.read_file(self.settings)) is not None:
            self._warnings.append(_config_warning("The catalogue of models cannot be used.", problem))
        self._reaper = await stack.enter_async_context(Reaper())
        self.decisions = DecisionLog(database)
        self.extensions = Extensions(database, self.watcher, self.broadcast, self.settings)
        await self.decisions.close_lost()
        self._rules = RulesStore(self._home)
        self.network_decisions = NetworkDecisions()
        self._proxy = await stack.enter_async_context(NetworkProxy(self.network_decisions, self._home / "proxy"))
        self.threads = ThreadManager(self, self.configuration)
        self.library = Library(self.threads, self, database)
        self._warnings.extend(map(_config_warning, database.warnings))
        self._config_warnings = list(self.configuration.stack.warnings)
        self._told_config = {warning.essence for warning in self._config_warnings}
        self.configuration.changed, self.configuration.found = self._config_changed, self._config_found
        self.configuration.looked = self.config_watch.changed

    # What many clients never need is made when it is asked for.

    @property
    def commands(self) -> "CommandSessions":
        """Commands that clients run."""
        if self._commands is None:
            from app_server.exec.sessions import CommandSessions

            self._commands = CommandSessions(self.sandbox, self._reaper)
        return self._commands

    @property
    def network(self) -> "NetworkAccess":
        """The way of commands to the network, where it is managed."""
        if self._network is None:
            from app_server.tools.guarded_network import NetworkAccess

            self._network = NetworkAccess(
                self._proxy, self.network_decisions, self._live_network_rules, self._network_rules_in
            )
        return self._network

    @cached_property
    def _toolset(self) -> "Toolset":
        from app_server.tools.toolset import Toolset

        return Toolset(self.sandbox, self._reaper, self.network, self._rules_for, self.spawn, self._hidden)

    @property
    def tools(self) -> "ToolRegistry":
        """What models can call."""
        return self._toolset.registry

    @property
    def shell(self) -> "UserShell":
        """Commands of users in their threads."""
        return self._toolset.shell

    @property
    def investigation(self) -> "Investigation":
        """What reviewers look at before they judge."""
        return self._toolset.investigation

    @property
    def terminals(self) -> "Terminals":
        """Commands of the model that run on in the background."""
        return self._toolset.terminals

    def _session_settings(self, found: SessionSettings) -> str:
        from app_server.threads.imported import imported_settings

        return imported_settings(found, self.settings)

    async def _rules_for(self, turn: "TurnContext") -> LoadedRules:
        """The exec rules in force: of the system, the user, and a trusted project."""
        return await self._rules_in(turn.cwd, turn.profile.writable_roots)

    async def _rules_in(self, cwd: str, writable: Sequence[str]) -> LoadedRules:
        loaded = await self._rules.current(rules_folders(self.settings, cwd, writable))
        self._tell_problems(loaded)
        return loaded

    async def _network_rules_in(self, cwd: str, writable: Sequence[str]) -> RuleSet:
        return (await self._rules_in(cwd, writable)).rules

    async def _look_at_rules(self) -> None:
        """Tell early what is wrong with the user's rules files, where there are any."""
        folders = rules_folders(self.settings, "/", ("/",))
        if await anyio.to_thread.run_sync(_has_rules, folders):
            self._tell_problems(await self._rules.current(folders))

    def _tell_problems(self, loaded: LoadedRules) -> None:
        """Warn every client of rules files that cannot be read, once, and those that come later."""
        for problem in loaded.problems:
            place = None if problem.line is None else {"line": problem.line, "column": problem.column or 1}
            warning = _config_warning(problem.summary, problem.details, str(problem.path), place)
            if warning not in self._warnings:
                self._warnings.append(warning)
                self.broadcast(notification_json("configWarning", warning))

    async def amend_rules(self, prefix: Sequence[str]) -> None:
        """Allow commands that begin with `prefix` from now on. Raises Declined where that cannot be kept."""
        from app_server.approvals.approvals import Declined

        try:
            await self._rules.append_prefix(prefix)
        except RulesError as error:
            raise Declined(f"the rule could not be kept, so the command did not run: {error}", by_user=False) from error

    async def amend_network(self, host: str, protocol: "NetworkProtocol", action: "HostAction") -> None:
        """Allow or deny a whole host from now on, also to commands that run. Raises Declined where that cannot be kept.

        A denial holds at once in any case.
        """
        from app_server.approvals.approvals import Declined

        if action == "deny":
            self._live_network_rules.hosts[host] = action
        justification = f"{action.capitalize()} {protocol} access to {host}"
        named = "https" if protocol == "https_connect" else protocol
        try:
            await self._rules.append_network_rule(host, named, action, justification)
        except RulesError as error:
            raise Declined(f"the rule for {host} could not be kept: {error}", by_user=False) from error
        self._live_network_rules.hosts[host] = action
        self.threads.network_rule_kept(host, action)

    def _tidy(self) -> None:
        self.platform.remote_control.installation_id()
        sweep(self._journal)

    def surface(self, refuse: Callable[[str], RpcError | None]) -> Surface[RequestContext]:
        """What clients can call."""
        self._add_gauges()
        return Surface(find_handler, self._context, refuse)

    def _context(self, connection: Connection, request_id: RequestId) -> RequestContext:
        self._asked += 1
        return RequestContext(self, connection, request_id)

    async def _load_the_rest(self) -> None:
        """Do in the background what the first request of each kind would otherwise wait for."""
        began = anyio.current_time()
        await self._quiet(began + LATEST_SECONDS)
        for room in ROOMS:
            await anyio.to_thread.run_sync(import_module, room, abandon_on_cancel=True)
        await anyio.sleep_until(began + IDLE_SECONDS)
        await self._quiet(began + LATEST_SECONDS)
        await anyio.to_thread.run_sync(_build_validators, abandon_on_cancel=True)

    async def _quiet(self, latest: float) -> None:
        asked = -1
        while (asked != self._asked or self._in_flight()) and anyio.current_time() < latest:
            asked = self._asked
            await anyio.sleep(QUIET_SECONDS)

    def _in_flight(self) -> int:
        return sum(connection.in_flight for connection in self.connections)

    def _add_gauges(self) -> None:
        gauges, threads = self.platform.gauges, self.threads
        gauges.add("app.connections.open", lambda: len(self.connections))
        gauges.add("app.outbound.queued_bytes", lambda: sum(c.outbound.queued_bytes for c in self.connections))
        gauges.add("app.requests.in_flight", self._in_flight)
        gauges.add("app.server_requests.open", lambda: self.server_requests.open_count)
        gauges.add("core.commands.running", lambda: 0 if self._commands is None else self._commands.running_count)
        gauges.add("core.terminals.running", lambda: sum(len(self.terminals.running(t)) for t in threads.loaded_ids()))
        gauges.add("core.threads.live", lambda: len(threads.loaded_ids()))
        gauges.add("core.turns.active", lambda: sum(map(self._runs_turn, threads.loaded_ids())))
        gauges.add_store(self._home / "turnloom" / "threads.sqlite3")

    def _runs_turn(self, thread_id: str) -> bool:
        thread = self.threads.find(thread_id)
        return thread is not None and thread.active is not None

    def spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run what outlives the request and the client that started it. An error is logged and takes nothing along."""
        self._tasks.start_soon(_logging_errors, function, args)

    # Clients

    def welcome(self, connection: Connection) -> None:
        """Tell a client that has just initialised the state of things, and what is wrong with the configuration."""
        connection.push(self.platform.remote_control.frame())
        for params in (*map(_json_warning, self._config_warnings), *self._warnings):
            connection.push(notification_json("configWarning", params))

    def _config_changed(self) -> None:
        """The configuration is another one: tell what is wrong in it now, and let loaded threads go on with it."""
        self._providers.clear()
        self.config_watch.changed()
        self.extensions.configured(self.settings)
        self.spawn(self._follow_config)

    async def _follow_config(self) -> None:
        self._config_warnings = list(self.configuration.stack.warnings)
        await self.threads.reconfigure()
        self._tell_config(self._config_warnings)
        # What is mended and goes wrong again is told again.
        self._told_config &= {warning.essence for warning in self._config_warnings}

    def _config_found(self, warnings: Sequence[ConfigWarning]) -> None:
        """The configuration of a thread's folder was read: tell once what is wrong in it."""
        known = {warning.essence for warning in self._config_warnings}
        new = [warning for warning in warnings if warning.essence not in known]
        self._config_warnings += new
        self._tell_config(new)

    def _tell_config(self, warnings: Sequence[ConfigWarning]) -> None:
        """Tell every client what it was not told before; clients to come are told all."""
        for warning in warnings:
            if warning.essence not in self._told_config:
                self._told_config.add(warning.essence)
                self.broadcast(notification_json("configWarning", _json_warning(warning)))

    async def _tell_confinement(self) -> None:
        """Tell every client, also those to come, if commands are confined by less than the best, or not at all."""
        report = await self.sandbox.report()
        if report.summary is not None:
            logger.warning("%s %s", report.summary, report.details)
            params = _config_warning(report.summary, report.details)
            self._warnings.append(params)
            self.broadcast(notification_json("configWarning", params))

    async def forget(self, connection: Connection) -> None:
        """A client has gone: its commands and watches end, its turns go on."""
        self.threads.leave(connection)
        await self.watcher.close_connection(connection.id)
        self.search.close_connection(connection.id)
        await self._end_commands(connection)

    async def end_work(self, connection: Connection) -> None:
        """Interrupt all turns and end the commands of a client that is still told how they end."""
        await self.threads.stop()
        await self._end_commands(connection)

    async def _end_commands(self, connection: Connection) -> None:
        if self._commands is not None:
            await self._commands.close_connection(connection.id)

    def broadcast(self, frame: Frame) -> None:
        """Send thread-level news to every initialised client."""
        self.connections.broadcast(frame)

    def _tell_changed(self, connection_id: int, watch_id: str, paths: list[str]) -> None:
        if connection_id == SKILL_WATCHES:
            self.extensions.changed()
            return
        if connection_id == CONFIG_WATCHES:
            self.config_watch.changed()
            return
        params = orjson.dumps({"watchId": watch_id, "changedPaths": paths})
        self.connections.push_to(connection_id, notification_json("fs/changed", params))

    def _tell_found(self, connection_id: int, method: str, params: bytes) -> None:
        self.connections.push_to(connection_id, notification_json(method, params))

    # The account and models

    def _account_changed(self, signed_in: bool) -> None:
        """Somebody has signed in or out: what is the default for new threads may be another."""
        self.models.forget()
        self.configuration.sign(signed_in=signed_in)

    def provider(self, name: str, settings: Settings) -> ModelProvider:
        """The provider of that name under a thread's configuration. Raises -32600 naming the known ones."""
        try:
            chosen = settings.model_providers[name]
        except KeyError:
            known = ", ".join(sorted(settings.model_providers))
            raise invalid_request(f"model provider `{name}` not found; known providers: {known}") from None
        if chosen != self.settings.model_providers.get(name):
            return build_provider(name, settings, self._pool, self.account)
        if name not in self._providers:
            self._providers[name] = build_provider(name, self.settings, self._pool, self.account)
        return self._providers[name]


async def _logging_errors(function: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
    try:
        await function(*args)
    except Exception:
        logger.exception("unforeseen error in %s", getattr(function, "__qualname__", function))


def _build_validators() -> None:
    for endpoint in load_handlers().values():
        endpoint.descriptor.params.model_rebuild()
        endpoint.descriptor.response.model_rebuild()


def _has_rules(folders: Sequence[Path]) -> bool:
    try:
        return any(rules_files(folder) for folder in folders)
    except OSError:
        return True


def _json_warning(warning: ConfigWarning) -> bytes:
    place = None if warning.line is None else {"line": warning.line, "column": warning.column or 1}
    return _config_warning(warning.summary, warning.details, warning.path, place)


def _config_warning(
    summary: str, details: str | None = None, path: str | None = None, place: dict[str, int] | None = None
) -> bytes:
    position = None if place is None else {"start": place, "end": place}
    return orjson.dumps({"summary": summary, "details": details, "path": path, "range": position})
