"""What /proc tells about processes: parents, children, sessions, and whose they are."""

import os
import time

from msgspec import Struct


class Stat(Struct, frozen=True):
    """One process as /proc shows it. `started` is in clock ticks since boot."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def is_dead(self) -> bool:
        """Whether it has ended and only waits to be reaped."""
        return self.state in "ZX"


def now() -> int:
    """The time as `Stat.started` tells it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // NS_PER_TICK if _KNOWS_BOOT_TIME else 0


def stat(pid: int) -> Stat | None:
    """The process, or None when there is none (any more)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in brackets may hold anything, brackets and spaces included.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def variable(pid: int, name: bytes) -> bytes | None:
    """The value of a variable in the environment that the process was started with; None if unset or unknown."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            block = file.read()
    except OSError:
        return None
    for assignment in block.split(b"\0"):
        if assignment.startswith(name + b"="):
            return assignment[len(name) + 1 :]
    return None


def brand(pid: int) -> int | None:
    """The number that `spawn` put on a process or an ancestor of it; None if it has none, or on no such process.

    Unlike an environment it is still there when the process is about to exit, and no program clears it by accident.
    """
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max file locks"):
                    soft = line.split()[3]
                    return int(soft) if soft.isdigit() else None
    except OSError:
        pass
    return None


def children(pid: int) -> list[int]:
    """The children of every thread of a process."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        found += children_of_thread(pid, int(thread)) or []
    return found


def children_of_thread(pid: int, thread: int) -> list[int] | None:
    """The children of one thread; orphans that a process adopts are children of its first thread. None: unknown."""
    try:
        with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        # Either the thread is gone or the kernel has no such file; only the second is worth the long way.
        return _children_by_search(pid) if not _KERNEL_LISTS_CHILDREN and pid == thread else None
    except OSError:
        return None


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before children and younger siblings before older ones.

    In this order the reader of a pipe is signalled before its writer, whose end it would take for the end of the input.
    """
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())[::-1]
        found += below
        waiting += below
    return found


def _children_by_search(pid: int) -> list[int]:
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := stat(int(entry))) is not None and process.parent == pid:
            found.append(process.pid)
    return found


NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_KNOWS_BOOT_TIME = hasattr(time, "CLOCK_BOOTTIME")
_KERNEL_LISTS_CHILDREN = os.path.exists("/proc/self/task/self/children") or os.path.exists(
    f"/proc/self/task/{os.getpid()}/children"
)
