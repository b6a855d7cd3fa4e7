"""AuthManager: what the daemon is signed in with now, for model requests and for clients that ask."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import anyio
from anyio import to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from app_server.auth.credentials import Credentials, Mode, NotAToken, Tokens, identity_of
from app_server.auth.fetching import Fetch, OAuthError
from app_server.auth.storage import CredentialStore, StorageError, choose_store, try_lock
from app_server.config.account import AccountSettings
from app_server.rpc.connection import Connection, Connections
from app_server.rpc.outbound import notification_json
from app_server.rpc.scopes import FULL
from app_server.rpc.server_requests import NoAnswer, ServerRequests
from app_server.telemetry.secrecy import Discreet
from protocol.jsonrpc import RpcError, invalid_request

if TYPE_CHECKING:
    from app_server.auth.login import Login, Logins
    from protocol.v2.account import PlanType
    from protocol.v2.login import ChatgptAuthTokensLoginAccountParams

logger = logging.getLogger(__name__)

CLIENT_ANSWER_S = 10.0
"""How long the client that looks after tokens may take to renew them."""

LOCK_S = 20.0
"""How long another program that renews the same tokens is waited for."""

LOCK_POLL_S = 0.05

EXTERNAL = (
    "External auth is active. Use account/login/start (chatgptAuthTokens) to update it or account/logout to clear it."
)

_UNREAD = object()


class Bearer(Discreet, frozen=True):
    """What one request to a model carries. `account_id` is that of a ChatGPT account."""

    token: str
    mode: Mode = "apikey"
    account_id: str | None = None


class _Renewal(Struct, eq=False):
    """Tokens that are being renewed, whoever waits for them."""

    error: OAuthError | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class AuthManager:
    """The account. Everything that changes it goes through here, and clients are told of every change."""

    def __init__(
        self,
        home: Path,
        settings: Callable[[], AccountSettings],
        *,
        fetch: Fetch,
        spawn: Callable[..., None],
        connections: Connections,
        server_requests: ServerRequests,
        changed: Callable[[bool], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`settings` gives those in force: what they do not allow counts as no sign-in, though it was made before them.

        `spawn` starts what outlives a request; `changed` is told whether anybody is signed in, when that may differ.

        The environment may name another service for signing in than OpenAI's.
        """
        self._home, self._fetch, self._spawn, self._environ = home, fetch, spawn, environ
        self._connections, self._server_requests, self._changed = connections, server_requests, changed
        self._settings = settings
        self._store: CredentialStore = choose_store(settings().credentials_store, home)
        self._kept: Credentials | None = None
        self._external: Credentials | None = None
        self._giver: Connection | None = None
        self._stamp: object = _UNREAD
        self._ended: str | None = None
        self._renewal: _Renewal | None = None
        self._writing = anyio.Lock()

    @cached_property
    def logins(self) -> "Logins":
        """The logins that need a second step. Its parts are imported with the first of them."""
        from app_server.auth.login import Logins
        from app_server.auth.oauth import issuer_in

        return Logins(issuer_in(self._environ), self._fetch, self._spawn, self._signed_in_to_chatgpt, self._tell)

    # What is

    async def load(self) -> None:
        """Read what is kept. What cannot be read counts as nothing, and is logged."""
        first, before = self._stamp is _UNREAD, self._kept
        self._stamp, self._kept = await to_thread.run_sync(self._read)
        if _shown(self._kept) != _shown(before):
            self._changed(self._kept is not None)
            if not first and self._external is None:
                self._tell_updated()

    async def current(self) -> Credentials | None:
        """What is in force, also if another program has changed it; None where the settings do not allow it."""
        if self._external is None:
            stamp = await to_thread.run_sync(self._store.stamp)
            if stamp != self._stamp:
                await self.load()
        now = self._external or self._kept
        return now if now is not None and _may_be_used(now, self._settings()) else None

    async def account(self, *, renewed: bool = False) -> Credentials | None:
        """What clients are shown: nothing, if the sign-in has ended. With `renewed` its tokens are renewed first."""
        current = await self.current()
        if renewed and current is not None and current.mode == "chatgpt":
            try:
                await self._renew_once(current)
            except OAuthError as error:
                logger.warning("%s", error)
            current = await self.current()
        return None if current is None or self._has_ended(current) else current

    async def bearer(self) -> Bearer | None:
        """What the next request carries; None if nobody has signed in. Raises OAuthError if the sign-in has ended."""
        current = await self.current()
        if current is None:
            return None
        if current.mode == "chatgpt" and current.is_due():
            try:
                await self._renew_once(current)
            except OAuthError as error:
                if error.final:
                    raise
                logger.warning("tokens could not be renewed: %s", error)
            current = await self.current() or current
        return _bearer(current)

    async def renew(self, refused: Bearer) -> Bearer | None:
        """Something better than what a server refused, or None. Raises OAuthError if somebody has to sign in again."""
        current = await self.current()
        if current is None or (current.secret == refused.token and current.mode == "apikey"):
            return None
        if current.secret == refused.token:
            await self._renew_once(current)
            current = await self.current()
        return None if current is None or current.secret == refused.token else _bearer(current)

    async def has_chatgpt(self) -> bool:
        """Whether somebody is signed in to ChatGPT."""
        now = await self.account()
        return now is not None and now.tokens is not None

    async def needs_chatgpt(self, what: str) -> RpcError:
        """Why something that OpenAI keeps for ChatGPT accounts is refused; `what` ends the sentence."""
        now = await self.account()
        if now is not None and now.tokens is not None:
            return invalid_request(f"turnloom does not ask OpenAI {what} yet")
        # An API key is no way there; without any sign-in more than one is.
        kind = "codex account" if now is None else "chatgpt"
        return invalid_request(f"{kind} authentication required {what}")

    async def needs_catalogue(self, what: str) -> RpcError:
        """Why something in the catalogue of plugins that OpenAI keeps is refused; `what` begins the sentence."""
        now = await self.account()
        if now is not None and now.tokens is not None:
            return invalid_request(f"{what}: turnloom does not ask OpenAI for its catalogue of plugins yet")
        end = "" if now is None else "; api key auth is not supported"
        return invalid_request(f"{what}: chatgpt authentication required for remote plugin catalog{end}")

    # Signing in and out

    async def sign_in_with_key(self, key: str, settings: AccountSettings) -> None:
        """Use an API key from now on. Raises -32600 for one that is empty, not allowed or cannot be kept."""
        if settings.forced_method == "chatgpt":
            raise invalid_request("API key login is disabled. Use ChatGPT login instead.")
        self._refuse_beside_external()
        key = key.strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise invalid_request("apiKey must be a key: text without spaces, and not empty")
        await self.logins.cancel_running()
        await self._keep(Credentials("apikey", key))

    async def sign_in_with_tokens(
        self, params: "ChatgptAuthTokensLoginAccountParams", settings: AccountSettings, giver: Connection
    ) -> None:
        """Use tokens that a client looks after, until it takes them back. They are kept nowhere. Raises -32600."""
        if settings.forced_method == "api":
            raise invalid_request("External ChatGPT auth is disabled. Use API key login instead.")
        given = _external(params.access_token, params.chatgpt_account_id, params.chatgpt_plan_type)
        _check_workspace(params.chatgpt_account_id, settings)
        await self.logins.cancel_running()
        self._external, self._giver = given, giver
        self._changed(True)

    async def sign_in_by_browser(self, settings: AccountSettings, originator: str) -> "Login":
        """Begin a login to ChatGPT whose user goes to a page. Raises -32600."""
        self._check_chatgpt(settings)
        return await self.logins.by_browser(settings, originator)

    async def sign_in_by_device(self, settings: AccountSettings) -> "Login":
        """Begin a login to ChatGPT whose user types a code somewhere else. Raises -32600."""
        self._check_chatgpt(settings)
        return await self.logins.by_device(settings)

    def _check_chatgpt(self, settings: AccountSettings) -> None:
        if settings.forced_method == "api":
            raise invalid_request("ChatGPT login is disabled. Use API key login instead.")
        self._refuse_beside_external()

    async def sign_out(self) -> None:
        """Forget everything. Raises -32600 where what is kept cannot be removed."""
        await self.logins.cancel_running()
        await self.current()
        before = self._external or self._kept
        async with self._writing:
            try:
                await to_thread.run_sync(self._store.delete)
            except StorageError as error:
                raise invalid_request(f"logout failed: {error}") from None
            self._kept = self._external = self._giver = self._ended = None
            self._stamp = await to_thread.run_sync(self._store.stamp)
        self._changed(False)
        if before is not None and before.mode == "chatgpt" and before.tokens is not None:
            self._spawn(self._revoke, before.tokens)

    def tell_signed_in(self) -> None:
        """Tell clients of a sign-in that needed no second step."""
        self._tell(None, None)

    def tell_signed_out(self) -> None:
        """Tell clients that nobody is signed in."""
        self._tell_updated()

    def _refuse_beside_external(self) -> None:
        if self._external is not None:
            raise invalid_request(EXTERNAL)

    async def _signed_in_to_chatgpt(self, tokens: Tokens, settings: AccountSettings) -> None:
        # The end of a login; raises RpcError with what the user reads.
        _check_workspace(tokens.account_id, settings)
        await self._keep(Credentials("chatgpt", tokens=tokens, refreshed_at=time.time()))

    async def _keep(self, credentials: Credentials, *, instead_of: Credentials | None = None) -> None:
        """Keep them, unless what they take the place of has been given up meanwhile. Raises -32600."""

        def save() -> object:
            self._store.save(credentials)
            return self._store.stamp()

        async with self._writing:
            if instead_of is not None and (self._kept is None or self._kept.secret != instead_of.secret):
                return
            try:
                stamp = await to_thread.run_sync(save)
            except StorageError as error:
                raise invalid_request(f"the sign-in could not be kept: {error}") from None
            self._stamp, self._kept, self._ended = stamp, credentials, None
        self._changed(True)

    # Renewing

    async def _renew_once(self, current: Credentials) -> None:
        """Renew, or wait for who is at it already. Raises OAuthError."""
        if self._has_ended(current):
            raise OAuthError("the sign-in has ended; sign in again", final=True)
        renewal = self._renewal
        if renewal is None:
            # A request that is given up in between must not take a spent refresh token along.
            renewal = self._renewal = _Renewal()
            self._spawn(self._run_renewal, renewal, current)
        await renewal.done.wait()
        if renewal.error is not None:
            raise renewal.error

    async def _run_renewal(self, renewal: _Renewal, before: Credentials) -> None:
        try:
            if before.mode == "chatgptAuthTokens":
                await self._ask_giver(before)
            else:
                await self._refresh(before)
        except OAuthError as error:
            if error.final and before.tokens is not None:
                self._ended = before.tokens.access
            renewal.error = error
        finally:
            self._renewal = None
            renewal.done.set()

    async def _refresh(self, before: Credentials) -> None:
        from app_server.auth.oauth import issuer_in, refresh

        assert before.tokens is not None
        lock = await self._lock()
        try:
            await self.load()
            if self._kept is None or self._kept.secret != before.secret:
                return
            tokens = await refresh(self._fetch, issuer_in(self._environ), before.tokens)
            new = replace(self._kept, tokens=tokens, refreshed_at=time.time())
            try:
                await self._keep(new, instead_of=before)
            except RpcError as error:
                # The old refresh token is spent: what cannot be kept still serves this daemon.
                logger.warning("%s", error.message)
                self._kept = new
        finally:
            if lock is not None:
                os.close(lock)

    async def _lock(self) -> int | None:
        with anyio.move_on_after(LOCK_S), suppress(OSError):
            while True:
                if (lock := await to_thread.run_sync(try_lock, self._home)) is not None:
                    return lock
                await anyio.sleep(LOCK_POLL_S)
        return None

    async def _ask_giver(self, before: Credentials) -> None:
        from protocol.v2.login import ACCOUNT_CHATGPT_AUTH_TOKENS_REFRESH, ChatgptAuthTokensRefreshParams

        trusted = [connection for connection in self._connections.initialized() if connection.scope is FULL]
        asked = [connection for connection in trusted if connection is self._giver] or trusted
        params = ChatgptAuthTokensRefreshParams(reason="unauthorized", previous_account_id=before.identity.account_id)
        try:
            with anyio.fail_after(CLIENT_ANSWER_S):
                if not asked:
                    raise NoAnswer("the client is gone")
                answer = await self._server_requests.ask(
                    ACCOUNT_CHATGPT_AUTH_TOKENS_REFRESH,
                    params,
                    "account",
                    asked,
                    opened=lambda: None,
                    resolved=lambda request_id: None,
                )
        except NoAnswer as error:
            raise OAuthError(f"the client that signed in did not renew its tokens: {error}") from None
        except TimeoutError:
            raise OAuthError(f"the client did not renew its tokens within {CLIENT_ANSWER_S:.0f} s") from None
        given = answer.response
        if self._external is not before:
            return
        try:
            new = _external(given.access_token, given.chatgpt_account_id, given.chatgpt_plan_type)
        except RpcError as error:
            raise OAuthError(f"the client gave tokens that cannot be used: {error.message}") from None
        self._external, self._giver = new, answer.connection

    async def _revoke(self, tokens: Tokens) -> None:
        from app_server.auth.oauth import issuer_in, revoke

        try:
            await revoke(self._fetch, issuer_in(self._environ), tokens)
        except OAuthError as error:
            logger.info("the tokens could not be revoked: %s", error)

    def _has_ended(self, credentials: Credentials) -> bool:
        return self._ended is not None and credentials.secret == self._ended

    def _read(self) -> tuple[object, Credentials | None]:
        stamp = self._store.stamp()
        try:
            return stamp, self._store.load()
        except StorageError as error:
            logger.warning("%s", error)
            return stamp, None

    # Telling

    def _tell(self, login_id: str | None, error: str | None) -> None:
        """A login has come to its end; `error` says why it failed."""
        from protocol.v2.login import ACCOUNT_LOGIN_COMPLETED, AccountLoginCompletedNotification

        params = AccountLoginCompletedNotification(success=error is None, error=error, login_id=login_id)
        frame = notification_json(ACCOUNT_LOGIN_COMPLETED.method, params.model_dump_json().encode())
        self._connections.broadcast(frame)
        if error is None:
            self._tell_updated()

    def _tell_updated(self) -> None:
        from protocol.v2.login import ACCOUNT_UPDATED, AccountUpdatedNotification

        now = self._external or self._kept
        plan = None if now is None or now.tokens is None else plan_of(now)
        params = AccountUpdatedNotification(auth_mode=None if now is None else now.mode, plan_type=plan)
        frame = notification_json(ACCOUNT_UPDATED.method, params.model_dump_json().encode())
        self._connections.broadcast(frame)


