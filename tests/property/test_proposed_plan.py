"""A plan in a streamed message: however the text is cut, the same pieces come out, and nothing is lost."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app_server.threads.proposed_plan import CLOSING, OPENING, PlanSplitter, split

LINES = st.lists(
    st.sampled_from(
        [OPENING, CLOSING, f" {OPENING} ", f"x{OPENING}", f"{OPENING}x", "<proposed", "text", "", "  ", "# a"]
    ),
    max_size=12,
).map("\n".join)


def pieces(text: str, cuts: list[int]) -> dict[str, str]:
    splitter = PlanSplitter()
    found = {"message": "", "plan": ""}
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in pairwise(bounds):
        for part, piece in splitter.feed(text[start:end]):
            found[part] += piece
    for part, piece in splitter.finish():
        found[part] += piece
    return found


@given(LINES, st.lists(st.integers(0, 400), max_size=40))
def test_the_cuts_make_no_difference(text: str, cuts: list[int]) -> None:
    message, plan = split(text)
    assert pieces(text, cuts) == {"message": message, "plan": plan or ""}


@given(LINES)
def test_only_marker_lines_are_taken_away(text: str) -> None:
    found = pieces(text, [])
    left = [line for line in text.splitlines() if line.strip() not in (OPENING, CLOSING)]
    lines = [*found["message"].splitlines(), *found["plan"].splitlines()]
    kept = [line for line in lines if line.strip() not in (OPENING, CLOSING)]
    assert sorted(kept) == sorted(left)


def test_a_plan_stands_between_its_marker_lines() -> None:
    assert split("a\n<proposed_plan>\nb\n</proposed_plan>\nc") == ("a\nc", "b\n")
    assert split("a <proposed_plan>\nb") == ("a <proposed_plan>\nb", None)
    assert split("<proposed_plan>\nb") == ("", "b")
    assert split("<proposed_plan>\n</proposed_plan>") == ("", None)


def test_what_cannot_be_a_marker_is_not_held_back() -> None:
    splitter = PlanSplitter()
    assert list(splitter.feed("hello")) == [("message", "hello")]
    assert list(splitter.feed(" <pro")) == [("message", " <pro")]
    assert list(splitter.feed("\n<pro")) == [("message", "\n")]
    assert list(splitter.feed("fit>")) == [("message", "<profit>")]
