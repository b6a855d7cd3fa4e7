"""Unified diffs: right, like those of other tools, and never slow."""

import difflib
import random
from collections.abc import Sequence

import pytest

from app_server.tools.diffs import opcodes, unified_diff


def test_a_change_is_shown_with_its_surroundings() -> None:
    old = "".join(f"{number}\n" for number in range(1, 21))
    new = old.replace("5\n", "five\n", 1).replace("16\n", "")
    assert unified_diff(old, new, 1) == "@@ -4,3 +4,3 @@\n 4\n-5\n+five\n 6\n@@ -15,3 +15,2 @@\n 15\n-16\n 17\n"


def test_near_changes_share_a_hunk() -> None:
    assert unified_diff("a\nb\nc\nd\n", "A\nb\nc\nD\n", 1) == "@@ -1,4 +1,4 @@\n-a\n+A\n b\n c\n-d\n+D\n"
    assert unified_diff("a\nb\nc\nd\ne\n", "A\nb\nc\nd\nE\n", 1).count("@@ -") == 2


@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        ("", "", ""),
        ("a\n", "a\n", ""),
        ("", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"),
        ("a\nb\n", "", "@@ -1,2 +0,0 @@\n-a\n-b\n"),
        ("a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"),
        ("a\nb", "a\nc", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"),
        ("a\r\nb\r\n", "a\r\nB\r\n", "@@ -1,2 +1,2 @@\n a\r\n-b\r\n+B\r\n"),
        ("a\x0cb\n", "a\x0cc\n", "@@ -1 +1 @@\n-a\x0cb\n+a\x0cc\n"),
    ],
)
def test_the_ends_of_files_are_shown_as_git_shows_them(old: str, new: str, diff: str) -> None:
    assert unified_diff(old, new, 3) == diff


@pytest.mark.parametrize("context", [0, 1, 3])
def test_small_texts_give_what_difflib_gives(context: int) -> None:
    chance = random.Random(5)
    for _ in range(200):
        old = [f"{chance.randrange(10**6)}\n" for _ in range(chance.randrange(30))]
        new = [line for line in old if chance.random() > 0.1]
        for _ in range(chance.randrange(4)):
            new.insert(chance.randrange(len(new) + 1), f"new {chance.random()}\n")
        expected = list(difflib.unified_diff(old, new, n=context))[2:]
        assert unified_diff("".join(old), "".join(new), context) == "".join(expected)


def replayed(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """What the opcodes make of the old lines; they must fit together and be true."""
    made: list[str] = []
    at_old = at_new = 0
    for same, old_from, old_to, new_from, new_to in opcodes(old, new):
        assert (old_from, new_from) == (at_old, at_new)
        assert not same or old[old_from:old_to] == new[new_from:new_to]
        at_old, at_new = old_to, new_to
        made += old[old_from:old_to] if same else new[new_from:new_to]
    assert (at_old, at_new) == (len(old), len(new))
    return made


@pytest.mark.parametrize(
    "words", [["a", "b"], [str(number) for number in range(40)], [str(number) for number in range(10**6)]]
)
def test_large_texts_are_divided_and_still_right(words: list[str]) -> None:
    chance = random.Random(7)
    old = [chance.choice(words) for _ in range(3000)]
    new = [line if chance.random() < 0.9 else chance.choice(words) for line in old if chance.random() < 0.95]
    assert replayed(old, new) == new


def test_far_edits_of_a_large_file_stay_small() -> None:
    old = [f"line {number}" for number in range(20_000)]
    new = [*old[:10], "new", *old[11:15_000], *old[15_001:]]
    assert [code for code in opcodes(old, new) if not code[0]] == [
        (False, 10, 11, 10, 11),
        (False, 15_000, 15_001, 15_000, 15_000),
    ]
