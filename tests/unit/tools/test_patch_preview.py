"""A patch as clients see it while the model writes it."""

from typing import Any

import pytest

from app_server.tools import patch_preview
from app_server.tools.patch_preview import PatchPreviews
from protocol.v2.item import AddPatchChangeKind, DeletePatchChangeKind, FileUpdateChange, UpdatePatchChangeKind

ITEM = {"type": "custom_tool_call", "name": "apply_patch", "id": "ctc_1", "call_id": "call_1"}


class Told(list[list[FileUpdateChange]]):
    """What was published."""

    def publish(self, descriptor: Any, params: Any) -> None:
        assert descriptor.method == "item/fileChange/patchUpdated"
        assert (params.thread_id, params.turn_id, params.item_id) == ("thread", "turn", "call_1")
        self.append(params.changes)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def previews(told: Told) -> PatchPreviews:
    return PatchPreviews(told.publish, "thread", "turn", "/project")


def test_the_first_line_that_says_something_is_shown_at_once_and_the_whole_at_the_end(
    previews: PatchPreviews, told: Told
) -> None:
    previews.begin(ITEM)
    for piece in ("*** Begin Patch\n", "*** Add File: a\n", "+x\n", "+y\n*** Delete", " File: /b\n*** End Patch"):
        previews.delta("ctc_1", piece)
    assert told == [[FileUpdateChange(path="/project/a", kind=AddPatchChangeKind(), diff="")]]
    previews.end(ITEM)
    assert told[1:] == [
        [
            FileUpdateChange(path="/project/a", kind=AddPatchChangeKind(), diff="x\ny\n"),
            FileUpdateChange(path="/b", kind=DeletePatchChangeKind(), diff=""),
        ]
    ]


def test_every_complete_line_is_shown_where_time_allows(
    previews: PatchPreviews, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_preview, "INTERVAL", 0)
    previews.begin(ITEM)
    for line in ("*** Begin Patch", "*** Update File: a", "*** Move to: b", "@@ c", " d", "-e", "+f"):
        previews.delta("ctc_1", line)
        previews.delta("ctc_1", "\n")
    diffs = [changes[0].diff for changes in told]
    moved = "\n\nMoved to: /project/b"
    assert diffs == [
        "",
        moved,
        f"@@ c\n{moved}",
        f"@@ c\n d\n{moved}",
        f"@@ c\n d\n-e\n{moved}",
        f"@@ c\n d\n-e\n+f\n{moved}",
    ]
    assert told[-1][0].kind == UpdatePatchChangeKind(move_path="/project/b")


def test_other_tools_and_unknown_items_are_passed_over(previews: PatchPreviews, told: Told) -> None:
    previews.begin({**ITEM, "name": "other"})
    previews.begin({**ITEM, "type": "function_call"})
    previews.delta("ctc_1", "*** Begin Patch\n*** Delete File: a\n")
    previews.delta(None, "*** Begin Patch\n*** Delete File: a\n")
    previews.end(ITEM)
    assert told == []


def test_what_is_no_patch_is_not_shown(previews: PatchPreviews, told: Told) -> None:
    previews.begin(ITEM)
    previews.delta("ctc_1", "hello\n*** Delete File: a\n")
    previews.end(ITEM)
    assert told == []


def test_a_huge_patch_is_left_to_its_item(previews: PatchPreviews, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_preview, "LARGEST", 60)
    previews.begin(ITEM)
    previews.delta("ctc_1", "*** Begin Patch\n*** Add File: a\n")
    previews.delta("ctc_1", "+x\n" * 20)
    previews.end(ITEM)
    assert len(told) == 1
