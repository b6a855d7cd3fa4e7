"""A client that stops reading: it is not cut, nobody feels it, and in the end it has the exact text."""

import base64
import os
import random
import signal
import socket
import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.daemon import PROGRAM
from tests.support.home import environment, make_home
from tests.support.rpc_client import Message, Predicate
from tests.support.scripted_model import Part, ScriptedModel, event, gate, partial, say, usage
from tests.support.stage import Stage, Transport, begin, completed_items, deltas, ended, of_turn, run_turn, set_stage

DELTAS = 5000
BURST = 250
WORDS = "a piece of text that is long enough to fill the buffers between the two programs; " * 6
UNREAD = 2 * DELTAS
"""Pieces that are together more than a kernel keeps for one connection (`net.ipv4.tcp_wmem`, 4 MiB)."""


class DeafClient:
    """A websocket by hand over a socket with a small buffer, so that not reading is felt at once."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""
        self.received: list[Message] = []

    @classmethod
    async def connect(cls, url: str) -> "DeafClient":
        if url.startswith("unix://"):
            made = socket.socket(socket.AF_UNIX)
            address: Any = url.removeprefix("unix://")
        else:
            host, port = url.removeprefix("ws://").rstrip("/").split(":")
            made = socket.socket()
            address = (host, int(port))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(address)
        stream = await anyio.abc.SocketStream.from_socket(made)
        client = cls(stream)
        key = base64.b64encode(os.urandom(16)).decode()
        await stream.send(
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        while b"\r\n\r\n" not in client._buffer:
            client._buffer += await stream.receive()
        head, _, client._buffer = client._buffer.partition(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n")[0], head
        return client

    async def send(self, message: Message) -> None:
        body = orjson.dumps(message)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))
        await self._stream.send(b"\x81\xfe" + struct.pack(">H", len(body)) + mask + masked)

    async def call(self, request_id: int, method: str, params: Message) -> Message:
        """The answer to a request; what comes before it is kept."""
        await self.send({"id": request_id, "method": method, "params": params})
        while True:
            message = await self.receive()
            if message.get("id") == request_id:
                return message

    async def receive(self) -> Message:
        """The next message; pings and the like do not come."""
        head = await self._take(2)
        assert head[0] == 0x81, head
        size = head[1]
        if size == 126:
            (size,) = struct.unpack(">H", await self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._take(8))
        message: Message = orjson.loads(await self._take(size))
        self.received.append(message)
        return message

    async def sip(self, count: int) -> None:
        """Read at least `count` bytes, without looking at them yet."""
        goal = len(self._buffer) + count
        while len(self._buffer) < goal:
            self._buffer += await self._stream.receive(1 << 16)

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await self._stream.receive(1 << 20)
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def __aenter__(self) -> "DeafClient":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stream.aclose()


async def deaf_follower(stage: Stage, thread: str) -> DeafClient:
    deaf = await DeafClient.connect(stage.daemon.url)
    info = {"name": "deaf", "title": None, "version": "1"}
    await deaf.call(1, "initialize", {"clientInfo": info, "capabilities": {"experimentalApi": True}})
    answer = await deaf.call(2, "thread/resume", {"threadId": thread, "excludeTurns": True})
    assert "result" in answer
    return deaf


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counts(message: Message) -> bool:
    """Whether every follower is told this at the same time: no text that may be merged, and no greeting."""
    return not message["method"].endswith("/delta") and message["method"] != "remoteControl/status/changed"


@pytest.mark.parametrize(("transport", "seconds"), [("unix", 0.5), ("ws", 10.0)])
async def test_a_client_that_stops_reading_disturbs_nobody_and_misses_no_text(
    tmp_path: Path, transport: Transport, seconds: float
) -> None:
    async with set_stage(tmp_path, transport) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        async with await deaf_follower(stage, thread) as deaf:
            bursts = [anyio.Event() for _ in range(UNREAD // BURST)]
            pieces = [f"{number} {WORDS}" for number in range(UNREAD)]
            stage.model.script(
                partial("", item_id="msg_slow"), *in_bursts(pieces, bursts), say("".join(pieces), item_id="msg_slow")
            )
            turn_id = await begin(client, thread)
            stopped = anyio.current_time()
            for number, burst in enumerate(bursts):
                burst.set()
                await client.until("item/agentMessage/delta", ends_with(pieces[number * BURST + BURST - 1]))
            turn = await ended(client, turn_id)
            assert turn["status"] == "completed"
            told = [m["params"]["delta"] for m in client.notifications("item/agentMessage/delta")]
            assert told == pieces
            text = "".join(pieces)
            assert completed_items(client, turn_id)[-1]["text"] == text
            after = await run_turn(client, thread, "and another")
            assert after["status"] == "completed"
            await anyio.sleep_until(stopped + seconds)

            while True:
                message = await deaf.receive()
                if message.get("method") == "turn/completed" and message["params"]["turn"]["id"] == after["id"]:
                    break
        late = [m for m in deaf.received if m.get("method") == "item/agentMessage/delta"]
        assert "".join(m["params"]["delta"] for m in late if m["params"]["itemId"] == "msg_slow") == text
        assert 0 < len(late) < UNREAD, "nothing was merged: the client was never behind"
        kept = [m for m in deaf.received if "method" in m and counts(m)]
        told_to_us = client.notifications()
        ours = [m for m in told_to_us[: told_to_us.index(message) + 1] if counts(m)]
        assert [m["method"] for m in kept] == [m["method"] for m in ours[len(ours) - len(kept) :]]
        assert kept == ours[len(ours) - len(kept) :]
        assert [m["method"] for m in kept if m["method"].startswith("turn/")] == ["turn/started", "turn/completed"] * 2


@pytest.mark.parametrize("seed", range(3))
async def test_a_client_that_falls_behind_again_and_again_gets_the_text_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with set_stage(tmp_path, "unix") as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        async with await deaf_follower(stage, thread) as deaf:
            bursts = [anyio.Event() for _ in range(30)]
            pieces = [f"{number} {WORDS}" for number in range(len(bursts) * BURST)]
            whole = "".join(pieces)
            parts = in_bursts(pieces, bursts)
            stage.model.script(partial("", item_id="msg_slow"), *parts, say(whole, item_id="msg_slow"))
            turn_id = await begin(client, thread)
            owed = 0
            for number, burst in enumerate(bursts):
                burst.set()
                await client.until("item/agentMessage/delta", ends_with(pieces[number * BURST + BURST - 1]))
                owed += BURST * len(WORDS)
                wanted = chance.choice([0, 0, 0, owed - 200_000, owed // 2])
                if wanted > 0:
                    await deaf.sip(wanted)
                    owed -= wanted
            await ended(client, turn_id)
            while (await deaf.receive()).get("method") != "turn/completed":
                pass
        late = [m["params"]["delta"] for m in deaf.received if m.get("method") == "item/agentMessage/delta"]
        assert "".join(late) == whole
        assert len(late) < len(pieces)


def in_bursts(pieces: list[str], bursts: list[anyio.Event]) -> Iterator[Part]:
    """Deltas of `msg_slow`, so many after each event."""
    for number, burst in enumerate(bursts):
        yield gate(burst)
        for piece in pieces[number * BURST : number * BURST + BURST]:
            yield event("response.output_text.delta", item_id="msg_slow", output_index=0, content_index=0, delta=piece)


def ends_with(piece: str) -> Predicate:
    return lambda params: params["delta"].endswith(piece)


async def test_many_silent_clients_take_bounded_memory(tmp_path: Path) -> None:
    async with set_stage(tmp_path) as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        text = "x" * 2_000_000
        async with AsyncExitStack() as silent:
            for _ in range(10):
                await silent.enter_async_context(await deaf_follower(stage, thread))
            before = memory(stage.daemon.pid)
            stage.model.script(say(text, deltas=DELTAS, item_id="msg_big"))
            turn_id = await begin(client, thread)
            await ended(client, turn_id)
            assert deltas(client, "msg_big") == text
            grown = memory(stage.daemon.pid) - before
        # Each silent client is owed the merged deltas and, with the rest, the completed item: twice the text. The
        # other half is for what a busy machine leaves unsent to the client that listens, and for the allocator.
        assert grown < (10 * 2 + 20) * len(text)
        assert (await run_turn(client, thread))["status"] == "completed"


async def test_a_client_on_stdio_gets_the_exact_text_of_a_pouring_answer(tmp_path: Path) -> None:
    async with set_stage(tmp_path, "stdio") as stage:
        client = await stage.client()
        thread = await stage.thread(client)
        text = "0123456789" * DELTAS
        stage.model.usage = usage(output=DELTAS)
        stage.model.script(say(text, deltas=DELTAS, item_id="msg_pipe"))
        turn_id = await begin(client, thread)
        await ended(client, turn_id)
        assert deltas(client, "msg_pipe") == text
        assert of_turn(client, turn_id)[-1]["method"] == "turn/completed"


class SilentProgram:
    """A client on stdio that writes and reads as little as it is told to."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._input = process, process.stdin
        self._output = BufferedByteReceiveStream(process.stdout)

    async def call(self, request_id: int, method: str, params: Message) -> Message:
        """The answer to a request."""
        await self._input.send(orjson.dumps({"id": request_id, "method": method, "params": params}) + b"\n")
        while True:
            message = await self.receive()
            if message.get("id") == request_id:
                return message

    async def receive(self) -> Message:
        """The next line."""
        return orjson.loads(await self._output.receive_until(b"\n", 1 << 30))


