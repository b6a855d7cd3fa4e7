"""Caps, head and tail, and character boundaries."""

from hypothesis import given
from hypothesis import strategies as st

from app_server.exec.output import DELTA_BYTES, Capped, HeadTail, Utf8Splitter


def test_a_cap_cuts_only_what_is_too_much() -> None:
    exact = Capped(5)
    exact.append(b"abc")
    exact.append(b"de")
    assert (exact.text(), exact.cut) == ("abcde", False)
    exact.append(b"f")
    assert (exact.text(), exact.cut) == ("abcde", True)


def test_a_cap_of_zero_keeps_nothing_and_no_cap_keeps_all() -> None:
    nothing = Capped(0)
    nothing.append(b"a")
    assert (nothing.text(), nothing.cut) == ("", True)
    everything = Capped(None)
    everything.append(b"a" * 3_000_000)
    assert (len(everything.text()), everything.cut) == (3_000_000, False)


def test_bytes_that_are_no_text_are_replaced() -> None:
    output = Capped(None)
    output.append(b"\xff\xfeabc\xc3")
    assert output.text() == "\ufffd\ufffdabc\ufffd"


def test_output_within_the_limit_is_kept_whole() -> None:
    output = HeadTail(10)
    output.append(b"01234")
    output.append(b"56789")
    assert (output.render(), output.omitted, output.total) == (b"0123456789", 0, 10)


def test_the_middle_of_longer_output_is_left_out_and_counted() -> None:
    output = HeadTail(10)
    for digit in range(30):
        output.append(b"%d" % (digit % 10))
    assert output.render() == b"01234\n... 20 bytes omitted ...\n56789"
    assert (output.omitted, output.total) == (20, 30)


@given(st.lists(st.binary(max_size=50)), st.integers(0, 60))
def test_head_and_tail_are_those_of_the_whole_output(chunks: list[bytes], limit: int) -> None:
    output = HeadTail(limit)
    for chunk in chunks:
        output.append(chunk)
    whole = b"".join(chunks)
    assert output.total == len(whole)
    assert output.omitted == max(0, len(whole) - limit)
    head, tail = whole[: limit // 2], whole[len(whole) - (limit - limit // 2) :]
    if len(whole) <= limit:
        assert output.render() == whole
    else:
        assert output.render() == head + b"\n... %d bytes omitted ...\n" % output.omitted + tail


@given(st.text(), st.lists(st.integers(0, 200)))
def test_text_cut_anywhere_comes_out_the_same(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    splitter = Utf8Splitter()
    deltas = [
        delta for start, end in zip(places, places[1:] or [0], strict=False) for delta in splitter.feed(data[start:end])
    ]
    assert "".join(deltas + splitter.finish()) == text


def test_an_unfinished_character_at_the_end_is_replaced() -> None:
    splitter = Utf8Splitter()
    assert splitter.feed(b"a\xe2\x82") == ["a"]
    assert splitter.finish() == ["\ufffd"]


@given(st.text(alphabet="aé€😀", min_size=1).map(lambda text: text * 3000))
def test_deltas_are_short_and_lose_nothing(text: str) -> None:
    splitter = Utf8Splitter()
    deltas = splitter.feed(text.encode())
    assert "".join(deltas) == text
    assert all(0 < len(delta.encode()) <= DELTA_BYTES for delta in deltas)


def test_after_the_limit_no_more_deltas_are_given_out() -> None:
    splitter = Utf8Splitter(limit=2)
    assert [splitter.feed(b"a"), splitter.feed(b"b"), splitter.feed(b"c"), splitter.finish()] == [["a"], ["b"], [], []]
