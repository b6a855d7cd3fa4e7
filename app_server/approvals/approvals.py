"""Approvals: what a thread's clients are asked before something happens, and what they have allowed so far."""

import hashlib
import os
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol, TypeVar

import anyio
import orjson
from msgspec import Struct, field

from app_server.approvals import actions
from app_server.approvals.actions import Action
from app_server.approvals.denials import approved_text, denied_id, review_record
from app_server.approvals.guardian import Guardian
from app_server.rpc.connection import Connection
from app_server.rpc.outbound import now_ms
from app_server.rpc.server_requests import Answer, NoAnswer, ServerRequests
from app_server.store.decisions import REVIEWER, DecisionLog, Question
from protocol.methods import ServerRequest
from protocol.v2 import approval as wire
from protocol.v2.item import CommandAction
from protocol.v2.permissions import (
    AdditionalFileSystemPermissions,
    AdditionalPermissionProfile,
    GrantedPermissionProfile,
    NetworkApprovalContext,
    NetworkApprovalProtocol,
    NetworkPolicyAmendment,
    PathFileSystemPath,
    RequestPermissionProfile,
)
from protocol.wire import Wire

R = TypeVar("R", bound=Wire)

ENVIRONMENT = "local"
"""The name of the place where commands run."""


class Declined(Exception):
    """The answer was no, and the turn goes on. `decided` is False where it was no answer to go by, and `by_user` also
    where it was a reviewing model's."""

    def __init__(self, reason: str, *, by_user: bool = True, decided: bool | None = None) -> None:
        super().__init__(reason)
        self.by_user, self.decided = by_user, by_user if decided is None else decided


class TurnCancelled(Exception):
    """The answer was no, and the user wants the turn to end."""


class Audience(Protocol):
    """The clients of one thread."""

    @property
    def id(self) -> str:
        """The thread's id."""
        ...

    @property
    def asks_the_user(self) -> bool:
        """Whether a user decides; else a reviewing model does, and no client is asked for a permission."""
        ...

    def may_answer(self) -> Iterable[Connection]:
        """The followers that are asked."""
        ...

    def alone_since(self) -> float | None:
        """Since when (monotonic seconds) nobody is there to be asked; None while somebody is."""
        ...

    def waiting_changed(self) -> None:
        """A question was opened or closed."""
        ...

    def resolved(self, request_id: int) -> None:
        """Tell the followers that a question is closed."""
        ...


AmendRules = Callable[[Sequence[str]], Awaitable[None]]
"""Allows a command prefix from now on, on disk and at once."""


class CommandQuestion(Struct, frozen=True):
    """May this command run? `key` is what an answer for the session covers."""

    turn_id: str
    item_id: str
    command: str
    argv: Sequence[str]
    cwd: str
    actions: Sequence[CommandAction]
    key: Hashable
    reason: str | None = None
    proposed_amendment: Sequence[str] | None = None
    approval_id: str | None = None
    kind: wire.CommandExecutionApprovalKind = "command"
    additional_permissions: AdditionalPermissionProfile | None = None
    escalated: bool = False
    tty: bool = False
    justification: str | None = None

    def action(self) -> Action:
        """As a reviewing model sees it."""
        if self.kind == "writeStdin":
            _, _, process_id, chars = self.argv
            return actions.write_stdin(process_id, chars, self.cwd, self.approval_id or self.item_id, self.reason)
        return actions.command(
            self.command,
            self.argv,
            self.cwd,
            escalated=self.escalated,
            tty=self.tty,
            justification=self.justification,
            additional=self.additional_permissions,
            note=None if self.reason == self.justification else self.reason,
        )


class NetworkQuestion(Struct, frozen=True):
    """May a command reach this host? `item_id` is made up: the question is not about the command's item.

    `target` is what is to be reached, as `https://host:port`; `trigger` tells a reviewer which command wants it.
    """

    turn_id: str
    item_id: str
    host: str
    port: int
    protocol: NetworkApprovalProtocol
    target: str
    trigger: Mapping[str, Any]


