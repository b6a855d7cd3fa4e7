"""Every method answers whatever it is sent: with a result of its type, or with an error that says what is wrong."""

import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from app_server.exec import proctree
from protocol.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST
from protocol.methods import ClientRequest, registered
from protocol.wire import OneOf
from tests.support.odd_params import WRONG, Flavour, Maker, flavours
from tests.support.rpc_client import CallFailed, Message, RpcClient
from tests.support.stage import Stage, run_turn, set_stage

MAKER = Maker()
REQUESTS = [request for request in registered(ClientRequest) if request.method != "initialize"]

_numbers = count()

SETTLING = (
    "app.requests.in_flight",
    "app.requests.queued",
    "app.tasks.alive",
    "core.turns.active",
    "core.commands.running",
    "children",
)
"""Numbers that come down again."""

SETTLE_SECONDS = 20

CONNECTIONS_TO_MODEL = 8
"""They stay open for the next question."""

AT_A_TIME = 100
"""Requests in flight: fewer than a connection may have."""

BY_SYSTEM = re.compile(r"\(os error \d+\)|^failed to spawn (command|process): ")
"""What the system refuses has the reference's code for it, and the system's reason."""

NOTHING: tuple[Any, ...] = ({}, None)
NO_OBJECT: tuple[Any, ...] = ([], [{}], "x", 1, True)

LAST = {"thread/archive", "thread/delete", "thread/unsubscribe"}
"""After these there is less to find in a thread."""

REACHES_OUT = {"account/login/start"}
"""Methods that right params would lead to the network."""


@dataclass(frozen=True)
class Attempt:
    """A request to make, and what is wrong with it: `wrong` is the member that the error has to name."""

    request: ClientRequest[Any, Any]
    params: Any
    wrong: str | None = None

    def __str__(self) -> str:
        return f"{self.request.method} {json.dumps(self.params)[:300]}"


async def answers(client: RpcClient, attempts: Sequence[Attempt]) -> list[Message]:
    """The answer to each attempt. Many are under way at a time."""
    found: list[Message] = []
    for start in range(0, len(attempts), AT_A_TIME):
        some = attempts[start : start + AT_A_TIME]
        ids = [f"attempt {next(_numbers)}" for _ in some]
        waiting = set(ids)
        seen = len(client.received)
        for request_id, attempt in zip(ids, some, strict=True):
            message = {"id": request_id, "method": attempt.request.method, "params": attempt.params}
            # Not orjson, which takes no number of more than 64 bits.
            await client.send_raw(json.dumps(message).encode())

        def all_came(message: Message, waiting: set[str] = waiting) -> bool:
            if "method" not in message:
                waiting.discard(message["id"])
            return not waiting

        try:
            await client.wait_for(all_came)
        except BaseException:
            print("not answered:", *(str(a) for i, a in zip(ids, some, strict=True) if i in waiting), sep="\n")
            raise
        by_id = {message["id"]: message for message in client.received[seen:] if "method" not in message}
        found += [by_id[request_id] for request_id in ids]
    return found


def fault(attempt: Attempt, answer: Message) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    if "error" in answer:
        error = answer["error"]
        refused_by_system = error["code"] == INTERNAL_ERROR and BY_SYSTEM.search(error["message"]) is not None
        if error["code"] not in (INVALID_REQUEST, INVALID_PARAMS) and not refused_by_system:
            return f"{error['code']}: {error['message']}"
        if not error["message"].strip() or "Traceback" in error["message"]:
            return f"an error without a reason: {error['message']!r}"
        if attempt.wrong is not None and f"`{attempt.wrong}" not in error["message"]:
            return f"`{attempt.wrong}` is not named: {error['message']}"
        return None
    if attempt.wrong is not None:
        return f"taken although `{attempt.wrong}` is wrong"
    try:
        attempt.request.response.model_validate(answer["result"])
    except ValidationError as error:
        return f"a result of another type: {error}"
    return None


async def faults(client: RpcClient, attempts: Sequence[Attempt]) -> list[str]:
    """Make all attempts and tell what was wrong with their answers."""
    found = await answers(client, attempts)
    both = zip(attempts, found, strict=True)
    return [f"{attempt}\n    {problem}" for attempt, answer in both if (problem := fault(attempt, answer)) is not None]


def assert_none(found: Sequence[str], stage: Stage) -> None:
    """Fail with every fault, and with what the daemon has to say of them."""
    assert not found, "\n".join([f"{len(found)} faults:", *found, "", "THE DAEMON:", stage.daemon.stderr[-20_000:]])


