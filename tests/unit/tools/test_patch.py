"""The patch format: what is read, what is forgiven, and what an error says."""

from typing import Literal

import pytest

from app_server.tools.patch import (
    AddFile,
    DeleteFile,
    Hunk,
    HunkLine,
    PatchError,
    PatchReader,
    PatchStream,
    Section,
    UpdateFile,
    parse,
)


def body(*lines: str) -> str:
    """A patch with these lines in it."""
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"])


def sections(*lines: str) -> list[Section]:
    return list(parse(body(*lines)).sections)


def lines_of(*texts: str) -> list[HunkLine]:
    tags: dict[str, Literal[" ", "-", "+"]] = {" ": " ", "-": "-", "+": "+"}
    return [HunkLine(tags[text[0]], text[1:]) for text in texts]


def test_every_kind_of_section_is_read() -> None:
    assert sections(
        "*** Add File: new.txt",
        "+one",
        "+",
        "+ two",
        "*** Delete File: gone.txt",
        "*** Update File: a b.txt",
        "*** Move to: c.txt",
        "@@ def f():",
        " stays",
        "-goes",
        "+comes",
        "@@",
        "-last",
        "*** End of File",
    ) == [
        AddFile("new.txt", 2, ["one", "", " two"]),
        DeleteFile("gone.txt", 6),
        UpdateFile(
            "a b.txt",
            7,
            "c.txt",
            [
                Hunk(9, ["def f():"], lines_of(" stays", "-goes", "+comes")),
                Hunk(13, [], lines_of("-last"), at_end=True),
            ],
        ),
    ]


def test_a_new_file_ends_with_a_newline_unless_it_is_empty() -> None:
    full, empty = sections("*** Add File: a", "+x", "*** Add File: b")
    assert isinstance(full, AddFile)
    assert isinstance(empty, AddFile)
    assert (full.text, empty.text) == ("x\n", "")


def test_the_first_hunk_needs_no_marker() -> None:
    (update,) = sections("*** Update File: a", "-x", "+y", "@@", "-z")
    assert isinstance(update, UpdateFile)
    assert [hunk.lines for hunk in update.hunks] == [lines_of("-x", "+y"), lines_of("-z")]


def test_several_contexts_narrow_a_place_down() -> None:
    (update,) = sections("*** Update File: a", "@@ class A:", "@@     def f():", "-x")
    assert isinstance(update, UpdateFile)
    assert update.hunks == [Hunk(3, ["class A:", "    def f():"], lines_of("-x"))]


@pytest.mark.parametrize("marker", ["@@", "@@ ", "@@ -1,3 +1,4 @@", "@@ -1 +1 @@ def f():"])
def test_a_marker_without_a_line_of_the_file_is_no_context(marker: str) -> None:
    (update,) = sections("*** Update File: a", marker, "-x")
    assert isinstance(update, UpdateFile)
    assert update.hunks[0].contexts == []


def test_a_file_may_be_renamed_without_a_change() -> None:
    assert sections("*** Update File: a", "*** Move to: b") == [UpdateFile("a", 2, "b")]


def test_empty_lines_may_stand_between_sections_and_for_empty_lines_of_a_file() -> None:
    add, update, delete = sections(
        "",
        "*** Add File: a",
        "+x",
        "",
        "+y",
        "",
        "*** Update File: b",
        "",
        " s",
        "",
        "-t",
        "",
        "*** Delete File: c",
        "",
    )
    assert add == AddFile("a", 3, ["x", "", "y"])
    assert isinstance(update, UpdateFile)
    assert [line.text for line in update.hunks[0].lines] == ["s", "", "t", ""]
    assert [line.untagged for line in update.hunks[0].lines] == [False, True, False, True]
    assert delete == DeleteFile("c", 14)


@pytest.mark.parametrize(
    "text",
    [
        body("*** Delete File: a"),
        "\n  " + body("*** Delete File: a") + "  \n\n",
        body("  *** Delete File:   a  "),
        "<<'EOF'\n" + body("*** Delete File: a") + "\nEOF",
        "<<EOF\n" + body("*** Delete File: a") + "\nEOF\n",
        'apply_patch <<"END"\n' + body("*** Delete File: a") + "\nEND",
        "```\n" + body("*** Delete File: a") + "\n```",
        "```diff\n" + body("*** Delete File: a") + "\n\n```",
        body("*** Delete File: a").replace("\n", "\r\n"),
        body("*** Delete File: a") + "\n\n",
    ],
)
def test_what_surrounds_a_patch_is_passed_over(text: str) -> None:
    (section,) = parse(text).sections
    assert isinstance(section, DeleteFile)
    assert section.path == "a"