class Approvals(Struct):
    """What one thread may do, as far as somebody was asked. Kept while the thread is loaded.

    `guardian` decides where no user does. `unattended_seconds` is how long a question waits while nobody is there to
    answer it; None is for ever.
    """

    audience: Audience
    requests: ServerRequests
    log: DecisionLog
    amend_rules: AmendRules
    guardian: Guardian
    unattended_seconds: float | None = None
    granted: list[GrantedPermissionProfile] = field(default_factory=list[GrantedPermissionProfile])
    """Permissions for the rest of the session."""
    _allowed: set[Hashable] = field(default_factory=set[Hashable])
    _strict_turn: str | None = None
    _reviews: dict[str, str] = field(default_factory=dict[str, str])
    """The records of reviews that the log does not hold yet."""

    def covers(self, question: CommandQuestion) -> bool:
        """Whether an answer for the session holds for this, so that nobody is asked."""
        return question.key in self._allowed

    async def ask_command(self, question: CommandQuestion) -> Sequence[str] | None:
        """Return once the command may run, with the prefix that was allowed beside it. Raises Declined, TurnCancelled.

        An answer for the session is remembered; the same question is then not asked again.
        """
        if self.covers(question):
            return None
        params = wire.CommandExecutionRequestApprovalParams(
            thread_id=self.audience.id,
            turn_id=question.turn_id,
            item_id=question.item_id,
            started_at_ms=now_ms(),
            approval_id=question.approval_id,
            kind=question.kind,
            environment_id=ENVIRONMENT,
            reason=question.reason,
            command=question.command,
            cwd=question.cwd,
            command_actions=list(question.actions),
            proposed_execpolicy_amendment=None
            if question.proposed_amendment is None
            else list(question.proposed_amendment),
            additional_permissions=question.additional_permissions,
            available_decisions=_available(question.proposed_amendment),
        )
        if self._is_reviewed:
            await self.review_command(question)
            return None
        noted = self._noted(question)
        answer = await self._put(wire.ITEM_COMMAND_EXECUTION_REQUEST_APPROVAL, params, noted, _command_word)
        decision = answer.response.decision
        if isinstance(decision, wire.AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision):
            amendment = decision.accept_with_execpolicy_amendment.execpolicy_amendment
            if not amendment:
                raise Declined("approval request failed: the command prefix to allow is empty", by_user=False)
            if not answer.connection.may_amend:
                # Its token is not for what amounts to a shell; the answer holds for this one command.
                return None
            await self.amend_rules(amendment)
            return amendment
        if not isinstance(decision, str):
            raise Declined("approval request failed: a network rule does not answer for a command", by_user=False)
        self._take(decision, (question.key,))
        return None

    async def ask_file_change(
        self,
        turn_id: str,
        item_id: str,
        paths: Sequence[str],
        *,
        reason: str | None = None,
        grant_root: str | None = None,
        change: str = "",
        cwd: str = "/",
    ) -> None:
        """Return once these files may be changed; `change` is the patch, and `cwd` where it is made. Raises as above.

        An answer for the session covers each of the files.
        """
        keys = [("file", path) for path in paths]
        if keys and all(key in self._allowed for key in keys):
            if self.is_strict(turn_id):
                await self.review_file_change(turn_id, item_id, paths, reason=reason, change=change, cwd=cwd)
            return
        params = wire.FileChangeRequestApprovalParams(
            thread_id=self.audience.id,
            turn_id=turn_id,
            item_id=item_id,
            started_at_ms=now_ms(),
            grant_root=grant_root,
            reason=reason,
        )
        if self._is_reviewed:
            await self.review_file_change(turn_id, item_id, paths, reason=reason, change=change, cwd=cwd)
            return
        noted = Question(
            self.audience.id, turn_id, item_id, "fileChange", _digest(list(paths), change), ", ".join(paths)
        )
        answer = await self._put(
            wire.ITEM_FILE_CHANGE_REQUEST_APPROVAL, params, noted, lambda response: response.decision
        )
        self._take(answer.response.decision, keys)

    async def ask_permissions(
        self, turn_id: str, item_id: str, cwd: str, wanted: RequestPermissionProfile, reason: str | None
    ) -> wire.PermissionsRequestApprovalResponse:
        """What is granted of `wanted`, which may be nothing. A grant for the session is kept. Raises Declined.

        What a client grants beyond what was asked for does not count: nobody has seen a reason for it.
        """
        params = wire.PermissionsRequestApprovalParams(
            thread_id=self.audience.id,
            turn_id=turn_id,
            item_id=item_id,
            cwd=cwd,
            permissions=wanted,
            started_at_ms=now_ms(),
            environment_id=ENVIRONMENT,
            reason=reason,
        )
        text = wanted.model_dump_json()
        noted = Question(self.audience.id, turn_id, item_id, "permissions", _digest([text], cwd), text)
        if self._is_reviewed:
            await self._review(noted, actions.permissions(wanted, cwd, reason))
            everything = GrantedPermissionProfile(file_system=wanted.file_system, network=wanted.network)
            return wire.PermissionsRequestApprovalResponse(permissions=_at_most(everything, wanted))
        answer = await self._put(
            wire.ITEM_PERMISSIONS_REQUEST_APPROVAL,
            params,
            noted,
            lambda response: f"granted for the {response.scope}: {response.permissions.model_dump_json()}",
        )
        granted = answer.response.model_copy(update={"permissions": _at_most(answer.response.permissions, wanted)})
        if granted.strict_auto_review:
            if granted.scope == "session":
                # Only a turn can be strict; without that there was to be no grant.
                nothing = {"permissions": GrantedPermissionProfile(), "scope": "turn", "strict_auto_review": None}
                return granted.model_copy(update=nothing)
            self._strict_turn = turn_id
        if granted.scope == "session":
            self.granted.append(granted.permissions)
        return granted

    async def ask_network(self, question: NetworkQuestion) -> str | NetworkPolicyAmendment:
        """`accept`, `acceptForSession`, `decline`, `cancel`, or a rule to keep for the host. Raises Declined.

        A client whose token is not for what amounts to a shell can allow this once, but keep no rule that allows.
        """
        amendments = [NetworkPolicyAmendment(host=question.host, action=action) for action in ("allow", "deny")]
        params = wire.CommandExecutionRequestApprovalParams(
            thread_id=self.audience.id,
            turn_id=question.turn_id,
            item_id=question.item_id,
            started_at_ms=now_ms(),
            environment_id=ENVIRONMENT,
            reason=f"Network access to {question.host} requires approval",
            network_approval_context=NetworkApprovalContext(host=question.host, protocol=question.protocol),
            proposed_network_policy_amendments=amendments,
            available_decisions=[
                "accept",
                "acceptForSession",
                wire.ApplyNetworkPolicyAmendmentCommandExecutionApprovalDecision(
                    apply_network_policy_amendment=wire.NetworkPolicyAmendmentDecision(
                        network_policy_amendment=amendments[0]
                    )
                ),
                "cancel",
            ],
        )
        noted = Question(
            self.audience.id,
            question.turn_id,
            question.item_id,
            "networkAccess",
            _digest([question.target], ""),
            question.target,
        )
        if self._is_reviewed:
            action = actions.network(question.target, question.host, question.port, question.protocol, question.trigger)
            await self._review(noted, action, has_item=False)
            return "accept"
        answer = await self._put(wire.ITEM_COMMAND_EXECUTION_REQUEST_APPROVAL, params, noted, _command_word)
        decision = answer.response.decision
        if isinstance(decision, str):
            return decision
        if isinstance(decision, wire.AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision):
            raise Declined("approval request failed: a command prefix does not answer for a host", by_user=False)
        amendment = decision.apply_network_policy_amendment.network_policy_amendment
        if amendment.action == "allow" and not answer.connection.may_amend:
            return "accept"
        return amendment

    async def ask(self, descriptor: ServerRequest[Any, R], params: Wire) -> Answer[R]:
        """Ask what is no permission, such as a question to the user or a call of a client's tool. Raises NoAnswer."""
        if self.unattended_seconds is None:
            return await self._ask(descriptor, params)
        answer: Answer[R] | NoAnswer = NoAnswer("the question was withdrawn")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lose_patience, self.unattended_seconds)
            try:
                answer = await self._ask(descriptor, params)
            except NoAnswer as error:
                # Raised only outside of the group, which would wrap it.
                answer = error
            tasks.cancel_scope.cancel()
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    async def _ask(self, descriptor: ServerRequest[Any, R], params: Wire) -> Answer[R]:
        audience = self.audience
        return await self.requests.ask(
            descriptor,
            params,
            audience.id,
            audience.may_answer(),
            opened=audience.waiting_changed,
            resolved=self._resolved,
        )

    def _resolved(self, request_id: int) -> None:
        self.audience.resolved(request_id)
        self.audience.waiting_changed()

    async def _lose_patience(self, seconds: float) -> None:
        while True:
            since = self.audience.alone_since()
            left = seconds if since is None else since + seconds - monotonic()
            if left <= 0:
                self.requests.withdraw(self.audience.id)
                return
            await anyio.sleep(left)

    async def approve_denied(self, event: Any) -> str:
        """What the models are told, as the user allows an action that a review has denied. Raises InvalidDenial."""
        review_id = denied_id(event)
        record = self._reviews.get(review_id) or await self.log.review(self.audience.id, review_id)
        return approved_text(event, record)

    def is_strict(self, turn_id: str) -> bool:
        """Whether all commands and patches of the turn are reviewed, also those that need no approval.

        A user may grant permissions for the turn on that condition.
        """
        return turn_id == self._strict_turn

    async def review_command(self, question: CommandQuestion) -> None:
        """Return if a review approves the command, this once. Raises Declined."""
        await self._review(self._noted(question), question.action())

    async def review_file_change(
        self,
        turn_id: str,
        item_id: str,
        paths: Sequence[str],
        *,
        reason: str | None = None,
        change: str = "",
        cwd: str = "/",
    ) -> None:
        """Return if a review approves the patch, this once. Raises Declined."""
        digest = _digest(list(paths), change)
        noted = Question(self.audience.id, turn_id, item_id, "fileChange", digest, ", ".join(paths))
        await self._review(noted, actions.patch(paths, change, cwd, reason))

    def _noted(self, question: CommandQuestion) -> Question:
        digest = _digest(list(question.argv), question.cwd)
        return Question(self.audience.id, question.turn_id, question.item_id, question.kind, digest, question.command)

    @property
    def _is_reviewed(self) -> bool:
        return not self.audience.asks_the_user

    async def _review(self, noted: Question, action: Action, *, has_item: bool = True) -> None:
        """Return if a review approves the action, this once. Raises Declined."""
        number = await self.log.asked(noted)
        decision, decided_by = "withdrawn", "no answer was needed any more"
        record: tuple[str, str] | None = None
        try:
            verdict = await self.guardian.review(action, noted.turn_id, noted.item_id if has_item else None)
            if verdict.status != "aborted":
                decision, decided_by = "failed" if verdict.failure else verdict.status, REVIEWER
                record = verdict.review_id, review_record(action, verdict)
                self._reviews[verdict.review_id] = record[1]
        finally:
            with anyio.move_on_after(5, shield=True):
                await self.log.decided(number, decision, decided_by, record)
            if record is not None:
                del self._reviews[record[0]]
        if not verdict.approved:
            raise Declined(verdict.text, by_user=False, decided=verdict.status == "denied")

    async def _put(
        self, descriptor: ServerRequest[Any, R], params: Wire, noted: Question, word: Callable[[R], str]
    ) -> Answer[R]:
        """Ask for a permission, with question and answer in the log. No usable answer is a no."""
        number = await self.log.asked(noted)
        decision, decided_by = "withdrawn", "no answer was needed any more"
        try:
            answer = await self.ask(descriptor, params)
            decision, decided_by = word(answer.response), answer.client
            return answer
        except NoAnswer as error:
            decision, decided_by = "failed", str(error)
            raise Declined("approval request failed", by_user=False) from error
        finally:
            with anyio.move_on_after(5, shield=True):
                await self.log.decided(number, decision, decided_by)

    def _take(self, decision: str, keys: Sequence[Hashable]) -> None:
        if decision == "cancel":
            raise TurnCancelled
        if decision == "decline":
            raise Declined("rejected by user")
        if decision == "acceptForSession":
            self._allowed.update(keys)


