"""The network of one command: its way out by the managed proxy, and the registration that answers for it."""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from app_server.approvals.network import Denial, Registration, Trigger
from app_server.execpolicy.rules import RuleSet
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution, Gate
from app_server.network.policy import LiveRules, NetworkPolicy
from app_server.network.proxy import NetworkProxy, NetworkUnavailable
from app_server.sandbox.permissions import PermissionProfile
from app_server.store.ids import uuid7
from app_server.tools.context import ToolError, TurnContext

CLOSE_SECONDS = 5.0
"""How long ending the connections of a command may take."""


class GuardedNetwork:
    """Lives from before a command's start until after its end; whoever runs the command finishes it."""

    def __init__(
        self, registration: Registration, egress: Egress, decisions: NetworkDecisions, warn: Callable[[str], None]
    ) -> None:
        """`warn` tells the thread's followers what learn mode has learned."""
        self.registration, self._egress, self._decisions, self._warn = registration, egress, decisions, warn
        self._finished = False

    @property
    def port(self) -> int:
        """Where the command finds the proxy on 127.0.0.1."""
        return self._egress.port

    async def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with what leads programs to the proxy. Raises NetworkUnavailable."""
        return await self._egress.environment(base)

    def serve(self, bridge: socket.socket) -> None:
        """Serve the sandbox's own network. Takes the socket over."""
        self._egress.serve(bridge)

    async def finish(self) -> Denial | None:
        """End its connections; the denial that replaces whatever the command came to. May be called again."""
        denial = self.registration.finish()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._egress.close()
        if not self._finished:
            self._finished = True
            if learned := self._decisions.suggested_rules(self.registration.execution.id):
                self._warn("\n".join((LEARNED, *learned)))
        return denial


LEARNED = "Learn mode let this command reach hosts that no rule allows. Rules that would allow them:"

RulesIn = Callable[[str, Sequence[str]], Awaitable[RuleSet]]
"""The rules of the user's files for a command in a folder, which may write in others."""


class NetworkAccess:
    """Gives commands their network. `live` are the rules that were made since the daemon began."""

    def __init__(self, proxy: NetworkProxy, decisions: NetworkDecisions, live: LiveRules, rules: RulesIn) -> None:
        self._proxy, self._decisions, self._live, self._rules = proxy, decisions, live, rules
        self._known: tuple[RuleSet, NetworkPolicy] | None = None

    async def guard(
        self, profile: PermissionProfile, turn: TurnContext, item_id: str, trigger: Trigger
    ) -> GuardedNetwork:
        """The network of a command of a thread, under a profile with a proxy. Raises ToolError."""
        execution = Execution(uuid7(), turn.thread_id, turn.turn_id, item_id)
        registration = turn.network.begin(execution, trigger)
        try:
            egress = await self.open(profile, turn.cwd, execution, registration)
        except NetworkUnavailable as error:
            registration.finish()
            raise ToolError(str(error)) from error
        return GuardedNetwork(registration, egress, self._decisions, turn.network.audience.warn)

    async def open(self, profile: PermissionProfile, cwd: str, execution: Execution, gate: Gate) -> Egress:
        """A way out under a profile with a proxy. Raises NetworkUnavailable."""
        policy = self._policy(profile, await self._rules(cwd, profile.writable_roots))
        return await self._proxy.open(execution, lambda: policy, gate)

    def _policy(self, profile: PermissionProfile, rules: RuleSet) -> NetworkPolicy:
        """The same object as long as nothing changes: patterns are compiled once."""
        settings = profile.proxy
        assert settings is not None
        if self._known is None or self._known[0] is not rules or self._known[1].settings != settings:
            self._known = rules, NetworkPolicy(settings, rules.host_actions(), self._live)
        return self._known[1]
