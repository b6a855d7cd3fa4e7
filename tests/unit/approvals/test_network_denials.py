"""Denials of the network: what is one, who has said no, and which command it ends."""

import re
from typing import Any

import anyio
import pytest

from app_server.approvals.network import Denial, Registration
from app_server.config.network_proxy import NetworkProxySettings
from app_server.exec.expiration import NETWORK_DENIED, TIMEOUT, Expiration
from app_server.network.decisions import NetworkDecisions
from app_server.network.dialing import Resolver
from app_server.network.passage import Passage
from app_server.network.policy import Attempt, Judgement, LiveRules, NetworkPolicy
from app_server.network.refusals import Refused
from app_server.network.upstream import UpstreamProxies
from app_server.store.decisions import Question
from app_server.store.errors import StoreError
from tests.unit.approvals.network_room import REFUSED, NetworkRoom, Notes, Request, settled

NOT_ALLOWED = Judgement("deny", reason="not_allowed_local")
LOCAL_REFUSED = Denial(
    'Network access to "10.0.0.1" was blocked: local/private network addresses are blocked by the sandbox policy.'
)
ATTEMPT_LOCAL = Attempt("http", "10.0.0.1", 80)


class FullLog(Notes):
    """A log that nothing can be written to."""

    async def asked(self, question: Question) -> int:
        raise StoreError("threads.sqlite3: the disk is full")


# No


async def test_a_no_is_not_kept(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    await room.request(registration)
    await room.answer(client, "decline")
    assert (registration.finish(), expiration.reason) == (REFUSED, NETWORK_DENIED)
    assert room.turn is not None
    assert not room.turn.interrupted
    again = await room.request(room.command("again")[0])
    await room.answer(client, "accept")
    assert again.decision == "allow"


async def test_cancel_refuses_and_interrupts_the_turn(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    await room.answer(client, "cancel")
    assert room.turn is not None
    assert room.turn.interrupted
    assert (request.decision, registration.denial, expiration.reason) == ("deny", REFUSED, NETWORK_DENIED)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": -32000, "message": "no"}},
        {"result": {"decision": "zzz"}},
        {"result": {}},
        {"result": {"decision": {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["curl"]}}}},
    ],
)
async def test_an_answer_that_is_none_is_a_refusal(room: NetworkRoom, body: Any) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    (asked,) = await room.asked(client)
    await room.reply(client, asked, body)
    assert (request.decision, expiration.reason) == ("deny", NETWORK_DENIED)
    assert registration.denial is not None
    assert registration.denial.reason.startswith("approval request failed")
    assert room.turn is not None
    assert not room.turn.interrupted


async def test_where_nobody_may_be_asked_it_is_refused_by_policy(room: NetworkRoom) -> None:
    client = room.join()
    assert room.turn is not None
    room.turn.may_ask = False
    registration, expiration = room.command()
    request = await room.request(registration, "::ffff", 8080, "socks5_tcp")
    assert (request.decision, expiration.reason) == ("deny", NETWORK_DENIED)
    assert registration.denial == Denial('Network access to "socks5-tcp://[::ffff]:8080" was blocked by policy.')
    assert await room.asked(client) == []


async def test_without_a_running_turn_it_is_refused_by_policy(room: NetworkRoom) -> None:
    client = room.join()
    room.turn = None
    registration, expiration = room.command()
    request = await room.request(registration)
    assert (request.decision, expiration.reason) == ("deny", NETWORK_DENIED)
    assert registration.denial == Denial('Network access to "http://example.test:80" was blocked by policy.')
    assert await room.asked(client) == []


async def test_what_was_allowed_for_the_session_needs_no_turn(room: NetworkRoom) -> None:
    client = room.join()
    await room.request(room.command()[0])
    await room.answer(client, "acceptForSession")
    room.turn = None
    assert (await room.request(room.command("later")[0])).decision == "allow"


