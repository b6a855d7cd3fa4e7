"""Writing at once what a transport takes at once."""

from app_server.rpc.outbound import Frame, Outbound


async def test_what_does_not_fit_stays_first_in_the_queue() -> None:
    outbound = Outbound("line")
    written: list[bytes] = []

    def take_five(data: bytes) -> int:
        written.append(data[:5])
        return 5

    outbound.write_now = take_five
    outbound.push(Frame(None, b"0123456789"))
    outbound.flush()
    outbound.push(Frame(None, b"next"))
    assert written == [b"01234"]
    assert await outbound.take() == b"56789\nnext\n"
    assert outbound.queued_bytes == 0


async def test_a_busy_transport_leaves_everything_to_the_writer() -> None:
    outbound = Outbound("line")
    outbound.write_now = lambda data: 0
    outbound.push(Frame(None, b"one"))
    outbound.flush()
    assert await outbound.take() == b"one\n"


async def test_nothing_is_flushed_without_a_way_to() -> None:
    outbound = Outbound("line")
    outbound.push(Frame(None, b"one"))
    outbound.flush()
    assert outbound.queued_bytes == len(b"one\n")
