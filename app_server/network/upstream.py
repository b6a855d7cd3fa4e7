"""The proxy of the company, as the environment of the daemon names it, and the hosts for which it is used."""

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from app_server.network.refusals import Unreachable


class UpstreamProxy(Struct, frozen=True):
    """An HTTP proxy on the way out. `authorization` is the value of the field that it wants to see."""

    host: str
    port: int
    authorization: bytes | None = None


class _Named(Struct, frozen=True):
    variable: str
    url: str


class UpstreamProxies:
    """What HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say; lower case wins, as for most programs.

    Only `http://` proxies can be used. Another kind is no reason to go around it: requests then fail and say so.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        everything = _first(environ, "ALL_PROXY")
        self._plain = _first(environ, "HTTP_PROXY") or everything
        self._tunnel = _first(environ, "HTTPS_PROXY") or everything
        exceptions = _first(environ, "NO_PROXY")
        self._exceptions = [] if exceptions is None else [word.strip().lower() for word in exceptions.url.split(",")]

    def for_plain(self, host: str, port: int) -> UpstreamProxy | None:
        """The proxy that forwards requests to a host; None to go there directly. Raises Unreachable."""
        return self._choose(self._plain, host, port)

    def for_tunnel(self, host: str, port: int) -> UpstreamProxy | None:
        """The proxy that makes tunnels to a host; None to go there directly. Raises Unreachable."""
        return self._choose(self._tunnel, host, port)

    def _choose(self, named: _Named | None, host: str, port: int) -> UpstreamProxy | None:
        if named is None or any(_covers(word, host, port) for word in self._exceptions if word):
            return None
        return _parse(named)


def _first(environ: Mapping[str, str], name: str) -> _Named | None:
    for variable in (name.lower(), name):
        if url := environ.get(variable, "").strip():
            return _Named(variable, url)
    return None


def _parse(named: _Named) -> UpstreamProxy:
    url = named.url if "://" in named.url else f"http://{named.url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port, parts = None, 80, None
    if parts is None or host is None or parts.scheme != "http":
        raise Unreachable(
            f"The proxy that the environment variable {named.variable} names to the server cannot be used: it must be "
            "an http:// URL. Change the variable, or set allow_upstream_proxy = false to connect directly."
        )
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(pair.encode())
    return UpstreamProxy(host, port, authorization)


def _covers(word: str, host: str, port: int) -> bool:
    """Whether a word of NO_PROXY means a host: a name and all below it, an address, a network, or everything."""
    if word == "*":
        return True
    name, _, number = word.rpartition(":")
    if name and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        word = name
    word = word.strip("[]").removeprefix("*").strip(".")
    if not word:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word, strict=False)
    except (ValueError, TypeError):
        return host == word or host.endswith(f".{word}")
