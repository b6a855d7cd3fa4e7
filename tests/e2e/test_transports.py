"""The real program from the outside: how it is started, reached, told to stop, and what it says meanwhile."""

import signal
import stat
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import aiohttp
import anyio
import orjson
import pytest

from tests.support.daemon import PROGRAM, running_daemon, stdio_daemon
from tests.support.home import environment, make_home
from tests.support.raw_websocket import raw_connection
from tests.support.rpc_client import Message, RpcClient
from tests.support.stage import Transport, listen_on

TOKEN = f"--ws-auth capability-token --ws-token-sha256 {sha256(b'secret').hexdigest()}"
HELLO: Message = {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "pipe", "version": "1"}}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without any provider: nothing here asks a model."""
    return make_home(tmp_path / "home")


@asynccontextmanager
async def _client(home: Path, transport: Transport, *options: str) -> AsyncGenerator[RpcClient]:
    if transport == "stdio":
        async with stdio_daemon(home, options=options) as client:
            yield client
    else:
        async with (
            running_daemon(home, listen_on(transport, home), options=options) as daemon,
            daemon.client() as client,
        ):
            yield client


@pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])
async def test_a_client_says_hello_and_is_answered(home: Path, transport: Transport) -> None:
    async with _client(home, transport) as client:
        answer = await client.initialize("my_editor")
        assert answer["userAgent"].startswith("my_editor/0.169.0 (")
        assert "turnloom/" in answer["userAgent"]
        assert (answer["codexHome"], answer["platformFamily"]) == (str(home), "unix")
        assert (await client.call("thread/loaded/list", {}))["data"] == []
        assert (await client.try_call("no/such"))["error"] == {
            "code": -32600,
            "message": "Invalid request: unknown method `no/such`",
        }
        await client.send_raw(b"{")
        assert (await client.answer_to(None))["error"]["code"] == -32700
        assert (await client.call("thread/loaded/list", {}))["data"] == []


@pytest.mark.parametrize("transport", ["stdio", "unix", "ws"])
async def test_overrides_of_the_command_line_are_in_force(home: Path, transport: Transport) -> None:
    async with _client(home, transport, "-c", 'model="from-the-command-line"', "--enable", "some_feature") as client:
        await client.initialize()
        assert (await client.call("config/read", {}))["config"]["model"] == "from-the-command-line"


# stdio


async def test_nothing_but_json_is_on_stdout_and_every_request_is_answered_at_the_end_of_input(home: Path) -> None:
    requests: list[Message] = [
        HELLO,
        *({"id": number, "method": "thread/loaded/list", "params": {}} for number in range(2, 60)),
    ]
    done = await anyio.run_process(
        [*PROGRAM, "app-server"],
        input=b"\n".join(orjson.dumps(request) for request in requests),
        env=environment(home, LOG_LEVEL="debug"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    messages = [orjson.loads(line) for line in done.stdout.splitlines()]
    answered = [message["id"] for message in messages if "method" not in message]
    assert sorted(answered) == list(range(1, 60))
    assert all("result" in message for message in messages if "method" not in message)


async def test_files_in_place_of_pipes_work(home: Path) -> None:
    (home / "in").write_bytes(orjson.dumps(HELLO))
    command = ["sh", "-c", f'exec "$@" < {home}/in > {home}/out', "sh", *PROGRAM, "app-server"]
    await anyio.run_process(command, env=environment(home))
    assert orjson.loads((home / "out").read_bytes().splitlines()[0])["id"] == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_descriptors_that_the_caller_closed_do_no_harm(home: Path, closed: str) -> None:
    (home / "in").write_bytes(orjson.dumps(HELLO))
    command = ["sh", "-c", f'exec "$@" < {home}/in {closed}', "sh", *PROGRAM, "app-server"]
    done = await anyio.run_process(command, env=environment(home), check=False)
    assert done.returncode == 0, done.stderr
    if closed == "2>&-":
        assert orjson.loads(done.stdout.splitlines()[0])["id"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_it_on_stdio(home: Path, number: signal.Signals) -> None:
    async with stdio_daemon(home) as client:
        await client.initialize()
        await client.call("thread/loaded/list", {})
        client.process.send_signal(number)
        assert await client.process.wait() == 0


# Listeners


async def test_the_address_is_told_on_stderr_and_the_probes_answer(home: Path) -> None:
    async with running_daemon(home) as daemon, aiohttp.ClientSession() as http:
        assert daemon.url.startswith("ws://127.0.0.1:")
        assert not daemon.url.endswith(":0")
        for path in ("/readyz", "/healthz"):
            async with http.get(daemon.http + path) as answer:
                assert answer.status == 200
            async with http.get(daemon.http + path, headers={"Origin": "http://localhost"}) as answer:
                assert answer.status == 403
            async with http.get(daemon.http + path, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403


async def test_with_json_logs_every_line_on_stderr_is_an_object(home: Path) -> None:
    async with running_daemon(home, LOG_FORMAT="json", LOG_LEVEL="info") as daemon:
        async with daemon.client() as client:
            await client.initialize()
        assert await daemon.stop() == 0
    entries = [orjson.loads(line) for line in daemon.stderr.splitlines()]
    assert f"listening on {daemon.url}" in {entry["message"] for entry in entries}
    assert all(entry.keys() >= {"time", "level", "logger", "message"} for entry in entries)


async def test_the_default_unix_socket_is_private_and_goes_with_the_daemon(home: Path) -> None:
    socket = home / "turnloom" / "app-server.sock"
    async with running_daemon(home, "unix://") as daemon:
        assert daemon.url == f"unix://{socket}"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        async with daemon.client() as client:
            await client.initialize()
        with pytest.raises(RuntimeError, match="another server is listening on"):
            async with running_daemon(home, "unix://"):
                pytest.fail("two daemons listen on one socket")
        assert await daemon.stop() == 0
    assert not socket.exists()


async def test_a_socket_left_by_a_killed_daemon_is_taken_over(home: Path) -> None:
    async with running_daemon(home, "unix://") as killed:
        killed.signal(signal.SIGKILL)
        assert await killed.process.wait() == -signal.SIGKILL
    assert (home / "turnloom" / "app-server.sock").exists()
    async with running_daemon(home, "unix://") as daemon, daemon.client() as client:
        await client.initialize()


async def test_a_token_is_asked_for(home: Path) -> None:
    (home / "token").write_text("open sesame\n")
    options = ("--ws-auth", "capability-token", "--ws-token-file", str(home / "token"))
    async with running_daemon(home, "ws://0.0.0.0:0", options=options) as daemon:
        url = daemon.url.replace("0.0.0.0", "127.0.0.1")
        for headers, status in (({}, 401), ({"Authorization": "Bearer open sesame"}, 101)):
            async with raw_connection(url) as raw:
                assert await raw.upgrade(headers) == status
        assert "can be read by other users" in daemon.stderr


async def test_64_clients_connect_and_leave(home: Path) -> None:
    async with running_daemon(home) as daemon, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            async with daemon.client() as client:
                assert (await client.initialize(f"c{number}"))["userAgent"].startswith(f"c{number}/")
                assert (await client.call("thread/loaded/list", {}))["data"] == []

        for number in range(64):
            tasks.start_soon(one, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_an_idle_daemon_ends_at_a_signal_and_its_clients_are_told(home: Path, number: signal.Signals) -> None:
    async with running_daemon(home) as daemon, daemon.client() as client:
        await client.initialize()
        daemon.signal(number)
        assert await daemon.process.wait() == 0
        await client.closed.wait()
        assert client.close_code == 1001


async def test_without_a_listener_it_idles_until_a_signal(home: Path) -> None:
    argv = [*PROGRAM, "app-server", "--listen", "off", "-c", "model=x"]
    async with await anyio.open_process(argv, env=environment(home), stdout=None, stderr=None) as process:
        while not _handles(process.pid, signal.SIGTERM):  # noqa: ASYNC110  # nothing tells when: it has no listener
            await anyio.sleep(0.01)
        process.terminate()
        assert await process.wait() == 0


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for this signal, from what the kernel tells about it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << (number - 1))


# What it refuses


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        ("--listen ws://0.0.0.0:0", 2, "--ws-auth capability-token"),
        ("--listen http://127.0.0.1:1", 2, "expected `stdio://`"),
        ("--listen ws://127.0.0.1:0 --ws-auth capability-token --ws-token-file /no/such", 1, "failed to read"),
        ("--listen unix:///proc/no/such.sock", 1, "cannot listen on unix socket"),
        (f"--listen ws://192.0.2.1:1 {TOKEN}", 1, "cannot listen on ws://192.0.2.1:1"),
        ("-c nonsense", 2, "expected key=value"),
    ],
)
async def test_it_does_not_start_and_says_why_in_one_line(
    home: Path, options: str, status: int, complaint: str
) -> None:
    argv = [*PROGRAM, "app-server", *options.split()]
    done = await anyio.run_process(argv, env=environment(home), check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (status, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("turnloom: error: ")
    assert complaint in line


async def test_the_digest_of_a_token_is_enough(home: Path) -> None:
    async with (
        running_daemon(home, options=TOKEN.split()) as daemon,
        daemon.client(Authorization="Bearer secret") as client,
    ):
        await client.initialize()
