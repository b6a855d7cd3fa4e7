"""apply_patch as a tool: what is asked, what clients see, and what the model reads."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import orjson
import pytest

from app_server.approvals.approvals import Declined, TurnCancelled
from app_server.config.settings import Settings
from app_server.model.catalog import model_info
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile, read_only, workspace_write
from app_server.tools.apply_patch import ApplyPatchTool
from app_server.tools.context import ToolCall, ToolError, ToolOutput, TurnContext
from app_server.tools.patch_command import PatchCommand
from app_server.tools.registry import ToolRegistry
from protocol.v2.permissions import AskForApproval, GranularApproval, GranularAskForApproval

ADD = "*** Add File: new\n+x\n"
OUTSIDE = "*** Add File: ../outside\n+x\n"


@dataclass
class Log:
    """What clients are told and asked, in order. `answer` is raised to an asked question, if given."""

    told: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    answer: Exception | None = None
    granted: tuple[Any, ...] = ()

    async def started(self, item: Any) -> None:
        self.told.append(("started", item))

    async def completed(self, item: Any) -> None:
        self.told.append(("completed", item))

    def is_strict(self, turn_id: str) -> bool:
        return False

    async def ask_file_change(
        self, turn_id: str, item_id: str, paths: Sequence[str], *, reason: str | None, change: str, cwd: str
    ) -> None:
        assert (turn_id, item_id) == ("turn", "call_1")
        assert os.path.isabs(cwd)
        assert "*** Begin Patch" in change
        self.told.append(("asked", (list(paths), reason)))
        if self.answer is not None:
            raise self.answer

    def publish(self, descriptor: Any, params: Any) -> None:
        self.told.append((descriptor.method, params))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


class Bench:
    """The tool in a turn of a project in `cwd`."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.log = Log()
        self.tool = ApplyPatchTool([str(cwd / "hidden")])
        self.turn = self.with_turn("on-request")

    def with_turn(
        self, policy: AskForApproval, profile: PermissionProfile | None = None, model: str = "gpt-5.5"
    ) -> TurnContext:
        """Take a turn under other settings."""
        self.turn = TurnContext(
            thread_id="thread",
            turn_id="turn",
            cwd=str(self.cwd),
            base_profile=profile or workspace_write([str(self.cwd)], slash_tmp=False),
            approval_policy=policy,
            items=cast("Any", self.log),
            approvals=cast("Any", self.log),
            network=cast("Any", None),
            config=Settings(codex_home=self.cwd, model=model, model_provider="openai"),
            model=model_info(model),
            mode="default",
            publish=self.log.publish,
            tell_model=lambda _: None,
            interrupted=lambda: False,
        )
        return self.turn

    async def apply(self, body: str) -> ToolOutput:
        """Call the tool with a patch."""
        text = f"*** Begin Patch\n{body}*** End Patch"
        return await self.tool.run(ToolCall("call_1", "apply_patch", text, custom=True), self.turn)

    def files(self) -> dict[str, str]:
        folder = self.cwd.parent
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    cwd = tmp_path / "project"
    cwd.mkdir()
    return Bench(cwd)


async def test_a_patch_in_the_workspace_is_applied_without_a_question(bench: Bench) -> None:
    output = await bench.apply(ADD)
    assert output.success
    assert output.text.startswith(
        "Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nA new\n"
    )
    assert bench.files() == {"project/new": "x\n"}
    assert bench.log.kinds == ["started", "completed", "turn/diff/updated"]
    started, completed, diff = (what for _, what in bench.log.told)
    assert (started.id, started.status, started.completed_at_ms) == ("call_1", "inProgress", None)
    assert (completed.id, completed.status, completed.changes) == ("call_1", "completed", started.changes)
    assert completed.completed_at_ms >= started.started_at_ms
    assert (diff.thread_id, diff.turn_id) == ("thread", "turn")
    assert "+++ b/new\n@@ -0,0 +1 @@\n+x\n" in diff.diff