async def test_an_interrupt_closes_the_question_and_refuses(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    (asked,) = await room.asked(client)
    assert room.turn is not None
    room.turn.interrupt()
    assert room.resolved_ids == [asked["id"]]
    await settled()
    assert (request.decision, registration.denial, expiration.reason) == ("deny", REFUSED, NETWORK_DENIED)


async def test_the_end_of_the_turn_closes_the_question_of_a_command_that_runs_on(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    (asked,) = await room.asked(client)
    assert room.turn is not None
    room.turn.end()
    await settled()
    assert (request.decision, expiration.reason) == ("deny", NETWORK_DENIED)
    assert registration.denial == Denial('Network access to "http://example.test:80" was blocked by policy.')
    assert room.resolved_ids == [asked["id"]]


async def test_a_question_that_cannot_be_logged_is_put_to_nobody(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    room.approvals.log = FullLog()
    request, other = await room.request(registration), await room.request(registration)
    assert (request.decision, other.decision, expiration.reason) == ("deny", "deny", NETWORK_DENIED)
    assert registration.finish() == Denial("approval request failed: threads.sqlite3: the disk is full", explicit=True)
    assert await room.asked(client) == []


# What the rules refuse, and who said no


async def test_a_refusal_by_the_rules_ends_the_command(room: NetworkRoom) -> None:
    registration, expiration = room.command()
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    assert (registration.denial, expiration.reason) == (LOCAL_REFUSED, NETWORK_DENIED)
    assert registration.finish() == LOCAL_REFUSED


async def test_a_user_says_more_than_the_rules_but_not_the_other_way(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    request = await room.request(registration)
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    assert registration.denial == LOCAL_REFUSED
    await room.answer(client, "decline")
    assert (request.decision, registration.denial) == ("deny", REFUSED)
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    assert registration.finish() == REFUSED


async def test_the_first_of_two_refusals_by_the_rules_counts(room: NetworkRoom) -> None:
    registration, _ = room.command()
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    registration.denied(Attempt("http", "b.test", 80), Judgement("deny", reason="denied"))
    assert registration.finish() == LOCAL_REFUSED


async def test_a_refused_command_reaches_nothing_more(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    accepted = await room.request(registration)
    await room.answer(client, "accept")
    waiting = await room.request(registration, "other.test")
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    await room.answer(client, "accept")
    assert (accepted.decision, waiting.decision) == ("allow", "deny")
    assert (await room.request(registration)).decision == "deny"
    assert (await room.request(registration, "third.test")).decision == "deny"
    assert await room.asked(client) == []
    assert registration.finish() == LOCAL_REFUSED


async def test_everything_that_ends_the_command_is_ended_also_what_comes_after_the_refusal(room: NetworkRoom) -> None:
    registration, first = room.command()
    second, third = Expiration(None), Expiration(None)
    registration.expires(second)
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    registration.expires(third)
    assert [one.reason for one in (first, second, third)] == [NETWORK_DENIED] * 3


async def test_a_program_that_is_ended_does_not_learn_of_its_refusal(room: NetworkRoom) -> None:
    (ended, _), (goes_on, _) = room.command("ended"), room.command("goes on")
    ended.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    told: list[str] = []

    async def tell(name: str, registration: Registration) -> None:
        await registration.before_refusal()
        told.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell, "ended", ended)
        tasks.start_soon(tell, "goes on", goes_on)
        await settled()
        assert told == ["goes on"]
        tasks.cancel_scope.cancel()


async def test_the_wait_for_the_command_ends_with_the_refusal(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    ended = anyio.Event()

    async def follow() -> None:
        with expiration:
            await anyio.sleep_forever()
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await room.request(registration)
        assert not ended.is_set()
        await room.answer(client, "decline")
        await ended.wait()
    assert expiration.reason == NETWORK_DENIED


# The program does not wait


async def test_a_program_that_hangs_up_before_the_answer_ends_its_command(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    (asked,) = await room.asked(client)
    await request.hang_up()
    assert room.resolved_ids == [asked["id"]]
    denial = registration.finish()
    assert denial is not None
    assert re.fullmatch(r"Network request disconnected after \d+ ms, before approval could complete", denial.reason)
    assert (denial.explicit, expiration.reason) == (False, NETWORK_DENIED)


async def test_who_waits_for_the_question_of_a_program_that_hangs_up_is_refused(room: NetworkRoom) -> None:
    room.join()
    registration, _ = room.command()
    request, other = await room.request(registration), await room.request(registration)
    await request.hang_up()
    assert other.decision == "deny"


async def test_a_user_who_said_no_first_said_it(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    request, other = await room.request(registration), await room.request(registration, "other.test")
    first, _ = await room.asked(client)
    await room.reply(client, first, {"result": {"decision": "decline"}})
    await other.hang_up()
    assert request.decision == "deny"
    assert registration.finish() == REFUSED


async def test_a_command_that_ends_with_an_open_question_did_not_wait(room: NetworkRoom) -> None:
    room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    with expiration:
        pass
    denial = registration.finish()
    assert denial is not None
    assert re.fullmatch(r"Network request disconnected after \d+ ms, before approval could complete", denial.reason)
    await request.hang_up()
    assert registration.finish() is denial


@pytest.mark.parametrize("how", [TIMEOUT, "killed", "interrupted"])
async def test_a_command_that_was_ended_has_not_given_up(room: NetworkRoom, how: str) -> None:
    room.join()
    registration, expiration = room.command(timeout=0 if how == TIMEOUT else None)
    request = await room.request(registration)
    if how != TIMEOUT:
        expiration.cancel(how)
    with expiration:
        await anyio.sleep_forever()
    assert expiration.reason == how
    await request.hang_up()
    assert (registration.finish(), expiration.reason) == (None, how)


# Rules that change


async def test_a_host_that_was_denied_meanwhile_is_not_reached_whatever_is_answered(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    live = LiveRules()
    policy = NetworkPolicy(NetworkProxySettings(), live=live)
    passage = Passage(
        registration.execution, lambda: policy, registration, NetworkDecisions(), Resolver(), UpstreamProxies({})
    )
    outcomes: list[Refused] = []

    async def fetch() -> None:
        try:
            await passage.clear(Attempt("http", "example.test", 80), anyio.sleep_forever)
        except Refused as refused:
            outcomes.append(refused)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetch)
        await settled()
        live.hosts["example.test"] = "deny"
        await room.answer(client, "accept")
    assert [outcome.judgement.reason for outcome in outcomes] == ["denied"]
    assert expiration.reason == NETWORK_DENIED


# The end


async def test_nothing_counts_after_the_end(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    assert registration.active
    assert registration.finish() is None
    assert not registration.active
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    registration.abandoned(ATTEMPT_LOCAL, 5)
    request = await room.request(registration)
    assert request.decision == "deny"
    assert await room.asked(client) == []
    assert (registration.finish(), registration.denial, expiration.reason) == (None, None, None)


async def test_an_answer_after_the_end_changes_nothing(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    registration_denied, _ = room.command("denied")
    request = await room.request(registration)
    expiration.cancel("killed")
    assert registration.finish() is None
    await room.answer(client, "decline")
    assert (request.decision, registration.finish()) == ("deny", None)
    registration_denied.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    assert [registration_denied.finish() for _ in range(3)] == [LOCAL_REFUSED] * 3


async def test_what_the_session_allows_is_nothing_for_a_command_that_has_ended(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    await room.request(registration)
    await room.answer(client, "acceptForSession")
    registration.finish()
    assert (await room.request(registration)).decision == "deny"


async def test_every_consumer_is_given_the_same_end(room: NetworkRoom) -> None:
    registration, _ = room.command()
    registration.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    first = registration.finish()
    assert [registration.finish() is first for _ in range(5)] == [True] * 5


async def test_a_question_of_another_command_is_not_closed_by_an_end(room: NetworkRoom) -> None:
    client = room.join()
    (one, _), (two, _) = room.command("one"), room.command("two")
    request: Request = await room.request(two)
    one.denied(ATTEMPT_LOCAL, NOT_ALLOWED)
    one.finish()
    await room.answer(client, "accept")
    assert (request.decision, two.finish()) == ("allow", None)
