"""Limits on what a command and everything it starts may use together, measured while it runs.

The kernel's own limits do not do alone: those of a process (RLIMIT_AS) punish a reservation and not its use, the one on
processes counts a whole user and spares root, and a control group needs a part of the hierarchy that was handed to us.
What /proc tells is there for every user and in every container; the price is that a limit is noticed a moment late.
For that moment RLIMIT_NPROC holds a fork bomb of a plain user, and for root the watch runs ahead of everything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, thread_time
from typing import Protocol

from msgspec import Struct, field

from app_server.config.settings import CommandLimits
from app_server.exec import proctree

PERIOD_S = 0.05
"""How often running commands are looked at."""

SHARE = 20
"""Looking takes at most one part in this many of a processor; many processes are looked at less often."""

LINGER_S = 2.0
"""How long after the last command the watch goes on, so that one command after another does not start it anew."""

WRAPPERS = 2
"""The sandbox's own processes in the tree of a contained command: its monitor and the first of the namespace."""

ROUNDS = 50
"""How often a tree that spreads is looked through for what is left of it."""

SLACK = 4096
"""How many tasks the user's other programs may start before commands cannot start any more."""

MEBIBYTE = 1 << 20


class Tree(Protocol):
    """A running command as far as its tree can be found from it."""

    @property
    def pid(self) -> int: ...

    @property
    def contained(self) -> bool: ...


class Watched(Struct, eq=False):
    """One command under limits. `hit` is called in the watching thread, right before the command is killed."""

    tree: Tree
    limits: CommandLimits
    hit: Callable[[str], None]
    seen: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """Start and processor time of each process when it was last looked at, in clock ticks."""
    gone: int = 0
    """The processor time of those that are no more, as far as it was seen."""


class LimitWatch:
    """Ends commands that use more than they may. One thread for all of them, there while there is something to do."""

    def __init__(self, orphans: Callable[[Tree], list[int]]) -> None:
        """`orphans` finds processes of a tree that have lost their parent; it is called in the watching thread."""
        self._orphans = orphans
        self._watched: dict[Watched, None] = {}
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, tree: Tree, limits: CommandLimits, hit: Callable[[str], None]) -> Watched | None:
        """Watch a command from now on; None where there is nothing to watch, or no way to."""
        if limits == CommandLimits(None, None, None) or not sys.platform.startswith("linux"):
            return None
        watched = Watched(tree, limits, hit)
        if limits.processes is not None:
            _hold_back(tree.pid, limits.processes)
        self._watched[watched] = None
        if not self._wanted.is_set():
            self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="command limits", daemon=True)
            self._thread.start()
        return watched

    def remove(self, watched: Watched) -> None:
        """The command is about to be waited for: its number may pass to another process from now on."""
        with self._lock:
            self._watched.pop(watched, None)

    def close(self) -> None:
        """Stop watching for good. Blocks for a moment; for a worker thread."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(PERIOD_S * SHARE)

    def _run(self) -> None:
        _hurry()
        idle_since = monotonic()
        while not self._stopped.is_set():
            busy = thread_time()
            if self._watched:
                idle_since = monotonic()
                self._look()
            elif monotonic() - idle_since > LINGER_S:
                self._wanted.clear()
                # Whoever came before the flag was lowered did not raise it.
                if not self._watched and not self._stopped.is_set():
                    self._wanted.wait()
                idle_since = monotonic()
                continue
            self._stopped.wait(max(PERIOD_S, SHARE * (thread_time() - busy)))

    def _look(self) -> None:
        tasks = system_tasks()
        for watched in list(self._watched):
            limits = watched.limits
            crowded = limits.processes is not None and tasks > limits.processes
            if crowded or limits.memory_mb is not None or limits.cpu_seconds is not None:
                sentence = self._exceeded(watched)
                if sentence is not None:
                    self._end(watched, sentence)

    def _end(self, watched: Watched, sentence: str) -> None:
        with self._lock:
            if watched not in self._watched:
                return
            del self._watched[watched]
            watched.hit(sentence)
            _kill_group(watched.tree.pid)
            escaped = [] if watched.tree.contained else members([watched.tree.pid])[0][1:]
        # Without a namespace that ends at once. The rest is the reaper's, which a fork bomb leaves no time for it.
        for _ in range(ROUNDS):
            for pid in escaped:
                _kill(pid)
            escaped = [] if watched.tree.contained else members(self._orphans(watched.tree))[0]
            if not escaped:
                break

    def _exceeded(self, watched: Watched) -> str | None:
        limits, tree = watched.limits, watched.tree
        own = WRAPPERS if tree.contained else 0
        most = None if limits.processes is None else limits.processes + own
        if most is not None and tree.contained and processes_inside(tree.pid) > most:
            return _sentence(f"ran more than {limits.processes} processes and threads at once", "processes")
        roots = [tree.pid] if tree.contained else [tree.pid, *self._orphans(tree)]
        pids, tasks = members(roots, most)
        if most is not None and tasks > most:
            return _sentence(f"ran more than {limits.processes} processes and threads at once", "processes")
        if limits.cpu_seconds is not None and _cpu_ticks(watched, pids) > limits.cpu_seconds * TICKS_PER_S:
            return _sentence(f"used more than {limits.cpu_seconds} s of processor time", "cpu_seconds")
        if limits.memory_mb is not None:
            allowed = limits.memory_mb * MEBIBYTE
            # The sum counts what forked processes share once for each; only then is the exact share worth its price.
            if sum(map(memory, pids)) > allowed:
                _hurry(on=False)
                shared_out = sum(map(memory_share, pids))
                _hurry()
                if shared_out > allowed:
                    return _sentence(f"used more than {limits.memory_mb} MB of memory", "memory_mb")
        return None


def _hurry(*, on: bool = True) -> None:
    """Let this thread run before all others, as far as it may: a fork bomb would leave it no time to be seen."""
    with suppress(OSError):
        if on:
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        else:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _hold_back(pid: int, processes: int) -> None:
    """Bound what a fork bomb of a plain user can do until it is noticed.

    The bound counts the user's other programs too, so it leaves room for those that are yet to come.
    """
    import resource

    with suppress(OSError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NPROC)
        most = system_tasks() + processes + SLACK
        bounds = [most if bound == resource.RLIM_INFINITY else min(bound, most) for bound in (soft, hard)]
        resource.prlimit(pid, resource.RLIMIT_NPROC, (bounds[0], bounds[1]))


TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _sentence(what: str, key: str) -> str:
    return f"the command was stopped: it and what it started {what} (command_limits.{key})"


def system_tasks() -> int:
    """How many processes and threads the whole system has: no tree has more. Unknown counts as very many."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return sys.maxsize


