"""The newest decisions about the network, in memory and in the log: who reached for what, and why or why not."""

from collections import deque
from dataclasses import dataclass

from app_server.network.egress import Execution
from app_server.network.policy import Attempt, Judgement

KEPT = 1_000
"""How many decisions are remembered."""


@dataclass(frozen=True, slots=True)
class NetworkDecided:
    """One decision. Never holds a path of a URL, a header or anything of a body."""

    at_ms: int
    execution: Execution
    attempt: Attempt
    judgement: Judgement


class NetworkDecisions:
    """All decisions of one daemon, newest last."""

    def __init__(self) -> None:
        self._decided: deque[NetworkDecided] = deque(maxlen=KEPT)

    def note(self, execution: Execution, attempt: Attempt, judgement: Judgement) -> None:
        """Remember a final decision, and write it to the log."""
        raise NotImplementedError
