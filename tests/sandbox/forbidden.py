"""What an attempt to get around the proxy goes for: servers that nobody may reach, one that everybody may, and, for
the controls, a proxy that lets itself be misled wherever a proxy can be.
"""

import base64
import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

from app_server.config.network_proxy import HostAction
from tests.sandbox.attempts import Check, Host
from tests.sandbox.needs import has_v6

ALLOWED, FORBIDDEN = "127.0.0.2", "127.0.0.1"
"""Addresses of this machine. Only the first is named in the rules."""

ANSWERS = {
    "allowed.test": [ALLOWED],
    "forbidden.test": [FORBIDDEN],
    "localhost": [FORBIDDEN, "::1"],
    "x.localhost": [FORBIDDEN],
    "local.test": [FORBIDDEN],
    "mapped.test": ["::ffff:" + FORBIDDEN],
    "both.test": [FORBIDDEN, ALLOWED],
    "odd.test": ["0.0.0.0", "::", "::1"],
}

RULES: dict[str, HostAction] = dict.fromkeys(
    ("allowed.test", "local.test", "mapped.test", "both.test", "odd.test", "rebinding.test"), "allow"
)
"""Names that are allowed, whatever they lead to. `ALLOWED` is too; nothing else is."""


class Names:
    """Answers for names. `rebinding.test` leads to the allowed server first, and to the forbidden one ever after."""

    def __init__(self) -> None:
        self._asked = 0

    def find(self, name: str) -> list[str]:
        """The addresses of a name. Raises OSError."""
        if name == "rebinding.test":
            self._asked += 1
            return [ALLOWED if self._asked == 1 else FORBIDDEN]
        if name not in ANSWERS:
            raise OSError(f"{name} has no address")
        return ANSWERS[name]

    async def resolve(self, name: str, port: int) -> list[str]:
        """The same for a proxy."""
        del port
        return self.find(name)


@dataclass
class Site:
    """The allowed server: of every doubtful request it takes the reading that does most harm.

    `hosts` are those that requests were for, `paths` what they asked for.
    """

    listener: socket.socket
    hosts: list[str] = field(default_factory=list[str])
    paths: list[str] = field(default_factory=list[str])

    def talk(self, connection: socket.socket) -> None:
        """Serve a connection."""
        reader = _Reader(connection)
        while (head := reader.head()) is not None:
            first, fields = _read(head)
            words = first.split()
            if len(words) < 2:
                return
            target = words[1]
            self.hosts += [value for name, value in fields if name == "host"]
            if "://" in target:
                self.hosts.append(target.split("://")[1].split("/")[0].rsplit("@", 1)[-1])
                target = "/" + target.split("://")[1].partition("/")[2]
            self.paths.append(target)
            named = dict(fields)
            if "chunked" in named.get("transfer-encoding", "").lower():
                reader.chunks()
            elif named.get("content-length", "").isdigit():
                reader.exactly(int(named["content-length"]))
            closes = named.get("connection", "").lower() == "close"
            if target.startswith("/switch"):
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
            elif target.startswith("/redirect/"):
                place = target.removeprefix("/redirect/").encode()
                answer = b"HTTP/1.1 302 Found\r\nLocation: http://%b/\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(answer % place)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nallowed")
            if closes:
                return


