"""Real programs reach servers of the tests through the proxy, by the variables of their environment alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import anyio.to_thread
import orjson
import pytest
import websockets
from anyio.abc import ByteStream

from tests.unit.network.programs import DENO, FETCH, needs, needs_nodes_fetch, write_index
from tests.unit.network.proxy_bench import LOCAL, bench, read_all, serving
from tests.unit.network.tls_bench import TestAuthority, run, serving_files

HOST = "files.test"


@contextmanager
def serving_http(handler: type[BaseHTTPRequestHandler] | partial[BaseHTTPRequestHandler]) -> Generator[int]:
    """A server in a thread; the value is its port."""
    server = ThreadingHTTPServer((LOCAL, 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Files(SimpleHTTPRequestHandler):
    """The files of a folder; what is put comes back."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = read_body(self)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


# curl


@needs("curl")
async def test_curl_reads_and_writes_plain_http(tmp_path: Path, files: Path) -> None:
    (files / "large").write_bytes(os.urandom(3_000_000))
    large = await anyio.Path(files / "large").read_bytes()
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            url = f"http://{HOST}:{port}"
            twice = await run(proxy, "curl", "-sS", f"{url}/text", f"{url}/text")
            got = await run(proxy, "curl", "-sS", f"{url}/large")
            put = await run(proxy, "curl", "-sS", "-T", str(files / "large"), f"{url}/large")
            chunked = await run(
                proxy, "curl", "-sS", "-H", "Transfer-Encoding: chunked", "-T", str(files / "large"), f"{url}/large"
            )
            head = await run(proxy, "curl", "-sSI", f"{url}/large")
    assert (twice.stdout, twice.stderr) == (b"hellohello", b"")
    assert (got.stdout == large, put.stdout == large, chunked.stdout == large) == (True, True, True)
    assert b"Content-Length: 3000000\r\n" in head.stdout
    assert {kind for kind, _, _ in proxy.decided} == {"http"}


@needs("curl")
async def test_curl_reads_through_a_tunnel_and_by_socks(tmp_path: Path, files: Path) -> None:
    authority = TestAuthority(tmp_path)
    with serving_files(files, authority.context(HOST)) as port:
        async with bench(tmp_path, HOST) as proxy:
            command = ("curl", "-sS", "--cacert", str(authority.file), f"https://{HOST}:{port}/text")
            tunnel = await run(proxy, *command)
            socks = await run(proxy, *command, "-x", proxy.environment["ALL_PROXY"])
    assert [(done.stdout, done.stderr) for done in (tunnel, socks)] == [(b"hello", b"")] * 2
    assert proxy.decided == [("https_connect", "allow", None), ("socks5_tcp", "allow", None)]


@needs("curl")
async def test_curl_shows_why_it_was_blocked(tmp_path: Path) -> None:
    async with bench(tmp_path) as proxy:
        plain = await run(proxy, "curl", "-sS", "-w", "%{http_code}", "http://new.test/")
        tunnel = await run(proxy, "curl", "-sS", "-v", "https://new.test/")
        socks = await run(proxy, "curl", "-sS", "-x", proxy.environment["ALL_PROXY"], "https://new.test/")
    body, code = plain.stdout[:-3], plain.stdout[-3:]
    assert (orjson.loads(body)["reason"], code) == ("not_allowed", b"403")
    assert tunnel.returncode == 56
    assert b"< x-proxy-error: blocked-by-allowlist" in tunnel.stderr
    assert socks.returncode == 97
    assert b"new.test" in socks.stderr


# git


class GitServer(BaseHTTPRequestHandler):
    """Git's own server program, for the repositories of a folder."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *args: object) -> None:
        self.folder = folder
        super().__init__(*args)  # pyright: ignore[reportArgumentType]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        body = read_body(self)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "somebody",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(content), 1000):
            part = content[start : start + 1000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@needs("git")
async def test_git_clones_and_pushes(tmp_path: Path, files: Path, home: Path) -> None:
    """More than git sends in one piece, so that it comes in chunks."""

    def make() -> None:
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.test"]
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        work = home / "work"
        subprocess.run(["git", "init", "-q", "--bare", str(files / "one.git")], check=True, env=environment)
        subprocess.run(["git", "init", "-q", str(work)], check=True, env=environment)
        (work / "large").write_bytes(os.urandom(2_000_000))
        subprocess.run([*git, "-C", str(work), "add", "large"], check=True, env=environment)
        subprocess.run([*git, "-C", str(work), "commit", "-q", "-m", "first"], check=True, env=environment)

    await anyio.to_thread.run_sync(make)
    with serving_http(partial(GitServer, files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            url = f"http://{HOST}:{port}/one.git"
            pushed = await run(proxy, "git", "-C", str(home / "work"), "push", "-q", url, "HEAD:main", cwd=home)
            cloned = await run(proxy, "git", "clone", "-q", "-b", "main", url, "copy", cwd=home)
    assert (pushed.returncode, pushed.stderr) == (0, b"")
    assert (cloned.returncode, cloned.stderr) == (0, b"")
    assert (home / "copy" / "large").stat().st_size == 2_000_000


@needs("bash")
async def test_ssh_gets_its_tunnel(tmp_path: Path) -> None:
    """What git's ssh runs to connect, without an ssh server."""

    async def greet(stream: ByteStream) -> None:
        await stream.send(b"SSH-2.0-test\r\n")
        await stream.send((await stream.receive())[::-1])

    async with serving(greet) as port, bench(tmp_path, HOST) as proxy:
        command = ["bash", "-c", proxy.environment["TURNLOOM_SSH_CONNECT"], "ssh"]
        env = {"PATH": os.environ["PATH"]}
        done = await anyio.run_process([*command, HOST, str(port)], input=b"abc", env=env)
        refused = await anyio.run_process([*command, "other.test", "22"], input=b"abc", env=env, check=False)
    assert (done.stdout, done.stderr) == (b"SSH-2.0-test\r\ncba", b"")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b'Network access to "other.test" was blocked' in refused.stderr


