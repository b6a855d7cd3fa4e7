"""Which backend confines commands: the strongest one that works on this machine."""

from collections.abc import Callable, Mapping, Sequence

import anyio
from msgspec import Struct

from app_server.sandbox.permissions import PermissionProfile
from app_server.sandbox.sandbox import Sandbox, SandboxedCommand, SandboxUnavailable

LANDLOCK_LACKS = (
    "commands see the processes and the network names of this machine, though they cannot touch them",
    "they have no shared memory (/dev/shm) and cannot make terminals of their own",
    "what they create beside protected entries such as .git is slower",
    "behind the managed network proxy they cannot serve themselves on localhost",
)
"""What is less than with bubblewrap."""


class SandboxReport(Struct, frozen=True):
    """What confines commands here.

    `backend` is its name, None if there is none and restricted commands are refused. `refused` are the stronger ones
    by name, each with why it cannot be used and what helps; `lacks` is what the chosen one does less well than the
    strongest.
    """

    backend: str | None
    refused: tuple[tuple[str, str], ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def summary(self) -> str | None:
        """What a user should be told in a sentence; None if all is well."""
        if self.backend is None:
            return "Commands cannot be confined on this machine: those that a sandbox policy restricts are refused."
        if self.refused:
            return f"Commands are confined by {self.backend}, because {self.refused[0][0]} cannot be used here."
        return None

    @property
    def details(self) -> str:
        """The reasons and the remedies, a line each."""
        lines = [f"{name}: {reason}." for name, reason in self.refused]
        if self.lacks:
            lines.append(f"With {self.backend} {'; '.join(self.lacks)}.")
        return "\n".join(lines)


class Candidate(Struct, frozen=True):
    """A backend under its name, how to get it, and what it lacks."""

    name: str
    make: Callable[[], Sandbox]
    lacks: tuple[str, ...] = ()


class StrongestAvailable:
    """Tries its candidates in order, once, and stays with the first that works here.

    Never is a command run with less than a candidate: where none works it is refused, and the next one tries again.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self._lock = anyio.Lock()
        self._chosen: tuple[Candidate, Sandbox] | None = None
        self._refused: tuple[tuple[str, str], ...] = ()

    async def available(self) -> None:
        """Return if a candidate works here, else raise SandboxUnavailable with the remedies."""
        await self._choose()

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
        """The command that runs `argv` in `cwd` under a restricted `profile`. Raises SandboxUnavailable."""
        _, sandbox = self._chosen or await self._choose()
        return await sandbox.wrap(argv, cwd=cwd, env=env, profile=profile, terminal=terminal, proxy_port=proxy_port)

    async def report(self) -> SandboxReport:
        """What was chosen and why."""
        try:
            chosen, _ = await self._choose()
        except SandboxUnavailable:
            return SandboxReport(None, self._refused)
        return SandboxReport(chosen.name, self._refused, chosen.lacks)

    async def _choose(self) -> tuple[Candidate, Sandbox]:
        async with self._lock:
            if self._chosen is not None:
                return self._chosen
            refused: list[tuple[str, str]] = []
            for candidate in self._candidates:
                sandbox = candidate.make()
                try:
                    await sandbox.available()
                except SandboxUnavailable as error:
                    refused.append((candidate.name, str(error)))
                else:
                    self._chosen = candidate, sandbox
                    break
            self._refused = tuple(refused)
            if self._chosen is None:
                raise SandboxUnavailable("; ".join(reason for _, reason in refused))
            return self._chosen
