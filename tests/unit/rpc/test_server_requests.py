"""Requests that the server makes of clients."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import orjson
import pytest

from app_server.rpc.server_requests import NoAnswer
from protocol.methods import ServerRequest
from protocol.wire import Wire
from tests.support.fake_app import FakeApp, Peer


class Question(Wire):
    """What is asked."""

    text: str
    reason: str | None = None


class Verdict(Wire):
    """What may be answered."""

    decision: str


class _Description:
    method, params, response = "test/ask", Question, Verdict


ASK = cast("ServerRequest[Question, Verdict]", _Description())


class Asked:
    """One question to some clients: `outcome` is the verdict or why there is none."""

    def __init__(self, app: FakeApp, peers: Sequence[Peer], topic: str = "thread") -> None:
        self.app, self.peers, self.topic = app, peers, topic
        self.outcome: str | None = None
        self.answered_by: str | None = None
        self.resolved: list[int] = []

    async def run(self) -> None:
        """Ask and wait."""
        connections = [peer.connection for peer in self.peers]
        try:
            answer = await self.app.server_requests.ask(
                ASK,
                Question(text="may I?"),
                self.topic,
                connections,
                opened=lambda: None,
                resolved=self.resolved.append,
            )
        except NoAnswer as error:
            self.outcome = f"no answer: {error}"
        else:
            self.outcome, self.answered_by = answer.response.decision, answer.client


@asynccontextmanager
async def _clients(app: FakeApp, count: int) -> AsyncGenerator[list[Peer]]:
    peers = [Peer(app) for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            tasks.start_soon(peer.serve)
            await peer.initialize()
        yield peers
        for peer in peers:
            peer.hang_up()


def _answer(peer: Peer, request_id: Any, **members: Any) -> None:
    peer.send(orjson.dumps({"id": request_id, **members}))


async def test_every_client_is_asked_the_same_and_the_first_answer_wins() -> None:
    app = FakeApp()
    async with _clients(app, 2) as (one, two), anyio.create_task_group() as tasks:
        asked = Asked(app, [one, two])
        tasks.start_soon(asked.run)
        question = await one.receive()
        assert question == await two.receive()
        assert question == {"id": question["id"], "method": "test/ask", "params": {"text": "may I?", "reason": None}}
        _answer(two, question["id"], result={"decision": "second client"})
        _answer(one, question["id"], result={"decision": "first client"})
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome == "second client"
        assert asked.resolved == [question["id"]]


async def test_an_answer_from_a_client_that_was_not_asked_does_not_count() -> None:
    app = FakeApp()
    async with _clients(app, 2) as (asked_one, stranger), anyio.create_task_group() as tasks:
        asked = Asked(app, [asked_one])
        tasks.start_soon(asked.run)
        question = await asked_one.receive()
        _answer(stranger, question["id"], result={"decision": "mine"})
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome is None
        _answer(asked_one, question["id"], result={"decision": "hers"})
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome == "hers"


@pytest.mark.parametrize("wrong", ["0", True, None, 0.0, [], 10**9])
async def test_an_answer_with_another_id_does_not_count(wrong: Any) -> None:
    app = FakeApp()
    async with _clients(app, 1) as (peer,), anyio.create_task_group() as tasks:
        asked = Asked(app, [peer])
        tasks.start_soon(asked.run)
        question = await peer.receive()
        _answer(peer, wrong, result={"decision": "yes"})
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome is None
        _answer(peer, question["id"], result={"decision": "yes"})


@pytest.mark.parametrize(
    "members",
    [
        {"error": {"code": -32601, "message": "what?"}},
        {"error": None},
        {"result": {}},
        {"result": None},
        {"result": []},
        {"result": {"decision": 1}},
        {"result": {"decision": "yes"}, "error": {"code": 1, "message": ""}},
    ],
)
async def test_an_answer_that_is_no_verdict_is_no_answer(members: dict[str, Any]) -> None:
    app = FakeApp()
    async with _clients(app, 1) as (peer,), anyio.create_task_group() as tasks:
        asked = Asked(app, [peer])
        tasks.start_soon(asked.run)
        question = await peer.receive()
        _answer(peer, question["id"], **members)
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome is not None
        assert asked.outcome.startswith("no answer: ")
        assert asked.resolved == [question["id"]]


async def test_who_joins_later_is_asked_what_is_open_in_that_topic_once() -> None:
    app = FakeApp()
    async with _clients(app, 1) as (late,), anyio.create_task_group() as tasks:
        here, elsewhere = Asked(app, [], "here"), Asked(app, [], "elsewhere")
        tasks.start_soon(here.run)
        tasks.start_soon(elsewhere.run)
        await anyio.wait_all_tasks_blocked()
        assert (app.server_requests.pending("here"), app.server_requests.pending("elsewhere")) == (
            {"test/ask"},
            {"test/ask"},
        )
        app.server_requests.replay("here", late.connection)
        app.server_requests.replay("here", late.connection)
        question = await late.receive()
        assert late.outbound.queued_bytes == 0
        _answer(late, question["id"], result={"decision": "late but welcome"})
        await anyio.wait_all_tasks_blocked()
        assert (here.outcome, elsewhere.outcome) == ("late but welcome", None)
        app.server_requests.withdraw("elsewhere")


async def test_a_question_survives_the_clients_that_were_asked() -> None:
    app = FakeApp()
    async with anyio.create_task_group() as tasks:
        async with _clients(app, 1) as (first,):
            asked = Asked(app, [first])
            tasks.start_soon(asked.run)
            await first.receive()
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome is None
        async with _clients(app, 1) as (second,):
            app.server_requests.replay("thread", second.connection)
            question = await second.receive()
            _answer(second, question["id"], result={"decision": "yes"})
            await anyio.wait_all_tasks_blocked()
        assert asked.outcome == "yes"


async def test_a_client_that_left_the_topic_can_no_longer_answer() -> None:
    app = FakeApp()
    async with _clients(app, 1) as (peer,), anyio.create_task_group() as tasks:
        asked = Asked(app, [peer])
        tasks.start_soon(asked.run)
        question = await peer.receive()
        app.server_requests.forget("thread", peer.connection.id)
        _answer(peer, question["id"], result={"decision": "yes"})
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome is None
        app.server_requests.withdraw("thread")


async def test_a_withdrawn_question_ends_without_an_answer_and_is_not_asked_again() -> None:
    app = FakeApp()
    async with _clients(app, 2) as (peer, late), anyio.create_task_group() as tasks:
        asked = Asked(app, [peer])
        tasks.start_soon(asked.run)
        question = await peer.receive()
        app.server_requests.withdraw("thread")
        app.server_requests.replay("thread", late.connection)
        await anyio.wait_all_tasks_blocked()
        assert asked.outcome == "no answer: the question was withdrawn"
        assert asked.resolved == [question["id"]]
        assert late.outbound.queued_bytes == 0
        assert app.server_requests.pending("thread") == set()


async def test_a_question_whose_asker_is_cancelled_is_closed() -> None:
    app = FakeApp()
    async with _clients(app, 1) as (peer,):
        asked = Asked(app, [peer])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked.run)
            await peer.receive()
            tasks.cancel_scope.cancel()
        assert len(asked.resolved) == 1
        assert app.server_requests.pending("thread") == set()


async def test_ids_of_questions_are_never_used_again() -> None:
    app = FakeApp()
    async with _clients(app, 1) as (peer,), anyio.create_task_group() as tasks:
        ids: list[int] = []
        for _ in range(3):
            asked = Asked(app, [peer])
            tasks.start_soon(asked.run)
            ids.append((await peer.receive())["id"])
            _answer(peer, ids[-1], result={"decision": "yes"})
        assert ids == [0, 1, 2]
