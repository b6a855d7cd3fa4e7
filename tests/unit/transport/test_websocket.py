"""Many clients over real sockets."""

import asyncio
import gc
import logging
import os
import socket
import stat
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import aiohttp
import anyio
import anyio.lowlevel
import orjson
import pytest

from app_server.rpc.connection import MAX_MESSAGE_BYTES, Connection
from app_server.rpc.outbound import OVERRUN_BYTES, Outbound
from app_server.rpc.scopes import FULL, OBSERVE
from app_server.transport.auth import Authenticator, build_authenticator
from app_server.transport.listen import AuthOptions, StartError, UnixSocket, WebSocket, parse_listen
from app_server.transport.websocket import CEILING_BYTES, serve_websocket
from tests.support.fake_app import FakeApp
from tests.support.raw_websocket import BINARY, CLOSE, PING, PONG, raw_connection, raw_websocket
from tests.support.rpc_client import ConnectionClosed, RpcClient

TOO_LONG = {"code": -32600, "message": "Invalid request: message longer than 64 MiB"}


class Listening:
    """A listener of a made-up server in this process."""

    def __init__(self, app: FakeApp) -> None:
        self.app, self.url, self.stop, self.ready, self.ended = app, "", anyio.Event(), True, anyio.Event()

    async def run(self, address: WebSocket | UnixSocket, auth: Authenticator | None, listening: anyio.Event) -> None:
        """Serve until `stop` is set."""

        def told(text: str) -> None:
            self.url = text.removeprefix("listening on ")
            listening.set()

        await serve_websocket(
            address, self.app.connect, auth=auth, stop=self.stop, ready=lambda: self.ready, on_listening=told
        )
        self.ended.set()

    def http(self, path: str) -> str:
        """Where `path` is."""
        return self.url.replace("ws://", "http://", 1) + path


@asynccontextmanager
async def listening_at(
    listen: str = "ws://127.0.0.1:0", *, app: FakeApp | None = None, auth: AuthOptions | None = None
) -> AsyncGenerator[Listening]:
    server, listening = Listening(app or FakeApp()), anyio.Event()
    address = parse_listen(listen)
    assert isinstance(address, WebSocket | UnixSocket)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, address, build_authenticator(auth or AuthOptions()), listening)
        await listening.wait()
        yield server
        server.stop.set()


@pytest.fixture(params=["tcp", "tcp6", "unix"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Listening]:
    """A listener of each kind."""
    urls = {"tcp": "ws://127.0.0.1:0", "tcp6": "ws://[::1]:0", "unix": f"unix://{tmp_path}/s.sock"}
    async with listening_at(urls[request.param]) as listening:
        yield listening


# Messages


async def test_each_frame_is_one_message(server: Listening) -> None:
    async with RpcClient.ws(server.url) as client:
        assert (await client.initialize("editor"))["userAgent"] == "editor/0.169.0"
        assert await client.call("test/echo", {"value": "é\n\0"}) == {"value": "é\n\0", "number": None}
        answer = await client.call("test/blob", {"size": 3_000_000})
        assert answer["value"] == "x" * 3_000_000


async def test_json_in_a_binary_frame_is_read_like_text(server: Listening) -> None:
    async with raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send(b'{"id":1,"method":"test/echo","params":{"value":1}}', BINARY)
        assert await raw.message() == {"id": 1, "result": {"value": 1, "number": None}}
        await raw.send(b"\x00\x01\x02", BINARY)
        assert (await raw.message())["error"]["code"] == -32700


async def test_text_that_is_no_utf8_is_a_parse_error_and_the_connection_lives(server: Listening) -> None:
    async with raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send(b'{"id":1,"method":"\xff"}')
        assert (await raw.message())["error"]["code"] == -32700
        await raw.request(2, "test/echo")
        assert (await raw.message())["id"] == 2


async def test_a_message_in_fragments_with_a_ping_between_them_is_one_message(server: Listening) -> None:
    async with raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send(b'{"id":1,"method"', final=False)
        await raw.send(b"are you there", PING)
        await raw.send(b':"test/ec', 0, final=False)
        await raw.send(b'ho"}', 0)
        assert await raw.receive() == (PONG, b"are you there")
        assert (await raw.message())["id"] == 1


async def test_a_message_that_is_too_long_is_refused_and_the_connection_lives() -> None:
    async with listening_at() as server, raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send(b"x" * (MAX_MESSAGE_BYTES + 1))
        assert await raw.message() == {"id": None, "error": TOO_LONG}
        await raw.send(b"x" * MAX_MESSAGE_BYTES, final=False)
        await raw.send(b"x", 0)
        assert await raw.message() == {"id": None, "error": TOO_LONG}
        await raw.request(2, "test/echo")
        assert (await raw.message())["id"] == 2


async def test_the_longest_message_is_read() -> None:
    async with listening_at() as server, raw_websocket(server.url) as raw:
        await raw.initialize()
        head, tail = b'{"id":1,"method":"test/refuse","params":{"number":1,"other":"', b'"}}'
        await raw.send(head + b"y" * (MAX_MESSAGE_BYTES - len(head) - len(tail)) + tail)
        assert (await raw.message())["error"]["message"] == "not today"


async def test_a_message_past_the_ceiling_closes_the_connection_before_it_is_read() -> None:
    async with listening_at() as server, raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send(b"", size=CEILING_BYTES)
        opcode, payload = await raw.receive()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)


