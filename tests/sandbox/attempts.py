"""Attempts to get out of the sandbox: what one is, the host around it, and how it is played.

Each attempt is a small program with something on the host that it goes for. It is played without the sandbox, where
it must succeed, and confined, where it must not; only both together say anything.
"""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from app_server.config.settings import CommandLimits
from app_server.exec.launch import launch
from app_server.exec.process import Process
from app_server.exec.pty import Size
from app_server.exec.reaper import Reaper
from app_server.sandbox.permissions import FULL_ACCESS, PermissionProfile
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable, Unsandboxed

PRELUDE = textwrap.dedent(
    """
    import ctypes, fcntl, os, sys
    OUT, WORK, VICTIM = os.environ["OUT"], os.environ["WORK"], int(os.environ.get("VICTIM", "0"))
    FILE = OUT + "/file"
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result):
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def word(value):
        return ctypes.c_long(value) if isinstance(value, int) else value

    def call(number, *arguments):
        return checked(libc.syscall(number, *map(word, arguments)))

    def lib(name, *arguments):
        return checked(getattr(libc, name)(*map(word, arguments)))

    def each(*ways):
        for way in ways:
            try:
                way()
            except Exception as error:
                print(type(error).__name__, error, file=sys.stderr)

    def write(path, flags=os.O_WRONLY):
        fd = os.open(path, flags)
        os.write(fd, b"evil")
        os.close(fd)

    def escaped(*_):
        print("ESCAPED", flush=True)

    def ready():
        print("ready", flush=True)
        sys.stdin.read()

    X86 = os.uname().machine == "x86_64"
    print("tried", flush=True)
    """
)

T = TypeVar("T")

ATTEMPT_S = 30
"""After which an attempt hangs. It says nothing about the machine's speed."""


REFUSED = "turnloom:"
"""With which a refusal to run a command begins."""


class Impossible(Exception):
    """The attempt cannot be shown on this machine, with or without a sandbox. The message says why."""


@dataclass(frozen=True)
class Outcome:
    """What a program said, both streams in one."""

    text: str = ""
    code: int | None = None

    @property
    def says_so(self) -> bool:
        """Whether the program itself found that it got through."""
        return "ESCAPED" in self.text


Check = Callable[[Outcome], bool]
"""Whether the attempt succeeded, as seen from the host."""


def sh(script: str) -> tuple[str, ...]:
    """A shell program."""
    return ("/bin/sh", "-c", "echo tried\n" + textwrap.dedent(script), "sh")


def py(*parts: str) -> tuple[str, ...]:
    """A Python program with the tools of `PRELUDE`, of parts that may each be indented."""
    return (sys.executable, "-I", "-S", "-c", "\n".join([PRELUDE, *map(textwrap.dedent, parts)]))


def entry_state(path: str) -> tuple[object, ...]:
    """Everything of one file that a program could change."""
    status = os.lstat(path)
    content: object = None
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    attributes: list[tuple[str, bytes]] = []
    with suppress(OSError):
        names = sorted(os.listxattr(path, follow_symlinks=False))
        attributes = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    owner = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_ino)
    return (*owner, status.st_size, status.st_mtime_ns, status.st_ctime_ns, content, attributes)


def state(*places: Path) -> dict[str, tuple[object, ...]]:
    """Every file in `places`; one that does not exist is not in the answer."""
    found: dict[str, tuple[object, ...]] = {}
    waiting = [str(place) for place in places]
    while waiting:
        path = waiting.pop()
        try:
            found[path] = entry_state(path)
            if os.path.isdir(path) and not os.path.islink(path):
                waiting += [os.path.join(path, name) for name in os.listdir(path)]
        except OSError:  # not there any more, or behind a link that leads nowhere
            continue
    return found


