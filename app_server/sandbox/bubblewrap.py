"""Confinement on Linux: bubblewrap's mounts and namespaces, with a system call filter of our own."""

import functools
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from app_server.sandbox import kernel, seccomp, stage
from app_server.sandbox.mounts import NULL, Mount, Mounts, Planner
from app_server.sandbox.paths import follow
from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.protected import Held, StandIns
from app_server.sandbox.repositories import RepositorySearch
from app_server.sandbox.sandbox import SandboxedCommand, SandboxUnavailable, with_network_flag
from app_server.sandbox.stage import Bridge, Expected

PROGRAM = "bwrap"

PROBE_S = 20

INSIDE = "/../newroot"
"""Before the path of a source: as it has been mounted so far, where bubblewrap else takes it from the machine.

It looks for sources on the machine before it begins, and keeps the path of one that it may do without.
"""

PROC_PLACES = (
    *("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/mtrr", "/proc/acpi"),
    *("/proc/scsi", "/proc/driver", "/proc/asound", "/proc/pressure"),
)
"""The kernel's settings and devices. They belong to user 0 of the machine, which root in a sandbox still is."""

MOVING_ABI = 2
CHANGES = (1 << 15) - 1 & ~kernel.FS_READ
"""All that Landlock can forbid but reading, executing and the ioctls of devices."""

INSTALL = (
    "install it (Debian and Ubuntu: apt-get install bubblewrap), or run the command with the dangerFullAccess policy"
)
ENABLE = (
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a container started with that permission), "
    "or run the command with the dangerFullAccess or externalSandbox policy"
)


def arguments(
    mounts: Mounts,
    *,
    cwd: str,
    network: bool,
    user_namespace: bool,
    of_the_machine: Sequence[str] = (),
    checked: bool = True,
) -> list[str]:
    """bubblewrap's options for a command in `cwd` that finds the files as `mounts` says.

    `of_the_machine` are places in /proc to be kept from being written. `checked` says that the stage will look whether
    everything is mounted.
    """
    options = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
    if user_namespace:
        options.append("--unshare-user")
    if not network:
        options.append("--unshare-net")
    if mounts.root != "minimal":
        options += ["--bind" if mounts.root == "write" else "--ro-bind", "/", "/"]
    options += ["--dev", "/dev", "--proc", "/proc"]
    for path in of_the_machine:
        options += ["--ro-bind", path, path]
    for link in mounts.links:
        options += ["--symlink", *link]
    sealed = ["/"] if mounts.root == "minimal" else []
    for mount in mounts.mounts:
        options += _mount(mount, mounts, checked)
        if mount.kind in ("folder", "home"):
            sealed.append(mount.path)
    for path in sealed:
        options += ["--remount-ro", path]
    return [*options, "--chdir", cwd]


def _mount(mount: Mount, mounts: Mounts, checked: bool) -> list[str]:
    path = mount.path
    if mount.kind in ("write", "step", "read", "nested", "system"):
        option = "--bind" if mount.kind in ("write", "step") else "--ro-bind"
        if not checked or not mounts.is_writable(os.path.dirname(path)):
            return [f"{option}-try" if mount.kind == "nested" else option, path, path]
        # Where commands may write, links can be moved under bubblewrap. Taken from what has been mounted so far, this
        # can be no more writable than that, and bubblewrap makes nothing where it is missing.
        return [f"{option}-try", INSIDE + path, path]
    if mount.kind == "file":
        # A device that no mount of ours lets be opened.
        return ["--ro-bind", NULL, path]
    if mount.kind == "folder":
        passed = any(other.path.startswith(path + "/") for other in mounts.mounts)
        return ["--perms", "0111" if passed else "0000", "--tmpfs", path]
    shown = [option for entry in mount.shown for option in ("--ro-bind", entry, entry)]
    links = [option for link in mount.links for option in ("--symlink", *link)]
    return ["--perms", "0755", "--tmpfs", path, *shown, *links]


def expectations(mounts: Mounts) -> list[Expected]:
    """What must be mounted where when everything is; a repository that was deleted meanwhile is excused."""
    null = os.stat(NULL)
    expected: list[Expected] = []
    for mount in mounts.mounts:
        match mount.kind:
            case "system":
                continue
            case "file":
                expected.append(Expected(mount.path, (null.st_dev, null.st_ino)))
            case "folder" | "home":
                expected.append(Expected(mount.path))
            case _:
                expected.append(Expected(mount.path, mount.identity, mount.witness))
    return expected