def test_carriage_returns_of_the_whole_patch_are_none_of_its_content() -> None:
    text = body("*** Add File: a", "+x", "*** Update File: b", "@@ c", "-y").replace("\n", "\r\n")
    assert list(parse(text).sections) == [
        AddFile("a", 2, ["x"]),
        UpdateFile("b", 4, None, [Hunk(5, ["c"], lines_of("-y"))]),
    ]


def test_single_carriage_returns_are_content() -> None:
    assert sections("*** Add File: a", "+x\r", "+y") == [AddFile("a", 2, ["x\r", "y"])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must be '*** Begin Patch'"),
        ("hello", "the first line must be '*** Begin Patch', not 'hello'"),
        (
            "*** Begin Patch\n*** Delete File: a",
            "the last line must be '*** End Patch'; the patch may have been cut off",
        ),
        (body(), "it changes nothing"),
        (body("what?"), "line 2: expected '*** Add File: PATH', '*** Update File: PATH'"),
        (body("*** Rename File: a"), "line 2: expected '*** Add File: PATH'"),
        (body("*** Add File: a", "x"), "line 3: expected a line of the new file, which begins with '+', not 'x'"),
        (body("*** Delete File: a", "-x"), "line 3: expected '*** Add File: PATH'"),
        (body("*** Update File: a", "x"), "line 3: expected a line that begins with ' ' (stays)"),
        (body("*** Update File: a", "@@", "-x", "=y"), "line 5: expected a line that begins with"),
        (body("*** Update File: a"), "line 2: the update of 'a' has no hunks and no new name"),
        (body("*** Update File: a", "@@"), "line 3: the hunk has no lines"),
        (body("*** Update File: a", "@@ x", "*** Delete File: b"), "line 3: the hunk has no lines"),
        (body("*** Update File: a", "*** End of File"), "line 3: expected the lines of a hunk before it"),
        (body("*** Update File: a", "-x", "*** End of File", "-y"), "line 5: expected '@@' or the next file"),
        (body("*** Update File: a", "-x", "*** Move to: b"), "line 4: expected '*** Add File: PATH'"),
        (body("*** Update File: a", "*** Move to: b", "*** Move to: c"), "line 4: expected '*** Add File: PATH'"),
        (body("*** Add File:"), "line 2: '*** Add File:' must be followed by the path of a file"),
        (body("*** Add File: a/"), "line 2: '*** Add File:' must be followed by the path of a file"),
        (body("*** Delete File: a\0b"), "line 2: '*** Delete File:' must be followed by the path of a file"),
        (body("*** Update File: a", "*** Move to: "), "line 3: '*** Move to:' must be followed by the path of a file"),
        (body("*** Delete File: a") + "\nmore", "line 4: expected nothing after '*** End Patch', not 'more'"),
    ],
)
def test_an_error_names_the_line_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(PatchError) as raised:
        parse(text)
    assert str(raised.value).startswith(said)


def test_an_error_shows_the_beginning_of_a_long_line() -> None:
    with pytest.raises(PatchError) as raised:
        parse(body("x" * 5000))
    assert str(raised.value).endswith("x...'")
    assert len(str(raised.value)) < 300


def test_a_streamed_patch_has_the_sections_of_its_complete_lines() -> None:
    stream = PatchStream()
    assert not stream.feed("*** Begin Patch")
    assert stream.feed("\n*** Add File: a\n+x")
    assert stream.sections == [AddFile("a", 2)]
    assert stream.feed("yz\n")
    assert stream.sections == [AddFile("a", 2, ["xyz"])]
    assert stream.feed("*** Update File: b\n@@ c\n-d\n")
    assert stream.sections[1] == UpdateFile("b", 4, None, [Hunk(5, ["c"], lines_of("-d"))])


def test_a_stream_that_is_no_patch_has_no_sections() -> None:
    stream = PatchStream()
    assert not stream.feed("hello\nworld\n")
    assert not stream.feed("*** Begin Patch\n*** Add File: a\n")
    assert stream.sections == []


def test_a_stream_keeps_what_came_before_its_first_fault() -> None:
    stream = PatchStream()
    stream.feed("*** Begin Patch\n*** Delete File: a\noops\n*** Delete File: b\n")
    assert stream.sections == [DeleteFile("a", 2)]


def test_a_reader_that_was_given_nothing_says_so() -> None:
    with pytest.raises(PatchError, match="it is empty"):
        PatchReader().finish()
