"""Guardian with a model over real HTTP: what is asked, what counts, and what everybody is told."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import orjson
import pytest
from msgspec.structs import replace

from app_server.approvals import actions
from app_server.approvals.guardian import Guardian, Verdict
from app_server.approvals.reviewer import LOOKS, ReviewingModel
from app_server.config.settings import ModelProviderSettings
from app_server.model.catalog import MODELS, model_info
from app_server.model.http import HttpPool
from app_server.model.responses import ResponsesClient
from tests.support.reviews import allow, deny, shown
from tests.support.scripted_model import ScriptedModel, gate, say, status, tool_call
from tests.unit.approvals.reviewed import ReviewedThread

ACTION = actions.command("make", ["make"], "/ws", escalated=True, tty=False)


def message(role: str, text: str) -> bytes:
    return orjson.dumps({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]})


class Room:
    """A thread with its Guardian, and the model that reviews."""

    def __init__(self, model: ScriptedModel, pool: HttpPool) -> None:
        settings = ModelProviderSettings("Scripted", model.url, request_max_retries=0)
        client = ResponsesClient("scripted", settings, pool)
        self.model = model
        self.reviewing = ReviewingModel(client, model_info("mock-model"), None, None)
        self.thread = ReviewedThread(self.reviewing)
        self.guardian = Guardian(self.thread)

    async def review(self, turn_id: str = "turn", item_id: str | None = "item") -> Verdict:
        return await self.guardian.review(ACTION, turn_id, item_id)

    def asks(self, **changes: Any) -> None:
        """Have another model, or the same in another way, asked from now on."""
        self.reviewing = self.thread.model = replace(self.reviewing, **changes)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with ScriptedModel() as model, HttpPool() as pool:
        yield Room(model, pool)


async def test_a_verdict_and_what_is_told_of_it(room: Room) -> None:
    room.model.script(deny("It deletes."))
    verdict = await room.review(item_id=None)
    assert (verdict.status, verdict.approved) == ("denied", False)
    assert "Reason: It deletes." in verdict.text
    assert room.thread.methods == [
        "item/autoApprovalReview/started",
        "guardianWarning",
        "item/autoApprovalReview/completed",
    ]
    params = room.thread.events[-1][1]
    assert (params["reviewId"], params["targetItemId"]) == (verdict.review_id, None)
    assert params["completedAtMs"] >= params["startedAtMs"]


async def test_low_effort_is_asked_of_models_that_know_it(room: Room) -> None:
    knows_low = next(info for info in MODELS.values() if "low" in info.efforts)
    other = model_info("mock-model")
    for info, effort, asked in ((knows_low, "high", "low"), (other, "high", "high"), (other, None, None)):
        room.model.script(allow())
        room.asks(info=info, effort=effort)
        await room.review()
        assert room.model.requests[-1]["reasoning"].get("effort") == asked


async def test_the_conversation_goes_on_while_the_history_only_grows(room: Room) -> None:
    room.model.default = lambda _: [allow()]
    room.thread.history = [message("user", "one")]
    await room.review()
    room.thread.history.append(message("user", "two"))
    await room.review()
    first, second = room.model.requests
    assert second["input"][0] == first["input"][0]
    assert "[2] user: two\n" in shown(second)
    assert "user: one" not in shown(second)
    # A history that is another one begins another conversation.
    room.thread.history = [message("user", "another")]
    await room.review()
    assert len(room.model.requests[2]["input"]) == 1
    # So do other instructions.
    room.asks(policy="Be kind.")
    await room.review()
    assert len(room.model.requests[3]["input"]) == 1


async def test_the_conversation_stays_bounded(room: Room) -> None:
    room.model.default = lambda _: [allow()]
    longest = 0
    for number in range(30):
        room.thread.history.append(message("user", f"{number} " + "x" * 40_000))
        await room.review()
        longest = max(longest, len(orjson.dumps(room.model.requests[-1])))
    assert longest < 400_000
    assert any(len(request["input"]) == 1 for request in room.model.requests[1:])


async def test_a_review_that_failed_leaves_nothing_in_the_conversation(room: Room) -> None:
    room.model.script(status(400))
    assert (await room.review()).failure is not None
    room.model.script(allow())
    assert (await room.review()).approved
    assert len(room.model.requests[1]["input"]) == 1


async def test_reviews_beside_each_other_begin_with_the_same_conversation(room: Room) -> None:
    room.model.script(allow())
    await room.review()
    opens = anyio.Event()
    room.model.script(gate(opens), allow())
    room.model.script(gate(opens), allow())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.review)
        tasks.start_soon(room.review)
        await room.model.wait_for_requests(3)
        opens.set()
    assert room.model.requests[1]["input"] == room.model.requests[2]["input"]
    assert room.thread.statuses == ["approved"] * 3
    room.model.script(allow())
    await room.review()
    assert [entry["role"] for entry in room.model.requests[3]["input"]] == ["user", "assistant"] * 2 + ["user"]


async def test_a_full_context_window_is_met_by_a_new_conversation(room: Room) -> None:
    room.model.script(allow())
    await room.review()
    refusal = {"error": {"code": "context_length_exceeded", "message": "too long"}}
    room.model.script(status(400, refusal))
    room.model.script(allow())
    assert (await room.review()).approved
    assert [len(request["input"]) for request in room.model.requests] == [1, 3, 1]


async def test_what_the_running_turn_has_added_is_shown(room: Room) -> None:
    room.thread.history = [message("user", "one")]
    room.thread.unsaved = [
        orjson.dumps({"type": "function_call_output", "call_id": "c", "output": "out"}),
        message("developer", "<approved_action>\nThe user allows it."),
    ]
    room.model.script(allow())
    await room.review()
    request = shown(room.model.requests[0])
    assert "[2] tool unknown result: out\n" in request
    assert ">>> USER APPROVALS START\n<approved_action>\nThe user allows it." in request


async def test_the_reviewer_looks_so_often_and_then_has_to_decide(room: Room) -> None:
    looked: list[tuple[str, str | None]] = []

    async def investigate(script: str, folder: str | None) -> str:
        looked.append((script, folder))
        return "nothing to see"

    room.asks(investigate=investigate)
    room.model.default = lambda _: [tool_call("exec_command", {"cmd": "ls", "workdir": "src"})]
    verdict = await room.review()
    assert verdict.failure == "the reviewer went on looking instead of deciding"
    assert looked == [("ls", "src")] * (LOOKS * 3)
    offered = [bool(request["tools"]) for request in room.model.requests]
    assert offered[: LOOKS * 2 + 1] == [True] * LOOKS + [False] * (LOOKS + 1)
    assert "Decide by what you know." in str(room.model.requests[LOOKS + 1]["input"][-1])


async def test_without_a_way_to_look_no_tool_is_offered(room: Room) -> None:
    room.model.script(tool_call("exec_command", {"cmd": "ls"}))
    room.model.script(allow())
    assert (await room.review()).approved
    assert room.model.requests[0]["tools"] == []
    assert room.model.requests[1]["input"][-1]["output"] == "unsupported call: exec_command"


async def test_the_deadline_is_for_all_attempts_together(room: Room) -> None:
    room.thread.review_seconds = 1.0
    room.model.script(status(500, headers={"retry-after": "0"}))
    room.model.script(say("Let me think."), gate(anyio.Event()))
    verdict = await room.review()
    assert verdict.status == "timedOut"
    assert len(room.model.requests) == 2
    assert room.thread.warnings == ["Automatic approval review timed out while evaluating the requested approval."]


async def test_a_turn_that_is_over_has_nothing_reviewed(room: Room) -> None:
    room.thread.over.add("turn")
    assert (await room.review()).status == "aborted"
    assert (room.thread.events, room.model.requests) == ([], [])


async def test_a_yes_that_comes_after_the_end_is_none(room: Room) -> None:
    opens = anyio.Event()
    room.model.script(gate(opens), allow())
    verdicts: list[Verdict] = []

    async def review() -> None:
        verdicts.append(await room.review())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(review)
        await room.model.wait_for_requests(1)
        room.thread.over.add("turn")
        opens.set()
    assert verdicts[0].status == "aborted"
    assert room.thread.statuses == ["aborted"]
    assert room.thread.warnings == []


async def test_withdrawing_aborts_every_review_that_runs(room: Room) -> None:
    for _ in range(2):
        room.model.script(gate(anyio.Event()), allow())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.review)
        tasks.start_soon(room.review)
        await room.model.wait_for_requests(2)
        room.guardian.withdraw()
        # The end of a turn comes right after this.
        assert room.thread.statuses == ["aborted"] * 2
    assert room.thread.statuses == ["aborted"] * 2
    room.model.script(allow())
    assert (await room.review()).approved


async def test_a_review_that_is_cancelled_from_outside_says_so(room: Room) -> None:
    room.model.script(gate(anyio.Event()), allow())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.review)
        await room.model.wait_for_requests(1)
        tasks.cancel_scope.cancel()
    assert room.thread.statuses == ["aborted"]


async def test_ten_denials_among_fifty_reviews_stop_the_turn(room: Room) -> None:
    for number in range(19):
        assert room.thread.given_up == []
        room.model.script(deny() if number % 2 == 0 else allow())
        await room.review()
    assert room.thread.given_up == ["turn"]
    assert room.thread.warnings[-1] == (
        "Automatic approval review rejected too many approval requests for this turn (1 consecutive, 10 in the last 50 "
        "reviews); interrupting the turn."
    )


async def test_old_denials_are_forgotten_and_each_turn_begins_afresh(room: Room) -> None:
    for turn in ("one", "two"):
        for _ in range(2):
            room.model.script(deny())
            await room.review(turn)
    for number in range(200):
        room.model.script(deny() if number % 6 == 0 else allow())
        await room.review("three")
    assert room.thread.given_up == []
