"""What was decided about the network of commands. Turnloom's own: the reference has no such method."""

from typing import Literal

from protocol.methods import ClientRequest
from protocol.wire import UInt, UInt16, Wire

NetworkDecisionProtocol = Literal["http", "https_connect", "socks5_tcp", "socks5_udp"]
"""How a command reached for a host."""

NetworkDecisionOutcome = Literal["allow", "deny", "ask"]
"""What came of it; `ask` was refused because there was nobody to ask."""

NetworkDecisionSource = Literal["baseline_policy", "mode_guard", "proxy_state", "decider"]
"""What decided: the rules, the mode, the state of the proxy, or an answer to a question."""


class NetworkDecision(Wire):
    """One decision. `at_ms` is in Unix milliseconds.

    `item_id` is the command's item in the thread, or the process id of a `command/exec`. `reason` says why something
    was not simply allowed; `suggested_rule` is the line for a rules file that would have allowed what learn mode let
    through.
    """

    at_ms: int
    execution_id: str
    thread_id: str | None = None
    turn_id: str | None = None
    item_id: str | None = None
    host: str
    port: UInt16
    protocol: NetworkDecisionProtocol
    method: str | None = None
    decision: NetworkDecisionOutcome
    source: NetworkDecisionSource
    reason: str | None = None
    suggested_rule: str | None = None


class NetworkDecisionsListParams(Wire):
    """Which decisions: of all commands, of those of a thread, or of one. `limit` is at most 1000, and 100 if absent."""

    thread_id: str | None = None
    execution_id: str | None = None
    limit: UInt | None = None


class NetworkDecisionsListResponse(Wire):
    """The newest decisions, newest first. `suggested_rules` are the rules of learn mode for them, each once."""

    data: list[NetworkDecision]
    suggested_rules: list[str]


NETWORK_DECISIONS_LIST = ClientRequest(
    "turnloom/network/decisions/list",
    NetworkDecisionsListParams,
    NetworkDecisionsListResponse,
    experimental="turnloom/network/decisions/list",
    access="read",
)