def _available(amendment: Sequence[str] | None) -> list[wire.CommandExecutionApprovalDecision]:
    decisions: list[wire.CommandExecutionApprovalDecision] = ["accept"]
    if amendment is not None:
        proposed = wire.ExecpolicyAmendmentDecision(execpolicy_amendment=list(amendment))
        decisions.append(
            wire.AcceptWithExecpolicyAmendmentCommandExecutionApprovalDecision(
                accept_with_execpolicy_amendment=proposed
            )
        )
    return [*decisions, "cancel"]


def _command_word(response: wire.CommandExecutionRequestApprovalResponse) -> str:
    decision = response.decision
    return decision if isinstance(decision, str) else decision.model_dump_json()


def _digest(parts: Sequence[str], place: str) -> str:
    return hashlib.sha256(orjson.dumps([place, *parts])).hexdigest()


def _at_most(granted: GrantedPermissionProfile, wanted: RequestPermissionProfile) -> GrantedPermissionProfile:
    """The part of a grant that was asked for. Both are brought to plain paths to read and to write."""
    network = granted.network if wanted.network is not None and wanted.network.enabled else None
    given, asked = granted.file_system, wanted.file_system
    if given is None or asked is None:
        return GrantedPermissionProfile(network=network)
    paths = {
        access: [
            path
            for path in _paths(given, access)
            if any(_is_within(path, allowed) for allowed in _paths(asked, access))
        ]
        for access in ("read", "write")
    }
    if not any(paths.values()):
        return GrantedPermissionProfile(network=network)
    files = AdditionalFileSystemPermissions(read=paths["read"] or None, write=paths["write"] or None)
    return GrantedPermissionProfile(file_system=files, network=network)


def _paths(files: AdditionalFileSystemPermissions, access: str) -> list[str]:
    plain = (files.read if access == "read" else files.write) or []
    entries = [
        entry.path.path
        for entry in files.entries or ()
        if isinstance(entry.path, PathFileSystemPath) and entry.access == access
    ]
    return [os.path.normpath(path) for path in dict.fromkeys([*plain, *entries])]


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
