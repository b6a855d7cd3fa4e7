"""Connects the sockets of a command in its place, to the managed proxy and to nothing else.

What the command wrote down as the address is only compared. The socket is ours as well while it is connected, and the
address is ours alone, so nothing that changes in between can lead it elsewhere.
"""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable

from app_server.sandbox import kernel
from app_server.sandbox.caller import IS_VALID, Answered, Call, error_of

LOOPBACK = bytes((127, 0, 0, 1))
ADDRESS_BYTES = 16
"""A `struct sockaddr_in`: family, port, address, and 8 bytes that mean nothing."""

TCP_OVER_IPV4 = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)

UNFINISHED = (errno.EINPROGRESS, errno.EALREADY)


class _Waiting:
    """A call that waits until its socket is connected."""

    def __init__(self, call: int, sock: socket.socket) -> None:
        self.call, self.sock = call, sock


class Connections:
    """The connections of one command, and of everything that it starts, to the proxy."""

    def __init__(
        self, listener: int, proxy: tuple[int, int], poll: select.poll, answer: Callable[[int, int, int, int], None]
    ) -> None:
        """`proxy` is the port of 127.0.0.1 that the command may ask for, and the one that it is connected to.

        `poll` is told of sockets to watch for; their events are for `look`. `answer` ends a waiting call: its number, a
        value, the negative number of an error, and flags.
        """
        self._asked, self._address = (
            struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + LOOPBACK + bytes(8) for port in proxy
        )
        self._listener, self._poll, self._answer = listener, poll, answer
        self._waiting: dict[int, _Waiting] = {}

    def connect(self, call: Call) -> int:
        """Do what a `connect` asks for. Raises OSError, and Answered where the answer comes later."""
        self._check_address(call)
        fd = call.take(call.integer(0))
        try:
            sock = socket.socket(fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        try:
            if (sock.family, sock.type, sock.proto) != TCP_OVER_IPV4:
                raise error_of(errno.EPERM)
            return self._connect(call, sock)
        except OSError:
            sock.close()
            raise

    def _check_address(self, call: Call) -> None:
        """Whether the proxy is meant. Raises OSError."""
        length = min(max(call.integer(2), 0), ADDRESS_BYTES)
        given = call.memory(call.arguments[1], length)
        if len(given) < ADDRESS_BYTES:
            raise error_of(errno.EPERM)
        if given[:8] != self._asked[:8]:
            # As in a network of the command's own, where nobody listens but the proxy.
            is_local = given[:2] == self._asked[:2] and given[4] == LOOPBACK[0]
            raise error_of(errno.ECONNREFUSED if is_local else errno.EPERM)

    def _connect(self, call: Call, sock: socket.socket) -> int:
        fd = sock.fileno()
        earlier = self._of_same_socket(fd)
        if earlier is not None:
            if self._waits(earlier.call):
                raise error_of(errno.EALREADY)
            earlier.call = call.id  # it was interrupted, and made again
            sock.close()
            raise Answered
        blocking = os.get_blocking(fd)
        # Nobody waits for us while we would wait. The owner has no use for the socket before it is connected.
        os.set_blocking(fd, False)
        try:
            kernel.connect(fd, self._address)
        except OSError as error:
            if blocking and error.errno in UNFINISHED:
                self._waiting[fd] = _Waiting(call.id, sock)
                self._poll.register(fd, select.POLLOUT)
                raise Answered from None
            os.set_blocking(fd, blocking)
            raise
        os.set_blocking(fd, blocking)
        sock.close()
        return 0

    def _of_same_socket(self, fd: int) -> _Waiting | None:
        inode = os.fstat(fd).st_ino
        return next((each for other, each in self._waiting.items() if os.fstat(other).st_ino == inode), None)

    def _waits(self, call: int) -> bool:
        try:
            fcntl.ioctl(self._listener, IS_VALID, struct.pack("=Q", call))
        except OSError:
            return False
        return True

    def look(self, fd: int) -> bool:
        """Answer whoever waits for the socket `fd`, if it is one of those that are being connected and is done."""
        waiting = self._waiting.get(fd)
        if waiting is None:
            return False
        failure = 0
        try:
            kernel.connect(fd, self._address)  # which tells how it went
        except OSError as error:
            if error.errno in UNFINISHED:
                return True
            failure = -(error.errno or errno.EIO) if error.errno != errno.EISCONN else 0
        del self._waiting[fd]
        self._poll.unregister(fd)
        os.set_blocking(fd, True)
        waiting.sock.close()
        self._answer(waiting.call, 0, failure, 0)
        return True
