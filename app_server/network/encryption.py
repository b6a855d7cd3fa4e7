"""Encrypted: TLS over any stream, towards clients and towards servers."""

import ssl
from asyncio import Lock
from contextlib import suppress
from typing import cast

import anyio
from anyio.abc import ByteStream

_READ = 256 * 1024
"""What is asked of the stream below at once."""
_WRITE = 128 * 1024
"""What is encrypted at once: the most that is held twice."""


class Encrypted(ByteStream):
    """A stream within TLS. It must shake hands first; closing it closes the stream below, at once.

    An end of input without TLS's own good-bye is a broken connection, since anybody may have cut it.
    """

    def __init__(
        self, stream: ByteStream, context: ssl.SSLContext, *, server_side: bool = False, hostname: str | None = None
    ) -> None:
        """`hostname` is whom a server's certificate must be for."""
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, hostname)
        self._sending = Lock()
        self._ended = False

    async def shake_hands(self) -> None:
        """Begin. Raises ssl.SSLError where TLS fails, and else as the stream below does."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                await self._flush()  # the other side is told why
                raise
            else:
                await self._flush()
                return

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has come. Raises EndOfStream after the good-bye, and BrokenResourceError without."""
        buffer = bytearray(min(max_bytes, _READ))
        count = await self.receive_into(memoryview(buffer))
        if not count:
            raise anyio.EndOfStream
        return bytes(memoryview(buffer)[:count])

    async def receive_into(self, buffer: memoryview) -> int:
        """How many bytes have come; 0 after the good-bye. Raises as `receive` does."""
        while not self._ended:
            if count := self._decrypt(buffer):
                return count
            if self._ended:
                break
            if self._outgoing.pending and not self._sending.locked():  # whoever is sending sends this too
                await self._flush()
            await self._fill()
        return 0

    def _decrypt(self, buffer: memoryview) -> int:
        """As much as is there: a record holds 16 KiB at the most, and many may have come."""
        count = 0
        try:
            while count < len(buffer):
                # With a buffer, which may be a view, it gives a number.
                read = cast(int, self._tls.read(len(buffer) - count, cast(bytearray, buffer[count:])))
                if not read:
                    self._ended = True
                    break
                count += read
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            if not count:
                raise anyio.BrokenResourceError from error
        return count

    async def send(self, item: bytes | bytearray | memoryview) -> None:
        """Encrypt and send all of it."""
        view = memoryview(item)
        while view:
            try:
                written = self._tls.write(view[:_WRITE])
            except ssl.SSLError as error:
                raise anyio.BrokenResourceError from error
            view = view[written:]
            await self._flush()

    async def send_eof(self) -> None:
        """Say good-bye."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other side has not said it yet, and need not
        await self._flush()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close. Only a good-bye is answered: one that nobody asked for would make whole what was cut off."""
        if self._ended:
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self.send_eof()
        await self._stream.aclose()

    async def _flush(self) -> None:
        async with self._sending:
            while self._outgoing.pending:
                await self._stream.send(self._outgoing.read())

    async def _fill(self) -> None:
        try:
            data = await self._stream.receive(_READ)
        except anyio.EndOfStream:
            self._incoming.write_eof()
        else:
            self._incoming.write(data)
