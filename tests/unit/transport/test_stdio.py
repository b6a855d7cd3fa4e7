"""One client on pipes, files and sockets."""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import orjson
import pytest
from anyio import to_thread

from app_server.rpc.connection import MAX_MESSAGE_BYTES
from app_server.rpc.outbound import Frame, Outbound
from app_server.transport.stdio import BACKLOG_BYTES, PIPE_BYTES, Lines, Output
from tests.support.home import REPOSITORY, environment
from tests.support.rpc_client import RpcClient, StdioClient

PROGRAM = (sys.executable, "-m", "tests.support.fake_app")
HELLO = {"id": "hello", "method": "initialize", "params": {"clientInfo": {"name": "pipe", "version": "1"}}}


@contextmanager
def _pipe() -> Generator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    try:
        yield reading, writing
    finally:
        for fd in (reading, writing):
            try:
                os.close(fd)
            except OSError:
                pass


@asynccontextmanager
async def _reading(fd: int) -> AsyncGenerator[Lines]:
    lines = Lines(fd)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lines.read)
        yield lines
        lines.stop()


def _requests(*requests: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(request) + b"\n" for request in (HELLO, *requests))


def _run(stdin: int | IO[bytes], stdout: int | IO[bytes], home: Path) -> int:
    with subprocess.Popen(PROGRAM, cwd=REPOSITORY, env=environment(home), stdin=stdin, stdout=stdout) as process:
        return process.wait()


# Reading


async def test_lines_come_as_they_arrive_and_a_last_one_needs_no_newline() -> None:
    with _pipe() as (reading, writing):
        async with _reading(reading) as lines:
            os.write(writing, b'{"a":1}\n{"b"')
            assert await anext(lines) == b'{"a":1}'
            os.write(writing, b":2}\r\n\nlast")
            assert [await anext(lines) for _ in range(2)] == [b'{"b":2}\r', b""]
            os.close(writing)
            assert await anext(lines) == b"last"
            with pytest.raises(StopAsyncIteration):
                await anext(lines)


async def test_nothing_more_is_read_while_nobody_takes_the_lines() -> None:
    with _pipe() as (reading, writing):
        async with _reading(reading) as lines:
            line = b"x" * 1023 + b"\n"
            sent = taken = 0

            async def fill() -> None:
                nonlocal sent
                while sent < 8 * BACKLOG_BYTES:
                    try:
                        sent += os.write(writing, line)
                    except BlockingIOError:
                        await anyio.wait_writable(writing)
                os.close(writing)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fill)
                while not lines.paused:
                    await anyio.lowlevel.checkpoint()
                assert BACKLOG_BYTES < sent < 3 * BACKLOG_BYTES
                async for taken_line in lines:
                    assert taken_line == line[:-1]
                    taken += 1024
            assert (sent, taken) == (8 * BACKLOG_BYTES, 8 * BACKLOG_BYTES)


async def test_stopping_gives_what_was_read_and_drops_half_a_line() -> None:
    with _pipe() as (reading, writing):
        async with _reading(reading) as lines:
            os.write(writing, b"one\ntwo\nhal")
            assert await anext(lines) == b"one"
            lines.stop()
            assert [line async for line in lines] == [b"two"]


async def test_a_socket_that_is_reset_ends_the_lines() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        async with _reading(ours.fileno()) as lines:
            theirs.sendall(b"one\n")
            assert await anext(lines) == b"one"
            ours.send(b"unread data makes the close a reset")
            theirs.close()
            assert [line async for line in lines] == []


# Writing


async def test_writing_waits_for_the_reader_and_loses_nothing() -> None:
    with _pipe() as (reading, writing):
        outbound, output = Outbound("line"), Output(writing)
        body = b'"%b"' % (b"x" * 1_000_000)
        for _ in range(3):
            outbound.push(Frame(None, body))
        outbound.close()
        got = b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.write_all, outbound)
            await anyio.wait_all_tasks_blocked()
            while len(got) < 3 * (len(body) + 1):
                await anyio.wait_readable(reading)
                got += os.read(reading, 1 << 20)
        assert got == (body + b"\n") * 3


async def test_writing_that_was_cancelled_goes_on_where_it_was() -> None:
    with _pipe() as (reading, writing):
        outbound, output = Outbound("line"), Output(writing)
        body = b'"%b"' % (b"0123456789" * 50_000)
        outbound.push(Frame(None, body))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.write_all, outbound)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        outbound.close()
        got = b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.write_all, outbound)
            while len(got) < len(body) + 1:
                await anyio.wait_readable(reading)
                got += os.read(reading, 1 << 20)
        assert got == body + b"\n"


