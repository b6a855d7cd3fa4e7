"""What looking into TLS costs: the same numbers as those of the proxy, against TLS with the server itself.

Run it with `python -m tests.bench.network_proxy_tls [--json]`. "first" is what
the first command under limited mode pays.
"""

import argparse
import json
import multiprocessing
import socket
import ssl
import statistics
import tempfile
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import anyio

from app_server.config.network_proxy import NetworkProxySettings
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Execution
from app_server.network.policy import NetworkPolicy
from app_server.network.proxy import NetworkProxy
from tests.bench.network_proxy import (
    DOWNLOADS,
    Dial,
    NoGate,
    download,
    kept_alive,
    microseconds,
    one_each,
    serve_origin,
)

HOST = "127.0.0.1"


def serve(listener: socket.socket, certificate: str) -> None:
    """The server, within TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = context.wrap_socket(listener, server_side=True)
    while True:
        with suppress(OSError):  # a client that leaves early
            serve_origin(secure)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def run_proxy(told: Connection, folder: str, authority: str) -> None:
    """The proxy in limited mode, until it is killed; tells port, credential, whom to trust, and what that cost."""

    async def main() -> None:
        settings = NetworkProxySettings(mode="limited", domains={HOST: "allow"}, allow_local_binding=True)
        policy = NetworkPolicy(settings)
        async with NetworkProxy(NetworkDecisions(), Path(folder), environ={"SSL_CERT_FILE": authority}) as proxy:
            egress = await proxy.open(Execution("bench"), lambda: policy, NoGate())
            before, began = resident(), perf_counter()
            environment = await egress.environment({})
            first = {
                "ms": round((perf_counter() - began) * 1e3, 1),
                "mb": round((resident() - before) / (1 << 20), 1),
            }
            began = perf_counter()
            await egress.environment({})
            first["again_ms"] = round((perf_counter() - began) * 1e3, 2)
            pair = environment["HTTP_PROXY"].split("//")[1].split("@", maxsplit=1)[0]
            told.send((egress.port, pair, environment["SSL_CERT_FILE"], first))
            await anyio.sleep_forever()

    anyio.run(main)


@contextmanager
def running() -> Generator[tuple[dict[str, Dial], dict[str, float]]]:
    """Server and proxy: the ways to the server, and what the proxy's first use cost."""
    # Not where the proxy would import it too, whose imports are counted.
    from tests.unit.network.tls_bench import TestAuthority

    context = multiprocessing.get_context("spawn")
    listener = socket.create_server((HOST, 0), backlog=512)
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        authority = TestAuthority(Path(folder))
        certificate = authority.certificate(HOST)
        processes = [
            *(context.Process(target=serve, args=(listener, str(certificate)), daemon=True) for _ in range(2)),
            context.Process(target=run_proxy, args=(theirs, f"{folder}/bundles", str(authority.file)), daemon=True),
        ]
        for process in processes:
            process.start()
        try:
            port, pair, bundle, first = ours.recv()
            yield dials(listener.getsockname()[1], port, pair, bundle), first
        finally:
            for process in processes:
                process.kill()
                process.join()


def dials(port: int, proxy_port: int, pair: str, bundle: str) -> dict[str, Dial]:
    """Both ways to the server. TLS is set up once, as programs do that ask more than once."""
    context = ssl.create_default_context(cafile=bundle)
    field = b"Proxy-Authorization: Basic " + b64encode(pair.encode()) + b"\r\n"

    def connect(to: int) -> socket.socket:
        sock = socket.create_connection((HOST, to))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def intercepted() -> socket.socket:
        sock = connect(proxy_port)
        sock.sendall(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: x\r\n".encode() + field + b"\r\n")
        assert b" 200 " in sock.recv(65536)
        return sock

    return {
        "direct": lambda: (context.wrap_socket(connect(port), server_hostname=HOST), f"https://{HOST}:{port}", b""),
        "intercepted": lambda: (
            context.wrap_socket(intercepted(), server_hostname=HOST),
            f"https://{HOST}:{port}",
            b"",
        ),
    }


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Latency and throughput of both ways, and what interception adds or keeps."""
    latency: dict[str, dict[str, float]] = {}
    throughput: dict[str, dict[str, float]] = {}
    with running() as (ways, first):
        for kind, work in (("kept", kept_alive), ("new", one_each)):
            work(ways["intercepted"])
            direct = microseconds(work(ways["direct"]))
            found = microseconds(work(ways["intercepted"]))
            added = {f"added_{key}": round(value - direct[key], 1) for key, value in found.items()}
            latency |= {f"{kind} direct": direct, f"{kind} intercepted": {**found, **added}}
        for path in ("/large", "/chunked"):
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(DOWNLOADS):
                for name, dial in ways.items():
                    rates[name].append(download(dial, path))
            direct_rate = statistics.median(rates["direct"])
            for name, found_rates in rates.items():
                rate = statistics.median(found_rates)
                throughput[f"{path} {name}"] = {"mb_s": round(rate), "of_direct": round(rate / direct_rate, 2)}
    return {"latency": latency, "throughput": throughput, "first": {"environment": first}}


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
            print(f"  {name:20}", "  ".join(f"{key}={value:g}" for key, value in values.items()))


if __name__ == "__main__":
    main()
