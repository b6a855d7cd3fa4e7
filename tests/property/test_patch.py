"""Patches of every kind: what is generated is applied exactly, garbage changes nothing, and a kill tears nothing."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app_server.sandbox.guarded_files import FileProblem, GuardedFiles
from app_server.sandbox.permissions import FULL_ACCESS
from app_server.tools.diffs import opcodes, split_lines, unified_diff
from app_server.tools.hunks import HunkError, apply_hunks
from app_server.tools.patch import HunkLine, PatchError, PatchStream, UpdateFile, parse
from app_server.tools.patch_command import intercept
from app_server.tools.patch_plan import PlanError, plan

_LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", " ", "x", "  x", "*** End Patch", "@@ x", "+x", "-x", "}"]
)
_LINES = st.lists(_LINE, max_size=30)


def _joined(lines: Sequence[str], ending: str, *, closed: bool) -> str:
    return ending.join(lines) + (ending if closed and lines else "")


@st.composite
def _contents_of_files(draw: st.DrawFn) -> str:
    return _joined(draw(_LINES), draw(st.sampled_from(["\n", "\r\n"])), closed=draw(st.booleans()))


@st.composite
def _edits(draw: st.DrawFn) -> tuple[str, str]:
    """A text and what some edits make of it, with the same line endings and the same end."""
    before = draw(_contents_of_files())
    ending = "\r\n" if "\r\n" in before else "\n"
    lines = before.split(ending)
    closed = lines[-1] == ""
    if closed:
        lines.pop()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines)))
        match draw(st.sampled_from(["add", "remove", "change"])):
            case "add":
                lines.insert(at, draw(_LINE))
            case "remove" if at < len(lines):
                del lines[at]
            case _ if at < len(lines):
                lines[at] = draw(_LINE)
            case _:
                pass
    while not closed and lines and lines[-1] == "":
        lines.pop()  # An empty line that has no newline is none.
    return before, _joined(lines, ending, closed=closed)


def _update(before: str, after: str) -> list[str]:
    """The lines of an update that has one hunk over the whole file, as a careful model would write it."""
    old, new = (split_lines(text.replace("\r\n", "\n")) for text in (before, after))
    lines = ["*** Update File: a", "@@"]
    for same, old_from, old_to, new_from, new_to in opcodes(old, new):
        if same:
            lines += [" " + line.removesuffix("\n") for line in old[old_from:old_to]]
        else:
            lines += ["-" + line.removesuffix("\n") for line in old[old_from:old_to]]
            lines += ["+" + line.removesuffix("\n") for line in new[new_from:new_to]]
    return lines


def _patch(lines: Sequence[str]) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"])


@given(_edits())
def test_an_update_makes_of_a_file_what_its_lines_say(edit: tuple[str, str]) -> None:
    before, after = edit
    lines = _update(before, after)
    if len(lines) == 2:
        return
    (section,) = parse(_patch(lines)).sections
    assert isinstance(section, UpdateFile)
    assert apply_hunks(before, section.hunks) == after


@given(_edits(), st.integers(0, 3))
def test_a_unified_diff_makes_the_one_text_of_the_other(edit: tuple[str, str], context: int) -> None:
    before, after = edit
    lines = split_lines(before)
    made: list[str] = []
    position = 0
    last = ""
    for line in unified_diff(before, after, context).split("\n")[:-1]:
        if line.startswith("@@ -"):
            begin, _, size = line.split()[1][1:].partition(",")
            start = int(begin) - (size != "0")
            made += lines[position:start]
            position = start
        elif line.startswith("\\"):
            made[-1:] = [made[-1].removesuffix("\n")] if made and last in " +" else made[-1:]
        else:
            position += line[0] in " -"
            made += [line[1:] + "\n"] if line[0] in " +" else []
        last = line[:1]
    assert "".join([*made, *lines[position:]]) == after


@given(st.lists(st.tuples(_LINE, st.booleans()), min_size=1), st.data())
def test_lines_without_change_stay_to_the_byte(marked: list[tuple[str, bool]], data: st.DataObject) -> None:
    endings = st.sampled_from(["\n", "\r\n"])
    lines = [(text, data.draw(endings)) for text, _ in marked]
    content = "".join(text + ending for text, ending in lines)
    sought = [HunkLine("-" if goes else " ", text) for text, goes in marked]
    (section,) = parse(_patch(["*** Update File: a", *(tag + text for tag, text, _ in sought)])).sections
    assert isinstance(section, UpdateFile)
    kept = "".join(text + ending for (text, ending), (_, goes) in zip(lines, marked, strict=True) if not goes)
    assert apply_hunks(content, section.hunks) == kept


_WORDS = st.sampled_from(
    [
        "*** Begin Patch",
        "*** End Patch",
        "*** Add File: a",
        "*** Add File: new/b",
        "*** Add File: keep/x",
        "*** Delete File: keep",
        "*** Delete File: none",
        "*** Update File: keep",
        "*** Update File: new/b",
        "*** Move to: a",
        "*** Move to: keep",
        "*** End of File",
        "*** Oops",
        "@@",
        "@@ one",
        " one",
        "-one",
        "-two",
        "+three",
        " ",
        "",
        "junk",
        "+\0",
        "```",
        "<<'EOF'",
        "EOF",
    ]
)
_GARBAGE = st.lists(_WORDS | _LINE, max_size=14).map("\n".join)


@given(_GARBAGE | _GARBAGE.map(lambda text: _patch([text])))
@settings(max_examples=300)
def test_a_patch_is_applied_or_leaves_everything_as_it_is(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "keep").write_text("one\ntwo\n")
        files = GuardedFiles(FULL_ACCESS)
        try:
            planned = plan(parse(text), folder, files, check=lambda _: None)
        except (PatchError, PlanError, FileProblem):
            assert _contents(root) == {"keep": b"one\ntwo\n"}
            return
        try:
            files.write(planned.writes)
        except FileProblem:
            assert _contents(root) == {"keep": b"one\ntwo\n"}
            assert not (root / "new").exists()
            return
        expected = {"keep": b"one\ntwo\n"}
        for write in planned.writes:
            name = os.path.relpath(write.place.real, root)
            expected.pop(name, None)
            if write.content is not None:
                expected[name] = write.content
        assert _contents(root) == expected


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(_GARBAGE, st.lists(st.integers(0, 200)))
def test_a_stream_reads_what_the_whole_text_reads(text: str, cuts: list[int]) -> None:
    text = f"*** Begin Patch\n{text}\n"
    whole, pieces = PatchStream(), PatchStream()
    whole.feed(text)
    bounds = [0, *sorted(cuts), len(text)]
    for begin, end in pairwise(bounds):
        pieces.feed(text[begin:end])
    assert pieces.sections == whole.sections


@given(st.text(max_size=200), _GARBAGE)
def test_no_text_is_too_strange_to_be_judged(content: str, text: str) -> None:
    intercept(text, "/project")
    intercept(["bash", "-lc", text], "/project")
    with suppress(PatchError, HunkError):
        for section in parse(text).sections:
            if isinstance(section, UpdateFile):
                apply_hunks(content, section.hunks)


_WRITER = """
import os, sys
from app_server.sandbox.guarded_files import FileWrite, GuardedFiles
from app_server.sandbox.permissions import FULL_ACCESS
files = GuardedFiles(FULL_ACCESS)
names = [os.path.join(sys.argv[1], name) for name in ("a", "b", "new/c")]
number = 0
while True:
    number += 1
    content = b"%d\\n" % number * 50_000
    writes = []
    for name in names:
        place = files.locate(name)
        writes.append(FileWrite(place, files.read(place), content))
    files.write(writes)
    if number == 2:
        print("ready", flush=True)
"""


def _sleepless(process: "subprocess.Popen[bytes]", reads: int) -> None:
    """Let the writer go on for a while that no clock decides."""
    for _ in range(reads):
        with suppress(OSError):
            os.stat(f"/proc/{process.pid}/stat")


@pytest.mark.parametrize("reads", [0, 50, 500, 1500, 4000, 9000])
def test_a_kill_leaves_each_file_whole(tmp_path: Path, reads: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        _sleepless(process, reads)
        process.send_signal(signal.SIGKILL)
    versions: list[int] = []
    for name in ("a", "b", "new/c"):
        lines = (tmp_path / name).read_bytes().split(b"\n")
        assert len(lines) == 50_001
        assert len(set(lines[:-1])) == 1
        versions.append(int(lines[0]))
    # They are replaced in order, so a later one is at most one behind.
    assert versions == sorted(versions, reverse=True)
    assert versions[0] - versions[-1] <= 1
