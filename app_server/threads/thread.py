"""A loaded thread: its settings, its history, who follows it, and the turn that runs."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

import anyio
import orjson
from msgspec.structs import replace

from app_server.approvals.approvals import Approvals
from app_server.approvals.denials import InvalidDenial
from app_server.approvals.guardian import Guardian
from app_server.approvals.network import AskingTurn, NetworkApprovals
from app_server.config.settings import Settings
from app_server.exec.pause import Pause
from app_server.files.git import repository_state
from app_server.model.catalog import ModelInfo
from app_server.model.events import Completed
from app_server.model.provider import ModelProvider
from app_server.rpc.connection import Connection
from app_server.rpc.outbound import notification, now_ms
from app_server.store.goals import GoalStatus
from app_server.store.queues import QueuedMessage, QueuedMissing, take
from app_server.store.rows import ItemRow, ThreadRow, TurnRow, cut_preview
from app_server.threads.agenda import Agenda
from app_server.threads.briefing import Briefing
from app_server.threads.events import ThreadEvents
from app_server.threads.goal import Goal
from app_server.threads.history import text_message
from app_server.threads.instructions import base_instructions
from app_server.threads.messages import ExternalOutput, Message, TurnOptions, named_contexts
from app_server.threads.model_turn import ModelTurn
from app_server.threads.queue import MessageQueue
from app_server.threads.reviewed import Reviewed
from app_server.threads.settings import ThreadSettings
from app_server.threads.shell_turn import ShellTurn, run_user_command
from app_server.threads.skills import ThreadSkills
from app_server.threads.turn import AlsoStored, RefusedTurn, Turn
from app_server.threads.user_input import preview_of
from app_server.threads.world import World
from app_server.tools.dynamic import dynamic_tools
from protocol.jsonrpc import invalid_request
from protocol.v2 import thread as wire
from protocol.v2.approval import ITEM_TOOL_REQUEST_USER_INPUT
from protocol.v2.dynamic_tool import ITEM_TOOL_CALL
from protocol.v2.platform import (
    SERVER_REQUEST_RESOLVED,
    WARNING,
    ServerRequestResolvedNotification,
    WarningNotification,
)
from protocol.v2.thread_data import (
    ActiveThreadStatus,
    GitInfo,
    IdleThreadStatus,
    NotLoadedThreadStatus,
    SystemErrorThreadStatus,
    ThreadActiveFlag,
    ThreadStatus,
    ThreadTokenUsage,
    TokenUsageBreakdown,
    TurnError,
)
from protocol.v2.thread_queue import THREAD_QUEUE_CHANGED, ThreadQueueChangedNotification
from protocol.v2.turn import AdditionalContextEntry, TurnToolOutput
from protocol.v2.user_input import UserInput

_NO_TOKENS = TokenUsageBreakdown(
    cached_input_tokens=0, input_tokens=0, output_tokens=0, reasoning_output_tokens=0, total_tokens=0
)


BEGIN_SECONDS = 10.0
"""How long storing a turn's beginning may take, though the client that asked for it has gone."""


