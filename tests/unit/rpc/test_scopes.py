"""What a connection may do that is not allowed everything."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from app_server.rpc.scopes import FULL, NO_SHELL, OBSERVE, SCOPES, Scope, out_of_scope
from app_server.rpc.server_requests import NoAnswer
from protocol.methods import ServerRequest
from protocol.wire import Empty
from tests.support.fake_app import FakeApp, Peer

READ, ACT, SHELL = "test/echo", "test/gate", "test/print"


@asynccontextmanager
async def _client(app: FakeApp, scope: Scope) -> AsyncGenerator[Peer]:
    peer = Peer(app)
    peer.connection.scope = scope
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(peer.serve)
        await peer.initialize()
        yield peer
        peer.hang_up()


def _text(answer: dict[str, Any]) -> str | None:
    return answer["error"]["message"] if "error" in answer else None


@pytest.mark.parametrize(("scope", "allowed"), [(FULL, {READ, ACT, SHELL}), (NO_SHELL, {READ, ACT}), (OBSERVE, {READ})])
async def test_a_scope_allows_some_kinds_of_request(scope: Scope, allowed: set[str]) -> None:
    app = FakeApp()
    app.gate.set()
    async with _client(app, scope) as peer:
        for method in (READ, ACT, SHELL):
            answer = await peer.call(method)
            if method in allowed:
                assert "result" in answer
            else:
                assert answer["error"]["code"] == -32600
                assert answer["error"]["message"] == out_of_scope(scope, f"`{method}`")


@pytest.mark.parametrize("scope", [NO_SHELL, OBSERVE])
def test_a_refusal_names_the_scope_and_what_it_allows(scope: Scope) -> None:
    text = out_of_scope(scope, "`command/exec`")
    assert "`command/exec`" in text
    assert f"`{scope.name}`" in text
    assert scope.allows in text


async def test_params_are_not_looked_at_where_the_method_is_not_allowed() -> None:
    async with _client(FakeApp(), OBSERVE) as peer:
        assert _text(await peer.call(ACT, {"number": "no"})) == out_of_scope(OBSERVE, f"`{ACT}`")


async def test_what_is_malformed_is_told_as_to_anybody() -> None:
    async with _client(FakeApp(), OBSERVE) as peer:
        assert "unknown method" in (_text(await peer.call("test/none")) or "")
        assert "number" in (_text(await peer.call(READ, {"number": "no"})) or "")


def test_the_scopes_are_ordered_by_what_they_allow() -> None:
    assert list(SCOPES) == ["full", "no-shell", "observe"]
    assert OBSERVE.access < NO_SHELL.access < FULL.access
    rights = [(scope.may_answer, scope.may_amend, scope.may_widen) for scope in (FULL, NO_SHELL, OBSERVE)]
    assert rights == [(True, True, True), (True, False, False), (False, False, False)]


class _Question:
    method, params, response = "test/ask", Empty, Empty


@pytest.mark.parametrize(("scope", "counts"), [(FULL, True), (NO_SHELL, True), (OBSERVE, False)])
async def test_an_answer_counts_only_from_who_may_give_one(scope: Scope, counts: bool) -> None:
    app = FakeApp()
    outcome: list[str] = []
    async with _client(app, scope) as peer, _client(app, FULL) as other, anyio.create_task_group() as tasks:

        async def ask() -> None:
            try:
                descriptor = cast("ServerRequest[Empty, Empty]", _Question())
                answer = await app.server_requests.ask(
                    descriptor,
                    Empty(),
                    "topic",
                    [peer.connection, other.connection],
                    opened=lambda: None,
                    resolved=lambda _: None,
                )
                outcome.append(answer.client)
            except NoAnswer:
                outcome.append("nobody")

        tasks.start_soon(ask)
        question = await peer.receive()
        peer.send(b'{"id":%d,"result":{}}' % question["id"])
        await peer.call(READ)  # by now the answer was read
        other.send(b'{"id":%d,"result":{}}' % question["id"])
    expected = peer if counts else other
    assert outcome == [f"peer 1 (connection {expected.connection.id})"]
