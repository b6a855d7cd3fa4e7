"""Under Landlock the supervisor connects a command's sockets: to the port of the proxy, and to nothing else."""

import socket
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from app_server.sandbox import landlock
from app_server.sandbox.landlock import Landlock
from app_server.sandbox.permissions import read_only
from app_server.sandbox.sandbox import SHARED, SandboxUnavailable
from tests.sandbox.conftest import Jail

PRELUDE = """
    import errno, os, select, socket, struct, sys, threading, time
    PORT = int(sys.argv[1])
    PROXY = ("127.0.0.1", PORT)
    def tried(name, function):
        try:
            print(name, function())
        except OSError as error:
            print(name, errno.errorcode[error.errno])
    def talk(connection, text="hello"):
        with connection:
            connection.sendall(text.encode())
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile().read()
"""


PORT = 8080
"""The port that commands know: nobody listens there."""


@pytest.fixture
async def jail(tmp_path: Path) -> AsyncIterator[Jail]:
    sandbox = Landlock()
    try:
        await sandbox.available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO LANDLOCK HERE, ITS TESTS DO NOT RUN: {error}")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    async with Reaper() as reaper:
        yield Jail(sandbox, reaper, workspace)


@contextmanager
def echoing(listener: socket.socket) -> Generator[None]:
    """A server that says everything twice."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as file:
                    text = file.read()
                    connection.sendall(text + text)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()


async def start(jail: Jail, code: str, *words: str, backlog: int = 100) -> tuple[Process, socket.socket]:
    """A Python program confined, and the socket on which its proxy is to listen."""
    script = jail.workspace / "program.py"
    script.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(code))
    command = await jail.sandbox.wrap(
        [sys.executable, "-I", "-S", str(script), str(PORT), *words],
        cwd=str(jail.workspace),
        env={"PATH": "/usr/bin:/bin"},
        profile=read_only(),
        proxy_port=PORT,
    )
    assert command.bridge is not None
    with command.bridge:
        message, (fd,), _, _ = socket.recv_fds(command.bridge, 16, 4, socket.MSG_CMSG_CLOEXEC)
        assert message == SHARED
        assert command.bridge.recv(1) == b""
    listener = socket.socket(fileno=fd)
    listener.listen(backlog)
    return Process.spawn(command, cwd=str(jail.workspace), reaper=jail.reaper), listener


async def end(process: Process) -> list[str]:
    """The lines that it prints."""
    streams = {"stdout": b"", "stderr": b""}
    async with process:
        async for stream, data in process:
            streams[stream] += data
        assert (await process.wait(), streams["stderr"]) == (0, b"")
    return streams["stdout"].decode().splitlines()


async def run(jail: Jail, code: str, *words: str) -> list[str]:
    """The lines that a Python program prints, whose proxy says everything twice."""
    process, listener = await start(jail, code, *words)
    with listener, echoing(listener):
        return await end(process)


async def test_a_socket_is_connected_to_the_proxy(jail: Jail) -> None:
    code = """
        tried("blocking", lambda: talk(socket.create_connection(PROXY)))
        tried("with a timeout", lambda: talk(socket.create_connection(PROXY, timeout=20)))
        one = socket.create_connection(PROXY)
        print(one.getpeername()[0] == PROXY[0], one.gettimeout(), os.get_blocking(one.fileno()))
        tried("again", lambda: one.connect(PROXY))
        print(talk(one))
        two = socket.socket()
        two.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        two.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tried("first", lambda: two.connect(PROXY))
        three = os.dup(two.fileno())
        print(talk(socket.socket(fileno=three)))
    """
    assert await run(jail, code) == [
        *("blocking hellohello", "with a timeout hellohello", "True None True", "again EISCONN", "hellohello"),
        *("first None", "hellohello"),
    ]


async def test_a_socket_that_does_not_block_is_told_to_wait(jail: Jail) -> None:
    code = """
        one = socket.socket()
        one.setblocking(False)
        result = one.connect_ex(PROXY)
        assert result in (0, errno.EINPROGRESS), result
        select.select([], [one], [], 20)
        print(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), os.get_blocking(one.fileno()))
        one.setblocking(True)
        print(talk(one))
        import asyncio
        async def main():
            pairs = await asyncio.gather(*(asyncio.open_connection(*PROXY) for _ in range(20)))
            for reader, writer in pairs:
                writer.write(b"x")
                writer.write_eof()
            texts = await asyncio.gather(*(reader.read() for reader, _ in pairs))
            for _, writer in pairs:
                writer.close()
            return set(texts)
        print(asyncio.run(main()))
    """
    assert await run(jail, code) == ["0 False", "hellohello", "{b'xx'}"]


async def test_threads_and_children_connect_at_once(jail: Jail) -> None:
    code = """
        import subprocess
        results = []
        def connect():
            for _ in range(10):
                results.append(talk(socket.create_connection(PROXY)))
        threads = [threading.Thread(target=connect) for _ in range(8)]
        for thread in threads: thread.start()
        program = 'import socket; s = socket.create_connection(("127.0.0.1", %d)); s.send(b"x")' % PORT
        children = [subprocess.Popen([sys.executable, "-I", "-S", "-c", program]) for _ in range(3)]
        print([child.wait() for child in children])
        for thread in threads: thread.join()
        print(len(results), set(results))
    """
    assert await run(jail, code) == ["[0, 0, 0]", "80 {'hellohello'}"]


async def test_who_waits_for_a_busy_proxy_hinders_nobody_and_is_connected_in_time(jail: Jail) -> None:
    code = """
        fine = []
        while True:  # fill the queue of who waits to be accepted
            probe = socket.socket()
            probe.setblocking(False)
            probe.connect_ex(PROXY)
            if not select.select([], [probe], [], 0.5)[1]:
                break
            fine.append(probe)
        done = []
        def connect():
            one = socket.socket()
            one.connect(PROXY)
            done.append(os.get_blocking(one.fileno()))
        threads = [threading.Thread(target=connect) for _ in range(3)]
        for thread in threads: thread.start()
        tried("meanwhile", lambda: socket.create_connection(("127.0.0.1", 1)))
        os.listdir(".")
        print(done, flush=True)
        print("ready", flush=True)
        for thread in threads: thread.join()
        print(done)
    """
    accepted: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted.append(busy.accept()[0])

    process, busy = await start(jail, code, backlog=1)
    text = b""
    with busy:
        thread = threading.Thread(target=accept)
        async with process:
            async for _, data in process:
                text += data
                if b"ready" in text and not thread.is_alive():
                    thread.start()
        busy.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()
    assert text.decode().splitlines() == ["meanwhile ECONNREFUSED", "[]", "ready", "[True, True, True]"]


async def test_where_no_proxy_listens_the_connection_is_refused(jail: Jail) -> None:
    code = """
        tried("blocking", lambda: socket.create_connection(PROXY))
        one = socket.socket()
        one.setblocking(False)
        print(one.connect_ex(PROXY) in (errno.EINPROGRESS, errno.ECONNREFUSED))
        tried("timeout", lambda: socket.create_connection(PROXY, timeout=20))
    """
    process, gone = await start(jail, code)
    gone.close()
    assert await end(process) == ["blocking ECONNREFUSED", "True", "timeout ECONNREFUSED"]


async def test_nothing_else_of_the_network_works(jail: Jail) -> None:
    code = """
        OTHER = int(sys.argv[2])
        def to(address, family=socket.AF_INET):
            one = socket.socket(family)
            one.connect(address)
        tried("other port", lambda: to(("127.0.0.1", OTHER)))
        tried("other loopback", lambda: to(("127.0.0.2", PORT)))
        tried("any address", lambda: to(("0.0.0.0", PORT)))
        tried("elsewhere", lambda: to(("192.0.2.1", PORT)))
        tried("inet6", lambda: socket.socket(socket.AF_INET6))
        tried("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
        tried("icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
        tried("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))
        tried("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
        tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
        tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        one = socket.socket()
        tried("bind", lambda: one.bind(("127.0.0.1", 0)))
        tried("listen", one.listen)
        tried("accept", one.accept)
        tried("sendto", lambda: one.sendto(b"x", PROXY))
        tried("fast open", lambda: one.sendto(b"x", 0x20000000, ("127.0.0.1", OTHER)))
        tried("fast open message", lambda: one.sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", OTHER)))
        tried("message", lambda: one.sendmsg([b"x"], [], socket.MSG_NOSIGNAL, ("127.0.0.1", OTHER)))
        for name, level, option, value in (
            ("fast open later", 6, 30, 1), ("fast open server", 6, 23, 1), ("device", 1, 25, b"lo"),
            ("index", 1, 62, 1), ("mark", 1, 36, 1), ("source route", 0, 4, b"\\x83\\x07\\x04\\x7f\\0\\0\\x01\\0"),
            ("transparent", 0, 19, 1), ("header", 0, 3, 1), ("unicast device", 0, 50, 1),
            ("other protocol", 6, 31, b"tls"), ("repair", 6, 19, 1),
        ):
            tried(name, lambda: one.setsockopt(level, option, value))
        unix = socket.socket(socket.AF_UNIX)
        tried("local", lambda: unix.connect("/nowhere"))
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def connect(fd, data, length):
            if libc.connect(fd, data, length) < 0:
                raise OSError(ctypes.get_errno(), "")
        good = struct.pack("=H", 2) + struct.pack(">H4s8x", PORT, b"\\x7f\\0\\0\\1")
        tried("local socket, address of the proxy", lambda: connect(unix.fileno(), good, 16))
        tried("short", lambda: connect(one.fileno(), good, 8))
        tried("negative", lambda: connect(one.fileno(), good, -1))
        tried("unreadable", lambda: connect(one.fileno(), 8, 16))
        tried("disconnect", lambda: connect(one.fileno(), bytes(16), 16))
        tried("no socket", lambda: connect(0, good, 16))
        tried("closed", lambda: connect(77, good, 16))
        tried("long", lambda: connect(one.fileno(), good + b"x" * 112, 128))
        print(talk(one))
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        lines = await run(jail, code, str(other.getsockname()[1]))
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
    refused = [
        *("elsewhere", "inet6", "udp", "raw", "icmp", "sctp", "mptcp", "netlink", "packet", "bind", "listen"),
        *("accept", "sendto", "fast open", "fast open message"),
    ]
    options = [
        *("fast open later", "fast open server", "device", "index", "mark", "source route", "transparent", "header"),
        *("unicast device", "other protocol", "repair"),
    ]
    assert lines == [
        *("other port ECONNREFUSED", "other loopback ECONNREFUSED", "any address EPERM"),
        *(f"{name} EPERM" for name in refused),
        "message EPIPE",
        *(f"{name} EPERM" for name in (*options, "local", "local socket, address of the proxy", "short", "negative")),
        *("unreadable EFAULT", "disconnect EPERM", "no socket ENOTSOCK", "closed EBADF", "long None", "hellohello"),
    ]


async def test_the_address_that_was_checked_is_the_one_that_counts(jail: Jail) -> None:
    # A second thread writes another port into the address all the time.
    code = """
        import ctypes
        OTHER = int(sys.argv[2])
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.create_string_buffer(16)
        good, bad = (struct.pack("=H", 2) + struct.pack(">H4s8x", port, b"\\x7f\\0\\0\\1") for port in (PORT, OTHER))
        running = True
        def change():
            while running:
                for text in (good, bad):
                    ctypes.memmove(address, text, 16)
        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=change)
        thread.start()
        made = tries = 0
        while tries < 300 or made in (0, tries):  # both have been seen
            tries += 1
            one = socket.socket()
            if libc.connect(one.fileno(), address, 16) == 0:
                made += 1
                assert one.getpeername()[1] not in (PORT, OTHER)
            one.close()
        running = False
        thread.join()
        print("both")
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert await run(jail, code, str(other.getsockname()[1])) == ["both"]
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()


async def test_where_sockets_cannot_be_taken_a_command_that_needs_the_proxy_is_refused(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[bytes] = []

    def fail(given: bytes, remedy: str) -> None:
        orders.append(given)
        raise SandboxUnavailable(f"not here; {remedy}")

    monkeypatch.setattr(landlock, "_probe", fail)
    for _ in range(2):
        with pytest.raises(SandboxUnavailable, match="install bubblewrap"):
            await jail.sandbox.wrap(["true"], cwd="/", env={}, profile=read_only(), proxy_port=8080)
    assert len(orders) == 2
    await jail.sandbox.wrap(["true"], cwd="/", env={}, profile=read_only())
