"""What must become of a command behind the managed network, told step by step without looking at how it is done.

Some steps take effect at once. The others have begun, and take effect at some time before everything has settled, in
any order; so the model is a set of what may be the case. Where everything settles after each step, it is one case.
"""

from dataclasses import dataclass, replace
from typing import Literal

Key = tuple[str, int]
"""Host and port; the protocol is the same for all."""

Outcome = Literal["user", "failed", "rules", "policy", "gone"]
"""Why it was denied: somebody said no, an answer could not be used, the rules said no, nobody could be asked, or the
program did not wait."""

EXPLICIT: frozenset[Outcome] = frozenset({"user", "failed"})
Expired = Literal["denied", "timeout", "killed", "interrupted"]
Turn = Literal["runs", "interrupted", "over"]
Effect = tuple[str | int, ...]
"""What has begun: its name, and what it is about."""


DEATH: Effect = ("die",)
"""Only what was ended dies, so this may stay ahead of what has settled."""


@dataclass(frozen=True)
class Question:
    """An open question: who has it open, and who waits with them. The numbers are those of requests."""

    key: Key
    owner: int
    waiters: frozenset[int] = frozenset[int]()


@dataclass(frozen=True)
class Case:
    """What may be the case. `given` is what consumers of the end were given."""

    active: bool = True
    outcome: Outcome | None = None
    expired: Expired | None = None
    left: bool = False
    turn: Turn = "runs"
    accepted: frozenset[Key] = frozenset[Key]()
    allowed_hosts: frozenset[str] = frozenset[str]()
    denied_hosts: frozenset[str] = frozenset[str]()
    questions: frozenset[Question] = frozenset[Question]()
    allowed: frozenset[int] = frozenset[int]()
    given: frozenset[Outcome | None] = frozenset["Outcome | None"]()
    begun: frozenset[Effect] = frozenset[Effect]()

    def begin(self, *effects: Effect) -> "Case":
        return replace(self, begun=self.begun | set(effects))

    def allow(self, *requests: int) -> "Case":
        return replace(self, allowed=self.allowed | set(requests))

    @property
    def is_over(self) -> bool:
        return not self.active or self.outcome is not None

    def question_of(self, request: int) -> Question | None:
        return next((one for one in self.questions if request == one.owner), None)

    # What happens at once

    def deny(self, outcome: Outcome) -> "Case":
        if not self.active:
            return self
        case = self
        if case.outcome is None or (outcome in EXPLICIT and case.outcome not in EXPLICIT):
            case = replace(case, outcome=outcome)
        return case.expire("denied")

    def expire(self, how: Expired) -> "Case":
        if self.expired is not None or self.left:
            return self
        return replace(self, expired=how).begin(("leave",))

    def disconnect(self) -> "Case":
        return self if self.expired is not None else self.deny("gone")

    def interrupt(self, *, in_turn: bool) -> "Case":
        case = replace(self, turn="interrupted")
        if in_turn:
            case = case.expire("interrupted")
        return case.withdraw()

    def withdraw(self) -> "Case":
        return self.begin(*(("withdrawn", question.owner) for question in self.questions))

    def end_turn(self) -> "Case":
        return replace(self, turn="over" if self.turn == "runs" else self.turn).withdraw()

    # What takes effect later

    def take(self, effect: Effect, *, in_turn: bool) -> "Case":
        """One effect that has begun takes place."""
        case = replace(self, begun=self.begun - {effect})
        match effect:
            case ("request", int(number), str(host), int(port)):
                return case._request(number, (host, port))
            case ("answer", int(owner), str(decision)):
                return case._answer(owner, decision, in_turn=in_turn)
            case ("withdrawn", int(owner)):
                return case._answer(owner, "withdrawn", in_turn=in_turn)
            case ("hang up", int(number)):
                return case._hang_up(number)
            case ("hang up all",):
                return replace(case.disconnect() if case.questions else case, questions=frozenset())
            case ("cut",):
                return replace(case, questions=frozenset())
            case ("timeout",):
                return case.expire("timeout")
            case ("exit",):
                return case if case.expired is not None else case._leave()
            case ("leave",):
                return case._leave()
            case ("die",) if case.left:
                return case.begin(("hang up all",), ("finish", 0))
            case ("die",):
                return self
            case ("finish", int(_)):
                return case._finish()
            case _:
                raise AssertionError(effect)

    def _request(self, number: int, key: Key) -> "Case":
        if not self.active:
            return self
        if key[0] in self.denied_hosts:
            return self.deny("rules")
        if key[0] in self.allowed_hosts:
            return self.allow(number)
        if self.is_over:
            return self
        if key in self.accepted:
            return self.allow(number)
        for question in self.questions:
            if question.key == key:
                joined = replace(question, waiters=question.waiters | {number})
                return replace(self, questions=self.questions - {question} | {joined})
        if self.turn != "runs":
            return self.deny("policy")
        return replace(self, questions=self.questions | {Question(key, number)})

    def _answer(self, owner: int, decision: str, *, in_turn: bool) -> "Case":
        question = self.question_of(owner)
        if question is None:
            return self
        host = question.key[0]
        others = [one.owner for one in self.questions if one != question and one.key[0] == host]
        case = replace(self, questions=self.questions - {question})
        match decision:
            case "accept" | "acceptForSession":
                case = replace(case, accepted=case.accepted | {question.key})
            case "allow rule":
                case = replace(case, accepted=case.accepted | {question.key}, allowed_hosts=case.allowed_hosts | {host})
                case = case.begin(*(("answer", other, "accept") for other in others))
            case "deny rule":
                case = replace(case, denied_hosts=case.denied_hosts | {host})
                case = case.begin(*(("answer", other, "decline") for other in others)).deny("user")
            case "other host":
                case = case.deny("policy")
            case "decline" | "reviewer's no":
                case = case.deny("user")
            case "cancel":
                case = case.deny("user").interrupt(in_turn=in_turn)
            case "garbage" | "withdrawn" if case.turn != "runs":
                if case.expired is None:
                    case = case.deny("user" if case.turn == "interrupted" else "policy")
            case _:
                case = case.deny("failed")
        if case.is_over or decision not in {"accept", "acceptForSession", "allow rule"}:
            return case
        return case.allow(owner, *question.waiters)

    def _hang_up(self, number: int) -> "Case":
        """The program closes a connection on which it waits."""
        for question in self.questions:
            others = self.questions - {question}
            if question.owner == number:
                return replace(self, questions=others).disconnect()
            if number in question.waiters:
                left = replace(question, waiters=question.waiters - {number})
                return replace(self, questions=others | {left}).disconnect()
        return self

    def _leave(self) -> "Case":
        """It has ended, by itself or not; but nothing of it is dead yet, and who runs it waits for that."""
        return replace(self, left=True)

    def _finish(self) -> "Case":
        case = self
        if case.active:
            case = case.disconnect() if case.questions else case
            case = replace(case, active=False).begin(("cut",))
        return replace(case, given=case.given | {case.outcome})


