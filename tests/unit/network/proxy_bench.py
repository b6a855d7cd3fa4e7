"""A proxy with one command behind it, servers it can reach, and names that only these tests know."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from msgspec.structs import replace

from app_server.config.network_proxy import HostAction, NetworkMode, NetworkProxySettings
from app_server.network.decisions import NetworkDecided, NetworkDecisions
from app_server.network.egress import Egress, Execution
from app_server.network.limits import Limits
from app_server.network.policy import Attempt, Judgement, NetworkPolicy
from app_server.network.proxy import NetworkProxy

LOCAL = "127.0.0.1"


@dataclass
class Doorkeeper:
    """A gate that answers what it is told to, and remembers what it heard."""

    answer: Judgement = field(default_factory=lambda: Judgement("deny", "decider", "not_allowed"))
    asked: list[Attempt] = field(default_factory=list[Attempt])
    refused: list[tuple[Attempt, Judgement]] = field(default_factory=list[tuple[Attempt, Judgement]])
    left: list[Attempt] = field(default_factory=list[Attempt])
    waits: anyio.Event | None = None
    is_asked: anyio.Event = field(default_factory=anyio.Event)
    heard: anyio.Event = field(default_factory=anyio.Event)
    cancelled: int = 0
    holds: anyio.Event | None = None
    """What a refusal waits for."""

    async def decide(self, attempt: Attempt) -> Judgement:
        self.asked.append(attempt)
        self.is_asked.set()
        try:
            if self.waits is not None:
                await self.waits.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return self.answer

    def denied(self, attempt: Attempt, judgement: Judgement) -> None:
        self.refused.append((attempt, judgement))
        self.heard.set()

    def abandoned(self, attempt: Attempt, waited_ms: int) -> None:
        self.left.append(attempt)
        self.heard.set()

    async def before_refusal(self) -> None:
        if self.holds is not None:
            await self.holds.wait()


class Names:
    """A resolver: names and the addresses they stand for, and how often each was looked up."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = dict(names)
        self.looked_up: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]


@dataclass
class Bench:
    """What a test holds of it."""

    proxy: NetworkProxy
    decisions: NetworkDecisions
    names: Names
    keeper: Doorkeeper
    egress: Egress
    settings: NetworkProxySettings
    environment: Mapping[str, str]
    """That of the command."""

    @property
    def url(self) -> str:
        """The proxy, as a command finds it in its environment."""
        return self.environment["HTTP_PROXY"]

    @property
    def credential(self) -> str:
        return self.url.split(":", 2)[2].split("@", maxsplit=1)[0]

    @property
    def decided(self) -> list[tuple[str, str, str | None]]:
        """Protocol, decision and reason of all decisions, oldest first."""
        return [summary(one) for one in reversed(self.decisions.newest())]

    def rule(self, rules: Mapping[str, HostAction]) -> None:
        """Replace the rules."""
        self.settings = replace(self.settings, domains=rules)

    async def connect(self) -> SocketStream:
        """A connection of the command to the proxy."""
        return await anyio.connect_tcp(LOCAL, self.egress.port)

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes on a new connection, and read all that comes back until it ends."""
        async with await self.connect() as stream:
            await stream.send(raw)
            return await read_all(stream)

    @property
    def authorization(self) -> bytes:
        """The field that shows the credential, with its line end."""
        from base64 import b64encode

        return b"Proxy-Authorization: Basic " + b64encode(f"turnloom:{self.credential}".encode()) + b"\r\n"


def summary(one: NetworkDecided) -> tuple[str, str, str | None]:
    return one.attempt.protocol, one.judgement.decision, one.judgement.reason


@asynccontextmanager
async def bench(
    tmp_path: Path,
    *allowed: str,
    names: Mapping[str, Sequence[str]] | None = None,
    rules: Mapping[str, HostAction] | None = None,
    mode: NetworkMode = "full",
    learn: bool = False,
    local: bool = True,
    socks: bool = True,
    upstream: bool = True,
    environ: Mapping[str, str] | None = None,
    base: Mapping[str, str] | None = None,
    folder: str = "bundles",
    limits: Limits | None = None,
) -> AsyncGenerator[Bench]:
    """A proxy and one way out of it; `local` lets names lead to this machine, where the servers of tests are."""
    settings = NetworkProxySettings(
        mode=mode,
        domains={**dict.fromkeys(allowed, "allow"), **(rules or {})},
        allow_local_binding=local,
        learn=learn,
        enable_socks5=socks,
        allow_upstream_proxy=upstream,
    )
    decisions, keeper = NetworkDecisions(), Doorkeeper()
    known = Names(names if names is not None else {host: [LOCAL] for host in allowed})
    proxy = NetworkProxy(decisions, tmp_path / folder, environ=environ or {}, resolve=known, limits=limits)
    async with proxy:
        made: list[Bench] = []
        egress = await proxy.open(Execution("e1"), lambda: NetworkPolicy(made[0].settings), keeper)
        made.append(Bench(proxy, decisions, known, keeper, egress, settings, {}))
        made[0].environment = await egress.environment(base or {})
        yield made[0]


Handler = Callable[[ByteStream], Coroutine[None, None, None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncGenerator[int]:
    """A TCP server that runs `handle` for each connection; the value is its port."""

    async def serve(stream: ByteStream) -> None:
        async with stream:
            try:
                await handle(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host=LOCAL)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()


class Origin:
    """An HTTP server that answers with the same bytes to each request, and keeps what it was sent."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, stream: ByteStream) -> None:
        self.connections += 1
        while True:
            self.requests.append(await read_head(stream))
            await stream.send(self.answer)


async def read_head(stream: ByteStream) -> bytes:
    """Bytes up to and with an empty line."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive(1)
    return data


async def read_all(stream: ByteStream) -> bytes:
    """Bytes up to the end."""
    data = b""
    try:
        while True:
            data += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return data


async def exactly(stream: ByteStream, count: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < count:
        data += await stream.receive(count - len(data))
    return data
