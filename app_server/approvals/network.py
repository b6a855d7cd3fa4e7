"""NetworkApprovals: who may reach which host, asked while the command runs; a denial ends exactly that command."""

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Protocol

import anyio
from msgspec import Struct

from app_server.approvals.approvals import ENVIRONMENT, Approvals, Declined, NetworkQuestion
from app_server.config.network_proxy import HostAction
from app_server.exec.expiration import NETWORK_DENIED, Expiration
from app_server.network.egress import HELD_SECONDS, Execution
from app_server.network.policy import Attempt, Judgement, NetworkProtocol, blocked
from app_server.store.errors import StoreError
from app_server.store.ids import uuid7
from protocol.v2.permissions import NetworkApprovalProtocol, NetworkPolicyAmendment

REJECTED = "rejected by user"

PROTOCOLS: dict[NetworkProtocol, NetworkApprovalProtocol] = {
    "http": "http",
    "https_connect": "https",
    "socks5_tcp": "socks5Tcp",
    "socks5_udp": "socks5Udp",
}
"""What a protocol is called in questions."""

SCHEMES: dict[NetworkProtocol, str] = {
    "http": "http",
    "https_connect": "https",
    "socks5_tcp": "socks5-tcp",
    "socks5_udp": "socks5-udp",
}
"""What a protocol is called in what is to be reached."""

ALLOW = Judgement("allow", "decider")
DENY = Judgement("deny", "decider", "not_allowed")


class Denial(Struct, frozen=True):
    """Why a command was ended. An `explicit` one is what somebody answered to a question, else it was the rules."""

    reason: str
    explicit: bool = False


class AskingTurn(Struct, frozen=True):
    """The turn in which a question can be put. `may_ask` is what its approval policy says."""

    id: str
    may_ask: bool
    runs: Callable[[], bool]
    interrupted: Callable[[], bool]
    interrupt: Callable[[], None]
    tell_model: Callable[[str], None]


class NetworkAudience(Protocol):
    """The thread, as far as its network is concerned."""

    def asking_turn(self) -> AskingTurn | None:
        """The turn that runs now."""
        ...

    def warn(self, message: str) -> None:
        """Tell the followers a warning."""
        ...


AmendNetwork = Callable[[str, NetworkProtocol, HostAction], Awaitable[None]]
"""Keeps a rule for a host, on disk and at once, and has the questions about it closed: see `rule_kept`.

Raises Declined where it cannot be kept."""

HostKey = tuple[str, NetworkProtocol, int]


class Trigger(Struct, frozen=True):
    """The command that reaches for the network, as a reviewer sees it."""

    call_id: str
    tool: str
    argv: tuple[str, ...]
    cwd: str
    tty: bool = False
    justification: str | None = None


class _Pending:
    """A question that is open. Whoever comes with the same one waits for its answer."""

    def __init__(self) -> None:
        self.began = monotonic()
        self.answered = anyio.Event()
        self.judgement = DENY


class _Open(Struct, eq=False):
    """A question that clients have. `answer` is what an answer to another question means for it."""

    key: HostKey
    scope: anyio.CancelScope
    answer: str = "decline"


class NetworkApprovals:
    """The network of one thread: its commands that may reach for it, and what was allowed for the session."""

    def __init__(self, audience: NetworkAudience, approvals: Approvals, amend: AmendNetwork) -> None:
        self.audience, self.approvals, self.amend = audience, approvals, amend
        self._session: set[HostKey] = set()
        self._open: set[_Open] = set()

    def begin(self, execution: Execution, trigger: Trigger) -> "Registration":
        """Answer for a command from now on, until its registration is finished."""
        return Registration(self, execution, trigger)

    def covers(self, key: HostKey) -> bool:
        """Whether an answer for the session holds for this."""
        return key in self._session

    def allow_for_session(self, key: HostKey) -> None:
        """Ask no more about this host by this protocol and port, and close the questions of other commands about it."""
        self._session.add(key)
        self._settle([question for question in self._open if question.key == key], "acceptForSession")

    def rule_kept(self, host: str, action: HostAction) -> None:
        """A rule now holds for a whole host: close every question about it."""
        about_it = [question for question in self._open if question.key[0] == host]
        self._settle(about_it, "accept" if action == "allow" else "decline")

    def _settle(self, questions: Sequence[_Open], answer: str) -> None:
        for question in questions:
            question.answer = answer
            question.scope.cancel()

    async def ask(self, key: HostKey, question: NetworkQuestion) -> str | NetworkPolicyAmendment:
        """The answer to a question, or what follows from that to another one. Raises Declined."""
        asked = _Open(key, anyio.CancelScope())
        with asked.scope:
            self._open.add(asked)
            try:
                return await self.approvals.ask_network(question)
            finally:
                self._open.discard(asked)
        return asked.answer