async def test_frames_that_break_the_websocket_rules_close_that_connection_only() -> None:
    async with listening_at() as server, RpcClient.ws(server.url) as other:
        await other.initialize()
        for wrong in (b"\xff\xff\xff\xff", b"\x81\x05abcde"[:1] + b"\xfe", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"):
            async with raw_websocket(server.url) as raw:
                await raw.send_bytes(wrong)
                await raw.send_bytes(b"\0" * 20)
                opcode, _ = await raw.receive()
                assert opcode == CLOSE
        assert await other.call("test/echo", {"value": 1}) == {"value": 1, "number": None}


async def test_a_client_whose_bytes_come_one_at_a_time_is_understood(server: Listening) -> None:
    async with raw_connection(server.url) as raw:
        raw.dribble = True
        assert await raw.upgrade({}) == 101
        await raw.initialize()
        await raw.request(1, "test/echo", {"value": "é" * 100})
        assert (await raw.message())["result"]["value"] == "é" * 100


async def test_no_extension_or_subprotocol_is_agreed_on(server: Listening) -> None:
    offers = {
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "x-codex-app-server-compression": "zstd-stream-v1",
    }
    async with raw_websocket(server.url, **offers) as raw:
        assert "extensions" not in raw.head.lower()
        assert "compression" not in raw.head.lower()
        await raw.initialize()


@pytest.mark.parametrize("path", ["/", "/rpc", "/any/where?x=1"])
async def test_every_path_upgrades(server: Listening, path: str) -> None:
    async with raw_connection(server.url) as raw:
        assert await raw.upgrade({}, path) == 101
        await raw.initialize()


# Who may connect


async def _status(server: Listening, path: str = "/", **headers: str) -> int:
    async with raw_connection(server.url) as raw:
        return await raw.upgrade(headers, path)


@pytest.mark.parametrize("path", ["/", "/rpc", "/readyz", "/healthz"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost", "vscode-webview://x", ""])
async def test_a_request_from_a_web_page_is_refused(server: Listening, path: str, origin: str) -> None:
    assert await _status(server, path, Origin=origin) == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]:1"]
)
async def test_a_host_that_is_not_ours_is_refused(server: Listening, host: str) -> None:
    assert await _status(server, Host=host) in (400, 403)
    assert await _status(server, "/readyz", Host=host) in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80", "127.8.8.8"]
)
async def test_every_name_of_this_machine_itself_is_accepted(server: Listening, host: str) -> None:
    assert await _status(server, Host=host) == 101


async def test_a_listener_on_every_address_accepts_any_name_because_it_asks_for_a_token() -> None:
    auth = AuthOptions("capability-token", token_sha256=sha256(b"secret").hexdigest())
    async with listening_at("ws://0.0.0.0:0", auth=auth) as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert await _status(server, Host="dev-box.example", Authorization="Bearer secret") == 101
        assert await _status(server, Host="192.0.2.7:1", Authorization="Bearer secret") == 101
        assert await _status(server, Host="dev-box.example") == 401
        assert await _status(server, Host="dev-box.example", Origin="http://dev-box.example") == 403


async def test_a_token_is_checked_before_the_upgrade_and_the_probes_need_none() -> None:
    auth = AuthOptions("capability-token", token_sha256=sha256(b"secret").hexdigest())
    async with listening_at(auth=auth) as server:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"X-Token": "secret"}):
            async with raw_connection(server.url) as raw:
                assert await raw.upgrade(wrong) == 401
                assert "WWW-Authenticate: Bearer\r\n" in raw.head
        assert await _status(server, "/?token=secret") == 401
        assert len(server.app.served) == 0
        async with RpcClient.ws(server.url, headers={"Authorization": "Bearer secret"}) as client:
            await client.initialize()
        async with aiohttp.ClientSession() as http, http.get(server.http("/readyz")) as answer:
            assert answer.status == 200


