"""Signing in to ChatGPT by a browser on this machine or a code that is typed elsewhere. One login runs at a time."""

import logging
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import anyio
from msgspec import Struct, field

from app_server.auth.callback import CallbackServer
from app_server.auth.credentials import Tokens
from app_server.auth.fetching import Fetch, OAuthError
from app_server.auth.oauth import (
    DeviceCode,
    Issuer,
    Proof,
    authorize_url,
    exchange_code,
    poll_device,
    request_device_code,
)
from app_server.config.account import AccountSettings
from protocol.jsonrpc import RpcError, invalid_request

logger = logging.getLogger(__name__)

LOGIN_S = 15 * 60.0
"""How long somebody may take to sign in."""

CANCELLED = "Login was not completed"

SignedIn = Callable[[Tokens, AccountSettings], Awaitable[None]]
Tell = Callable[[str | None, str | None], None]


class Login(Struct, eq=False):
    """A login that waits for somebody. `url` is where they go; `user_code` is what they type there, if anything."""

    id: str = field(default_factory=lambda: str(uuid4()))
    url: str = ""
    user_code: str = ""
    problem: str | None = None
    """Why it did not even begin."""
    ready: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Logins:
    """The login that runs. A new one takes the place of the one before."""

    def __init__(
        self, issuer: Issuer, fetch: Fetch, spawn: Callable[..., None], signed_in: SignedIn, tell: Tell
    ) -> None:
        """`signed_in` keeps the tokens, or raises RpcError; `tell` is given the login's id and its error."""
        self._issuer, self._fetch, self._spawn = issuer, fetch, spawn
        self._signed_in, self._tell = signed_in, tell
        self._running: Login | None = None

    async def by_browser(self, settings: AccountSettings, originator: str) -> Login:
        """Wait on a port of this machine for a browser that comes back from `url`. Raises -32600 without a port."""
        return await self._begin(self._browser, settings, originator)

    async def by_device(self, settings: AccountSettings) -> Login:
        """Wait until somebody has typed the code. Raises -32600 where the service gives none."""
        return await self._begin(self._device, settings)

    async def cancel(self, login_id: str) -> bool:
        """End a login; False if it does not run. Raises -32600 for what is no id of a login."""
        try:
            UUID(login_id)
        except ValueError:
            raise invalid_request(f"invalid login id: {login_id}") from None
        login = self._running
        if login is None or login.id != login_id:
            return False
        login.scope.cancel()
        return True

    async def cancel_running(self) -> None:
        """End the login that runs, if any does. Clients have been told when this returns."""
        while (login := self._running) is not None:
            login.scope.cancel()
            await login.over.wait()

    async def _begin(self, work: Callable[..., Awaitable[None]], settings: AccountSettings, *more: str) -> Login:
        await self.cancel_running()
        login = self._running = Login()
        self._spawn(self._run, login, work, settings, *more)
        try:
            await login.ready.wait()
        except BaseException:
            # Nobody learns where to go.
            login.scope.cancel()
            raise
        if login.problem is not None:
            raise invalid_request(login.problem)
        return login

    async def _run(
        self, login: Login, work: Callable[..., Awaitable[None]], settings: AccountSettings, *more: str
    ) -> None:
        error: str | None = CANCELLED
        try:
            with login.scope, anyio.move_on_after(LOGIN_S) as limit:
                await work(login, settings, *more)
                error = None
            if limit.cancelled_caught:
                error = f"nobody signed in within {LOGIN_S / 60:.0f} minutes"
        except OAuthError as failure:
            error = str(failure)
        except RpcError as failure:
            error = failure.message
        finally:
            if self._running is login:
                self._running = None
            if login.ready.is_set():
                self._tell(login.id, error)
            else:
                login.problem = error
                login.ready.set()
            login.over.set()

    async def _browser(self, login: Login, settings: AccountSettings, originator: str) -> None:
        proof = Proof()
        async with CallbackServer(proof.state, any_port=not self._issuer.is_usual) as server:
            login.url = authorize_url(self._issuer, proof, server.redirect_uri, originator, settings.workspaces)
            login.ready.set()
            code = await server.code()
            tokens = await exchange_code(self._fetch, self._issuer, code, proof.verifier, server.redirect_uri)
            await self._signed_in(tokens, settings)

    async def _device(self, login: Login, settings: AccountSettings) -> None:
        device: DeviceCode = await request_device_code(self._fetch, self._issuer)
        login.url, login.user_code = device.url, device.user_code
        login.ready.set()
        while True:
            if (tokens := await self._poll(device)) is not None:
                break
            await anyio.sleep(device.interval_s)
        await self._signed_in(tokens, settings)

    async def _poll(self, device: DeviceCode) -> Tokens | None:
        try:
            return await poll_device(self._fetch, self._issuer, device)
        except OAuthError as error:
            # A service that cannot be reached for a moment ends no login; one that refuses does.
            if error.status is not None and error.status < 500:
                raise
            logger.info("%s", error)
            return None
