"""Questions about commands: who is asked, what an answer covers, and what the log says of it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from app_server.approvals.approvals import Approvals, CommandQuestion, Declined, TurnCancelled
from app_server.approvals.guardian import Guardian
from app_server.rpc.connection import Client, Connection
from app_server.rpc.outbound import Outbound
from app_server.rpc.scopes import NO_SHELL
from app_server.rpc.server_requests import ServerRequests
from app_server.store.decisions import DecisionLog
from tests.support.nobody import Nobody
from tests.unit.approvals.reviewed import ReviewedThread
from tests.unit.store.homes import opened


class Room:
    """A thread's audience without a thread."""

    id = "the-thread"
    asks_the_user = True

    def __init__(self, log: DecisionLog) -> None:
        self.requests = ServerRequests()
        self.clients: list[Connection] = []
        self.alone: float | None = None
        self.changes: list[set[str]] = []
        self.opened = anyio.Event()
        """A question was put."""
        self.told_resolved: list[int] = []
        self.amended: list[Sequence[str]] = []
        self.log = log
        self.reviewed = ReviewedThread()
        self.approvals = Approvals(self, self.requests, log, self._amend, Guardian(self.reviewed))

    def may_answer(self) -> list[Connection]:
        return self.clients

    def alone_since(self) -> float | None:
        return self.alone

    def waiting_changed(self) -> None:
        self.changes.append(self.requests.pending(self.id))
        self.opened.set()

    def resolved(self, request_id: int) -> None:
        self.told_resolved.append(request_id)

    async def _amend(self, prefix: Sequence[str]) -> None:
        self.amended.append(prefix)

    def join(self, **more: Any) -> Connection:
        connection = Connection(Nobody(), Outbound("line"), **more)
        connection.client = Client("tester", "1")
        connection.outbound.experimental = True
        self.clients.append(connection)
        return connection

    async def answer(self, connection: Connection, decision: Any) -> dict[str, Any]:
        """Answer the question that waits for a client, which is returned."""
        data = await connection.outbound.take()
        assert data is not None
        asked = orjson.loads(data.splitlines()[-1])
        self.requests.resolve(connection.id, {"id": asked["id"], "result": {"decision": decision}})
        return asked


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with opened(tmp_path) as home:
        yield Room(DecisionLog(home.database))


def question(name: str = "make", **more: Any) -> CommandQuestion:
    return CommandQuestion(
        turn_id="the-turn",
        item_id="the-item",
        command=name,
        argv=[name],
        cwd="/",
        actions=[],
        key=("command", name),
        **more,
    )


class Asking:
    """A question that is being asked: `outcome` is what came of it."""

    def __init__(self, room: Room, asked: CommandQuestion) -> None:
        self.room, self.question = room, asked
        self.outcome: Any = "waits"

    async def run(self) -> None:
        try:
            self.outcome = await self.room.approvals.ask_command(self.question)
        except (Declined, TurnCancelled) as error:
            self.outcome = error


async def ask(room: Room, connection: Connection, decision: Any, asked: CommandQuestion | None = None) -> Any:
    asking = Asking(room, asked or question())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.run)
        await room.answer(connection, decision)
    return asking.outcome


async def test_a_yes_lets_the_command_run_once(room: Room) -> None:
    client = room.join()
    assert await ask(room, client, "accept") is None
    assert await ask(room, client, "accept") is None
    assert room.told_resolved == [0, 1]
    assert room.changes[:2] == [{"item/commandExecution/requestApproval"}, set()]


async def test_a_yes_for_the_session_is_not_asked_again_for_the_same_command(room: Room) -> None:
    client = room.join()
    assert await ask(room, client, "acceptForSession") is None
    assert await room.approvals.ask_command(question()) is None
    assert isinstance(await ask(room, client, "decline", question("other")), Declined)


async def test_a_no_says_who_said_it(room: Room) -> None:
    client = room.join()
    outcome = await ask(room, client, "decline")
    assert isinstance(outcome, Declined)
    assert (str(outcome), outcome.by_user) == ("rejected by user", True)
    assert isinstance(await ask(room, client, "cancel"), TurnCancelled)


@pytest.mark.parametrize("garbage", ["zzz", None, {}, 1, [], {"acceptWithExecpolicyAmendment": {}}, "ACCEPT"])
async def test_an_answer_that_cannot_be_read_is_a_no(room: Room, garbage: Any) -> None:
    outcome = await ask(room, room.join(), garbage)
    assert isinstance(outcome, Declined)
    assert (str(outcome), outcome.by_user) == ("approval request failed", False)


async def test_a_prefix_is_allowed_as_the_answer_names_it(room: Room) -> None:
    client = room.join()
    amendment = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["make", "all"]}}
    assert await ask(room, client, amendment, question(proposed_amendment=["make"])) == ["make", "all"]
    assert room.amended == [["make", "all"]]