@asynccontextmanager
async def silent_program(home: Path) -> AsyncGenerator[SilentProgram]:
    argv = [*PROGRAM, "app-server"]
    async with await anyio.open_process(argv, env=environment(home), cwd=home, stderr=None) as process:
        try:
            program = SilentProgram(process)
            info = {"name": "silent", "title": None, "version": "1"}
            await program.call(1, "initialize", {"clientInfo": info})
            yield program
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize("end", ["reads again", "SIGTERM", "closes its input"])
async def test_a_client_on_stdio_that_stops_reading_holds_up_its_turn_and_nothing_else(
    tmp_path: Path, end: str
) -> None:
    async with ScriptedModel() as model:
        home = make_home(tmp_path / "home", model.url)
        async with silent_program(home) as program:
            answer = await program.call(2, "thread/start", {"cwd": str(tmp_path)})
            thread = answer["result"]["thread"]["id"]
            pieces = [f"{number} {WORDS}" for number in range(DELTAS)]
            whole = "".join(pieces)
            model.script(say(whole, deltas=DELTAS, item_id="msg_p"))
            given = {"threadId": thread, "input": [{"type": "text", "text": "a"}]}
            await program.call(3, "turn/start", given)
            if end == "SIGTERM":
                program.process.send_signal(signal.SIGTERM)
            elif end == "closes its input":
                assert program.process.stdin is not None
                await program.process.stdin.aclose()
            if end == "reads again":
                told: list[str] = []
                while (message := await program.receive()).get("method") != "turn/completed":
                    if message.get("method") == "item/agentMessage/delta":
                        told.append(message["params"]["delta"])
                assert message["params"]["turn"]["status"] == "completed"
                assert "".join(told) == whole
            else:
                assert await program.process.wait() == 0