def processes_inside(wrapper: int) -> int:
    """How many processes the namespace has that the first child of `wrapper` heads; 0 if that cannot be told.

    Its own /proc lists them at a twentieth of the price of going from parents to children.
    """
    first = proctree.children(wrapper)
    try:
        own = f"/proc/{first[0]}/root/proc"
        # Until the sandbox is built, what it sees there is ours.
        return 0 if os.path.samefile(own, "/proc") else sum(map(str.isdigit, os.listdir(own)))
    except (OSError, IndexError):
        return 0


def members(roots: list[int], most: int | None = None) -> tuple[list[int], int]:
    """The processes of a tree, and how many threads they have; the search ends soon after `most` threads."""
    pids: list[int] = []
    tasks = 0
    waiting = list(roots)
    while waiting and (most is None or tasks <= most):
        pid = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        pids.append(pid)
        tasks += len(threads)
        for thread in threads:
            waiting += proctree.children_of_thread(pid, int(thread)) or []
    return pids, tasks


def _cpu_ticks(watched: Watched, pids: list[int]) -> int:
    """The processor time of the tree, in clock ticks; never more than it really used.

    Two counts, each blind to something: living processes with the children that they waited for miss the children of
    those who do not wait; the time of every process that was ever seen misses those that came and went unseen.
    """
    living = 0
    seen: dict[int, tuple[int, int]] = {}
    for pid in pids:
        if (times := cpu_times(pid)) is not None:
            started, own, waited_for = times
            seen[pid] = (started, own)
            living += own + waited_for
    for pid, (started, own) in watched.seen.items():
        if pid not in seen or seen[pid][0] != started:
            watched.gone += own
    watched.seen = seen
    return max(living, watched.gone + sum(own for _, own in seen.values()))


def cpu_times(pid: int) -> tuple[int, int, int] | None:
    """Of one process, in clock ticks: when it started, its own processor time, that of children it waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[19]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def memory(pid: int) -> int:
    """The bytes of one process that are no file's: anonymous, shared between processes, or swapped out."""
    return _sum_of_lines(f"/proc/{pid}/status", (b"RssAnon:", b"RssShmem:", b"VmSwap:")) or 0


def memory_share(pid: int) -> int:
    """`memory`, with what several processes share divided among them."""
    found = _sum_of_lines(f"/proc/{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:"))
    return memory(pid) if found is None else found


def _sum_of_lines(path: str, names: tuple[bytes, ...]) -> int | None:
    try:
        with open(path, "rb") as file:
            lines = [line for line in file.read().splitlines() if line.startswith(names)]
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines) * 1024 if lines else None