async def test_a_reader_that_has_gone_is_an_error() -> None:
    with _pipe() as (reading, writing):
        os.close(reading)
        outbound = Outbound("line")
        outbound.push(Frame(None, b"{}"))
        with pytest.raises(BrokenPipeError):
            await Output(writing).write_all(outbound)


# The whole


@asynccontextmanager
async def _client(tmp_path: Path) -> AsyncGenerator[StdioClient]:
    async with RpcClient.stdio(PROGRAM, env=environment(tmp_path), cwd=REPOSITORY) as client:
        await client.initialize()
        yield client


async def test_a_stray_print_and_a_child_cannot_touch_the_wire(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        assert await client.call("test/print") == {}
        assert await client.call("test/echo", {"value": "still here"}) == {"value": "still here", "number": None}
        assert [message for message in client.received if "method" in message] == []


async def test_a_line_that_is_too_long_is_refused_and_the_client_goes_on(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        piece = b"x" * (1 << 20)
        for _ in range(MAX_MESSAGE_BYTES // len(piece) + 1):
            await client.write_bytes(piece)
        await client.write_bytes(b"\n")
        refusal = await client.answer_to(None)
        assert refusal["error"] == {"code": -32600, "message": "Invalid request: message longer than 64 MiB"}
        assert (await client.call("test/echo", {"value": 1}))["value"] == 1


async def test_the_longest_line_is_read_and_answered(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        head, tail = b'{"id":"long","method":"test/echo","params":{"value":"', b'"}}'
        size = MAX_MESSAGE_BYTES - len(head) - len(tail)
        await client.send_raw(head + b"y" * size + tail)
        assert len((await client.answer_to("long"))["result"]["value"]) == size


async def test_requests_pending_at_the_end_of_input_are_answered(tmp_path: Path) -> None:
    requests = _requests(*({"id": number, "method": "test/echo", "params": {"value": number}} for number in range(300)))
    done = await anyio.run_process(PROGRAM, input=requests, env=environment(tmp_path), cwd=REPOSITORY, stderr=None)
    answers = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["hello", *range(300)]


@pytest.mark.parametrize("newline", [True, False])
async def test_it_reads_and_writes_regular_files(tmp_path: Path, newline: bool) -> None:
    requests = _requests({"id": 1, "method": "test/blob", "params": {"size": 1_000_000}}, {"id": 2, "method": "x"})
    (tmp_path / "in").write_bytes(requests if newline else requests[:-1])
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        assert await to_thread.run_sync(_run, stdin, stdout, tmp_path) == 0
    answers = {answer["id"]: answer for answer in map(orjson.loads, (tmp_path / "out").read_bytes().splitlines())}
    assert len(answers[1]["result"]["value"]) == 1_000_000
    assert answers[2]["error"]["code"] == -32600


async def test_with_dev_null_for_input_it_ends_at_once(tmp_path: Path) -> None:
    assert await to_thread.run_sync(_run, subprocess.DEVNULL, subprocess.DEVNULL, tmp_path) == 0


async def test_one_socket_for_both_directions_works(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    wire = theirs.fileno()
    async with await anyio.open_process(
        PROGRAM, env=environment(tmp_path), cwd=REPOSITORY, stdin=wire, stdout=wire, stderr=None
    ) as process:
        theirs.close()
        with ours:
            ours.setblocking(False)
            for number in range(3):
                ours.send(orjson.dumps({**HELLO, "id": number}) + b"\n")
                await anyio.wait_readable(ours)
                assert orjson.loads(ours.recv(10_000))["id"] == number
        assert await process.wait() == 0


async def test_a_client_that_reads_no_more_ends_the_program(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with await anyio.open_process(
        PROGRAM, env=environment(tmp_path), cwd=REPOSITORY, stdout=writing, stderr=None
    ) as process:
        os.close(reading)
        os.close(writing)
        assert process.stdin is not None
        await process.stdin.send(_requests())
        assert await process.wait() == 0


def test_the_callers_pipes_are_blocking_again_afterwards(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as nothing:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as stdout, os.fdopen(reading, "rb"):
            assert _run(nothing, stdout, tmp_path) == 0
            assert os.get_blocking(writing)


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="only Linux lets a pipe be widened")
def test_a_pipe_holds_a_long_answer_where_the_system_lets_it() -> None:
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        pytest.skip("this user has used up its pages for pipes")
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 65536)
    Output(writing)
    assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    os.close(reading)
    os.close(writing)
