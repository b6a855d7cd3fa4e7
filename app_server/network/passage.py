"""Passage: how a command's attempts become connections. Judged, asked about, looked up once, judged again, dialled."""

import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

import anyio
from anyio.abc import ByteStream
from msgspec import Struct

from app_server.network.decisions import LEARNED, NetworkDecisions
from app_server.network.dialing import Resolve, dial, dial_unix, dial_upstream, find_addresses, tunnel_upstream
from app_server.network.egress import Execution, Gate, PolicySource
from app_server.network.policy import (
    ALLOWED,
    DENIED,
    NOT_LISTED,
    READING_METHODS,
    WRITING,
    Address,
    Attempt,
    Judgement,
)
from app_server.network.refusals import HungUp, Refused, Unreachable
from app_server.network.streams import Link, Peer
from app_server.network.upstream import UpstreamProxies, UpstreamProxy

logger = logging.getLogger(__name__)

HangUp = Callable[[], Awaitable[None]]
"""Returns once the program is no longer there."""


class Way(Struct, frozen=True):
    """An open connection towards a host. `leads_to` is protocol, host and port.

    `peer` speaks over `link`, within TLS or not. `address` is what was dialled, None if an upstream proxy does that;
    `via` is that proxy if it forwards requests, and must be shown the whole URL.
    """

    leads_to: tuple[str, str, int]
    link: Link
    peer: Peer
    address: Address | None = None
    via: UpstreamProxy | None = None


class Interception(Protocol):
    """TLS on both sides of the proxy, for connections into which it must look."""

    async def accept(self, client: ByteStream, host: str) -> ByteStream:
        """TLS towards the program, in the name of a host. Raises Unreachable."""
        ...

    async def secure(self, server: ByteStream, host: str) -> ByteStream:
        """TLS towards the host, whose certificate is checked. Raises Unreachable."""
        ...


MakeInterception = Callable[[], Awaitable[Interception]]