def plan_of(credentials: Credentials) -> "PlanType":
    """The plan of a ChatGPT account in the protocol's words."""
    from protocol.v2.account import PlanType

    plan = (credentials.identity.plan or "").lower()
    return cast("PlanType", plan) if plan in get_args(PlanType) else "unknown"


def _shown(credentials: Credentials | None) -> object:
    """What tells one account from another; not its tokens, which come and go."""
    return None if credentials is None else (credentials.mode, credentials.api_key, credentials.identity.account_id)


def _bearer(credentials: Credentials) -> Bearer:
    account_id = None if credentials.tokens is None else credentials.identity.account_id
    return Bearer(credentials.secret or "", credentials.mode, account_id)


def _external(access_token: str, account_id: str, plan: str | None) -> Credentials:
    try:
        identity_of(access_token)
    except NotAToken as error:
        raise invalid_request(f"accessToken is not a JSON web token: {error}") from None
    if not account_id.strip():
        raise invalid_request("chatgptAccountId must not be empty")
    return Credentials("chatgptAuthTokens", tokens=Tokens(access_token, account_id=account_id.strip()), plan=plan)


def _may_be_used(credentials: Credentials, settings: AccountSettings) -> bool:
    """Whether the settings leave this way in open."""
    if credentials.tokens is None:
        return settings.forced_method != "chatgpt"
    allowed = not settings.workspaces or credentials.identity.account_id in settings.workspaces
    return allowed and settings.forced_method != "api"


def _check_workspace(account_id: str | None, settings: AccountSettings) -> None:
    if settings.workspaces and account_id not in settings.workspaces:
        allowed = ", ".join(settings.workspaces)
        raise invalid_request(
            f"only these workspaces may be signed in to: {allowed} (forced_chatgpt_workspace_id); this is {account_id}"
        )