class Thread:
    """One conversation. At most one turn runs at a time."""

    def __init__(
        self,
        world: World,
        row: ThreadRow,
        settings: ThreadSettings,
        config: Settings,
        *,
        history: list[bytes] | None = None,
        ephemeral: bool = False,
        offers_tools: bool = True,
        waits: bool = False,
    ) -> None:
        """`waits` says that it does nothing by itself until somebody who may drive it follows it."""
        self.row, self.settings, self.ephemeral, self.offers_tools = row, settings, ephemeral, offers_tools
        self.config = config
        """The configuration for its folder as it was last read, the client's overrides included."""
        self.config_overrides: dict[str, Any] | None = None
        """What the client that started or resumed it gave for its configuration."""
        self.history: list[bytes] = history or []
        self.tells_raw = False
        """Whether its followers are told what the model is given and gives, as it is."""
        self.events = ThreadEvents(row.id)
        self.active: Turn | None = None
        self.turn_changes = 0
        """Counts starts and ends of turns, so that a reader can tell whether one fell into its read."""
        self.briefing, self.skills = Briefing(self), ThreadSkills(self, world.extensions)
        self.tools = world.tools.with_tools(dynamic_tools(settings.dynamic_tools))
        """What the model can call."""
        self.warning: str | None = None
        """What its followers should know of how it was loaded, until it was told."""
        self.left_at = self._used_at = monotonic()
        self.tokens = _restored_tokens(row.token_usage)
        self._world = world
        self.approvals = Approvals(
            self,
            world.server_requests,
            world.decisions,
            world.amend_rules,
            Guardian(Reviewed(self, world)),
            config.approval_unattended_seconds,
        )
        self.network = NetworkApprovals(self, self.approvals, world.amend_network)
        queue = MessageQueue(row.id, world.queues, self._tell_queue_changed)
        self.agenda = Agenda(self, queue, Goal(row.id, world.goals, world.broadcast), waits=waits)
        """What it does by itself."""
        self.pause = Pause()
        """Holds the time limits of its commands while clients ask users something on their behalf."""
        self._status = "idle"
        self._waits: tuple[ThreadActiveFlag, ...] = ()

    @property
    def id(self) -> str:
        """The thread's id, a version 7 UUID."""
        return self.row.id

    @property
    def base_instructions(self) -> str:
        """How the model is told to work, unless the client gave instructions of its own."""
        return base_instructions()

    @property
    def status(self) -> ThreadStatus:
        """As the wire shows it."""
        if self._status == "active":
            return ActiveThreadStatus(active_flags=list(self._waits))
        return SystemErrorThreadStatus() if self._status == "systemError" else IdleThreadStatus()

    def set_status(self, status: str) -> None:
        """Change the status (`active`, `idle` or `systemError`) and tell every client."""
        if status != self._status:
            self._status = status
            self._tell_status(self.status)

    def _tell_status(self, status: ThreadStatus) -> None:
        params = wire.ThreadStatusChangedNotification(status=status, thread_id=self.id)
        self._world.broadcast(notification(wire.THREAD_STATUS_CHANGED, params))

    def tell_unloaded(self) -> None:
        """Tell every client that the thread is no longer loaded."""
        self._tell_status(NotLoadedThreadStatus())

    def tell_warning(self) -> None:
        """Tell the followers once what is different from what was stored."""
        warning, self.warning = self.warning, None
        if warning is not None:
            self.warn(warning)

    # Subscribers

    def follow(self, connection: Connection) -> None:
        """Send every further event to `connection`, and ask it what is still open."""
        self.events.attach(connection)
        if connection.may_answer:
            self._world.server_requests.replay(self.id, connection)

    def unfollow(self, connection_id: int) -> bool:
        """Stop sending; False if that connection did not follow."""
        if not self.events.detach(connection_id):
            return False
        self._world.server_requests.forget(self.id, connection_id)
        self.left_at = monotonic()
        return True

    # Questions to the followers

    @property
    def asks_the_user(self) -> bool:
        """Whether a user decides about approvals. Under `untrusted` that is always so."""
        chosen = None if self.active is None else self.active.reviewer
        return (chosen or self.settings.approvals_reviewer) == "user" or self.settings.approval_kind == "untrusted"

    def may_answer(self) -> Iterable[Connection]:
        """The followers that are asked for approvals."""
        return [connection for connection in self.events.subscribers() if connection.may_answer]

    def alone_since(self) -> float | None:
        """Since when (monotonic seconds) nobody is there to be asked; None while somebody is."""
        return None if self.may_answer() else self.left_at

    def waiting_changed(self) -> None:
        """A question was opened or closed: the status says whether the thread waits."""
        waits = _waits_on(self._world.server_requests.pending(self.id))
        if waits != self._waits:
            self._waits = waits
            if self._status == "active":
                self._tell_status(self.status)

    def asking_turn(self) -> AskingTurn | None:
        """The turn in which a question about the network of a command can be put: the one that runs now."""
        return None if self.active is None or self.active.ending else self.active.asking()

    def warn(self, message: str) -> None:
        """Tell the followers a warning."""
        self.events.publish(WARNING, WarningNotification(thread_id=self.id, message=message))

    def resolved(self, request_id: int) -> None:
        """Tell the followers that a question is closed."""
        params = ServerRequestResolvedNotification(request_id=request_id, thread_id=self.id)
        self.events.publish(SERVER_REQUEST_RESOLVED, params)

    def withdraw_questions(self) -> None:
        """Close every open question without an answer, and abort what is being reviewed."""
        self._world.server_requests.withdraw(self.id)
        self.approvals.guardian.withdraw()

    async def approve_denied(self, event: Any) -> None:
        """Let the user allow an action that a review has denied: it may be asked for again. Raises -32600."""
        try:
            text = await self.approvals.approve_denied(event)
        except InvalidDenial as error:
            raise invalid_request(f"invalid Guardian denial event: {error}") from error
        if await self.settled() or self.active is None:
            await self.store(history=[text_message("developer", text)])
        else:
            self.active.tell_model(text)

    @property
    def in_use(self) -> bool:
        """Whether somebody listens or something runs, a command in the background included."""
        return self.active is not None or len(self.events) > 0 or bool(self._world.terminals.running(self.id))

    def unused_for(self) -> float:
        """Seconds for which nobody has listened and nothing ran, as far as this was asked meanwhile."""
        if self.in_use:
            self._used_at = monotonic()
            return 0.0
        return monotonic() - max(self.left_at, self._used_at)

    def touch(self) -> None:
        """Count the time without use from now: somebody is about to listen."""
        self.left_at = monotonic()

    # Durable state

    async def store(
        self,
        *,
        turn: TurnRow | None = None,
        items: Sequence[ItemRow] = (),
        history: Sequence[bytes] = (),
        also: AlsoStored | None = None,
    ) -> None:
        """Put entries into the history and everything on disk, as one group; ephemeral threads stay in memory."""
        columns: dict[str, Any] = {}
        if turn is not None:
            at = now_ms()
            columns = {"updated_at_ms": at, "recency_at_ms": at, "token_usage": self._stored_tokens()}
            columns["preview"] = self.row.preview
            self.row = replace(self.row, has_turns=True, **columns)
        if not self.ephemeral:
            turn_id = self.active.id if self.active is not None else None
            await self._world.thread_store.append(
                self.id,
                turn=turn,
                items=items,
                history=history,
                history_turn_id=turn_id,
                thread=columns or None,
                also=also,
            )
        self.history += history
        if self.active is not None:
            self.active.tell_raw(history)

    async def change(self, **columns: Any) -> None:
        """Set columns of the thread's row, on disk too."""
        if not self.ephemeral:
            await self._world.thread_store.update(self.id, columns)
        self.row = replace(self.row, **columns)

    async def inject(self, entries: Sequence[bytes]) -> None:
        """Show entries to the model, in the running turn too, without a message of the user."""
        await self.store(history=entries)
        if self.active is not None and not self.active.ending:
            self.active.reads_again()

    def replace_history(self, history: Sequence[bytes]) -> None:
        """Go on from another history, as it is on disk."""
        self.history = list(history)
        self.briefing.history_changed()
        self.turn_changes += 1

    async def apply(self, settings: ThreadSettings) -> Callable[[], None]:
        """Make `settings` those of later turns; the result tells the followers, if anything changed."""
        if settings == self.settings:
            return _tell_nothing
        moved = settings.cwd != self.settings.cwd
        await self.change(
            model=settings.model,
            model_provider=settings.model_provider,
            cwd=settings.cwd,
            reasoning_effort=settings.effort,
            settings=settings.stored(),
        )
        self.settings = settings
        if moved:
            self.briefing.moved()
        params = wire.ThreadSettingsUpdatedNotification(thread_id=self.id, thread_settings=settings.wire())
        return partial(self.events.publish, wire.THREAD_SETTINGS_UPDATED, params)

    # Turns

    def provider(self) -> ModelProvider:
        """Whom its turns ask. Raises -32600 where it is not configured."""
        return self._world.provider(self.settings.model_provider, self.config)

    def model_info(self, model: str) -> ModelInfo:
        """What is known now of a model of this provider."""
        return self._world.models.info(model, self.settings.model_provider, self.config)

    async def start_turn(self, inputs: Sequence[UserInput], options: TurnOptions) -> Turn:
        """Store a new turn and run it; the caller answers before the turn tells anything."""
        self.left_at = monotonic()
        if options.tool_output is not None:
            return await self._start_model_turn(ExternalOutput(options.tool_output), options)
        message = await self.skills.message(inputs, options.client_id)
        return await self._start_model_turn(message, options, preview=preview_of(inputs))

    async def start_queued_turn(self, queued: QueuedMessage, inputs: Sequence[UserInput]) -> Turn:
        """Send a message of the queue: it leaves the queue as its turn is stored. Raises QueuedMissing."""

        def taken(connection: sqlite3.Connection, number: int) -> None:
            if not take(connection, number, queued.id):
                raise QueuedMissing(queued.id)

        message = await self.skills.message(inputs, queued.client_id)
        metadata = None if queued.metadata is None else orjson.loads(queued.metadata)
        options = TurnOptions(metadata=metadata)
        return await self._start_model_turn(message, options, preview=preview_of(inputs), also=taken)

    async def start_goal_turn(self) -> Turn:
        """Go on with the goal."""
        goal = self.agenda.goal
        return await self._start_model_turn(
            None, TurnOptions(), preview=goal.objective, extra=[goal.continuation()], automatic=True
        )

    async def _start_model_turn(
        self,
        message: Message | None,
        options: TurnOptions,
        *,
        preview: str = "",
        extra: Sequence[bytes] = (),
        also: AlsoStored | None = None,
        automatic: bool = False,
    ) -> Turn:
        turn = ModelTurn(
            self,
            self.provider(),
            message,
            output_schema=options.output_schema,
            service_tier=options.service_tier,
            metadata=options.metadata,
        )
        named = named_contexts(options.additional_context)
        if not self.row.preview:
            self.row = replace(self.row, preview=cut_preview(preview))
        return await self._begin(turn, [*await self.briefing.news(), *named, *extra], also=also, automatic=automatic)

    async def start_refused_turn(self, reason: str) -> Turn:
        """Run a turn that fails at once and says why, for requests whose clients cannot take an error answer."""
        async with self.agenda.beginning:
            if not await self.settled() and self.active is not None:
                raise invalid_request(f"turn {self.active.id} is running; interrupt it or wait for its end")
            return await self._begin(RefusedTurn(self, reason), ())

    async def run_shell_command(self, script: str, timeout_ms: int | None) -> None:
        """Run the user's own command: inside the running turn, or in a turn of its own."""
        async with self.agenda.beginning:
            if await self.settled() or self.active is None:
                turn = ShellTurn(self, self.provider(), self._world.shell, script, timeout_ms)
                await self._begin(turn, await self.briefing.news())
            else:
                self.spawn(self.active.join(partial(run_user_command, self._world.shell, script, timeout_ms)))

    async def _begin(
        self,
        turn: Turn,
        context: Sequence[bytes],
        *,
        also: AlsoStored | None = None,
        automatic: bool = False,
    ) -> Turn:
        self.active = turn
        try:
            # A client that leaves now must not leave a turn in the store that nobody runs.
            with anyio.fail_after(BEGIN_SECONDS, shield=True):
                await turn.begin(context, also)
        except BaseException:
            self.active = None
            self.briefing.history_changed()
            turn.finished.set()
            raise
        self.turn_changes += 1
        self.agenda.goal.turn_began(automatic=automatic, counts=self.settings.mode != "plan")
        self.spawn(self._run, turn)
        return turn

    async def note_repository(self) -> None:
        """Keep where the repository stands as the thread begins, unless somebody has said it meanwhile."""
        state = await repository_state(self.settings.cwd)
        if state is not None and self.row.git_info is None:
            info = GitInfo(branch=state.branch, sha=state.sha, origin_url=state.origin_url)
            await self.change(git_info=info.model_dump_json(by_alias=True))

    async def _run(self, turn: Turn) -> None:
        await turn.run()
        await self.agenda.turn_ended(turn)

    def spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run what outlives the request that asked for it."""
        self._world.spawn(function, *args)

    async def goal_after(self, turn: Turn, error: TurnError | None) -> None:
        """Store and tell what the end of a turn means for the goal."""
        status: GoalStatus | None = "paused" if turn.stopped else None
        if error is not None:
            status = "usageLimited" if error.codex_error_info == "usageLimitExceeded" else "blocked"
        if (warning := await self.agenda.goal.turn_ended(turn.id, status)) is not None:
            self.warn(warning)

    async def steer(
        self,
        inputs: Sequence[UserInput],
        client_id: str | None,
        additional_context: Mapping[str, AdditionalContextEntry] | None = None,
    ) -> Turn:
        """Give the running turn a further message. Raises -32600 `no active turn to steer`."""
        beside = named_contexts(additional_context or {})
        return self._join(await self.skills.message(inputs, client_id, beside))

    def steer_with_output(self, output: TurnToolOutput) -> Turn:
        """Give the running turn what another program tells. Raises -32600 `no active turn to steer`."""
        return self._join(ExternalOutput(output))

    def _join(self, message: Message) -> Turn:
        if self.active is None or self.active.ending:
            raise invalid_request("no active turn to steer")
        self.active.steer(message)
        return self.active

    async def settled(self) -> bool:
        """Whether no turn runs. One that is just ending is waited for."""
        if self.active is not None and self.active.ending:
            await self.active.finished.wait()
        return self.active is None

    def turn_ended(self, turn: Turn, status: str) -> None:
        """The turn is over; told by the turn before its `turn/completed`."""
        if self.active is turn:
            self.active = None
        self.turn_changes += 1
        self.left_at = monotonic()
        self.withdraw_questions()
        self.set_status(status)

    async def stop(self) -> None:
        """End the running turn, if any, as interrupted, and wait for that."""
        if (turn := self.active) is not None:
            turn.stop()
            await turn.finished.wait()

    def count_tokens(self, turn_id: str, response: Completed) -> None:
        """Add what one request to the model used, and tell it."""
        usage = response.usage
        last = TokenUsageBreakdown(
            cached_input_tokens=usage.cached_input,
            input_tokens=usage.input,
            output_tokens=usage.output,
            reasoning_output_tokens=usage.reasoning_output,
            total_tokens=usage.total,
        )
        self.agenda.goal.count(usage)
        before = _NO_TOKENS if self.tokens is None else self.tokens.total
        total = TokenUsageBreakdown(
            **{name: getattr(before, name) + getattr(last, name) for name in TokenUsageBreakdown.model_fields}
        )
        window = self.model_info(self.settings.model).context_window
        self.tokens = ThreadTokenUsage(last=last, total=total, model_context_window=window)
        if self.tells_raw:
            from app_server.threads.raw_events import tell_response

            tell_response(self, turn_id, response, last)
        self.tell_tokens(turn_id)

    def tell_tokens(self, turn_id: str, connection: Connection | None = None) -> None:
        """Tell the thread's token usage to its followers, or to one who has just joined."""
        if self.tokens is None:
            return
        params = wire.ThreadTokenUsageUpdatedNotification(thread_id=self.id, token_usage=self.tokens, turn_id=turn_id)
        if connection is None:
            self.events.publish(wire.THREAD_TOKEN_USAGE_UPDATED, params)
        else:
            connection.push(notification(wire.THREAD_TOKEN_USAGE_UPDATED, params))

    def _tell_queue_changed(self) -> None:
        self.events.publish(THREAD_QUEUE_CHANGED, ThreadQueueChangedNotification(thread_id=self.id))

    def _stored_tokens(self) -> str | None:
        return None if self.tokens is None else self.tokens.model_dump_json()


def _waits_on(methods: set[str]) -> tuple[ThreadActiveFlag, ...]:
    """What open questions mean for the status; the call of a client's tool is work, not a wait."""
    approvals = methods - {ITEM_TOOL_REQUEST_USER_INPUT.method, ITEM_TOOL_CALL.method}
    flags: list[ThreadActiveFlag] = []
    if approvals:
        flags.append("waitingOnApproval")
    if ITEM_TOOL_REQUEST_USER_INPUT.method in methods:
        flags.append("waitingOnUserInput")
    return tuple(flags)


def _restored_tokens(text: str | None) -> ThreadTokenUsage | None:
    return None if text is None else ThreadTokenUsage.model_validate(orjson.loads(text))


def _tell_nothing() -> None:
    pass
