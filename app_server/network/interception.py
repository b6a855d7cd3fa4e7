"""Interception: TLS on both sides of the proxy, so that requests within it are judged like any others."""

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import ByteStream

from app_server.network.encryption import Encrypted
from app_server.network.refusals import Unreachable
from app_server.network.trust import Bundles, Trust, for_commands

if TYPE_CHECKING:
    from app_server.network.authority import Authority

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 20.0
"""How long a server may take to begin with TLS."""

_BREAKS = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Interceptor:
    """What one proxy needs to look into TLS: an authority of its own, and who is trusted. Made when first needed."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """`folder` is for files that commands read; `environ`, the daemon's, may name more authorities to trust."""
        self._folder, self._environ = folder, environ
        self._made: tuple[Authority, Bundles] | None = None
        self._making = Lock()

    async def trust(self, base: Mapping[str, str]) -> Trust:
        """Who is trusted for a command with the environment `base`. Raises OSError where no file can be written."""

        def find() -> Trust:
            with self._making:
                return self._make()[1].trust(base)

        return await anyio.to_thread.run_sync(find)

    def environment(self, base: Mapping[str, str], trust: Trust) -> dict[str, str]:
        """`base` with what leads programs to the proxy's certificate."""
        return for_commands(base, trust)

    async def interception(self, trust: Trust) -> "TlsInterception":
        """How to look into the connections of a command that has this trust."""

        def find() -> "Authority":
            with self._making:
                return self._make()[0]

        return TlsInterception(await anyio.to_thread.run_sync(find) if self._made is None else self._made[0], trust)

    def _make(self) -> "tuple[Authority, Bundles]":
        if self._made is None:
            # The import takes 50 ms and 14 MB, which only those pay who look into TLS.
            from app_server.network.authority import Authority

            authority = Authority()
            self._made = authority, Bundles(self._folder, authority.certificate, self._environ)
        return self._made

    async def close(self) -> None:
        """Remove the files. Bounded by the disk."""

        def remove() -> None:
            with self._making:
                if self._made is not None:
                    self._made[1].close()

        if self._made is not None:
            await anyio.to_thread.run_sync(remove)


class TlsInterception:
    """How to look into the connections of one command."""

    def __init__(self, authority: "Authority", trust: Trust) -> None:
        self._authority, self._trust = authority, trust

    async def accept(self, client: ByteStream, host: str) -> ByteStream:
        """TLS towards the program, in the name of a host. Raises Unreachable."""
        context = self._authority.known_context(host)
        if context is None:
            context = await anyio.to_thread.run_sync(self._authority.make_context, host)
        stream = Encrypted(client, context, server_side=True)
        try:
            await stream.shake_hands()
        except (ssl.SSLError, *_BREAKS) as error:
            reason = _reason(error)
            logger.info("a program did not begin TLS with the network proxy in the place of %s: %s", host, reason)
            raise Unreachable(f"TLS in the place of {host} did not begin: {reason}.") from error
        return stream

    async def secure(self, server: ByteStream, host: str) -> ByteStream:
        """TLS towards the host, whose certificate is checked. Raises Unreachable."""
        stream = Encrypted(server, self._trust.context, hostname=host.partition("%")[0])
        try:
            with anyio.fail_after(HANDSHAKE_SECONDS):
                await stream.shake_hands()
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"the certificate of {host} was not accepted: {error.verify_message}. If it is meant to be, add its "
                "authority to the certificates of this machine, or name a file with it in SSL_CERT_FILE where the "
                "server runs.",
                refused=True,
            ) from error
        except TimeoutError as error:
            raise Unreachable(f"{host} did not begin TLS within {HANDSHAKE_SECONDS:g} s.") from error
        except (ssl.SSLError, *_BREAKS) as error:
            raise Unreachable(f"TLS with {host} failed: {_reason(error)}.", refused=True) from error
        return stream


def _reason(error: BaseException) -> str:
    """Why, in OpenSSL's words if it was TLS."""
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return "the connection was closed"
    return (error.reason or "no reason was given").lower().replace("_", " ")
