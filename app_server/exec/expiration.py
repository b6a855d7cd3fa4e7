"""When a running command must stop: one object for timeout and cancellation."""

from types import TracebackType
from typing import Self

import anyio

TIMEOUT = "timeout"
"""The reason of an expiration that nobody asked for."""

NETWORK_DENIED = "network access denied"
"""The reason of an expiration by which a command was refused the network."""


class Expiration:
    """When a running command must stop: a timeout, a cancellation, or whichever comes first.

    Used once, as a context manager around the wait for the command. Expiry ends the block without raising;
    a cancellation from outside still raises. `timeout` is in seconds, None for no limit.
    """

    __slots__ = ("_ended", "_entered", "_reason", "_scope", "_timeout")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._reason: str | None = None
        self._scope: anyio.CancelScope | None = None
        self._entered = False
        self._ended = False

    @property
    def reason(self) -> str | None:
        """None while running and after an ordinary end, else "timeout" or what `cancel` was given."""
        return self._reason

    @property
    def timed_out(self) -> bool:
        """Whether the timeout, and no cancellation, ended the block."""
        return self._reason == TIMEOUT

    def cancel(self, reason: str) -> None:
        """Expire now, or on entry. Any task of the loop may call this; the first reason is kept.

        After the block has ended it does nothing: what did not expire did not expire.
        """
        if self._ended or self._reason is not None:
            return
        self._reason = reason
        if self._scope is not None:
            self._scope.cancel()

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("an Expiration is used once")
        self._entered = True
        deadline = float("inf") if self._timeout is None else anyio.current_time() + self._timeout
        self._scope = anyio.CancelScope(deadline=deadline)
        self._scope.__enter__()
        if self._reason is not None:
            self._scope.cancel()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._scope is not None
        self._ended = True
        swallowed = bool(self._scope.__exit__(exc_type, exc, traceback))
        if self._scope.cancelled_caught and self._reason is None:
            self._reason = TIMEOUT
        return swallowed