async def test_the_diff_is_of_all_patches_of_the_turn(bench: Bench) -> None:
    await bench.apply(ADD)
    await bench.apply("*** Add File: other\n+y\n")
    await bench.apply("*** Delete File: new\n")
    diffs = [what.diff for kind, what in bench.log.told if kind == "turn/diff/updated"]
    assert [diff.count("diff --git") for diff in diffs] == [1, 2, 1]
    await bench.apply("*** Delete File: other\n")
    assert bench.log.told[-1][1].diff == ""


async def test_a_patch_outside_of_the_workspace_is_asked_about(bench: Bench) -> None:
    output = await bench.apply(ADD + OUTSIDE)
    assert output.success
    outside = f"{bench.cwd.parent}/outside"
    assert bench.log.kinds == ["started", "asked", "completed", "turn/diff/updated"]
    assert bench.log.told[1][1] == ([outside], f"{outside}: it is outside of the writable folders")
    assert bench.files() == {"project/new": "x\n", "outside": "x\n"}


@pytest.mark.parametrize("policy", ["untrusted", "on-request"])
async def test_under_untrusted_every_file_is_asked_about(bench: Bench, policy: AskForApproval) -> None:
    bench.with_turn(policy, FULL_ACCESS)
    await bench.apply(ADD)
    questions = [what for kind, what in bench.log.told if kind == "asked"]
    assert questions == ([([f"{bench.cwd}/new"], None)] if policy == "untrusted" else [])
    assert bench.files() == {"project/new": "x\n"}


async def test_the_question_names_where_a_link_leads(bench: Bench) -> None:
    (bench.cwd / "link").symlink_to(bench.cwd.parent)
    await bench.apply("*** Add File: link/outside\n+x\n")
    paths, reason = bench.log.told[1][1]
    assert paths == [f"{bench.cwd.parent}/outside"]
    assert reason.startswith(f"{bench.cwd}/link/outside: it leads to {bench.cwd.parent}/outside: ")


def granular(*, sandbox_approval: bool) -> GranularAskForApproval:
    return GranularAskForApproval(
        granular=GranularApproval(sandbox_approval=sandbox_approval, rules=True, mcp_elicitations=True)
    )


@pytest.mark.parametrize("policy", ["never", granular(sandbox_approval=False)])
async def test_where_nobody_may_be_asked_the_model_is_told_what_it_may_change(
    bench: Bench, policy: AskForApproval
) -> None:
    bench.with_turn(policy)
    output = await bench.apply(ADD + OUTSIDE)
    assert not output.success
    assert output.text.startswith(
        f"patch rejected: {bench.cwd.parent}/outside may not be changed: it is outside of the writable folders, "
        "and the approval policy"
    )
    assert (bench.log.told, bench.files()) == ([], {})
    bench.with_turn(policy, read_only())
    assert "writing is blocked by the read-only sandbox" in (await bench.apply(ADD)).text


async def test_granular_may_ask_where_it_says_so(bench: Bench) -> None:
    bench.with_turn(granular(sandbox_approval=True))
    assert (await bench.apply(OUTSIDE)).success
    assert "asked" in bench.log.kinds


async def test_a_refused_patch_does_not_tell_whether_the_file_is_there(bench: Bench) -> None:
    bench.with_turn("never")
    (bench.cwd.parent / "outside").write_text("secret\n")
    texts = {(await bench.apply(f"*** Update File: ../outside\n-{guess}\n")).text for guess in ("secret", "other")}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Declined("rejected by user"), "patch rejected by user"),
        (Declined("approval request failed", by_user=False), "approval request failed"),
    ],
)
async def test_a_no_leaves_everything_as_it_is(bench: Bench, answer: Declined, text: str) -> None:
    bench.log.answer = answer
    output = await bench.apply(ADD + OUTSIDE)
    assert (output.text, output.success) == (text, False)
    assert bench.log.kinds == ["started", "asked", "completed"]
    assert bench.log.told[-1][1].status == "declined"
    assert bench.files() == {}


async def test_a_cancel_ends_the_turn_with_the_item_completed(bench: Bench) -> None:
    bench.log.answer = TurnCancelled()
    with pytest.raises(TurnCancelled):
        await bench.apply(OUTSIDE)
    assert bench.log.told[-1][1].status == "declined"
    assert bench.files() == {}


