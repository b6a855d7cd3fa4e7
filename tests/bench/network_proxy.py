"""What the network proxy costs: latency added to a request, and throughput of a download against a direct connection.

Run it with `python -m tests.bench.network_proxy [--json]`. Server, proxy and client are three processes on loopback.
"""

import argparse
import json
import multiprocessing
import socket
import statistics
import tempfile
from base64 import b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import anyio

from app_server.config.network_proxy import NetworkProxySettings
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Execution
from app_server.network.policy import Attempt, Judgement, NetworkPolicy
from app_server.network.proxy import NetworkProxy

MEGABYTES = 100
DOWNLOADS = 5
REQUESTS = 2_000
CONNECTIONS = 500
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PIECE = b"x" * (1 << 18)


def serve_origin(listener: socket.socket) -> None:
    """Answers `/small` with two bytes, `/large` with all the megabytes and `/chunked` with them in chunks."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(ConnectionError):  # clients do not wait for the last bytes
            while head := connection.recv(65536):
                count = MEGABYTES * (1 << 20) // len(PIECE)
                if b"/large " in head:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MEGABYTES << 20))
                    for _ in range(count):
                        connection.sendall(PIECE)
                elif b"/chunked " in head:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    chunk = b"4000\r\n" + PIECE[:0x4000] + b"\r\n"
                    for _ in range(count * len(PIECE) // 0x4000):
                        connection.sendall(chunk)
                    connection.sendall(b"0\r\n\r\n")
                else:
                    connection.sendall(SMALL)


class NoGate:
    """Nothing is asked here."""

    async def decide(self, attempt: Attempt) -> Judgement:
        raise AssertionError(attempt)

    def denied(self, attempt: Attempt, judgement: Judgement) -> None:
        raise AssertionError(attempt)

    def abandoned(self, attempt: Attempt, waited_ms: int) -> None:
        raise AssertionError(attempt)

    async def before_refusal(self) -> None:
        raise AssertionError


def run_proxy(told: Connection, folder: str) -> None:
    """The proxy, until it is killed; tells port and credential."""

    async def main() -> None:
        settings = NetworkProxySettings(domains={"127.0.0.1": "allow"}, allow_local_binding=True)
        policy = NetworkPolicy(settings)
        async with NetworkProxy(NetworkDecisions(), Path(folder), environ={}) as proxy:
            egress = await proxy.open(Execution("bench"), lambda: policy, NoGate())
            url = (await egress.environment({}))["HTTP_PROXY"]
            told.send((egress.port, url.split("//")[1].split("@", maxsplit=1)[0]))
            await anyio.sleep_forever()

    anyio.run(main)


Dial = Callable[[], tuple[socket.socket, str, bytes]]
"""A connection, what comes before the path in a request's first line, and fields for each request."""


def dials(port: int, proxy_port: int, pair: str) -> dict[str, Dial]:
    """Every way to the server."""
    field = b"Proxy-Authorization: Basic " + b64encode(pair.encode()) + b"\r\n"

    def connect(to: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", to))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tunnel() -> socket.socket:
        sock = connect(proxy_port)
        sock.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n".encode() + field + b"\r\n")
        assert b" 200 " in sock.recv(65536)
        return sock

    def socks() -> socket.socket:
        sock = connect(proxy_port)
        user, _, password = pair.partition(":")
        sock.sendall(b"\x05\x01\x02")
        assert sock.recv(2) == b"\x05\x02"
        sock.sendall(bytes([1, len(user), *user.encode(), len(password), *password.encode()]))
        assert sock.recv(2) == b"\x01\x00"
        sock.sendall(bytes([5, 1, 0, 1, 127, 0, 0, 1]) + port.to_bytes(2))
        assert sock.recv(10)[1] == 0
        return sock

    return {
        "direct": lambda: (connect(port), "", b""),
        "http": lambda: (connect(proxy_port), f"http://127.0.0.1:{port}", field),
        "connect": lambda: (tunnel(), "", b""),
        "socks5": lambda: (socks(), "", b""),
    }


def ask(sock: socket.socket, prefix: str, path: str, fields: bytes) -> None:
    host = prefix.partition("//")[2] or "127.0.0.1"
    sock.sendall(f"GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\n".encode() + fields + b"\r\n")


def kept_alive(dial: Dial) -> list[float]:
    """Seconds of each of many requests over one connection."""
    sock, prefix, fields = dial()
    taken: list[float] = []
    with sock:
        for _ in range(REQUESTS):
            began = perf_counter()
            ask(sock, prefix, "/small", fields)
            assert sock.recv(65536).endswith(b"ok")
            taken.append(perf_counter() - began)
    return taken


def one_each(dial: Dial) -> list[float]:
    """Seconds of each of many requests with a connection of its own."""
    taken: list[float] = []
    for _ in range(CONNECTIONS):
        began = perf_counter()
        sock, prefix, fields = dial()
        with sock:
            ask(sock, prefix, "/small", fields)
            assert sock.recv(65536).endswith(b"ok")
            taken.append(perf_counter() - began)
    return taken


def download(dial: Dial, path: str) -> float:
    """Megabytes a second."""
    sock, prefix, fields = dial()
    buffer = bytearray(1 << 18)
    with sock:
        began = perf_counter()
        ask(sock, prefix, path, fields)
        left = MEGABYTES << 20
        while left > 0:
            left -= sock.recv_into(buffer)
        return MEGABYTES / (perf_counter() - began)


def microseconds(taken: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(taken, n=100)
    return {"p50_us": round(cut[49] * 1e6, 1), "p99_us": round(cut[98] * 1e6, 1)}


@contextmanager
def running() -> Generator[dict[str, Dial]]:
    """Server and proxy."""
    context = multiprocessing.get_context("spawn")
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            *(context.Process(target=serve_origin, args=(listener,), daemon=True) for _ in range(2)),
            context.Process(target=run_proxy, args=(theirs, folder), daemon=True),
        ]
        for process in processes:
            process.start()
        try:
            proxy_port, pair = ours.recv()
            yield dials(listener.getsockname()[1], proxy_port, pair)
        finally:
            for process in processes:
                process.kill()
                process.join()


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Latency and throughput of every way, and what the ways by the proxy add or keep."""
    latency: dict[str, dict[str, float]] = {}
    throughput: dict[str, dict[str, float]] = {}
    with running() as ways:
        for kind, work in (("kept", kept_alive), ("new", one_each)):
            work(ways["http"])
            direct = microseconds(work(ways["direct"]))
            latency[f"{kind} direct"] = direct
            for name in ("http", "connect", "socks5"):
                found = microseconds(work(ways[name]))
                added = {f"added_{key}": round(value - direct[key], 1) for key, value in found.items()}
                latency[f"{kind} {name}"] = {**found, **added}
        for path in ("/large", "/chunked"):
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(DOWNLOADS):  # in turn, since other work on the machine comes and goes
                for name, dial in ways.items():
                    rates[name].append(download(dial, path))
            direct_rate = statistics.median(rates["direct"])
            for name, found in rates.items():
                rate = statistics.median(found)
                throughput[f"{path} {name}"] = {"mb_s": round(rate), "of_direct": round(rate / direct_rate, 2)}
    return {"latency": latency, "throughput": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    results = measure()
    if as_json:
        print(json.dumps(results))
        return
    for title, rows in results.items():
        print(f"\n{title}")
        for name, values in rows.items():
            print(f"  {name:18}", "  ".join(f"{key}={value:g}" for key, value in values.items()))


if __name__ == "__main__":
    main()
