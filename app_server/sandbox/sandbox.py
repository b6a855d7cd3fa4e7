"""How a command is confined: the interface that every backend implements, and the choice of one."""

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from app_server.sandbox.patterns import SearchTooLong, with_matches
from app_server.sandbox.permissions import CERTIFICATES_NAME, PermissionProfile, Secrets

if TYPE_CHECKING:
    from app_server.sandbox.choice import SandboxReport

NETWORK_DISABLED = "CODEX_SANDBOX_NETWORK_DISABLED"
"""Set to 1 for a command that may not use the network, wrapped or not."""


PRIVATE, SHARED = b"x", b"m"

TRIES = 10
"""How many sandboxes are built for a command at most, where others' folders break them before it begins."""

ENDED_BY_SIGNAL = 128
"""Exit codes above are of programs that a signal has ended: that many more than its number."""


class SandboxUnavailable(Exception):
    """The policy cannot be enforced here, so the command does not run. The message says why and what helps."""


class SandboxedCommand(Struct, frozen=True):
    """What to execute so that the wanted command runs confined.

    `pass_fds` are open descriptors that the child gets under their numbers; whoever starts the command closes them.
    `cleanup` touches files and is to be called once, when every process of the command is gone or none was started.
    `takes_terminal` says that it makes the terminal it finds on its standard input the controlling one by itself.
    `contained` says that the command and its descendants end with the process that is started; that process then
    fails for reasons of its own where the wanted program is missing, so `program` names it for a check beforehand.
    `supervised` says that it is the parent of the command, and leaves signals to it.
    From `bridge` comes, as one message with a descriptor, the socket on which the proxy is to listen for this command;
    whoever starts the command receives it and closes `bridge`. The message is `PRIVATE` if the socket is in a network
    of the command's own, `SHARED` if others can reach it too. None where the proxy's port is the machine's.
    `begun` is one of `pass_fds`: an event counter that is no longer 0 when the sandbox is complete and the command
    itself begins. None where nothing tells.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    cleanup: Callable[[], None] | None = None
    contained: bool = False
    supervised: bool = False
    takes_terminal: bool = False
    program: str | None = None
    bridge: socket.socket | None = None
    begun: int | None = None


def has_begun(counter: int) -> bool:
    """What `SandboxedCommand.begun` says when the command has ended. To be asked once."""
    try:
        return os.eventfd_read(counter) > 0
    except BlockingIOError:
        return False


class Sandbox(Protocol):
    """A way to enforce a `PermissionProfile`. It builds arguments and runs nothing of the command."""

    async def available(self) -> None:
        """Return if commands can be confined here, else raise SandboxUnavailable with the remedy."""
        ...

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
        """The command that runs `argv` in `cwd` under `profile`, in a terminal or not. Raises SandboxUnavailable.

        With `proxy_port` it reaches the managed proxy on that port of 127.0.0.1, and nothing else of the network.
        """
        ...


class Unsandboxed:
    """No confinement: for policies that ask for none, or that name a sandbox outside of us."""

    async def available(self) -> None:
        """Always."""

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
        """The command itself, with the flag that tells it to do without a network. Refuses restricted profiles."""
        if profile.kind == "restricted":
            raise SandboxUnavailable("the sandbox policy restricts this command, and nothing here can enforce it")
        return SandboxedCommand(argv=argv, env=with_network_flag(env, profile, proxy_port))


class Unsupported:
    """The stand-in on a system without a backend: every restricted command is refused."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def available(self) -> None:
        """Never."""
        raise SandboxUnavailable(self._reason)

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
        """Raises SandboxUnavailable."""
        raise SandboxUnavailable(self._reason)


