"""Undertaker: when the daemon is killed without warning, its unsandboxed commands die too.

A sandboxed command dies with bubblewrap's `--die-with-parent`. For the others a small shell holds the end of a pipe:
once the pipe closes without a word of farewell, it kills the sessions that it was told of and whatever carries the
daemon's mark. (`setpriv --pdeathsig` would cost 1 ms on every command and would spare the command's own children.)
"""

import asyncio
import os
from contextlib import suppress

import anyio

from app_server.exec.spawn import SpawnError, spawn

SHELL = "/bin/sh"

# Reads "+PID" and "-PID" lines; "bye" ends it with nothing killed. At the end of input it kills the process groups
# that are left, then, twice because of forks in between, every process with the mark in its environment or the brand
# among its limits.
SCRIPT = """
live=' '
while read -r line; do
  case $line in
    +*) live="$live${line#+} " ;;
    -*) n=${line#-}
        case $live in *" $n "*) live="${live%% $n *} ${live#* $n }" ;; esac ;;
    bye) exit 0 ;;
  esac
done
for n in $live; do kill -s KILL -- "-$n" 2>/dev/null; done
for again in 1 2; do
  for file in $(grep -lzs "^$1" /proc/[0-9]*/environ; grep -ls "^Max file locks  *$2" /proc/[0-9]*/limits); do
    n=${file#/proc/}; kill -s KILL "${n%/*}" 2>/dev/null
  done
done
"""


class Undertaker:
    """Started with the first unsandboxed command, dismissed with the daemon.

    `mark` is NAME=prefix-of-value, `brand` the first digits of all brands.
    """

    def __init__(self, mark: str, brand: str) -> None:
        self._mark, self._brand = mark, brand
        self._pipe: int | None = None
        self._lost = False
        self.pid: int | None = None

    def watch(self, pid: int) -> None:
        """The session that `pid` leads dies with the daemon from now on."""
        if self.pid is None and not self._lost:
            self._start()
        self._tell(f"+{pid}\n")

    def unwatch(self, pid: int) -> None:
        """The session has ended."""
        self._tell(f"-{pid}\n")

    async def dismiss(self) -> None:
        """The daemon ends in good order: nothing is to be killed."""
        self._tell("bye\n")
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self.pid is not None:
            await _see_off(self.pid)
            self.pid = None

    def _start(self) -> None:
        reading, self._pipe = os.pipe()
        try:
            os.set_blocking(self._pipe, False)
            self.pid = spawn(
                [SHELL, "-c", SCRIPT, "turnloom-undertaker", self._mark, self._brand],
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                redirects=[(0, reading), (1, ("/dev/null", os.O_WRONLY)), (2, ("/dev/null", os.O_WRONLY))],
            )
        except SpawnError:
            # Without a shell there is no such guarantee on this machine; commands run all the same.
            self._lost = True
        finally:
            os.close(reading)

    def _tell(self, line: str) -> None:
        if self._pipe is not None:
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._pipe, line.encode())


async def _see_off(pid: int) -> None:
    """Wait up to 1 s for a child's end, and reap it."""
    pidfd = os.pidfd_open(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        with anyio.move_on_after(1, shield=True):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        _reap(pid)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
