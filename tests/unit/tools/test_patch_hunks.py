"""Where the hunks of a patch belong in a file, and what of the file they leave as it is."""

import pytest

from app_server.tools.hunks import SOUGHT_LINES, HunkError, apply_hunks
from app_server.tools.patch import UpdateFile, parse

CODE = "class A:\n    def f():\n        pass\nclass B:\n    def f():\n        pass\n"


def applied(content: str, *lines: str) -> str:
    """The content after a patch with these lines."""
    (update,) = parse("\n".join(["*** Begin Patch", "*** Update File: a", *lines, "*** End Patch"])).sections
    assert isinstance(update, UpdateFile)
    return apply_hunks(content, update.hunks)


def refusal(content: str, *lines: str) -> str:
    """What the model is told."""
    with pytest.raises(HunkError) as raised:
        applied(content, *lines)
    return str(raised.value)


def test_lines_are_replaced_added_and_removed() -> None:
    assert applied("a\nb\nc\nd\n", " a", "-b", "+B", "+B2", " c", "-d") == "a\nB\nB2\nc\n"


def test_several_hunks_apply_in_order() -> None:
    assert applied("a\nb\nc\nd\ne\n", "@@", "-a", "+A", "@@", "-c", "@@", " e", "+f") == "A\nb\nd\ne\nf\n"


def test_equal_places_are_taken_one_after_the_other() -> None:
    assert applied("x\nx\nx\n", "@@", "-x", "+1", "@@", "-x", "+2") == "1\n2\nx\n"


def test_a_context_chooses_between_equal_places() -> None:
    assert applied(CODE, "@@ class B:", "-        pass", "+        ok") == CODE[::-1].replace("ssap", "ko", 1)[::-1]


def test_contexts_narrow_down_one_after_the_other() -> None:
    changed = applied(CODE, "@@ class B:", "@@     def f():", "-        pass", "+        ok")
    assert changed == CODE[::-1].replace("ssap", "ko", 1)[::-1]


def test_a_context_may_be_repeated_as_the_first_line() -> None:
    assert applied("a\nb\nc\n", "@@ a", " a", "-b") == "a\nc\n"


def test_a_context_may_be_the_beginning_of_its_line() -> None:
    assert applied("def f(x, y):\n    1\n", "@@ def f", "-    1", "+    2") == "def f(x, y):\n    2\n"


def test_lines_without_a_place_go_to_the_end() -> None:
    assert applied("a\nb\n", "+c") == "a\nb\nc\n"
    assert applied("", "+c") == "c\n"


def test_lines_with_only_a_context_go_below_it() -> None:
    assert applied("a\nb\nc\n", "@@ a", "+x") == "a\nx\nb\nc\n"
    assert applied("a\nb\nc\n", "@@ a", "+x", "*** End of File") == "a\nb\nc\nx\n"


def test_end_of_file_ties_a_hunk_to_the_end() -> None:
    assert applied("x\ny\nx\n", "-x", "+z", "*** End of File") == "x\ny\nz\n"
    assert "at the end of the file; they come before it" in refusal("x\ny\n", "-x", "*** End of File")


@pytest.mark.parametrize(
    "sought",
    [
        "    x = 'a - b'   ",
        "x = 'a - b'",
        "\tx  =  'a - b'",
        "x = \u2018a \u2013 b\u2019",
        "x\u00a0= 'a \u2212 b'",
    ],
)
def test_what_stands_in_the_file_is_found_with_other_white_space_and_signs(sought: str) -> None:
    assert applied("    x = 'a - b'\nend\n", f"-{sought}", "+y") in ("y\nend\n", "    y\nend\n")


def test_signs_of_the_file_are_found_by_plain_ones() -> None:
    assert applied("\u201cq\u201d \u2014 w\u2026\n", '-"q" - w...', "+x") == "x\n"


def test_an_exact_place_comes_before_a_loose_one() -> None:
    assert applied("  x\nx\n", "-x", "+y") == "  x\ny\n"


def test_lines_that_stay_keep_what_the_patch_has_differently() -> None:
    assert applied("\ta  \n\tb\n\tc\u2019s\n", " a", "-\tb", "+B", " c's") == "\ta  \nB\n\tc\u2019s\n"


def test_new_lines_get_the_indentation_that_the_patch_left_out() -> None:
    assert applied("    if a:\n        b()\n", " if a:", "-    b()", "+    c()", "+", "+    d()") == (
        "    if a:\n        c()\n\n        d()\n"
    )