async def test_only_a_websocket_counts_as_a_stranger_to_this_user(tmp_path: Path) -> None:
    for listen, remote in (("ws://127.0.0.1:0", True), (f"unix://{tmp_path}/s.sock", False)):
        async with listening_at(listen) as server, RpcClient.ws(server.url) as client:
            await client.initialize()
            assert server.app.served[0].remote is remote


async def test_a_client_has_the_scope_of_its_token() -> None:
    auth = AuthOptions("capability-token", token_sha256=sha256(b"secret").hexdigest(), token_scope="observe")
    headers = {"Authorization": "Bearer secret"}
    async with listening_at(auth=auth) as server, RpcClient.ws(server.url, headers=headers) as client:
        await client.initialize()
        assert server.app.served[0].scope is OBSERVE
        assert (await client.try_call("test/print"))["error"]["code"] == -32600


async def test_who_is_this_user_may_do_everything(tmp_path: Path) -> None:
    auth = AuthOptions("capability-token", token_sha256=sha256(b"secret").hexdigest(), token_scope="observe")
    headers = {"Authorization": "Bearer secret"}
    async with listening_at(f"unix://{tmp_path}/s.sock", auth=auth) as server:
        async with RpcClient.ws(server.url, headers=headers) as client:
            await client.initialize()
        assert server.app.served[0].scope is FULL
    async with listening_at() as server, RpcClient.ws(server.url) as client:
        await client.initialize()
        assert server.app.served[0].scope is FULL


# Probes


async def test_the_probes_tell_whether_it_lives_and_is_ready() -> None:
    async with listening_at() as server, aiohttp.ClientSession() as http:
        statuses: dict[tuple[str, str, bool], int] = {}
        for ready in (True, False):
            server.ready = ready
            for method in ("GET", "HEAD", "POST"):
                for path in ("/readyz", "/healthz"):
                    async with http.request(method, server.http(path)) as answer:
                        statuses[method, path, ready] = answer.status
                        assert await answer.read() == b""
        for method, allowed in (("GET", True), ("HEAD", True), ("POST", False)):
            assert (
                statuses[method, "/healthz", False] == statuses[method, "/healthz", True] == (200 if allowed else 405)
            )
            assert statuses[method, "/readyz", True] == (200 if allowed else 405)
            assert statuses[method, "/readyz", False] == (503 if allowed else 405)


async def test_a_request_without_an_upgrade_is_told_to_upgrade() -> None:
    async with listening_at() as server, aiohttp.ClientSession() as http:
        for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/foo")):
            async with http.request(method, server.http(path)) as answer:
                assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")


async def test_a_bad_handshake_is_a_bad_request() -> None:
    async with listening_at() as server:
        assert await _status(server, **{"Sec-WebSocket-Version": "12"}) == 400
        assert await _status(server, **{"Sec-WebSocket-Key": "short"}) == 400


# Many clients, slow clients, clients that leave


async def test_a_client_that_vanishes_ends_its_requests_and_nobody_else() -> None:
    async with listening_at() as server, RpcClient.ws(server.url) as stays:
        await stays.initialize()
        async with raw_websocket(server.url) as raw:
            await raw.initialize()
            await raw.request(1, "test/gate")
            while not server.app.waiting:
                await anyio.lowlevel.checkpoint()
            await raw.vanish()
        while server.app.waiting:
            await anyio.lowlevel.checkpoint()
        assert server.app.cancelled == 1
        assert await stays.call("test/echo", {"value": 1}) == {"value": 1, "number": None}
        assert len(server.app.connections) == 1


async def test_a_client_that_says_goodbye_gets_the_same_back() -> None:
    async with listening_at() as server, raw_websocket(server.url) as raw:
        await raw.initialize()
        await raw.send((1000).to_bytes(2, "big"), CLOSE)
        opcode, payload = await raw.receive()
        assert (opcode, payload[:2]) == (CLOSE, (1000).to_bytes(2, "big"))
        with pytest.raises(anyio.IncompleteRead):
            await raw.receive()


async def test_64_clients_at_once_each_get_their_own_answers() -> None:
    async with listening_at() as server, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with RpcClient.ws(server.url) as client:
                await client.initialize(f"client-{number}")
                for index in range(5):
                    value = [number, index]
                    assert (await client.call("test/echo", {"value": value}))["value"] == value

        for number in range(64):
            tasks.start_soon(one, number)
    assert len(server.app.served) == 64
    assert len(server.app.connections) == 0