async def test_an_empty_prefix_allows_nothing(room: Room) -> None:
    amendment: dict[str, Any] = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": []}}
    assert isinstance(await ask(room, room.join(), amendment), Declined)
    assert room.amended == []


async def test_a_client_without_a_shell_allows_one_command_and_no_prefix(room: Room) -> None:
    amendment = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": ["bash"]}}
    assert await ask(room, room.join(scope=NO_SHELL), amendment) is None
    assert room.amended == []


async def test_a_network_rule_does_not_answer_for_a_command(room: Room) -> None:
    rule = {"applyNetworkPolicyAmendment": {"network_policy_amendment": {"action": "allow", "host": "example.org"}}}
    assert isinstance(await ask(room, room.join(), rule), Declined)


async def test_files_that_were_allowed_for_the_session_are_not_asked_about_again(room: Room) -> None:
    client = room.join()

    async def change(paths: list[str]) -> None:
        await room.approvals.ask_file_change("the-turn", "the-item", paths)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change, ["/a", "/b"])
        await room.answer(client, "acceptForSession")
    await change(["/b"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change, ["/b", "/c"])
        asked = await room.answer(client, "accept")
        assert asked["method"] == "item/fileChange/requestApproval"


async def test_the_log_tells_who_answered_what(room: Room) -> None:
    client = room.join()
    await ask(room, client, "accept")
    await ask(room, client, "decline", question("other"))
    await ask(room, client, "zzz", question("third"))
    third, second, first = await room.log.newest(10)
    assert [line.decision for line in (first, second, third)] == ["accept", "decline", "failed"]
    assert first.decided_by == f"tester 1 (connection {client.id})"
    assert first.question.summary == "make"
    assert (first.question.thread_id, first.question.turn_id) == ("the-thread", "the-turn")
    assert len(first.question.digest) == 64
    assert first.question.digest != second.question.digest
    assert third.decided_by is not None
    assert "does not fit" in third.decided_by


async def test_a_question_is_in_the_log_before_it_is_answered(room: Room) -> None:
    client = room.join()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Asking(room, question()).run)
        await room.opened.wait()
        (line,) = await room.log.newest(10)
        assert line.decision is None
        await room.answer(client, "accept")


async def test_a_question_that_is_withdrawn_is_a_no(room: Room) -> None:
    room.join()
    asking = Asking(room, question())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.run)
        await room.opened.wait()
        room.requests.withdraw(room.id)
    assert isinstance(asking.outcome, Declined)
    assert not asking.outcome.by_user


async def test_with_nobody_there_a_question_waits_for_who_comes(room: Room) -> None:
    asking = Asking(room, question())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.run)
        await room.opened.wait()
        late = room.join()
        room.requests.replay(room.id, late)
        await room.answer(late, "accept")
    assert asking.outcome is None


async def test_the_wait_for_somebody_can_be_bounded(room: Room) -> None:
    room.approvals.unattended_seconds = 0.001
    room.alone = 0.0
    asking = Asking(room, question())
    await asking.run()
    assert isinstance(asking.outcome, Declined)


async def test_the_bound_does_not_hurry_somebody_who_is_there(room: Room) -> None:
    room.approvals.unattended_seconds = 0.001
    client = room.join()
    seen = anyio.Event()
    looks = 0

    def alone_since() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            seen.set()

    room.alone_since = alone_since
    asking = Asking(room, question())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.run)
        await seen.wait()
        assert asking.outcome == "waits"
        data = await client.outbound.take()
        assert data is not None
        room.requests.resolve(client.id, {"id": 0, "result": {"decision": "accept"}})
    assert asking.outcome is None


async def test_without_a_reviewer_nobody_says_yes_in_its_place(room: Room) -> None:
    room.asks_the_user = False
    client = room.join()
    asking = Asking(room, question())
    await asking.run()
    assert isinstance(asking.outcome, Declined)
    assert "Automatic approval review failed: there is no model" in str(asking.outcome)
    assert client.outbound.queued_bytes == 0
    (line,) = await room.log.newest(10)
    assert (line.decision, line.decided_by) == ("failed", "auto_review")


async def test_questions_of_a_daemon_that_ended_are_closed_as_lost(room: Room) -> None:
    room.join()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Asking(room, question()).run)
        await room.opened.wait()
        await room.log.close_lost()
        (line,) = await room.log.newest(10)
        assert (line.decision, line.decided_by) == ("lost", "the daemon ended")
        tasks.cancel_scope.cancel()


async def test_a_question_that_another_daemon_took_for_lost_can_still_be_answered(room: Room) -> None:
    client = room.join()
    asking = Asking(room, question())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.run)
        await room.opened.wait()
        await room.log.close_lost()
        await room.answer(client, "accept")
    (line,) = await room.log.newest(10)
    assert line.decision == "accept"