class Registration:
    """One command's gate to the network, from before its start until it is finished.

    A denial is stored, while the registration is active, and then ends the command by way of its expirations. It
    replaces whatever the command itself came to, even a success.
    """

    def __init__(self, approvals: NetworkApprovals, execution: Execution, trigger: Trigger) -> None:
        self.execution, self.trigger = execution, trigger
        self._approvals = approvals
        self._expirations: list[Expiration] = []
        self._pending: dict[HostKey, _Pending] = {}
        self._accepted: set[HostKey] = set()
        self._denial: Denial | None = None
        self._active = True
        self._asking_since = 0.0
        self._asked_seconds = 0.0
        self._none_open = anyio.Event()

    @property
    def active(self) -> bool:
        """Whether outcomes still count."""
        return self._active

    @property
    def denial(self) -> Denial | None:
        """Why the command is to end, or has ended."""
        return self._denial

    @property
    def asks(self) -> bool:
        """Whether a question is open, so that the command cannot go on."""
        return bool(self._pending)

    @property
    def asked_seconds(self) -> float:
        """For how long questions have been open; a program's time does not run meanwhile."""
        return self._asked_seconds + (monotonic() - self._asking_since if self._pending else 0.0)

    async def answered(self) -> None:
        """Return once no question is open."""
        while self._pending:
            await self._none_open.wait()

    def expires(self, expiration: Expiration) -> None:
        """Let a denial expire this too: at once if there is one already."""
        self._expirations.append(expiration)
        if self._denial is not None:
            expiration.cancel(NETWORK_DENIED)

    def finish(self) -> Denial | None:
        """Take the outcome and end the registration, in one step. Every further call gives the same.

        A question that is still open then belongs to a program that did not wait for the answer.
        """
        if self._active:
            for pending in self._pending.values():
                self._disconnected((monotonic() - pending.began) * 1000)
            self._active = False
        return self._denial

    # The gate

    async def decide(self, attempt: Attempt) -> Judgement:
        """Allow or deny an attempt that the rules are silent about. See `Gate`."""
        if self._is_over:
            return DENY
        key = (attempt.host, attempt.protocol, attempt.port)
        if key in self._accepted or self._approvals.covers(key):
            return ALLOW
        began = monotonic()
        try:
            if (pending := self._pending.get(key)) is not None:
                await pending.answered.wait()
            else:
                pending = await self._open(attempt, key)
        except anyio.get_cancelled_exc_class():
            # Known from this moment on: whoever finishes the command may come before `abandoned`.
            self._disconnected((monotonic() - began) * 1000)
            raise
        return DENY if self._is_over else pending.judgement

    async def _open(self, attempt: Attempt, key: HostKey) -> _Pending:
        """Put a question, and give it back with its answer."""
        if not self._pending:
            self._asking_since, self._none_open = monotonic(), anyio.Event()
        pending = self._pending[key] = _Pending()
        try:
            pending.judgement = await self._ask(attempt, key)
        finally:
            del self._pending[key]
            if not self._pending:
                self._asked_seconds += monotonic() - self._asking_since
                self._none_open.set()
            pending.answered.set()
        return pending

    @property
    def _is_over(self) -> bool:
        """Whether the command has ended, or is about to because of a denial: it reaches nothing more."""
        return not self._active or self._denial is not None

    def denied(self, attempt: Attempt, judgement: Judgement) -> None:
        """The rules have refused an attempt."""
        self._deny(Denial(blocked(attempt.host, judgement.reason)))

    def abandoned(self, attempt: Attempt, waited_ms: int) -> None:
        """The program hung up before there was an answer."""
        self._disconnected(waited_ms)

    async def before_refusal(self) -> None:
        """Hold a refusal back while it ends the command, so that the program does nothing in answer to it."""
        if self._is_over and self._expirations:
            await anyio.sleep(HELD_SECONDS)

    def _disconnected(self, waited_ms: float) -> None:
        reason = f"Network request disconnected after {int(waited_ms)} ms, before approval could complete"
        self._deny_unless_ended(Denial(reason))

    def _deny_unless_ended(self, denial: Denial) -> None:
        """Deny what nobody has said no to. Where the command was ended, its questions close because of that."""
        if all(expiration.reason is None for expiration in self._expirations):
            self._deny(denial)

    def _deny(self, denial: Denial) -> None:
        if not self._active:
            return
        if self._denial is None or (denial.explicit and not self._denial.explicit):
            self._denial = denial
        for expiration in self._expirations:
            expiration.cancel(NETWORK_DENIED)

    async def _ask(self, attempt: Attempt, key: HostKey) -> Judgement:
        turn = self._approvals.audience.asking_turn()
        if turn is None or not turn.may_ask:
            self._deny(_by_policy(attempt))
            return DENY
        try:
            answer = await self._approvals.ask(key, self._question(attempt, turn))
            if isinstance(answer, NetworkPolicyAmendment):
                return await self._amend(answer, attempt, key, turn)
        except Declined as no:
            if no.decided:
                # What was decided stands, also where that has ended the turn.
                self._deny(Denial(str(no), explicit=True))
            elif turn.interrupted():
                self._deny_unless_ended(Denial(REJECTED, explicit=True))
            elif not turn.runs():
                self._deny_unless_ended(_by_policy(attempt))
            else:
                self._deny(Denial(str(no), explicit=True))
            return DENY
        except StoreError as error:
            # Nobody is asked without a trace of it.
            self._deny_unless_ended(Denial(f"approval request failed: {error}", explicit=True))
            return DENY
        match answer:
            case "acceptForSession":
                self._approvals.allow_for_session(key)
            case "accept":
                # Programs ask for a host again and again; one answer is for the whole command.
                self._accepted.add(key)
            case _:
                self._deny(Denial(REJECTED, explicit=True))
                if answer == "cancel":
                    turn.interrupt()
                return DENY
        return ALLOW

    async def _amend(
        self, amendment: NetworkPolicyAmendment, attempt: Attempt, key: HostKey, turn: AskingTurn
    ) -> Judgement:
        if amendment.host.lower() != attempt.host:
            message = (
                f"Failed to apply network policy amendment: network policy amendment host '{amendment.host}' does not "
                f"match approved host '{attempt.host}'"
            )
            self._approvals.audience.warn(message)
            self._deny(_by_policy(attempt))
            return DENY
        await self._approvals.amend(attempt.host, attempt.protocol, amendment.action)
        if amendment.action == "deny":
            self._deny(Denial(REJECTED, explicit=True))
            turn.tell_model(f"The user forbade network access to {attempt.host} from now on; a rule was saved.")
            return DENY
        self._approvals.allow_for_session(key)
        turn.tell_model(f"The user allowed network access to {attempt.host} from now on; a rule was saved.")
        return ALLOW

    def _question(self, attempt: Attempt, turn: AskingTurn) -> NetworkQuestion:
        return NetworkQuestion(
            turn_id=turn.id,
            item_id=f"network#{ENVIRONMENT}#{SCHEMES[attempt.protocol]}#{attempt.host}#{attempt.port}#{uuid7()}",
            host=attempt.host,
            port=attempt.port,
            protocol=PROTOCOLS[attempt.protocol],
            target=target(attempt),
            trigger={
                "callId": self.trigger.call_id,
                "toolName": self.trigger.tool,
                "command": list(self.trigger.argv),
                "cwd": self.trigger.cwd,
                "sandboxPermissions": "use_default",
                "justification": self.trigger.justification,
                "tty": self.trigger.tty,
            },
        )


def _by_policy(attempt: Attempt) -> Denial:
    """What nobody could be asked about."""
    return Denial(f'Network access to "{target(attempt)}" was blocked by policy.')


def target(attempt: Attempt) -> str:
    """What is to be reached, as `https://host:port`."""
    host = f"[{attempt.host}]" if ":" in attempt.host else attempt.host
    return f"{SCHEMES[attempt.protocol]}://{host}:{attempt.port}"