class Model:
    """All that may be the case. `in_turn`: an interrupt of the turn ends the command too.

    Which single requests are allowed is told only where everything settles after each step.
    """

    def __init__(self, *, in_turn: bool, with_allowed: bool) -> None:
        self._in_turn, self._with_allowed = in_turn, with_allowed
        self.cases: set[Case] = {Case()}

    def begin(self, *effect: str | int) -> None:
        """Something has begun."""
        self.cases = {case.begin(effect) for case in self.cases}

    def now(self, what: str) -> None:
        """Something happens at once, before or after anything that has begun."""
        self.cases = {self._at_once(case, what) for case in self._reachable()}

    def _at_once(self, case: Case, what: str) -> Case:
        match what:
            case "rules":
                return case.deny("rules")
            case "kill":
                return case.expire("killed")
            case "interrupt":
                return case.interrupt(in_turn=self._in_turn)
            case "turn ends":
                return case.end_turn()
            case _:
                raise AssertionError(what)

    def settle(self) -> None:
        """Everything that has begun has taken place."""
        self.cases = {
            case for case in self._reachable() if not case.begun or (case.begun == frozenset({DEATH}) and not case.left)
        }

    def _reachable(self) -> set[Case]:
        known, new = set(self.cases), list(self.cases)
        while new:
            case = new.pop()
            for effect in case.begun:
                after = case.take(effect, in_turn=self._in_turn)
                if not self._with_allowed:
                    after = replace(after, allowed=frozenset())
                if after not in known:
                    known.add(after)
                    new.append(after)
        return known