class Passage:
    """The way out of one command. Every attempt is judged by the rules as they are at that moment."""

    def __init__(
        self,
        execution: Execution,
        policy: PolicySource,
        gate: Gate,
        decisions: NetworkDecisions,
        resolve: Resolve,
        upstream: UpstreamProxies,
        interception: MakeInterception | None = None,
    ) -> None:
        self.execution, self.policy = execution, policy
        self._make_interception = interception
        self._gate, self._decisions, self._resolve, self._upstream = gate, decisions, resolve, upstream

    async def clear(self, attempt: Attempt, hung_up: HangUp, granted: Judgement | None = None) -> Judgement:
        """The allowance for an attempt, before its name is looked up. Raises Refused, and HungUp.

        `granted` is that of the tunnel in which it was made: nobody is asked again, but a denial counts.
        """
        policy = self.policy()
        judgement = policy.judge(attempt)
        match judgement.decision:
            case "deny":
                raise self.refuse(attempt, judgement)
            case "ask" if policy.settings.learn:
                return LEARNED
            case "ask" if granted is not None:
                return granted
            case "ask":
                judgement = await self._ask(attempt, hung_up)
                if judgement.decision != "allow":
                    self.note(attempt, judgement)
                    raise Refused(attempt, judgement)
                # The rules may have changed while somebody thought about it.
                if (now := self.policy().judge(attempt)).decision == "deny":
                    raise self.refuse(attempt, now)
            case "allow":
                pass
        return judgement

    async def _ask(self, attempt: Attempt, hung_up: HangUp) -> Judgement:
        began = monotonic()
        answer: Judgement | None = None
        async with anyio.create_task_group() as group:

            async def wait_for_hang_up() -> None:
                await hung_up()
                group.cancel_scope.cancel()

            group.start_soon(wait_for_hang_up)
            answer = await self._gate.decide(attempt)
            group.cancel_scope.cancel()
        if answer is None:
            self._decisions.note(self.execution, attempt, Judgement("deny", "decider", "not_allowed"))
            self._gate.abandoned(attempt, int((monotonic() - began) * 1000))
            raise HungUp
        return answer

    def refuse(self, attempt: Attempt, judgement: Judgement) -> Refused:
        """What to raise for what the rules deny; it is noted, and told to who answers for the command."""
        self.note(attempt, judgement)
        self._gate.denied(attempt, judgement)
        return Refused(attempt, judgement)

    async def before_refusal(self) -> None:
        """Wait until the program may learn that it was refused; see `Gate`."""
        await self._gate.before_refusal()

    def note(self, attempt: Attempt, judgement: Judgement) -> None:
        """Remember a decision that nobody needs to be told of."""
        self._decisions.note(self.execution, attempt, judgement)

    async def open(self, attempt: Attempt, cleared: Judgement, *, forwarded: bool = False) -> Way:
        """Connect to where an attempt was cleared for. Raises Refused, and Unreachable.

        The name is looked up once, and only addresses that were judged are dialled; it is refused if none of them
        may be reached. Where an upstream proxy is used, that one looks names up. Then the addresses as they are seen
        from here are judged all the same, and all of them must be allowed, since nobody knows which one it takes;
        a name that only the upstream proxy knows is left to it. `forwarded` says that requests are spoken and not
        only bytes, which an upstream proxy forwards without a tunnel.
        """
        via = None
        if self.policy().settings.allow_upstream_proxy:
            choose = self._upstream.for_plain if forwarded else self._upstream.for_tunnel
            try:
                via = choose(attempt.host, attempt.port)
            except Unreachable:
                self.note(attempt, cleared)
                raise
        if via is not None:
            return await self._open_upstream(attempt, cleared, via, forwarded)
        try:
            addresses = await find_addresses(attempt.host, attempt.port, self._resolve)
        except Unreachable:
            self.note(attempt, cleared)
            raise
        allowed, refusal = self._judge(attempt, addresses)
        if not allowed:
            assert refusal is not None
            raise self.refuse(attempt, refusal)
        self.note(attempt, cleared)
        link, address = await dial(allowed, attempt.port, attempt.host)
        return Way((attempt.protocol, attempt.host, attempt.port), link, Peer(link), address)

    async def _open_upstream(self, attempt: Attempt, cleared: Judgement, via: UpstreamProxy, forwarded: bool) -> Way:
        try:
            addresses = await find_addresses(attempt.host, attempt.port, self._resolve)
        except Unreachable:
            addresses = []
        _, refusal = self._judge(attempt, addresses)
        if refusal is not None:
            raise self.refuse(attempt, refusal)
        self.note(attempt, cleared)
        leads_to = (attempt.protocol, attempt.host, attempt.port)
        if forwarded:
            link = await dial_upstream(via, self._resolve)
            return Way(leads_to, link, Peer(link), via=via)
        link, peer = await tunnel_upstream(via, attempt.host, attempt.port, self._resolve)
        return Way(leads_to, link, peer)

    def _judge(self, attempt: Attempt, addresses: list[Address]) -> tuple[list[Address], Judgement | None]:
        """The addresses that may be dialled, and why one of the others may not."""
        policy = self.policy()
        allowed: list[Address] = []
        refusal: Judgement | None = None
        for address in addresses:
            judgement = policy.judge_address(attempt, address)
            if judgement.decision == "allow":
                allowed.append(address)
            else:
                refusal = judgement
        return allowed, refusal

    def may_reuse(self, way: Way, attempt: Attempt, cleared: Judgement) -> bool:
        """Whether an open connection leads where a cleared attempt wants to go, and still may; it is noted then."""
        if (attempt.protocol, attempt.host, attempt.port) != way.leads_to or way.link.is_stale():
            return False
        if way.address is not None and self.policy().judge_address(attempt, way.address).decision != "allow":
            return False
        self.note(attempt, cleared)
        return True

    async def interception(self, attempt: Attempt) -> Interception | None:
        """How to look into a tunnel, if that must be done. Raises Refused where it cannot be."""
        if self.policy().settings.mode != "limited":
            return None
        if self._make_interception is None:
            raise self.refuse(attempt, Judgement("deny", "mode_guard", "mitm_required"))
        return await self._make_interception()

    def clear_unix(self, attempt: Attempt, path: str) -> None:
        """Let a request through to a Unix socket, which goes to no host. Raises Refused."""
        settings = self.policy().settings
        if settings.mode == "limited" and attempt.method not in READING_METHODS:
            raise self.refuse(attempt, WRITING)
        action = settings.unix_sockets.get(path, "allow" if settings.dangerously_allow_all_unix_sockets else None)
        if action != "allow" or not path.startswith("/"):
            raise self.refuse(attempt, NOT_LISTED if action is None else DENIED)
        self.note(attempt, ALLOWED)

    async def open_unix(self, path: str) -> Way:
        """Connect to a Unix socket that the rules allow. Raises Unreachable."""
        link = await dial_unix(path)
        return Way(("unix", path, 0), link, Peer(link))
