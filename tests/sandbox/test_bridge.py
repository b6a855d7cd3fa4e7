"""The bridge: a socket of the sandbox's own network on which the daemon listens, and nothing of it for the command."""

import asyncio
import os
import shutil
import socket
import sys
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from app_server.config.network_proxy import NetworkProxySettings
from app_server.exec.process import Process
from app_server.exec.reaper import Reaper
from app_server.sandbox import stage
from app_server.sandbox.bubblewrap import Bubblewrap
from app_server.sandbox.permissions import PermissionProfile, read_only, workspace_write
from app_server.sandbox.sandbox import NETWORK_DISABLED, SandboxUnavailable
from tests.sandbox.conftest import Ran

PROXIED = PermissionProfile("restricted", network=False, proxy=NetworkProxySettings())

TALK = """
    import socket
    def say(text, port=PORT, address="127.0.0.1"):
        with socket.create_connection((address, port)) as connection:
            connection.sendall(text.encode())
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile().read()
"""


class Bridged:
    """Commands with a bridge, in a workspace of their own."""

    def __init__(self, sandbox: Bubblewrap, reaper: Reaper, workspace: Path) -> None:
        self.sandbox, self.reaper, self.workspace = sandbox, reaper, workspace
        self._started = 0

    @asynccontextmanager
    async def start(
        self, code: str, port: int = 8080, *, profile: PermissionProfile = PROXIED, env: dict[str, str] | None = None
    ) -> AsyncGenerator[tuple[Process, socket.socket]]:
        """A Python program confined, and the daemon's end of the bridge. PORT is the proxy's."""
        self._started += 1
        script = self.workspace / f"program{self._started}.py"
        script.write_text(f"PORT = {port}\n" + textwrap.dedent(TALK) + textwrap.dedent(code))
        command = await self.sandbox.wrap(
            [sys.executable, "-I", "-S", str(script)],
            cwd=str(self.workspace),
            env={**os.environ, **(env or {})},
            profile=profile,
            proxy_port=port,
        )
        assert command.bridge is not None
        assert not command.bridge.get_inheritable()
        with command.bridge:
            async with Process.spawn(command, cwd=str(self.workspace), reaper=self.reaper) as process:
                yield process, command.bridge

    async def run(self, code: str, port: int = 8080, *, profile: PermissionProfile = PROXIED) -> str:
        """What the program prints, with an echo server of ours behind the bridge."""
        async with self.start(code, port, profile=profile) as (process, bridge), echoing(await received(bridge)):
            ran = await output(process)
        assert (ran.code, ran.err) == (0, "")
        return ran.out


async def output(process: Process) -> Ran:
    streams = {"stdout": b"", "stderr": b""}
    async for stream, data in process:
        streams[stream] += data
    code = await process.wait()
    return Ran(code, streams["stdout"].decode(), streams["stderr"].decode())


async def received(bridge: socket.socket) -> socket.socket:
    """The socket that comes through the bridge."""
    message, fds = await anyio.to_thread.run_sync(receive, bridge)
    assert message == b"x"
    (fd,) = fds
    return socket.socket(fileno=fd)


def receive(bridge: socket.socket) -> tuple[bytes, list[int]]:
    bridge.settimeout(30)
    message, fds, _, _ = socket.recv_fds(bridge, 16, 4, socket.MSG_CMSG_CLOEXEC)
    return message, fds


