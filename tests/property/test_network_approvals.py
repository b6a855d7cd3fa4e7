"""A command behind the managed network under every order of denials, answers, ends and interrupts."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from app_server.approvals.approvals import Approvals, Declined, NetworkQuestion
from app_server.approvals.network import AskingTurn, Denial, NetworkApprovals, Trigger
from app_server.config.network_proxy import HostAction, NetworkProxySettings
from app_server.exec.expiration import NETWORK_DENIED, TIMEOUT, Expiration
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution
from app_server.network.passage import Passage
from app_server.network.policy import Attempt, Judgement, LiveRules, NetworkPolicy, NetworkProtocol
from app_server.network.refusals import HungUp, Refused
from app_server.network.upstream import UpstreamProxies
from app_server.tools.guarded_network import GuardedNetwork
from protocol.v2.permissions import NetworkPolicyAmendment
from tests.property.network_model import Case, Key, Model

KEYS: list[Key] = [("a.test", 80), ("a.test", 81), ("b.test", 80)]
DECISIONS = [
    "accept",
    "acceptForSession",
    "decline",
    "cancel",
    "allow rule",
    "deny rule",
    "other host",
    "reviewer's no",
    "garbage",
]
TIMEOUT_SECONDS = 1.0
TICKS = 40
"""Rounds of the loop after which everything has settled; far more than any of it takes."""

Step = tuple[str, Any]


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when it is told to, and which ends with any error in what it calls.

    It would else wait for ever for what the error has prevented.
    """

    def __init__(self) -> None:
        self.moment = 0.0
        self.ends = False
        """Whether only what is left is to end; then time flies."""
        super().__init__()

    def time(self) -> float:
        if self.ends:
            self.moment += 1.0
        return self.moment

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "handle" in context:
            raise context["exception"]
        super().call_exception_handler(context)


class Question:
    """One that is open; `owner` is the number of the request that has opened it."""

    def __init__(self, owner: int, asked: NetworkQuestion) -> None:
        self.owner, self.asked = owner, asked
        self.answered = asyncio.Event()
        self.answer: str | NetworkPolicyAmendment = "withdrawn"


REQUEST: ContextVar[int] = ContextVar("REQUEST")


class Questions:
    """What clients are asked, in place of `Approvals`."""

    def __init__(self) -> None:
        self.open: list[Question] = []

    async def ask_network(self, asked: NetworkQuestion) -> str | NetworkPolicyAmendment:
        question = Question(REQUEST.get(), asked)
        self.open.append(question)
        try:
            await question.answered.wait()
        finally:
            self.open.remove(question)
        if question.answer in {"withdrawn", "garbage"}:
            raise Declined("approval request failed", by_user=False)
        if question.answer == "reviewer's no":
            raise Declined("rejected by user", by_user=False, decided=True)
        return question.answer

    def withdraw(self) -> None:
        for question in self.open:
            question.answered.set()


class Connections:
    """The connections of the command, in place of an `Egress`."""

    port = 1

    def __init__(self) -> None:
        self.scopes: set[anyio.CancelScope] = set()
        self.closed = False
        self._empty = asyncio.Event()

    def part(self, scope: anyio.CancelScope) -> None:
        self.scopes.discard(scope)
        if not self.scopes:
            self._empty.set()

    async def close(self) -> None:
        self.closed = True
        for scope in self.scopes:
            scope.cancel()
        if self.scopes:
            self._empty.clear()
            await self._empty.wait()


async def _nowhere(host: str, port: int) -> list[Any]:
    raise AssertionError((host, port))


