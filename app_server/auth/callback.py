"""The page on this machine to which a browser comes back from signing in."""

import hmac
from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio import to_thread

from app_server.auth.fetching import OAuthError
from protocol.jsonrpc import RpcError

if TYPE_CHECKING:
    from aiohttp import web

PORTS = (1455, 1457)
"""Where OpenAI lets browsers come back to."""

CLOSE_S = 2.0

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "Connection": "close",
}


class CallbackServer:
    """Listens on the loopback address while it is entered, for one browser that names the state.

    How the `async with` is left is what the browser's user reads: an OAuthError or RpcError is why it failed.
    """

    def __init__(self, state: str, *, any_port: bool = False) -> None:
        """`any_port` allows a port of the system's choice where both usual ones are taken."""
        self._state = state
        self._ports = (*PORTS, 0) if any_port else PORTS
        self._port = 0
        self._query: Mapping[str, str] | None = None
        self._came, self._over = anyio.Event(), anyio.Event()
        self._problem: str | None = None

    @property
    def redirect_uri(self) -> str:
        """Where the browser is to come back to."""
        return f"http://127.0.0.1:{self._port}/auth/callback"

    async def code(self) -> str:
        """Wait for the browser; what it brought. Raises OAuthError if the user was refused."""
        await self._came.wait()
        query = self._query or {}
        if "error" in query or not query.get("code"):
            said = " ".join(query[name] for name in ("error", "error_description") if name in query)
            raise OAuthError(f"Sign-in failed: {said[:300] or 'no code came back'}")
        return query["code"]

    async def __aenter__(self) -> Self:
        await to_thread.run_sync(_load)
        from aiohttp import web

        application = web.Application(client_max_size=1 << 16)
        application.router.add_get("/auth/callback", self._return)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        for port in self._ports:
            try:
                await web.TCPSite(self._runner, "127.0.0.1", port).start()
            except OSError:
                continue
            self._port = self._runner.addresses[0][1]
            return self
        await self._runner.cleanup()
        taken = " and ".join(map(str, PORTS))
        raise OAuthError(
            f"the ports {taken} of this machine are taken, one of which signing in needs; "
            "end what uses them, or sign in with a device code"
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OAuthError | RpcError):
            self._problem = str(error)
        elif error is not None:
            self._problem = "It was cancelled."
        self._over.set()
        with anyio.move_on_after(CLOSE_S * 2, shield=True):
            await self._runner.cleanup()

    async def _return(self, request: "web.Request") -> "web.Response":
        if not hmac.compare_digest(request.query.get("state", "").encode(), self._state.encode()):
            return _page(400, "This page belongs to another sign-in", "Start again from where you wanted to sign in.")
        if self._query is None:
            self._query = dict(request.query)
            self._came.set()
        await self._over.wait()
        if self._problem is not None:
            return _page(200, "Signing in failed", self._problem)
        return _page(200, "You are signed in", "You can close this page and go back to your work.")


def _page(status: int, title: str, text: str) -> "web.Response":
    import html

    from aiohttp import web

    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:16px sans-serif;max-width:36em;margin:20vh auto;padding:0 1em}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></html>"
    )
    return web.Response(status=status, text=body, content_type="text/html", headers=_HEADERS)


def _load() -> None:
    import_module("aiohttp.web")
