"""Terminals: commands of the model that may outlive the call, and the turn, that started them."""

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import anyio
from msgspec import Struct

from app_server.approvals.network import Denial
from app_server.exec import proctree
from app_server.exec.expiration import Expiration
from app_server.exec.limits import cpu_times
from app_server.exec.output import HeadTail, Utf8Splitter
from app_server.exec.process import Process
from app_server.rpc.outbound import now_ms
from app_server.tools.context import ItemSink
from app_server.tools.guarded_network import GuardedNetwork
from protocol.v2.item import CommandExecutionThreadItem

STREAMS_CLOSE_SECONDS = 0.05
"""How long after a command's exit its streams are awaited while somebody else holds them open."""

MOST_TERMINALS = 64
"""How many a thread may have; one more ends the one that was used longest ago."""
RECENTLY_USED = 8
"""So many of the latest used are never ended to make room."""

LOWEST_NUMBER, HIGHEST_NUMBER = 1_000, 99_999

CLOSE_SECONDS = 5.0
"""How long closing waits for terminals that it has ended."""

KILLED = "killed"
"""The reason of an expiration from outside."""

KILLED_EXIT_CODE = -1
"""What clients are told of a command that was ended from outside, or by a denial of its network."""

Spawn = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs what outlives the call that started it."""


class Terminal:
    """One command that runs, or has run: its output so far, and the item that clients see it as.

    The call that started it owns its item until `leave`; from then on the item is completed when the command ends.
    """

    def __init__(
        self,
        number: int,
        process: Process,
        item: CommandExecutionThreadItem,
        items: ItemSink,
        *,
        script: str,
        tty: bool,
        outside: bool,
        output: HeadTail | None,
        network: GuardedNetwork | None,
    ) -> None:
        """`script` is the command line without its shell; `output` what the item has shown already.

        `outside` says that it was let out of a sandbox, so that whoever writes to it should be asked about.
        """
        self.expiration = Expiration(None)
        """Ends the command before its time: somebody kills it, or its network is denied."""
        self.denial: Denial | None = None
        """Once it has ended: why its network was denied, which is then what it came to."""
        self.network = network
        if network is not None:
            network.registration.expires(self.expiration)
        self.number, self.process, self.script, self.tty, self.outside = number, process, script, tty, outside
        self.item = item.model_copy(update={"process_id": str(number), "source": "unifiedExecStartup"})
        self.output = output or HeadTail()
        self.ended = anyio.Event()
        """The command has exited, all of its output is there, and nothing of it runs any more."""
        self.completed = anyio.Event()
        """Clients were told of the end."""
        self.exit_code = KILLED_EXIT_CODE
        self.turns = anyio.Lock()
        """Calls that write to the terminal or poll it take turns."""
        self.used_at = self.began_at = monotonic()
        self._items = items
        self._unread = HeadTail()
        self._unread_lines = 0
        self._left = self._completing = False
        self._seconds = 0.0
        self._reading = anyio.CancelScope()
        self._splitter = Utf8Splitter()

    @property
    def runs(self) -> bool:
        """Whether the command itself is still there."""
        return self.process.exit_code is None and self.expiration.reason is None

    async def follow(self) -> None:
        """Take the output until the command ends; its owner runs this."""
        process = self.process
        try:
            async with process:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._limit_drain)
                    with self.expiration, self._reading:
                        while (chunk := await process.read()) is not None:
                            self._take(chunk[1])
                            await self._items.congestion()
                        await process.wait()
                    tasks.cancel_scope.cancel()
                await process.terminate()
                while (chunk := await process.read()) is not None:
                    self._take(chunk[1])
            if (sentence := process.limit_hit) is not None:
                self._take(f"\n{sentence}\n".encode())
            for text in self._splitter.finish():
                self._items.output_delta(self.item.id, text)
        finally:
            await self._finish_network()
            if self.denial is None and self.expiration.reason is None and process.exit_code is not None:
                self.exit_code = process.exit_code
            self._seconds = monotonic() - self.began_at
            self.ended.set()
        if self._left:
            await self.complete()

    async def _finish_network(self) -> None:
        if self.network is not None and (denial := await self.network.finish()) is not None:
            self.denial = denial
            self.output.append(f"\n{denial.reason}".encode() if self.output.total else denial.reason.encode())

    async def _limit_drain(self) -> None:
        await self.process.wait()
        self._reading.deadline = anyio.current_time() + STREAMS_CLOSE_SECONDS

    def _take(self, data: bytes) -> None:
        self.output.append(data)
        self._unread.append(data)
        self._unread_lines += data.count(b"\n")
        for text in self._splitter.feed(data):
            self._items.output_delta(self.item.id, text)

    def kill(self) -> None:
        """End the command and its whole tree now. Does nothing once it has exited."""
        if self.runs:
            self.expiration.cancel(KILLED)

    async def leave(self) -> None:
        """The call that started the command is over: the item is completed now or, if it runs on, at its end."""
        if self.expiration.reason is not None:
            await self.ended.wait()
        if self.ended.is_set():
            await self.complete()
        elif not self._left:
            self._left = True
            await self._items.detach(self.item.id)

    def give_up_item(self) -> None:
        """The command has ended, and its item goes on with another one."""
        self._completing = True

    async def complete(self) -> None:
        """Store and tell how it ended. A second call does nothing."""
        if self._completing:
            return
        self._completing = True
        ended = {
            "status": "completed" if self.exit_code == 0 else "failed",
            "exit_code": self.exit_code,
            "aggregated_output": self.output.text() or None,
            "duration_ms": int(self._seconds * 1000),
            "completed_at_ms": now_ms(),
        }
        try:
            await self._items.completed(self.item.model_copy(update=ended))
        finally:
            self.completed.set()

    def take_unread(self) -> "Unread":
        """What was printed since the last call. A character that is not whole yet stays for the next one."""
        unread, lines = self._unread, self._unread_lines
        self._unread, self._unread_lines = HeadTail(), 0
        data = unread.render()
        if not self.ended.is_set() and (rest := _unfinished(data)):
            self._unread.append(data[-rest:])
            data = data[:-rest]
            return Unread(data.decode("utf-8", "replace"), unread.total - rest, lines + 1)
        return Unread(data.decode("utf-8", "replace"), unread.total, lines + (data[-1:] not in (b"\n", b"")))


class Unread(Struct, frozen=True):
    """Output for the model, its middle left out if it was very long, and the `size` (bytes) and lines of all of it."""

    text: str
    size: int
    lines: int


class Usage(Struct, frozen=True):
    """What a running command and its descendants use. `cpu_percent` is the average of its life, 100 for one core."""

    pid: int
    cpu_percent: float | None
    rss_kb: int | None


class Terminals:
    """The terminals of all threads, by thread."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._threads: dict[str, dict[int, Terminal]] = {}

    def open(
        self,
        thread_id: str,
        process: Process,
        item: CommandExecutionThreadItem,
        items: ItemSink,
        *,
        script: str,
        tty: bool,
        outside: bool,
        output: HeadTail | None = None,
        network: GuardedNetwork | None = None,
    ) -> Terminal:
        """A terminal for a command that was just started, which is this room's from now on."""
        terminals = self._threads.setdefault(thread_id, {})
        if len(terminals) >= MOST_TERMINALS:
            self._make_room(terminals)
        while (number := random.randint(LOWEST_NUMBER, HIGHEST_NUMBER)) in terminals:
            pass
        terminal = Terminal(
            number, process, item, items, script=script, tty=tty, outside=outside, output=output, network=network
        )
        terminals[number] = terminal
        self._spawn(terminal.follow)
        return terminal

    def find(self, thread_id: str, number: int) -> Terminal | None:
        """The terminal of that number, running or with output that was not read yet."""
        return self._threads.get(thread_id, {}).get(number)

    def forget(self, thread_id: str, terminal: Terminal) -> None:
        """Its end has been read: the number means nothing any more."""
        terminals = self._threads.get(thread_id, {})
        if terminals.get(terminal.number) is terminal:
            del terminals[terminal.number]

    def running(self, thread_id: str) -> list[Terminal]:
        """The thread's running commands, by number."""
        terminals = self._threads.get(thread_id, {})
        return [terminals[number] for number in sorted(terminals) if terminals[number].runs]

    def kill(self, thread_id: str | None = None) -> None:
        """Begin to end everything of a thread, or of all: what follows need not wait for commands."""
        for thread in [thread_id] if thread_id is not None else list(self._threads):
            for terminal in self.running(thread):
                terminal.kill()

    async def close(self, thread_id: str) -> None:
        """End and forget everything of a thread that is no longer loaded."""
        terminals = self._threads.pop(thread_id, {})
        await self._end(list(terminals.values()))

    async def shutdown(self) -> None:
        """`close` for all threads at once."""
        threads, self._threads = self._threads, {}
        await self._end([terminal for terminals in threads.values() for terminal in terminals.values()])

    async def _end(self, terminals: Sequence[Terminal]) -> None:
        unfinished = [terminal for terminal in terminals if not terminal.ended.is_set()]
        for terminal in unfinished:
            terminal.kill()
        with anyio.move_on_after(CLOSE_SECONDS):
            for terminal in unfinished:
                await terminal.ended.wait()
                await terminal.leave()
                await terminal.completed.wait()

    def _make_room(self, terminals: dict[int, Terminal]) -> None:
        by_use = sorted(terminals.values(), key=lambda terminal: terminal.used_at)[:-RECENTLY_USED]
        victim = next((terminal for terminal in by_use if not terminal.runs), by_use[0])
        del terminals[victim.number]
        victim.kill()


def usage(terminal: Terminal) -> Usage:
    """What a terminal's command uses now. Reads files of /proc, so it is for a worker thread."""
    top = terminal.process.pid
    ticks, pages = 0, 0
    for pid in (top, *proctree.descendants(top)):
        if (times := cpu_times(pid)) is not None:
            ticks += times[1] + times[2]
        pages += _resident_pages(pid)
    seconds = monotonic() - terminal.began_at
    percent = ticks / os.sysconf("SC_CLK_TCK") / seconds * 100 if seconds > 0 else None
    return Usage(
        top, None if percent is None else round(percent, 1), pages * os.sysconf("SC_PAGE_SIZE") // 1024 or None
    )


def _resident_pages(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _unfinished(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character of UTF-8."""
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length if length < wanted else 0
        if byte < 0x80:
            return 0
    return 0