def weaknesses() -> tuple[str, ...]:
    """What this kernel is too old or too bare for, in words for the user."""
    found: list[str] = []
    if _handled() == 0:
        found.append("commands can write into the named pipes of other programs (that takes Landlock, Linux 5.19)")
    if not stage.can_check_mounts():
        found.append("a command that runs beside another could mislead the mounts of that one (that takes Linux 5.8)")
    return tuple(found)


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
        self._stand_ins = StandIns(journal)
        self._planner = Planner(self._stand_ins, RepositorySearch(), None if home is None else os.path.realpath(home))

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
        proxy_port: int | None = None,
    ) -> SandboxedCommand:
        """The command that runs `argv` in `cwd` under a restricted `profile`. Raises SandboxUnavailable.

        In a terminal the command gets a session of its own inside, with that terminal: Ctrl-C then interrupts the
        command, and not bubblewrap, which would take everything with it.
        """
        if self._user_namespace is None:
            await self.available()
        mounts, held = await anyio.to_thread.run_sync(self._planner.plan, profile)
        checked = stage.can_check_mounts()
        handed = list(mounts.witnesses) if checked else []
        bridge: socket.socket | None = None
        try:
            program = self._find((cwd, *mounts.writable))
            cwd = _reachable(cwd, mounts)
            options = arguments(
                mounts,
                cwd=cwd,
                network=profile.network and proxy_port is None,
                user_namespace=bool(self._user_namespace),
                of_the_machine=_of_the_machine(known=_handled() != 0 and mounts.root != "write"),
                checked=checked,
            )
            # With the proxy there are the same sockets as with a network, which then is the sandbox's own.
            handed.append(_hand_over(seccomp.program(network=profile.network or proxy_port is not None)))
            options += ["--seccomp", str(handed[-1])]
            handed.append(said := _hand_over(b"".join(os.fsencode(option) + b"\0" for option in options)))
            if (ruleset := _ruleset(mounts)) is not None:
                handed.append(ruleset)
            listen = None
            if proxy_port is not None:
                bridge, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                handed.append(theirs.detach())
                listen = Bridge(handed[-1], proxy_port)
            handed.append(begun := os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            handed.append(
                stage.make(
                    argv,
                    {**with_network_flag(env, profile, proxy_port), "PWD": cwd},
                    expected=expectations(mounts) if checked else (),
                    ruleset=ruleset,
                    handled=_handled(),
                    terminal=terminal,
                    bridge=listen,
                    begun=begun,
                )
            )
        except BaseException:
            for fd in handed:
                os.close(fd)
            if bridge is not None:
                bridge.close()
            self._release(held)
            raise
        finally:
            for fd in mounts.opened if checked else (*mounts.opened, *mounts.witnesses):
                os.close(fd)
        return SandboxedCommand(
            # The last argument is for those who list processes: the stage knows what to start.
            argv=[program, "--args", str(said), "--", f"/proc/self/fd/{handed[-1]}", *argv],
            # The wrapper runs unconfined, so nothing may be loaded into it by way of the environment.
            env={"PATH": env["PATH"]} if "PATH" in env else {},
            pass_fds=tuple(handed),
            cleanup=functools.partial(self._release, held) if held else None,
            contained=True,
            takes_terminal=terminal,
            program=argv[0] if argv else "",
            bridge=bridge,
            begun=begun,
        )

    def _release(self, held: Sequence[Held]) -> None:
        for each in held:
            self._stand_ins.release(each)

    def _find(self, writable: Sequence[str]) -> str:
        """The program, taken only from where no command could have put it."""
        writable = [follow(directory)[0] for directory in writable]
        for place, real in self._programs:
            if not any(_is_within(path, root) for path in (place, real) for root in writable):
                return real
        if self._programs:
            places = ", ".join(place for place, _ in self._programs)
            raise SandboxUnavailable(
                f"bubblewrap is only at {places}, which lies in a folder that the command works in or may write, so it "
                "could be anybody's; work in another folder"
            )
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


def _reachable(cwd: str, mounts: Mounts) -> str:
    """The working directory as it is found inside. Raises SandboxUnavailable where the profile hides it."""
    real, links = follow(cwd)
    if not mounts.shows(real):
        raise SandboxUnavailable(
            f"the permission profile does not let commands read their working directory {cwd}; choose another one, or "
            "make it readable"
        )
    return real if links and mounts.root == "minimal" else cwd


@functools.cache
def _of_the_machine(*, known: bool) -> tuple[str, ...]:
    """What root may write in /proc without any privilege, and bubblewrap leaves open; less where the rest is `known`
    to be kept by Landlock."""
    if os.geteuid() != 0:
        return ()
    return tuple(path for path in (PROC_PLACES[:1] if known else PROC_PLACES) if os.path.exists(path))


@functools.cache
def _handled() -> int:
    """The rights that Landlock takes away here, 0 without it.

    The first version of Landlock forbids every move between directories, so it is not used.
    """
    abi = kernel.landlock_abi()
    return kernel.filesystem_rights(abi) & CHANGES if abi >= MOVING_ABI else 0


def _ruleset(mounts: Mounts) -> int | None:
    """Landlock rules by which nothing is changed but what lies in the writable roots, whatever the mounts say.

    Unlike the mounts they also hold for pipes with a name, which a read-only mount lets everybody write to.
    """
    if (handled := _handled()) == 0:
        return None
    ruleset = kernel.create_ruleset(handled, 0, 0)
    try:
        for fd in mounts.opened:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            kernel.add_path_rule(ruleset, handled if is_folder else handled & kernel.FS_ON_FILES, fd)
    except OSError as error:
        os.close(ruleset)
        raise SandboxUnavailable(f"the kernel refused the Landlock rules of the command: {error.strerror}") from error
    return ruleset


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
        checked = stage.can_check_mounts()
        mounts = Mounts("write", (Mount("/usr", "read"),))
        options = arguments(mounts, cwd="/", network=False, user_namespace=user_namespace, checked=checked)
        fds = [_hand_over(seccomp.program(network=False))]
        try:
            if (ruleset := _ruleset(Mounts())) is not None:
                fds.append(ruleset)
            expected = expectations(mounts) if checked else ()
            fds.append(stage.make(["/bin/sh", "-c", ":"], {}, expected=expected, ruleset=ruleset, handled=_handled()))
            done = subprocess.run(
                [program, *options, "--seccomp", str(fds[0]), "--", f"/proc/self/fd/{fds[-1]}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=fds,
                env={},
                start_new_session=True,  # its orphans are told by their session
                timeout=PROBE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable(f"bubblewrap ({program}) did not run: {error}") from error
        finally:
            for fd in fds:
                with suppress(OSError):
                    os.close(fd)
        if done.returncode == 0:
            return user_namespace
        reasons.append(done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}")
    raise SandboxUnavailable(f"bubblewrap cannot build a sandbox here ({'; '.join(reasons)}); {ENABLE}")