async def test_clients_that_have_gone_leave_nothing_behind() -> None:
    async def come_and_go(number: int) -> None:
        async with raw_websocket(server.url) as raw:
            await raw.initialize()
            await raw.request(1, "test/gate")
            if number % 2:
                await raw.send((1000).to_bytes(2, "big"), CLOSE)
                await raw.receive()

    async def gone() -> None:
        while len(server.app.connections) or server.app.waiting:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()

    async with listening_at() as server:
        await come_and_go(0)
        await gone()
        before = _descriptors(), len(asyncio.all_tasks())
        for number in range(20):
            await come_and_go(number)
        await gone()
        assert (_descriptors(), len(asyncio.all_tasks())) == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_client_that_does_not_read_is_not_felt_by_another_and_gets_the_exact_text_later() -> None:
    async with listening_at() as server, raw_websocket(server.url) as silent, RpcClient.ws(server.url) as quick:
        await silent.initialize()
        await quick.initialize()
        text = "word " * 20
        await silent.request(1, "test/stream", {"item": "a", "count": 50_000, "text": text})
        await quick.call("test/stream", {"item": "b", "count": 5000, "text": "x", "marker": 10})
        deltas = quick.notifications("test/delta")
        assert "".join(delta["params"]["delta"] for delta in deltas) == "x" * 5000
        assert [marker["params"]["number"] for marker in quick.notifications("test/marker")] == list(range(0, 5000, 10))
        got: list[str] = []
        while "id" not in (message := await silent.message()):
            got.append(message["params"]["delta"])
        assert "".join(got) == text * 50_000
        assert len(got) < 50_000, "nothing was merged: the client was not behind"


