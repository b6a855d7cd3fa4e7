"""Daemons of this checkout with a scripted model behind them, shared by the tests of a module."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.sandbox.backends import usable_backends
from tests.support.daemon import Daemon, running_daemon
from tests.support.home import make_home
from tests.support.hosts import hosts_file
from tests.support.networked import HOSTS, NAMES, SETTINGS, rules, without_bubblewrap
from tests.support.reviews import Roles
from tests.support.scripted_model import ScriptedModel
from tests.support.stage import Stage, Transport, listen_on
from tests.support.web import WebServer


class Shared:
    """The model of a module, and one daemon for each network transport that its tests ask for.

    `settings` and `more` go into config.toml, `variables` into the environment of the daemons.
    """

    def __init__(
        self,
        folder: Path,
        model: ScriptedModel,
        *,
        settings: Mapping[str, object] | None = None,
        more: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.model = folder, model
        self._settings, self._more, self._variables = settings, more, variables or {}
        self._daemons: dict[Transport, Daemon] = {}
        self._running = AsyncExitStack()

    async def __aenter__(self) -> "Shared":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._running.aclose()

    def home(self, transport: Transport) -> Path:
        """Where the daemons of this transport keep their threads."""
        folder = self.folder / transport
        if folder.exists():
            return folder
        return make_home(folder, self.model.url, settings=self._settings, more=self._more)

    async def daemon(self, transport: Transport) -> Daemon | None:
        """The listening daemon, started at its first use; none on stdio."""
        if transport == "stdio":
            return None
        if transport not in self._daemons:
            home = self.home(transport)
            running = running_daemon(home, listen_on(transport, home), **self._variables)
            self._daemons[transport] = await self._running.enter_async_context(running)
        return self._daemons[transport]


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    async with ScriptedModel() as model, Shared(tmp_path_factory.mktemp("homes"), model) as shared:
        yield shared


@asynccontextmanager
async def networked(folder: Path, backend: str) -> AsyncGenerator[Shared]:
    """Daemons with a managed network and hosts of their own, whose commands are confined by this backend."""
    usable = await usable_backends()
    if isinstance(reason := usable[backend], str):
        pytest.skip(f"NO {backend.upper()} HERE, ITS TESTS DO NOT RUN: {reason}")
    variables = hosts_file(folder / "hosts", HOSTS)
    if backend == "landlock":
        variables["PATH"] = without_bubblewrap(folder)
    async with (
        ScriptedModel() as model,
        Shared(folder, model, settings=SETTINGS, more=rules(), variables=variables) as shared,
    ):
        yield shared


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    """A server on this machine, which is every host that tests of the network know."""
    async with WebServer() as web:
        yield web


@pytest.fixture(scope="module")
def names(shared: Shared) -> Iterator[str]:
    """Hosts that no test has used."""
    return iter(NAMES)


@pytest.fixture
def host(names: Iterator[str]) -> str:
    """A host that no rule knows."""
    return next(names)


@pytest.fixture
def transport() -> Transport:
    """How clients connect; tests that care are parametrised by it."""
    return "ws"


@pytest.fixture
async def stage(shared: Shared, transport: Transport, tmp_path: Path) -> AsyncIterator[Stage]:
    """The module's daemon with a model that has forgotten what earlier tests told it."""
    shared.model.reset()
    cwd = tmp_path / "project"
    cwd.mkdir()
    daemon = await shared.daemon(transport)
    async with Stage(shared.model, shared.home(transport), cwd, daemon) as stage:
        yield stage


@pytest.fixture
def roles(stage: Stage) -> Roles:
    """The module's model as agent and reviewer."""
    return Roles(stage.model)