class Command:
    """A command and everybody who can have to do with its end. `in_turn` is what runs to its end within the turn."""

    def __init__(self, *, in_turn: bool, slack: int) -> None:
        """`slack` is how many rounds of the loop it takes from the end of all its processes until it is finished."""
        self.in_turn, self.slack = in_turn, slack
        self.questions, self.connections, self.live = Questions(), Connections(), LiveRules()
        self.turn = "runs"
        self.network = NetworkApprovals(self, cast("Approvals", self.questions), self._amend)
        execution, decisions = Execution("the-execution"), NetworkDecisions()
        trigger = Trigger("the-call", "exec_command", ("fetch",), "/")
        self.registration = self.network.begin(execution, trigger)
        self.guarded = GuardedNetwork(
            self.registration, cast("Egress", self.connections), decisions, lambda message: None
        )
        policy = NetworkPolicy(NetworkProxySettings(), live=self.live)
        self._passage = Passage(
            execution, lambda: policy, self.registration, decisions, cast("Any", _nowhere), UpstreamProxies({})
        )
        self.expiration = Expiration(TIMEOUT_SECONDS)
        self.registration.expires(self.expiration)
        self.exited = asyncio.Event()
        self.dead = asyncio.Event()
        self.left = False
        self.given: list[Denial | None] = []
        self.reasons: list[str] = []
        self.allowed: set[int] = set()
        self.requests = 0
        self.waiting: dict[int, asyncio.Event] = {}

    # The thread

    def asking_turn(self) -> AskingTurn | None:
        if self.turn != "runs":
            return None
        return AskingTurn(
            "the-turn",
            True,
            lambda: self.turn == "runs",
            lambda: self.turn == "interrupted",
            self.interrupt,
            lambda text: None,
        )

    def warn(self, message: str) -> None:
        pass

    async def _amend(self, host: str, protocol: NetworkProtocol, action: HostAction) -> None:
        self.live.hosts[host] = action
        self.network.rule_kept(host, action)

    def interrupt(self) -> None:
        self.turn = "interrupted"
        if self.in_turn:
            self.expiration.cancel("interrupted")
        self.questions.withdraw()

    def end_turn(self) -> None:
        if self.turn == "runs":
            self.turn = "over"
        self.questions.withdraw()

    # The program

    async def follow(self) -> None:
        """Run until it has ended, and finish it, like whoever runs commands."""
        with self.expiration:
            await self.exited.wait()
        self.left = True
        await self.dead.wait()
        for number in self.waiting:
            self.waiting[number].set()
        await _settle(self.slack)
        await self.finish()

    async def finish(self) -> None:
        self.given.append(await self.guarded.finish())

    def next_request(self) -> int:
        """The number of a request that is about to be made."""
        number = self.requests
        self.requests += 1
        self.waiting[number] = asyncio.Event()
        return number

    async def fetch(self, number: int, key: Key) -> None:
        REQUEST.set(number)
        with anyio.CancelScope() as scope:
            self.connections.scopes.add(scope)
            if self.connections.closed:
                scope.cancel()
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
                await self._passage.clear(Attempt("http", *key), self._hung_up(number))
                self.allowed.add(number)
            except (Refused, HungUp):
                pass
            finally:
                self.connections.part(scope)
                del self.waiting[number]

    def _hung_up(self, number: int) -> Callable[[], Any]:
        return self.waiting[number].wait

    # What tests do

    def seen(self) -> None:
        """Note why it was ended, if that has changed."""
        reason = self.expiration.reason
        if reason is not None and self.reasons[-1:] != [reason]:
            self.reasons.append(reason)


def _outcome(denial: Denial | None) -> str | None:
    if denial is None:
        return None
    known = {"rejected by user": "user", "approval request failed": "failed"}
    if denial.reason in known:
        assert denial.explicit
        return known[denial.reason]
    assert not denial.explicit
    if denial.reason.startswith("Network request disconnected after "):
        return "gone"
    return "policy" if denial.reason.endswith(" was blocked by policy.") else "rules"


def _answer(question: Question, decision: str) -> str | NetworkPolicyAmendment:
    match decision:
        case "allow rule":
            return NetworkPolicyAmendment(host=question.asked.host, action="allow")
        case "deny rule":
            return NetworkPolicyAmendment(host=question.asked.host, action="deny")
        case "other host":
            return NetworkPolicyAmendment(host="other.test", action="allow")
        case _:
            return decision


async def _step(step: Step, command: Command, model: Model, tasks: anyio.abc.TaskGroup) -> None:
    """Let one thing happen to the command, and tell the model."""
    what, about = step
    open_questions, waiting = command.questions.open, command.waiting
    match what:
        case "request" if not command.dead.is_set():
            key = KEYS[cast("int", about)]
            number = command.next_request()
            tasks.start_soon(command.fetch, number, key)
            model.begin("request", number, *key)
        case "answer" if open_questions:
            index, decision = cast("tuple[int, str]", about)
            question = open_questions[index % len(open_questions)]
            if not question.answered.is_set():
                question.answer = _answer(question, decision)
                question.answered.set()
                model.begin("answer", question.owner, decision)
        case "hang up" if waiting:
            number = sorted(waiting)[cast("int", about) % len(waiting)]
            if not waiting[number].is_set():
                waiting[number].set()
                model.begin("hang up", number)
        case "rules":
            command.registration.denied(Attempt("http", "c.test", 80), Judgement("deny", reason="denied"))
            model.now("rules")
        case "exit":
            command.exited.set()
            model.begin("exit")
        case "timeout":
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SteppedLoop)
            loop.moment = 2 * TIMEOUT_SECONDS
            model.begin("timeout")
        case "die":
            command.dead.set()
            model.begin("die")
        case "kill":
            command.expiration.cancel("killed")
            model.now("kill")
        case "interrupt" if command.turn == "runs":
            command.interrupt()
            model.now("interrupt")
        case "turn ends":
            command.end_turn()
            model.now("turn ends")
        case "finish":
            tasks.start_soon(command.finish)
            model.begin("finish", 1)
        case _:
            pass