async def test_a_client_that_is_too_far_behind_is_told_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with listening_at() as server, raw_websocket(server.url) as silent, RpcClient.ws(server.url) as quick:
        await silent.initialize()
        await quick.initialize()
        size = 4 * 1024 * 1024
        for number in range(OVERRUN_BYTES // size + 4):
            await silent.request(number, "test/blob", {"size": size})
        while len(server.app.connections) > 1:
            await quick.call("test/echo")
        frame = await silent.receive()
        while frame[0] != CLOSE:
            frame = await silent.receive()
        assert int.from_bytes(frame[1][:2], "big") == 1013
        assert frame[1][2:] == b"too far behind: reconnect and resume the thread"
        assert "bytes behind" in caplog.text
        assert await quick.call("test/echo", {"value": 1}) == {"value": 1, "number": None}


async def test_what_goes_wrong_in_serving_one_client_ends_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Fragile(FakeApp):
        def connect(self, outbound: Outbound, remote: bool) -> Connection:
            connection = super().connect(outbound, remote)
            if len(self.served) == 2:

                async def fail() -> None:
                    raise ZeroDivisionError("broken")

                connection.on_close(fail)
            return connection

    async with listening_at(app=Fragile()) as server, RpcClient.ws(server.url) as stays:
        await stays.initialize()
        async with RpcClient.ws(server.url) as breaks:
            await breaks.initialize()
        while len(server.app.connections) > 1:
            await anyio.lowlevel.checkpoint()
        assert await stays.call("test/echo", {"value": 1}) == {"value": 1, "number": None}
        while "ended unexpectedly" not in caplog.text:
            await anyio.lowlevel.checkpoint()


async def test_small_messages_are_not_held_back_by_the_kernel() -> None:
    async with listening_at() as server, RpcClient.ws(server.url) as client:
        await client.initialize()
        port = int(server.url.rpartition(":")[2])
        assert _no_delay_of_accepted(port) == [1]


def _no_delay_of_accepted(port: int) -> list[int]:
    """TCP_NODELAY of every connection of this process that was accepted on `port`."""
    found: list[int] = []
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and link.is_socket():
            with socket.socket(fileno=os.dup(int(link.name))) as copy:
                if copy.family == socket.AF_INET and copy.getsockname()[1] == port and _is_connected(copy):
                    found.append(copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return found


def _is_connected(copy: socket.socket) -> bool:
    try:
        copy.getpeername()
    except OSError:
        return False
    return True


# The end


async def test_at_the_end_what_is_queued_is_written_and_each_client_told() -> None:
    async with listening_at() as server, RpcClient.ws(server.url) as one, raw_websocket(server.url) as slow:
        await one.initialize()
        await slow.initialize()
        await slow.request(1, "test/blob", {"size": 5_000_000})
        while server.app.answered < 1:
            await anyio.lowlevel.checkpoint()
        server.stop.set()
        assert len((await slow.message())["result"]["value"]) == 5_000_000
        opcode, payload = await slow.receive()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1001)
        await slow.send(payload, CLOSE)
        await one.closed.wait()
        assert one.close_code == 1001
        with pytest.raises(ConnectionClosed):
            await one.until("anything")
        await server.ended.wait()
        with pytest.raises(OSError, match=r".*"):
            await anyio.connect_tcp("127.0.0.1", int(server.url.rpartition(":")[2]))


async def test_an_address_in_use_is_refused_clearly() -> None:
    async with listening_at() as server:
        with pytest.raises(StartError, match=r"^cannot listen on ws://127.0.0.1:\d+: Address already in use$"):
            await _start(server.url)


async def test_an_address_of_another_machine_is_refused_clearly() -> None:
    with pytest.raises(StartError, match=r"cannot listen on ws://192.0.2.1:0: "):
        await _start("ws://192.0.2.1:0")


async def _start(listen: str) -> None:
    address = parse_listen(listen)
    assert isinstance(address, WebSocket | UnixSocket)
    stop = anyio.Event()
    stop.set()
    await serve_websocket(address, FakeApp().connect, stop=stop, ready=lambda: True, on_listening=lambda told: None)


# Unix sockets


async def test_a_unix_socket_is_for_this_user_only_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "s.sock"
    async with listening_at(f"unix://{path}") as server:
        status = path.lstat()
        assert (stat.S_ISSOCK(status.st_mode), stat.S_IMODE(status.st_mode)) == (True, 0o600)
        assert os.listdir(path.parent) == ["s.sock"]
        assert server.url == f"unix://{path}"
    assert os.listdir(path.parent) == []


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with listening_at(f"unix://{path}") as server, RpcClient.ws(server.url) as client:
        await client.initialize()


async def test_a_unix_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    async with listening_at(f"unix://{tmp_path}/s.sock") as server:
        with pytest.raises(StartError, match=r"another server is listening on .*/s.sock; stop it or choose another"):
            await _start(server.url)
        async with RpcClient.ws(server.url) as client:
            await client.initialize()
        assert os.listdir(tmp_path) == ["s.sock"]


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.sock").write_text("precious")
    with pytest.raises(StartError, match="the file exists and is no socket"):
        await _start(f"unix://{tmp_path}/s.sock")
    assert (tmp_path / "s.sock").read_text() == "precious"


async def test_a_path_too_long_for_a_unix_socket_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot listen on unix socket .*: AF_UNIX path too long"):
        await _start(f"unix://{tmp_path}/{'x' * 120}/s.sock")


async def test_at_the_end_a_socket_that_another_server_put_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with listening_at(f"unix://{path}"):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert os.listdir(tmp_path) == ["s.sock"]


@pytest.mark.parametrize("turns", range(5))
async def test_who_connects_in_the_moment_of_the_end_leaves_no_socket_open(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "s.sock"
    stop, listens = anyio.Event(), anyio.Event()
    with socket.socket(socket.AF_UNIX) as client, warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always")
        async with anyio.create_task_group() as tasks:

            async def server() -> None:
                await serve_websocket(
                    UnixSocket(path),
                    FakeApp().connect,
                    stop=stop,
                    ready=lambda: True,
                    on_listening=lambda _: listens.set(),
                )

            tasks.start_soon(server)
            await listens.wait()
            client.connect(str(path))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            stop.set()
        client.setblocking(False)
        with suppress(ConnectionResetError):  # of who was never accepted
            assert client.recv(1) == b""
        gc.collect()
    assert [str(leak.message) for leak in leaks] == []


async def test_of_servers_that_start_together_on_one_path_one_listens(tmp_path: Path) -> None:
    path = f"unix://{tmp_path}/s.sock"
    refused: list[str] = []
    listening: list[str] = []
    all_done = anyio.Event()

    async def one() -> None:
        address = parse_listen(path)
        assert isinstance(address, UnixSocket)
        try:
            await serve_websocket(
                address, FakeApp().connect, stop=all_done, ready=lambda: True, on_listening=listening.append
            )
        except StartError as error:
            refused.append(str(error))
            if len(refused) == 7:
                all_done.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(one)
    assert listening == [f"listening on {path}"]
    assert orjson.dumps(sorted(set(refused))).startswith(b'["another server is listening on ')