class _Reader:
    """Bytes of a connection, by lines and heads. Lines may end in whatever anybody takes for an end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._data = connection, b""

    def _more(self) -> bool:
        piece = self._connection.recv(65536)
        self._data += piece
        return bool(piece)

    def head(self) -> bytes | None:
        while (found := re.search(rb"\r?\n\r?\n", self._data.lstrip(b"\r\n"))) is None:
            if not self._more():
                return None
        data = self._data.lstrip(b"\r\n")
        self._data = data[found.end() :]
        return data[: found.start()]

    def line(self) -> bytes:
        while b"\n" not in self._data and self._more():
            pass
        line, _, self._data = self._data.partition(b"\n")
        return line

    def exactly(self, length: int) -> None:
        while len(self._data) < length and self._more():
            pass
        self._data = self._data[length:]

    def chunks(self) -> None:
        while (found := re.match(rb"[0-9A-Fa-f]+", self.line())) is not None and int(found[0], 16):
            self.exactly(int(found[0], 16))
            while not self._data and self._more():
                pass
            self._data = re.sub(rb"\A\r?\n", b"", self._data)
        while self.line().strip():
            pass


def _read(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The first line and the fields of a head. A folded line is part of the one before, and one of its own."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines)).split("\n")
    pairs = (line.partition(":") for line in (*lines, *joined))
    return first, [(name.strip().lower(), value.strip()) for name, _, value in pairs]


class Forbidden:
    """A server that nobody may reach. It answers, so that whoever does need not wait."""

    def __init__(self, host: Host, listener: socket.socket) -> None:
        self._listener, self._own, self._came = listener, 0, 0
        _serve(host, listener, self._talk, self._count)

    def _count(self) -> None:
        self._came += 1

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforbidden")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    def was_reached(self) -> bool:
        """Whether anybody has come. Those who came before have been counted once we have our answer."""
        self._own += 1
        with socket.create_connection(self._listener.getsockname()[:2], timeout=20) as connection:
            connection.recv(1)
        return self._came > self._own


class MisledProxy:
    """A proxy without rules that goes to the forbidden server whenever something in a request can be read so."""

    def __init__(self, names: Names, port: int) -> None:
        self._names, self._port = names, port

    def talk(self, connection: socket.socket) -> None:
        """Serve a connection."""
        first = connection.recv(65536)
        if first[:1] == b"\5":
            self._talk_socks5(connection, first)
        elif first[:1] == b"\4":
            self._talk_socks4(connection, first)
        elif first:
            self._talk_http(connection, first)

    def _talk_http(self, connection: socket.socket, data: bytes) -> None:
        while re.search(rb"\r?\n\r?\n", data) is None and (piece := connection.recv(65536)):
            data += piece
        first, fields = _read(re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0])
        named = dict(fields)
        if path := named.get("x-unix-socket"):
            with socket.socket(socket.AF_UNIX) as local:
                local.connect(path)
            return
        places = [first.split()[1] if " " in first else "", *(value for name, value in fields if name == "host")]
        if first.startswith("CONNECT"):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            data = connection.recv(65536)
            places += re.findall(r"(?i)host: *(\S+)", data.decode("latin-1"))
            places += re.findall(r" (http://\S+)", data.decode("latin-1"))
        self._pipe(connection, [spelling for place in places for spelling in _spellings(place)], data)

    def _talk_socks5(self, connection: socket.socket, data: bytes) -> None:
        methods = data[2 : 2 + data[1]]
        connection.sendall(b"\5\2" if 2 in methods else b"\5\0")
        if 2 in methods:
            connection.recv(65536)
            connection.sendall(b"\1\0")
        data = connection.recv(65536)
        command, kind = data[1], data[3]
        if kind == 3:
            host = data[5 : 5 + data[4]].decode("latin-1")
        else:
            host = socket.inet_ntop(*((socket.AF_INET, data[4:8]) if kind == 1 else (socket.AF_INET6, data[4:20])))
        if command == 3:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
                relay.bind(("127.0.0.1", 0))
                relay.settimeout(10)
                connection.sendall(b"\5\0\0\1\x7f\0\0\1" + relay.getsockname()[1].to_bytes(2))
                datagram = relay.recv(65536)
                relay.sendto(datagram[10:], (socket.inet_ntoa(datagram[4:8]), int.from_bytes(datagram[8:10])))
            return
        connection.sendall(b"\5\0\0\1" + bytes(6))
        if command == 1:
            self._pipe(connection, _spellings(host), connection.recv(65536))

    def _talk_socks4(self, connection: socket.socket, data: bytes) -> None:
        named = data[8:].split(b"\0")
        host = named[1].decode() if data[4:7] == bytes(3) and len(named) > 1 else socket.inet_ntoa(data[4:8])
        connection.sendall(b"\0\x5a" + bytes(6))
        self._pipe(connection, [host], connection.recv(65536))

    def _pipe(self, connection: socket.socket, hosts: Iterable[str], data: bytes) -> None:
        """Go to the forbidden server if any of the hosts leads there, else where one leads at all."""
        found = [address for host in hosts for address in self._addresses(host)]
        if not found:
            return
        address = next((address for address in found if address != ALLOWED), ALLOWED)
        with socket.create_connection((address, self._port), timeout=10) as there:
            there.sendall(data)
            while True:
                for ready in select.select([connection, there], [], [], 10)[0] or [None]:
                    if ready is None or not (piece := ready.recv(65536)):
                        return
                    (there if ready is connection else connection).sendall(piece)

    def _addresses(self, host: str) -> list[str]:
        with suppress(OSError):
            return self._names.find(host)
        with suppress(OSError, UnicodeError):
            return [str(each[4][0]) for each in socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)]
        return []


def _spellings(place: str) -> list[str]:
    """The hosts that somebody might see in a URL, an authority or a name."""
    with suppress(UnicodeError):
        place = place.encode("latin-1").decode()
    authority = unquote(place.split("://")[-1])
    found: list[str] = []
    for part in re.split(r"[/\\?#@\0\r\n]", authority):
        host = re.sub(r":[0-9]*$", "", part).strip("[]") if part.count(":") < 2 or "]" in part else part
        found.append(host.partition("%")[0].replace("\u3002", ".").rstrip(".").lower())
    return [host for host in found if host]


@dataclass
class World:
    """Everything that an attempt may try to reach, and what came of it."""

    site: Site
    servers: list[Forbidden]
    endpoints: list[socket.socket]
    strict: bool = True

    def reached(self) -> bool:
        """Whether somebody came to a forbidden server, or asked the allowed one for another host."""
        if select.select(self.endpoints, [], [], 0)[0] or any(server.was_reached() for server in self.servers):
            return True
        names = {re.sub(r":[0-9]*$", "", host) for host in self.site.hosts}
        return self.strict and not names <= {*RULES, ALLOWED}


def other_address() -> str | None:
    """An address of this machine besides its loopback."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = str(probe.getsockname()[0])
        return None if address.startswith("127.") else address
    return None