REASONS = {"denied": NETWORK_DENIED, "timeout": TIMEOUT, "killed": "killed", "interrupted": "interrupted", None: None}


def _matches(case: Case, command: Command, *, exactly: bool) -> bool:
    given: set[str | None] = {_outcome(denial) for denial in command.given}
    return (
        _outcome(command.registration.denial) == case.outcome
        and command.expiration.reason == REASONS[case.expired]
        and (command.left, command.turn) == (case.left, case.turn)
        and given == set[str | None](case.given)
        and (not exactly or command.allowed == set(case.allowed))
    )


async def _settle(ticks: int) -> None:
    for _ in range(ticks):
        await asyncio.sleep(0)


async def _play(steps: list[tuple[Step, int]], command: Command, *, exactly: bool) -> None:
    """Play the steps, each followed by so many rounds of the loop, and look whenever everything has settled."""
    model = Model(in_turn=command.in_turn, with_allowed=exactly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(command.follow)
        await _settle(TICKS)
        # Whatever happens, it ends in the end, and its end is told to whoever asks.
        last: list[Step] = [("exit", None), ("die", None), ("finish", None), ("finish", None)]
        for step, ticks in [*steps, *((step, TICKS) for step in last)]:
            await _step(step, command, model, tasks)
            for _ in range(ticks):
                await asyncio.sleep(0)
                command.seen()
            if ticks == TICKS:
                model.settle()
                assert len(model.cases) == 1 or not exactly
                matching = [case for case in model.cases if _matches(case, command, exactly=exactly)]
                assert matching, (model.cases, command.registration.denial, command.reasons, command.allowed)
        tasks.cancel_scope.cancel()


def _run(steps: list[tuple[Step, int]], command_of: tuple[bool, int], *, exactly: bool) -> None:
    async def play() -> None:
        before = asyncio.all_tasks()
        command = Command(in_turn=command_of[0], slack=command_of[1])
        await _play(steps, command, exactly=exactly)
        assert asyncio.all_tasks() == before
        # One end, told alike to all, and one reason that never changed.
        assert len(command.given) >= 3
        assert len(set(map(id, command.given))) <= 2
        if command.registration.denial is not None:
            assert command.given[-1] is command.registration.denial
        assert len(command.reasons) <= 1
        # Nobody waits.
        assert (command.waiting, command.questions.open, command.connections.scopes) == ({}, [], set())
        assert (command.registration.asks, command.registration.active) == (False, False)

    loop = SteppedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            runner.run(play())
        finally:
            loop.ends = True


REQUESTS = st.tuples(st.just("request"), st.integers(0, len(KEYS) - 1))
ANSWERS = st.tuples(st.just("answer"), st.tuples(st.integers(0, 2), st.sampled_from(DECISIONS)))
HANG_UPS = st.tuples(st.just("hang up"), st.integers(0, 3))
ENDS = ["rules", "exit", "timeout", "kill", "interrupt", "turn ends", "die", "finish"]
# A denial, or an end, is the last that happens to most commands, so they are rarer than what can come before.
STEPS = st.one_of(REQUESTS, REQUESTS, ANSWERS, ANSWERS, HANG_UPS, st.tuples(st.sampled_from(ENDS), st.none()))
COMMANDS = st.tuples(st.booleans(), st.integers(0, 4))


@settings(max_examples=500)
@given(st.lists(STEPS.map(lambda step: (step, TICKS)), max_size=14), COMMANDS)
def test_one_thing_after_the_other_has_one_right_outcome(
    steps: list[tuple[Step, int]], command: tuple[bool, int]
) -> None:
    _run(steps, command, exactly=True)


@settings(max_examples=400)
@given(st.lists(st.lists(st.tuples(STEPS, st.integers(0, 6)), min_size=1, max_size=4), max_size=4), COMMANDS)
def test_things_at_the_same_time_have_an_outcome_that_some_order_of_them_has(
    rounds: list[list[tuple[Step, int]]], command: tuple[bool, int]
) -> None:
    steps = [
        (step, TICKS if number == len(together) - 1 else ticks)
        for together in rounds
        for number, (step, ticks) in enumerate(together)
    ]
    _run(steps, command, exactly=False)
