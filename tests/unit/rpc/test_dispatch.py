"""The call boundary: who may call what, and what an error looks like on the wire."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest

from app_server.rpc.connection import Oversized
from app_server.rpc.dispatch import MAX_IN_FLIGHT
from protocol.jsonrpc import RpcError
from tests.support.fake_app import REFUSED, FakeApp, Peer


@asynccontextmanager
async def _peer(app: FakeApp) -> AsyncGenerator[Peer]:
    peer = Peer(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve)
        yield peer
        peer.hang_up()


@asynccontextmanager
async def _initialized(app: FakeApp, *, experimental: bool = False) -> AsyncGenerator[Peer]:
    async with _peer(app) as peer:
        await peer.initialize(experimental=experimental)
        yield peer


def _error(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["error"]["code"], answer["error"]["message"]


async def test_nothing_but_initialize_is_answered_before_it() -> None:
    async with _peer(FakeApp()) as peer:
        assert _error(await peer.call("test/echo")) == (-32600, "Not initialized")
        assert _error(await peer.call("no/such/method")) == (-32600, "Not initialized")
        await peer.initialize()
        assert (await peer.call("test/echo", {"value": 1}))["result"] == {"value": 1, "number": None}


async def test_a_second_initialize_is_refused_and_changes_nothing() -> None:
    async with _initialized(FakeApp()) as peer:
        again = await peer.call("initialize", {"clientInfo": {"name": "other", "version": "2"}})
        assert _error(again) == (-32600, "Already initialized")
        assert peer.connection.client is not None
        assert peer.connection.client.name == "peer"


async def test_an_initialize_that_is_refused_may_be_tried_again() -> None:
    app = FakeApp()
    async with _peer(app) as peer:
        answer = await peer.call("initialize", {"clientInfo": {"name": "x"}})
        assert _error(answer) == (-32600, "Invalid request: missing field `clientInfo.version`")
        assert app.initialized == []
        await peer.initialize()
        assert app.initialized == [peer.connection.id]


async def test_initialize_is_answered_before_the_rest_is_loaded_and_other_requests_wait_for_it() -> None:
    app = FakeApp(loaded=False)
    async with _initialized(app) as peer:
        peer.request(1, "test/echo", {"value": "early"})
        await anyio.wait_all_tasks_blocked()
        assert peer.outbound.queued_bytes == 0
        app.load()
        assert (await peer.receive())["result"]["value"] == "early"


async def test_what_the_client_opted_out_of_is_not_sent_to_it() -> None:
    async with _peer(FakeApp()) as peer:
        await peer.initialize(opt_out=["test/delta"])
        peer.request(1, "test/stream", {"item": "a", "count": 3, "text": "x", "marker": 2})
        assert [(await peer.receive()).get("method", "answer") for _ in range(3)] == [*["test/marker"] * 2, "answer"]


async def test_an_unforeseen_error_tells_the_client_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    async with _initialized(FakeApp()) as peer:
        with caplog.at_level(logging.ERROR):
            answer = await peer.call("test/fail")
        assert answer["error"] == {"code": -32603, "message": "Internal error"}
        assert caplog.records[0].exc_info is not None
        assert "test/fail" in caplog.records[0].getMessage()
        assert "result" in await peer.call("test/echo")


async def test_a_known_error_keeps_its_code_text_and_data() -> None:
    async with _initialized(FakeApp()) as peer:
        answer = await peer.call("test/refuse", {"value": ["why"]})
        assert answer["error"] == {"code": REFUSED, "message": "not today", "data": {"reason": ["why"]}}


async def test_a_known_error_is_found_in_a_group_of_errors() -> None:
    async with _initialized(FakeApp()) as peer:
        assert (await peer.call("test/failGroup"))["error"] == {"code": REFUSED, "message": "known within"}


async def test_an_experimental_method_needs_the_capability() -> None:
    app = FakeApp()
    async with _initialized(app) as plain, _initialized(app, experimental=True) as trial:
        refusal = (-32600, "test/experimental requires experimentalApi capability")
        assert _error(await plain.call("test/experimental")) == refusal
        assert (await trial.call("test/experimental"))["result"] == {}


@pytest.mark.parametrize("value", ["x", ""])
async def test_an_experimental_field_needs_the_capability(value: str) -> None:
    app = FakeApp()
    async with _initialized(app) as plain, _initialized(app, experimental=True) as trial:
        refusal = (-32600, "test/trial.trial requires experimentalApi capability")
        assert _error(await plain.call("test/trial", {"trial": value})) == refusal
        assert (await trial.call("test/trial", {"trial": value}))["result"]["trial"] == value


async def test_an_experimental_field_that_is_null_or_absent_is_no_use_of_it() -> None:
    async with _initialized(FakeApp()) as peer:
        assert "result" in await peer.call("test/trial", {"trial": None, "plain": "a"})
        assert "result" in await peer.call("test/trial", {"plain": "a"})


async def test_while_the_server_shuts_down_refused_methods_say_why() -> None:
    app = FakeApp()
    async with _initialized(app) as peer:
        app.refuses = RpcError(-32600, "going away", {"reason": "serverShuttingDown"})
        answer = await peer.call("test/echo")
        assert answer["error"]["data"] == {"reason": "serverShuttingDown"}


async def test_a_message_that_is_too_long_is_refused_and_the_connection_lives() -> None:
    async with _initialized(FakeApp()) as peer:
        peer.send(Oversized(100_000_000))
        answer = await peer.receive()
        assert (answer["id"], *_error(answer)) == (None, -32600, "Invalid request: message longer than 64 MiB")
        assert "result" in await peer.call("test/echo")


async def test_more_requests_than_the_bound_are_refused_and_those_below_it_answered() -> None:
    app = FakeApp()
    async with _initialized(app) as peer:
        for number in range(MAX_IN_FLIGHT + 2):
            peer.request(number, "test/gate")
        refused = [await peer.receive() for _ in range(2)]
        assert [answer["id"] for answer in refused] == [MAX_IN_FLIGHT, MAX_IN_FLIGHT + 1]
        assert {_error(answer) for answer in refused} == {(-32001, "Server overloaded; retry later.")}
        app.gate.set()
        assert {(await peer.receive())["id"] for _ in range(MAX_IN_FLIGHT)} == set(range(MAX_IN_FLIGHT))
        assert "result" in await peer.call("test/echo")


async def test_a_burst_of_quick_requests_is_answered_in_full() -> None:
    async with _initialized(FakeApp()) as peer:
        for number in range(5000):
            peer.request(number, "test/echo", {"value": number})
        answers = [await peer.receive() for _ in range(5000)]
        assert [answer["result"]["value"] for answer in answers] == list(range(5000))


async def test_requests_of_one_queue_run_one_after_the_other() -> None:
    app = FakeApp()
    async with _initialized(app) as peer:
        for number in range(3):
            peer.request(number, "test/ordered", {"value": number})
        await anyio.wait_all_tasks_blocked()
        assert (app.ran, app.waiting) == (["0"], 1)
        app.gate.set()
        assert [(await peer.receive())["id"] for _ in range(3)] == [0, 1, 2]


async def test_a_client_that_leaves_does_not_hold_up_the_queue_for_others() -> None:
    app = FakeApp()
    async with _initialized(app) as stays:
        async with _initialized(app) as leaves:
            leaves.request(1, "test/ordered", {"value": "leaves"})
            await anyio.wait_all_tasks_blocked()
            stays.request(2, "test/ordered", {"value": "stays"})
            await anyio.wait_all_tasks_blocked()
            assert app.ran == ["leaves"]
        await anyio.wait_all_tasks_blocked()
        assert (app.ran, app.cancelled) == (["leaves", "stays"], 1)
        app.gate.set()
        assert (await stays.receive())["id"] == 2


async def test_the_handler_is_told_once_its_answer_is_queued_and_not_for_an_error() -> None:
    app = FakeApp()
    async with _initialized(app) as peer:
        await peer.call("test/echo")
        await peer.call("test/refuse")
        assert app.answered == 1


async def test_an_answer_is_queued_before_what_the_handler_does_next() -> None:
    async with _initialized(FakeApp()) as peer:
        peer.send(orjson.dumps({"id": 1, "method": "test/stream", "params": {"item": "a", "count": 2, "text": "x"}}))
        order = [(await peer.receive()).get("method", "answer") for _ in range(3)]
        assert order == ["test/delta", "test/delta", "answer"]
