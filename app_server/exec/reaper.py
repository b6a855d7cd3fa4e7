"""Reaper: every process that a command leaves behind is killed and waited for."""

import os
import secrets
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import anyio
import anyio.lowlevel
import anyio.to_thread
from msgspec import Struct, field

from app_server.exec import proctree
from app_server.exec.limits import LimitWatch, Tree
from app_server.exec.spawn import become_subreaper, seal_descriptors
from app_server.exec.undertaker import Undertaker

MARKER = "TURNLOOM_EXECUTION_ID"
"""The variable that tells whose a process is, whatever session or parent it has.

Its value is the marks of the executions it runs in, outermost first, with colons between.
"""

COMMANDS = 10**6
"""Brands that one reaper has to give, one for each command; then they begin anew."""

BURIAL_S = 1.0
"""How long a tree may take to die after it was killed."""


class Execution(Struct, eq=False):
    """One running command as its reaper knows it: the process that was started, and mark and brand of its descendants.

    `contained` says that descendants cannot leave: they live in a process-id namespace that ends with the command.
    `started`, the earliest that it can have begun, is in clock ticks since boot. `seen` are descendants noted while
    each still had its parent, by id and start: an id alone may pass to a stranger.
    """

    pid: int
    mark: str
    contained: bool
    brand: int | None = None
    started: int = 0
    seen: dict[int, int] = field(default_factory=dict[int, int])


# Children belong to the operating system's process, not to one Reaper: what another one started is no orphan.
_live: dict[int, Execution] = {}
_undertakers: set[int] = set()


class Reaper:
    """Knows what `Process` has started, and ends whole trees.

    As a child subreaper the daemon inherits the orphans of its commands, so that a descendant which left its session,
    its parent and even its environment is still found. The rule for others in this program: a child that was not
    started through `Process` must stay in the daemon's own session, else it is taken for such an orphan.
    """

    def __init__(self) -> None:
        self._own_mark = secrets.token_hex(8)
        # Of so many digits that no limit which somebody means is taken for one.
        brand = 10**11 + secrets.randbelow(10**11)
        self._own_brand = brand * COMMANDS
        self._count = 0
        self._session = os.getsid(0)
        outer = os.environ.get(MARKER)
        self._prefix = f"{outer}:{self._own_mark}" if outer else self._own_mark
        self._undertaker = Undertaker(f"{MARKER}={self._prefix}", str(brand))
        self.limits = LimitWatch(self._orphans)
        """Ends commands that use more than they may."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.move_on_after(1, shield=True):
            await anyio.to_thread.run_sync(self.limits.close, abandon_on_cancel=True)
        pid = self._undertaker.pid
        await self._undertaker.dismiss()
        if pid is not None:
            _undertakers.discard(pid)

    def new_mark(self) -> str:
        """A value for `MARKER` in the environment of a command about to be started."""
        if not self._count:
            become_subreaper()
            seal_descriptors()
        self._count += 1
        return f"{self._prefix}-{self._count}"

    @property
    def brand(self) -> int:
        """The brand that goes with the latest mark, for the command that gets it."""
        return self._own_brand + self._count % COMMANDS

    def register(self, pid: int, mark: str, *, contained: bool, began: int) -> Execution:
        """Take note of a child that was just started in a session of its own, with `mark` and the latest brand.

        It was not started before `began`, a time as `proctree.now` gives it.
        """
        execution = Execution(pid, mark, contained, None if contained else self.brand, began)
        _live[pid] = execution
        if not contained:
            self._undertaker.watch(pid)
            if self._undertaker.pid is not None:
                _undertakers.add(self._undertaker.pid)
        return execution

    def forget(self, execution: Execution) -> None:
        """The child itself has been waited for."""
        if _live.pop(execution.pid, None) is not None and not execution.contained:
            self._undertaker.unwatch(execution.pid)

    async def bury(self, execution: Execution, has_exited: Callable[[], bool]) -> bool:
        """Kill what is left of the tree and wait for its end, at most `BURIAL_S`.

        The command's own process is killed too, but reaped by its owner. False if something would not die in time.
        """
        deadline = anyio.current_time() + BURIAL_S
        if not execution.contained and not has_exited():
            self._note(execution, proctree.descendants(execution.pid))
        with suppress(ProcessLookupError, PermissionError):
            # The child is not reaped yet, so the number of its group cannot have passed to anybody else.
            os.killpg(execution.pid, signal.SIGKILL)
        pause = 0.0005
        while True:
            alive, reaped = self._sweep(execution)
            # Whoever was found dead may have had a child since the list was read, so another look follows.
            if not alive and not reaped and has_exited():
                return True
            if anyio.current_time() >= deadline:
                return False
            if alive or not has_exited():
                await anyio.sleep(pause)
                pause = min(pause * 2, 0.02)
            else:
                await anyio.lowlevel.checkpoint()

    def _sweep(self, execution: Execution) -> tuple[bool, bool]:
        """Kill every process of the tree that can be found; whether any is left, and whether orphans were reaped."""
        own = os.getpid()
        alive = reaped = False
        for pid in proctree.children_of_thread(own, own) or []:
            if pid in _live or pid in _undertakers:
                continue
            process = proctree.stat(pid)
            if process is None or process.session == self._session:
                continue
            if process.is_dead:
                reaped = True
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            elif self._belongs(process, execution):
                self._note(execution, [pid, *proctree.descendants(pid)])
        for pid, started in list(execution.seen.items()):
            process = proctree.stat(pid)
            if process is None or process.started != started:
                del execution.seen[pid]
                continue
            if not process.is_dead:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            # Also while it is a zombie: either we reap it in the next round or its parent, if that lives on, must.
            alive = alive or not process.is_dead or process.parent == own
        return alive, reaped

    def _orphans(self, tree: Tree) -> list[int]:
        """What we adopted of the tree of a command. For any thread: it kills and notes nothing."""
        execution = _live.get(tree.pid)
        if execution is None:
            return []
        own = os.getpid()
        found: list[int] = []
        for pid in proctree.children_of_thread(own, own) or []:
            if pid not in _live and pid not in _undertakers:
                process = proctree.stat(pid)
                if process is None or process.is_dead or process.session == self._session:
                    continue
                if self._belongs(process, execution):
                    found.append(pid)
        return found

    def _note(self, execution: Execution, pids: Sequence[int]) -> None:
        for pid in pids:
            if (process := proctree.stat(pid)) is not None and process.started >= execution.started:
                execution.seen[pid] = process.started

    def _belongs(self, orphan: proctree.Stat, execution: Execution) -> bool:
        """Whether an orphan that we adopted descends from `execution`."""
        if execution.pid in (orphan.session, orphan.group) or orphan.pid in execution.seen:
            return True
        if execution.contained or orphan.session in _live or orphan.group in _live:
            return False
        if (brand := proctree.brand(orphan.pid)) is not None:
            if brand == execution.brand:
                return True
            if any(brand == other.brand for other in list(_live.values())):
                return False
        if (marks := proctree.variable(orphan.pid, MARKER.encode())) is not None:
            held = set(marks.decode("ascii", "replace").split(":"))
            if _last(execution.mark) in held:
                return True
            if not held.isdisjoint(_last(other.mark) for other in list(_live.values())):
                return False
        # Nothing tells whose it is. It is then everybody's who ran when it started, and dies with the last of them.
        others = (e for e in list(_live.values()) if e is not execution and not e.contained)
        return orphan.started >= execution.started and all(orphan.started < other.started for other in others)


def _last(mark: str) -> str:
    return mark.rpartition(":")[2]