@needs("git")
@needs("ssh")
async def test_git_over_ssh_asks_the_proxy(tmp_path: Path, home: Path) -> None:
    async with bench(tmp_path) as proxy:
        done = await run(proxy, "git", "clone", "-q", "git@code.test:one.git", "copy", cwd=home)
    assert done.returncode != 0
    assert b'Network access to "code.test" was blocked' in done.stderr
    assert [(one.protocol, one.host, one.port) for one in proxy.keeper.asked] == [("https_connect", "code.test", 22)]


# Package managers


async def test_pip_downloads(tmp_path: Path, files: Path, home: Path) -> None:
    pytest.importorskip("pip", reason="pip is not installed")
    name = write_index(files)
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            command = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check")
            index = ("--index-url", f"http://{HOST}:{port}/simple/", "--trusted-host", HOST)
            done = await run(proxy, *command, *index, "demo", cwd=home, PIP_CONFIG_FILE=os.devnull)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / name).is_file()


@needs("uv")
async def test_uv_installs(tmp_path: Path, files: Path, home: Path) -> None:
    write_index(files)
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            index = ("--index-url", f"http://{HOST}:{port}/simple/")
            done = await run(proxy, "uv", "pip", "install", "-q", "--target", "here", *index, "demo", cwd=home)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (home / "here" / "demo-1.0.dist-info").is_dir()


# Languages


async def test_python_reads(tmp_path: Path, files: Path) -> None:
    code = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            done = await run(proxy, sys.executable, "-c", code, f"http://{HOST}:{port}/text")
    assert (done.stdout, done.stderr) == (b"hello", b"")


NODE = """
const http = require("node:http");
const target = process.argv[1], proxy = new URL(process.env.http_proxy);
const agent = new http.Agent({ keepAlive: true });
const authorization = "Basic " + Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
const headers = { Host: new URL(target).host, "Proxy-Authorization": authorization };
const get = (then) => http.get({ agent, host: proxy.hostname, port: proxy.port, path: target, headers }, (answer) => {
  answer.pipe(process.stdout, { end: false });
  answer.on("end", then);
});
get(() => get(() => agent.destroy()));
"""


@needs("node")
async def test_node_reads(tmp_path: Path, files: Path) -> None:
    """By its http module, twice over one connection."""
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            done = await run(proxy, "node", "-e", NODE, f"http://{HOST}:{port}/text")
    assert (done.stdout, done.stderr) == (b"hellohello", b"")


@needs_nodes_fetch()
async def test_nodes_fetch_reads(tmp_path: Path, files: Path) -> None:
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            done = await run(proxy, "node", "-e", FETCH, f"http://{HOST}:{port}/text")
    assert (done.stdout, done.stderr) == (b"hello", b"")


@needs("deno")
async def test_deno_reads(tmp_path: Path, files: Path, home: Path) -> None:
    (home / "read.js").write_text(DENO)
    with serving_http(partial(Files, directory=files)) as port:
        async with bench(tmp_path, HOST) as proxy:
            done = await run(proxy, "deno", "run", "-q", "-A", "read.js", f"http://{HOST}:{port}/text", cwd=home)
    assert (done.stdout, done.stderr) == (b"hello", b"")


# Websockets


async def test_websockets_are_upgraded_and_tunnelled(tmp_path: Path) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, LOCAL, 0) as server, bench(tmp_path, HOST) as proxy:
        port = next(iter(server.sockets)).getsockname()[1]
        async with websockets.connect(f"ws://{HOST}:{port}/", proxy=proxy.url) as tunnelled:
            await tunnelled.send("through a tunnel")
            assert await tunnelled.recv() == "through a tunnel"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{HOST}:{port}/", proxy=proxy.url) as upgraded,
        ):
            await upgraded.send_bytes(b"x" * 200_000)
            assert await upgraded.receive_bytes() == b"x" * 200_000
    assert proxy.decided == [("https_connect", "allow", None), ("http", "allow", None)]


@needs("bash")
async def test_a_program_that_is_killed_while_it_is_asked_about_withdraws_its_question(tmp_path: Path) -> None:
    async with bench(tmp_path) as proxy:
        proxy.keeper.waits = anyio.Event()
        env = {"PATH": os.environ["PATH"], **proxy.environment}
        command = [sys.executable, "-c", "import urllib.request; urllib.request.urlopen('http://new.test/')"]
        async with await anyio.open_process(command, env=env) as process:
            await proxy.keeper.is_asked.wait()
            process.kill()
            await proxy.keeper.heard.wait()
    assert [one.host for one in proxy.keeper.left] == ["new.test"]


async def test_a_server_that_speaks_first_is_heard(tmp_path: Path) -> None:
    async def greet(stream: ByteStream) -> None:
        await stream.send(b"220 ready\r\n")
        await read_all(stream)

    async with serving(greet) as port, bench(tmp_path, HOST) as proxy, await proxy.connect() as stream:
        await stream.send(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: x\r\n".encode() + proxy.authorization + b"\r\n")
        await stream.send_eof()
        answer = await read_all(stream)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n220 ready\r\n"
