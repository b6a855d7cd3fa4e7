"""Confinement on Linux: bubblewrap's mounts and namespaces, with a system call filter of our own."""

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from app_server.sandbox import seccomp
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.protected import Mounts, StandIns, plan
from app_server.sandbox.repositories import RepositorySearch
from app_server.sandbox.sandbox import SandboxedCommand, SandboxUnavailable, with_network_flag

PROGRAM = "bwrap"

PROBE_S = 20

INSTALL = (
    "install it (Debian and Ubuntu: apt-get install bubblewrap), or run the command with the dangerFullAccess policy"
)
ENABLE = (
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a container started with that permission), "
    "or run the command with the dangerFullAccess or externalSandbox policy"
)


def arguments(mounts: Mounts, *, cwd: str, network: bool, user_namespace: bool) -> list[str]:
    """bubblewrap's options for a command in `cwd`: everything read-only but what `mounts` opens."""
    options = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
    if user_namespace:
        options.append("--unshare-user")
    if not network:
        options.append("--unshare-net")
    whole = "/" in mounts.writable
    options += ["--bind" if whole else "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for path in sorted({*mounts.writable, *mounts.steps} - {"/"}):
        options += ["--bind" if path in mounts.writable else "--bind-try", path, path]
    for path in sorted({*mounts.read_only, *mounts.nested}):
        options += ["--ro-bind" if path in mounts.read_only else "--ro-bind-try", path, path]
    return [*options, "--chdir", cwd]


class Bubblewrap:
    """The system's bubblewrap, found outside of whatever a command may write."""

    def __init__(self, path: str | None = None, journal: Path | None = None, home: Path | None = None) -> None:
        """`path` is the search path for the program; None for that of the daemon. `journal` as for `StandIns`.

        `home` is $CODEX_HOME: what is denied in it stays hidden also where it is made or replaced meanwhile.
        """
        self._path = path
        self._probed = anyio.Lock()
        self._user_namespace: bool | None = None
        self._programs: list[tuple[str, str]] = []
        self._home = None if home is None else os.path.realpath(home)
        self._stand_ins = StandIns(journal)
        self._repositories = RepositorySearch()

    async def available(self) -> None:
        """Return if bubblewrap can build a sandbox here, else raise SandboxUnavailable. Probed once."""
        async with self._probed:
            if self._user_namespace is None:
                self._user_namespace = await anyio.to_thread.run_sync(self._look)

    async def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        profile: PermissionProfile,
        terminal: bool = False,
    ) -> SandboxedCommand:
        """The command that runs `argv` in `cwd` under a restricted `profile`. Raises SandboxUnavailable.

        In a terminal the command gets a session of its own inside, with that terminal: Ctrl-C then interrupts the
        command, and not bubblewrap, which would take everything with it.
        """
        if self._user_namespace is None:
            await self.available()
        mounts, held = Mounts(), ()
        if profile.writable_roots:
            mounts, held = await anyio.to_thread.run_sync(plan, profile, self._stand_ins, self._repositories)
        try:
            program = self._find((cwd, *mounts.writable))
            options = arguments(mounts, cwd=cwd, network=profile.network, user_namespace=bool(self._user_namespace))
            inner = dict(with_network_flag(env, profile))
            # The wrapper itself runs unconfined, so nothing may be loaded into it by way of the environment.
            for name in [name for name in inner if name.startswith(("LD_", "GLIBC_", "GCONV_", "MALLOC_"))]:
                options += ["--setenv", name, inner.pop(name)]
            filter_fd = _hand_over(seccomp.program(network=profile.network))
            try:
                options += ["--seccomp", str(filter_fd)]
                options_fd = _hand_over(b"".join(os.fsencode(option) + b"\0" for option in options))
            except BaseException:
                os.close(filter_fd)
                raise
        except BaseException:
            self._release(held)
            raise
        leader = shutil.which("setsid") if terminal else None
        return SandboxedCommand(
            argv=[program, "--args", str(options_fd), "--", *([leader, "--ctty"] if leader else []), *argv],
            env=inner,
            pass_fds=(filter_fd, options_fd),
            cleanup=functools.partial(self._release, held) if held else None,
            contained=True,
            takes_terminal=leader is not None,
            program=argv[0] if argv else "",
        )

    def _release(self, held: Sequence[str]) -> None:
        for root in held:
            self._stand_ins.release(root)

    def _find(self, writable: Sequence[str]) -> str:
        """The program, taken only from where no command could have put it."""
        writable = [os.path.realpath(directory) for directory in writable]
        for place, real in self._programs:
            if not any(_is_within(path, root) for path in (place, real) for root in writable):
                return real
        raise SandboxUnavailable(
            f"bubblewrap ({PROGRAM}) was not found, and without it commands cannot be confined; {INSTALL}"
        )

    def _look(self) -> bool:
        """Note every bubblewrap on the search path, and probe the first. For a worker thread."""
        path = self._path if self._path is not None else os.environ.get("PATH", os.defpath)
        places = [shutil.which(PROGRAM, path=directory) for directory in path.split(":") if os.path.isabs(directory)]
        self._programs = [(place, os.path.realpath(place)) for place in places if place is not None]
        return _probe(self._find(()))


def _is_within(path: str, directory: str) -> bool:
    return directory != "/" and (path == directory or path.startswith(directory + "/"))


def _hand_over(data: bytes) -> int:
    """A descriptor from which the child reads `data`."""
    fd = os.memfd_create("turnloom", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _probe(program: str) -> bool:
    """Whether sandboxes here get a user namespace. Raises SandboxUnavailable if none can be built at all."""
    reasons: list[str] = []
    for user_namespace in (True, False) if os.geteuid() == 0 else (True,):
        options = arguments(Mounts(), cwd="/", network=False, user_namespace=user_namespace)
        filter_fd = _hand_over(seccomp.program(network=False))
        try:
            done = subprocess.run(
                [program, *options, "--seccomp", str(filter_fd), "--", "/bin/sh", "-c", ":"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=(filter_fd,),
                env={},
                start_new_session=True,  # its orphans are told by their session
                timeout=PROBE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable(f"bubblewrap ({program}) did not run: {error}") from error
        finally:
            with suppress(OSError):
                os.close(filter_fd)
        if done.returncode == 0:
            return user_namespace
        reasons.append(done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}")
    raise SandboxUnavailable(f"bubblewrap cannot build a sandbox here ({'; '.join(reasons)}); {ENABLE}")