class Confinement:
    """The sandbox of this machine, asked only where the profile wants one."""

    def __init__(self, restricted: Sandbox, secrets: Secrets | None = None) -> None:
        """`secrets` are denied to every restricted command, besides what its profile denies."""
        self._restricted = restricted
        self._denied = () if secrets is None else secrets.denied()
        home = None if secrets is None else secrets.home
        self._certificates = None if home is None else os.path.realpath(home / CERTIFICATES_NAME)
        self._unsandboxed = Unsandboxed()

    async def available(self) -> None:
        """Return if restricted commands can be confined here, else raise SandboxUnavailable with the remedy."""
        await self._restricted.available()

    async def report(self) -> "SandboxReport":
        """What confines restricted commands here, and why nothing stronger does."""
        from app_server.sandbox.choice import Candidate, StrongestAvailable

        restricted = self._restricted
        if not isinstance(restricted, StrongestAvailable):
            restricted = StrongestAvailable([Candidate(type(restricted).__name__, lambda: self._restricted)])
        return await restricted.report()

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
        """The command to start for `argv` under `profile`. Raises SandboxUnavailable."""
        if profile.kind != "restricted":
            return await self._unsandboxed.wrap(
                argv, cwd=cwd, env=env, profile=profile, terminal=terminal, proxy_port=proxy_port
            )
        if proxy_port is not None and not 0 < proxy_port < 1 << 16:
            raise SandboxUnavailable(f"the managed network proxy has no port that commands could reach: {proxy_port}")
        if profile.denied_patterns:
            try:
                profile = await to_thread.run_sync(with_matches, profile)
            except SearchTooLong as error:
                raise SandboxUnavailable(str(error)) from error
        profile = self._showing_certificates(self._hiding_secrets(profile))
        return await self._restricted.wrap(
            argv, cwd=cwd, env=env, profile=profile, terminal=terminal, proxy_port=proxy_port
        )

    def _hiding_secrets(self, profile: PermissionProfile) -> PermissionProfile:
        """`profile` with the secrets denied, and without roots in them: there the innermost path would decide."""
        if not self._denied:
            return profile
        readable = profile.readable_roots
        return replace(
            profile,
            denied=(*profile.denied, *self._denied),
            writable_roots=tuple(root for root in profile.writable_roots if not self._is_secret(root)),
            readable_roots=None if readable is None else tuple(root for root in readable if not self._is_secret(root)),
        )

    def _showing_certificates(self, profile: PermissionProfile) -> PermissionProfile:
        """`profile` with the certificates that programs need where the proxy intercepts, and which none may replace."""
        folder = self._certificates
        if folder is None or profile.proxy is None or profile.proxy.mode != "limited":
            return profile
        readable, roots = profile.readable_roots, (os.path.realpath(root) for root in profile.writable_roots)
        is_writable = any(folder.startswith(root.rstrip("/") + "/") for root in roots)
        return replace(
            profile,
            readable_roots=None if readable is None else (*readable, folder),
            read_only=(*profile.read_only, folder) if is_writable else profile.read_only,
        )

    def _is_secret(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == secret or real.startswith(secret + "/") for secret in self._denied)


def choose_sandbox(journal: Path | None = None, secrets: Secrets | None = None) -> Confinement:
    """The sandbox for this machine. Nothing is probed before it is needed.

    `journal` is a file in which a backend may note what it has to clean up after a crash; `secrets` are hidden from
    every restricted command.
    """
    from app_server.sandbox.choice import LANDLOCK_LACKS, Candidate, StrongestAvailable

    def bubblewrap() -> Sandbox:
        from app_server.sandbox.bubblewrap import Bubblewrap

        return Bubblewrap(journal=journal, home=None if secrets is None else secrets.home)

    def landlock() -> Sandbox:
        from app_server.sandbox.landlock import Landlock

        return Landlock()

    def seatbelt() -> Sandbox:
        from app_server.sandbox.seatbelt import Seatbelt

        return Seatbelt()

    if sys.platform.startswith("linux"):
        candidates = [Candidate("bubblewrap", bubblewrap), Candidate("Landlock", landlock, LANDLOCK_LACKS)]
    elif sys.platform == "darwin":
        candidates = [Candidate("Seatbelt", seatbelt)]
    else:
        candidates = [Candidate("a sandbox", lambda: Unsupported(_unsupported()))]
    return Confinement(StrongestAvailable(candidates), secrets)


def _unsupported() -> str:
    remedy = "run the server in WSL 2" if sys.platform == "win32" else "run the server on Linux or macOS"
    return (
        f"sandboxed commands are not supported on {sys.platform}; {remedy}, run the command with the dangerFullAccess "
        "policy, or inside a sandbox of your own with the externalSandbox policy"
    )


def with_network_flag(
    env: Mapping[str, str], profile: PermissionProfile, proxy_port: int | None = None
) -> Mapping[str, str]:
    """`env`, marked if `profile` takes the network away and does not itself ask for the proxy instead."""
    has_proxy = proxy_port is not None and not (profile.proxy is not None and profile.proxy.beyond_profile)
    return env if profile.network or has_proxy else {**env, NETWORK_DISABLED: "1"}