def test_no_indentation_is_guessed_where_the_lines_disagree() -> None:
    # The model forgot the leading space of a line that stays; what it adds is right.
    assert (
        applied("    if a:\n        b()\n", "    if a:", "-        b()", "+        c()") == "    if a:\n        c()\n"
    )


def test_an_empty_line_at_the_end_of_a_hunk_need_not_be_there() -> None:
    assert applied("a\nb\n", "-a", "+A", "", "@@", "-b", "+B", "", "") == "A\nB\n"
    assert applied("a\n\nb\n", "-a", "", "-b") == "\n"


def test_an_empty_line_after_new_lines_says_not_where_they_go() -> None:
    assert applied("a\n\nb\n", "@@", "+x", "") == "a\n\nb\nx\n"


def test_files_with_carriage_returns_keep_them() -> None:
    assert applied("a\r\nb\r\nc\r\n", " a", "-b", "+B", "+B2", " c") == "a\r\nB\r\nB2\r\nc\r\n"
    assert applied("a\r\nb\r\n", "-a\r", "+A\r") == "A\r\nb\r\n"


def test_carriage_returns_of_the_patch_are_not_brought_into_the_file() -> None:
    assert applied("a\nb\n\n", "@@ a\r", "-b\r", "+B\r", "", "+c\r") == "a\nB\n\nc\n"
    assert applied("a\nb\n", "-b", "+B\r") == "a\nB\r\n"


def test_mixed_line_endings_stay_where_nothing_changes() -> None:
    assert applied("a\nb\r\nc\r\nd\n\re\r\n", "-b", "+B") == "a\nB\r\nc\r\nd\n\re\r\n"
    assert applied("a\nb\nc\r\n", "-c", "+C") == "a\nb\nC\n"


@pytest.mark.parametrize(
    ("before", "lines", "after"),
    [
        ("a\nb", ["-b", "+B"], "a\nB"),
        ("a\nb", [" b", "+c"], "a\nb\nc"),
        ("a\nb", ["-b"], "a"),
        ("a\nb", ["-a", "+A"], "A\nb"),
        ("a\r\nb", [" b", "+c"], "a\r\nb\r\nc"),
        ("a\nb\n", ["-b"], "a\n"),
        ("a", ["-a"], ""),
        ("\n", ["+x"], "\nx\n"),
    ],
)
def test_the_end_of_the_file_stays_with_or_without_a_newline(before: str, lines: list[str], after: str) -> None:
    assert applied(before, *lines) == after


def test_a_byte_order_mark_stays_and_hides_nothing() -> None:
    assert applied("\ufeffa\nb\n", "-a", "+A") == "\ufeffA\nb\n"


def test_other_separators_do_not_end_a_line() -> None:
    assert applied("a\x0bb\x0cc\u2028d\x85e\rf\nx\n", "-x", "+y") == "a\x0bb\x0cc\u2028d\x85e\rf\ny\n"


def test_a_hunk_that_fails_is_named_with_the_lines_that_were_sought() -> None:
    assert refusal("a\nb\n", "@@", "-a", "+A", "@@", " b", "-nope", "+yes") == (
        "hunk 2 (line 6 of the patch): these lines were not found. Sought:\nb\nnope"
    )


def test_a_context_that_is_missing_is_named() -> None:
    assert refusal("a\n", "@@ class X:", "-a") == (
        "hunk 1 (line 3 of the patch): the line after '@@' was not found. Sought:\nclass X:"
    )


def test_hunks_out_of_order_are_told_so() -> None:
    said = refusal("a\nb\nc\n", "@@", "-c", "@@", "-a")
    assert "hunk 2 (line 5 of the patch)" in said
    assert "hunks must be in the order of the file" in said
    assert "hunks must be in the order of the file" in refusal("a\nb\nc\n", "@@", "-c", "@@ a", "-b")


def test_only_so_many_of_the_sought_lines_are_shown() -> None:
    said = refusal("a\n", *(f"-{number}" for number in range(500)))
    assert said.endswith(f"\n{SOUGHT_LINES - 1}\n(and {500 - SOUGHT_LINES} more lines)")


def test_lines_that_no_longer_stand_together_are_not_found() -> None:
    assert "not found" in refusal("a\nx\nb\n", " a", "-b")


def test_nothing_is_found_in_an_empty_file() -> None:
    assert "not found" in refusal("", "-a")
    assert "not found" in refusal("", " ", "+a")
