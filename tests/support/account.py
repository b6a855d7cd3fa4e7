"""A daemon whose model wants an OpenAI account, and where to get one."""

import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.support.daemon import Daemon, running_daemon
from tests.support.home import make_home
from tests.support.oauth import OAuthServer
from tests.support.rpc_client import Message, RpcClient
from tests.support.scripted_model import ScriptedModel


class Office:
    """The model, the service that signs people in, and the daemon between them."""

    def __init__(self, model: ScriptedModel, issuer: OAuthServer, home: Path) -> None:
        self.model, self.issuer, self.home = model, issuer, home
        self._daemon: Daemon | None = None
        self._running, self._clients = AsyncExitStack(), AsyncExitStack()

    @property
    def daemon(self) -> Daemon:
        """The daemon that runs now."""
        assert self._daemon is not None
        return self._daemon

    @property
    def auth_file(self) -> Path:
        """Where sign-ins are kept."""
        return self.home / "auth.json"

    @property
    def sent(self) -> list[tuple[str | None, str | None]]:
        """The key or token, and the account, of each request to the model."""
        return [
            (headers.get("Authorization", "").removeprefix("Bearer ") or None, headers.get("ChatGPT-Account-ID"))
            for headers in self.model.headers
        ]

    def keep(self, **members: Any) -> None:
        """Sign in as another program would."""
        self.auth_file.write_bytes(orjson.dumps(members))

    def kept(self) -> dict[str, Any]:
        """What is in the file."""
        return orjson.loads(self.auth_file.read_bytes())

    async def start(self, **variables: str) -> Daemon:
        """Run a daemon, after the one before has ended."""
        await self.close()
        variables = self.issuer.environment | variables
        self._daemon = await self._running.enter_async_context(running_daemon(self.home, **variables))
        return self._daemon

    async def client(self, name: str = "tester") -> RpcClient:
        """A further client that has said hello."""
        client: RpcClient = await self._clients.enter_async_context(self.daemon.client())
        await client.initialize(name)
        return client

    async def clear(self) -> None:
        """Sign out, let all clients leave and forget what was asked: for the next test."""
        if self.auth_file.is_dir():
            shutil.rmtree(self.auth_file)
        revoked = len(self.issuer.asked("/oauth/revoke"))
        has_tokens = self.auth_file.exists() and "tokens" in self.kept()
        await (await self.client()).call("account/logout")
        if has_tokens:
            await self.issuer.wait_for("/oauth/revoke", revoked + 1)
        await self._clients.aclose()
        self.model.reset()
        self.issuer.reset()

    async def close(self) -> None:
        """End the daemon."""
        await self._clients.aclose()
        await self._running.aclose()


@asynccontextmanager
async def open_office(
    folder: Path,
    *,
    settings: Mapping[str, object] | None = None,
    without: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> AsyncGenerator[Office]:
    """An office with a running daemon. `settings` go into config.toml, less those of `without`, and `variables` into
    the daemon's environment. Beside OpenAI there is a provider `own` that wants no account."""
    async with ScriptedModel() as model, OAuthServer() as issuer:
        values: dict[str, object] = {
            "model": "gpt-6-luna",
            "model_provider": "openai",
            "openai_base_url": model.url,
            "chatgpt_base_url": model.url,
        }
        values = {name: value for name, value in {**values, **(settings or {})}.items() if name not in without}
        own = f'[model_providers.own]\nname = "Own"\nbase_url = "{model.url}"\n'
        home = make_home(folder / "home", settings=values, more=own)
        office = Office(model, issuer, home)
        try:
            await office.start(**(variables or {}))
            yield office
        finally:
            await office.close()


async def new_thread(client: RpcClient, office: Office, **params: Any) -> str:
    """The id of a new thread."""
    return (await client.call("thread/start", {"cwd": str(office.home), **params}))["thread"]["id"]


def told(client: RpcClient, *methods: str) -> list[Message]:
    """What a client was told of the account, as method and params."""
    methods = methods or ("account/login/completed", "account/updated")
    return [{"method": one["method"], **one["params"]} for one in client.notifications(*methods)]
