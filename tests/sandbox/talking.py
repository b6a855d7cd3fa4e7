"""What attempts say to the managed proxy, and how."""

from collections.abc import Callable
from textwrap import dedent

from tests.sandbox.attempts import Attempt, Prepare, py
from tests.sandbox.forbidden import around
from tests.sandbox.needs import has_v6

Need = Callable[[], str | None]

TALK = r"""
import base64, re, socket, struct, time, urllib.parse
PORT, OTHER, SOCKET = int(os.environ["PORT"]), os.environ["OTHER"], os.environ["SOCKET"]
URL = urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
PROXY = (URL.hostname, URL.port)
CREDENTIAL = f"{URL.username}:{URL.password}"

def line(credential):
    return b"Proxy-Authorization: Basic %b" % base64.b64encode(credential.encode())

def dial():
    connection = socket.create_connection(PROXY)
    connection.settimeout(0.5)
    return connection

def hear(connection, enough=None):
    heard = b""
    try:
        while (enough is None or not re.search(enough, heard, re.S)) and (piece := connection.recv(65536)):
            heard += piece
    except OSError as error:
        print(error, file=sys.stderr)
    print(heard[:300], file=sys.stderr)
    return heard

def say(*parts, credential=CREDENTIAL, enough=rb"\r\n\r\n.*(allowed|forbidden|\n\Z)"):
    with dial() as connection:
        for number, part in enumerate(parts, 1):
            part = part.replace(b"<PORT>", b"%d" % PORT).replace(b"<AUTH>", line(credential))
            connection.sendall(part)
            hear(connection, enough if number < len(parts) else None)

def socks(host, kind=3, credential=CREDENTIAL, command=1, request=b"GET / HTTP/1.0\r\n\r\n"):
    with dial() as connection:
        user, password = (part.encode() for part in credential.split(":"))
        connection.sendall(b"\5\1\2")
        hear(connection, b"..")
        connection.sendall(b"\1" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        hear(connection, b"..")
        host = bytes([len(host)]) + host if kind == 3 else host
        connection.sendall(b"\5" + bytes([command, 0, kind]) + host + PORT.to_bytes(2, "big"))
        answer = hear(connection, b".{10}")
        if answer[1:2] == b"\0" and request:
            connection.sendall(request)
            hear(connection)
        return connection, answer
"""


def http(text: str) -> bytes:
    """A request as it crosses the wire. <PORT> is that of all servers, <AUTH> the line with the credential."""
    return dedent(text).lstrip("\n").replace("\n", "\r\n").encode()


def get(target: str, host: str | None = None, *fields: str) -> bytes:
    """A GET of some target, by itself for the host of it."""
    named = target.split("://")[-1].split("/")[0] if host is None else host
    lines = [f"GET {target} HTTP/1.1", f"Host: {named}", "<AUTH>", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


def connect(target: str) -> bytes:
    """A CONNECT, and nothing more."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n<AUTH>\r\n\r\n".encode()


INNER = b"GET / HTTP/1.1\r\nHost: forbidden.test:<PORT>\r\nConnection: close\r\n\r\n"
"""What follows in a tunnel, or hides in the body of something harmless."""
HIDDEN = b"GET http://forbidden.test:<PORT>/ HTTP/1.1\r\nHost: forbidden.test:<PORT>\r\nConnection: close\r\n\r\n"
FINE = "http://allowed.test:<PORT>/"


def direct(
    name: str,
    *code: str,
    prepare: Prepare = around,
    needs: tuple[Need, ...] = (),
    control: str = "production",
) -> Attempt:
    """An attempt past the proxy."""
    program = py(TALK, *code)
    return Attempt(name=name, program=program, prepare=prepare, needs=needs, control=control)


def ask(name: str, *parts: bytes, prepare: Prepare = around, needs: tuple[Need, ...] = ()) -> Attempt:
    """An attempt by what is said to the proxy on one connection, each part after an answer to the one before."""
    return direct(name, f"say(*{parts!r})", prepare=prepare, needs=needs)


def tunnel(name: str, target: str) -> Attempt:
    """An attempt by CONNECT."""
    return ask(f"CONNECT to {name}", connect(target), b"GET / HTTP/1.0\r\n\r\n")


def url(name: str, target: str) -> Attempt:
    """An attempt by an absolute URL."""
    return ask(f"ask for {name}", get(target))


def smuggle(name: str, text: str, *, lines: str = "\r\n") -> Attempt:
    """An attempt to hide a second request in one that is allowed; <HIDDEN> is its place, <LENGTH> its length."""
    hidden = HIDDEN.replace(b"<PORT>", b"12345")  # as long as most ports
    data = dedent(text).lstrip("\n").replace("\n", lines).replace("<LF>", "\n").encode()
    data = data.replace(b"<LENGTH>", b"%d" % len(hidden))
    return ask(f"hide a request {name}", data.replace(b"<HIDDEN>", HIDDEN), prepare=around)


V6 = (has_v6,)
