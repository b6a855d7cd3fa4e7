"""Names to addresses, and addresses to connections: nothing is dialled that was not judged."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from threading import Thread

import anyio

from app_server.config.hosts import Address, address_of
from app_server.network.messages import HEAD_LIMIT, parse_response, write_head
from app_server.network.refusals import Malformed, Unreachable
from app_server.network.streams import Gone, Link, Peer
from app_server.network.upstream import UpstreamProxy

RESOLVE_SECONDS = 10.0
"""How long a look-up may take. A resolver asks again after 5 s when an answer is lost, and that must still count."""

CONNECT_SECONDS = 20.0
"""How long connecting may take, over all addresses."""

STAGGER_SECONDS = 0.25
"""After this the next address is tried beside one that does not answer."""

MAX_LOOKUPS = 16
"""Look-ups of one command at once. Those that nobody waits for any more count until they end."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name. Raises OSError."""


class Resolver:
    """Asks the system for addresses, in threads that do not keep the program from exiting."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_LOOKUPS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, in the order in which to try them. Raises OSError."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def finish(result: list[str] | OSError) -> None:
            self._free.release()
            if answer.done():
                return
            if isinstance(result, OSError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                result: list[str] | OSError = [str(entry[4][0]) for entry in found]
            except OSError as error:
                result = error
            except UnicodeError:
                result = OSError("not a name that can be looked up")
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(finish, result)

        try:
            Thread(target=look_up, name="look-up", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise OSError("no thread for the look-up") from error
        return await answer


def plain(address: Address) -> Address:
    """An IPv4 address also where it came inside an IPv6 one."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


async def find_addresses(host: str, port: int, resolve: Resolve) -> list[Address]:
    """Every address of a host, each once. Raises Unreachable."""
    if (address := address_of(host)) is not None:
        return [plain(address)]
    try:
        with anyio.fail_after(RESOLVE_SECONDS):
            found = await resolve(host, port)
    except TimeoutError as error:
        raise Unreachable(f"{host} could not be looked up within {RESOLVE_SECONDS:g} s.") from error
    except OSError as error:
        raise Unreachable(f"{host} could not be looked up: {error.strerror or error}.") from error
    addresses: dict[Address, None] = {}
    for text in found:
        with suppress(ValueError):
            addresses[plain(ipaddress.ip_address(text))] = None
    if not addresses:
        raise Unreachable(f"{host} has no address.")
    return list(addresses)


async def dial(addresses: Sequence[Address], port: int, host: str) -> tuple[Link, Address]:
    """A connection to the first address that answers, tried in order. Raises Unreachable."""
    attempts = _Attempts()
    try:
        with anyio.move_on_after(CONNECT_SECONDS):
            if len(addresses) == 1:
                await attempts.connect(addresses[0], port)
            else:
                await attempts.race(addresses, port)
    except BaseException:
        if attempts.won is not None:
            attempts.won[0].close()
        raise
    if attempts.won is not None:
        return attempts.won
    reasons = "; ".join(sorted(attempts.failures)) or f"no answer within {CONNECT_SECONDS:g} s"
    raise Unreachable(f"{host} port {port} could not be reached: {reasons}.", refused=attempts.refused)


class _Attempts:
    """The race of the addresses of one host."""

    def __init__(self) -> None:
        self.won: tuple[Link, Address] | None = None
        self.failures: set[str] = set()
        self.refused = False

    async def race(self, addresses: Sequence[Address], port: int) -> None:
        """Connect to one after the other, without waiting long for each."""
        async with anyio.create_task_group() as group:

            async def run(address: Address, ended: anyio.Event) -> None:
                await self.connect(address, port)
                ended.set()
                if self.won is not None:
                    group.cancel_scope.cancel()

            for address in addresses:
                ended = anyio.Event()
                group.start_soon(run, address, ended)
                with anyio.move_on_after(STAGGER_SECONDS):
                    await ended.wait()

    async def connect(self, address: Address, port: int) -> None:
        """Connect to one address."""
        sock = None
        try:
            sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
            if self.won is None:
                self.won, sock = (Link(sock), address), None
        except OSError as error:
            self._fail(error)
        finally:
            if sock is not None:
                sock.close()

    def _fail(self, error: OSError) -> None:
        self.failures.add(error.strerror or str(error))
        self.refused = self.refused or isinstance(error, ConnectionRefusedError)


async def dial_unix(path: str) -> Link:
    """A connection to a Unix socket of this machine. Raises Unreachable."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except OSError as error:
        sock.close()
        raise Unreachable(f"The Unix socket could not be reached: {error.strerror or error}.") from error
    except BaseException:
        sock.close()
        raise
    return Link(sock)


async def dial_upstream(proxy: UpstreamProxy, resolve: Resolve) -> Link:
    """A connection to the upstream proxy. Its name is the administrator's, and not judged. Raises Unreachable."""
    name = f"the upstream proxy {proxy.host}"
    link, _ = await dial(await find_addresses(proxy.host, proxy.port, resolve), proxy.port, name)
    return link


async def tunnel_upstream(proxy: UpstreamProxy, host: str, port: int, resolve: Resolve) -> tuple[Link, Peer]:
    """A tunnel to a host through the upstream proxy: its socket, and the far end. Raises Unreachable."""
    link = await dial_upstream(proxy, resolve)
    kept = False
    try:
        peer = Peer(link)
        authority = f"{f'[{host}]' if ':' in host else host}:{port}"
        fields = [(b"Host", authority.encode())]
        if proxy.authorization is not None:
            fields.append((b"Proxy-Authorization", proxy.authorization))
        with anyio.fail_after(CONNECT_SECONDS):
            await peer.send(write_head(f"CONNECT {authority} HTTP/1.1", fields))
            status = 100
            while status < 200:
                head = await peer.head(HEAD_LIMIT, strict=False)
                if head is None:
                    raise Gone
                status = parse_response(head, "CONNECT").status
        if not 200 <= status < 300:
            raise Unreachable(
                f"The upstream proxy {proxy.host} answered {status} for {host} port {port}.", refused=True
            )
        kept = True
        return link, peer
    except (Gone, Malformed, TimeoutError) as error:
        raise Unreachable(f"The upstream proxy {proxy.host} gave no proper answer.") from error
    finally:
        if not kept:
            link.close()