@asynccontextmanager
async def echoing(listener: socket.socket) -> AsyncGenerator[None]:
    """A server on `listener` that says everything twice."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = await reader.read()
        writer.write(text + text)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, sock=listener):
        yield


@pytest.fixture
async def bridged(tmp_path: Path) -> AsyncIterator[Bridged]:
    sandbox = Bubblewrap()
    try:
        await sandbox.available()
    except SandboxUnavailable as error:
        pytest.skip(f"NO BUBBLEWRAP HERE, ITS TESTS DO NOT RUN: {error}")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    async with Reaper() as reaper:
        yield Bridged(sandbox, reaper, workspace)
    await anyio.to_thread.run_sync(partial(shutil.rmtree, tmp_path, ignore_errors=True))


async def test_the_daemon_accepts_what_the_command_connects_in_its_own_network(bridged: Bridged) -> None:
    assert await bridged.run("print(say('hello'), say('again', PORT))") == "hellohello againagain\n"


async def test_the_port_is_the_sandboxs_own_and_may_be_another_programs_outside(bridged: Bridged) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        assert await bridged.run("print(say('hello'))", port) == "hellohello\n"
        outside.settimeout(0)
        with pytest.raises(BlockingIOError):
            outside.accept()


async def test_two_commands_have_the_same_port_in_networks_of_their_own(bridged: Bridged) -> None:
    code = "print(say(MARK))"
    async with (
        bridged.start(f"MARK = 'one'\n{code}") as (one, first),
        echoing(await received(first)),
        bridged.start(f"MARK = 'two'\n{code}") as (two, second),
        echoing(await received(second)),
    ):
        assert (await output(one)).out == "oneone\n"
        assert (await output(two)).out == "twotwo\n"


async def test_a_commands_own_servers_work_and_the_proxys_port_cannot_be_taken(bridged: Bridged) -> None:
    code = """
        import threading
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                connection, _ = server.accept()
                connection.sendall(connection.makefile().read().upper().encode())
                connection.close()
            thread = threading.Thread(target=serve)
            thread.start()
            print(say("mine", server.getsockname()[1]))
            thread.join()
        for address in ("127.0.0.1", "0.0.0.0"):
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                second = socket.socket()
                second.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    second.bind((address, PORT))
                    second.listen()
                    print("taken")
                except OSError as error:
                    print(error.strerror)
        print(say("still"))
    """
    assert await bridged.run(code) == "MINE\n" + "Address already in use\n" * 4 + "stillstill\n"


async def test_there_is_no_network_but_the_loopback(bridged: Bridged) -> None:
    code = """
        import os
        print([name for _, name in socket.if_nameindex()])
        for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
            try:
                socket.socket(family).connect((address, 80))
                print("connected")
            except OSError as error:
                print(error.strerror)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            try:
                socket.socket(socket.AF_UNIX, kind)
                print("local")
            except PermissionError:
                pass
        left, right = socket.socketpair()
        left.send(b"a pair")
        print(right.recv(10))
    """
    assert await bridged.run(code) == "['lo']\n" + "Network is unreachable\n" * 2 + "b'a pair'\n"


@pytest.mark.parametrize("writes", [False, True], ids=["read-only", "workspace"])
async def test_nothing_of_the_bridge_is_open_in_any_process_of_the_sandbox(bridged: Bridged, writes: bool) -> None:
    code = """
        import glob, os
        for path in sorted(glob.glob("/proc/[0-9]*/fd/*")):
            try:
                target = os.readlink(path)
            except OSError:
                continue
            if "socket:" in target or "turnloom" in target:
                print(path, target)
        print(len(os.listdir("/proc/self/fd")))
    """
    profile = workspace_write([str(bridged.workspace)], slash_tmp=False) if writes else read_only()
    assert await bridged.run(code, profile=profile) == "4\n"


async def test_what_comes_through_the_bridge_is_one_socket_and_then_the_end(bridged: Bridged) -> None:
    async with bridged.start("import sys; sys.stdin.read()") as (process, bridge):
        listener = await received(bridge)
        with listener:
            assert listener.getsockname() == ("127.0.0.1", 8080)
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert await anyio.to_thread.run_sync(receive, bridge) == (b"", [])
        await output(process)


async def test_the_socket_leads_to_the_sandboxs_network_also_when_its_command_is_gone(bridged: Bridged) -> None:
    async with bridged.start("pass") as (process, bridge):
        listener = await received(bridge)
        await output(process)
    with listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname(), timeout=10)


async def test_a_command_that_cannot_be_bridged_is_not_started(bridged: Bridged) -> None:
    # Port 80 is for root, which nobody is in a sandbox.
    async with bridged.start("print('started')", 80) as (process, bridge):
        assert await anyio.to_thread.run_sync(receive, bridge) == (b"", [])
        ran = await output(process)
    assert ran == Ran(126, "", stage.NO_BRIDGE.decode())


async def test_a_command_with_a_network_of_its_own_profile_is_not_told_that_it_has_none(bridged: Bridged) -> None:
    code = f"import os; print(os.environ.get({NETWORK_DISABLED!r}))"
    beyond = PermissionProfile("restricted", network=False, proxy=NetworkProxySettings(beyond_profile=True))
    assert await bridged.run(code) == "None\n"
    assert await bridged.run(code, profile=beyond) == "1\n"


async def test_without_a_proxy_there_is_no_bridge(bridged: Bridged) -> None:
    command = await bridged.sandbox.wrap(["true"], cwd="/", env={}, profile=PROXIED)
    async with Process.spawn(command, cwd="/", reaper=bridged.reaper) as process:
        assert (await output(process)).code == 0
    assert command.bridge is None
    assert command.argv[0].endswith("bwrap")
