"""The HTTP connections of the daemon to models: opened on first use, kept alive, closed with the daemon."""

import ipaddress
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from app_server.auth.fetching import Fetched, FetchFailed

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_TIMEOUT_S = 30.0
FETCH_S = 30.0
FETCH_BYTES = 8 << 20
"""How long a small request may take, and how much may come back."""


class HttpPool:
    """One pool for every provider. Use it as an async context manager around everything that asks models."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def session(self) -> "ClientSession":
        """The session that all requests share. Importing its library takes long and happens in a thread."""
        if self._session is None:
            await to_thread.run_sync(_load)
        if self._session is None:
            if self._closed:
                raise RuntimeError("the connections to models are closed")
            self._session = _open()
        return self._session

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Fetched:
        """One request that is over soon, with its whole answer; redirections are not followed. Raises FetchFailed.

        Its connection is not kept: such requests are rare.
        """
        session = await self.session()
        from aiohttp import ClientError, InvalidURL

        proxy = proxy_for(url)
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            raise FetchFailed("the proxy in the environment is of a kind that is not supported")
        reused: dict[str, bool] = {}
        try:
            with anyio.fail_after(FETCH_S):
                async with session.request(
                    method,
                    url,
                    headers={"User-Agent": "turnloom", "Accept": "application/json", "Connection": "close"}
                    | dict(headers or {}),
                    json=json,
                    data=form,
                    allow_redirects=False,
                    proxy=proxy,
                    trace_request_ctx=reused,
                ) as response:
                    body = b""
                    while chunk := await response.content.readany():
                        body += chunk
                        if len(body) > FETCH_BYTES:
                            raise FetchFailed("the answer is too large")
                    return Fetched(response.status, body)
        except TimeoutError:
            raise FetchFailed(f"no answer within {FETCH_S:.0f} s") from None
        except (ClientError, InvalidURL, OSError, ValueError) as error:
            raise FetchFailed(getattr(error, "strerror", None) or type(error).__name__) from None


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this URL; none for this machine and the exceptions in NO_PROXY."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _load() -> None:
    import aiohttp

    del aiohttp


def _open() -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, TraceConfig

    trace = TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=60),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        trace_configs=[trace],
        read_bufsize=256 * 1024,
        trust_env=False,
    )


async def _note_reuse(session: Any, context: Any, params: Any) -> None:
    cast("dict[str, bool]", context.trace_request_ctx)["reused"] = True
