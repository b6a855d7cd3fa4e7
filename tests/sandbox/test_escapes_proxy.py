"""Nothing is reached around the managed proxy, nor through it against its rules."""

import os
import shutil
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from app_server.config.network_proxy import NetworkProxySettings
from app_server.exec.launch import launch
from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from app_server.network.decisions import NetworkDecisions
from app_server.network.egress import Egress, Execution
from app_server.network.policy import Attempt as Request
from app_server.network.policy import Judgement, NetworkPolicy
from app_server.network.proxy import NetworkProxy
from app_server.sandbox.permissions import PermissionProfile, workspace_write
from app_server.sandbox.sandbox import Confinement
from tests.sandbox import escapes_proxy, escapes_requests
from tests.sandbox.attempts import Attempt, Check, Commands, Host, marked, play, py, shown
from tests.sandbox.backends import BACKENDS, usable_backends
from tests.sandbox.forbidden import ALLOWED, RULES, Names, World, world
from tests.sandbox.talking import FINE, TALK, get

ATTEMPTS: list[Attempt] = [*escapes_proxy.ATTEMPTS, *escapes_requests.ATTEMPTS]

ENOUGH = 90

OURS = NetworkProxySettings(domains={**RULES, ALLOWED: "allow", "denied.test": "deny"})
ANYTHING = NetworkProxySettings(domains={"*": "allow"}, allow_local_binding=True)


class Nobody:
    """Allows nothing that the rules do not."""

    async def decide(self, attempt: Request) -> Judgement:
        """No."""
        del attempt
        return Judgement("deny", "decider", "not_allowed")

    def denied(self, attempt: Request, judgement: Judgement) -> None:
        """As it should be."""

    def abandoned(self, attempt: Request, waited_ms: int) -> None:
        """As it should be."""

    async def before_refusal(self) -> None:
        """Nothing ends because of it."""


@dataclass
class ProxiedCommands(Commands):
    """Commands with the proxy as their only way out."""

    egress: Egress | None = None

    async def start(self, argv: Sequence[str], host: Host, attempt: Attempt, *, other: bool = False) -> Process:
        """As `Commands` does, under the sandbox's own network."""
        del other
        egress = self.egress
        assert egress is not None
        env = await egress.environment({**os.environ, **host.env, "CONFINED": "1"})
        return await launch(
            self.sandbox,
            [*argv, host.mark],
            cwd=str(host.workspace),
            env=env,
            profile=attempt.adjust(host, self.profile),
            reaper=self.reaper,
            stdin=True,
            proxy_port=egress.port,
            serve=egress.serve,
        )


def profile(host: Host) -> PermissionProfile:
    return replace(workspace_write([str(host.workspace)], slash_tmp=False), proxy=OURS)


@pytest.fixture(scope="module")
async def reaper() -> AsyncIterator[Reaper]:
    async with Reaper() as reaper:
        yield reaper


@pytest.fixture(scope="module")
async def backends() -> dict[str, Confinement | str]:
    return await usable_backends()


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    host = Host(tmp_path / "host", f"proxied-{os.getpid()}-{abs(hash(request.node.name)) % 10**9}")
    yield host
    host.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


@asynccontextmanager
async def proxied(sandbox: Confinement, reaper: Reaper, host: Host) -> AsyncGenerator[ProxiedCommands]:
    """Commands with a real proxy, beside another one that may reach everything."""
    ours, anything = NetworkPolicy(OURS), NetworkPolicy(ANYTHING)
    bundles = host.top / "proxy"
    async with NetworkProxy(NetworkDecisions(), bundles, environ={}, resolve=Names().resolve) as proxy:
        other = await proxy.open(Execution("other"), lambda: anything, Nobody())
        known = urllib.parse.urlsplit((await other.environment({}))["HTTP_PROXY"])
        host.env["OTHERS_CREDENTIAL"] = f"{known.username}:{known.password}"
        egress = await proxy.open(Execution("ours"), lambda: ours, Nobody())
        yield ProxiedCommands(sandbox, reaper, profile(host), egress)
        with anyio.fail_after(10):
            await egress.close()
            await other.close()


def test_each_attempt_has_a_name_of_its_own() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
async def test_where_nobody_watches_it_is_possible_to(attempt: Attempt, reaper: Reaper) -> None:
    if (reason := await shown(attempt, reaper)) is not None:
        pytest.skip(f"CANNOT BE SHOWN HERE: {reason}")


CASES = [
    pytest.param(
        backend,
        attempt,
        id=f"{attempt.name}-{backend}",
        marks=[pytest.mark.xfail(reason=attempt.still_open[backend], strict=True)]
        if backend in attempt.still_open
        else [],
    )
    for backend in BACKENDS
    for attempt in ATTEMPTS
]


@pytest.mark.parametrize(("backend", "attempt"), CASES)
async def test_past_the_proxy_it_is_impossible_to(
    backend: str, attempt: Attempt, host: Host, reaper: Reaper, backends: dict[str, Confinement | str]
) -> None:
    sandbox = backends[backend]
    if isinstance(sandbox, str):
        pytest.skip(f"NO {backend.upper()} HERE, ITS TESTS DO NOT RUN: {sandbox}")
    if (reason := await shown(attempt, reaper)) is not None:
        pytest.skip(f"CANNOT BE SHOWN HERE, AND SO IS NOT TRIED: {reason}")
    async with proxied(sandbox, reaper, host) as runner:
        got_out, text = await play(attempt, host, runner)
    assert not got_out, text
    assert "tried" in text, text
    assert marked(host.mark) == []


@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_the_rules_allow_is_reached(
    backend: str, host: Host, reaper: Reaper, backends: dict[str, Confinement | str]
) -> None:
    sandbox = backends[backend]
    if isinstance(sandbox, str):
        pytest.skip(f"NO {backend.upper()} HERE, ITS TESTS DO NOT RUN: {sandbox}")
    tunnelled = b"CONNECT allowed.test:<PORT> HTTP/1.1\r\nHost: allowed.test\r\n<AUTH>\r\n\r\n"
    code = f"""
        say({get(FINE)!r})
        say({tunnelled!r}, b"GET /tunnel HTTP/1.0\\r\\nConnection: close\\r\\n\\r\\n", enough=b"\\r\\n\\r\\n")
        socks(b"allowed.test", request=b"GET /socks HTTP/1.0\\r\\nConnection: close\\r\\n\\r\\n")
        socks(b"\\x7f\\0\\0\\2", 1, request=b"GET /address HTTP/1.0\\r\\nConnection: close\\r\\n\\r\\n")
        """
    made: list[World] = []

    def prepare(host: Host) -> Check:
        made.append(world(host))
        return lambda _: made[0].reached()

    async with proxied(sandbox, reaper, host) as runner:
        got_out, text = await play(Attempt(name="fine", program=py(TALK, code), prepare=prepare), host, runner)
    assert not got_out, text
    assert made[0].site.paths == ["/", "/tunnel", "/socks", "/address"], text


async def test_of_all_attempts_enough_can_be_shown_on_this_machine(reaper: Reaper) -> None:
    possible = [attempt.name for attempt in ATTEMPTS if await shown(attempt, reaper) is None]
    print(f"{len(possible)} of {len(ATTEMPTS)} attempts succeed here where nobody watches")
    assert len(possible) >= ENOUGH
