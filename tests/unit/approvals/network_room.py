"""A thread whose commands reach for the network, without a thread, a proxy or a command."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from app_server.approvals.approvals import Approvals, Declined
from app_server.approvals.guardian import Guardian
from app_server.approvals.network import REJECTED, AskingTurn, Denial, NetworkApprovals, Registration, Trigger
from app_server.config.network_proxy import HostAction
from app_server.exec.expiration import Expiration
from app_server.network.egress import Execution
from app_server.network.policy import Attempt, Judgement, NetworkProtocol
from app_server.rpc.connection import Client, Connection
from app_server.rpc.outbound import Outbound
from app_server.rpc.server_requests import ServerRequests
from app_server.store.decisions import DecisionLog, Question
from tests.support.nobody import Nobody
from tests.unit.approvals.reviewed import ReviewedThread

TRIGGER = Trigger("the-call", "exec_command", ("/bin/bash", "-lc", "fetch"), "/project")
TICKS = 80
"""Rounds of the loop after which everything has settled; far more than any of it takes."""

REFUSED = Denial(REJECTED, explicit=True)
ALLOW_RULE = {"applyNetworkPolicyAmendment": {"network_policy_amendment": {"host": "example.test", "action": "allow"}}}
DENY_RULE = {"applyNetworkPolicyAmendment": {"network_policy_amendment": {"host": "example.test", "action": "deny"}}}


@dataclass
class RunningTurn:
    """A turn in which questions about the network can be put."""

    requests: ServerRequests
    topic: str
    may_ask: bool = True
    interrupted: bool = False
    over: bool = False
    told: list[str] = field(default_factory=list[str])

    def interrupt(self) -> None:
        self.interrupted = True
        self.requests.withdraw(self.topic)

    def end(self) -> None:
        self.over = True
        self.requests.withdraw(self.topic)

    def asking(self) -> AskingTurn:
        return AskingTurn(
            "the-turn", self.may_ask, lambda: not self.over, lambda: self.interrupted, self.interrupt, self.told.append
        )


class Request:
    """One request of a command to its proxy. `outcome` is "waits" until there is a judgement."""

    def __init__(self, registration: Registration, attempt: Attempt) -> None:
        self.registration, self.attempt = registration, attempt
        self.outcome: Judgement | str = "waits"
        self.scope = anyio.CancelScope()

    @property
    def decision(self) -> str:
        return self.outcome.decision if isinstance(self.outcome, Judgement) else self.outcome

    async def run(self) -> None:
        with self.scope:
            self.outcome = await self.registration.decide(self.attempt)

    async def hang_up(self, waited_ms: int = 12) -> None:
        """The program closes the connection while it waits, which is how the proxy tells of it."""
        self.scope.cancel()
        await settled()
        self.outcome = "gone"
        self.registration.abandoned(self.attempt, waited_ms)


class Notes(DecisionLog):
    """A log that is written at once, so that nothing has to be waited for but what the rooms of the program do."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def asked(self, question: Question) -> int:
        return next(self._numbers)

    async def decided(self, number: int, decision: str, decided_by: str, review: tuple[str, str] | None = None) -> None:
        pass


async def settled() -> None:
    """Return once everything has happened that needs nobody from outside."""
    for _ in range(TICKS):
        await anyio.lowlevel.checkpoint()


class NetworkRoom:
    """The audience of one thread, with clients; commands that reach for the network run in its task group."""

    id = "the-thread"
    asks_the_user = True

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        self.requests = ServerRequests()
        self.turn: RunningTurn | None = RunningTurn(self.requests, self.id)
        self.clients: list[Connection] = []
        self.resolved_ids: list[int] = []
        self.statuses: list[set[str]] = []
        self.warnings: list[str] = []
        self.rules: list[tuple[str, NetworkProtocol, HostAction]] = []
        self.sent: list[Request] = []
        self.unkept: str | None = None
        """Why no rule can be kept."""
        self.approvals = Approvals(self, self.requests, Notes(), self._amend_rules, Guardian(ReviewedThread()))
        self.network = NetworkApprovals(self, self.approvals, self._amend)

    # As the thread's clients

    def may_answer(self) -> list[Connection]:
        return self.clients

    def alone_since(self) -> float | None:
        return None

    def waiting_changed(self) -> None:
        self.statuses.append(self.requests.pending(self.id))

    def resolved(self, request_id: int) -> None:
        self.resolved_ids.append(request_id)

    def asking_turn(self) -> AskingTurn | None:
        return None if self.turn is None or self.turn.over else self.turn.asking()

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    async def _amend_rules(self, prefix: Any) -> None:
        raise AssertionError(prefix)

    async def _amend(self, host: str, protocol: NetworkProtocol, action: HostAction) -> None:
        if self.unkept is not None:
            raise Declined(self.unkept, by_user=False)
        self.rules.append((host, protocol, action))
        self.network.rule_kept(host, action)

    # What tests do

    def join(self, **more: Any) -> Connection:
        connection = Connection(Nobody(), Outbound("line"), **more)
        connection.client = Client("tester", "1")
        connection.outbound.experimental = True
        self.clients.append(connection)
        return connection

    def command(self, name: str = "the-execution", timeout: float | None = None) -> tuple[Registration, Expiration]:
        """A command that runs behind the proxy, and what ends it."""
        registration = self.network.begin(Execution(name, self.id, "the-turn", "the-item"), TRIGGER)
        expiration = Expiration(timeout)
        registration.expires(expiration)
        return registration, expiration

    async def request(
        self, registration: Registration, host: str = "example.test", port: int = 80, protocol: NetworkProtocol = "http"
    ) -> Request:
        """A request that the rules are silent about, after everything that could happen to it by itself."""
        request = Request(registration, Attempt(protocol, host, port))
        self.sent.append(request)
        self._tasks.start_soon(request.run)
        await settled()
        return request

    async def asked(self, connection: Connection) -> list[dict[str, Any]]:
        """The questions that a client was sent since the last look."""
        await settled()
        if not connection.outbound.queued_bytes:
            return []
        data = await connection.outbound.take()
        return [orjson.loads(line) for line in (data or b"").splitlines()]

    async def answer(self, connection: Connection, decision: Any) -> dict[str, Any]:
        """Answer the one question that waits for a client, which is returned."""
        (asked,) = await self.asked(connection)
        await self.reply(connection, asked, {"result": {"decision": decision}})
        return asked

    async def reply(self, connection: Connection, asked: dict[str, Any], body: dict[str, Any]) -> None:
        self.requests.resolve(connection.id, {"id": asked["id"], **body})
        await settled()


@asynccontextmanager
async def network_room() -> AsyncGenerator[NetworkRoom]:
    """A room in which nobody waits any more in the end."""
    waiting: list[Request] = []
    async with anyio.create_task_group() as tasks:
        room = NetworkRoom(tasks)
        yield room
        await settled()
        waiting += [request for request in room.sent if request.decision == "waits"]
        tasks.cancel_scope.cancel()
    assert [request.attempt for request in waiting] == []
