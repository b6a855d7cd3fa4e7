"""Time that does not count: while somebody holds a pause, the limits of waits stand still."""

from time import monotonic

import anyio


class Pause:
    """A clock of held time. It may be held by several; time stands still until all of them have let go."""

    def __init__(self) -> None:
        self.holders = 0
        """How many hold it."""
        self._since = self._held_before = 0.0
        self._released = anyio.Event()
        self._released.set()

    @property
    def held(self) -> bool:
        """Whether time stands still now."""
        return self.holders > 0

    @property
    def seconds(self) -> float:
        """How long time has stood still in all."""
        return self._held_before + (monotonic() - self._since if self.holders else 0.0)

    def hold(self) -> None:
        """Let time stand still."""
        if self.holders == 0:
            self._since, self._released = monotonic(), anyio.Event()
        self.holders += 1

    def release(self) -> None:
        """Take one `hold` back. Raises ValueError if there is none."""
        if self.holders == 0:
            raise ValueError("nobody holds it")
        self.holders -= 1
        if self.holders == 0:
            self._held_before += monotonic() - self._since
            self._released.set()

    async def released(self) -> None:
        """Wait until time goes on."""
        await self._released.wait()
