"""What a user's profile makes of the environment: taken once from a login shell, and given to every command.

A profile may take longer than the commands after it, and prints what only a person should see. So the shell of a
command does not read it; the environment that it leads to is that command's own. Functions and aliases that the profile
defines are not part of it.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from time import monotonic

import anyio
import anyio.to_thread
from msgspec import Struct

from app_server.config.settings import ShellEnvironmentPolicy
from app_server.exec.environment import child_environment
from app_server.exec.expiration import Expiration
from app_server.exec.launch import launch
from app_server.exec.reaper import Reaper
from app_server.exec.spawn import SpawnError
from app_server.sandbox.permissions import read_only
from app_server.sandbox.sandbox import Sandbox, SandboxUnavailable

PROFILE_SECONDS = 10.0
"""How long a profile may take. Commands whose profile takes longer read it themselves."""

FRESH_SECONDS = 15 * 60.0
"""After this long a profile is read again, whose own files may read others that have changed."""

MOST_BYTES = 1 << 20
MOST_KEPT = 16
"""Environments that are kept: one for each shell and each set of variables that a configuration lets it inherit."""

_SHELLS_OWN = frozenset({"_", "PWD", "OLDPWD", "SHLVL"})
"""What every shell sets for itself."""

_FILES: Mapping[str, Sequence[str]] = {
    "bash": (
        *("/etc/profile", "/etc/profile.d", "/etc/bash.bashrc"),
        *("~/.bash_profile", "~/.bash_login", "~/.profile", "~/.bashrc", "~/.bash_aliases"),
    ),
    "zsh": (
        *("/etc/zshenv", "/etc/zprofile", "/etc/zlogin", "/etc/zsh/zshenv", "/etc/zsh/zprofile", "/etc/zsh/zlogin"),
        *("~/.zshenv", "~/.zprofile", "~/.zlogin", "~/.zshrc"),
    ),
    "sh": ("/etc/profile", "/etc/profile.d", "~/.profile"),
}
"""What a login shell reads, as far as it is known; `~` is the home of the command."""


class _Taken(Struct, frozen=True):
    """The environment of a login shell, None where it could not be had, and what it was made from."""

    environment: Mapping[str, str] | None
    files: Sequence[tuple[int, int] | None]
    at: float


class LoginEnvironments:
    """The environments of login shells, each taken when it is first wanted and again when a profile has changed."""

    def __init__(self, sandbox: Sandbox, reaper: Reaper) -> None:
        self._sandbox, self._reaper = sandbox, reaper
        self._taken: dict[tuple[str, frozenset[tuple[str, str]]], _Taken] = {}
        self._lock = anyio.Lock()

    async def of(self, shell: str, policy: ShellEnvironmentPolicy) -> Mapping[str, str] | None:
        """What a login shell makes of what `policy` lets it inherit; None where the shell has to find out itself."""
        if policy.inherit == "none" or os.path.basename(shell) not in _FILES:
            return None
        base = child_environment(policy)
        key = shell, frozenset(base.items())
        async with self._lock:
            files = await anyio.to_thread.run_sync(_stamps, os.path.basename(shell), base.get("HOME", "/"))
            taken = self._taken.get(key)
            if taken is None or taken.files != files or monotonic() - taken.at > FRESH_SECONDS:
                taken = _Taken(await self._take(shell, base), files, monotonic())
                if len(self._taken) >= MOST_KEPT:
                    self._taken.clear()
                self._taken[key] = taken
        return taken.environment

    async def _take(self, shell: str, base: Mapping[str, str]) -> Mapping[str, str] | None:
        # Confined, whatever the command may do: a profile in a workspace may be the work of a command before.
        mark = secrets.token_hex(16)
        argv = [shell, "-lc", f"printf '\\0%s\\0' {mark}; command -p env -0"]
        home = base.get("HOME", "/")
        cwd = home if await anyio.to_thread.run_sync(os.path.isdir, home) else "/"
        output = bytearray()
        try:
            process = await launch(self._sandbox, argv, cwd=cwd, env=base, profile=read_only(), reaper=self._reaper)
        except (SandboxUnavailable, SpawnError):
            return None
        expiration = Expiration(PROFILE_SECONDS)
        async with process:
            with expiration:
                async for stream, data in process:
                    if stream == "stdout":
                        output += data[: MOST_BYTES - len(output)]
                await process.wait()
        if expiration.reason is not None or process.exit_code != 0:
            return None
        _, found, text = bytes(output).partition(b"\0%b\0" % mark.encode())
        if not found:
            return None
        variables = (variable.partition(b"=") for variable in text.split(b"\0") if b"=" in variable)
        named = {os.fsdecode(name): os.fsdecode(value) for name, _, value in variables}
        return {name: value for name, value in named.items() if name not in _SHELLS_OWN}


def login_script(argv: Sequence[str]) -> str | None:
    """The script that a command gives to a login shell; None for every other command."""
    return argv[2] if len(argv) == 3 and argv[1] == "-lc" else None


def _stamps(shell: str, home: str) -> list[tuple[int, int] | None]:
    """Change time and size of each file of a shell's profile, None for one that is missing."""
    stamps: list[tuple[int, int] | None] = []
    for path in _FILES[shell]:
        try:
            status = os.stat(home + path[1:] if path.startswith("~") else path)
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size))
    return stamps