class Host:
    """The machine as an attempt finds it: a workspace, what lies outside, and a process to be a victim."""

    def __init__(self, top: Path, mark: str) -> None:
        self.top, self.mark = top, mark
        self.workspace, self.outside = top / "workspace", top / "outside"
        self.workspace.mkdir(parents=True)
        (self.outside / "dir").mkdir(parents=True)
        self.file = self.outside / "file"
        self.file.write_text("text\n")
        (self.outside / "dir" / "inner").write_text("text\n")
        self.env = {"OUT": str(self.outside), "WORK": str(self.workspace), "MARK": mark, "HOME": str(top)}
        self.stack = ExitStack()

    def close(self) -> None:
        """End what the preparation started."""
        self.stack.close()

    def keep(self, thing: contextlib.AbstractContextManager[T]) -> T:
        """Something that lasts until the attempt is over."""
        return self.stack.enter_context(thing)

    def opened(self, path: Path, flags: int) -> int:
        """A descriptor of the host."""
        fd = os.open(path, flags)
        self.stack.callback(os.close, fd)
        return fd

    def watch(self, *places: Path) -> Check:
        """The attempt succeeds if anything in `places` changes, what lies outside of the workspace if none is named."""
        watched = places or (self.outside,)
        before = state(*watched)
        return lambda _: state(*watched) != before

    def victim(
        self, *argv: str, env: dict[str, str] | None = None, fds: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """A process of the user's with no part in any of this; VICTIM is its number."""
        process = subprocess.Popen(
            argv or ("/bin/cat",),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=self.outside,
            env=env,
            pass_fds=fds,
        )

        def end() -> None:
            process.kill()
            process.communicate()

        self.stack.callback(end)
        self.env["VICTIM"] = str(process.pid)
        return process


Prepare = Callable[[Host], Check]


def outside(host: Host) -> Check:
    """The usual preparation: nothing outside may change."""
    return host.watch()


def says(_: Host) -> Check:
    """The program itself can tell."""
    return lambda outcome: outcome.says_so


CONFINED = ("read-only", "workspace")
NETWORKED = ("read-only with network", "workspace with network")
EVERYWHERE = (*CONFINED, "workspace with network")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way out. `name` is what it does.

    `before` are programs that run to their end before, as commands of the same thread; `beside` is one that runs
    meanwhile; with `by_others` both belong to another thread, whose profile is not adjusted. `repeat` is how often it
    is tried at most. With `alive` the check is made while the program waits after it said "ready"; with `killed` it
    is then terminated first. `control` is "production" where the program's own way of starting commands is the
    control, "plain" where that already prevents what is tried. `limits` are what the command may use.
    """

    name: str
    program: tuple[str, ...]
    prepare: Prepare = outside
    profiles: tuple[str, ...] = CONFINED
    needs: tuple[Callable[[], str | None], ...] = ()
    adjust: Callable[[Host, PermissionProfile], PermissionProfile] = lambda _, profile: profile
    before: tuple[tuple[str, ...], ...] = ()
    beside: tuple[str, ...] | None = None
    by_others: bool = False
    repeat: int = 1
    alive: bool = False
    killed: bool = False
    tty: bool = False
    control: str = "production"
    limits: CommandLimits | None = None
    unstarted_is_fine: bool = False
    """Whether not to run it at all is an answer too."""
    still_open: Mapping[str, str] = field(default_factory=dict[str, str])
    """By the name of the backend, why it is known to succeed."""


class Runner(Protocol):
    """Starts programs for an attempt, each in the same way."""

    async def run(self, argv: Sequence[str], host: Host, attempt: Attempt, check: Check | None) -> Outcome:
        """Run to the end. `check` is called where the attempt wants it, and ESCAPED then added to the text.

        Without a check it is not the attempt itself but a command that comes before.
        """
        ...


@dataclass
class Commands:
    """Commands as the daemon starts them, under `profile` or without any restriction."""

    sandbox: Sandbox
    reaper: Reaper
    profile: PermissionProfile = FULL_ACCESS

    async def start(self, argv: Sequence[str], host: Host, attempt: Attempt, *, other: bool = False) -> Process:
        """The command of the attempt, or one of an `other` thread."""
        size = Size(24, 80) if attempt.tty else None
        profile = self.profile
        if profile is not FULL_ACCESS and not (other and attempt.by_others):
            profile = attempt.adjust(host, profile)
        return await launch(
            self.sandbox,
            [*argv, host.mark],
            cwd=str(host.workspace),
            env={**os.environ, **host.env, "CONFINED": "" if profile is FULL_ACCESS else "1"},
            profile=profile,
            reaper=self.reaper,
            stdin=True,
            tty=size,
            limits=None if self.profile is FULL_ACCESS else attempt.limits,
        )

    async def run(self, argv: Sequence[str], host: Host, attempt: Attempt, check: Check | None) -> Outcome:
        """As `Runner` says."""
        text = b""
        async with await self.start(argv, host, attempt, other=check is None) as process:
            if check is not None and (attempt.alive or attempt.killed):
                text = await said(process, b"ready")
                if attempt.killed:
                    await process.terminate()
                elif await anyio.to_thread.run_sync(check, Outcome(text.decode("utf-8", "replace"))):
                    text += b"ESCAPED"
            process.close_stdin()
            text += b"".join([data async for _, data in process])
            code = await process.wait()
        return Outcome(text.decode("utf-8", "replace"), code)


@dataclass
class Plain:
    """Programs as anybody might start them: a session of its own, killed as a group. A control."""

    fds: tuple[int, ...] = ()

    async def run(self, argv: Sequence[str], host: Host, attempt: Attempt, check: Check | None) -> Outcome:
        """As `Runner` says."""

        def start() -> Outcome:
            process = subprocess.Popen(
                [*argv, host.mark],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=host.workspace,
                env={**os.environ, **host.env},
                close_fds=False,
                start_new_session=True,
            )
            text = b""
            assert process.stdout is not None
            if attempt.killed:
                while b"ready" not in text and (piece := os.read(process.stdout.fileno(), 4096)):
                    text += piece
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            else:
                text = process.communicate()[0]
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            return Outcome(text.decode("utf-8", "replace"), process.returncode)

        return await anyio.to_thread.run_sync(start)


async def said(process: Process, word: bytes) -> bytes:
    """What a command has written once `word` is in it, or all if it never was."""
    text = b""
    while word not in text and (chunk := await process.read()) is not None:
        text += chunk[1]
    return text


async def play(attempt: Attempt, host: Host, runner: Runner) -> tuple[bool, str]:
    """Whether the attempt succeeds, and what was said. Raises `Impossible` if it cannot be prepared here."""
    for needed in attempt.needs:
        if (reason := needed()) is not None:
            raise Impossible(reason)
    check = attempt.prepare(host)
    said_so: list[str] = []
    got_out = False

    async def run(argv: Sequence[str], check: Check | None) -> Outcome:
        try:
            outcome = await runner.run(argv, host, attempt, check)
        except SandboxUnavailable as refusal:
            if not attempt.unstarted_is_fine:
                raise
            outcome = Outcome(f"{REFUSED} {refusal}")
        said_so.append(outcome.text)
        return outcome

    async def tries() -> None:
        nonlocal got_out
        for argv in attempt.before:
            await run(argv, None)
        for _ in range(attempt.repeat):
            outcome = await run(attempt.program, check)
            got_out = outcome.says_so if attempt.alive else await anyio.to_thread.run_sync(check, outcome)
            if got_out:
                return

    try:
        with anyio.fail_after(ATTEMPT_S):
            await _beside(attempt, host, runner, tries)
    finally:
        await anyio.to_thread.run_sync(end_marked, host.mark)
    return got_out, "\n".join(said_so)


async def _beside(attempt: Attempt, host: Host, runner: Runner, tries: Callable[[], Awaitable[None]]) -> None:
    if attempt.beside is None:
        await tries()
        return
    assert isinstance(runner, Commands)
    async with await runner.start(attempt.beside, host, attempt, other=True) as process:
        await said(process, b"ready")
        await tries()


CONTROLS = 10
"""How often a control is played before it counts as failed: on a busy machine a race may need more than one."""

_shown: dict[str, str | None] = {}
"""What the control of each attempt gave: None where it got out, else why it cannot be shown here."""


async def shown(attempt: Attempt, reaper: Reaper) -> str | None:
    """Play the control: None if the attempt succeeded without the sandbox, else why it is impossible here."""
    if attempt.name not in _shown:
        try:
            got_out, text = await _control(attempt, reaper)
            for _ in range(CONTROLS - 1):
                if not got_out:
                    got_out, text = await _control(attempt, reaper)
            assert got_out, f"without the sandbox this attempt does not succeed, so it shows nothing: {text}"
            _shown[attempt.name] = None
        except Impossible as reason:
            _shown[attempt.name] = str(reason)
    return _shown[attempt.name]


async def _control(attempt: Attempt, reaper: Reaper) -> tuple[bool, str]:
    place = Path(tempfile.mkdtemp(prefix="turnloom-control-"))
    host = Host(place / "host", f"control-{os.getpid()}-{len(_shown)}")
    runner = Plain() if attempt.control == "plain" else Commands(Unsandboxed(), reaper)
    try:
        return await play(attempt, host, runner)
    finally:
        host.close()
        await anyio.to_thread.run_sync(partial(shutil.rmtree, place, ignore_errors=True))


def marked(mark: str) -> list[int]:
    """The living processes of an attempt, wherever they are: each has the mark as its last argument."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                if Path(f"/proc/{entry}/cmdline").read_bytes().endswith(b"\0" + mark.encode() + b"\0"):
                    found.append(int(entry))
    return found


def end_marked(mark: str) -> None:
    """Kill what an attempt left, for it must not disturb the next."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
