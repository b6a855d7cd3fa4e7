"""A client of the app-server over real pipes and sockets, which remembers everything that was said."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import anyio
import orjson
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

Message = dict[str, Any]
Predicate = Callable[[Any], bool]


class CallFailed(Exception):
    """The server answered with an error."""

    def __init__(self, error: Message) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class ConnectionClosed(Exception):
    """The server closed the connection while something was awaited."""


class RpcClient:
    """One connection. `log` holds each message with its direction, `>` sent and `<` received."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.log: list[tuple[Literal[">", "<"], Message]] = []
        self.received: list[Message] = []
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.closed = anyio.Event()
        self._write = write
        self._next_id = 1
        self._passed = 0
        self._news = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def stdio(
        cls, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> AsyncGenerator["StdioClient"]:
        """Start a program and talk to it over its pipes. At the end its input is closed and its exit awaited."""
        async with await anyio.open_process(argv, env=env, cwd=cwd, stderr=None) as process:
            client = StdioClient(process)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.read)
                    yield client
                    await client.finish()
                    tasks.cancel_scope.cancel()
            finally:
                if process.returncode is None:
                    process.kill()

    @classmethod
    @asynccontextmanager
    async def ws(cls, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator["WebSocketClient"]:
        """Connect to `ws://...` or, over a Unix socket, `unix:///PATH`."""
        path = url.removeprefix("unix://") if url.startswith("unix://") else None
        connector = None if path is None else aiohttp.UnixConnector(path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(
                "ws://localhost/" if path is not None else url, headers=headers, max_msg_size=0, compress=0
            ) as socket,
        ):
            client = WebSocketClient(socket)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.read)
                yield client
                tasks.cancel_scope.cancel()

    async def initialize(
        self, name: str = "tester", *, experimental: bool = True, opt_out: Sequence[str] = ()
    ) -> Message:
        """Say hello; gives the server's answer."""
        answer = await self.call(
            "initialize",
            {
                "clientInfo": {"name": name, "title": None, "version": "0.1.0"},
                "capabilities": {"experimentalApi": experimental, "optOutNotificationMethods": list(opt_out) or None},
            },
        )
        await self.notify("initialized")
        return answer

    async def call(self, method: str, params: Any = None) -> Any:
        """The result of a request. Raises CallFailed for an error."""
        answer = await self.try_call(method, params)
        if "error" in answer:
            raise CallFailed(answer["error"])
        return answer["result"]

    async def try_call(self, method: str, params: Any = None) -> Message:
        """The whole answer to a request, be it a result or an error."""
        return await self.answer_to(await self.post(method, params))

    async def post(self, method: str, params: Any = None) -> int:
        """Send a request and give its id without waiting."""
        request_id = self._next_id
        self._next_id += 1
        await self.send({"id": request_id, "method": method, **({} if params is None else {"params": params})})
        return request_id

    async def notify(self, method: str, params: Any = None) -> None:
        """Send a notification."""
        await self.send({"method": method, **({} if params is None else {"params": params})})

    async def respond(self, request: Message, result: Any) -> None:
        """Answer a request that the server made."""
        await self.send({"id": request["id"], "result": result})

    async def send(self, message: Message) -> None:
        """Send any object."""
        self.log.append((">", message))
        await self._write(orjson.dumps(message))

    async def send_raw(self, data: bytes) -> None:
        """Send what may be no JSON at all, as one line or frame."""
        await self._write(data)

    async def answer_to(self, request_id: int | str | None) -> Message:
        """Wait for the answer with this id."""
        return await self.wait_for(lambda message: "method" not in message and message.get("id") == request_id)

    async def until(self, method: str, predicate: Predicate | None = None) -> Message:
        """Wait for a notification or request of the server, passing over what came before it.

        `predicate` is asked with the params. What one call has passed, the next one does not see.
        """
        while True:
            while self._passed < len(self.received):
                message = self.received[self._passed]
                self._passed += 1
                if message.get("method") == method and (predicate is None or predicate(message.get("params"))):
                    return message
            await self._more(f"{method} to come")

    async def wait_for(self, predicate: Callable[[Message], bool]) -> Message:
        """Wait for the first received message, from the very beginning on, for which `predicate` holds."""
        looked_at = 0
        while True:
            while looked_at < len(self.received):
                message = self.received[looked_at]
                looked_at += 1
                if predicate(message):
                    return message
            await self._more("an answer")

    def notifications(self, *methods: str) -> list[Message]:
        """The notifications received so far, of these methods or of all."""
        return [
            message
            for message in self.received
            if "method" in message and "id" not in message and (not methods or message["method"] in methods)
        ]

    async def _more(self, what: str) -> None:
        if self.closed.is_set():
            raise ConnectionClosed(f"the server closed the connection while waiting for {what}")
        await self._news.wait()

    def _got(self, data: bytes | str) -> None:
        message: Message = orjson.loads(data)
        self.log.append(("<", message))
        self.received.append(message)
        self._wake()

    def _ended(self) -> None:
        self.closed.set()
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()


class StdioClient(RpcClient):
    """A client of a program that it started."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        super().__init__(self._write_line)

    async def _write_line(self, data: bytes) -> None:
        await self._stdin.send(data + b"\n")

    async def write_bytes(self, data: bytes) -> None:
        """Write to the program's input without adding a newline."""
        await self._stdin.send(data)

    async def read(self) -> None:
        """Take lines until the program closes its output."""
        try:
            while True:
                self._got(await self._stdout.receive_until(b"\n", 1 << 30))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()

    async def finish(self) -> int:
        """Close the program's input, read the rest of its output and give its exit status."""
        await self._stdin.aclose()
        await self.closed.wait()
        return await self.process.wait()


class WebSocketClient(RpcClient):
    """A client of a listener."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[Any]") -> None:
        self.socket = socket
        super().__init__(self._write_frame)

    async def _write_frame(self, data: bytes) -> None:
        await self.socket.send_frame(data, aiohttp.WSMsgType.TEXT)

    async def read(self) -> None:
        """Take frames until the connection closes."""
        while True:
            message = await self.socket.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self._got(message.data)
                continue
            if message.type is aiohttp.WSMsgType.CLOSE:
                self.close_reason = message.extra
            break
        self.close_code = self.socket.close_code
        self._ended()
