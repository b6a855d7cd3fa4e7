"""The newest decisions: in memory, in the log, and as rules that would have been needed."""

import logging

import orjson
import pytest

from app_server.network.decisions import KEPT, LEARNED, NetworkDecided, NetworkDecisions
from app_server.network.egress import Execution
from app_server.network.policy import ALLOWED, Attempt, Judgement, NetworkProtocol
from app_server.telemetry.log import JsonFormatter

ONE = Execution("e1", "thread-1", "turn-1", "item-1")
TWO = Execution("e2")
DENIED = Judgement("deny", "mode_guard", "method_not_allowed")


def test_the_newest_decisions_come_first_and_the_oldest_are_forgotten() -> None:
    heard: list[NetworkDecided] = []
    decisions = NetworkDecisions(heard.append)
    for number in range(KEPT + 5):
        decisions.note(ONE if number % 2 else TWO, Attempt("http", f"h{number}", 80), ALLOWED)
    newest = decisions.newest(3)
    assert [one.attempt.host for one in newest] == ["h1004", "h1003", "h1002"]
    assert [one.attempt.host for one in decisions.newest(2, "e1")] == ["h1003", "h1001"]
    assert len(decisions.newest()) == KEPT
    assert len(heard) == KEPT + 5
    assert newest[0].at_ms >= newest[2].at_ms > 1_600_000_000_000


def test_each_decision_is_one_log_event_with_names_and_values(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    decisions = NetworkDecisions()
    decisions.note(ONE, Attempt("http", "a.test", 80, "POST"), DENIED)
    decisions.note(TWO, Attempt("https_connect", "b.test", 443), ALLOWED)
    written = [orjson.loads(JsonFormatter().format(record)) for record in caplog.records]
    for entry in written:
        del entry["time"]
    event = {"logger": "app_server.network.decisions", "message": "network.policy_decision"}
    assert written == [
        event
        | {"level": "info", "decision": "deny", "source": "mode_guard", "reason": "method_not_allowed"}
        | {"protocol": "http", "host": "a.test", "port": 80, "method": "POST"}
        | {"execution": "e1", "thread": "thread-1", "turn": "turn-1", "item": "item-1"},
        event
        | {"level": "debug", "decision": "allow", "source": "baseline_policy"}
        | {"protocol": "https_connect", "host": "b.test", "port": 443, "execution": "e2"},
    ]


def test_the_rules_that_would_have_been_needed_are_told_once_for_each_command() -> None:
    decisions = NetworkDecisions()
    protocols: tuple[NetworkProtocol, ...] = ("http", "http", "https_connect", "socks5_tcp")
    for number, protocol in enumerate(protocols):
        decisions.note(ONE, Attempt(protocol, "a.test", 80 + number), LEARNED)
    decisions.note(ONE, Attempt("http", "listed.test", 80), ALLOWED)
    decisions.note(ONE, Attempt("http", "denied.test", 80), DENIED)
    decisions.note(TWO, Attempt("http", "b.test", 80), LEARNED)
    assert decisions.suggested_rules("e1") == [
        'network_rule(host="a.test", protocol="http", decision="allow", justification="Allow http access to a.test")',
        'network_rule(host="a.test", protocol="https", decision="allow", '
        'justification="Allow https_connect access to a.test")',
        'network_rule(host="a.test", protocol="socks5_tcp", decision="allow", '
        'justification="Allow socks5_tcp access to a.test")',
    ]
    assert len(decisions.suggested_rules("e2")) == 1
