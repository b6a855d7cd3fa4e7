"""Whatever a slow client is sent, it ends with the exact text, in order, in bounded memory."""

from collections.abc import Iterator
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app_server.rpc.outbound import (
    LAGGING_BYTES,
    LOW_WATER_BYTES,
    OVERRUN_BYTES,
    WRITE_BYTES,
    DeltaStream,
    Frame,
    Framing,
    Outbound,
    notification_json,
)

ITEMS = ("a", "b", "c")
_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
_delta = st.tuples(st.just("delta"), st.sampled_from(ITEMS), _texts)
_marker = st.tuples(st.just("marker"), st.just(""), st.just(""))
_answer = st.tuples(st.just("answer"), st.just(""), st.just(""))
_events = st.lists(st.one_of(_delta, _delta, _marker, _answer), max_size=60)


def _push(outbound: Outbound, number: int, event: tuple[str, str, str]) -> None:
    kind, item, text = event
    if kind == "delta":
        outbound.push(DeltaStream("delta", {"itemId": item}).frame(text))
    elif kind == "marker":
        outbound.push(notification_json("marker", orjson.dumps({"number": number})))
    else:
        outbound.push(Frame(None, orjson.dumps({"id": number, "result": {}})))


async def _take_all(outbound: Outbound) -> list[dict[str, Any]]:
    outbound.close()
    data = b""
    while (part := await outbound.take()) is not None:
        data += part
    return [orjson.loads(body) for body in _bodies(data, outbound.framing)]


def _bodies(data: bytes, framing: Framing) -> Iterator[bytes]:
    if framing == "line":
        yield from data.splitlines()
        return
    while data:
        assert data[0] == 0x81
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        yield data[start : start + size]
        data = data[start + size :]


def _lagging(framing: Framing) -> Outbound:
    outbound = Outbound(framing, on_overrun=lambda: pytest.fail("this client is not that far behind"))
    outbound.push(Frame("filler", b'{"filler":"%b"}' % (b"x" * LAGGING_BYTES)))
    return outbound


@given(_events, st.sampled_from(("line", "websocket")))
def test_a_lagging_client_ends_with_the_exact_text_of_every_item(
    events: list[tuple[str, str, str]], framing: Framing
) -> None:
    outbound = _lagging(framing)
    for number, event in enumerate(events):
        _push(outbound, number, event)
    messages = anyio.run(_take_all, outbound)[1:]
    for item in ITEMS:
        said = "".join(text for kind, name, text in events if kind == "delta" and name == item)
        deltas = [message["params"] for message in messages if message.get("method") == "delta"]
        assert "".join(params["delta"] for params in deltas if params["itemId"] == item) == said


@given(_events)
def test_what_cannot_be_merged_is_all_there_and_in_order(events: list[tuple[str, str, str]]) -> None:
    outbound = _lagging("line")
    for number, event in enumerate(events):
        _push(outbound, number, event)
    messages = anyio.run(_take_all, outbound)[1:]
    kept = [
        message["id"] if "id" in message else message["params"]["number"]
        for message in messages
        if message.get("method") != "delta"
    ]
    assert kept == [number for number, (kind, _, _) in enumerate(events) if kind != "delta"]


@given(_events, _events)
def test_no_delta_overtakes_an_answer(before: list[tuple[str, str, str]], after: list[tuple[str, str, str]]) -> None:
    outbound = _lagging("line")
    events = [*before, ("answer", "", ""), *after]
    for number, event in enumerate(events):
        _push(outbound, number, event)
    messages = anyio.run(_take_all, outbound)[1:]
    place = next(index for index, message in enumerate(messages) if message.get("id") == len(before))
    for part, pushed in ((messages[:place], before), (messages[place:], after)):
        for item in ITEMS:
            said = "".join(text for kind, name, text in pushed if kind == "delta" and name == item)
            got = [message["params"] for message in part if message.get("method") == "delta"]
            assert "".join(params["delta"] for params in got if params["itemId"] == item) == said


@given(st.lists(st.one_of(_delta, _marker, _answer, st.just(("take", "", ""))), max_size=60), st.booleans())
def test_taking_in_between_loses_and_doubles_nothing(events: list[tuple[str, str, str]], lagging: bool) -> None:
    async def run() -> list[dict[str, Any]]:
        outbound = _lagging("line") if lagging else Outbound("line")
        data = b""
        for number, event in enumerate(events):
            if event[0] != "take":
                _push(outbound, number, event)
            elif outbound.queued_bytes:
                data += await outbound.take() or b""
        outbound.close()
        while (part := await outbound.take()) is not None:
            data += part
        assert outbound.queued_bytes == 0
        return [orjson.loads(line) for line in data.splitlines()]

    messages = [message for message in anyio.run(run) if "filler" not in message]
    for item in ITEMS:
        said = "".join(text for kind, name, text in events if kind == "delta" and name == item)
        deltas = [message["params"] for message in messages if message.get("method") == "delta"]
        assert "".join(params["delta"] for params in deltas if params["itemId"] == item) == said
    rest = [message for message in messages if message.get("method") != "delta"]
    assert len(rest) == sum(kind in ("marker", "answer") for kind, _, _ in events)


