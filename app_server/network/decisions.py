"""The newest decisions about the network, in memory and in the log: who reached for what, and why or why not."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import time

from msgspec import Struct

from app_server.network.egress import Execution
from app_server.network.policy import Attempt, Judgement, NetworkProtocol
from app_server.telemetry.log import log_event

logger = logging.getLogger(__name__)

KEPT = 1_000
"""How many decisions are remembered."""

LEARNED = Judgement("allow", "proxy_state", "not_allowed")
"""No rule lets it through, but the proxy is to learn which one would."""

_RULE_PROTOCOLS: dict[NetworkProtocol, tuple[str, str]] = {
    "http": ("http", "http"),
    "https_connect": ("https", "https_connect"),
    "socks5_tcp": ("socks5_tcp", "socks5_tcp"),
    "socks5_udp": ("socks5_udp", "socks5_udp"),
}
"""What a protocol is called in a rule, and in its justification."""


class NetworkDecided(Struct, frozen=True):
    """One decision. Never holds a path of a URL, a header or anything of a body."""

    at_ms: int
    execution: Execution
    attempt: Attempt
    judgement: Judgement


class NetworkDecisions:
    """All decisions of one daemon, newest last. `on_decided` hears of each, on the event loop."""

    def __init__(self, on_decided: Callable[[NetworkDecided], None] | None = None) -> None:
        self._decided: deque[NetworkDecided] = deque(maxlen=KEPT)
        self._on_decided = on_decided

    def note(self, execution: Execution, attempt: Attempt, judgement: Judgement) -> None:
        """Remember a final decision, and write it to the log."""
        decided = NetworkDecided(int(time() * 1000), execution, attempt, judgement)
        self._decided.append(decided)
        level = logging.DEBUG if judgement.decision == "allow" else logging.INFO
        log_event(logger, level, "network.policy_decision", _fields(decided))
        if self._on_decided is not None:
            self._on_decided(decided)

    def newest(self, limit: int = KEPT, execution_id: str | None = None) -> list[NetworkDecided]:
        """The newest decisions, newest first, of all commands or of one."""
        found = (one for one in reversed(self._decided) if execution_id in {None, one.execution.id})
        return [one for one, _ in zip(found, range(limit), strict=False)]

    def suggested_rules(self, execution_id: str) -> Sequence[str]:
        """The rules that a command would have needed, were the proxy not learning; ready for a rules file."""
        return list(
            dict.fromkeys(
                rule_line(one.attempt)
                for one in self._decided
                if one.execution.id == execution_id and one.judgement == LEARNED
            )
        )


def rule_line(attempt: Attempt) -> str:
    """The line of a rules file that lets an attempt through."""
    protocol, name = _RULE_PROTOCOLS[attempt.protocol]
    return (
        f'network_rule(host="{attempt.host}", protocol="{protocol}", decision="allow", '
        f'justification="Allow {name} access to {attempt.host}")'
    )


def _fields(decided: NetworkDecided) -> dict[str, str | int | None]:
    execution, attempt, judgement = decided.execution, decided.attempt, decided.judgement
    return {
        "decision": judgement.decision,
        "source": judgement.source,
        "reason": judgement.reason,
        "protocol": attempt.protocol,
        "host": attempt.host,
        "port": attempt.port,
        "method": attempt.method,
        "execution": execution.id,
        "thread": execution.thread_id,
        "turn": execution.turn_id,
        "item": execution.item_id,
    }
