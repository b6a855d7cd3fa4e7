"""Where clients come from: the `--listen` URL, and all the options a server is started with."""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from app_server.telemetry.secrecy import Discreet

FORMS = "`stdio://`, `unix://`, `unix://PATH`, `ws://IP:PORT` or `off`"


class StartError(Exception):
    """The server cannot start as asked; the text is a sentence for the user."""


class UsageError(StartError):
    """An option is wrong or does not go with another one."""


class Stdio(Struct, frozen=True):
    """One client on standard input and output."""


class Off(Struct, frozen=True):
    """No client at all; the daemon idles until a signal."""


class UnixSocket(Struct, frozen=True):
    """A websocket over a Unix socket; None stands for `default_socket`."""

    path: Path | None = None

    @property
    def url(self) -> str:
        """The form in which it is written: `unix:///run/turnloom.sock`."""
        return f"unix://{self.path or ''}"


class WebSocket(Struct, frozen=True):
    """A websocket on an IP address; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The form in which it is written: `ws://127.0.0.1:8765`, `ws://[::1]:8765`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        from ipaddress import ip_address

        return ip_address(self.host).is_loopback


Listen = Stdio | UnixSocket | WebSocket | Off

AuthMode = Literal["capability-token", "signed-bearer-token"]

DEFAULT_CLOCK_SKEW_SECONDS = 30


class AuthOptions(Discreet, frozen=True):
    """How clients of a websocket prove that they may connect; `mode` None means that they need not.

    `token_scope` is what the capability token allows, by name; None for everything.
    """

    mode: AuthMode | None = None
    token_file: Path | None = None
    token_sha256: str | None = None
    shared_secret_file: Path | None = None
    issuer: str | None = None
    audience: str | None = None
    max_clock_skew_seconds: int | None = None
    token_scope: str | None = None


class ServerOptions(Struct, frozen=True):
    """What the command line asked for. `overrides` are `key=value` texts in the order given.

    `profile` names a file of settings that go before the user's. With `strict_config` unknown settings are errors.
    """

    listen: Listen = field(default_factory=Stdio)
    overrides: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    auth: AuthOptions = field(default_factory=AuthOptions)
    profile: str | None = None
    strict_config: bool = False

    @property
    def listen_url(self) -> str:
        """The listener as it is written on the command line."""
        match self.listen:
            case Stdio():
                return "stdio://"
            case UnixSocket(path):
                return f"unix://{path or ''}"
            case WebSocket():
                return self.listen.url
            case Off():
                return "off"


def default_socket(home: Path) -> Path:
    """Where `unix://` listens."""
    return home / "turnloom" / "app-server.sock"


def parse_listen(url: str) -> Listen:
    """The listener that `url` names. Raises UsageError, which names the allowed forms."""
    if url == "off":
        return Off()
    if url == "stdio://":
        return Stdio()
    if url.startswith("unix://"):
        path = url.removeprefix("unix://")
        return UnixSocket(Path(path) if path else None)
    if url.startswith("ws://"):
        return _parse_websocket(url)
    raise UsageError(f"unsupported --listen URL `{url}`; expected {FORMS}")


def _parse_websocket(url: str) -> WebSocket:
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    problem = UsageError(
        f"invalid websocket --listen URL `{url}`; expected `ws://IP:PORT`, for example ws://127.0.0.1:8765"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    if host is None or port is None or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise problem
    try:
        return WebSocket(str(ip_address("127.0.0.1" if host == "localhost" else host)), port)
    except ValueError:
        raise problem from None
