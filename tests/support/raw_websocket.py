"""A websocket client by hand, for frames that a well-behaved library does not send."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from anyio.streams.buffered import BufferedByteReceiveStream

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class RawWebSocket:
    """Sends frames as they are given. `head` answers the upgrade; with `dribble` it sends single bytes."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._incoming = BufferedByteReceiveStream(stream)
        self.head = ""
        self.dribble = False

    async def upgrade(self, headers: dict[str, str], path: str = "/") -> int:
        """Ask for the upgrade; gives the status of the answer."""
        fields = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        await self.send_bytes("\r\n".join(lines).encode())
        self.head = (await self._incoming.receive_until(b"\r\n\r\n", 65536)).decode()
        return int(self.head.split()[1])

    async def send_bytes(self, data: bytes) -> None:
        """Send any bytes."""
        size = 1 if self.dribble else len(data)
        for start in range(0, len(data), size or 1):
            await self._stream.send(data[start : start + size])

    async def send(self, payload: bytes, opcode: int = TEXT, *, final: bool = True, size: int | None = None) -> None:
        """Send one frame, masked with zeros. `size` declares another length than the payload's."""
        length = len(payload) if size is None else size
        first = (0x80 if final else 0) | opcode
        if length < 126:
            head = bytes((first, 0x80 | length))
        elif length < 1 << 16:
            head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
        await self.send_bytes(head + bytes(4))
        await self.send_bytes(payload)

    async def request(self, request_id: Any, method: str, params: Any = None) -> None:
        """Send a request."""
        await self.send(orjson.dumps({"id": request_id, "method": method, "params": params}))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises EndOfStream or IncompleteRead once the server has gone."""
        first, second = await self._incoming.receive_exactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._incoming.receive_exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._incoming.receive_exactly(8), "big")
        return first & 0x0F, await self._incoming.receive_exactly(size) if size else b""

    async def message(self) -> dict[str, Any]:
        """The next text frame, decoded."""
        opcode, payload = await self.receive()
        assert opcode == TEXT, (opcode, payload)
        return orjson.loads(payload)

    async def initialize(self) -> None:
        """Say hello."""
        await self.request("hello", "initialize", {"clientInfo": {"name": "raw", "version": "1"}})
        assert "result" in await self.message()

    async def vanish(self) -> None:
        """Close the socket without a word."""
        await self._stream.aclose()


@asynccontextmanager
async def raw_websocket(url: str, **headers: str) -> AsyncGenerator[RawWebSocket]:
    """Connect to `ws://127.0.0.1:PORT` or `unix:///PATH` and upgrade."""
    async with raw_connection(url) as raw:
        status = await raw.upgrade(headers)
        assert status == 101, raw.head
        yield raw


@asynccontextmanager
async def raw_connection(url: str) -> AsyncGenerator[RawWebSocket]:
    """Connect only."""
    if url.startswith("unix://"):
        stream: anyio.abc.SocketStream = await anyio.connect_unix(url.removeprefix("unix://"))
    else:
        host, _, port = url.removeprefix("ws://").rpartition(":")
        stream = await anyio.connect_tcp(host.strip("[]"), int(port))
    async with stream:
        yield RawWebSocket(stream)
