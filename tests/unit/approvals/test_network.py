"""Questions about the network: who is asked, and what an answer covers."""

from typing import Any

import pytest

from app_server.approvals.network import Denial
from app_server.exec.expiration import NETWORK_DENIED
from app_server.network.policy import NetworkProtocol
from app_server.rpc.scopes import NO_SHELL
from tests.unit.approvals.network_room import ALLOW_RULE, DENY_RULE, REFUSED, NetworkRoom

# The question


async def test_the_question_names_the_host_and_no_command(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    request = await room.request(registration, "example.test", 8443, "https_connect")
    asked = await room.answer(client, "accept")
    params = asked["params"]
    item_id, started = params.pop("itemId"), params.pop("startedAtMs")
    assert item_id.startswith("network#local#https#example.test#8443#")
    assert isinstance(started, int)
    assert asked["method"] == "item/commandExecution/requestApproval"
    assert {name: value for name, value in params.items() if value is not None} == {
        "threadId": "the-thread",
        "turnId": "the-turn",
        "kind": "command",
        "environmentId": "local",
        "reason": "Network access to example.test requires approval",
        "networkApprovalContext": {"host": "example.test", "protocol": "https"},
        "proposedNetworkPolicyAmendments": [
            {"host": "example.test", "action": "allow"},
            {"host": "example.test", "action": "deny"},
        ],
        "availableDecisions": ["accept", "acceptForSession", ALLOW_RULE, "cancel"],
    }
    assert request.decision == "allow"
    assert room.resolved_ids == [asked["id"]]
    assert room.statuses == [{"item/commandExecution/requestApproval"}, set()]


@pytest.mark.parametrize(
    ("protocol", "label", "shown"),
    [
        ("http", "http", "http"),
        ("https_connect", "https", "https"),
        ("socks5_tcp", "socks5-tcp", "socks5Tcp"),
        ("socks5_udp", "socks5-udp", "socks5Udp"),
    ],
)
async def test_each_protocol_has_its_name_in_the_question(
    room: NetworkRoom, protocol: NetworkProtocol, label: str, shown: str
) -> None:
    client = room.join()
    registration, _ = room.command()
    await room.request(registration, "h.test", 1, protocol)
    params = (await room.answer(client, "accept"))["params"]
    assert params["itemId"].startswith(f"network#local#{label}#h.test#1#")
    assert params["networkApprovalContext"] == {"host": "h.test", "protocol": shown}


# One question for each command, host, port and protocol


async def test_requests_of_one_command_to_one_place_share_one_question(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    requests = [await room.request(registration) for _ in range(3)]
    await room.answer(client, "accept")
    assert [request.decision for request in requests] == ["allow"] * 3
    assert await room.asked(client) == []


async def test_all_who_waited_for_a_refused_question_are_refused(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    requests = [await room.request(registration) for _ in range(3)]
    await room.answer(client, "decline")
    assert [request.decision for request in requests] == ["deny"] * 3
    assert (registration.denial, expiration.reason) == (REFUSED, NETWORK_DENIED)


@pytest.mark.parametrize(
    "other", [("other.test", 80, "http"), ("example.test", 81, "http"), ("example.test", 80, "socks5_tcp")]
)
async def test_another_host_port_or_protocol_is_another_question(
    room: NetworkRoom, other: tuple[str, int, NetworkProtocol]
) -> None:
    client = room.join()
    registration, _ = room.command()
    first, second = await room.request(registration), await room.request(registration, *other)
    one, two = await room.asked(client)
    await room.reply(client, two, {"result": {"decision": "accept"}})
    assert (first.decision, second.decision) == ("waits", "allow")
    await room.reply(client, one, {"result": {"decision": "accept"}})
    assert first.decision == "allow"


async def test_two_commands_are_asked_about_each_by_itself(room: NetworkRoom) -> None:
    client = room.join()
    (one, one_ends), (two, two_ends) = room.command("one"), room.command("two")
    first, second = await room.request(one), await room.request(two)
    question, other = await room.asked(client)
    assert question["params"]["itemId"] != other["params"]["itemId"]
    await room.reply(client, question, {"result": {"decision": "decline"}})
    await room.reply(client, other, {"result": {"decision": "accept"}})
    assert (first.decision, second.decision) == ("deny", "allow")
    assert (one_ends.reason, two_ends.reason) == (NETWORK_DENIED, None)
    assert (one.finish(), two.finish()) == (REFUSED, None)


# What an answer covers


async def test_once_is_for_the_command(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    await room.request(registration)
    await room.answer(client, "accept")
    assert (await room.request(registration)).decision == "allow"
    assert await room.asked(client) == []
    assert (registration.finish(), expiration.reason) == (None, None)
    later, _ = room.command("later")
    request = await room.request(later)
    await room.answer(client, "decline")
    assert request.decision == "deny"


@pytest.mark.parametrize(
    "other", [("other.test", 80, "http"), ("example.test", 81, "http"), ("example.test", 80, "https_connect")]
)
async def test_for_the_session_is_for_every_command_but_for_no_other_place(
    room: NetworkRoom, other: tuple[str, int, NetworkProtocol]
) -> None:
    client = room.join()
    await room.request(room.command()[0])
    await room.answer(client, "acceptForSession")
    later, _ = room.command("later")
    assert (await room.request(later)).decision == "allow"
    assert await room.asked(client) == []
    request = await room.request(later, *other)
    await room.answer(client, "decline")
    assert request.decision == "deny"


@pytest.mark.parametrize("decision", ["acceptForSession", ALLOW_RULE])
async def test_an_answer_for_the_session_closes_the_same_question_of_other_commands(
    room: NetworkRoom, decision: Any
) -> None:
    client = room.join()
    requests = [await room.request(room.command(name)[0]) for name in ("one", "two", "three")]
    elsewhere = await room.request(room.command("four")[0], "other.test")
    one, two, three, four = await room.asked(client)
    await room.reply(client, two, {"result": {"decision": decision}})
    assert [request.decision for request in requests] == ["allow"] * 3
    assert elsewhere.decision == "waits"
    assert sorted(room.resolved_ids) == [one["id"], two["id"], three["id"]]
    await room.reply(client, four, {"result": {"decision": "decline"}})


async def test_a_kept_rule_answers_every_open_question_about_the_host(room: NetworkRoom) -> None:
    client = room.join()
    registration, _ = room.command()
    here = await room.request(registration)
    port, protocol = (
        await room.request(registration, port=81),
        await room.request(room.command("b")[0], "example.test", 80, "socks5_tcp"),
    )
    first, *_ = await room.asked(client)
    await room.reply(client, first, {"result": {"decision": ALLOW_RULE}})
    assert [request.decision for request in (here, port, protocol)] == ["allow"] * 3


async def test_a_rule_that_denies_answers_every_open_question_about_the_host(room: NetworkRoom) -> None:
    client = room.join()
    (one, one_ends), (two, two_ends) = room.command("one"), room.command("two")
    requests = [await room.request(one), await room.request(two, port=81)]
    elsewhere = await room.request(room.command("three")[0], "other.test")
    first, _, third = await room.asked(client)
    await room.reply(client, first, {"result": {"decision": DENY_RULE}})
    assert [request.decision for request in requests] == ["deny", "deny"]
    assert (one.denial, two.denial) == (REFUSED, REFUSED)
    assert (one_ends.reason, two_ends.reason) == (NETWORK_DENIED, NETWORK_DENIED)
    assert elsewhere.decision == "waits"
    await room.reply(client, third, {"result": {"decision": "accept"}})


async def test_a_rule_that_allows_is_kept_and_told_to_the_model(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration, "example.test", 443, "https_connect")
    await room.answer(client, ALLOW_RULE)
    assert request.decision == "allow"
    assert room.rules == [("example.test", "https_connect", "allow")]
    assert room.turn is not None
    (told,) = room.turn.told
    assert "example.test" in told
    assert "allow" in told
    assert (registration.finish(), expiration.reason) == (None, None)


async def test_a_rule_that_denies_is_kept_and_ends_the_command_as_refused_by_the_user(room: NetworkRoom) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    await room.answer(client, DENY_RULE)
    assert request.decision == "deny"
    assert room.rules == [("example.test", "http", "deny")]
    assert room.turn is not None
    (told,) = room.turn.told
    assert "example.test" in told
    assert (registration.finish(), expiration.reason) == (REFUSED, NETWORK_DENIED)


async def test_the_host_of_a_rule_is_compared_without_case(room: NetworkRoom) -> None:
    client = room.join()
    request = await room.request(room.command()[0])
    amendment = {"host": "Example.TEST", "action": "allow"}
    await room.answer(client, {"applyNetworkPolicyAmendment": {"network_policy_amendment": amendment}})
    assert request.decision == "allow"
    assert room.rules == [("example.test", "http", "allow")]


@pytest.mark.parametrize("action", ["allow", "deny"])
async def test_a_rule_for_another_host_is_a_warning_and_a_refusal(room: NetworkRoom, action: str) -> None:
    client = room.join()
    registration, expiration = room.command()
    request = await room.request(registration)
    amendment = {"host": "evil.test", "action": action}
    await room.answer(client, {"applyNetworkPolicyAmendment": {"network_policy_amendment": amendment}})
    assert request.decision == "deny"
    assert room.warnings == [
        "Failed to apply network policy amendment: network policy amendment host 'evil.test' does not match approved "
        "host 'example.test'"
    ]
    assert room.rules == []
    assert registration.denial == Denial('Network access to "http://example.test:80" was blocked by policy.')
    assert expiration.reason == NETWORK_DENIED


@pytest.mark.parametrize("decision", [ALLOW_RULE, DENY_RULE])
async def test_a_rule_that_cannot_be_kept_is_a_refusal_that_says_why(room: NetworkRoom, decision: Any) -> None:
    client = room.join()
    room.unkept = "the disk is full"
    registration, expiration = room.command()
    request = await room.request(registration)
    await room.answer(client, decision)
    assert request.decision == "deny"
    assert registration.denial == Denial("the disk is full", explicit=True)
    assert expiration.reason == NETWORK_DENIED
    assert not room.network.covers(("example.test", "http", 80))


async def test_a_client_that_may_keep_no_rules_allows_once(room: NetworkRoom) -> None:
    client = room.join(scope=NO_SHELL)
    assert not client.may_amend
    request = await room.request(room.command()[0])
    await room.answer(client, ALLOW_RULE)
    assert (request.decision, room.rules) == ("allow", [])
    later = await room.request(room.command("later")[0])
    await room.answer(client, DENY_RULE)
    assert (later.decision, room.rules) == ("deny", [("example.test", "http", "deny")])