@given(
    st.lists(st.one_of(_delta, _marker, _answer, st.sampled_from((("take", "", ""), ("flush", "", "")))), max_size=60),
    st.lists(st.integers(min_value=0, max_value=200)),
    st.booleans(),
)
@example([("delta", "a", "x"), ("answer", "", ""), ("take", "", ""), ("flush", "", "")], [], True)
def test_writing_at_once_in_part_or_not_at_all_loses_and_doubles_nothing(
    events: list[tuple[str, str, str]], accepts: list[int], lagging: bool
) -> None:
    async def run() -> bytes:
        outbound = _lagging("line") if lagging else Outbound("line")
        data, room = b"", iter(accepts)

        def write_now(part: bytes) -> int:
            nonlocal data
            fits = min(len(part), next(room, len(part)))
            data += part[:fits]
            return fits

        outbound.write_now = write_now
        for number, event in enumerate(events):
            if event[0] == "flush":
                outbound.flush()
            elif event[0] != "take":
                _push(outbound, number, event)
            elif outbound.queued_bytes:
                data += await outbound.take() or b""
        outbound.close()
        while (part := await outbound.take()) is not None:
            data += part
        assert outbound.queued_bytes == 0
        return data

    messages = [message for line in anyio.run(run).splitlines() if "filler" not in (message := orjson.loads(line))]
    for item in ITEMS:
        said = "".join(text for kind, name, text in events if kind == "delta" and name == item)
        deltas = [message["params"] for message in messages if message.get("method") == "delta"]
        assert "".join(params["delta"] for params in deltas if params["itemId"] == item) == said
    rest = [message for message in messages if message.get("method") != "delta"]
    assert len(rest) == sum(kind in ("marker", "answer") for kind, _, _ in events)


def test_deltas_for_a_silent_client_take_the_space_of_their_text_only() -> None:
    outbound = _lagging("websocket")
    stream = DeltaStream("item/agentMessage/delta", {"threadId": "t" * 36, "turnId": "u" * 36, "itemId": "i" * 36})
    before = outbound.queued_bytes
    for _ in range(10_000):
        outbound.push(stream.frame("word "))
    assert outbound.queued_bytes - before < 10_000 * len("word ") + 1000


def test_one_that_is_too_far_behind_is_told_once_and_takes_nothing_more() -> None:
    told: list[int] = []
    outbound = Outbound("websocket", on_overrun=lambda: told.append(outbound.queued_bytes))
    body = b'{"x":"%b"}' % (b"x" * (1024 * 1024))
    for _ in range(OVERRUN_BYTES // len(body) + 50):
        outbound.push(Frame("item/completed", body))
    assert len(told) == 1
    assert OVERRUN_BYTES < told[0] <= OVERRUN_BYTES + 2 * len(body)
    assert outbound.queued_bytes == told[0]


async def test_a_producer_waits_for_stdio_and_goes_on_at_low_water() -> None:
    outbound = Outbound("line")
    body = b'"%b"' % (b"x" * WRITE_BYTES)
    while outbound.queued_bytes <= LOW_WATER_BYTES + WRITE_BYTES:
        outbound.push(Frame("item/completed", body))
    went_on = anyio.Event()

    async def produce() -> None:
        await outbound.drained()
        went_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        await anyio.wait_all_tasks_blocked()
        assert not went_on.is_set()
        while outbound.queued_bytes > LOW_WATER_BYTES:
            await outbound.take()
        await went_on.wait()


async def test_a_producer_does_not_wait_for_a_client_that_has_gone() -> None:
    outbound = Outbound("line")
    outbound.push(Frame("item/completed", b"x" * 2 * LOW_WATER_BYTES))
    outbound.close()
    await outbound.drained()


async def test_taking_waits_for_the_next_message() -> None:
    outbound = Outbound("line")
    taken: list[bytes | None] = []

    async def take() -> None:
        taken.append(await outbound.take())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        assert taken == []
        outbound.push(Frame(None, b"{}"))
        outbound.push(Frame(None, b"[]"))
    assert taken == [b"{}\n[]\n"]


async def test_an_opted_out_notification_is_dropped_and_answers_are_not() -> None:
    outbound = Outbound("line")
    outbound.opted_out = frozenset({"noise"})
    outbound.push(Frame("noise", b'"noise"'))
    outbound.push(Frame("news", b'"news"'))
    outbound.push(Frame(None, b'"answer"'))
    assert await outbound.take() == b'"news"\n"answer"\n'


async def test_experimental_members_go_only_to_clients_with_the_capability() -> None:
    stripped: list[bytes] = []

    def strip(body: bytes) -> bytes:
        stripped.append(body)
        return b'"plain"'

    frame = Frame("news", b'"trial"', strip)
    plain, other, experimental = Outbound("line"), Outbound("line"), Outbound("line")
    experimental.experimental = True
    for outbound in (plain, other, experimental):
        outbound.push(frame)
    assert await plain.take() == await other.take() == b'"plain"\n'
    assert await experimental.take() == b'"trial"\n'
    assert stripped == [b'"trial"']


async def test_text_is_not_merged_into_what_stands_before_a_later_piece() -> None:
    """A client that catches up a little and falls behind again while a merged delta still waits."""
    outbound = Outbound("line")
    filler = Frame("filler", b'{"filler":"%b"}' % (b"x" * LAGGING_BYTES))
    outbound.push(filler)
    _push(outbound, 0, ("delta", "a", "merged "))
    await outbound.take()
    _push(outbound, 1, ("delta", "a", "plain "))
    outbound.push(filler)
    _push(outbound, 2, ("delta", "a", "merged again"))
    messages = await _take_all(outbound)
    assert [message["params"]["delta"] for message in messages if message.get("method") == "delta"] == [
        "merged ",
        "plain ",
        "merged again",
    ]
