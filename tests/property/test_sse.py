"""An event stream means the same however the network cuts it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app_server.model import sse
from app_server.model.sse import EventTooLarge, SseParser

LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), min_size=1, max_size=20)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream with every freedom that the format gives, and the data of its events."""
    end = draw(LINE_ENDS)
    text, expected = draw(st.sampled_from(["", "\ufeff"])), list[bytes]()
    for _ in range(draw(st.integers(0, 4))):
        data = draw(st.lists(TEXT, min_size=1, max_size=3))
        lines = [f"data:{draw(st.sampled_from(['', ' ']))}{'x' if line.startswith(' ') else ''}{line}" for line in data]
        expected.append(b"\n".join((("x" if line.startswith(" ") else "") + line).encode() for line in data))
        for extra in draw(st.lists(st.sampled_from([":ping", "event: some.kind", "id: 4", "retry: 10"]), max_size=2)):
            lines.insert(draw(st.integers(0, len(lines))), extra)
        text += "".join(line + end for line in lines) + end * draw(st.integers(1, 3))
    return text.encode(), expected


def parsed(pieces: list[bytes]) -> list[bytes]:
    parser = SseParser()
    return [data for piece in pieces for data in parser.feed(piece)] + parser.finish()


@given(streams())
@example((b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]))
@example((b"\xef\xbb\xbfdata: a\r\rdata: b\r\r", [b"a", b"b"]))
def test_a_stream_cut_in_two_at_any_byte_yields_the_same_events(stream: tuple[bytes, list[bytes]]) -> None:
    data, expected = stream
    assert parsed([data]) == expected
    for at in range(len(data) + 1):
        assert parsed([data[:at], data[at:]]) == expected


@given(streams(), st.integers(1, 5))
def test_a_stream_in_small_pieces_yields_the_same_events(stream: tuple[bytes, list[bytes]], size: int) -> None:
    data, expected = stream
    assert parsed([data[start : start + size] for start in range(0, len(data), size)]) == expected


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_are_taken_without_an_exception(pieces: list[bytes]) -> None:
    whole = parsed([b"".join(pieces)])
    assert parsed(pieces) == whole


def test_a_line_of_many_megabytes_arrives_whole() -> None:
    parser, line = SseParser(), b"x" * (16 * 1024 * 1024)
    pieces = [b"data: ", *(line[start : start + 65536] for start in range(0, len(line), 65536)), b"\n", b"\n"]
    assert [data for piece in pieces for data in parser.feed(piece)] == [line]


def test_an_event_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = SseParser()
    parser.feed(b"data: " + b"x" * 60)
    with pytest.raises(EventTooLarge):
        parser.feed(b"x" * 60)


def test_an_event_without_data_and_a_comment_are_no_events() -> None:
    assert parsed([b": hello\n\nevent: ping\n\ndata\n\nid: 1\n\n"]) == []


def test_an_event_that_the_end_of_the_stream_cuts_is_given_last() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\n\ndata: b\n") == [b"a"]
    assert parser.finish() == [b"b"]
    assert parser.finish() == []
