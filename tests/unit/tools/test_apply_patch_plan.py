"""What a patch comes to on real files: in full, or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from app_server.sandbox.guarded_files import FileProblem, GuardedFiles, Place
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile
from app_server.tools.patch import parse
from app_server.tools.patch_plan import PatchPlan, PlanError, plan
from protocol.v2.item import AddPatchChangeKind, DeletePatchChangeKind, FileUpdateChange, UpdatePatchChangeKind


def planned(cwd: Path, *lines: str, profile: PermissionProfile = FULL_ACCESS) -> PatchPlan:
    text = "\n".join(["*** Begin Patch", *lines, "*** End Patch"])
    return plan(parse(text), str(cwd), GuardedFiles(profile), check=lambda _: None)


def apply(cwd: Path, *lines: str) -> PatchPlan:
    result = planned(cwd, *lines)
    GuardedFiles(FULL_ACCESS).write(result.writes)
    return result


def refusal(cwd: Path, *lines: str) -> str:
    """What the model is told of a patch that does not fit; the files stay as they are."""
    before = contents(cwd)
    with pytest.raises((PlanError, FileProblem)) as raised:
        apply(cwd, *lines)
    assert contents(cwd) == before
    return str(raised.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_of_change_is_made_and_shown(tmp_path: Path) -> None:
    (tmp_path / "changed").write_text("1\n2\n3\n4\n5\n")
    (tmp_path / "gone").write_text("bye\n")
    (tmp_path / "from").write_text("a\nb\n")
    result = apply(
        tmp_path,
        "*** Add File: new/deep",
        "+x",
        "*** Update File: changed",
        "@@",
        "-3",
        "+three",
        "*** Update File: from",
        "*** Move to: sub/to",
        "@@",
        "-b",
        "*** Delete File: gone",
    )
    assert contents(tmp_path) == {"new/deep": b"x\n", "changed": b"1\n2\nthree\n4\n5\n", "sub/to": b"a\n"}
    target = str(tmp_path / "sub" / "to")
    assert result.changes == [
        FileUpdateChange(
            path=str(tmp_path / "changed"), kind=UpdatePatchChangeKind(), diff="@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n"
        ),
        FileUpdateChange(
            path=str(tmp_path / "from"),
            kind=UpdatePatchChangeKind(move_path=target),
            diff=f"@@ -1,2 +1 @@\n a\n-b\n\n\nMoved to: {target}",
        ),
        FileUpdateChange(path=str(tmp_path / "gone"), kind=DeletePatchChangeKind(), diff="bye\n"),
        FileUpdateChange(path=str(tmp_path / "new" / "deep"), kind=AddPatchChangeKind(), diff="x\n"),
    ]
    assert result.summary == ("Success. Updated the following files:\nA new/deep\nM changed\nM sub/to\nD gone\n")


def test_one_bad_hunk_and_nothing_is_changed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("1\n2\n")
    said = refusal(
        tmp_path,
        "*** Update File: a",
        "-1",
        "+one",
        "*** Add File: c",
        "+x",
        "*** Update File: b",
        "@@",
        "-1",
        "@@",
        "-3",
    )
    assert said == (f"{tmp_path}/b: hunk 2 (line 10 of the patch): these lines were not found. Sought:\n3")


def test_paths_are_absolute_or_relative_to_the_folder(tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    result = apply(cwd, f"*** Add File: {tmp_path}/abs", "*** Add File: ../rel", "*** Add File: ./a/../b")
    assert set(contents(tmp_path)) == {"abs", "rel", "cwd/b"}
    assert result.added == [f"{tmp_path}/abs", "../rel", "./a/../b"]
    assert "is not a folder" in refusal(tmp_path / "none", "*** Add File: x")


def test_a_file_that_is_written_anew_is_shown_as_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    result = apply(tmp_path, "*** Add File: a", "+2")
    assert [(change.kind, change.diff) for change in result.changes] == [
        (UpdatePatchChangeKind(), "@@ -1 +1 @@\n-1\n+2\n")
    ]
    assert result.modified == ["a"]


def test_updates_of_one_file_come_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n2\n3\n")
    apply(tmp_path, "*** Update File: a", "-1", "+one", "*** Update File: ./a", "*** Move to: b", "-3", "+three")
    assert contents(tmp_path) == {"b": b"one\n2\nthree\n"}


@pytest.mark.parametrize(
    "lines",
    [
        ["*** Add File: a", "+1", "*** Add File: a", "+2"],
        ["*** Delete File: a", "*** Add File: ./a", "+2"],
        ["*** Update File: a", "-1", "*** Delete File: a"],
        ["*** Update File: a", "*** Move to: b", "*** Update File: a", "-1"],
    ],
)
def test_other_sections_about_one_file_are_refused(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a").write_text("1\n")
    assert "only updates of the same file can be given twice" in refusal(tmp_path, *lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["*** Update File: a", "*** Move to: b", "*** Add File: b", "+x"],
        ["*** Update File: a", "*** Move to: b", "*** Update File: c", "*** Move to: ./b"],
        ["*** Update File: a", "*** Move to: c", "*** Delete File: c"],
    ],
)
def test_a_new_name_belongs_to_one_section(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "c").write_text("2\n")
    assert "another part of the patch is about" in refusal(tmp_path, *lines)


def test_what_does_not_exist_cannot_be_changed(tmp_path: Path) -> None:
    assert refusal(tmp_path, "*** Update File: a", "-1") == f"{tmp_path}/a cannot be updated: it does not exist"
    assert refusal(tmp_path, "*** Delete File: a") == f"{tmp_path}/a cannot be deleted: it does not exist"


def test_a_file_is_not_moved_over_another(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("2\n")
    assert "cannot be moved" in refusal(tmp_path, "*** Update File: a", "*** Move to: b")
    apply(tmp_path, "*** Update File: a", "*** Move to: ./a", "-1", "+2")
    assert contents(tmp_path) == {"a": b"2\n", "b": b"2\n"}


def test_a_moved_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "a").chmod(0o755)
    apply(tmp_path, "*** Update File: a", "*** Move to: b", "-1", "+2")
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o755


def test_folders_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1\n")
    for lines in (
        ["*** Delete File: sub"],
        ["*** Add File: sub", "+x"],
        ["*** Update File: sub", "-x"],
        ["*** Update File: a", "*** Move to: sub"],
    ):
        assert "sub is a folder" in refusal(tmp_path, *lines)


def test_binary_files_can_go_and_move_but_not_be_edited(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0\1\n")
    (tmp_path / "b").write_bytes(b"\0\1\n")
    assert "it is a binary file" in refusal(tmp_path, "*** Update File: a", "-x")
    result = apply(tmp_path, "*** Delete File: a", "*** Update File: b", "*** Move to: c")
    assert contents(tmp_path) == {"c": b"\0\1\n"}
    assert result.changes[0].diff == ""


def test_bytes_that_are_no_utf_8_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9\nx\n")
    result = apply(tmp_path, "*** Update File: a", "-x", "+y")
    assert contents(tmp_path) == {"a": b"caf\xe9\ny\n"}
    assert result.changes[0].diff == "@@ -1,2 +1,2 @@\n caf\ufffd\n-x\n+y\n"


def test_an_update_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    result = planned(tmp_path, "*** Update File: a", " 1")
    assert (result.writes, result.changes[0].diff, result.modified) == ([], "", ["a"])


def test_a_link_is_changed_where_it_leads_and_removed_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("1\n")
    for name in ("changed", "gone", "from"):
        (tmp_path / name).symlink_to("target")
    apply(tmp_path, "*** Update File: changed", "-1", "+2", "*** Delete File: gone")
    assert (tmp_path / "changed").is_symlink()
    assert (tmp_path / "target").read_text() == "2\n"
    apply(tmp_path, "*** Update File: from", "*** Move to: to", "-2", "+3")
    assert not (tmp_path / "to").is_symlink()
    assert (tmp_path / "target").read_text() == "2\n"
    assert sorted(os.listdir(tmp_path)) == ["changed", "target", "to"]


def test_every_place_is_checked_before_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    seen: list[str] = []

    class Stop(Exception):
        pass

    def stop(places: Sequence[Place]) -> None:
        seen.extend(place.real for place in places)
        raise Stop

    text = (
        "*** Begin Patch\n*** Add File: x\n*** Delete File: a\n*** Update File: a/c\n*** Move to: d\n-1\n*** End Patch"
    )
    with pytest.raises(Stop):
        plan(parse(text), str(tmp_path), GuardedFiles(FULL_ACCESS), check=stop)
    assert seen == [f"{tmp_path}/{name}" for name in ("x", "a", "d", "b/c")]


def test_what_is_denied_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("secret\n")
    denied = replace(FULL_ACCESS, denied=(str(tmp_path / "a"),))
    with pytest.raises(FileProblem, match="may not be read or changed"):
        planned(tmp_path, "*** Update File: a", "-guess", profile=denied)