def is_right(request: ClientRequest[Any, Any], params: Any) -> bool:
    """Whether the params are of the request's type."""
    try:
        request.params.model_validate(json.loads(json.dumps(params)), by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


def wrong_attempts(plain: Flavour) -> Iterator[Attempt]:
    """Each request without each member that it needs, and with each member of each wrong kind."""
    for request in REQUESTS:
        right = MAKER.params(request, plain)
        yield from (Attempt(request, wrong) for wrong in NO_OBJECT if not is_right(request, wrong))
        for name in right:
            without = {other: value for other, value in right.items() if other != name}
            if not is_right(request, without):
                yield Attempt(request, without, name)
        for member in MAKER.members(request):
            for wrong in WRONG:
                params = {**right, member.name: wrong}
                if not is_right(request, params):
                    # Where params are one of several kinds, another member may be what is wrong.
                    names_it = not issubclass(request.params, OneOf)
                    yield Attempt(request, params, member.name if names_it else None)


async def known_thread(stage: Stage, client: RpcClient) -> dict[str, Any]:
    """Ids that mean something: those of a thread with a turn."""
    thread = await stage.thread(client)
    turn = await run_turn(client, thread)
    return {"threadId": thread, "turnId": turn["id"], "expectedTurnId": turn["id"], "cwd": str(stage.cwd)}


def strange_attempts(flavour: Flavour, known: dict[str, Any]) -> Iterator[Attempt]:
    """Each request with params that are right by type, about a thread that is there and about others."""
    for request in sorted(REQUESTS, key=lambda request: request.method in LAST):
        if request.method not in REACHES_OUT:
            for fixed in ({}, known):
                yield Attempt(request, MAKER.params(request, flavour, **fixed))


async def gauges(stage: Stage, client: RpcClient) -> dict[str, int]:
    """The daemon's own numbers, and how many children it has."""
    answer = await client.call("server/diagnostics", {})
    told = {gauge["name"]: gauge["value"] for gauge in answer["gauges"]}
    return {**told, "children": len(proctree.children(stage.daemon.pid))}


def more(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What of that which comes down again is more than it was."""
    return {name: now[name] - before[name] for name in SETTLING if now[name] > before[name]}


async def healthy(stage: Stage, observer: RpcClient, before: dict[str, int]) -> None:
    """Once the others have left, nothing is under way in the daemon that was not before, and it works."""
    with anyio.move_on_after(SETTLE_SECONDS):
        while more(await gauges(stage, observer), before):
            pass
    now = await gauges(stage, observer)
    assert more(now, before) == {}
    assert now["process.open_files"] <= before["process.open_files"] + CONNECTIONS_TO_MODEL
    thread = await stage.thread(observer)
    assert (await run_turn(observer, thread))["status"] == "completed"
    assert "Traceback" not in stage.daemon.stderr, stage.daemon.stderr[-3000:]


@asynccontextmanager
async def observed(folder: Path) -> AsyncGenerator[tuple[Stage, RpcClient]]:
    """A daemon and a client that sends it anything; afterwards the daemon is as it was."""
    async with set_stage(folder) as stage:
        observer = await stage.client("observer")
        await known_thread(stage, observer)
        # The first command leaves a process that looks after all of them.
        await observer.call("command/exec", {"command": ["true"], "sandboxPolicy": {"type": "dangerFullAccess"}})
        before = await gauges(stage, observer)
        async with stage.daemon.client() as client:
            await client.initialize("tester")
            yield stage, client
        await healthy(stage, observer, before)


@pytest.mark.timeout(120)
async def test_a_request_without_what_it_needs_or_of_the_wrong_type_is_refused_by_name(tmp_path: Path) -> None:
    attempts = list(wrong_attempts(next(flavours(str(tmp_path)))))
    # No kind of method is left out, and each member that is needed was missing and was wrong.
    assert {attempt.request.method for attempt in attempts} == {request.method for request in REQUESTS}
    async with observed(tmp_path) as (stage, client):
        assert_none(await faults(client, attempts), stage)


@pytest.mark.timeout(120)
async def test_a_request_that_says_nothing_is_answered(tmp_path: Path) -> None:
    async with observed(tmp_path) as (stage, client):
        attempts = [Attempt(request, params) for params in NOTHING for request in REQUESTS]
        assert_none(await faults(client, attempts), stage)


@pytest.mark.timeout(120)
async def test_strange_params_of_the_right_type_are_answered(tmp_path: Path) -> None:
    place = tmp_path / "some" / "place"
    place.mkdir(parents=True)
    found: list[str] = []
    async with observed(tmp_path) as (stage, client):
        for flavour in flavours(str(place)):
            try:
                known = await known_thread(stage, client)
            except CallFailed as error:
                found.append(f"no turn can be run before {flavour.name}: {error}")
                break
            found += await faults(client, list(strange_attempts(flavour, known)))
        assert_none(found, stage)
