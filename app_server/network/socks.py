"""SOCKS5 of the proxy: CONNECT to names and addresses; BIND and UDP are refused, and so is SOCKS4."""

import ipaddress
from enum import IntEnum
from typing import NoReturn

import anyio

from app_server.config.hosts import normalised_host
from app_server.network.http import Admit, serve_intercepted
from app_server.network.limits import Limits
from app_server.network.passage import Passage
from app_server.network.policy import Attempt, Judgement
from app_server.network.refusals import Crowded, HungUp, Malformed, Refused, Unproven, Unreachable
from app_server.network.streams import Gone, Peer, tunnel

VERSION = 5
_NO_AUTHENTICATION, _PASSWORD, _NO_METHOD = 0, 2, 0xFF
_CONNECT, _UDP_ASSOCIATE = 1, 3
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SOCKS4_REFUSED = b"\x00\x5b" + bytes(6)


class _Reply(IntEnum):
    GRANTED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    UNKNOWN_COMMAND = 7
    UNKNOWN_ADDRESS = 8


async def refuse_socks4(client: Peer) -> None:
    """Answer a SOCKS4 request, which cannot carry a credential: request rejected."""
    try:
        await client.send(_SOCKS4_REFUSED)
    except Gone:
        pass


class SocksSession:
    """One SOCKS5 connection. The connection itself is closed by its owner.

    `proven` says that no credential is needed; one that is sent must be right all the same.
    """

    def __init__(self, client: Peer, admit: Admit, limits: Limits, *, proven: bool) -> None:
        self._client, self._admit, self._limits, self._proven = client, admit, limits, proven

    async def run(self) -> None:
        """Serve until either side has enough."""
        try:
            with anyio.fail_after(self._limits.head_seconds):
                passage = await self._greet()
                command, host, port = await self._read_request()
            await self._serve(passage, command, host, port)
        except (TimeoutError, Gone, HungUp, _Ended):
            pass

    async def _greet(self) -> Passage:
        client = self._client
        _, count = await client.exactly(2)
        methods = await client.exactly(count)
        if _PASSWORD in methods and not (self._proven and _NO_AUTHENTICATION in methods):
            await client.send(bytes([VERSION, _PASSWORD]))
            return await self._check_password()
        if self._proven and _NO_AUTHENTICATION in methods:
            await client.send(bytes([VERSION, _NO_AUTHENTICATION]))
            return await self._enter(None, b"")
        await client.send(bytes([VERSION, _NO_METHOD]))
        raise _Ended

    async def _check_password(self) -> Passage:
        client = self._client
        version, length = await client.exactly(2)
        user = await client.exactly(length)
        password = await client.exactly((await client.exactly(1))[0])
        if version != 1:
            await client.send(b"\x01\x01")
            raise _Ended
        passage = await self._enter((user.decode(errors="replace"), password.decode(errors="replace")), b"\x01\x01")
        await client.send(b"\x01\x00")
        return passage

    async def _enter(self, credential: tuple[str, str] | None, refusal: bytes) -> Passage:
        try:
            return self._admit(credential)
        except (Unproven, Crowded) as error:
            if isinstance(error, Unproven) and error.passage is not None:
                error.passage.note(Attempt("socks5_tcp", "", 0), Judgement("deny", "proxy_state", "policy_denied"))
            await self._client.send(refusal)
            raise _Ended from error

    async def _read_request(self) -> tuple[int, str, int]:
        client = self._client
        version, command, _, kind = await client.exactly(4)
        if version != VERSION:
            await self._fail(_Reply.FAILED)
        match kind:
            case 1:
                host = str(ipaddress.IPv4Address(await client.exactly(4)))
            case 4:
                host = str(ipaddress.IPv6Address(await client.exactly(16)))
            case 3:
                name = await client.exactly((await client.exactly(1))[0])
                # A byte that is no ASCII makes a name that is refused below.
                host = name.decode("ascii", "replace")
            case _:
                await self._fail(_Reply.UNKNOWN_ADDRESS)
        return command, host, int.from_bytes(await client.exactly(2))

    async def _serve(self, passage: Passage, command: int, text: str, port: int) -> None:
        if command == _UDP_ASSOCIATE:
            self._note_udp(passage, text, port)
        if command != _CONNECT:
            await self._fail(_Reply.UNKNOWN_COMMAND)
        try:
            attempt = Attempt("socks5_tcp", _host(text), port)
        except Malformed:
            await self._fail(_Reply.NOT_ALLOWED)
        if port == 0:
            await self._fail(_Reply.NOT_ALLOWED)
        try:
            await self._connect(passage, attempt)
        except Refused:
            await passage.before_refusal()
            await self._fail(_Reply.NOT_ALLOWED)
        except Unreachable as error:
            await self._fail(_Reply.CONNECTION_REFUSED if error.refused else _Reply.HOST_UNREACHABLE)

    async def _connect(self, passage: Passage, attempt: Attempt) -> None:
        if not passage.policy().settings.enable_socks5:
            raise passage.refuse(attempt, Judgement("deny", "proxy_state", "proxy_disabled"))
        cleared = await passage.clear(attempt, self._client.hung_up)
        if (interception := await passage.interception(attempt)) is not None:
            passage.note(attempt, cleared)
            await self._client.send(_reply(_Reply.GRANTED))
            await serve_intercepted(self._client, passage, interception, attempt, cleared, self._limits)
            return
        way = await passage.open(attempt, cleared)
        try:
            await self._client.send(_reply(_Reply.GRANTED))
            await tunnel(self._client, way.peer, self._limits.idle_seconds)
        finally:
            way.link.close()

    def _note_udp(self, passage: Passage, text: str, port: int) -> None:
        try:
            host = _host(text)
        except Malformed:
            host = ""
        passage.note(Attempt("socks5_udp", host, port), Judgement("deny", "proxy_state", "policy_denied"))

    async def _fail(self, reply: _Reply) -> NoReturn:
        await self._client.send(_reply(reply))
        raise _Ended


class _Ended(Exception):
    """All is said."""


def _reply(reply: _Reply) -> bytes:
    return bytes([VERSION, reply, 0, _IPV4]) + bytes(6)


def _host(text: str) -> str:
    # Here a name is never in brackets, and never carries a port.
    if "[" in text or (":" in text and not _is_version_6(text)):
        raise Malformed("The host cannot be used.")
    try:
        return normalised_host(text)
    except ValueError as error:
        raise Malformed(f"The host cannot be used: {error}.") from error


def _is_version_6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
