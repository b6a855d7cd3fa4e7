"""The processes below the helper of the Landlock backend, which as a subreaper is the parent of every orphan."""

import os
import signal
import time
from contextlib import suppress

LAST_WORK_S = 1.0
"""How long what a command leaves behind may take to die."""


def reap(child: int) -> int | None:
    """Wait for whatever has ended already; the status of `child` if it is among it."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return status


def end_all() -> None:
    """Kill everything that is left."""
    deadline = time.monotonic() + LAST_WORK_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        for pid in descendants():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def descendants() -> list[int]:
    """Every process below this one."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _fields(int(entry))) is not None:
            below.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        children = below.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def is_descendant(pid: int) -> bool:
    """Whether a process, or the one a thread belongs to, is below this one."""
    own = os.getpid()
    while pid > 1 and (fields := _fields(pid)) is not None:
        pid = int(fields[1])
        if pid == own:
            return True
    return False


def group_of(pid: int) -> int | None:
    """The process group, or None if there is no such process any more."""
    fields = _fields(pid)
    return None if fields is None else int(fields[2])


def _fields(pid: int) -> list[bytes] | None:
    """What /proc tells about a process, from its state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in brackets may hold anything, brackets and spaces included.
    return text[text.rindex(b")") + 2 :].split()