async def test_a_file_that_changes_while_the_question_is_open_is_not_overwritten(bench: Bench) -> None:
    (bench.cwd / "a").write_text("1\n")
    asked = anyio.Event()
    bench.with_turn("untrusted")

    async def answer_late(*_: Any, **__: Any) -> None:
        asked.set()
        (bench.cwd / "a").write_text("theirs\n")

    cast("Any", bench.log).ask_file_change = answer_late
    output = await bench.apply("*** Update File: a\n-1\n+2\n")
    assert asked.is_set()
    assert output.text.startswith("Exit code: 1\n")
    assert output.text.endswith(
        f"{bench.cwd}/a has changed since the patch was checked; read it again\nNothing was changed.\n"
    )
    assert bench.log.told[-1][1].status == "failed"
    assert bench.files() == {"project/a": "theirs\n"}


@pytest.mark.parametrize(
    "body",
    ["what?\n", "*** Update File: none\n-x\n", "*** Delete File: none\n", "*** Add File: .\n+x\n", ""],
)
async def test_a_patch_that_does_not_fit_has_no_item(bench: Bench, body: str) -> None:
    output = await bench.apply(body)
    assert output.text.startswith("apply_patch verification failed: ")
    assert (output.success, bench.log.told) == (False, [])


async def test_secrets_of_the_server_are_out_of_reach(bench: Bench) -> None:
    (bench.cwd / "hidden").write_text("key\n")
    output = await bench.apply("*** Update File: hidden\n-key\n")
    assert output.text == (
        f"patch rejected: {bench.cwd}/hidden may not be read or changed: it is a secret of the server."
    )
    bench.with_turn("untrusted")
    assert not (await bench.apply("*** Delete File: hidden\n")).success
    assert bench.log.told == []


async def test_an_update_without_a_change_tells_no_diff(bench: Bench) -> None:
    (bench.cwd / "a").write_text("1\n")
    output = await bench.apply("*** Update File: a\n 1\n")
    assert output.success
    assert bench.log.kinds == ["started", "completed"]


async def test_a_function_call_has_the_patch_in_its_input(bench: Bench) -> None:
    arguments = orjson.dumps({"input": f"*** Begin Patch\n{ADD}*** End Patch"}).decode()
    output = await bench.tool.run(ToolCall("call_1", "apply_patch", arguments), bench.turn)
    assert output.success
    assert bench.files() == {"project/new": "x\n"}
    for wrong in ("[]", "{}", '{"input": 1}', "nonsense"):
        with pytest.raises(ToolError, match="failed to parse function arguments"):
            await bench.tool.run(ToolCall("call_1", "apply_patch", wrong), bench.turn)


async def test_a_patch_found_in_a_command_is_answered_like_one(bench: Bench) -> None:
    sub = bench.cwd / "sub"
    sub.mkdir()
    call = ToolCall("call_1", "exec_command", "{}")
    text = f"*** Begin Patch\n{ADD}*** End Patch"
    output = await bench.tool.run_intercepted(PatchCommand(text, str(sub)), call, bench.turn)
    assert output.text.startswith("Wall time: 0.0")
    assert output.text.endswith(
        "Output:\nExit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nA new\n"
    )
    assert bench.files() == {"project/sub/new": "x\n"}
    output = await bench.tool.run_intercepted(PatchCommand("nonsense", str(sub)), call, bench.turn)
    assert output.text.startswith("apply_patch verification failed: the first line must be")


async def test_models_get_the_form_that_they_know(bench: Bench) -> None:
    registry = ToolRegistry([bench.tool])
    (freeform,) = registry.specs(bench.turn)
    assert (freeform["type"], freeform["format"]["syntax"]) == ("custom", "lark")
    for model in ("mock-model", "gpt-oss:20b"):
        (function,) = registry.specs(bench.with_turn("never", model=model))
        assert (function["type"], function["parameters"]["required"]) == ("function", ["input"])
        assert "*** Begin Patch" in function["description"]
