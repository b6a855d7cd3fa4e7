"""However a stream is cut into chunks, the messages are the same."""

import orjson
from aiohttp import WSMsgType
from aiohttp._websocket.reader_py import WebSocketReader
from hypothesis import given
from hypothesis import strategies as st

from app_server.rpc.connection import Oversized
from app_server.rpc.outbound import Frame, json_text, websocket_text
from app_server.transport.stdio import LineSplitter

LIMIT = 40
_lines = st.lists(st.binary(max_size=2 * LIMIT).map(lambda line: line.replace(b"\n", b"")), max_size=12)


def _expected(lines: list[bytes]) -> list[bytes | Oversized]:
    return [line if len(line) <= LIMIT else Oversized(len(line)) for line in lines]


def _fed(chunks: list[bytes]) -> list[bytes | Oversized]:
    splitter = LineSplitter(LIMIT)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()


@given(_lines, st.lists(st.integers(min_value=1, max_value=50)), st.binary(max_size=2 * LIMIT))
def test_any_chunking_gives_the_same_lines(lines: list[bytes], sizes: list[int], tail: bytes) -> None:
    tail = tail.replace(b"\n", b"")
    stream = b"".join(line + b"\n" for line in lines) + tail
    chunks: list[bytes] = []
    rest = stream
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    chunks.append(rest)
    assert _fed(chunks) == _expected(lines) + (_expected([tail]) if tail else [])


@given(_lines)
def test_one_byte_at_a_time_gives_the_same_lines(lines: list[bytes]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    assert _fed([stream[index : index + 1] for index in range(len(stream))]) == _expected(lines)


@given(_lines, st.integers(min_value=0))
def test_a_cut_at_every_byte_gives_the_same_lines(lines: list[bytes], seed: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cut = seed % (len(stream) + 1)
    assert _fed([stream[:cut], stream[cut:]]) == _expected(lines)


def test_a_line_that_is_too_long_is_never_kept() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1000):
        assert splitter.feed(b"x" * LIMIT) == []
        assert splitter.held_bytes <= LIMIT
    assert splitter.feed(b"\nshort\n") == [Oversized(1000 * LIMIT), b"short"]


class _Queue:
    """Where aiohttp's own reader puts what it understood."""

    _size = _limit = 0

    def __init__(self) -> None:
        self.frames: list[tuple[WSMsgType, bytes]] = []

    def feed_data(self, message: tuple[WSMsgType, bytes, str], size: int) -> None:
        self.frames.append((message[0], message[1]))


@given(
    st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65535, b"x" * 65536])))
)
def test_another_implementation_reads_the_websocket_frames_we_write(bodies: list[bytes]) -> None:
    queue = _Queue()
    reader = WebSocketReader(queue, 0, compress=False, decode_text=False)  # pyright: ignore[reportArgumentType]  # a stand-in
    reader.feed_data(b"".join(websocket_text(body) for body in bodies))
    assert queue.frames == [(WSMsgType.TEXT, body) for body in bodies]


@given(st.text(), st.integers(min_value=0))
def test_text_that_is_encoded_in_pieces_is_the_text(text: str, seed: int) -> None:
    cut = seed % (len(text) + 1)
    assert orjson.loads(b'"' + json_text(text[:cut]) + json_text(text[cut:]) + b'"') == text


def test_half_a_character_becomes_a_replacement_and_two_halves_the_character() -> None:
    assert orjson.loads(b'"' + json_text("a\ud83db") + b'"') == "a\N{REPLACEMENT CHARACTER}b"
    assert orjson.loads(b'"' + json_text("\ud83d\ude00") + b'"') == "\N{GRINNING FACE}"


def test_a_frame_is_framed_once_for_all_connections() -> None:
    frame = Frame("a", b"{}")
    assert frame.framed("line") is frame.framed("line")
    assert frame.framed("websocket") is frame.framed("websocket")
    assert (frame.framed("line"), frame.framed("websocket")) == (b"{}\n", b"\x81\x02{}")
