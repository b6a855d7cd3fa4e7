"""How much of a command's output the model reads."""

from hypothesis import given
from hypothesis import strategies as st

from app_server.tools.command_report import cut_middle, tokens, within_budget
from app_server.tools.terminals import Unread


@given(st.text(max_size=300), st.integers(min_value=0, max_value=300))
def test_cutting_keeps_both_ends(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    if len(text) <= limit:
        assert cut == text
    else:
        head, tail = limit // 2, limit - limit // 2
        assert cut.startswith(text[:head])
        assert cut.endswith(text[len(text) - tail :])
        assert f"{len(text) - limit} characters" in cut


@given(st.text(alphabet="aä€😀\n", max_size=200), st.integers(min_value=0, max_value=60))
def test_a_budget_keeps_whole_characters_of_both_ends(text: str, budget: int) -> None:
    size = len(text.encode())
    shown = within_budget(Unread(text, size, text.count("\n")), budget)
    if size <= budget * 4:
        assert shown == text
        return
    head, _, tail = shown.partition("\n\n")[2].partition("…")
    count, _, tail = tail.partition(" tokens truncated…")
    assert text.startswith(head)
    assert text.endswith(tail)
    kept = len(head.encode()) + len(tail.encode())
    assert budget * 4 - 6 <= kept <= budget * 4
    assert int(count) == tokens(size - kept)


def test_tokens_are_counted_up() -> None:
    assert [tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]
