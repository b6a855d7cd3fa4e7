"""HTTPS servers under an authority that only these tests know, and a proxy in limited mode that trusts it."""

import ipaddress
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener, TLSStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app_server.config.network_proxy import HostAction
from tests.unit.network.proxy_bench import LOCAL, Bench, Handler, bench, exactly, read_head

HOST = "files.test"


class TestAuthority:
    """Signs certificates of servers. `file` is its own, for those who are to trust it."""

    __test__ = False

    def __init__(self, folder: Path, name: str = "tests only") -> None:
        self._folder, self._key, self._count = folder, ec.generate_private_key(ec.SECP256R1()), 0
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = self._builder(self._name, self._key.public_key(), 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_text(self.pem)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=60)).not_valid_after(now + timedelta(days=days))

    def context(self, *hosts: str, days: int = 30) -> ssl.SSLContext:
        """For a server of these names and addresses, with a certificate that is valid for `days` from now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(*hosts, days=days))
        return context

    def certificate(self, *hosts: str, days: int = 30) -> Path:
        """The file of such a certificate, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_name(host) for host in hosts]
        builder = self._builder(x509.Name([]), key.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        signed = builder.sign(self._key, hashes.SHA256())
        self._count += 1
        file = self._folder / f"server-{self._count}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
        return file


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@asynccontextmanager
async def serving_tls(handle: Handler, context: ssl.SSLContext) -> AsyncGenerator[int]:
    """A TLS server that runs `handle` for each connection; the value is its port."""

    async def serve(stream: ByteStream) -> None:
        async with stream:
            try:
                await handle(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                pass

    below = await anyio.create_tcp_listener(local_host=LOCAL)
    listener = TLSListener(below, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield below.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()


class _Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving_files(folder: Path, context: ssl.SSLContext) -> Generator[int]:
    """An HTTPS server of the files of a folder; the value is its port."""
    server = ThreadingHTTPServer((LOCAL, 0), partial(_Files, directory=folder))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def limited(
    tmp_path: Path,
    authority: TestAuthority | None,
    *allowed: str,
    environ: Mapping[str, str] | None = None,
    base: Mapping[str, str] | None = None,
    rules: Mapping[str, HostAction] | None = None,
    names: Mapping[str, list[str]] | None = None,
    folder: str = "bundles",
) -> AsyncGenerator[Bench]:
    """A proxy in limited mode with one command; the daemon's environment names the authority of the servers."""
    trusted = {} if authority is None else {"SSL_CERT_FILE": str(authority.file)}
    async with bench(
        tmp_path,
        *(allowed or (HOST,)),
        names=names,
        rules=rules,
        mode="limited",
        environ={**trusted, **(environ or {})},
        base=base,
        folder=folder,
    ) as proxy:
        yield proxy


async def run(proxy: Bench, *argv: str, cwd: Path | None = None, **more: str) -> CompletedProcess[bytes]:
    """A program in the command's environment, with nothing of these tests' own but where programs are."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd or "/nonexistent"), **proxy.environment, **more}
    return await anyio.run_process(argv, env=env, cwd=cwd, check=False)


def trusting(proxy: Bench, *protocols: str) -> ssl.SSLContext:
    """What the command's programs trust: the file that its environment names."""
    context = ssl.create_default_context(cafile=proxy.environment["SSL_CERT_FILE"])
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


async def connected(proxy: Bench, host: str, port: int) -> SocketStream:
    """A tunnel, as yet without TLS in it."""
    stream = await proxy.connect()
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    await stream.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + proxy.authorization + b"\r\n")
    head = await read_head(stream)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return stream


@asynccontextmanager
async def tunnelled(
    proxy: Bench, host: str, port: int, context: ssl.SSLContext | None = None
) -> AsyncGenerator[TLSStream]:
    """TLS with a host through the proxy."""
    stream = await connected(proxy, host, port)
    async with stream:
        yield await TLSStream.wrap(stream, hostname=host, ssl_context=context or trusting(proxy))


def request(method: str, authority: str, *fields: str, target: str = "/", body: bytes = b"") -> bytes:
    """The bytes of a request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {authority}", *fields, "", ""]).encode() + body


async def read_answer(stream: ByteStream) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and body of an answer that says how long it is."""
    head = (await read_head(stream)).decode()
    first, *lines = head.rstrip("\r\n").split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), fields, await exactly(stream, int(fields.get("content-length", 0)))