def world(host: Host, *, strict: bool = True) -> World:
    """Make it. PORT is the port of all servers, OTHER an address beside the loopback, SOCKET a local service.

    HTTP_PROXY leads to the proxy that lets itself be misled.
    """
    names = Names()
    listeners, receivers = _bind(host)
    *listeners, site = listeners
    port = site.getsockname()[1]
    path = f"/tmp/turnloom-{host.mark}"
    host.stack.callback(_remove, path)
    for name in (path, "\0" + path):
        local = host.keep(socket.socket(socket.AF_UNIX))
        local.bind(name)
        local.listen()
        receivers.append(local)
    server = Site(site)
    _serve(host, site, server.talk)
    proxy = host.keep(socket.create_server((FORBIDDEN, 0)))
    _serve(host, proxy, MisledProxy(names, port).talk)
    stranger = base64.urlsafe_b64encode(host.mark.encode()).decode().strip("=")
    host.env |= {
        "PORT": str(port),
        "OTHER": other_address() or "",
        "SOCKET": path,
        "HTTP_PROXY": f"http://turnloom:{stranger}@127.0.0.1:{proxy.getsockname()[1]}",
        "http_proxy": f"http://turnloom:{stranger}@127.0.0.1:{proxy.getsockname()[1]}",
    }
    host.env.setdefault("OTHERS_CREDENTIAL", f"turnloom:{stranger}")
    return World(server, [Forbidden(host, listener) for listener in listeners], receivers, strict)


def _bind(host: Host) -> tuple[list[socket.socket], list[socket.socket]]:
    """Listeners at all addresses, that of the allowed server last, and receivers of datagrams; all at one port."""
    other = other_address()
    places = [(socket.AF_INET, FORBIDDEN), *([(socket.AF_INET, other)] if other else []), (socket.AF_INET6, "::1")]
    if has_v6() is not None:
        del places[-1]
    while True:
        with ExitStack() as stack:
            port = 0
            made: list[socket.socket] = []
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    for family, address in (*places, (socket.AF_INET, ALLOWED)):
                        made.append(stack.enter_context(socket.socket(family, kind)))
                        made[-1].bind((address, port))
                        port = made[-1].getsockname()[1]
            except OSError:
                continue  # the port is somebody's at another address
            host.stack.push(stack.pop_all())
        listeners = made[: len(made) // 2]
        for listener in listeners:
            listener.listen()
        return listeners, made[len(made) // 2 : -1]


def around(host: Host) -> Check:
    """The attempt succeeds if a forbidden server is reached, or the allowed one is asked for another host."""
    return _check(world(host))


def somewhere_else(host: Host) -> Check:
    """The attempt succeeds if a forbidden server is reached: what the allowed one is asked in a tunnel is its own."""
    return _check(world(host, strict=False))


def _check(made: World) -> Check:
    return lambda outcome: outcome.says_so or made.reached()


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _serve(
    host: Host,
    listener: socket.socket,
    talk: Callable[[socket.socket], None],
    count: Callable[[], None] = lambda: None,
) -> None:
    """Serve each connection in a thread, until the attempt is over. `count` is told of each, in order."""
    talking: list[tuple[threading.Thread, socket.socket]] = []

    def talk_and_close(connection: socket.socket) -> None:
        with suppress(OSError, IndexError, ValueError), connection:
            connection.settimeout(20)
            talk(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                count()
                thread = threading.Thread(target=talk_and_close, args=(connection,))
                talking.append((thread, connection))
                thread.start()

    accepting = threading.Thread(target=accept)
    accepting.start()

    def end() -> None:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread, connection in talking:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    host.stack.callback(end)
